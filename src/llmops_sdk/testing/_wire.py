"""The bytes of answers in the format of OpenAI's API, and the order in which a server sends them.

Wire format: https://platform.openai.com/docs/api-reference/chat (chat completions and their stream).
"""

from __future__ import annotations

import base64
import http
import itertools
import json
import math
import random
import re
import secrets
import struct
import time
from collections.abc import Iterator, Sequence
from typing import Any, Literal, NamedTuple, TypeAlias

from llmops_sdk.messages import ToolCall, Usage
from llmops_sdk.testing._faults import Behaviour, Hang, Raw, Reply, Status

__all__ = [
    "ANSWER_ID",
    "End",
    "Rendered",
    "Step",
    "at_once",
    "cut_text",
    "embeddings",
    "http_head",
    "json_answer",
    "json_bytes",
    "moderations",
    "pieces_of",
    "render",
    "seconds",
    "steps",
    "words",
]

ANSWER_ID = secrets.token_hex(6).encode()
"""Stands in rendered bytes where the number of the answer is put, twelve digits. Random: no text holds it."""

_TYPES = {401: "authentication_error", 403: "permission_error", 404: "not_found_error", 429: "rate_limit_error"}
_ARGUMENT_PIECES = 4
_DIMENSIONS = 16


class Rendered(NamedTuple):
    """An answer as bytes: the status line and headers, and the body in the pieces in which it is written."""

    head: bytes
    pieces: tuple[bytes, ...]
    chunked: bool
    first_chunk: int = 0
    """Pieces before the first one with text."""


End: TypeAlias = Literal["keep", "close", "reset", "hang"]


class Step(NamedTuple):
    """Wait `pause_s` (`None`: not at all, 0.0: one pass of the event loop), then write `data`."""

    pause_s: float | None
    data: bytes


def words(messages: object) -> int:
    """How many words the messages of a request hold; 0 for what is no list of messages."""
    count = 0
    for message in messages if isinstance(messages, list) else ():
        content = message.get("content") if isinstance(message, dict) else None
        if isinstance(content, str):
            count += len(content.split())
        elif isinstance(content, list):
            count += sum(len(str(part.get("text", "")).split()) for part in content if isinstance(part, dict))
    return count


def render(behaviour: Behaviour, request: dict[str, Any], *, input_tokens: int) -> Rendered:
    """The bytes that `behaviour` answers `request` with."""
    if isinstance(behaviour, Reply):
        writer = _AnswerWriter(behaviour, request, input_tokens)
        return writer.stream() if request.get("stream") else writer.whole()
    if isinstance(behaviour, Status):
        headers = {}
        if behaviour.retry_after_s is not None:
            headers["Retry-After"] = seconds(behaviour.retry_after_s)
        kind = _TYPES.get(behaviour.status, "invalid_request_error" if behaviour.status < 500 else "server_error")
        error = {"message": behaviour.message, "type": kind, "param": None, "code": behaviour.code}
        return json_answer(behaviour.status, {"error": error}, headers)
    if isinstance(behaviour, Raw):
        headers = dict(behaviour.headers or {})
        if behaviour.content_type is not None:
            headers = {"Content-Type": behaviour.content_type, **headers}
        return Rendered(http_head(behaviour.status, headers, len(behaviour.body)), (behaviour.body,), chunked=False)
    assert isinstance(behaviour, Hang)
    return Rendered(b"", (), chunked=False)


def json_answer(status: int, content: object, headers: dict[str, str] | None = None) -> Rendered:
    """A JSON body with its headers."""
    body = json_bytes(content)
    head = http_head(status, {"Content-Type": "application/json", **(headers or {})}, len(body))
    return Rendered(head, (body,), chunked=False)


def steps(rendered: Rendered, behaviour: Behaviour) -> tuple[Iterator[Step], End]:
    """What is sent when, and what becomes of the connection then."""
    dropped: End = "reset" if behaviour.reset else "close"
    if isinstance(behaviour, Hang):
        return iter(()), "hang"
    if behaviour.drop_in_headers is not None and behaviour.drop_in_headers <= len(rendered.head):
        return _drip([Step(None, rendered.head[: behaviour.drop_in_headers])], behaviour.drip_s), dropped
    pieces = rendered.pieces
    end: End = "keep"
    if isinstance(behaviour, Reply) and behaviour.hang_after is not None:
        pieces, end = pieces[: rendered.first_chunk + behaviour.hang_after if rendered.chunked else 0], "hang"
    planned, whole = _frames(pieces, rendered.chunked, behaviour)
    planned.insert(0, Step(None, rendered.head))
    if not whole:
        end = dropped
    elif end == "keep" and rendered.chunked:
        planned.append(Step(None, b"0\r\n\r\n"))
    return _drip(planned, behaviour.drip_s), end


