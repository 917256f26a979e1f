"""The default HTTP transport: HTTP/1.1 on asyncio, parsed by `httptools` (llhttp, the parser of Node.js and uvicorn).

Why not a ready client: the client decides what a call costs. Measured side by side (docs/decisions/0003), CPU per call
at 64 in flight: this 50-60 us, aiohttp 180-200, httpx2 1,100. What is here is only what an endpoint of a model needs:
POST and GET, keep-alive, TLS, streams, bounds on everything. For proxies, mTLS or signing hand your own `httpx` or
`httpx2` client to the engine instead.

Connections belong to the event loop that opened them, so one engine serves any number of loops and survives a fork.
"""

from __future__ import annotations

import asyncio
import collections
import contextlib
import errno
import socket
import ssl
import time
from collections.abc import AsyncGenerator, Callable
from typing import Any, Protocol, cast

import httptools

from llmops_sdk.errors import ClosedError, EngineConnectionError, EngineTimeout, InvalidResponseError

__all__ = ["Http11", "Reply", "Transport"]

_MAX_HEAD = 64 * 1024
"""Most bytes of status line and headers."""
_PAUSE_AT = 256 * 1024
"""Bytes of a stream that wait to be read before the connection stops reading."""
_PIECES = 1024
"""Most pieces of a body that are kept apart: an object for each byte would take forty times the bytes."""
_FRAMING = 16
"""Most bytes of chunked framing for each byte of a body: honest servers need 6 at most."""


class Reply(Protocol):
    """An HTTP answer whose status and headers have arrived."""

    status: int

    @property
    def headers(self) -> dict[str, str]:
        """Names in lower case; of repeated ones the last."""
        ...

    def mentions(self, fragment: str) -> bool:
        """Whether the name of a header holds `fragment`, in lower case; cheaper than to make all of them."""
        ...

    async def read(self) -> bytes:
        """The whole body; the connection is free again."""
        ...

    async def chunk(self) -> bytes:
        """What has arrived of the body, waiting if nothing has; `b""` at its end."""
        ...

    def close(self) -> None:
        """Let go of the answer. If its body has not ended, the connection is cut, which stops the work upstream."""
        ...


class Transport(Protocol):
    """How requests travel. Errors: `EngineConnectionError`, `EngineTimeout`, `InvalidResponseError`, nothing else."""

    async def send(self, method: str, path: str, headers: bytes, body: bytes, *, whole: bool) -> Reply:
        """Send a request; `path` is absolute, `headers` are ready-made lines. `whole`: wait for the body, too."""
        ...

    async def aclose(self) -> None:
        """Close every connection; idempotent."""
        ...


