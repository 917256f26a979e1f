"""Engines: where a request becomes an answer, in this process or at an endpoint; and the plan before the spending.

`Engine.open("scheme:model")` opens one; subclass `Engine` to write one. `plan` says what a model needs and can do on
some hardware, without loading it. The modules without an underscore (`remote`, `vllm`, `embedded`, `weights`) import
third-party libraries and are loaded when they are first needed.
"""

import importlib
from typing import TYPE_CHECKING

from llmops_sdk.engines._engine import Engine, chunks_of, response_of
from llmops_sdk.engines._scripted import Scripted
from llmops_sdk.engines._usage import usage_of
from llmops_sdk.engines._vllm_adapters import Adapter
from llmops_sdk.engines._vllm_load import EngineLoad

if TYPE_CHECKING:
    from llmops_sdk.engines import weights as weights
    from llmops_sdk.engines._cache.cached import Cached
    from llmops_sdk.engines._cache.memory import MemoryStore
    from llmops_sdk.engines._cache.semantic import Semantic
    from llmops_sdk.engines._cache.sqlite import SQLiteStore
    from llmops_sdk.engines._cache.stats import CacheStats
    from llmops_sdk.engines._cache.stores import Store
    from llmops_sdk.engines._capacity import Plan, plan

__all__ = [
    "Adapter",
    "CacheStats",
    "Cached",
    "Engine",
    "EngineLoad",
    "MemoryStore",
    "Plan",
    "SQLiteStore",
    "Scripted",
    "Semantic",
    "Store",
    "chunks_of",
    "plan",
    "response_of",
    "usage_of",
]

# Found on first use: most programs plan nothing, download nothing, and keep no answers.
_LATE = {
    "CacheStats": "_cache.stats",
    "Cached": "_cache.cached",
    "MemoryStore": "_cache.memory",
    "Plan": "_capacity",
    "SQLiteStore": "_cache.sqlite",
    "Semantic": "_cache.semantic",
    "Store": "_cache.stores",
    "plan": "_capacity",
}


def __getattr__(name: str) -> object:
    if name == "weights":
        value: object = importlib.import_module("llmops_sdk.engines.weights")
    elif name in _LATE:
        value = getattr(importlib.import_module(f"llmops_sdk.engines.{_LATE[name]}"), name)
    else:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    globals()[name] = value
    return value
