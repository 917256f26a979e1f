"""When two requests are the same question to the same engine: the key under which an answer is kept.

Everything of a request that an engine can see takes part, field by field as `Request` has them, so that a new field
takes part without anybody thinking of it. What is left out is named here: a field is safe to leave out only where no
engine reads it.
"""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import json
import operator
from collections.abc import Callable, Iterator, Mapping
from pathlib import PurePath
from typing import Any

from llmops_sdk.engines._engine import HOW, Engine
from llmops_sdk.messages import Request

__all__ = ["Identity", "key_of"]

_FORMAT = 1
"""Raised whenever the same question gets another key: rows of an older library are then not found, and grow old."""

_UNSEEN = {"Request": ("prompt", "call", "traceparent"), "Message": ("origins",)}
"""What is for the application alone: where a text came from, and which run asks."""

_NO_OPTIONS: dict[str, Any] = {}
_SECRET_HEADERS = frozenset({"authorization", "api-key", "x-api-key"})


def key_of(request: Request, identity: str, tags: Mapping[str, str]) -> str | None:
    """The key of a request to an engine, 66 characters; `None` where it holds what has no canonical form.

    Args:
        request: The question.
        identity: The engine, as `Identity.now` says it.
        tags: The run's tags that take part.
    """
    try:
        # 1 and 1.0 are one temperature, and so are 0 and -0.0; in a JSON schema a model may see which.
        floats = [None if one is None else one + 0.0 for one in (request.temperature, request.top_p)]
        text = _canonical([_FORMAT, identity, tags, floats, _others(request)])
    except (TypeError, ValueError, RecursionError):
        return None
    return f"{_FORMAT}:{_digest(text)}"


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def _getter(cls: Any, *unseen: str) -> Callable[[Any], Any]:
    return operator.attrgetter(*(one.name for one in dataclasses.fields(cls) if one.name not in unseen))


_others = _getter(Request, "temperature", "top_p", *_UNSEEN["Request"])


@functools.cache
def _seen(cls: Any) -> Callable[[Any], Any]:
    return _getter(cls, *_UNSEEN.get(cls.__name__, ()))


def _plain(value: object) -> Any:
    cls = type(value)
    if dataclasses.is_dataclass(cls):
        return cls.__name__, _seen(cls)(value)
    if isinstance(value, Mapping):
        return dict(value)
    raise TypeError(f"{type(value).__name__} has no canonical form")


_canonical = json.JSONEncoder(sort_keys=True, separators=(",", ":"), default=_plain).encode


class Identity:
    """What an engine would answer by, besides the request: two engines that would answer differently never share.

    That is its class and what it was made with, without what only says how to reach it (keys, timeouts, its name);
    of a router, its engines in order and its strategy. An argument that has no canonical form (a function, an
    object), or an engine that is no `Engine`, can be told only from itself: such an engine shares with nobody, and
    finds nothing again in another process.

    Args:
        engine: The engine.
        own: What tells this engine from all others, where nothing else does.
        given: What the user says it is, in place of all that.
    """

    def __init__(self, engine: Any, own: str, given: str | None = None) -> None:
        self._engine = engine
        self._own = own
        self._given = given
        self._tables: list[tuple[Any, Any]] | None = None
        self._now: tuple[str, tuple[str, ...]] = ("", ())

    def now(self) -> tuple[str, tuple[str, ...]]:
        """The identity, and the names of the tags by which its routers choose; a reload changes both."""
        tables = self._tables
        if tables is None or any(router.legs is not legs for router, legs in tables):
            tags: set[str] = set()
            tables = list(_tables(self._engine))
            text = self._given or json.dumps(self._of(self._engine, tags), sort_keys=True)
            self._now = (_digest(text), tuple(sorted(tags)))  # of a thousand engines, the text is long
            self._tables = tables
        return self._now

    def _of(self, engine: Any, tags: set[str]) -> Any:
        if getattr(engine, "transparent", False):
            return self._of(engine.engine, tags)
        kind = f"{type(engine).__module__}.{type(engine).__qualname__}"
        legs = getattr(engine, "legs", None)
        if isinstance(legs, tuple):
            for leg in legs:
                tags.update(leg.tags)
            _, options = getattr(engine, "_made_with", ((), _NO_OPTIONS))
            return [
                kind,
                self._strategy(options.get("strategy", ""), tags),
                [[self._of(leg.engine, tags), _said(leg.tags)] for leg in legs],
            ]
        if not isinstance(engine, Engine):
            return [kind, self._own]
        args, kwargs = engine._made_with
        made = {name: value for name, value in kwargs.items() if name not in HOW}
        return [kind, engine.provider, engine.model, self._value(args, tags), self._value(made, tags)]

    def _strategy(self, strategy: Any, tags: set[str]) -> Any:
        if isinstance(strategy, str | Mapping):
            return self._value(strategy, tags)
        name = type(strategy).__qualname__
        return [name, self._own] if hasattr(strategy, "escalates") else name  # who judges answers chooses among them

    def _value(self, value: Any, tags: set[str]) -> Any:
        """An argument in a form that is the same in every process."""
        if value is None or isinstance(value, str | int | float | bool):
            return value
        if isinstance(value, Mapping):
            return {
                repr(name): self._value(one, tags)
                for name, one in value.items()
                if not (isinstance(name, str) and name.lower() in _SECRET_HEADERS)
            }
        if isinstance(value, list | tuple):
            return [self._value(one, tags) for one in value]
        if isinstance(value, PurePath):
            return str(value)
        if isinstance(value, Engine):
            return self._of(value, tags)
        if dataclasses.is_dataclass(value) and not isinstance(value, type):
            named = {one.name: self._value(getattr(value, one.name), tags) for one in dataclasses.fields(value)}
            return [type(value).__qualname__, named]
        return self._own


def _said(tags: Mapping[str, Any]) -> list[list[str]]:
    return [[name, repr(value)] for name, value in sorted(tags.items())]


def _tables(engine: Any) -> Iterator[tuple[Any, Any]]:
    """The routers, each with its engines: a router that is reloaded has others, in another tuple."""
    while getattr(engine, "transparent", False):
        engine = engine.engine
    legs = getattr(engine, "legs", None)
    if isinstance(legs, tuple):
        yield engine, legs
        for leg in legs:
            yield from _tables(leg.engine)