def at_once(rendered: Rendered, behaviour: Behaviour) -> bytes | None:
    """The whole answer where it can be written at once and the connection is kept, else `None`."""
    if behaviour.delay_s or behaviour.drip_s is not None:
        return None
    planned, end = steps(rendered, behaviour)
    parts = list(planned)
    if end != "keep" or any(step.pause_s is not None for step in parts):
        return None
    return b"".join(step.data for step in parts)


def _frames(pieces: Sequence[bytes], chunked: bool, behaviour: Behaviour) -> tuple[list[Step], bool]:
    """The pieces as they are written, up to the byte at which the connection drops, and whether that is all."""
    pause = behaviour.chunk_delay_s if isinstance(behaviour, Reply) and chunked else None
    left = behaviour.drop_at
    planned: list[Step] = []
    for piece in pieces:
        before, after = (b"%x\r\n" % len(piece), b"\r\n") if chunked else (b"", b"")
        if left is not None and left < len(piece):
            planned.append(Step(pause, (before + piece[:left]) if left else b""))
            return planned, False
        planned.append(Step(pause, before + piece + after))
        left = None if left is None else left - len(piece)
    return planned, left is None or left > 0


def _drip(planned: Sequence[Step], drip_s: float | None) -> Iterator[Step]:
    if drip_s is None:
        yield from planned
        return
    for pause_s, data in planned:
        if pause_s:
            yield Step(pause_s, b"")
        for at in range(len(data)):
            yield Step(drip_s, data[at : at + 1])


