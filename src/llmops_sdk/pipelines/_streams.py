"""A guarded stream in the caller's hands: chunks first, and the result when it has ended."""

from __future__ import annotations

import asyncio
import collections
import contextlib
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator
from types import TracebackType
from typing import TYPE_CHECKING, Any, NoReturn, Self

from llmops_sdk import loops
from llmops_sdk.errors import DeadlineExceeded
from llmops_sdk.messages import Chunk, StreamRestarted

if TYPE_CHECKING:
    from llmops_sdk.calls import Call
    from llmops_sdk.pipelines._result import Result

__all__ = ["PipelineStream", "SyncStream", "stop", "within_deadline"]

_GRACE_S = 0.02
"""How long a run that is over its deadline may take to react to its cancellation; then it is left to itself."""


def deadline_error(call: Call, partial_text: str = "") -> DeadlineExceeded:
    """The error of a run that is over its deadline."""
    asked = f"; {call.attempts} engine attempt(s) so far" if call.attempts else "; no engine was asked yet"
    return DeadlineExceeded(
        f"the run did not end within {call.deadline_s} s{asked}",
        deadline_s=call.deadline_s or 0.0,
        partial_text=partial_text,
    )


async def within_deadline(call: Call, work: asyncio.Task[Result]) -> Result:
    """Wait for `work` until the call's deadline. Work that ignores its cancellation is left behind, not waited for.

    Raises:
        DeadlineExceeded: The deadline has passed.
    """
    try:
        done, _ = await asyncio.wait({work}, timeout=max(call.remaining_s() or 0.0, 0.0))
    except asyncio.CancelledError:
        await stop(work)
        raise
    if done:
        return work.result()
    call.overdue = True
    await stop(work)
    raise deadline_error(call)


async def stop(work: asyncio.Future[Any]) -> None:
    """Cancel what is under way. What will not be cancelled is left to itself after a moment, not waited for."""
    work.cancel()
    work.add_done_callback(lambda done: done.cancelled() or done.exception())  # it was seen: nobody waits for it
    if not work.done():
        await asyncio.wait({work}, timeout=_GRACE_S)


class _Pump:
    """Runs a stream in a task of its own, so that a deadline holds whatever the stream does with its cancellation."""

    _MOST = 256

    def __init__(
        self, chunks: AsyncGenerator[Chunk, None], call: Call, on_overdue: Callable[[DeadlineExceeded], None]
    ) -> None:
        self._chunks = chunks
        self._call = call
        self._on_overdue = on_overdue
        self._waiting: collections.deque[Chunk] = collections.deque()
        self._wake: asyncio.Future[None] | None = None
        self._room = asyncio.Event()
        self._text: list[str] = []
        self._task: asyncio.Task[None] | None = None

    async def _run(self) -> None:
        async with contextlib.aclosing(self._chunks):
            async for chunk in self._chunks:
                self._waiting.append(chunk)
                self._notify()
                if len(self._waiting) >= self._MOST:
                    self._room.clear()
                    await self._room.wait()

    def _notify(self) -> None:
        if self._wake is not None and not self._wake.done():
            self._wake.set_result(None)

    async def next(self) -> Chunk:
        if self._task is None:
            self._task = asyncio.get_running_loop().create_task(self._run())
            self._task.add_done_callback(lambda done: self._notify())
        if self._waiting and not self._task.done() and (self._call.remaining_s() or 0.0) <= 0:
            await self._over()  # the reader is slow: what comes after the deadline is stopped all the same
        while not self._waiting:
            if self._task.done():
                self._task.result()
                raise StopAsyncIteration
            await self._wait()
        chunk = self._waiting.popleft()
        self._room.set()
        if chunk.index == 0:
            if isinstance(chunk, StreamRestarted):
                self._text.clear()
            self._text.append(chunk.text)
        return chunk

    async def _wait(self) -> None:
        loop = asyncio.get_running_loop()
        self._wake = loop.create_future()
        timer = loop.call_later(max(self._call.remaining_s() or 0.0, 0.0), self._notify)
        try:
            await self._wake
        finally:
            timer.cancel()
            self._wake = None
        assert self._task is not None
        if not self._waiting and not self._task.done() and (self._call.remaining_s() or 0.0) <= 0:
            await self._over()

    async def _over(self) -> NoReturn:
        assert self._task is not None
        self._call.overdue = True
        await stop(self._task)
        error = deadline_error(self._call, "".join(self._text))
        self._on_overdue(error)
        raise error

    async def aclose(self) -> None:
        if self._task is None:
            await self._chunks.aclose()
        elif not self._task.done():
            await stop(self._task)


class PipelineStream(AsyncIterator[Chunk]):
    """Chunks that the guards let pass.

    Attributes:
        result: The outcome, `None` until the stream has ended.
        call: The run.
    """

    def __init__(
        self,
        make: Callable[[PipelineStream], AsyncGenerator[Chunk, None]],
        call: Call,
        on_overdue: Callable[[DeadlineExceeded], None],
    ) -> None:
        self.call = call
        self.result: Result | None = None
        self._chunks = make(self)
        self._pump = None if call.deadline is None else _Pump(self._chunks, call, on_overdue)
        self._next = self._chunks.__anext__ if self._pump is None else self._pump.next

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Chunk:
        return await self._next()

    async def aclose(self) -> None:
        """Stop here: the work upstream is stopped, too. Harmless when the stream has ended."""
        await (self._chunks.aclose() if self._pump is None else self._pump.aclose())

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self.aclose()


class SyncStream(Iterator[Chunk]):
    """The same for code without an event loop."""

    def __init__(self, stream: Callable[[], PipelineStream], call: Call) -> None:
        self.call = call
        self._stream: PipelineStream | None = None

        def make() -> PipelineStream:
            self._stream = stream()
            return self._stream

        def remaining_s() -> float | None:
            left = call.remaining_s()
            return None if left is None else left + 2 * _GRACE_S

        self._chunks = loops.stream_sync(
            make, method="stream()", remaining_s=remaining_s, on_timeout=lambda: deadline_error(call)
        )

    @property
    def result(self) -> Result | None:
        """The outcome, `None` until the stream has ended."""
        return None if self._stream is None else self._stream.result

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> Chunk:
        return next(self._chunks)

    def close(self) -> None:
        """Stop here: the work upstream is stopped, too."""
        self._chunks.close()  # type: ignore[attr-defined]  # it is a generator

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
