"""The bytes of answers in the format of Anthropic's Messages API.

Wire format: https://platform.claude.com/docs/en/api/messages and
https://platform.claude.com/docs/en/build-with-claude/streaming.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from llmops_sdk.messages import ToolCall, Usage
from llmops_sdk.testing._faults import Behaviour, Reply, Status
from llmops_sdk.testing._wire import (
    ANSWER_ID,
    Rendered,
    cut_text,
    http_head,
    json_answer,
    json_bytes,
    pieces_of,
    render,
    seconds,
    words,
)

__all__ = ["message_refusal", "message_words", "render_message"]

_TYPES = {
    401: "authentication_error",
    402: "billing_error",
    403: "permission_error",
    404: "not_found_error",
    413: "request_too_large",
    429: "rate_limit_error",
    504: "timeout_error",
    529: "overloaded_error",
}
_STOP_REASONS = {
    "stop": "end_turn",
    "length": "max_tokens",
    "tool_calls": "tool_use",
    "content_filter": "refusal",
}
_REQUEST_ID = {"request-id": f"req_{ANSWER_ID.decode()}"}
_ARGUMENT_PIECES = 4


def message_words(request: dict[str, Any]) -> int:
    """How many words the system prompt and the messages of a request hold."""
    return words([{"content": request.get("system")}]) + words(request.get("messages"))


def render_message(behaviour: Behaviour, request: dict[str, Any], *, input_tokens: int) -> Rendered:
    """The bytes that `behaviour` answers `request` with."""
    if isinstance(behaviour, Reply):
        writer = _MessageWriter(behaviour, request, input_tokens)
        return writer.stream() if request.get("stream") else writer.whole()
    if isinstance(behaviour, Status):
        return message_refusal(behaviour)
    return render(behaviour, request, input_tokens=input_tokens)


def message_refusal(status: Status) -> Rendered:
    """A refusal with an error body of this API; it has no codes beside the type, so `code` is put in its place."""
    headers = {} if status.retry_after_s is None else {"Retry-After": seconds(status.retry_after_s)}
    other = "invalid_request_error" if status.status < 500 else "api_error"
    error = {"type": status.code or _TYPES.get(status.status, other), "message": status.message}
    return json_answer(status.status, {"type": "error", "error": error}, {**_REQUEST_ID, **headers})


class _MessageWriter:
    """Writes one `Reply`, whole or as a stream; its first text, since this API gives one answer."""

    def __init__(self, reply: Reply, request: dict[str, Any], input_tokens: int) -> None:
        self._reply = reply
        self._model = request.get("model") or "test-model"
        finish = reply.finish_reason or ("tool_calls" if reply.tool_calls else "stop")
        if reply.refusal and reply.finish_reason is None:
            finish = "content_filter"
        self._stop_reason = _STOP_REASONS.get(finish, finish)
        self._text = self._whole_text()
        self._counted = self._usage(input_tokens) if reply.report_usage else None

    def _whole_text(self) -> str:
        reply = self._reply
        if isinstance(reply.chunks, tuple):
            return "".join(piece for piece in reply.chunks if isinstance(piece, str))
        if reply.text is None:
            return "" if reply.tool_calls else "Hello"
        return reply.text if isinstance(reply.text, str) else reply.text[0]

    def _usage(self, input_tokens: int) -> dict[str, Any]:
        usage = self._reply.usage
        if usage is None:
            output = len(self._text.split()) + sum(len(call.arguments.split()) for call in self._reply.tool_calls)
            usage = Usage(input_tokens=input_tokens, output_tokens=output)
        form: dict[str, Any] = {
            "input_tokens": usage.input_tokens - usage.cached_input_tokens - usage.cache_write_tokens,
            "cache_creation_input_tokens": usage.cache_write_tokens,
            "cache_read_input_tokens": usage.cached_input_tokens,
            "output_tokens": usage.output_tokens,
            "output_tokens_details": {"thinking_tokens": usage.reasoning_tokens},
        }
        if usage.cache_write_tokens:
            hour = usage.cache_write_1h_tokens
            by_age = {"ephemeral_5m_input_tokens": usage.cache_write_tokens - hour, "ephemeral_1h_input_tokens": hour}
            form["cache_creation"] = by_age
        return form if usage.service_tier is None else {**form, "service_tier": usage.service_tier}

    def _message(self, content: list[dict[str, object]], usage: dict[str, Any] | None, **stop: object) -> object:
        head = {"id": f"msg_{ANSWER_ID.decode()}", "type": "message", "role": "assistant", "model": self._model}
        message = {**head, "content": content, "stop_reason": None, "stop_sequence": None, **stop}
        return message if usage is None else {**message, "usage": usage}

    def whole(self) -> Rendered:
        content: list[dict[str, object]] = []
        if self._reply.reasoning is not None:
            content.append({"type": "thinking", "thinking": self._reply.reasoning, "signature": "signed"})
        if self._text:
            content.append({"type": "text", "text": self._text})
        content += [_tool_use(call, _parsed(call.arguments)) for call in self._reply.tool_calls]
        return json_answer(200, self._message(content, self._counted, stop_reason=self._stop_reason), _REQUEST_ID)

    def stream(self) -> Rendered:
        begun = None if self._counted is None else {**self._counted, "output_tokens": 1}
        events = [_event("message_start", message=self._message([], begun))]
        index = 0
        if self._reply.reasoning is not None:
            events += _thinking_events(self._reply.reasoning)
            index = 1
        opening = len(events)
        if self._text or isinstance(self._reply.chunks, tuple):
            events.append(_event("content_block_start", index=index, content_block={"type": "text", "text": ""}))
            events.append(_event("ping"))
            opening = len(events)
            events += self._texts(index)
            events.append(_event("content_block_stop", index=index))
            index += 1
        for at, call in enumerate(self._reply.tool_calls, start=index):
            events += _tool_use_events(at, call)
        counted = {} if self._counted is None else {"usage": self._counted}
        delta = {"stop_reason": self._stop_reason, "stop_sequence": None}
        events.append(_event("message_delta", delta=delta, **counted))
        events.append(_event("message_stop"))
        head = http_head(200, {"Content-Type": "text/event-stream; charset=utf-8", **_REQUEST_ID}, None)
        return Rendered(head, tuple(events), chunked=True, first_chunk=opening)

    def _texts(self, index: int) -> Iterator[bytes]:
        for piece in cut_text(self._text, self._reply.chunks):
            event = piece if isinstance(piece, bytes) else _delta(index, type="text_delta", text=piece)
            yield event
            if self._reply.duplicate_chunks:
                yield event


def _thinking_events(thoughts: str) -> Iterator[bytes]:
    block = {"type": "thinking", "thinking": "", "signature": ""}
    yield _event("content_block_start", index=0, content_block=block)
    for piece in cut_text(thoughts, None):
        yield _delta(0, type="thinking_delta", thinking=piece)
    yield _delta(0, type="signature_delta", signature="signed")
    yield _event("content_block_stop", index=0)


def _tool_use_events(index: int, call: ToolCall) -> Iterator[bytes]:
    yield _event("content_block_start", index=index, content_block=_tool_use(call, {}))
    for piece in pieces_of(call.arguments, _ARGUMENT_PIECES):
        yield _delta(index, type="input_json_delta", partial_json=piece)
    yield _event("content_block_stop", index=index)


def _tool_use(call: ToolCall, given: object) -> dict[str, object]:
    return {"type": "tool_use", "id": call.id, "name": call.name, "input": given}


def _parsed(arguments: str) -> object:
    try:
        return json.loads(arguments or "{}")
    except ValueError:  # a script may want to see what becomes of it
        return arguments


def _delta(index: int, **delta: object) -> bytes:
    return _event("content_block_delta", index=index, delta=delta)


def _event(kind: str, **content: object) -> bytes:
    return b"event: %b\ndata: %b\n\n" % (kind.encode(), json_bytes({"type": kind, **content}))
