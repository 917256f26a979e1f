"""Engines: where a request becomes an answer, in this process or at an endpoint.

`Engine.open("scheme:model")` opens one; subclass `Engine` to write one. The modules without an underscore
(`remote`, `vllm`, `embedded`) import third-party libraries and are loaded when they are first needed.
"""

from llmops_sdk.engines._engine import Engine, chunks_of, response_of
from llmops_sdk.engines._scripted import Scripted
from llmops_sdk.engines._vllm_adapters import Adapter
from llmops_sdk.engines._vllm_load import EngineLoad

__all__ = ["Adapter", "Engine", "EngineLoad", "Scripted", "chunks_of", "response_of"]
