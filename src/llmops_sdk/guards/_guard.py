"""The base class of guards, and guards from plain functions."""

from __future__ import annotations

import copy
import re
from collections.abc import Awaitable, Callable
from typing import Any, ClassVar, Literal, Self, get_args, overload

from llmops_sdk.errors import ConfigurationError
from llmops_sdk.protocols import GuardContext, GuardStream, takes_two
from llmops_sdk.stations import Station
from llmops_sdk.verdicts import Surface, Verdict

__all__ = ["ALL_SURFACES", "Guard", "guard"]

ALL_SURFACES: frozenset[Surface] = frozenset(get_args(Surface))


class Guard(Station):
    """Reads a text and decides what may happen to it. Write `check`; the rest is here.

    A guard that says nothing else is safe in every place: its `check` runs in a thread, so that it cannot stop the
    event loop; in streams nothing is emitted before it has seen the whole text; and it reads every surface.

    Attributes:
        name: Shown in verdicts and traces; the class's name in snake case unless given.
        on_error: What a failure of the guard itself means: `"block"` (fail closed) or `"allow"`.
        window: Most characters that it holds back in a stream; `None`: it needs the whole text first.
        blocking: Whether `check` may take longer than some 100 microseconds, and so has to run in a thread.
        covers: The surfaces that it reads; a pipeline refuses one that leaves a surface unread and not waived.
        waived: The surfaces that the application has waived by name.

    Example:
        >>> class NoShouting(Guard):
        ...     def check(self, text, context=None):
        ...         return Verdict.block("shouting") if text.isupper() else Verdict.allow()
        >>> NoShouting().check("HELLO").action
        'block'
    """

    name: str = "guard"
    on_error: Literal["block", "allow"] = "block"
    window: int | None = None
    blocking: bool = True
    covers: ClassVar[frozenset[Surface]] = ALL_SURFACES
    waived: frozenset[Surface] = frozenset()

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if "name" not in cls.__dict__:
            cls.name = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", cls.__name__).lower()

    def check(self, text: str, context: GuardContext | None = None, /) -> Verdict | Awaitable[Verdict]:
        """Decide about the whole `text`. May be `async`, and may leave out `context`."""
        raise ConfigurationError(
            f"the guard {type(self).__name__} has no `check`: write `def check(self, text, context=None)` "
            "that returns `Verdict.allow()`, `.rewrite(text)`, `.flag(reason)` or `.block(reason)`"
        )

    def prepare(self) -> None:
        """Make now what the first check or stream would have to make; a pipeline calls this when it is built.

        So that nothing slow (compiling patterns, loading a model) happens on the event loop in the first run.
        """

    def open_stream(self, context: GuardContext, /) -> GuardStream | None:
        """The guard at work on one stream; `None` where it needs the whole text (`window` is `None` then)."""
        return None

    def open_restorer(self, context: GuardContext, /) -> GuardStream | None:
        """Undo on the way out what this guard did on the way in (placeholders become names again); `None`: nothing."""
        return None

    def waive(self, *surfaces: Surface) -> Self:
        """A copy for which it is accepted, by name, that these surfaces stay unread.

        Raises:
            ConfigurationError: There is no such surface.
        """
        unknown = set(surfaces) - ALL_SURFACES
        if unknown:
            raise ConfigurationError(f"no surface is called {sorted(unknown)}; there are {sorted(ALL_SURFACES)}")
        waiving = copy.copy(self)
        waiving.waived = self.waived | set(surfaces)
        return waiving

    def __repr__(self) -> str:
        return f"<guard {self.name!r}>"


class _FunctionGuard(Guard):
    def __init__(self, function: Callable[..., Any], name: str, on_error: Literal["block", "allow"]) -> None:
        self._function = function
        self._with_context = takes_two(function)
        self.name = name
        self.on_error = on_error
        self.__doc__ = function.__doc__

    def check(self, text: str, context: GuardContext | None = None, /) -> Verdict | Awaitable[Verdict]:
        decided: Verdict | Awaitable[Verdict] = (
            self._function(text, context) if self._with_context else self._function(text)
        )
        return decided


@overload
def guard(function: Callable[..., Verdict | Awaitable[Verdict]], /) -> Guard: ...
@overload
def guard(
    *, name: str | None = None, on_error: Literal["block", "allow"] = "block"
) -> Callable[[Callable[..., Verdict | Awaitable[Verdict]]], Guard]: ...
def guard(
    function: Callable[..., Any] | None = None,
    /,
    *,
    name: str | None = None,
    on_error: Literal["block", "allow"] = "block",
) -> Any:
    """Make a guard of a function that takes a text (and a context, if it likes) and returns a `Verdict`.

    Example:
        >>> @guard
        ... def no_links(text):
        ...     return Verdict.block("a link") if "http" in text else Verdict.allow()
        >>> no_links.check("see http://example.org").reason
        'a link'
    """

    def decorate(function: Callable[..., Any]) -> Guard:
        return _FunctionGuard(function, name or str(getattr(function, "__name__", "guard")), on_error)

    return decorate(function) if function is not None else decorate