class _Connection(asyncio.Protocol):
    """One connection: at most one request at a time."""

    def __init__(self, owner: Http11, loop: asyncio.AbstractEventLoop) -> None:
        self._owner = owner
        self._loop = loop
        self._transport: asyncio.Transport
        self.lost = False
        self.idle_since = 0.0
        self.uses = 0
        self._waiter: asyncio.Future[None] | None = None
        self._waiting_since = 0.0
        self._clock: asyncio.TimerHandle | None = None
        self._parser = httptools.HttpResponseParser(self)
        self._reset(whole=True)
        self._complete = True

    def _reset(self, *, whole: bool) -> None:
        self._whole = whole
        self.status = 0
        self._headers: list[tuple[bytes, bytes]] = []
        self._head_complete = False
        self._complete = False
        self._reusable = False
        self._error: Exception | None = None
        self._body: list[bytes] = []
        self._joined: list[bytes] = []
        self._buffered = 0
        self._taken = 0
        self._received = 0
        self._surplus = False
        self._first = b""
        self._paused = False

    # asyncio.Protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # uvloop's are not its subclasses

    def data_received(self, data: bytes) -> None:
        if self._complete:  # bytes that nobody asked for: whatever they are, do not reuse this connection
            self._reusable = False
            self._transport.abort()
            return
        if self._received < 500:
            self._first = (self._first + data)[:500]
        self._received += len(data)
        if self._waiter is not None:
            self._waiting_since = self._loop.time()
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade) as exc:
            if self._complete:  # the answer is whole; what follows it is nobody's
                self._surplus = True
                self._cut_surplus()
                return
            self._fail(InvalidResponseError(_no_http(self._first, exc), body=self._first))
            return
        if self._surplus:
            self._cut_surplus()
        elif not self._head_complete and self._received > _MAX_HEAD:
            self._fail(InvalidResponseError(f"the answer's headers are over {_MAX_HEAD} bytes", body=self._first))
        elif self._buffered > self._owner.max_body and self._whole:
            self._fail(
                InvalidResponseError(f"the answer is over {self._owner.max_body} bytes (`max_body`)", body=self._first)
            )
        elif self._received > _MAX_HEAD + _FRAMING * (self._taken + self._buffered):
            self._fail(InvalidResponseError("the answer is chunked into far more framing than text", body=self._first))
        elif self._buffered > _PAUSE_AT and not self._whole and not self._complete and not self._paused:
            self._paused = True
            self._transport.pause_reading()
        if self._complete or (self._head_complete and not self._whole):
            self._wake()

    def connection_lost(self, exc: Exception | None) -> None:
        self.lost = True
        if self._clock is not None:
            self._clock.cancel()
        if not self._complete and self._error is None:
            until_close = not {"content-length", "transfer-encoding"} & self.headers.keys()
            if self._head_complete and until_close and exc is None:
                self._complete = True
            else:
                where = f"after {self._received} bytes of the answer" if self._received else "before any answer"
                self._error = EngineConnectionError(f"the connection was closed {where}", stage="exchange")
        self._owner.forget(self)
        self._wake()

    # httptools callbacks

    def on_message_begin(self) -> None:
        if self._complete:  # a second answer in the same packet, to a question that was never asked
            self._surplus = True

    def on_header(self, name: bytes, value: bytes) -> None:
        if not self._head_complete:  # else it is a trailer: nobody reads those, and they are without bound
            self._headers.append((name, value))

    def on_headers_complete(self) -> None:
        if self._surplus:
            return
        self.status = self._parser.get_status_code()
        self._head_complete = self.status >= 200

    def on_body(self, body: bytes) -> None:
        if self._surplus:
            return
        self._body.append(body)
        self._buffered += len(body)
        if len(self._body) > _PIECES:
            self._joined.append(b"".join(self._body))
            self._body.clear()

    def on_message_complete(self) -> None:
        if self._surplus:
            return
        if self.status < 200:  # an interim answer (100, 103): the real one follows
            self._headers.clear()
            return
        self._complete = True
        self._reusable = self._parser.should_keep_alive()

    # the request's side

    def _wake(self) -> None:
        waiter, self._waiter = self._waiter, None
        if waiter is not None and not waiter.done():
            waiter.set_result(None)

    def _cut_surplus(self) -> None:
        self._reusable = False
        self._transport.abort()
        self._wake()

    def _fail(self, error: Exception) -> None:
        self._error = error
        self._transport.abort()
        self._wake()

    async def _wait(self) -> None:
        """Until something has arrived, for `read_timeout_s` seconds at most."""
        self._waiter = self._loop.create_future()
        self._waiting_since = self._loop.time()
        if self._clock is None:
            self._clock = self._loop.call_later(self._owner.read_timeout_s, self._look_at_clock)
        try:
            await self._waiter
        finally:
            self._waiter = None

    def _look_at_clock(self) -> None:
        # One timer for all waits of a connection: to make and cancel one for each would cost more than the wait.
        self._clock = None
        if self._waiter is not None:
            left_s = self._waiting_since + self._owner.read_timeout_s - self._loop.time()
            if left_s > 0:
                self._clock = self._loop.call_later(left_s, self._look_at_clock)
            else:
                self._fail(EngineTimeout(f"nothing came from the endpoint for {self._owner.read_timeout_s} s"))

    async def exchange(self, data: bytes, *, whole: bool) -> None:
        """Send a request and wait for its head, or for all of it."""
        self._reset(whole=whole)
        self.uses += 1
        self._transport.write(data)
        while not (self._complete or (self._head_complete and not whole)):
            if self._error is not None:
                raise self._error
            if self.lost:
                raise EngineConnectionError("the connection was closed before any answer", stage="exchange")
            await self._wait()

    @property
    def headers(self) -> dict[str, str]:
        """See `Reply.headers`; made when somebody asks, which is seldom."""
        return {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in self._headers}

    def mentions(self, fragment: str) -> bool:
        """See `Reply.mentions`."""
        return fragment.encode() in b" ".join([name for name, _ in self._headers]).lower()

    @property
    def untouched(self) -> bool:
        """Whether not a single byte of an answer has come."""
        return self._received == 0

    async def read(self) -> bytes:
        while not self._complete:
            if self._error is not None:
                raise self._error
            if self._buffered > self._owner.max_body:
                self._fail(InvalidResponseError(f"the answer is over {self._owner.max_body} bytes (`max_body`)"))
                continue
            self._resume()
            await self._wait()
        body = self._take()
        self.close()
        return body

    async def chunk(self) -> bytes:
        while not self._buffered:
            if self._complete:
                return b""
            if self._error is not None:
                raise self._error
            self._resume()
            await self._wait()
        return self._take()

    def _take(self) -> bytes:
        body = self._body[0] if len(self._body) == 1 and not self._joined else b"".join((*self._joined, *self._body))
        self._body.clear()
        self._joined.clear()
        self._taken += self._buffered
        self._buffered = 0
        return body

    def _resume(self) -> None:
        if self._paused:
            self._paused = False
            self._transport.resume_reading()

    def close(self) -> None:
        self._resume()
        if self._complete and self._reusable and not self.lost:
            self._owner.give_back(self)
        else:
            self.cut()

    def cut(self) -> None:
        """Close the socket at once."""
        self._complete = True
        self._reusable = False
        if not self.lost:
            self._transport.abort()


