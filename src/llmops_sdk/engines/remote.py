"""Any OpenAI-compatible endpoint without a vendor's SDK: OpenAI, vLLM, TensorRT-LLM, SGLang, llama.cpp, Ollama.

Wire format: https://platform.openai.com/docs/api-reference/chat (chat completions and their stream).
"""

from __future__ import annotations

import email.utils
import ssl
import time
import weakref
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any
from urllib.parse import urlsplit

import orjson

from llmops_sdk import environment
from llmops_sdk.engines._chat_form import chat_messages
from llmops_sdk.engines._engine import Engine
from llmops_sdk.engines._own_client import OwnClient
from llmops_sdk.engines._sse import EventParser
from llmops_sdk.engines.http11 import Http11, Reply, Transport
from llmops_sdk.errors import (
    AuthenticationError,
    BadRequestError,
    ClosedError,
    ConfigurationError,
    ContentFilteredError,
    ContextLengthError,
    EngineConnectionError,
    EngineError,
    EngineTimeout,
    InvalidResponseError,
    NotFoundError,
    PermissionDeniedError,
    RateLimitError,
    ServerError,
    StreamInterrupted,
)
from llmops_sdk.messages import (
    Choice,
    Chunk,
    FinishReason,
    Request,
    Response,
    ToolCall,
    Usage,
)

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

_BY_STATUS: dict[int, type[EngineError]] = {
    401: AuthenticationError,
    403: PermissionDeniedError,
    404: NotFoundError,
    408: EngineTimeout,
    429: RateLimitError,
}


