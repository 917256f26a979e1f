"""Requests that want the last message continued: what every engine asks of them."""

from __future__ import annotations

from llmops_sdk.errors import BadRequestError, UnsupportedError
from llmops_sdk.messages import Request

__all__ = ["check_continues", "continues_not"]


def check_continues(request: Request, *, engine: str, model: str | None) -> None:
    """Refuse a request that wants something continued that cannot be.

    Raises:
        BadRequestError: The last message is no text of an assistant's.
        UnsupportedError: A schema is asked for, which would hold for the rest of the answer as if it were all of it.
    """
    last = request.messages[-1] if request.messages else None
    if last is None or last.role != "assistant" or last.tool_calls or not last.text:
        raise BadRequestError(
            "`continues=True` goes on with the last message, and that is no text of an assistant's; "
            "end the messages with `Message.assistant('the beginning')`",
            engine=engine,
            model=model,
        )
    if request.response_schema is not None:
        raise UnsupportedError(
            "the rest of an answer cannot be held to the JSON schema of the whole; leave out `continues` or the schema",
            engine=engine,
            model=model,
        )


def continues_not(why: str, *, engine: str, model: str | None) -> UnsupportedError:
    """The error of an engine that cannot continue a message."""
    return UnsupportedError(f"{why}; leave out `continues`, or ask another engine", engine=engine, model=model)
