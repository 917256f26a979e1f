"""Pipelines: the line of text to a model and back, composed with `|`, and run sync, async, as a stream or in bulk."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from llmops_sdk.pipelines._coverage import Coverage
from llmops_sdk.pipelines._drafts import Draft, join
from llmops_sdk.pipelines._mapping import Executor, concurrency_of
from llmops_sdk.pipelines._pipeline import Pipeline
from llmops_sdk.pipelines._records import record_of, result_of
from llmops_sdk.pipelines._result import Result
from llmops_sdk.pipelines._streams import PipelineStream, SyncStream

if TYPE_CHECKING:
    from llmops_sdk.pipelines._locking import Difference, Lock, configuration_hash, pins_of

__all__ = [
    "Coverage",
    "Difference",
    "Draft",
    "Executor",
    "Lock",
    "Pipeline",
    "PipelineStream",
    "Result",
    "SyncStream",
    "concurrency_of",
    "configuration_hash",
    "join",
    "pins_of",
    "record_of",
    "result_of",
]

_OF_LOCKS = ("Difference", "Lock", "configuration_hash", "pins_of")


def __getattr__(name: str) -> Any:
    if name in _OF_LOCKS:  # most programs have no lock
        return getattr(importlib.import_module("llmops_sdk.pipelines._locking"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