class Remote(Engine):
    """An OpenAI-compatible endpoint.

    Args:
        base_url: `"https://host:port/v1"`.
        model: The model to ask for.
        api_key: Sent as a bearer token; never shown in reprs, logs or errors.
        name: Name of the engine; by default `model@host:port`.
        provider: `gen_ai.provider.name` in traces.
        headers: Further headers for each request.
        client: Your own `httpx` or `httpx2` client, in place of the built-in transport; you close it.
        ssl_context: What to trust, in place of the system's own store; not for `client`, which has its own.
        max_connections: Most connections for each event loop; further requests wait in order.
        connect_timeout_s: Seconds for look-up, connect and TLS handshake together.
        read_timeout_s: Seconds without a single byte after which an answer is given up.
        max_body: Most bytes of a whole answer, or of one event of a stream.
        usage_in_stream: Whether to ask for the token count at the end of a stream.
    """

    def __init__(
        self,
        base_url: str,
        *,
        model: str,
        api_key: str | None = None,
        name: str | None = None,
        provider: str = "openai",
        headers: Mapping[str, str] | None = None,
        client: Any = None,
        ssl_context: ssl.SSLContext | None = None,
        max_connections: int = 10_000,
        connect_timeout_s: float = 10.0,
        read_timeout_s: float = 300.0,
        max_body: int = 64 * 1024 * 1024,
        usage_in_stream: bool = True,
    ) -> None:
        url = urlsplit(base_url)
        if url.scheme not in {"http", "https"} or not url.hostname:
            raise ConfigurationError(f"{base_url!r} is no URL of an endpoint; write `http://host:port/v1`")
        try:
            port = url.port or (443 if url.scheme == "https" else 80)
        except ValueError as exc:
            raise ConfigurationError(f"{base_url!r} has no valid port ({exc})") from exc
        self.name = name or f"{model}@{url.hostname}:{port}"
        self.model = model
        self.provider = provider
        self._path = "/chat/completions"
        self._needs_key = provider == "openai" and url.hostname == "api.openai.com" and not api_key
        self._max_event = max_body
        self._usage_in_stream = usage_in_stream
        self._headers = _header_lines(api_key, headers or {})
        self._closed = False
        base_path = url.path.rstrip("/")
        note = weakref.WeakMethod(self._note_open)  # open connections must not keep a forgotten engine alive
        self._transport: Transport = (
            OwnClient(client, base_url.rstrip("/"), max_body=max_body)
            if client is not None
            else Http11(
                url.hostname,
                port,
                tls=url.scheme == "https",
                base_path=base_path,
                ssl_context=ssl_context,
                max_connections=max_connections,
                connect_timeout_s=connect_timeout_s,
                read_timeout_s=read_timeout_s,
                max_body=max_body,
                on_open=lambda opened: (method := note()) and method(opened),
            )
        )

    def _note_open(self, opened: bool) -> None:
        self._opened = opened

    async def agenerate(self, request: Request, /) -> Response:
        """See `Engine.agenerate`."""
        reply = await self._send(request, stream=False)
        try:
            body = await reply.read()
        except EngineError as exc:
            self._name(exc)
            raise
        if reply.status != 200:
            raise self._refusal(reply, body)
        try:
            return self._response(orjson.loads(body))
        except (orjson.JSONDecodeError, LookupError, TypeError, AttributeError) as exc:
            raise self._invalid(exc, body) from exc

    async def astream(self, request: Request, /) -> AsyncIterator[Chunk]:
        """See `Engine.astream`."""
        reply = await self._send(request, stream=True)
        texts: list[str] = []
        try:
            await self._check_stream(reply)
            parser = EventParser(max_event=self._max_event)
            reader = _StreamReader(self.name)
            ended = False
            while not ended:
                data = await reply.chunk()
                if not data:
                    break
                for event in parser.feed(data):
                    if event == b"[DONE]":
                        ended = True
                        break
                    chunk = self._chunk(reader, event)
                    if chunk is not None:
                        if chunk.text:
                            texts.append(chunk.text)
                        yield chunk
            if not ended and not reader.finished:
                raise EngineConnectionError("the stream ended before the answer was complete")
            if ended:
                # Reading the end of the body frees the connection; servers send it right after the last event.
                while await reply.chunk():
                    pass
        except EngineConnectionError as exc:
            raise StreamInterrupted(str(exc), partial_text="".join(texts), engine=self.name, model=self.model) from exc
        except EngineError as exc:
            self._name(exc)
            raise
        finally:
            reply.close()

    async def aembed(self, texts: Sequence[str], /) -> list[list[float]]:
        """See `Engine.aembed`."""
        body = orjson.dumps({"model": self.model, "input": list(texts)})
        try:
            reply = await self._transport.send("POST", "/embeddings", self._headers, body, whole=True)
            answer = await reply.read()
        except EngineError as exc:
            self._name(exc)
            raise
        if reply.status != 200:
            raise self._refusal(reply, answer)
        try:
            rows = sorted(orjson.loads(answer)["data"], key=lambda row: row["index"])
            vectors: list[list[float]] = [row["embedding"] for row in rows]
        except (orjson.JSONDecodeError, LookupError, TypeError) as exc:
            raise self._invalid(exc, answer) from exc
        return vectors

    async def aclose(self) -> None:
        """Close every connection; idempotent."""
        self._closed = True
        await self._transport.aclose()
        self._opened = False

    async def _send(self, request: Request, *, stream: bool) -> Reply:
        if self._closed:
            raise ClosedError(f"the engine {self.name!r} was closed; open it again with `Engine.open(...)`")
        if self._needs_key:
            raise AuthenticationError(
                "no key for the OpenAI API: pass `api_key=` or set OPENAI_API_KEY", engine=self.name, model=self.model
            )
        body = self._body(request, stream=stream)
        headers = self._headers
        if request.call is not None and request.call.traceparent is not None:
            headers += b"traceparent: %b\r\n" % request.call.traceparent.encode()
        try:
            return await self._transport.send("POST", self._path, headers, body, whole=not stream)
        except EngineError as exc:
            self._name(exc)
            raise

    def _body(self, request: Request, *, stream: bool) -> bytes:
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
        try:
            return orjson.dumps(asked, default=_wire_default)
        except (TypeError, ValueError) as exc:
            # Lone surrogates are the usual reason: no UTF-8, so no JSON on the wire.
            raise BadRequestError(
                f"the request cannot be written as JSON ({exc})", engine=self.name, model=self.model
            ) from exc

    def _response(self, answer: dict[str, Any]) -> Response:
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

    def _chunk(self, reader: _StreamReader, event: bytes) -> Chunk | None:
        try:
            data = orjson.loads(event)
            if "error" in data and "choices" not in data:
                raise self._error_of(data["error"], 500, {})
            return reader.read(data)
        except (orjson.JSONDecodeError, LookupError, TypeError, AttributeError) as exc:
            raise self._invalid(exc, event) from exc

    async def _check_stream(self, reply: Reply) -> None:
        if reply.status != 200:
            raise self._refusal(reply, await reply.read())
        kind = reply.headers.get("content-type", "")
        if "text/event-stream" not in kind:
            body = await reply.chunk()
            raise InvalidResponseError(f"the endpoint sent {kind or 'no content type'} in place of a stream", body=body)

    def _refusal(self, reply: Reply, body: bytes) -> EngineError:
        """The error that an answer with another status than 200 stands for."""
        if 300 <= reply.status < 400:
            where = reply.headers.get("location", "elsewhere")
            return InvalidResponseError(
                f"the endpoint redirects to {where!r}; give its final URL",
                body=body,
                engine=self.name,
                model=self.model,
                status_code=reply.status,
            )
        try:
            answer = orjson.loads(body)
            error = answer.get("error", answer)
        except (orjson.JSONDecodeError, AttributeError):
            error = body[:500].decode("utf-8", "replace")
        return self._error_of(error, reply.status, reply.headers)

    def _error_of(self, error: Any, status: int, headers: Mapping[str, str]) -> EngineError:
        said = error if isinstance(error, dict) else {"message": str(error)}
        message, code = str(said.get("message") or said)[:2000], str(said.get("code") or said.get("type") or "")
        cls: type[EngineError]
        if 400 <= status < 500:
            cls = _BY_STATUS.get(status, BadRequestError)
            if cls is BadRequestError:
                if "context_length" in code or "maximum context length" in message:
                    cls = ContextLengthError
                elif "content_filter" in code or "content_policy" in code:
                    cls = ContentFilteredError
        else:
            cls = ServerError
        return cls(
            f"HTTP {status}: {message}",
            engine=self.name,
            model=self.model,
            status_code=status,
            request_id=headers.get("x-request-id"),
            retry_after_s=_retry_after_s(headers),
        )

    def _invalid(self, exc: Exception, body: bytes) -> InvalidResponseError:
        return InvalidResponseError(
            f"the endpoint's answer is no chat completion ({type(exc).__name__}: {exc})",
            body=body,
            engine=self.name,
            model=self.model,
        )

    def _name(self, error: EngineError) -> None:
        """The transport does not know whose error it raised."""
        if error.engine is None:
            error.engine, error.model = self.name, self.model

    def __repr__(self) -> str:
        return f"<Remote {self.name!r} model={self.model!r}>"


