"""Monitoring: whether the answers are still good, and a word when they are not.

A `Monitor` is a hook. It reads each run from its record, off the hot path, keeps what it saw in one SQLite file, and
has `Detector`s watch it for changes.
"""

from __future__ import annotations

from llmops_sdk.monitoring._alarms import Alarm
from llmops_sdk.monitoring._cases import Case
from llmops_sdk.monitoring._drift import Detector, expected_delay
from llmops_sdk.monitoring._judged import judged_by
from llmops_sdk.monitoring._monitor import Monitor
from llmops_sdk.monitoring._observed import Observed
from llmops_sdk.monitoring._records import Score, StoredRun, StoredScore, StoredSignal
from llmops_sdk.monitoring._signals import SIGNALS, Signal
from llmops_sdk.monitoring._store import Store

__all__ = [
    "SIGNALS",
    "Alarm",
    "Case",
    "Detector",
    "Monitor",
    "Observed",
    "Score",
    "Signal",
    "Store",
    "StoredRun",
    "StoredScore",
    "StoredSignal",
    "expected_delay",
    "judged_by",
]
