"""Runs kept in memory, for tests and notebooks."""

from __future__ import annotations

from collections import deque
from typing import TypeVar

from llmops_sdk.calls import Call, Event
from llmops_sdk.errors import ConfigurationError

__all__ = ["Memory", "memory"]

E = TypeVar("E")


class Memory:
    """A hook that keeps the newest calls and events; made by `memory()`."""

    def __init__(self, maxlen: int) -> None:
        self._calls: dict[str, Call] = {}
        self._events: deque[Event] = deque(maxlen=maxlen)
        self._maxlen = maxlen

    def __call__(self, event: Event, call: Call, /) -> None:
        """Keep `event`."""
        self._events.append(event)
        if call.id not in self._calls:
            if len(self._calls) >= self._maxlen:
                self._calls.pop(next(iter(self._calls)), None)
            self._calls[call.id] = call

    @property
    def calls(self) -> list[Call]:
        """The calls, oldest first."""
        return list(self._calls.values())

    @property
    def events(self) -> list[Event]:
        """The events of all calls in the order in which they came."""
        return list(self._events)

    def of(self, kind: type[E], /) -> list[E]:
        """The events of one class, oldest first: `memory.of(GuardChecked)`."""
        return [event for event in self._events if isinstance(event, kind)]

    def clear(self) -> None:
        """Forget everything."""
        self._calls.clear()
        self._events.clear()

    def __repr__(self) -> str:
        return f"<memory of {len(self._calls)} calls, {len(self._events)} events>"


def memory(*, maxlen: int = 10_000) -> Memory:
    """A hook that remembers: `seen = tracing.memory()`, then `Pipeline(..., hooks=[seen])`.

    Args:
        maxlen: Most events, and most calls, that are kept; the oldest go first. `maxlen >= 1`.

    Raises:
        ConfigurationError: `maxlen` is less than 1.

    Example:
        >>> from llmops_sdk.calls import Call, Started
        >>> seen = memory()
        >>> Call(hooks=(seen,)).record(Started(0.0, "support", streamed=False))
        >>> seen.of(Started)[0].pipeline
        'support'
    """
    if not isinstance(maxlen, int) or isinstance(maxlen, bool) or maxlen < 1:
        raise ConfigurationError(f"`maxlen` is {maxlen!r}; write a number, at least 1")
    return Memory(maxlen)