class _StreamReader:
    """Reads the events of one stream; joins the pieces of tool calls."""

    def __init__(self, engine: str) -> None:
        self._engine = engine
        self._calls: dict[tuple[int, int], list[str]] = {}
        self.finished = False

    def read(self, data: dict[str, Any]) -> Chunk | None:
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
        self.finished = True
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


def _header_lines(api_key: str | None, headers: Mapping[str, str]) -> bytes:
    lines = {"content-type": "application/json", "accept": "*/*", "user-agent": "llmops-sdk"}
    if api_key:
        lines["authorization"] = f"Bearer {api_key}"
    lines.update({name.lower(): value for name, value in headers.items()})
    for name, value in lines.items():
        if any(sign in name + value for sign in "\r\n\0") or not name.isascii():
            raise ConfigurationError(f"the header {name!r} has a line break or a character that HTTP does not allow")
    return "".join(f"{name}: {value}\r\n" for name, value in lines.items()).encode("latin-1", "replace")


def _wire_default(value: Any) -> Any:
    if isinstance(value, Mapping):  # orjson knows `dict` only
        return dict(value)
    raise TypeError(f"{type(value).__name__} cannot be sent")


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


def _retry_after_s(headers: Mapping[str, str]) -> float | None:
    """`Retry-After` in seconds or as a date (RFC 9110, section 10.2.3), or OpenAI's `retry-after-ms`."""
    try:
        if "retry-after-ms" in headers:
            return max(0.0, float(headers["retry-after-ms"]) / 1000)
        value = headers.get("retry-after")
        if value is None:
            return None
        if value.replace(".", "", 1).isdigit():
            return float(value)
        moment = email.utils.parsedate_to_datetime(value)
        return max(0.0, moment.timestamp() - time.time())
    except ValueError:
        return None
