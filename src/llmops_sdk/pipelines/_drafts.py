"""Lines that are joined piece by piece: what `|` makes, and a line without an engine."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NoReturn

from llmops_sdk.errors import ConfigurationError
from llmops_sdk.pipelines._line import Line
from llmops_sdk.pipelines._pipeline import Pipeline
from llmops_sdk.stations import Station

__all__ = ["Draft", "join"]


class Draft(Station):
    """A line that has no engine yet: `prompt | guard`. Join an engine to it."""

    def __init__(self, stations: Iterable[Any]) -> None:
        self._line = Line(stations)

    @property
    def stations(self) -> tuple[Any, ...]:
        """The stations so far, in order."""
        return tuple(self._line.stations)

    def __getattr__(self, name: str) -> NoReturn:
        if name.startswith("_") or not hasattr(Pipeline, name):
            raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")
        raise ConfigurationError(
            f"this line has no engine yet, so it has no `{name}`; join one: `... | Engine.open('embedded:')`"
        )

    def __repr__(self) -> str:
        return f"<Draft {self._line} | ...>"


def join(left: Any, right: Any) -> Pipeline | Draft:
    """What `left | right` is: a pipeline once there is an engine.

    Raises:
        ConfigurationError: The two do not fit together.
    """
    for one in (left, right):
        if isinstance(one, Pipeline):
            return one._like([left, right])
    if isinstance(left, str) and isinstance(right, str):
        raise ConfigurationError("two strings make no line; write one prompt")
    line = Line([left, right])
    return Draft([left, right]) if line.engine is None else Pipeline(left, right)
