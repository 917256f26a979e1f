"""Monitoring: whether the answers are still good, and a word when they are not."""

from llmops_sdk.monitoring._alarms import Alarm
from llmops_sdk.monitoring._drift import Detector, expected_delay

__all__ = ["Alarm", "Detector", "expected_delay"]
