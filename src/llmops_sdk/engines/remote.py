"""Any OpenAI-compatible endpoint without a vendor's SDK: OpenAI, vLLM, TensorRT-LLM, SGLang, llama.cpp, Ollama.

Wire format: https://platform.openai.com/docs/api-reference/chat (chat completions and their stream).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import orjson

from llmops_sdk import environment
from llmops_sdk.engines._chat_form import chat_messages
from llmops_sdk.engines.endpoint import Endpoint
from llmops_sdk.errors import ConfigurationError, InvalidResponseError
from llmops_sdk.messages import Choice, Chunk, FinishReason, Request, Response, ToolCall, Usage

__all__ = ["Remote", "open_engine"]

_FINISH: dict[str, FinishReason] = {
    "stop": "stop",
    "length": "length",
    "tool_calls": "tool_calls",
    "function_call": "tool_calls",
    "content_filter": "content_filter",
}

_SENT_IF_GIVEN = ("temperature", "max_tokens", "top_p", "stop", "seed", "tools", "tool_choice")
"""Parameters that go out under the name that they have in `Request`."""


class Remote(Endpoint):
    """An OpenAI-compatible endpoint.

    Args:
        base_url: `"https://host:port/v1"`.
        model: The model to ask for.
        api_key: Sent as a bearer token; never shown in reprs, logs or errors.
        name: Name of the engine; by default `model@host:port`.
        provider: `gen_ai.provider.name` in traces.
        headers: Further headers for each request.
        usage_in_stream: Whether to ask for the token count at the end of a stream.
        options: All other options of `Endpoint`: `client`, `ssl_context`, `max_connections`, `connect_timeout_s`,
            `read_timeout_s`, `max_body`.
    """

    incomplete: ClassVar[bool] = False
    path: ClassVar[str] = "/chat/completions"

    def __init__(
        self,
        base_url: str,
        *,
        model: str,
        api_key: str | None = None,
        name: str | None = None,
        provider: str = "openai",
        headers: Mapping[str, str] | None = None,
        usage_in_stream: bool = True,
        **options: Any,
    ) -> None:
        key = {"authorization": f"Bearer {api_key}"} if api_key else {}
        super().__init__(
            base_url, model=model, name=name, provider=provider, headers={**key, **(headers or {})}, **options
        )
        self._usage_in_stream = usage_in_stream
        if provider == "openai" and "//api.openai.com" in base_url and not api_key:
            self.missing_key = "no key for the OpenAI API: pass `api_key=` or set OPENAI_API_KEY"

    async def aembed(self, texts: Sequence[str], /) -> list[list[float]]:
        """See `Engine.aembed`."""
        answer = await self.ask("POST", "/embeddings", {"model": self.model, "input": list(texts)})
        try:
            rows = sorted(answer["data"], key=lambda row: row["index"])
            return [row["embedding"] for row in rows]
        except (LookupError, TypeError) as exc:
            raise InvalidResponseError(
                f"the endpoint's answer holds no embeddings ({type(exc).__name__}: {exc})",
                engine=self.name,
                model=self.model,
            ) from exc

    def asked(self, request: Request, *, stream: bool) -> dict[str, Any]:
        """See `Endpoint.asked`."""
        asked: dict[str, Any] = {
            "model": request.adapter or self.model,
            "messages": chat_messages(request.messages),
        }
        for name in _SENT_IF_GIVEN:
            value = getattr(request, name)
            if value is not None and value != ():
                asked[name] = value
        if request.n != 1:
            asked["n"] = request.n
        if request.response_schema is not None:
            schema = {"name": "answer", "strict": True, "schema": request.response_schema}
            asked["response_format"] = {"type": "json_schema", "json_schema": schema}
        if stream:
            asked["stream"] = True
            if self._usage_in_stream:
                asked["stream_options"] = {"include_usage": True}
        if request.extra:
            asked.update(request.extra)
        return asked

    def response(self, answer: dict[str, Any]) -> Response:
        """See `Endpoint.response`."""
        choices = []
        for choice in answer["choices"]:
            message = choice["message"]
            calls = message.get("tool_calls")
            choices.append(
                Choice(
                    text=_text(message.get("content")),
                    tool_calls=tuple(_tool_call(one) for one in calls) if calls else (),
                    finish_reason=_FINISH.get(choice.get("finish_reason")),
                    reasoning=message.get("reasoning_content"),
                )
            )
        if not choices:
            raise LookupError("no choices")
        return Response(
            choices=tuple(choices),
            usage=_usage(answer.get("usage")),
            model=answer.get("model") or self.model,
            engine=self.name,
            id=answer.get("id"),
        )

    def reader(self) -> _Reader:
        """See `Endpoint.reader`."""
        return _Reader(self)


class _Reader:
    """Reads the events of one stream; joins the pieces of tool calls. See `endpoint.StreamReader`."""

    def __init__(self, endpoint: Remote) -> None:
        self._endpoint = endpoint
        self._engine = endpoint.name
        self._calls: dict[tuple[int, int], list[str]] = {}
        self.complete = False
        self.ended = False

    def read(self, event: bytes, /) -> Chunk | None:
        if event == b"[DONE]":
            self.ended = True
            return None
        data = orjson.loads(event)
        if "error" in data and "choices" not in data:
            raise self._endpoint.error_of(data["error"], 500, {})
        choices = data["choices"]
        usage = data.get("usage")
        if not choices:
            return Chunk(usage=_usage(usage), model=data.get("model"), engine=self._engine) if usage else None
        choice = choices[0]
        index = choice.get("index") or 0
        delta = choice.get("delta") or {}
        for piece in delta.get("tool_calls") or ():
            self._add(index, piece)
        said = choice.get("finish_reason")
        if said is None:
            text = delta.get("content")
            if not text:
                return None
            return Chunk(text=text, index=index, model=data.get("model"), engine=self._engine, id=data.get("id"))
        self.complete = True
        return Chunk(
            text=_text(delta.get("content")),
            index=index,
            tool_calls=self._joined(index),
            finish_reason=_FINISH.get(said, "stop"),
            usage=_usage(usage),
            model=data.get("model"),
            engine=self._engine,
            id=data.get("id"),
        )

    def _add(self, index: int, piece: dict[str, Any]) -> None:
        call = self._calls.setdefault((index, piece.get("index") or 0), ["", "", ""])
        function = piece.get("function") or {}
        call[0] = call[0] or piece.get("id") or ""
        call[1] += function.get("name") or ""
        call[2] += function.get("arguments") or ""

    def _joined(self, index: int) -> tuple[ToolCall, ...]:
        mine = sorted(key for key in self._calls if key[0] == index)
        return tuple(ToolCall(id=i, name=n, arguments=a) for i, n, a in (self._calls[key] for key in mine))


def open_engine(spec: str, *, model: str | None, api_key: str | None, name: str | None, **options: Any) -> Remote:
    """Open `"openai:MODEL"` or the URL of an endpoint; see `Engine.open`."""
    scheme, _, rest = spec.partition(":")
    if scheme == "openai":
        model = rest or model
        name = name or f"openai:{model}"
        api_key = api_key or environment.openai_api_key()
        base_url = options.pop("base_url", None) or environment.openai_base_url()
        if not model:
            raise ConfigurationError("which model? Write `Engine.open('openai:gpt-5-mini')`")
    else:
        base_url = spec
        options.setdefault("provider", "openai_compatible")
        if not model:
            raise ConfigurationError(f"which model? Write `Engine.open({spec!r}, model='...')`")
    try:
        return Remote(base_url, model=model, api_key=api_key, name=name, **options)
    except TypeError as exc:
        raise ConfigurationError(f"an endpoint does not take these options: {exc}; see `help(Remote)`") from exc


def _text(content: Any) -> str:
    if content is None:
        return ""
    if not isinstance(content, str):
        raise TypeError(f"content is {type(content).__name__}")
    return content


def _tool_call(call: dict[str, Any]) -> ToolCall:
    function = call["function"]
    return ToolCall(id=call.get("id") or "", name=function["name"], arguments=function.get("arguments") or "")


def _usage(usage: dict[str, Any] | None) -> Usage | None:
    if not usage:
        return None
    prompt = usage.get("prompt_tokens_details") or {}
    completion = usage.get("completion_tokens_details") or {}
    return Usage(
        input_tokens=usage.get("prompt_tokens") or 0,
        output_tokens=usage.get("completion_tokens") or 0,
        cached_input_tokens=prompt.get("cached_tokens") or 0,
        reasoning_tokens=completion.get("reasoning_tokens") or 0,
    )