class _AnswerWriter:
    """Writes one `Reply`, whole or as a stream."""

    def __init__(self, reply: Reply, request: dict[str, Any], input_tokens: int) -> None:
        self._reply = reply
        self._model = request.get("model") or "test-model"
        asked = request.get("n")
        self._n = asked if isinstance(asked, int) and asked > 0 else 1
        options = request.get("stream_options")
        self._usage_asked = isinstance(options, dict) and bool(options.get("include_usage"))
        self._input_tokens = input_tokens
        top = request.get("top_logprobs")
        self._top = (top if isinstance(top, int) else 0) if request.get("logprobs") is True else None
        self._says = "refusal" if reply.refusal else "content"
        self._finish = reply.finish_reason or ("tool_calls" if reply.tool_calls else "stop")

    def _text(self, index: int) -> str:
        reply = self._reply
        if isinstance(reply.chunks, tuple):
            return "".join(piece for piece in reply.chunks if isinstance(piece, str))
        if reply.text is None:
            return "" if reply.tool_calls else "Hello"
        return reply.text if isinstance(reply.text, str) else reply.text[index % len(reply.text)]

    def _usage(self) -> dict[str, Any] | None:
        if not self._reply.report_usage:
            return None
        usage = self._reply.usage
        if usage is None:
            output = sum(len(self._text(index).split()) for index in range(self._n))
            output += sum(len(call.arguments.split()) for call in self._reply.tool_calls)
            usage = Usage(input_tokens=self._input_tokens, output_tokens=output)
        return _usage_form(usage)

    def _frame(self, kind: str, **content: object) -> dict[str, object]:
        head = {"id": f"chatcmpl-{ANSWER_ID.decode()}", "object": kind, "created": int(time.time())}
        usage = self._reply.usage
        tier = {} if usage is None or usage.service_tier is None else {"service_tier": usage.service_tier}
        return {**head, "model": self._model, **tier, **content}

    def whole(self) -> Rendered:
        calls = [_tool_call(call) for call in self._reply.tool_calls]
        choices: list[dict[str, object]] = []
        for index in range(self._n):
            text = self._text(index)
            message: dict[str, object] = {"role": "assistant", "content": None}
            message[self._says] = text or (None if calls else "")
            if calls:
                message["tool_calls"] = calls
            if self._reply.reasoning is not None:
                message["reasoning_content"] = self._reply.reasoning
            pieces = [piece for piece in cut_text(text, self._reply.chunks) if isinstance(piece, str)]
            logprobs = self._logprobs(pieces)
            choices.append({"index": index, "message": message, "logprobs": logprobs, "finish_reason": self._finish})
        usage = self._usage()
        counted = {"usage": usage} if usage else {}
        return json_answer(200, self._frame("chat.completion", choices=choices, **counted), _REQUEST_ID)

    def stream(self) -> Rendered:
        opening = [self._event(index, {"role": "assistant", "content": ""}) for index in range(self._n)]
        thoughts = cut_text(self._reply.reasoning, None) if self._reply.reasoning else ()
        opening += [self._event(i, {"reasoning_content": piece}) for piece in thoughts for i in range(self._n)]
        events = opening + list(self._content()) + [self._event(i, {}, self._finish) for i in range(self._n)]
        usage = self._usage()
        if usage and self._usage_asked:
            events.append(_event(self._frame("chat.completion.chunk", choices=[], usage=usage)))
        events.append(b"data: [DONE]\n\n")
        head = http_head(200, {"Content-Type": "text/event-stream; charset=utf-8", **_REQUEST_ID}, None)
        return Rendered(head, tuple(events), chunked=True, first_chunk=len(opening))

    def _content(self) -> Iterator[bytes]:
        """The events with text, the choices taking turns, then those with tool calls."""
        cut = [cut_text(self._text(index), self._reply.chunks) for index in range(self._n)]
        for turn in range(max(map(len, cut))):
            for index in range(self._n):
                piece = cut[index][turn] if turn < len(cut[index]) else ""
                if not piece:
                    continue
                if isinstance(piece, bytes):
                    event = piece
                else:
                    event = self._event(index, {self._says: piece}, logprobs=self._logprobs([piece], turn))
                yield event
                if self._reply.duplicate_chunks:
                    yield event
        for index in range(self._n):
            for number, call in enumerate(self._reply.tool_calls):
                for delta in _tool_call_pieces(number, call):
                    yield self._event(index, {"tool_calls": [delta]})

    def _logprobs(self, pieces: Sequence[str], first: int = 0) -> dict[str, object] | None:
        """The log-probabilities of some pieces of a text, of which the first one is number `first`."""
        if self._top is None:
            return None
        content = []
        for turn, piece in enumerate(pieces, first):
            logprob = self._reply.logprobs[turn % len(self._reply.logprobs)]
            likeliest = [piece, *(f"token-{number}" for number in range(1, self._top))][: self._top]
            top = [_logprob(token, logprob - number) for number, token in enumerate(likeliest)]
            content.append({**_logprob(piece, logprob), "top_logprobs": top})
        return {"content": content, "refusal": None}

    def _event(
        self, index: int, delta: dict[str, object], finish: str | None = None, *, logprobs: object = None
    ) -> bytes:
        choice = {"index": index, "delta": delta, "logprobs": logprobs, "finish_reason": finish}
        return _event(self._frame("chat.completion.chunk", choices=[choice]))


def _usage_form(usage: Usage) -> dict[str, Any]:
    """The counts as OpenAI has them: parts are named where there are some. The hour is LiteLLM's and Anthropic's."""
    asked = {"cached_tokens": usage.cached_input_tokens}
    optional: dict[str, Any] = {
        "cache_write_tokens": usage.cache_write_tokens,
        "audio_tokens": usage.audio_input_tokens + usage.cached_audio_tokens,
        "cached_tokens_details": usage.cached_audio_tokens and {"audio_tokens": usage.cached_audio_tokens},
        "cache_creation_token_details": usage.cache_write_1h_tokens
        and {"ephemeral_1h_input_tokens": usage.cache_write_1h_tokens},
    }
    given = {"reasoning_tokens": usage.reasoning_tokens}
    if usage.audio_output_tokens:
        given["audio_tokens"] = usage.audio_output_tokens
    form = {
        "prompt_tokens": usage.input_tokens,
        "completion_tokens": usage.output_tokens,
        "total_tokens": usage.total_tokens,
        "prompt_tokens_details": {**asked, **{name: count for name, count in optional.items() if count}},
        "completion_tokens_details": given,
    }
    return form if usage.billed_usd is None else {**form, "cost": float(usage.billed_usd)}


_REQUEST_ID = {"x-request-id": f"req-{ANSWER_ID.decode()}"}


