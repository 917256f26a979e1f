"""A transport over the application's own `httpx` or `httpx2` client: for proxies, mTLS, signing, custom trust."""

from __future__ import annotations

import asyncio
import contextlib
from typing import Any

from llmops_sdk.errors import EngineConnectionError, EngineError, EngineTimeout, InvalidResponseError

__all__ = ["OwnClient"]


class _Reply:
    """An answer of the client; see `http11.Reply`."""

    def __init__(self, response: Any, max_body: int) -> None:
        self._response = response
        self._chunks = response.aiter_bytes()
        self._max_body = max_body
        self.status: int = response.status_code
        self.headers = {name.lower(): value for name, value in response.headers.items()}
        self.headers.pop("content-encoding", None)  # the client has decoded it

    def mentions(self, fragment: str) -> bool:
        return any(fragment in name for name in self.headers)

    async def read(self) -> bytes:
        parts: list[bytes] = []
        size = 0
        while part := await self.chunk():
            parts.append(part)
            size += len(part)
            if size > self._max_body:
                self.close()
                raise InvalidResponseError(f"the answer is over {self._max_body} bytes (`max_body`)", body=parts[0])
        return b"".join(parts)

    async def chunk(self) -> bytes:
        try:
            async for part in self._chunks:
                if part:
                    return bytes(part)
        except Exception as exc:  # whatever the client raises
            raise _translated(exc) from exc
        return b""

    def close(self) -> None:
        # `Reply.close` is called from `finally` blocks that may not wait; the client closes in a task of its own.
        with contextlib.suppress(RuntimeError):
            task = asyncio.get_running_loop().create_task(self._response.aclose())
            task.add_done_callback(lambda done: done.cancelled() or done.exception())


class OwnClient:
    """Sends through a client that the application made and closes.

    Args:
        client: An `httpx.AsyncClient` or `httpx2.AsyncClient`.
        origin: Scheme, host and port of the endpoint, without a trailing slash.
        max_body: Most bytes of a whole answer.
    """

    def __init__(self, client: Any, origin: str, *, max_body: int) -> None:
        self._client = client
        self._origin = origin
        self._max_body = max_body

    async def send(self, method: str, path: str, headers: bytes, body: bytes, *, whole: bool) -> _Reply:
        """See `http11.Transport.send`."""
        pairs = [line.split(b": ", 1) for line in headers.split(b"\r\n") if line]
        try:
            request = self._client.build_request(
                method, self._origin + path, content=body, headers={n.decode(): v.decode() for n, v in pairs}
            )
            return _Reply(await self._client.send(request, stream=True), self._max_body)
        except Exception as exc:  # whatever the client raises
            raise _translated(exc) from exc

    async def aclose(self) -> None:
        """Nothing: the client belongs to the application."""


def _translated(exc: Exception) -> EngineError:
    # By name, so that neither library has to be imported: httpx and httpx2 have the same tree of errors.
    names = {cls.__name__ for cls in type(exc).__mro__}
    if "TimeoutException" in names:
        return EngineTimeout(f"the client timed out ({type(exc).__name__})")
    if "TransportError" in names and "UnsupportedProtocol" not in names:
        stage = "exchange" if not names & {"ConnectError", "ProxyError"} else "connect"
        return EngineConnectionError(f"the connection failed ({type(exc).__name__}: {exc})", stage=stage)
    if "HTTPError" in names or "StreamError" in names:
        return InvalidResponseError(f"the client could not read the answer ({type(exc).__name__}: {exc})")
    return EngineError(f"the client broke ({type(exc).__name__}: {exc})")
