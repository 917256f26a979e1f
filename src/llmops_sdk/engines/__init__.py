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
    from llmops_sdk.engines._capacity import Plan, plan

__all__ = ["Adapter", "Engine", "EngineLoad", "Plan", "Scripted", "chunks_of", "plan", "response_of", "usage_of"]


def __getattr__(name: str) -> object:
    # Found on first use: most programs plan nothing, and download nothing.
    if name in {"Plan", "plan"}:
        value: object = getattr(importlib.import_module("llmops_sdk.engines._capacity"), name)
    elif name == "weights":
        value = importlib.import_module("llmops_sdk.engines.weights")
    else:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    globals()[name] = value
    return value
