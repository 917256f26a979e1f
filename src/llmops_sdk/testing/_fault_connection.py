"""HTTP/1.1 towards the clients of a fault server."""

from __future__ import annotations

import asyncio
import collections
import re
import socket
import struct
from typing import cast

from llmops_sdk.testing._fault_answers import Answers, SeenRequest, refusal
from llmops_sdk.testing._faults import Behaviour
from llmops_sdk.testing._wire import End, Rendered, Step, steps

__all__ = ["Connection", "Seen"]

_MOST_BYTES = 64 * 1024 * 1024
"""Most bytes of one request."""

_LENGTH = re.compile(rb"\r\ncontent-length:[ \t]*(\d{1,12})[ \t]*\r\n", re.IGNORECASE)
_CONTINUE = re.compile(rb"\r\nexpect:[ \t]*100-continue[ \t]*\r\n", re.IGNORECASE)


class Seen:
    """What a server has seen so far: `requests` (the newest `keep`), their `count`, `connections`, `disconnects`."""

    def __init__(self, keep: int) -> None:
        self.requests: collections.deque[SeenRequest] = collections.deque(maxlen=keep)
        self.connections: set[Connection] = set()
        self.count = 0
        self.disconnects = 0


class Connection(asyncio.Protocol):
    """One client: requests are answered in the order in which they came, one at a time."""

    def __init__(self, answers: Answers, seen: Seen, loop: asyncio.AbstractEventLoop) -> None:
        self._answers = answers
        self._seen = seen
        self._loop = loop
        self._transport: asyncio.Transport
        self._buffer = b""
        self._task: asyncio.Task[None] | None = None
        self._request: SeenRequest | None = None
        self._room: asyncio.Future[None] | None = None
        self._full = False
        self._continued = False

    @property
    def busy(self) -> bool:
        """Whether an answer is under way."""
        return self._request is not None

    def cut(self) -> asyncio.Task[None] | None:
        """Close the socket at once, by the server's own will."""
        task, self._request = self._task, None
        if task is not None:
            task.cancel()
        self._transport.abort()
        return task

    # What the event loop calls.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # uvloop's are not its subclasses
        self._seen.connections.add(self)

    def data_received(self, data: bytes) -> None:
        self._buffer = self._buffer + data if self._buffer else data
        self._serve()

    def connection_lost(self, exc: Exception | None) -> None:
        self._seen.connections.discard(self)
        request, self._request = self._request, None
        if request is not None:
            request.disconnected = True
            self._seen.disconnects += 1
        if self._task is not None:
            self._task.cancel()

    def pause_writing(self) -> None:
        self._full = True

    def resume_writing(self) -> None:
        self._full = False
        if self._room is not None and not self._room.done():
            self._room.set_result(None)
        self._serve()

    # Requests and answers.

    def _serve(self) -> None:
        while self._request is None and not self._full and not self._transport.is_closing():
            request = self._take()
            if request is None:
                return
            self._seen.count += 1
            self._seen.requests.append(request)
            answer = self._answers.to(request)
            if isinstance(answer, bytes):
                self._transport.write(answer)
                self._end(request, "keep")
            else:
                self._request = request
                self._task = self._loop.create_task(self._deliver(request, *answer))

    def _take(self) -> SeenRequest | None:
        """The next request, if all of it has come."""
        buffer = self._buffer
        edge = buffer.find(b"\r\n\r\n")
        if edge < 0:
            if len(buffer) > 65536:
                self._refuse(431, "the headers are over 65536 bytes")
            return None
        head = buffer[: edge + 2]
        found = _LENGTH.search(head)
        if found is None and head.startswith(b"POST"):
            self._refuse(411, "send a Content-Length")
            return None
        start = edge + 4
        end = start + (int(found[1]) if found is not None else 0)
        if end > _MOST_BYTES:
            self._refuse(413, f"a request is over {_MOST_BYTES} bytes")
            return None
        if len(buffer) < end:
            if not self._continued and _CONTINUE.search(head) is not None:
                self._continued = True
                self._transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")
            return None
        self._buffer, self._continued = buffer[end:], False
        return SeenRequest(head, buffer[start:end])

    def _refuse(self, status: int, message: str) -> None:
        self._buffer = b""
        self._transport.write(refusal(status, message))
        self._transport.close()

    async def _deliver(self, request: SeenRequest, rendered: Rendered, behaviour: Behaviour) -> None:
        if behaviour.delay_s:
            await asyncio.sleep(behaviour.delay_s)
        planned, end = steps(rendered, behaviour)
        for step in planned:
            await self._write(step)
        if end == "hang":
            await self._loop.create_future()  # until the client goes away, or the server stops
        self._request = self._task = None
        self._end(request, end)
        self._serve()

    async def _write(self, step: Step) -> None:
        if step.pause_s is not None:
            await asyncio.sleep(step.pause_s)
        if self._full:
            self._room = self._loop.create_future()
            await self._room
        self._transport.write(step.data)

    def _end(self, request: SeenRequest, end: End) -> None:
        if end == "reset":
            linger = struct.pack("ii", 1, 0)
            self._transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
            self._transport.close()
        elif end == "close" or request.wants_close:
            self._transport.close()
