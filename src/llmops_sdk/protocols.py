"""The architecture on one page: what a guard, an engine and a hook have to be able to do.

Any object with these methods fits into a pipeline; nothing has to be imported or inherited. `llmops_sdk.Guard` and
`llmops_sdk.Engine` are base classes that bring the rest (streams, sync methods, composition with `|`).
"""

from __future__ import annotations

import inspect
from collections.abc import AsyncIterator, Awaitable, Callable, Collection
from dataclasses import dataclass
from typing import Any, Protocol, TypeAlias

from llmops_sdk.calls import Call, Event
from llmops_sdk.messages import Chunk, Origin, Request, Response
from llmops_sdk.verdicts import Stage, Surface, Verdict

__all__ = ["Capabilities", "EngineLike", "GuardContext", "GuardLike", "GuardStream", "Hook", "left_out", "takes_two"]

Hook: TypeAlias = Callable[[Event, Call], object]
"""Called with each event of a run as it is recorded, on the run's event loop: keep it short, hand work on.

What it returns is ignored; what it raises is logged and breaks nothing. It must not change the events.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class GuardContext:
    """What a guard may know of the text that it reads.

    Attributes:
        call: The run.
        stage: `"input"` before the engine, `"output"` after it.
        origin: Who wrote the text: `"system"`, `"user"`, `"assistant"`, `"tool:name"`; after the engine `"output"`,
            `"reasoning"` for what the model thought before it answered; `"tool_call:name"` for the arguments of a call
            of a tool, and `"tool_name"` for the name itself.
        origins: Stretches of the text that came from variables, tools or documents.
        request: The request as rendered (before the guards of the output) or as sent (after the engine).
        index: Which choice of the answer, for outputs.
        again: Whether all of the request is made of what guards let pass before in this run, as where an answer is
            shown to the engine to be mended: placeholders in it are the guards' own.
    """

    call: Call
    stage: Stage
    origin: str
    origins: tuple[Origin, ...] = ()
    request: Request | None = None
    index: int = 0
    again: bool = False


class GuardLike(Protocol):
    """Reads a text and decides what may happen to it."""

    def check(self, text: str, context: GuardContext | None = None, /) -> Verdict | Awaitable[Verdict]:
        """Decide about the whole `text`. May be `async`; may take only `text`."""
        ...


class GuardStream(Protocol):
    """One guard at work on one stream of text.

    Joined, what `feed` and `finish` return equals the guarded whole text, for every way of cutting the text. A stream
    that may raise in the middle has an attribute `held`, the text that it holds back: a guard with `on_error="allow"`
    loses nothing then.

    One that has to wait (for a model, for a thread) may return an awaitable of the text instead of the text.
    """

    @property
    def verdict(self) -> Verdict:
        """The verdict so far; final after `finish`, or once its action is `"block"`. A plain attribute will do."""
        ...

    def feed(self, text: str, /) -> str | Awaitable[str]:
        """Take the next piece; return what may be emitted now. After a block: the allowed text before it, then `""`."""
        ...

    def finish(self) -> str | Awaitable[str]:
        """The text has ended; return the rest that may be emitted."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Capabilities:
    """What an engine can do, as far as it is known; `None` is not known, and a router then lets the engine try.

    Attributes:
        tools: Whether it can call tools.
        images: Whether it reads images.
        json_schema: Whether it can answer by a JSON schema.
        continues: Whether it continues an assistant message that stands last, with not a character between.
        context_window: Most tokens of a prompt and its answer together.
    """

    tools: bool | None = None
    images: bool | None = None
    json_schema: bool | None = None
    continues: bool | None = None
    context_window: int | None = None


class EngineLike(Protocol):
    """Answers a request. `name` is unique among the engines of a router; `request.call` knows the deadline."""

    name: str

    async def agenerate(self, request: Request, /) -> Response:
        """Answer as a whole. Raises only errors of `llmops_sdk.errors`; cancelling stops the work upstream."""
        ...

    def astream(self, request: Request, /) -> AsyncIterator[Chunk]:
        """Answer in chunks. Closing the iterator stops the work upstream."""
        ...


def left_out(read: Collection[Surface], context: GuardContext, /) -> bool:
    """Whether a text belongs to a surface that is not among those that are `read`."""
    origin = context.origin
    return (
        (origin.startswith("tool_call:") and "tool_calls" not in read)
        or (origin == "tool_name" and "tool_calls" not in read)
        or (origin.startswith("tool:") and "tool_results" not in read)
        or (origin == "reasoning" and "reasoning" not in read)
        or (context.index > 0 and "choices" not in read)
    )


def takes_two(function: Callable[..., Any]) -> bool:
    """Whether `function` takes two positional arguments: people may leave out a guard's context, a hook's call."""
    try:
        inspect.signature(function).bind(None, None)
    except TypeError:
        return False
    except ValueError:  # a builtin without a signature
        return True
    return True
