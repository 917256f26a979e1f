"""What may stand on the line, and in which order."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Literal, TypeAlias

from llmops_sdk.errors import ConfigurationError
from llmops_sdk.pipelines._guarding import Stationed
from llmops_sdk.prompts import Prompt

__all__ = ["Line", "kind_of"]

Kind: TypeAlias = Literal["prompt", "guard", "engine"]


def kind_of(station: Any) -> Kind:
    """Which part an object can play.

    Raises:
        ConfigurationError: None; the message says what each part needs.
    """
    if isinstance(station, str) or hasattr(station, "render"):
        return "prompt"
    if hasattr(station, "agenerate") or hasattr(station, "astream"):
        return "engine"
    if isinstance(station, type):
        raise ConfigurationError(f"{station.__name__} is a class; write `{station.__name__}(...)`")
    if callable(getattr(station, "check", None)):
        return "guard"
    if callable(station):
        name = getattr(station, "__name__", "function")
        raise ConfigurationError(f"{name!r} is a plain function; make a guard of it with `@guard` or `guard({name})`")
    raise ConfigurationError(
        f"{station!r} cannot stand in a pipeline. Prompts have `render(**variables)`, engines `agenerate(request)` "
        "or `astream(request)`, and a guard is any object with `check(text)` that returns a Verdict"
    )


class Line:
    """Stations in order: a prompt (or none), guards, an engine (or none yet), guards.

    Raises:
        ConfigurationError: An order that makes no sense; the message says what to write.
    """

    def __init__(self, stations: Iterable[Any]) -> None:
        self.prompt: Any = None
        self.engine: Any = None
        self.before: list[Any] = []
        self.after: list[Any] = []
        for position, station in enumerate(_flat(stations)):
            kind = kind_of(station)
            if kind == "guard":
                (self.before if self.engine is None else self.after).append(station)
            elif kind == "engine":
                if self.engine is not None:
                    raise ConfigurationError(
                        f"a pipeline has one engine, but {self.engine!r} and {station!r} both stand in it; "
                        "put them into a router: `Router([first, second])`"
                    )
                self.engine = station
            else:
                if position > 0:
                    raise ConfigurationError("the prompt stands first in a pipeline: `prompt | guard | engine`")
                self.prompt = Prompt.from_string(station) if isinstance(station, str) else station

    @property
    def stations(self) -> list[Any]:
        """All of them, in order."""
        first = [] if self.prompt is None else [self.prompt]
        middle = [] if self.engine is None else [self.engine]
        return [*first, *self.before, *middle, *self.after]

    def __str__(self) -> str:
        return " | ".join(_short(station) for station in self.stations)

    def stationed(self) -> list[Stationed]:
        """The guards in their places, with names that are unique."""
        taken: dict[str, int] = {}
        guards = []
        for stage, stations in (("input", self.before), ("output", self.after)):
            for guard in stations:
                name = getattr(guard, "name", None) or type(guard).__name__.lower()
                taken[name] = taken.get(name, 0) + 1
                unique = name if taken[name] == 1 else f"{name}-{taken[name]}"
                guards.append(Stationed(guard, unique, stage))  # type: ignore[arg-type]  # a Stage, as written above
        return guards


def _flat(stations: Iterable[Any]) -> Iterable[Any]:
    for station in stations:
        inner = getattr(station, "stations", None)
        if isinstance(inner, tuple):  # a pipeline or a draft
            yield from _flat(inner)
        elif isinstance(station, (list, tuple)):
            yield from _flat(station)
        else:
            yield station


def _short(station: Any) -> str:
    name = getattr(station, "name", None)
    return str(name) if name and kind_of(station) != "prompt" else repr(station)
