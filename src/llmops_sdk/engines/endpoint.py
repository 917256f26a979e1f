"""What all engines at the other end of a connection have in common, whatever form their API has.

An `Endpoint` sends, reads streams, turns refusals into our errors and lets go of connections. A subclass knows one API:
what a request looks like there, and what an answer means. `Remote` (OpenAI) and `Anthropic` are such subclasses.
"""

from __future__ import annotations

import email.utils
import ssl
import time
import weakref
from collections.abc import AsyncIterator, Mapping
from typing import Any, ClassVar, Protocol
from urllib.parse import urlsplit

import orjson

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
from llmops_sdk.messages import Chunk, Request, Response

__all__ = ["Endpoint", "StreamReader"]

_BY_STATUS: dict[int, type[EngineError]] = {
    401: AuthenticationError,
    403: PermissionDeniedError,
    404: NotFoundError,
    408: EngineTimeout,
    429: RateLimitError,
}
_UNREADABLE = (orjson.JSONDecodeError, LookupError, TypeError, AttributeError)
"""What reading an answer raises that is not what it should be."""


class StreamReader(Protocol):
    """Reads the events of one stream.

    Attributes:
        complete: Whether the answer has been told to its end.
        ended: Whether nothing more of interest can come.
    """

    complete: bool
    ended: bool

    def read(self, event: bytes, /) -> Chunk | None:
        """The chunk that the data of an event stands for; `None`: there is nothing to hand on.

        Raises:
            LookupError, TypeError, ValueError, AttributeError: It is no event of this API.
            EngineError: The event says that the answer has failed.
        """
        ...