def embeddings(request: dict[str, Any]) -> Rendered:
    """The vectors of the texts in `request`: of length 1, the same for the same text, near for texts that share words.

    Each word points in a direction of its own; a text is the sum of its words.
    """
    texts = request["input"] if isinstance(request["input"], list) else [request["input"]]
    size = request.get("dimensions") or _DIMENSIONS
    rows = [
        {"object": "embedding", "index": index, "embedding": _vector(str(text), size, request.get("encoding_format"))}
        for index, text in enumerate(texts)
    ]
    tokens = sum(len(str(text).split()) for text in texts)
    usage = {"prompt_tokens": tokens, "total_tokens": tokens}
    return json_answer(200, {"object": "list", "data": rows, "model": request.get("model"), "usage": usage})


_MODERATED = ("harassment", "hate", "illicit", "self-harm", "sexual", "violence")


def moderations(request: dict[str, Any]) -> Rendered:
    """What is wrong with the texts in `request`: a category whose name is a word of the text is flagged."""
    texts = request["input"] if isinstance(request["input"], list) else [request["input"]]
    results = []
    for text in texts:
        said = {name: name in str(text).lower().split() for name in _MODERATED}
        scores = {name: 0.9 if found else 0.01 for name, found in said.items()}
        results.append({"flagged": any(said.values()), "categories": said, "category_scores": scores})
    return json_answer(200, {"id": "modr-1", "model": request.get("model"), "results": results})


def _vector(text: str, size: int, encoding: object) -> str | list[float]:
    total = [0.0] * size
    for word in text.lower().split() or [""]:
        direction = random.Random(word)
        total = [old + direction.gauss(0.0, 1.0) for old in total]
    length = math.hypot(*total)
    vector = [number / length for number in total]
    return base64.b64encode(struct.pack(f"<{size}f", *vector)).decode() if encoding == "base64" else vector


def _logprob(token: str, logprob: float) -> dict[str, object]:
    return {"token": token, "logprob": logprob, "bytes": list(token.encode("utf-8", "surrogatepass"))}


def cut_text(text: str, chunks: int | tuple[str | bytes, ...] | None) -> Sequence[str | bytes]:
    """`text` as the chunks that `Reply.chunks` asks for."""
    if isinstance(chunks, tuple):
        return chunks
    if chunks is None:
        return re.findall(r"\s*\S+\s*$|\s*\S+", text) or [text]
    return pieces_of(text, chunks)


def pieces_of(text: str, count: int) -> list[str]:
    """`text` in `count` pieces of about the same length."""
    edges = [len(text) * at // count for at in range(count + 1)]
    return [text[start:end] for start, end in itertools.pairwise(edges)]


def _tool_call(call: ToolCall) -> dict[str, object]:
    return {"id": call.id, "type": "function", "function": {"name": call.name, "arguments": call.arguments}}


def _tool_call_pieces(number: int, call: ToolCall) -> Iterator[dict[str, object]]:
    yield {"index": number, **_tool_call(ToolCall(id=call.id, name=call.name, arguments=""))}
    for piece in pieces_of(call.arguments, _ARGUMENT_PIECES):
        yield {"index": number, "function": {"arguments": piece}}


def _event(content: object) -> bytes:
    return b"data: " + json_bytes(content) + b"\n\n"


def json_bytes(content: object) -> bytes:
    """`content` as JSON, in UTF-8 where that is possible."""
    try:
        return json.dumps(content, ensure_ascii=False, separators=(",", ":")).encode()
    except UnicodeEncodeError:  # lone surrogates: only an escape can carry them
        return json.dumps(content, separators=(",", ":")).encode()


def http_head(status: int, headers: dict[str, str], length: int | None) -> bytes:
    """The status line and headers of an answer; without a length it is sent in chunks."""
    try:
        phrase = http.HTTPStatus(status).phrase
    except ValueError:
        phrase = "Status"
    framing = {"Transfer-Encoding": "chunked"} if length is None else {"Content-Length": str(length)}
    lines = [f"HTTP/1.1 {status} {phrase}", *(f"{name}: {value}" for name, value in {**headers, **framing}.items())]
    return "\r\n".join([*lines, "", ""]).encode("latin-1")


def seconds(value: float | str) -> str:
    """The value of `Retry-After`."""
    return value if isinstance(value, str) else f"{value:g}"
