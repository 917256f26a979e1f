"""Anthropic's Messages API without its SDK: Claude, and servers that speak the same, such as vLLM's.

Wire format: https://platform.claude.com/docs/en/api/messages and
https://platform.claude.com/docs/en/build-with-claude/streaming, version 2023-06-01.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar
from urllib.parse import urlsplit

import orjson

from llmops_sdk import environment, loops
from llmops_sdk.engines._messages_form import conversation, tool_choice_form, tool_form
from llmops_sdk.engines.endpoint import Endpoint
from llmops_sdk.engines.remote import Model
from llmops_sdk.errors import (
    BadRequestError,
    ConfigurationError,
    ContentFilteredError,
    ContextLengthError,
    EngineError,
    EngineTimeout,
    InvalidResponseError,
    PermissionDeniedError,
    UnsupportedError,
)
from llmops_sdk.messages import Choice, Chunk, FinishReason, Message, Request, Response, ToolCall, Usage
from llmops_sdk.protocols import Capabilities

__all__ = ["Anthropic", "open_engine"]

_FINISH: dict[str | None, FinishReason] = {
    "end_turn": "stop",
    "stop_sequence": "stop",
    "max_tokens": "length",
    "model_context_window_exceeded": "length",
    "pause_turn": "length",  # the server's own limit of steps in one turn: the answer is not at its end
    "tool_use": "tool_calls",
    "refusal": "content_filter",
}

_STATUS_OF_EVENT = {
    "invalid_request_error": 400,
    "authentication_error": 401,
    "billing_error": 402,
    "permission_error": 403,
    "not_found_error": 404,
    "request_too_large": 413,
    "rate_limit_error": 429,
    "timeout_error": 504,
    "overloaded_error": 529,
}
"""What the HTTP status would have been, of an error that comes in the middle of a stream."""

_TOO_LONG = re.compile(
    r"prompt is too long(?:: (\d+) tokens > (\d+) maximum)?"
    r"|input length and `max_tokens` exceed context limit: (\d+) \+ \d+ > (\d+)"
)

_COUNTED = ("model", "messages", "system", "tools", "tool_choice", "thinking", "output_config", "cache_control")
"""What a request to count tokens may hold."""

_ANTHROPIC = "api.anthropic.com"
_CACHE_MARK = {"type": "ephemeral"}


class Anthropic(Endpoint):
    """Claude by Anthropic's Messages API, or another server that speaks it.

    What the API does not offer is refused with an `UnsupportedError`, not left out: `n` over 1 (ask several times),
    `seed`, `logprobs`, and names of speakers. `ImagePart.detail` has no counterpart and is not sent.

    Args:
        base_url: `"https://api.anthropic.com"`; a `/v1` at its end makes no difference.
        model: The model to ask for.
        api_key: Sent as `x-api-key`; never shown in reprs, logs or errors.
        name: Name of the engine; by default `model@host:port`.
        provider: `gen_ai.provider.name` in traces.
        headers: Further headers for each request: `anthropic-beta`, or `authorization` for a server that wants that.
        max_tokens: Most tokens of an answer, thoughts included, when the request does not say: the API asks for it.
        cache_prompt: Whether to have the prompt cached for five minutes: up to the end of the system prompt (the
            tools, where there is none), and up to the last message.
        options: All other options of `Endpoint`: `client`, `ssl_context`, `max_connections`, `connect_timeout_s`,
            `read_timeout_s`, `max_body`, `capabilities`.
    """

    incomplete: ClassVar[bool] = False
    path: ClassVar[str] = "/v1/messages"
    of_service: ClassVar[Mapping[str, Capabilities]] = {_ANTHROPIC: Capabilities(tools=True, images=True)}

    def __init__(
        self,
        base_url: str = "https://api.anthropic.com",
        *,
        model: str,
        api_key: str | None = None,
        name: str | None = None,
        provider: str = "anthropic",
        headers: Mapping[str, str] | None = None,
        max_tokens: int = 8192,
        cache_prompt: bool = False,
        **options: Any,
    ) -> None:
        if max_tokens < 1:
            raise ConfigurationError(f"`max_tokens` is {max_tokens}; write at least 1")
        own = {"anthropic-version": "2023-06-01"}
        if api_key:
            own["x-api-key"] = api_key
        given = {header.lower(): value for header, value in (headers or {}).items()}
        super().__init__(
            _without_version(base_url),
            model=model,
            name=name,
            provider=provider,
            headers={**own, **given},
            **options,
        )
        self._max_tokens = max_tokens
        self._cache_prompt = cache_prompt
        if (
            urlsplit(base_url).hostname == _ANTHROPIC
            and not api_key
            and not {"authorization", "x-api-key"} & set(given)
        ):
            self.missing_key = "no key for the Anthropic API: pass `api_key=` or set ANTHROPIC_API_KEY"

    async def amodels(self) -> list[Model]:
        """The models that the endpoint offers.

        Raises:
            EngineError: One of its subclasses.
        """
        answer = await self.ask("GET", "/v1/models?limit=1000")
        try:
            return [
                Model(id=row["id"], window=row.get("max_input_tokens") or row.get("max_model_len"))
                for row in answer["data"]
            ]
        except (LookupError, TypeError, AttributeError) as exc:
            raise self._lacking("models", exc) from exc

    async def acount_tokens(self, request: Request, /) -> int:
        """How many tokens of input `request` is, by the endpoint's own count; nothing is generated.

        Raises:
            EngineError: One of its subclasses.
        """
        asked = self.asked(request, stream=False)
        answer = await self.ask("POST", "/v1/messages/count_tokens", {k: asked[k] for k in _COUNTED if k in asked})
        try:
            return int(answer["input_tokens"])
        except (LookupError, TypeError, ValueError) as exc:
            raise self._lacking("count of tokens", exc) from exc

    def models(self) -> list[Model]:
        """`amodels`, for code without an event loop."""
        return loops.run_sync(self.amodels, method="models()")

    def count_tokens(self, request: str | Message | Sequence[Message] | Request, /) -> int:
        """`acount_tokens`, for code without an event loop; takes a plain text or messages, too."""
        asked = Request.of(request)
        return loops.run_sync(lambda: self.acount_tokens(asked), method="count_tokens()")

    def asked(self, request: Request, *, stream: bool) -> dict[str, Any]:
        """See `Endpoint.asked`."""
        try:
            _refuse_what_is_not_offered(request)
            system, turns = conversation(request.messages)
            tools = [tool_form(tool) for tool in request.tools]
            choice = None if request.tool_choice is None else tool_choice_form(request.tool_choice)
        except BadRequestError as exc:
            self._name(exc)
            raise
        asked: dict[str, Any] = {
            "model": request.adapter or self.model,
            "max_tokens": self._max_tokens if request.max_tokens is None else request.max_tokens,
            "messages": turns,
        }
        if self._cache_prompt:
            asked["cache_control"] = _CACHE_MARK
            for blocks in (system, tools):
                if blocks:
                    blocks[-1] = {**blocks[-1], "cache_control": _CACHE_MARK}
                    break
        given = {
            "system": system,
            "tools": tools,
            "tool_choice": choice,
            "stop_sequences": request.stop,
            "temperature": request.temperature,
            "top_p": request.top_p,
        }
        asked.update({name: value for name, value in given.items() if value not in (None, [], ())})
        if stream:
            asked["stream"] = True
        asked.update(request.extra)
        if request.response_schema is not None:
            form = {"type": "json_schema", "schema": request.response_schema}
            # The effort stands beside the schema; that a request gives it is no wish to drop the schema.
            beside = request.extra.get("output_config")
            if beside is None or isinstance(beside, Mapping):  # what else it may be is for the server to refuse
                asked["output_config"] = {"format": form, **(beside or {})}
        return asked

    def response(self, answer: dict[str, Any]) -> Response:
        """See `Endpoint.response`."""
        if answer.get("type") == "error":
            raise self.told(answer)
        texts: list[str] = []
        thoughts: list[str] = []
        calls: list[ToolCall] = []
        for block in answer["content"]:
            kind = block["type"]
            if kind == "text":
                texts.append(block["text"])
            elif kind == "thinking":
                thoughts.append(block["thinking"])
            elif kind == "tool_use":
                calls.append(ToolCall(id=block["id"], name=block["name"], arguments=_json(block.get("input") or {})))
        choice = Choice(
            text="".join(texts),
            tool_calls=tuple(calls),
            finish_reason=_FINISH.get(answer.get("stop_reason"), "stop"),
            reasoning="".join(thoughts) or None,
        )
        return Response(
            choices=(choice,),
            usage=_usage(answer.get("usage")),
            model=answer.get("model") or self.model,
            engine=self.name,
            id=answer.get("id"),
        )

    def reader(self) -> _Reader:
        """See `Endpoint.reader`."""
        return _Reader(self)

    def told(self, event: Mapping[str, Any]) -> EngineError:
        """Our error for what came where an answer should have: `{"type": "error", "error": {...}}`."""
        error = event["error"]
        kind = error.get("type") if isinstance(error, dict) else None
        number = event.get("request_id")
        headers = {"request-id": number} if isinstance(number, str) else {}
        return self.error_of(error, _STATUS_OF_EVENT.get(str(kind), 500), headers)

    def error_of(self, error: Any, status: int, headers: Mapping[str, str]) -> EngineError:
        """See `Endpoint.error_of`."""
        found = super().error_of(error, status, headers)
        if status == 504:
            details = ("engine", "model", "status_code", "request_id", "retry_after_s")
            return EngineTimeout(str(found), **{name: getattr(found, name) for name in details})
        numbers = _TOO_LONG.search(str(found)) if isinstance(found, ContextLengthError) else None
        if isinstance(found, ContextLengthError) and numbers is not None and numbers.lastindex is not None:
            found.tokens, found.window = (int(number) for number in numbers.groups() if number is not None)
        return found

    def bad_request(self, code: str, message: str) -> type[EngineError]:
        """See `Endpoint.bad_request`."""
        if _TOO_LONG.search(message):
            return ContextLengthError
        if code == "billing_error":
            return PermissionDeniedError
        if "blocked by content filtering policy" in message:
            return ContentFilteredError
        return super().bad_request(code, message)

    def _lacking(self, what: str, exc: Exception) -> InvalidResponseError:
        return InvalidResponseError(
            f"the endpoint's answer holds no {what} ({type(exc).__name__}: {exc})", engine=self.name, model=self.model
        )


class _Reader:
    """Reads the events of one stream; joins the pieces of tool calls. See `endpoint.StreamReader`."""

    def __init__(self, endpoint: Anthropic) -> None:
        self._endpoint = endpoint
        self._engine = endpoint.name
        self._model: str | None = None
        self._id: str | None = None
        self._usage: dict[str, Any] = {}
        self._stop_reason: str | None = None
        self._calls: dict[int, tuple[dict[str, Any], list[str]]] = {}
        self.complete = False
        self.ended = False

    def read(self, event: bytes, /) -> Chunk | None:
        data = orjson.loads(event)
        kind = data["type"]
        if kind == "content_block_delta":
            return self._delta(data["index"], data["delta"])
        if kind == "content_block_start":
            return self._block(data["index"], data["content_block"])
        if kind == "message_start":
            message = data["message"]
            self._model, self._id = message.get("model"), message.get("id")
            self._count(message.get("usage"))
        elif kind == "message_delta":
            self._stop_reason = data["delta"].get("stop_reason") or self._stop_reason
            self._count(data.get("usage"))
        elif kind == "message_stop":
            return self._end()
        elif kind == "error":
            raise self._endpoint.told(data)
        return None  # pings, ends of blocks, and what is yet to be invented: the API asks to ignore it

    def _delta(self, index: int, delta: dict[str, Any]) -> Chunk | None:
        kind = delta["type"]
        if kind == "text_delta":
            return self._said(delta["text"], "")
        if kind == "thinking_delta":
            return self._said("", delta["thinking"])
        if kind == "input_json_delta" and index in self._calls:
            self._calls[index][1].append(delta["partial_json"])
        return None

    def _block(self, index: int, block: dict[str, Any]) -> Chunk | None:
        if block["type"] == "tool_use":
            self._calls[index] = (block, [])
        return self._said(block.get("text") or "", block.get("thinking") or "")

    def _said(self, text: str, reasoning: str) -> Chunk | None:
        if not isinstance(text, str) or not isinstance(reasoning, str):
            raise TypeError("what was said is no text")
        if not text and not reasoning:
            return None
        return Chunk(text=text, reasoning=reasoning, model=self._model, engine=self._engine, id=self._id)

    def _count(self, usage: dict[str, Any] | None) -> None:
        # Counts are cumulative; the ones at the end leave out what has not changed.
        self._usage.update({name: count for name, count in (usage or {}).items() if count is not None})

    def _end(self) -> Chunk:
        self.complete = self.ended = True
        calls = [
            ToolCall(id=block["id"], name=block["name"], arguments="".join(pieces) or _json(block.get("input") or {}))
            for _, (block, pieces) in sorted(self._calls.items())
        ]
        return Chunk(
            tool_calls=tuple(calls),
            finish_reason=_FINISH.get(self._stop_reason, "stop"),
            usage=_usage(self._usage),
            model=self._model,
            engine=self._engine,
            id=self._id,
        )


def open_engine(spec: str, *, model: str | None, api_key: str | None, name: str | None, **options: Any) -> Anthropic:
    """Open `"anthropic:MODEL"`; see `Engine.open`."""
    model = spec.partition(":")[2] or model
    if not model:
        raise ConfigurationError("which model? Write `Engine.open('anthropic:claude-sonnet-5-5')`")
    api_key = api_key or environment.anthropic_api_key()
    base_url = options.pop("base_url", None) or environment.anthropic_base_url()
    try:
        return Anthropic(base_url, model=model, api_key=api_key, name=name or f"anthropic:{model}", **options)
    except TypeError as exc:
        raise ConfigurationError(f"`anthropic:` does not take these options: {exc}; see `help(Anthropic)`") from exc


def _without_version(base_url: str) -> str:
    # Other APIs have the version in their base URL, and a query may follow it.
    url, mark, query = base_url.partition("?")
    return url.rstrip("/").removesuffix("/v1") + mark + query


def _refuse_what_is_not_offered(request: Request) -> None:
    if request.n != 1:
        raise UnsupportedError(f"the Messages API gives one answer, and `n` is {request.n}; ask {request.n} times")
    for name in ("seed", "logprobs"):
        if getattr(request, name) is not None:
            raise UnsupportedError(f"the Messages API has no `{name}`; leave it out, or ask another engine")


def _json(value: Any) -> str:
    return orjson.dumps(value).decode()


def _usage(usage: dict[str, Any] | None) -> Usage | None:
    """Anthropic counts what was read from the cache and written to it apart from the other input; we count it in."""
    if not usage:
        return None
    read = usage.get("cache_read_input_tokens") or 0
    written = usage.get("cache_creation_input_tokens") or 0
    details = usage.get("output_tokens_details") or {}
    return Usage(
        input_tokens=(usage.get("input_tokens") or 0) + read + written,
        output_tokens=usage.get("output_tokens") or 0,
        cached_input_tokens=read,
        cache_write_tokens=written,
        reasoning_tokens=details.get("thinking_tokens") or 0,
    )
