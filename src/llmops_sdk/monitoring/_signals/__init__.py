"""Signals: one number or one label for each run, read off its record and its answer without asking anybody."""

from __future__ import annotations

from llmops_sdk.monitoring._signals.builtin import SIGNALS, chosen
from llmops_sdk.monitoring._signals.signal import Signal

__all__ = ["SIGNALS", "Signal", "chosen"]
