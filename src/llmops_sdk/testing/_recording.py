"""One line of a cassette: a request, and what came of it, as JSON."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from typing import Any

from llmops_sdk import errors
from llmops_sdk.errors import AllEnginesFailed, Attempt, InvalidResponseError, LlmopsError, StreamInterrupted
from llmops_sdk.messages import (
    Choice,
    Chunk,
    Message,
    RateLimit,
    Request,
    Response,
    StreamRestarted,
    TextPart,
    TokenLogprob,
    ToolCall,
    Usage,
)
from llmops_sdk.testing._scrubbing import scrub_value

__all__ = [
    "Recording",
    "asked_of",
    "chunk_of",
    "error_of",
    "error_record",
    "lines_of",
    "record_of",
    "response_of",
    "scrub_answer",
    "scrub_stream",
]

_PARAMETERS = (
    "temperature", "top_p", "max_tokens", "stop", "seed", "n", "tools", "tool_choice", "response_schema", "logprobs",
    "adapter", "continues", "extra",
)  # fmt: skip
"""The fields of a request that take part in matching, besides the messages."""


@dataclass(slots=True, kw_only=True)
class Recording:
    """One line of a cassette.

    Attributes:
        kind: `"response"`, `"stream"` or `"embeddings"`: how the engine was asked.
        asked: The request in canonical form, as `asked_of` makes it, scrubbed.
        answer: A response, or vectors.
        chunks: Of a stream: seconds since the request, and the chunk.
        error: What was raised, in the end.
        ended: Of a stream: whether its consumer read on to the end or the error.
        duration_s: Seconds from the request to the end.
    """

    kind: str
    asked: dict[str, Any]
    answer: Any = None
    chunks: list[tuple[float, dict[str, Any]]] = dataclasses.field(default_factory=list)
    error: dict[str, Any] | None = None
    ended: bool = True
    duration_s: float = 0.0

    @property
    def key(self) -> str:
        """Equal for requests that match."""
        return self.kind + json.dumps(self.asked, sort_keys=True)

    def to_line(self) -> bytes:
        """The line, with its end."""
        fields = {name: getattr(self, name) for name in self.__slots__}
        # ASCII: lone surrogates and odd ends of lines survive as escapes.
        return json.dumps(fields, separators=(",", ":")).encode("ascii") + b"\n"

    @classmethod
    def from_line(cls, line: bytes) -> Recording:
        """Read a line.

        Raises:
            ValueError, TypeError, LookupError, AttributeError: It is no recording.
        """
        fields = json.loads(line)
        if not isinstance(fields, dict):
            raise TypeError("it is no JSON object")
        recording = cls(**fields)
        if recording.kind not in {"response", "stream", "embeddings"}:
            raise ValueError(f"unknown kind {recording.kind!r}")
        # What cannot be replayed is found now, where the line is known.
        lines_of(recording.asked)
        if recording.kind == "response" and recording.error is None:
            response_of(recording.answer)
        for at, chunk in recording.chunks:
            chunk_of(chunk), float(at)
        if recording.error is not None:
            error_of(recording.error)
        return recording


def asked_of(request: Request, model: str | None, scrub: Callable[[str], str]) -> dict[str, Any]:
    """A request in the canonical form in which requests are compared: what the model would see, and no more."""
    asked: dict[str, Any] = {"model": model, "messages": [_message(message) for message in request.messages]}
    for name in _PARAMETERS:
        value = getattr(request, name)
        if value not in (None, (), {}) and value is not False and not (name == "n" and value == 1):
            asked[name] = _plain(value)
    scrubbed: dict[str, Any] = scrub_value(asked, scrub)
    return scrubbed


def _message(message: Message) -> dict[str, Any]:
    content: object = message.content
    if not isinstance(content, str):
        content = [
            {"text": part.text} if isinstance(part, TextPart) else {"url": part.url, "detail": part.detail}
            for part in message.content
            if not isinstance(part, str)
        ]
    plain: dict[str, Any] = {"role": message.role, "content": content}
    if message.tool_calls:
        plain["tool_calls"] = [dataclasses.asdict(call) for call in message.tool_calls]
    if message.tool_call_id is not None:
        plain["tool_call_id"] = message.tool_call_id
    if message.name is not None:
        plain["name"] = message.name
    return plain


def _plain(value: object) -> Any:
    """`value` as JSON would give it back; what JSON cannot hold is compared by its `repr`."""
    if isinstance(value, Mapping):
        return {str(name): _plain(one) for name, one in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, str | bytes):
        return [_plain(one) for one in value]
    if isinstance(value, float) and value.is_integer():
        return int(value)  # a temperature of 0.0 is one of 0
    return value if value is None or isinstance(value, str | int | float | bool) else repr(value)


def record_of(answer: Response | Chunk) -> dict[str, Any]:
    """A response or a chunk as JSON, without the fields that have their default values."""
    plain: dict[str, Any] = {}
    for one in dataclasses.fields(answer):
        value = getattr(answer, one.name)
        if value != one.default:
            plain[one.name] = _as_json(value)
    return plain


def _as_json(value: object) -> object:
    if isinstance(value, tuple):
        return [_as_json(one) for one in value]
    if isinstance(value, Decimal):
        return str(value)
    if isinstance(value, TokenLogprob):  # by place: what stands under the name `token` would be scrubbed as a whole
        return [value.token, value.logprob, _as_json(value.top)]
    if isinstance(value, Choice | RateLimit | ToolCall | Usage):
        return {one.name: _as_json(getattr(value, one.name)) for one in dataclasses.fields(value)}
    return value


def response_of(plain: dict[str, Any]) -> Response:
    """The response that `record_of` wrote."""
    choices = tuple(Choice(**{**choice, **_tuples(choice)}) for choice in plain["choices"])
    return Response(**{**plain, "choices": choices, **_counts(plain)})


def chunk_of(plain: dict[str, Any]) -> Chunk:
    """The chunk that `record_of` wrote."""
    kind = StreamRestarted if "withdrawn" in plain else Chunk
    return kind(**{**plain, **_tuples(plain), **_counts(plain)})


def _money(plain: dict[str, Any]) -> Decimal | None:
    # `Decimal` raises an ArithmeticError for what is no number, which a damaged line is not expected to raise.
    try:
        return Decimal(plain["cost_usd"]) if "cost_usd" in plain else None
    except InvalidOperation as exc:
        raise ValueError(f"{plain['cost_usd']!r} is no sum of money") from exc


def _tuples(plain: dict[str, Any]) -> dict[str, Any]:
    """The fields of a choice or a chunk that JSON knows as lists."""
    return {
        "tool_calls": tuple(ToolCall(**call) for call in plain.get("tool_calls", ())),
        "logprobs": tuple(
            TokenLogprob(token=token, logprob=logprob, top=tuple((one, likely) for one, likely in top))
            for token, logprob, top in plain.get("logprobs", ())
        ),
        "token_ids": tuple(plain.get("token_ids", ())),
    }


def _counts(plain: dict[str, Any]) -> dict[str, Any]:
    limit = plain.get("rate_limit")
    return {
        "usage": _usage(plain),
        "cost_usd": _money(plain),
        "rate_limit": None if limit is None else RateLimit(**limit),
    }


def _usage(plain: dict[str, Any]) -> Usage | None:
    try:
        return Usage.from_json(plain["usage"]) if plain.get("usage") else None
    except InvalidOperation as exc:
        raise ValueError(f"{plain['usage']!r} holds no sum of money") from exc


def scrub_stream(chunks: Sequence[tuple[float, dict[str, Any]]], scrub: Callable[[str], str]) -> list[Any]:
    """Scrub the chunks of a stream, also what is a key only when they are joined; the timings stay.

    Where scrubbing changes a choice's text or its reasoning, that is cut anew: each chunk keeps its length, the last
    takes the rest. Then the tokens of the choice go: they spell what was scrubbed.
    """
    scrubbed = [(at, scrub_value(chunk, scrub)) for at, chunk in chunks]
    for index in {chunk.get("index", 0) for _, chunk in chunks}:
        mine = [number for number, (_, chunk) in enumerate(chunks) if chunk.get("index", 0) == index]
        before, after = ([every[number][1] for number in mine] for every in (chunks, scrubbed))
        for name in ("text", "reasoning"):
            _cut_anew(before, after, name, scrub)
        if any(_written(old) != _written(new) for old, new in zip(before, after, strict=True)):
            for chunk in after:
                _drop_tokens(chunk)
    return scrubbed


def _cut_anew(
    before: Sequence[dict[str, Any]], after: Sequence[dict[str, Any]], name: str, scrub: Callable[[str], str]
) -> None:
    lengths = [len(chunk.get(name, "")) for chunk in before]
    joined = "".join(chunk.get(name, "") for chunk in before)
    text = scrub(joined)
    if text == joined:
        return
    at = 0
    for chunk, length in zip(after, lengths, strict=True):
        end = len(text) if chunk is after[-1] else at + length
        chunk[name] = text[at:end]
        at = end


def scrub_answer(answer: Any, scrub: Callable[[str], str]) -> Any:
    """Scrub a whole answer; the tokens of a choice that was changed by it go: they spell what was scrubbed."""
    scrubbed = scrub_value(answer, scrub)
    if isinstance(answer, dict):  # else vectors
        for old, new in zip(answer.get("choices", ()), scrubbed.get("choices", ()), strict=True):
            if _written(old) != _written(new):
                _drop_tokens(new)
    return scrubbed


def _written(plain: Mapping[str, Any]) -> tuple[Any, ...]:
    """What a model wrote in a choice or a chunk, in JSON."""
    return plain.get("text"), plain.get("reasoning"), plain.get("tool_calls")


def _drop_tokens(plain: dict[str, Any]) -> None:
    plain.pop("logprobs", None)
    plain.pop("token_ids", None)


def error_record(error: LlmopsError) -> dict[str, Any]:
    """An error as JSON: its class, its message and all that it knows."""
    # A class that is not ours is replayed as the nearest one that is: a cassette imports nothing.
    known = next(cls.__name__ for cls in type(error).__mro__ if getattr(errors, cls.__name__, None) is cls)
    if isinstance(error, AllEnginesFailed):
        attempts = [
            {"engine": a.engine, "duration_s": a.duration_s, "error": error_record(_ours(a.error))}
            for a in error.attempts
        ]
        return {"class": known, "message": error.__reduce__()[1][0], "attempts": attempts}
    state = {
        name: value.decode("utf-8", "backslashreplace") if isinstance(value, bytes) else _plain(_as_json(value))
        for name, value in vars(error).items()
        if not name.startswith("_")
    }
    return {"class": known, "message": str(error), "state": state}


def _ours(error: Exception) -> LlmopsError:
    return error if isinstance(error, LlmopsError) else LlmopsError(f"{type(error).__name__}: {error}")


def error_of(plain: dict[str, Any]) -> LlmopsError:
    """The error that `error_record` wrote, of the same class."""
    cls = getattr(errors, plain["class"], None)
    if not (isinstance(cls, type) and issubclass(cls, LlmopsError)):
        raise ValueError(f"no error of llmops_sdk is called {plain['class']!r}")
    if cls is AllEnginesFailed:
        attempts = [
            Attempt(engine=one["engine"], error=error_of(one["error"]), duration_s=one["duration_s"])
            for one in plain["attempts"]
        ]
        return AllEnginesFailed(plain["message"], attempts)
    error: LlmopsError = cls.__new__(cls, plain["message"])
    error.args = (plain["message"],)
    vars(error).update(plain["state"])
    if isinstance(error, StreamInterrupted):
        error.usage = _usage(plain["state"])
    if isinstance(error, InvalidResponseError):
        error.body = str(plain["state"].get("body", "")).encode("utf-8", "replace")
    return error


def lines_of(asked: dict[str, Any]) -> list[str]:
    """A canonical request as lines that people can read and compare."""
    lines = [f"{name}: {json.dumps(value, sort_keys=True)}" for name, value in asked.items() if name != "messages"]
    for message in asked.get("messages", ()):
        lines.append(f"[{message['role']}]")
        content = message["content"]
        lines += content.split("\n") if isinstance(content, str) else [json.dumps(part) for part in content]
        lines += [f"{name}: {json.dumps(message[name])}" for name in message if name not in {"role", "content"}]
    return lines
