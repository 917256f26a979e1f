"""What all engines at the other end of a connection have in common, whatever form their API has.

An `Endpoint` sends, reads streams, turns refusals into our errors and lets go of connections. A subclass knows one API:
what a request looks like there, and what an answer means. `Remote` (OpenAI) and `Anthropic` are such subclasses.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
import ssl
import weakref
from collections.abc import AsyncIterator, Mapping
from dataclasses import replace
from typing import Any, ClassVar, Protocol

import orjson

from llmops_sdk.engines._base_url import BaseUrl
from llmops_sdk.engines._engine import Engine
from llmops_sdk.engines._keys import Keys, fingerprint, keys_in
from llmops_sdk.engines._own_client import OwnClient
from llmops_sdk.engines._rate_limits import MARK, rate_limit_in
from llmops_sdk.engines._refusals import come_back_s, context_numbers
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
from llmops_sdk.protocols import Capabilities

__all__ = ["Endpoint", "StreamReader"]

_BY_STATUS: dict[int, type[EngineError]] = {
    401: AuthenticationError,
    403: PermissionDeniedError,
    404: NotFoundError,
    408: EngineTimeout,
    429: RateLimitError,
}
_UNREADABLE = (ValueError, LookupError, TypeError, AttributeError)
"""What reading an answer raises that is not what it should be."""
_UNKNOWN = Capabilities()
_LAST_S = 1.0
"""Seconds in which the end of a body has to follow the end of an answer, for the connection to be kept."""
_HEADER_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9a-z-]+")
_HEADER_VALUE = re.compile(r"(?:[\x21-\x7e\x80-\xff](?:[\x20-\x7e\x80-\xff\t]*[\x21-\x7e\x80-\xff])?)?")
"""RFC 9110, sections 5.1 and 5.5."""
_FRAMING_HEADERS = frozenset({"content-length", "host", "transfer-encoding"})
_KEY_HEADERS = ("authorization", "x-api-key", "api-key")
_GZIP = b"\x1f\x8b"


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

    Attributes:
        url: The base URL without user information, and without those parameters of its query that may be keys.

    Args:
        base_url: `"https://host:port/v1"`. A query in it goes out with every request; user information in it is sent
            as `Authorization: Basic` (unless `headers` has one) and shown nowhere.
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
        capabilities: What the model at the endpoint can do, for routers; they let it try what nobody knows.

    Raises:
        ConfigurationError: The URL or a header is not one.
    """

    incomplete: ClassVar[bool] = True
    path: ClassVar[str]
    """Where requests go, below the base URL."""
    of_service: ClassVar[Mapping[str, Capabilities]] = {}
    """Host of a service -> what all its models can do."""

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
        capabilities: Capabilities | None = None,
    ) -> None:
        url = BaseUrl.of(base_url)
        headers = {name.lower(): value for name, value in headers.items()}
        if url.authorization is not None:
            headers.setdefault("authorization", url.authorization)
        self.name = name or f"{model}@{url.host}:{url.port}"
        self.model: str = model
        self.provider = provider
        self.server = (url.host, url.port)
        self.url = url.public
        self._capabilities = capabilities or self.of_service.get(url.host, _UNKNOWN)
        self.missing_key: str | None = None
        """What to do about a key that is needed and was not given; said instead of sending."""
        self._max_event = max_body
        self._headers = _header_lines(headers)
        self._base_path, self._query = url.path, url.query
        self._keys = Keys([*keys_in(headers), *url.keys])
        key = next((headers[name] for name in _KEY_HEADERS if name in headers), None)
        self._key_id = None if key is None else fingerprint(f"{url.origin} {key}")
        self._closed = False
        note = weakref.WeakMethod(self._note_open)  # open connections must not keep a forgotten engine alive
        self._transport: Transport = (
            OwnClient(client, url.origin, max_body=max_body)
            if client is not None
            else Http11(
                url.host,
                url.port,
                tls=url.tls,
                ssl_context=ssl_context,
                max_connections=max_connections,
                connect_timeout_s=connect_timeout_s,
                read_timeout_s=read_timeout_s,
                max_body=max_body,
                on_open=lambda opened: (method := note()) and method(opened),
            )
        )

    @property
    def capabilities(self) -> Capabilities:
        """What was said of the model, or else what is known of all models of the service."""
        return self._capabilities

    def _note_open(self, opened: bool) -> None:
        self._opened = opened

    @property
    def key_id(self) -> str | None:
        """See `Engine.key_id`."""
        return self._key_id

    async def agenerate(self, request: Request, /) -> Response:
        """See `Engine.agenerate`."""
        reply, body = await self._whole("POST", self.path, self.written(request, stream=False), request)
        try:
            response = self.response(orjson.loads(body))
        except _UNREADABLE as exc:
            raise self._invalid(exc, body) from exc
        return replace(response, rate_limit=rate_limit_in(reply.headers)) if reply.mentions(MARK) else response

    async def astream(self, request: Request, /) -> AsyncIterator[Chunk]:
        """See `Engine.astream`."""
        reply = await self._send("POST", self.path, self.written(request, stream=True), request, whole=False)
        texts: list[str] = []
        event = b""
        try:
            await self._check_stream(reply)
            parser = EventParser(max_event=self._max_event)
            reader = self.reader()
            rate_limit = rate_limit_in(reply.headers) if reply.mentions(MARK) else None
            while not reader.ended:
                data = await reply.chunk()
                if not data:
                    break
                for event in parser.feed(data):
                    chunk = reader.read(event)
                    if chunk is not None:
                        if rate_limit is not None:
                            chunk, rate_limit = replace(chunk, rate_limit=rate_limit), None
                        texts.append(chunk.text)
                        yield chunk
                    if reader.ended:
                        break
            if reader.ended:
                await _read_end(reply)
            elif not reader.complete:
                raise EngineConnectionError("the stream ended before the answer was complete")
        except EngineConnectionError as exc:
            broken = StreamInterrupted(
                str(exc), stage=exc.stage, partial_text="".join(texts), engine=self.name, model=self.model
            )
            self._name(broken)
            raise broken from exc
        except EngineError as exc:
            self._name(exc)
            raise
        except _UNREADABLE as exc:
            raise self._invalid(exc, event) from exc
        finally:
            reply.close()

    def configuration(self) -> dict[str, Any]:
        """See `Engine.configuration`. Of the base URL it has what may be seen."""
        return super().configuration() | {"base_url": self.url}

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
        body = await self.ask_for_bytes(method, path, asked)
        try:
            return orjson.loads(body)
        except orjson.JSONDecodeError as exc:
            raise self._invalid(exc, body) from exc

    async def ask_for_bytes(
        self, method: str, path: str, asked: Mapping[str, Any] | None = None, *, beside: bool = False
    ) -> bytes:
        """`ask`, for an answer that is no JSON. `beside`: the path stands beside the base URL's `/v1`, not below it."""
        body = b"" if asked is None else self._json(asked)
        return (await self._whole(method, path, body, None, beside=beside))[1]

    def written(self, request: Request, *, stream: bool) -> bytes:
        """The body of a request, as JSON."""
        return self._json(self.asked(request, stream=stream))

    async def _whole(
        self, method: str, path: str, body: bytes, request: Request | None, *, beside: bool = False
    ) -> tuple[Reply, bytes]:
        reply = await self._send(method, path, body, request, whole=True, beside=beside)
        try:
            answer = await reply.read()
            if reply.status != 200:
                raise self._refusal(reply, answer)
        except EngineError as exc:
            self._name(exc)
            raise
        return reply, answer

    async def _send(
        self, method: str, path: str, body: bytes, request: Request | None, *, whole: bool, beside: bool = False
    ) -> Reply:
        if self._closed:
            raise ClosedError(f"the engine {self.name!r} was closed; open it again with `Engine.open(...)`")
        if self.missing_key is not None:
            raise AuthenticationError(self.missing_key, engine=self.name, model=self.model)
        headers = self._headers
        if request is not None:
            for name, value in request.trace_headers.items():
                headers += b"%b: %b\r\n" % (name.encode(), value.encode())
        base_path = self._base_path.removesuffix("/v1") if beside else self._base_path
        try:
            return await self._transport.send(method, base_path + path + self._query, headers, body, whole=whole)
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
        coding = reply.headers.get("content-encoding", "identity")
        if "text/event-stream" not in kind or coding != "identity":
            sent = f"{kind or 'no content type'}{'' if coding == 'identity' else f', compressed by {coding}'}"
            body = await reply.chunk()
            raise InvalidResponseError(
                f"the endpoint sent {self._keys.hidden(sent[:200])} in place of a stream", body=self._start_of(body)
            )

    def _refusal(self, reply: Reply, body: bytes) -> EngineError:
        """The error that an answer with another status than 200 stands for."""
        if reply.status < 400:
            where = reply.headers.get("location")
            said = (
                f"redirects to {self._keys.hidden(where)[:500]!r}; give its final URL"
                if where
                else (f"answered with the status {reply.status}, which is no answer")
            )
            return InvalidResponseError(
                f"the endpoint {said}",
                body=self._start_of(body),
                engine=self.name,
                model=self.model,
                status_code=reply.status,
            )
        try:
            answer = orjson.loads(body)
            error = answer.get("error", answer)
        except (orjson.JSONDecodeError, AttributeError):
            error = body[:4000].decode("utf-8", "replace")
        return self.error_of(error, reply.status, reply.headers)

    def error_of(self, error: Any, status: int, headers: Mapping[str, str]) -> EngineError:
        """Our error for what the endpoint said under `"error"`, in a refusal or in mid-stream."""
        said = error if isinstance(error, dict) else {"message": str(error)}
        message = self._keys.hidden(str(said.get("message") or said))[:2000]
        code = str(said.get("code") or said.get("type") or "")
        cls: type[EngineError] = ServerError
        if 400 <= status < 500:
            cls = _BY_STATUS.get(status) or self.bad_request(code, message)
        details: dict[str, Any] = {}
        if cls is ContextLengthError:
            details["tokens"], details["window"] = context_numbers(message, said)
        return cls(
            f"HTTP {status}: {message}",
            engine=self.name,
            model=self.model,
            status_code=status,
            request_id=headers.get("x-request-id") or headers.get("request-id"),
            retry_after_s=come_back_s(headers, status),
            **details,
        )

    def _invalid(self, exc: Exception, body: bytes) -> InvalidResponseError:
        why = "compressed, which was not asked for" if body.startswith(_GZIP) else f"{type(exc).__name__}: {exc}"
        return InvalidResponseError(
            f"the endpoint's answer is none by its protocol ({self._keys.hidden(why)[:500]})",
            body=self._start_of(body),
            engine=self.name,
            model=self.model,
        )

    def _start_of(self, body: bytes) -> bytes:
        # Cut only after the keys are out, for half a key at the end would not be known for one.
        return self._keys.hidden_bytes(body[:4000])[:500]

    def _name(self, error: EngineError) -> None:
        """Say whose error it is, which the transport does not know, and take our keys out of it."""
        if error.engine is None:
            error.engine, error.model = self.name, self.model
        error.args = tuple(self._keys.hidden(one) if isinstance(one, str) else one for one in error.args)
        if error.request_id is not None:
            error.request_id = self._keys.hidden(error.request_id)
        if isinstance(error, InvalidResponseError):
            error.body = self._keys.hidden_bytes(error.body)

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
        if "context_length" in code or "exceed_context_size" in code or context_numbers(message, {})[1] is not None:
            return ContextLengthError
        if "content_filter" in code or "content_policy" in code:
            return ContentFilteredError
        return BadRequestError


