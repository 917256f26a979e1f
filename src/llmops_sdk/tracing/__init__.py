"""Tracing: people see a run through its record, as a tree, as JSON, or as spans of OpenTelemetry.

`explain(call)` shows where the milliseconds and the money went, `to_json(call)` is stable and versioned, `memory()`,
`OpenTelemetry()` and `Metrics()` are hooks. The last two are loaded when they are first asked for, since they need
their library. `grafana_dashboard()` shows the metrics.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

from llmops_sdk.tracing._content import ContentPolicy
from llmops_sdk.tracing._explain import Explanation, Step, explain
from llmops_sdk.tracing._grafana import grafana_dashboard
from llmops_sdk.tracing._json import to_json
from llmops_sdk.tracing._memory import Memory, memory

if TYPE_CHECKING:
    from llmops_sdk.tracing.opentelemetry import Metrics, OpenTelemetry

__all__ = [
    "ContentPolicy",
    "Explanation",
    "Memory",
    "Metrics",
    "OpenTelemetry",
    "Step",
    "explain",
    "grafana_dashboard",
    "memory",
    "to_json",
]

_NEED_OPENTELEMETRY = ("Metrics", "OpenTelemetry")


def __getattr__(name: str) -> object:
    if name in _NEED_OPENTELEMETRY:
        return getattr(importlib.import_module("llmops_sdk.tracing.opentelemetry"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
