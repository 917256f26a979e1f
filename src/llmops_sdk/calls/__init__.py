"""A `Call` is one run of a pipeline: its deadline, its budget, and the record of all that happened.

The record is a list of typed events, always kept and cheap (a tuple each, and two clock reads). Everything that
people see of a run (`explain()`, traces, logs, metrics) is made from it, after the run and off the hot path.

All times in events are seconds of `time.perf_counter()`; `Call.wall_time()` turns one into seconds since the epoch.
"""

from __future__ import annotations

from llmops_sdk.calls._call import ASKER, CLOCK, Call, Prices
from llmops_sdk.calls._events import (
    Aside,
    Assessor,
    AttemptEnded,
    AttemptStarted,
    CacheAnswered,
    Cut,
    Ended,
    Escalated,
    Evaluated,
    Event,
    FirstChunk,
    GuardChecked,
    Hedged,
    LimitsDegraded,
    LimitWaited,
    Outcome,
    OutputValidated,
    Rendered,
    Retried,
    Routed,
    Started,
    StreamResumed,
    ToolExecuted,
)
from llmops_sdk.calls._executing import Execution
from llmops_sdk.calls._feedback import feedback_score
from llmops_sdk.calls._found import HIDDEN, Found, made_of
from llmops_sdk.calls._hook_failures import hook_failures
from llmops_sdk.calls._json import event_json, record_schema

__all__ = [
    "ASKER",
    "CLOCK",
    "HIDDEN",
    "Aside",
    "Assessor",
    "AttemptEnded",
    "AttemptStarted",
    "CacheAnswered",
    "Call",
    "Cut",
    "Ended",
    "Escalated",
    "Evaluated",
    "Event",
    "Execution",
    "FirstChunk",
    "Found",
    "GuardChecked",
    "Hedged",
    "LimitWaited",
    "LimitsDegraded",
    "Outcome",
    "OutputValidated",
    "Prices",
    "Rendered",
    "Retried",
    "Routed",
    "Started",
    "StreamResumed",
    "ToolExecuted",
    "event_json",
    "feedback_score",
    "hook_failures",
    "made_of",
    "record_schema",
]
