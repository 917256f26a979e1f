"""Asking an engine from inside a guard: within the run's deadline and budget, and paid from it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from llmops_sdk.costs import ask_aside
from llmops_sdk.errors import ConfigurationError
from llmops_sdk.messages import Message, Request, Response
from llmops_sdk.protocols import EngineLike, GuardContext

__all__ = ["Said", "ask", "read_by_guards", "require_engine", "said_before"]


class Said(NamedTuple):
    """One turn of a conversation.

    Attributes:
        role: `"user"` or `"assistant"`.
        text: What was said.
    """

    role: str
    text: str


def said_before(text: str, context: GuardContext | None, most: int) -> list[Said]:
    """At most `most` turns of user and assistant that came before `text` in the request of its run, oldest first."""
    if context is None or context.request is None or most < 1:
        return []
    messages: Sequence[Message] = context.request.messages
    end = len(messages)
    if context.stage == "input":
        # The context does not say which message it is: the last one that holds the text, or the last of its role.
        places = [i for i, message in enumerate(messages) if text and text in message.text]
        places = places or [i for i, message in enumerate(messages) if message.role == context.origin]
        end = places[-1] if places else end
    said = [Said(m.role, m.text) for m in messages[:end] if m.role in {"user", "assistant"} and m.text]
    return said[-most:]


def read_by_guards(context: GuardContext | None) -> bool:
    """Whether a model has to read this text: the application's own words are read where others' stand in them."""
    if context is None or context.origin != "system":
        return True
    return any(not origin.trusted for origin in context.origins)


def require_engine(engine: object, method: str = "agenerate") -> None:
    """Refuse what is no engine.

    Raises:
        ConfigurationError: It has no such method.
    """
    if isinstance(engine, type) or not callable(getattr(engine, method, None)):
        raise ConfigurationError(
            f"{engine!r} has no `async {method}(...)`: give an engine, `Engine.open('scheme:model')` or one of your own"
        )


async def ask(
    engine: EngineLike, request: Request, context: GuardContext | None, *, asker: str, timeout_s: float | None
) -> Response:
    """Ask `engine` on behalf of the run that `context` belongs to; see `costs.ask_aside`."""
    call = context.call if context is not None else None
    return await ask_aside(engine, request, call, asker=asker, timeout_s=timeout_s)