def _no_http(first: bytes, exc: Exception) -> str:
    if first[:2] in (b"\x15\x03", b"\x16\x03"):
        return "the endpoint speaks TLS; write `https://` in its URL"
    return f"the endpoint does not speak HTTP/1.1 ({exc}); does another service listen at this port?"


def _no_connection(exc: OSError, host: str, where: str) -> EngineConnectionError:
    """Why a connection could not be made, and what to do about it."""
    if isinstance(exc, socket.gaierror):
        why = f"the host name {host!r} cannot be resolved ({exc.strerror}); is it spelled right, is there a network?"
        return EngineConnectionError(why, stage="look-up")
    if isinstance(exc, ssl.SSLCertVerificationError):
        why = f"the TLS certificate of {where} is not trusted ({exc.verify_message}); `ssl_context` says what to trust"
        return EngineConnectionError(why, stage="tls")
    if isinstance(exc, ssl.SSLError):
        why = f"the TLS handshake with {where} failed ({exc.reason or exc}); does it speak TLS? If not, write `http://`"
        return EngineConnectionError(why, stage="tls")
    if exc.errno == errno.ECONNREFUSED or f"[Errno {errno.ECONNREFUSED}]" in str(exc):  # one of several addresses
        return EngineConnectionError(
            f"nothing listens at {where} (connection refused); is it running?", stage="connect"
        )
    if isinstance(exc, ConnectionError):
        why = f"{where} closed the connection before it was ready ({exc.strerror or exc}); does it speak TLS?"
        return EngineConnectionError(why, stage="tls")
    why = f"cannot connect to {where} ({exc.strerror or exc}); is the address right, is there a route to it?"
    return EngineConnectionError(why, stage="connect")


def _cut(opening: asyncio.Task[tuple[asyncio.Transport, _Connection]]) -> None:
    """Close a connection that came too late for whoever asked for it."""
    if not opening.cancelled() and opening.exception() is None:
        _, connection = opening.result()
        connection.cut()


