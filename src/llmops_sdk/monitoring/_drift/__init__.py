"""Detectors of drift: sequential tests with a stated rate of false alarms."""

from llmops_sdk.monitoring._drift.delay import expected_delay
from llmops_sdk.monitoring._drift.detector import Detector, Direction, Kind, Season

__all__ = ["Detector", "Direction", "Kind", "Season", "expected_delay"]
