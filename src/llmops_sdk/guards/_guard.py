"""The base class of guards, and guards from plain functions."""

from __future__ import annotations

import copy
import inspect
import re
from collections.abc import Awaitable, Callable
from typing import Any, ClassVar, Literal, Self, TypeAlias, TypedDict, get_args, overload

from llmops_sdk.errors import ConfigurationError, GuardFailed
from llmops_sdk.given import arguments_of
from llmops_sdk.guards._quality.evaluation import Evaluation, evaluate
from llmops_sdk.guards._quality.rows import LabelledData
from llmops_sdk.loops import in_thread
from llmops_sdk.protocols import GuardContext, GuardStream, takes_two
from llmops_sdk.stations import Station
from llmops_sdk.verdicts import Surface, Verdict

__all__ = ["ALL_SURFACES", "Guard", "GuardOptions", "Mode", "guard"]

ALL_SURFACES: frozenset[Surface] = frozenset(get_args(Surface))
Mode: TypeAlias = Literal["window", "buffer", "audit"]


class GuardOptions(TypedDict, total=False):
    """What every guard of this library takes besides its own arguments.

    Attributes:
        name: Shown in verdicts and traces; the class's name in snake case unless given.
        on_error: What a failure of the guard itself means: `"block"` (the default: fail closed) or `"allow"`.
        mode: How it reads streams. `"window"` (the default): nothing is emitted before it is decided, and no more is
            held back than that takes. `"buffer"`: nothing is emitted before the end. `"audit"`: everything is emitted
            at once and judged afterwards, so **what it finds has leaked by then**; it is for observing.
        overlap: Before the engine: let the engine begin while this guard still reads. Nothing reaches the caller before
            its verdict, and a block stops the engine; what the engine did until then may have cost money.
    """

    name: str
    on_error: Literal["block", "allow"]
    mode: Mode
    overlap: bool


