"""Monitoring: whether the answers in production are still good.

A `Monitor` is a hook. It reads each run from its record, off the hot path, and keeps what it saw in one SQLite file.
Detectors raise an alarm when a signal changes, with a stated rate of false alarms; probes ask a provider the same
questions again and again, and notice that it changed its model.
"""

from __future__ import annotations

from llmops_sdk.monitoring._alarms import Alarm
from llmops_sdk.monitoring._cases import Case, cases_in
from llmops_sdk.monitoring._drift import Detector, expected_delay
from llmops_sdk.monitoring._judged import judged_by
from llmops_sdk.monitoring._monitor import Monitor
from llmops_sdk.monitoring._observed import Observed
from llmops_sdk.monitoring._probes import ProbeRound, Probes
from llmops_sdk.monitoring._records import Score, StoredRun, StoredScore, StoredSignal
from llmops_sdk.monitoring._report import report_text, write_report
from llmops_sdk.monitoring._signals import SIGNALS, Signal
from llmops_sdk.monitoring._store import Store

__all__ = [
    "SIGNALS",
    "Alarm",
    "Case",
    "Detector",
    "Monitor",
    "Observed",
    "ProbeRound",
    "Probes",
    "Score",
    "Signal",
    "Store",
    "StoredRun",
    "StoredScore",
    "StoredSignal",
    "cases_in",
    "expected_delay",
    "judged_by",
    "report_text",
    "write_report",
]
