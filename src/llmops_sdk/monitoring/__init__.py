"""Monitoring: whether the answers in production are still good.

A `Monitor` is a hook. It reads each run from its record, off the hot path, and keeps what it saw in one SQLite file.
"""

from __future__ import annotations

from llmops_sdk.monitoring._alarms import Alarm
from llmops_sdk.monitoring._records import Score, StoredRun, StoredScore, StoredSignal
from llmops_sdk.monitoring._store import Store

__all__ = ["Alarm", "Score", "Store", "StoredRun", "StoredScore", "StoredSignal"]