class Endpoint(Engine):
    """An API at the other end of a connection. Subclasses write the five methods at the end of the class.

    Args:
        base_url: `"https://host:port/v1"`.
        model: The model to ask for.
        name: Name of the engine; by default `model@host:port`.
        provider: `gen_ai.provider.name` in traces.
        headers: Headers for each request, keys among them; never shown in reprs, logs or errors.
        client: Your own `httpx` or `httpx2` client, in place of the built-in transport; you close it.
        ssl_context: What to trust, in place of the system's own store; not for `client`, which has its own.
        max_connections: Most connections for each event loop; further requests wait in order.
        connect_timeout_s: Seconds for look-up, connect and TLS handshake together.
        read_timeout_s: Seconds without a single byte after which an answer is given up.
        max_body: Most bytes of a whole answer, or of one event of a stream.

    Raises:
        ConfigurationError: The URL or a header is not one.
    """

    incomplete: ClassVar[bool] = True
    path: ClassVar[str]
    """Where requests go, below the base URL."""

    def __init__(
        self,
        base_url: str,
        *,
        model: str,
        name: str | None = None,
        provider: str,
        headers: Mapping[str, str],
        client: Any = None,
        ssl_context: ssl.SSLContext | None = None,
        max_connections: int = 10_000,
        connect_timeout_s: float = 10.0,
        read_timeout_s: float = 300.0,
        max_body: int = 64 * 1024 * 1024,
    ) -> None:
        url = urlsplit(base_url)
        if url.scheme not in {"http", "https"} or not url.hostname:
            raise ConfigurationError(f"{base_url!r} is no URL of an endpoint; write `http://host:port/v1`")
        try:
            port = url.port or (443 if url.scheme == "https" else 80)
        except ValueError as exc:
            raise ConfigurationError(f"{base_url!r} has no valid port ({exc})") from exc
        self.name = name or f"{model}@{url.hostname}:{port}"
        self.model: str = model
        self.provider = provider
        self.missing_key: str | None = None
        """What to do about a key that is needed and was not given; said instead of sending."""
        self._max_event = max_body
        self._headers = _header_lines(headers)
        self._closed = False
        note = weakref.WeakMethod(self._note_open)  # open connections must not keep a forgotten engine alive
        self._transport: Transport = (
            OwnClient(client, base_url.rstrip("/"), max_body=max_body)
            if client is not None
            else Http11(
                url.hostname,
                port,
                tls=url.scheme == "https",
                base_path=url.path.rstrip("/"),
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
        body = await self._whole("POST", self.path, self.written(request, stream=False), request)
        try:
            return self.response(orjson.loads(body))
        except _UNREADABLE as exc:
            raise self._invalid(exc, body) from exc

    async def astream(self, request: Request, /) -> AsyncIterator[Chunk]:
        """See `Engine.astream`."""
        reply = await self._send("POST", self.path, self.written(request, stream=True), request, whole=False)
        texts: list[str] = []
        event = b""
        try:
            await self._check_stream(reply)
            parser = EventParser(max_event=self._max_event)
            reader = self.reader()
            while not reader.ended:
                data = await reply.chunk()
                if not data:
                    break
                for event in parser.feed(data):
                    chunk = reader.read(event)
                    if chunk is not None:
                        texts.append(chunk.text)
                        yield chunk
                    if reader.ended:
                        break
            if reader.ended:
                # Reading the end of the body frees the connection; servers send it right after the last event.
                while await reply.chunk():
                    pass
            elif not reader.complete:
                raise EngineConnectionError("the stream ended before the answer was complete")
        except EngineConnectionError as exc:
            raise StreamInterrupted(str(exc), partial_text="".join(texts), engine=self.name, model=self.model) from exc
        except EngineError as exc:
            self._name(exc)
            raise
        except _UNREADABLE as exc:
            raise self._invalid(exc, event) from exc
        finally:
            reply.close()

    async def aclose(self) -> None:
        """Close every connection; idempotent."""
        self._closed = True
        await self._transport.aclose()
        self._opened = False

    async def ask(self, method: str, path: str, asked: Mapping[str, Any] | None = None) -> Any:
        """Ask `path`, below the base URL, for JSON; `asked` is the body.

        Raises:
            EngineError: One of its subclasses.
        """
        body = await self._whole(method, path, b"" if asked is None else self._json(asked), None)
        try:
            return orjson.loads(body)
        except orjson.JSONDecodeError as exc:
            raise self._invalid(exc, body) from exc

    def written(self, request: Request, *, stream: bool) -> bytes:
        """The body of a request, as JSON."""
        return self._json(self.asked(request, stream=stream))

    async def _whole(self, method: str, path: str, body: bytes, request: Request | None) -> bytes:
        reply = await self._send(method, path, body, request, whole=True)
        try:
            answer = await reply.read()
        except EngineError as exc:
            self._name(exc)
            raise
        if reply.status != 200:
            raise self._refusal(reply, answer)
        return answer

    async def _send(self, method: str, path: str, body: bytes, request: Request | None, *, whole: bool) -> Reply:
        if self._closed:
            raise ClosedError(f"the engine {self.name!r} was closed; open it again with `Engine.open(...)`")
        if self.missing_key is not None:
            raise AuthenticationError(self.missing_key, engine=self.name, model=self.model)
        headers = self._headers
        if request is not None and request.call is not None and request.call.traceparent is not None:
            headers += b"traceparent: %b\r\n" % request.call.traceparent.encode()
        try:
            return await self._transport.send(method, path, headers, body, whole=whole)
        except EngineError as exc:
            self._name(exc)
            raise

    def _json(self, asked: Mapping[str, Any]) -> bytes:
        try:
            return orjson.dumps(asked, default=_wire_default)
        except (TypeError, ValueError) as exc:
            # Lone surrogates are the usual reason: no UTF-8, so no JSON on the wire.
            raise BadRequestError(
                f"the request cannot be written as JSON ({exc})", engine=self.name, model=self.model
            ) from exc

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
        return self.error_of(error, reply.status, reply.headers)

    def error_of(self, error: Any, status: int, headers: Mapping[str, str]) -> EngineError:
        """Our error for what the endpoint said under `"error"`, in a refusal or in mid-stream."""
        said = error if isinstance(error, dict) else {"message": str(error)}
        message, code = str(said.get("message") or said)[:2000], str(said.get("code") or said.get("type") or "")
        cls: type[EngineError] = ServerError
        if 400 <= status < 500:
            cls = _BY_STATUS.get(status) or self.bad_request(code, message)
        return cls(
            f"HTTP {status}: {message}",
            engine=self.name,
            model=self.model,
            status_code=status,
            request_id=headers.get("x-request-id") or headers.get("request-id"),
            retry_after_s=_retry_after_s(headers),
        )

    def _invalid(self, exc: Exception, body: bytes) -> InvalidResponseError:
        return InvalidResponseError(
            f"the endpoint's answer is none by its protocol ({type(exc).__name__}: {exc})",
            body=body,
            engine=self.name,
            model=self.model,
        )

    def _name(self, error: EngineError) -> None:
        """The transport does not know whose error it raised."""
        if error.engine is None:
            error.engine, error.model = self.name, self.model

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.name!r} model={self.model!r}>"

    # What a subclass knows of its API.

    def asked(self, request: Request, *, stream: bool) -> dict[str, Any]:
        """The body of a request, to be written as JSON."""
        raise NotImplementedError

    def response(self, answer: Any) -> Response:
        """The response that an answer's JSON stands for; what it raises becomes `InvalidResponseError`."""
        raise NotImplementedError

    def reader(self) -> StreamReader:
        """A reader for one stream."""
        raise NotImplementedError

    def bad_request(self, code: str, message: str) -> type[EngineError]:
        """The error for a refusal with a status of 400 to 499 that says no more by itself."""
        if "context_length" in code or "maximum context length" in message:
            return ContextLengthError
        if "content_filter" in code or "content_policy" in code:
            return ContentFilteredError
        return BadRequestError


def _header_lines(headers: Mapping[str, str]) -> bytes:
    lines = {"content-type": "application/json", "accept": "*/*", "user-agent": "llmops-sdk"}
    lines.update({name.lower(): value for name, value in headers.items()})
    for name, value in lines.items():
        if any(sign in name + value for sign in "\r\n\0") or not name.isascii():
            raise ConfigurationError(f"the header {name!r} has a line break or a character that HTTP does not allow")
    return "".join(f"{name}: {value}\r\n" for name, value in lines.items()).encode("latin-1", "replace")


def _wire_default(value: Any) -> Any:
    if isinstance(value, Mapping):  # orjson knows `dict` only
        return dict(value)
    raise TypeError(f"{type(value).__name__} cannot be sent")


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
