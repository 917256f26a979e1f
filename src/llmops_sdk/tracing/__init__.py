"""Tracing: people see a run through its record, as a tree, as JSON, or as spans of OpenTelemetry.

`explain(call)` shows where the milliseconds and the money went, `to_json(call)` is stable and versioned; `memory()`,
`Logs()`, `JSONL(path)` and `OpenTelemetry()` are hooks. `OpenTelemetry` is loaded when it is first asked for, since it
needs its library.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

from llmops_sdk.tracing._content import ContentPolicy
from llmops_sdk.tracing._explain import Explanation, Step, explain
from llmops_sdk.tracing._json import to_json
from llmops_sdk.tracing._jsonl import JSONL, read_jsonl
from llmops_sdk.tracing._logs import Logs
from llmops_sdk.tracing._memory import Memory, memory

if TYPE_CHECKING:
    from llmops_sdk.tracing.opentelemetry import OpenTelemetry

__all__ = [
    "JSONL",
    "ContentPolicy",
    "Explanation",
    "Logs",
    "Memory",
    "OpenTelemetry",
    "Step",
    "explain",
    "memory",
    "read_jsonl",
    "to_json",
]


def __getattr__(name: str) -> object:
    if name == "OpenTelemetry":
        return importlib.import_module("llmops_sdk.tracing.opentelemetry").OpenTelemetry
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
