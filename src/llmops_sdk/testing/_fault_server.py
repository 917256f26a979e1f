"""A server on this machine with the APIs of OpenAI and Anthropic that answers, and misbehaves, as a script says."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import pickle
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Coroutine, Iterator
from typing import Any, Self

from llmops_sdk.errors import ConfigurationError
from llmops_sdk.testing._fault_answers import Answers, SeenRequest
from llmops_sdk.testing._fault_connection import Connection, Seen
from llmops_sdk.testing._faults import Script

__all__ = ["FaultServer", "SeenRequest"]


class FaultServer:
    """Serves the APIs of OpenAI and Anthropic on 127.0.0.1, on a free port.

    That is `/v1/chat/completions` and `/v1/messages` (whole and streamed, from one script), `/v1/messages/count_tokens`
    (it counts words), `/v1/embeddings`, `/v1/moderations`, `/v1/models` and `/health`. Embeddings are made up: a vector
    is the same for the same text, and near for texts that share words. So are moderations: a text is flagged in the
    categories whose names (`violence`, `hate`, ...) it holds as words.

    Use it with `async with` on the running loop, or with `with` on a thread of its own; `in_subprocess` gives it a
    process of its own, for benchmarks. The pytest fixture `fault_server` starts and stops one.

    Args:
        behaviours: What to do with the first, second, ... request for an answer, and from the beginning again: each a
            `Reply`, `Status`, `Raw` or `Hang`, or short for one (a text, a list of chunks, a status such as 429), or a
            function that takes the request's JSON and returns one of these. Nothing given: it answers "Hello".
        models: What `/v1/models` lists.
        keep: Most requests that are remembered.

    Attributes:
        port: The port, 0 while the server is not running.

    Example:
        >>> import urllib.request
        >>> with FaultServer(429, "Hello") as server:
        ...     with urllib.request.urlopen(server.url + "/models") as answer:
        ...         answer.status, server.requests[0].path
        (200, '/v1/models')
    """

    def __init__(self, *behaviours: Script, models: tuple[str, ...] = ("test-model",), keep: int = 1000) -> None:
        if keep < 1:
            raise ConfigurationError(f"`keep` is {keep}; write at least 1")
        self._answers = Answers(behaviours, models)
        self._seen = Seen(keep)
        self._server: asyncio.Server | None = None
        self._thread: _ServerThread | None = None
        self.port = 0

    @staticmethod
    @contextlib.contextmanager
    def in_subprocess(*behaviours: Script, models: tuple[str, ...] = ("test-model",)) -> Iterator[str]:
        """Run a server in a process of its own, so that it takes no time from the client; gives its base URL.

        The behaviours are pickled: a function among them has to be defined in a module that the process can import.

        Raises:
            RuntimeError: The process did not start.
        """
        command = [sys.executable, "-m", "llmops_sdk.testing._fault_server_process"]
        given = pickle.dumps((sys.path, behaviours, models))
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:  # noqa: S603
            assert process.stdin is not None
            assert process.stdout is not None
            try:
                process.stdin.write(struct.pack("!I", len(given)) + given)
                process.stdin.flush()
                url = process.stdout.readline().decode().strip()
                if not url:
                    raise RuntimeError("the server's process ended before it listened; its output says why")
                yield url
            finally:
                with contextlib.suppress(BrokenPipeError):
                    process.stdin.close()  # which ends it, and so does the death of this process

    @property
    def url(self) -> str:
        """Base URL, `http://127.0.0.1:PORT/v1`; empty while the server is not running."""
        return f"http://127.0.0.1:{self.port}/v1" if self.port else ""

    @property
    def requests(self) -> list[SeenRequest]:
        """The newest requests, oldest first, of all paths."""
        return list(self._seen.requests)

    @property
    def request_count(self) -> int:
        """How many requests were received."""
        return self._seen.count

    @property
    def disconnects(self) -> int:
        """How many clients went away before their answer was complete."""
        return self._seen.disconnects

    @property
    def open_connections(self) -> int:
        """How many clients are connected."""
        return len(self._seen.connections)

    @property
    def answering(self) -> int:
        """How many answers are under way; 0 when no work is left upstream."""
        return sum(connection.busy for connection in tuple(self._seen.connections))

    def until(self, condition: Callable[[], object], *, timeout_s: float = 5.0) -> None:
        """Wait until `condition()` is true: `server.until(lambda: server.disconnects == 1)`. Not on the server's loop.

        Raises:
            TimeoutError: It did not become true; the message says what the server has seen.
        """
        end = time.monotonic() + timeout_s
        while not condition():
            if time.monotonic() > end:
                raise self._timeout(timeout_s)
            time.sleep(0.001)

    async def auntil(self, condition: Callable[[], object], *, timeout_s: float = 5.0) -> None:
        """`until`, for code on an event loop."""
        end = time.monotonic() + timeout_s
        while not condition():
            if time.monotonic() > end:
                raise self._timeout(timeout_s)
            await asyncio.sleep(0.001)

    def _timeout(self, timeout_s: float) -> TimeoutError:
        return TimeoutError(f"the condition did not become true within {timeout_s} s; {self!r}")

    async def __aenter__(self) -> Self:
        await self._start()
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self._stop()

    def __enter__(self) -> Self:
        self._thread = _ServerThread(self._start, self._stop)
        return self

    def __exit__(self, *exc: object) -> None:
        if self._thread is not None:
            self._thread.stop()
            self._thread = None

    def __repr__(self) -> str:
        return (
            f"<FaultServer {self.url or 'stopped'} requests={self.request_count} connections={self.open_connections} "
            f"answering={self.answering} disconnects={self.disconnects}>"
        )

    async def _start(self) -> None:
        if self._server is not None:
            raise ConfigurationError("this fault server is already running; make another one")
        loop = asyncio.get_running_loop()
        make = functools.partial(Connection, self._answers, self._seen, loop)
        self._server = await loop.create_server(make, "127.0.0.1", 0, backlog=4096)
        self.port = self._server.sockets[0].getsockname()[1]

    async def _stop(self) -> None:
        server, self._server, self.port = self._server, None, 0
        if server is None:
            return
        # Accept nobody from here on, before the server closes: asyncio would lose the socket of a client that it has
        # accepted but not yet announced, which takes it three passes of the loop.
        loop = asyncio.get_running_loop()
        for listener in server.sockets:
            loop.remove_reader(listener.fileno())
        for _ in range(4):
            await asyncio.sleep(0)
        server.close()
        tasks = [task for connection in tuple(self._seen.connections) if (task := connection.cut()) is not None]
        if tasks:
            await asyncio.wait(tasks)
        await asyncio.sleep(0)  # an aborted socket is closed in the next pass
        await server.wait_closed()


class _ServerThread:
    """Runs a server on an event loop and a thread of its own."""

    def __init__(
        self, start: Callable[[], Coroutine[Any, Any, None]], stop: Callable[[], Coroutine[Any, Any, None]]
    ) -> None:
        self._stop = stop
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, name="llmops-fault-server", daemon=True)
        self._thread.start()
        try:
            asyncio.run_coroutine_threadsafe(start(), self._loop).result()
        except BaseException:
            self._end()
            raise

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        self._loop.run_forever()
        self._loop.close()

    def stop(self) -> None:
        asyncio.run_coroutine_threadsafe(self._stop(), self._loop).result()
        self._end()

    def _end(self) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
