"""What a dialect is given, and what it has to give."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeAlias, TypeVar

from llmops_sdk.calls import AttemptEnded, Call, Ended, Evaluated, GuardChecked, Rendered, ToolExecuted
from llmops_sdk.tracing._content import Content, Shown

__all__ = ["Attributes", "Dialect", "Run"]

T = TypeVar("T")

_NOT_YET: Any = object()

Attributes: TypeAlias = "dict[str, str | bool | int | float | Sequence[str]]"


@dataclass(slots=True)
class Run:
    """A run that has ended, as the dialects read it.

    Attributes:
        call: The run; its record does not change any more.
        ended: How it ended.
        content: What may be shown of its texts; `None` where content is off.
    """

    call: Call
    ended: Ended
    content: Content | None = None
    _made: dict[Hashable, Any] = field(default_factory=dict)

    @property
    def tags(self) -> Mapping[str, Any]:
        """The tags of the run as they may be shown."""
        return self.once("shown tags", lambda: self.call.shown_tags)

    def shown(self, event: AttemptEnded) -> Shown | None:
        """The messages of an attempt that may be shown."""
        return None if self.content is None else self.content.attempt(event)

    def once(self, key: Hashable, make: Callable[[], T]) -> T:
        """What `make` gives, made once for all dialects."""
        made = self._made.get(key, _NOT_YET)
        if made is _NOT_YET:
            made = self._made[key] = make()
        return made  # type: ignore[no-any-return]


class Dialect(Protocol):
    """Attributes of each kind of span."""

    def workflow(self, run: Run, /) -> Attributes:
        """Of the root, when the run has ended."""
        ...

    def prompt(self, event: Rendered, run: Run, /) -> Attributes:
        """Of the rendering of the prompt."""
        ...

    def guard(self, event: GuardChecked, run: Run, /) -> Attributes:
        """Of a guard that has read."""
        ...

    def attempt(self, event: AttemptEnded, run: Run, /) -> Attributes:
        """Of an engine that was asked."""
        ...

    def tool(self, event: ToolExecuted, run: Run, /) -> Attributes:
        """Of a tool that was executed."""
        ...

    def evaluation(self, event: Evaluated, run: Run, /) -> Attributes:
        """Of a judgement about the run."""
        ...
