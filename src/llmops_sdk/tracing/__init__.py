"""Tracing: people see a run through its record, as a tree, as JSON, or as spans and metrics of OpenTelemetry.

`explain(call)` shows where the milliseconds and the money went, `to_json(call)` is stable and versioned; `memory()`,
`Logs()`, `JSONL(path)`, `OpenTelemetry()`, `Metrics()` and what `setup()` returns are hooks. `grafana_dashboard()`
shows the metrics. What needs OpenTelemetry is loaded when it is first asked for.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

from llmops_sdk.tracing._content import Content, ContentPolicy, content_of
from llmops_sdk.tracing._explain import Explanation, Step, explain
from llmops_sdk.tracing._grafana import grafana_dashboard
from llmops_sdk.tracing._json import to_json
from llmops_sdk.tracing._jsonl import JSONL, read_jsonl
from llmops_sdk.tracing._logs import Logs
from llmops_sdk.tracing._memory import Memory, memory

if TYPE_CHECKING:
    from llmops_sdk.tracing.opentelemetry import Metrics, OpenTelemetry, SpanCounts, Tracing, setup

__all__ = [
    "JSONL",
    "Content",
    "ContentPolicy",
    "Explanation",
    "Logs",
    "Memory",
    "Metrics",
    "OpenTelemetry",
    "SpanCounts",
    "Step",
    "Tracing",
    "content_of",
    "explain",
    "grafana_dashboard",
    "memory",
    "read_jsonl",
    "setup",
    "to_json",
]

_NEED_OPENTELEMETRY = {"Metrics", "OpenTelemetry", "SpanCounts", "Tracing", "setup"}


def __getattr__(name: str) -> object:
    if name in _NEED_OPENTELEMETRY:
        return getattr(importlib.import_module("llmops_sdk.tracing.opentelemetry"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
