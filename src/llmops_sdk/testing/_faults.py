"""How a `FaultServer` behaves towards one request: small frozen records."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

from llmops_sdk.errors import ConfigurationError
from llmops_sdk.messages import ToolCall, Usage

__all__ = ["INVALID_UTF8", "Behaviour", "Hang", "Raw", "Reply", "Script", "Status", "behaviour_of", "huge_line"]

INVALID_UTF8 = b'data: {"choices":[{"index":0,"delta":{"content":"\xff\xfe\xc3"},"finish_reason":null}]}\n\n'
"""An event of a stream whose text is no UTF-8: `Reply(chunks=("Hel", INVALID_UTF8, "lo"))`."""


def huge_line(size: int) -> bytes:
    """Make the beginning of an event, `size` bytes without an end of line, to stand among the chunks of a `Reply`."""
    return b"data: " + b"x" * (size - 6)


@dataclass(frozen=True, slots=True, kw_only=True)
class Behaviour:
    """What can happen on the way of any answer. Bytes of a body are counted without the chunked framing.

    Attributes:
        delay_s: Seconds before the first byte of the headers.
        drop_at: Bytes of the body after which the connection is closed; more than the body has: never.
        drop_in_headers: Bytes of the status line and headers after which the connection is closed.
        reset: Whether a drop is a TCP reset, in place of an orderly end. What is still on its way may be lost then.
        drip_s: Send byte by byte, with so many seconds between them (0.0: one pass of the event loop).
    """

    delay_s: float = 0.0
    drop_at: int | None = None
    drop_in_headers: int | None = None
    reset: bool = False
    drip_s: float | None = None

    def __post_init__(self) -> None:
        for name in ("delay_s", "drop_at", "drop_in_headers", "drip_s"):
            _at_least(0, name, getattr(self, name))


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply(Behaviour):
    """An answer by the protocol, or nearly so.

    Attributes:
        text: What to answer; a tuple holds one text for each choice, and is cycled when more are asked for. `None`:
            "Hello", or no text beside tool calls.
        chunks: How a stream is cut: a number of pieces, or the pieces themselves (`bytes` among them are sent as they
            are, in place of an event). `None`: a piece for each word. Given pieces also are the text of a whole answer.
        chunk_delay_s: Seconds before each chunk. 0.0: each chunk in a write of its own; `None`: all in one write.
        duplicate_chunks: Whether each chunk with text is sent twice.
        hang_after: Chunks with text after which nothing more comes, while the connection stays open. A whole answer
            hangs after its headers.
        tool_calls: Tools that the model asks for; streamed with their arguments in pieces.
        finish_reason: `"stop"`, or `"tool_calls"` where there are some, unless given.
        usage: Tokens to report, of all classes that the API has a form for, with the tier and what is billed; words are
            counted unless given.
        report_usage: Whether tokens are reported at all.
        reasoning: What the model thought, as `reasoning_content` or a block of thinking; streamed before the text, a
            piece for each word.
        logprobs: Log-probabilities of the pieces of the text, `<= 0`, used over and over; reported where the request
            asks for them, with the likeliest tokens at each place made up.
        refusal: Whether the text stands as a refusal, as OpenAI's models put it where a schema was asked for.
    """

    text: str | tuple[str, ...] | None = None
    chunks: int | tuple[str | bytes, ...] | None = None
    chunk_delay_s: float | None = 0.0
    duplicate_chunks: bool = False
    hang_after: int | None = None
    tool_calls: tuple[ToolCall, ...] = ()
    finish_reason: str | None = None
    usage: Usage | None = None
    report_usage: bool = True
    reasoning: str | None = None
    logprobs: tuple[float, ...] = (-0.5,)
    refusal: bool = False

    def __post_init__(self) -> None:
        Behaviour.__post_init__(self)
        _at_least(0, "chunk_delay_s", self.chunk_delay_s)
        _at_least(0, "hang_after", self.hang_after)
        _at_least(1, "chunks", self.chunks if isinstance(self.chunks, int) else None)
        if not self.logprobs or max(self.logprobs) > 0:
            raise ConfigurationError(f"`logprobs` is {self.logprobs}; write at least one number, none above 0")
        if self.text == ():
            raise ConfigurationError("`text` is an empty tuple; write a text, or one text for each choice")


@dataclass(frozen=True, slots=True, kw_only=True)
class Status(Behaviour):
    """A refusal with an OpenAI-style error body.

    Attributes:
        status: HTTP status, 400 to 599.
        message: What the body says.
        code: The provider's own code, `"context_length_exceeded"` for example.
        retry_after_s: Value of `Retry-After`, seconds; a text is sent as it is (an HTTP date, say).
    """

    status: int
    message: str = "as the script says"
    code: str | None = None
    retry_after_s: float | str | None = None

    def __post_init__(self) -> None:
        Behaviour.__post_init__(self)
        if not 400 <= self.status <= 599:
            raise ConfigurationError(f"`status` is {self.status}; a refusal has one from 400 to 599, other ones `Raw`")


@dataclass(frozen=True, slots=True, kw_only=True)
class Raw(Behaviour):
    """Any bytes as a body: broken JSON (the default), HTML from a proxy, a wrong content type.

    Attributes:
        body: The body as it is.
        content_type: Value of `Content-Type`; `None`: no such header.
        status: HTTP status.
        headers: Further headers.
    """

    body: bytes = b'{"choices": [{"mess'
    content_type: str | None = "application/json"
    status: int = 200
    headers: Mapping[str, str] | None = None

    @classmethod
    def html(cls, *, status: int = 200) -> Raw:
        """What a proxy says in place of the endpoint."""
        page = b"<!doctype html><html><body><h1>Bad gateway</h1></body></html>"
        return cls(body=page, content_type="text/html; charset=utf-8", status=status)


@dataclass(frozen=True, slots=True, kw_only=True)
class Hang(Behaviour):
    """Read the request and never answer; the connection stays open."""


Script: TypeAlias = Behaviour | str | list[str] | int | Callable[[dict[str, Any]], Any]
"""A behaviour, or short for one: a text, its chunks, a status, or a function of the request's JSON that gives one."""


def _at_least(least: int, name: str, value: float | None) -> None:
    if value is not None and value < least:
        raise ConfigurationError(f"`{name}` is {value}; write at least {least}, or leave it out")


def behaviour_of(given: object) -> Behaviour | Callable[[dict[str, Any]], Any]:
    """The behaviour that `given` is short for; functions stay as they are.

    Raises:
        ConfigurationError: It is nothing that a server can do.

    Example:
        >>> behaviour_of(429).status
        429
    """
    if isinstance(given, Behaviour):
        return given
    if isinstance(given, str):
        return Reply(text=given)
    if isinstance(given, list) and all(isinstance(piece, str | bytes) for piece in given):
        return Reply(chunks=tuple(given))
    if isinstance(given, int) and not isinstance(given, bool) and 400 <= given <= 599:
        return Status(status=given)
    if callable(given):
        return given
    raise ConfigurationError(
        f"a fault server cannot behave like {given!r}: write a text, a list of chunks, a status from 400 to 599, "
        "one of Reply, Status, Raw and Hang, or a function of the request that returns one of these"
    )