class _Pool:
    """The connections of one event loop."""

    def __init__(self) -> None:
        self.idle: list[_Connection] = []
        self.all: set[_Connection] = set()
        self.opening = 0
        self.waiting: collections.deque[asyncio.Future[None]] = collections.deque()
        self.closer: AsyncGenerator[None, None] | None = None


class Http11:
    """HTTP/1.1 to one endpoint.

    Args:
        host: Name or address.
        port: 1 to 65535.
        tls: Whether to speak TLS; `ssl_context` in place of the system's own trust store.
        max_connections: Most connections for each event loop; further requests wait in order.
        connect_timeout_s: Seconds for name look-up, connect and TLS handshake together.
        read_timeout_s: Seconds without a single byte after which an answer is given up.
        max_body: Most bytes of a whole answer.
        idle_s: Seconds that an unused connection is kept.
        on_open: Called with `True` when the first connection is made, with `False` when the last one is gone.
    """

    def __init__(
        self,
        host: str,
        port: int,
        *,
        tls: bool,
        ssl_context: ssl.SSLContext | None = None,
        max_connections: int = 10_000,
        connect_timeout_s: float = 10.0,
        read_timeout_s: float = 300.0,
        max_body: int = 64 * 1024 * 1024,
        idle_s: float = 30.0,
        on_open: Callable[[bool], object] = lambda opened: None,
    ) -> None:
        self.host, self.port = host, port
        self._tls = tls
        self._ssl_context = ssl_context
        self._max_connections = max_connections
        self._connect_timeout_s = connect_timeout_s
        self.read_timeout_s = read_timeout_s
        self.max_body = max_body
        self._idle_s = idle_s
        self._on_open = on_open
        default = 443 if tls else 80
        shown = f"[{host}]" if ":" in host else host
        self._host_line = f" HTTP/1.1\r\nhost: {shown}{'' if port == default else f':{port}'}\r\n".encode()
        self._pools: dict[asyncio.AbstractEventLoop, _Pool] = {}
        self._closed = False

    async def send(self, method: str, path: str, headers: bytes, body: bytes, *, whole: bool) -> Reply:
        """See `Transport.send`."""
        head = f"{method} {path}".encode() + self._host_line + headers
        data = b"%bcontent-length: %d\r\n\r\n%b" % (head, len(body), body)
        while True:
            connection = await self._connection()
            try:
                await connection.exchange(data, whole=whole)
            except EngineConnectionError:
                # The server had closed a kept connection while the request was on its way: not a byte of an answer
                # came, so it is sent again on another connection, which is new in the end.
                if connection.uses > 1 and connection.untouched:
                    continue
                raise
            except BaseException:
                connection.cut()
                raise
            return connection

    async def _connection(self) -> _Connection:
        if self._closed:
            raise ClosedError("this engine was closed; open it again with `Engine.open(...)`")
        loop = asyncio.get_running_loop()
        pool = self._pools.get(loop)
        if pool is None:
            pool = await self._open_pool(loop)
        while True:
            oldest = time.monotonic() - self._idle_s
            while pool.idle:
                connection = pool.idle.pop()
                if connection.idle_since >= oldest and not connection.lost:
                    return connection
                connection.cut()
            if len(pool.all) + pool.opening < self._max_connections:
                return await self._connect(loop, pool)
            free: asyncio.Future[None] = loop.create_future()
            pool.waiting.append(free)
            try:
                await free
            except BaseException:
                if free.done() and not free.cancelled():
                    self._let_next(pool)
                raise

    async def _open_pool(self, loop: asyncio.AbstractEventLoop) -> _Pool:
        for other in [other for other in self._pools if other.is_closed()]:
            del self._pools[other]
        pool = self._pools[loop] = _Pool()

        async def close_with_loop() -> AsyncGenerator[None, None]:
            # `asyncio.run` closes living async generators before it closes the loop: so connections never outlive it.
            try:
                yield
            finally:
                self._close_pool(loop)

        pool.closer = close_with_loop()
        await anext(pool.closer)
        return pool

    async def _connect(self, loop: asyncio.AbstractEventLoop, pool: _Pool) -> _Connection:
        where = f"{self.host}:{self.port}"
        pool.opening += 1
        try:
            async with asyncio.timeout(self._connect_timeout_s):
                if self._tls and self._ssl_context is None:
                    self._ssl_context = await asyncio.to_thread(ssl.create_default_context)
                opening = loop.create_task(
                    loop.create_connection(
                        lambda: _Connection(self, loop),
                        self.host,
                        self.port,
                        ssl=self._ssl_context if self._tls else None,
                        **_happy_eyeballs(loop),
                    )
                )
                try:
                    _, connection = await asyncio.shield(opening)
                except asyncio.CancelledError:
                    # Cancelled when it has just connected, asyncio would lose the socket: so it goes on, and is cut.
                    opening.add_done_callback(_cut)
                    loop.call_later(self._connect_timeout_s, opening.cancel)
                    raise
        except TimeoutError as exc:
            raise EngineTimeout(
                f"no connection to {where} within {self._connect_timeout_s} s (look-up, connect and TLS handshake "
                "together): is the address right, does a firewall drop packets, does the port speak "
                f"{'TLS' if self._tls else 'HTTP'}? `connect_timeout_s` sets the time"
            ) from exc
        except OSError as exc:
            raise _no_connection(exc, self.host, where) from exc
        except ValueError as exc:  # what the codec of host names says
            raise EngineConnectionError(f"the host name {self.host!r} is none ({exc})", stage="look-up") from exc
        finally:
            pool.opening -= 1
        if not pool.all:
            self._on_open(True)
        pool.all.add(connection)
        return connection

    def give_back(self, connection: _Connection) -> None:
        """A connection is free."""
        pool = self._pools.get(asyncio.get_running_loop())
        if pool is None or self._closed:
            connection.cut()
            return
        connection.idle_since = time.monotonic()
        pool.idle.append(connection)
        self._let_next(pool)

    def forget(self, connection: _Connection) -> None:
        """A connection is gone."""
        for pool in self._pools.values():
            if connection in pool.all:
                pool.all.discard(connection)
                with contextlib.suppress(ValueError):
                    pool.idle.remove(connection)
                self._let_next(pool)
                break
        if not any(pool.all for pool in self._pools.values()):
            self._on_open(False)

    @staticmethod
    def _let_next(pool: _Pool) -> None:
        while pool.waiting:
            free = pool.waiting.popleft()
            if not free.done():
                free.set_result(None)
                break

    def _close_pool(self, loop: asyncio.AbstractEventLoop) -> None:
        pool = self._pools.get(loop)
        if pool is not None:
            for connection in list(pool.all):
                connection.cut()
            del self._pools[loop]
            if not self._pools:
                self._on_open(False)

    async def aclose(self) -> None:
        """Close every connection of every loop; idempotent."""
        self._closed = True
        here = asyncio.get_running_loop()
        for loop, pool in list(self._pools.items()):
            if loop is here:
                closer = pool.closer
                if closer is not None:
                    await closer.aclose()
                await asyncio.sleep(0)  # lets the sockets close before the caller's loop may end
            elif loop.is_closed():
                del self._pools[loop]
            else:
                with contextlib.suppress(RuntimeError):  # that loop may be closing at this moment
                    loop.call_soon_threadsafe(self._close_pool, loop)
        if not self._pools:
            self._on_open(False)


def _happy_eyeballs(loop: asyncio.AbstractEventLoop) -> dict[str, Any]:
    """IPv4 soon after IPv6 where that hangs (RFC 8305); uvloop, below many servers and in Ray's workers, cannot."""
    return {"happy_eyeballs_delay": 0.25} if isinstance(loop, asyncio.BaseEventLoop) else {}