class Guard(Station):
    """Reads a text and decides what may happen to it. Write `check`; the rest is here.

    A guard that says nothing else is safe in every place: its `check` runs in a thread, so that it cannot stop the
    event loop; in streams nothing is emitted before it has seen the whole text; and it reads every surface.

    Attributes:
        name: Shown in verdicts and traces; the class's name in snake case unless given.
        on_error: What a failure of the guard itself means: `"block"` (fail closed) or `"allow"`.
        mode: How it reads streams; see `GuardOptions`.
        overlap: Whether the engine may begin while the guard still reads the input; see `GuardOptions`.
        window: Most characters that it holds back in a stream; `None`: it needs the whole text first.
        blocking: Whether `check` may take longer than some 100 microseconds, and so has to run in a thread.
        waits: Whether a plain `check` may return an awaitable, as one that asks other guards does; an `async def check`
            need not say so.
        covers: The surfaces that it reads; a pipeline refuses one that leaves a surface unread and not waived.
        waived: The surfaces that the application has waived by name.
        threshold: The `rate` from which on the guard acts; `None` where it has no degrees.

    Raises:
        ConfigurationError: An option is unknown or makes no sense.

    Example:
        >>> class NoShouting(Guard):
        ...     def check(self, text, context=None):
        ...         return Verdict.block("shouting") if text.isupper() else Verdict.allow()
        >>> NoShouting().check("HELLO").action
        'block'
    """

    name: str = "guard"
    on_error: Literal["block", "allow"] = "block"
    mode: Mode = "window"
    overlap: bool = False
    window: int | None = None
    blocking: bool = True
    waits: bool = False
    covers: ClassVar[frozenset[Surface]] = ALL_SURFACES
    waived: frozenset[Surface] = frozenset()
    threshold: float | None = None
    _made_with: tuple[tuple[Any, ...], dict[str, Any]]

    def __new__(cls, *args: Any, **kwargs: Any) -> Self:
        self = super().__new__(cls)
        vars(self)["_made_with"] = args, kwargs
        return self

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if "name" not in cls.__dict__:
            cls.name = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", cls.__name__).lower()

    def __init__(
        self,
        *,
        name: str | None = None,
        on_error: Literal["block", "allow"] = "block",
        mode: Mode = "window",
        overlap: bool = False,
    ) -> None:
        if on_error not in ("block", "allow"):
            raise ConfigurationError(f"on_error={on_error!r} is neither 'block' nor 'allow'")
        if mode not in get_args(Mode):
            raise ConfigurationError(f"mode={mode!r} is not one of {', '.join(map(repr, get_args(Mode)))}")
        # What is left as it was stays with the class: a subclass may have said it there.
        if name is not None:
            self.name = name
        if on_error != "block":
            self.on_error = on_error
        if mode != "window":
            self.mode = mode
        if overlap:
            self.overlap = overlap

    def check(self, text: str, context: GuardContext | None = None, /) -> Verdict | Awaitable[Verdict]:
        """Decide about the whole `text`. May be `async`, and may leave out `context`."""
        raise ConfigurationError(
            f"the guard {type(self).__name__} has no `check`: write `def check(self, text, context=None)` "
            "that returns `Verdict.allow()`, `.rewrite(text)`, `.flag(reason)` or `.block(reason)`"
        )

    async def acheck(self, text: str, context: GuardContext | None = None, /) -> Verdict:
        """`check`, whether that is `async` or not; one that is `blocking` runs in a thread."""
        arguments = (text, context) if takes_two(self.check) else (text,)
        in_place = self.waits or not self.blocking or inspect.iscoroutinefunction(self.check)
        decided = self.check(*arguments) if in_place else await in_thread(lambda: self.check(*arguments))
        return decided if isinstance(decided, Verdict) else await decided

    def rate(self, text: str, context: GuardContext | None = None, /) -> float | Awaitable[float]:
        """How sure the guard is that something is to be found in `text`, `0 <= rate <= 1`.

        A guard with a `threshold` acts where the rate reaches it; `evaluate` and `calibrate` work on this number.
        Unless a guard knows better it is made of its verdict: the score of the surest finding, 1 where it acts without
        a finding, and 0 where it allows.
        """
        if self.threshold is not None:
            raise ConfigurationError(f"the guard {self.name!r} has a threshold, so it has to say `rate(text)` itself")
        decided = self.check(text, context) if takes_two(self.check) else self.check(text)
        return decided.score if isinstance(decided, Verdict) else _score_of(decided)

    async def arate(self, text: str, context: GuardContext | None = None, /) -> float:
        """`rate`, whether that is `async` or not; one that is `blocking` runs in a thread.

        Raises:
            GuardFailed: The rate is not in 0..1.
        """
        arguments = (text, context) if takes_two(self.rate) else (text,)
        in_place = self.waits or not self.blocking or inspect.iscoroutinefunction(self.rate)
        given = self.rate(*arguments) if in_place else await in_thread(lambda: self.rate(*arguments))
        rate = float(await given if inspect.isawaitable(given) else given)
        if not 0 <= rate <= 1:
            raise GuardFailed(f"its rate is {rate!r}, which is not in 0..1", guard=self.name)
        return rate

    def with_threshold(self, threshold: float) -> Self:
        """A copy that acts where `rate` reaches `threshold`, `0 < threshold <= 1`.

        Raises:
            ConfigurationError: The guard has no threshold, or this is none.
        """
        if self.threshold is None:
            raise ConfigurationError(f"the guard {self.name!r} has no threshold: it finds something, or it does not")
        if not 0 < threshold <= 1:
            raise ConfigurationError(f"threshold={threshold!r} is not in 0 < threshold <= 1")
        other = copy.copy(self)
        other.threshold = threshold
        return other

    def evaluate(
        self,
        data: LabelledData,
        /,
        *,
        max_fpr: float = 0.01,
        confidence: float = 0.95,
        concurrency: int | None = None,
        progress: bool | None = None,
    ) -> Evaluation:
        """Measure it on labelled texts: recall, false alarms, AUC, by source, with intervals and a plot.

        See `llmops_sdk.guards.evaluate`, which this is; `aevaluate` there is for async code.
        """
        return evaluate(self, data, max_fpr=max_fpr, confidence=confidence, concurrency=concurrency, progress=progress)

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

    def configuration(self) -> dict[str, Any]:
        """What tells it from another guard of its class: what it was made with, and its options as they are now.

        A lock pins it by a hash of this. Override it where arguments do not say it all (a folder may hold other files
        tomorrow: give it as a `Path`, whose content counts), or where some of them say nothing about its verdicts.
        """
        return arguments_of(type(self), *self._made_with) | {
            name: getattr(self, name) for name in _SETTABLE if hasattr(self, name)
        }

    def __repr__(self) -> str:
        return f"<guard {self.name!r}>"


_SETTABLE = ("action", "mode", "name", "on_error", "overlap", "threshold", "waived")
"""What may be set of a guard that has been made."""


async def _score_of(pending: Awaitable[Verdict]) -> float:
    return (await pending).score


class _FunctionGuard(Guard):
    def __init__(self, function: Callable[..., Any], options: GuardOptions) -> None:
        super().__init__(**options)
        self._function = function
        self._with_context = takes_two(function)
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
    *,
    name: str | None = None,
    on_error: Literal["block", "allow"] = "block",
    mode: Mode = "window",
    overlap: bool = False,
) -> Callable[[Callable[..., Verdict | Awaitable[Verdict]]], Guard]: ...
def guard(
    function: Callable[..., Any] | None = None,
    /,
    *,
    name: str | None = None,
    on_error: Literal["block", "allow"] = "block",
    mode: Mode = "window",
    overlap: bool = False,
) -> Any:
    """Make a guard of a function that takes a text (and a context, if it likes) and returns a `Verdict`.

    The options are those of `GuardOptions`.

    Example:
        >>> @guard
        ... def no_links(text):
        ...     return Verdict.block("a link") if "http" in text else Verdict.allow()
        >>> no_links.check("see http://example.org").reason
        'a link'
    """

    def decorate(function: Callable[..., Any]) -> Guard:
        named = name or str(getattr(function, "__name__", "guard"))
        return _FunctionGuard(function, GuardOptions(name=named, on_error=on_error, mode=mode, overlap=overlap))

    return decorate(function) if function is not None else decorate
