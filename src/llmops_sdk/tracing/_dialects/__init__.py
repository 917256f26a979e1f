"""The dialects: what the spans of a run say, in the words of each kind of backend.

A dialect is a module with one function for each kind of span. It gives attributes, and knows nothing of OpenTelemetry.
`gen_ai` is always spoken; the others add to it.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Final, cast

from llmops_sdk.tracing._dialects import gen_ai
from llmops_sdk.tracing._dialects.run import Attributes, Dialect, Run

__all__ = ["DIALECTS", "Attributes", "Dialect", "Run"]


def _late(name: str) -> Callable[[], Dialect]:
    """A dialect that is loaded when it is first asked for."""
    return lambda: cast(Dialect, importlib.import_module(f"{__name__}.{name}"))


DIALECTS: Final[Mapping[str, Callable[[], Dialect]]] = MappingProxyType(
    {"gen_ai": lambda: gen_ai, "openinference": _late("openinference"), "langfuse": _late("langfuse")}
)