async def _read_end(reply: Reply) -> None:
    """Read the end of a body whose answer is complete, which frees the connection.

    Servers send it right after the last event. Whatever comes in its place does no harm to the answer: the connection
    is cut.
    """
    with contextlib.suppress(EngineError, TimeoutError):
        async with asyncio.timeout(_LAST_S):
            while await reply.chunk():
                pass


def _header_lines(headers: Mapping[str, str]) -> bytes:
    lines = {
        "content-type": "application/json",
        "accept": "*/*",
        "accept-encoding": "identity",  # without it, any coding would be allowed (RFC 9110, section 12.5.3)
        "user-agent": "llmops-sdk",
        **headers,
    }
    for name, value in lines.items():
        if _HEADER_NAME.fullmatch(name) is None or name in _FRAMING_HEADERS:
            raise ConfigurationError(f"the header {name!r} is none that can be given; leave it out")
        if _HEADER_VALUE.fullmatch(value) is None:  # not shown: it may be a key
            raise ConfigurationError(
                f"the value of the header {name!r} has a line break or a character that HTTP does not allow, "
                "or a space at an end; was it pasted or read from a file with more than the key?"
            )
    return "".join(f"{name}: {value}\r\n" for name, value in lines.items()).encode("latin-1")


def _wire_default(value: Any) -> Any:
    if isinstance(value, Mapping):  # orjson knows `dict` only
        return dict(value)
    raise TypeError(f"{type(value).__name__} cannot be sent")
