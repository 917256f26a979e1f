"""One run for each row of a data set: several at a time, and never more rows read than are being worked on."""

from __future__ import annotations

import asyncio
import contextvars
import importlib
import queue
import threading
from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator, Awaitable, Callable, Iterable, Mapping, Sized
from typing import Any, ClassVar, Literal, Protocol, TypeAlias, cast

from llmops_sdk.errors import ConfigurationError
from llmops_sdk.pipelines._result import Result

__all__ = ["Executor", "OnError", "RowSource", "check_options", "concurrency_of", "each", "executor_of"]

OnError: TypeAlias = Literal["return", "raise"]

_CONCURRENCY = 64
"""For engines that do not say how many requests they are well asked at once."""

_GRACE_S = 0.5
"""How long runs may take to react to their cancellation; then they are left to themselves."""

_EXECUTORS = {"ray": "llmops_sdk.pipelines.ray"}
"""Name -> the module with `open_executor()`; loaded by name, since it pulls its library."""

_END = object()


class Executor(Protocol):
    """Asks a pipeline for many rows, elsewhere than in this process."""

    def results(
        self, pipeline: Any, rows: list[tuple[int, Any]], options: Mapping[str, Any], /
    ) -> AsyncIterator[Result]:
        """A result for each of `rows` (index, row) in any order; `options` are those of `run`, and `concurrency`."""
        ...


def check_options(concurrency: int | None, on_error: str, engine: Any) -> int:
    """How many rows to work on at once.

    Raises:
        ConfigurationError: An option makes no sense.
    """
    if on_error not in ("return", "raise"):
        raise ConfigurationError(f"`on_error` is 'return' or 'raise', not {on_error!r}")
    return concurrency_of(concurrency, engine)


def concurrency_of(concurrency: int | None, engine: Any) -> int:
    """How many runs to have under way at once.

    Args:
        concurrency: What was asked for; `None` leaves it to the engine.
        engine: Its `concurrency` says how many requests it is well asked at once; 64 where it does not say.

    Raises:
        ConfigurationError: It is no number of runs.
    """
    if concurrency is None:
        return max(int(getattr(engine, "concurrency", None) or _CONCURRENCY), 1)
    if isinstance(concurrency, bool) or not isinstance(concurrency, int) or concurrency < 1:
        raise ConfigurationError(f"`concurrency` is a number of runs, 1 or more, not {concurrency!r}")
    return concurrency


def executor_of(executor: str | Executor | None) -> Executor | None:
    """The executor that is meant.

    Raises:
        ConfigurationError: There is no such executor.
        MissingDependencyError: Its library is not installed.
    """
    if isinstance(executor, str):
        if executor not in _EXECUTORS:
            raise ConfigurationError(f"no executor is called {executor!r}; there is {', '.join(map(repr, _EXECUTORS))}")
        return cast("Executor", importlib.import_module(_EXECUTORS[executor]).open_executor())
    if executor is not None and not callable(getattr(executor, "results", None)):
        raise ConfigurationError(f"{executor!r} is no executor: write `executor='ray'`")
    return executor


class RowSource:
    """Rows, read one by one when they are asked for.

    Lists and asynchronous iterables are read on the event loop. All other iterables may block (files, data bases,
    other pipelines), so a thread of their own reads them, from the first row to the last.

    Attributes:
        total: How many rows there are, `None` where nobody knows.
    """

    END: ClassVar[object] = _END
    """What `next` gives behind the last row."""

    def __init__(self, rows: Iterable[Any] | AsyncIterable[Any]) -> None:
        if isinstance(rows, (str, bytes)):
            raise ConfigurationError("`map` takes rows (a list of mappings, say), not one text")
        if isinstance(rows, Mapping):
            raise ConfigurationError("`map` takes rows, and one mapping is one row: write `map([row])`")
        self.total = len(rows) if isinstance(rows, Sized) else None
        self._reader: _ThreadReader | None = None
        self._ended = False
        if isinstance(rows, AsyncIterable):
            self._read = _reading_async(rows)
        elif isinstance(rows, (list, tuple, range)):
            self._read = _reading(rows)
        elif isinstance(rows, Iterable):
            self._reader = _ThreadReader(rows)
            self._read = self._reader.next
        else:
            raise ConfigurationError(f"`map` takes an iterable of rows, not {type(rows).__name__}")

    async def next(self) -> Any:
        """The next row, or `RowSource.END`."""
        if self._ended:
            return _END
        row = await self._read()
        self._ended = row is _END
        return row

    async def rest(self) -> list[Any]:
        """All rows that are left."""
        rows = []
        while (row := await self.next()) is not _END:
            rows.append(row)
        return rows

    def close(self) -> None:
        """Let go of the thread."""
        self._ended = True
        if self._reader is not None:
            self._reader.close()


def _reading(rows: Iterable[Any]) -> Callable[[], Awaitable[Any]]:
    iterator = iter(rows)

    async def read() -> Any:
        return next(iterator, _END)

    return read


def _reading_async(rows: AsyncIterable[Any]) -> Callable[[], Awaitable[Any]]:
    iterator = aiter(rows)

    async def read() -> Any:
        return await anext(iterator, _END)

    return read


class _ThreadReader:
    """Reads an iterable in one thread, an item for each `next`."""

    def __init__(self, rows: Iterable[Any]) -> None:
        self._rows = rows
        self._asked: queue.SimpleQueue[Callable[[Any, BaseException | None], None] | None] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None

    async def next(self) -> Any:
        if self._thread is None:
            context = contextvars.copy_context()
            self._thread = threading.Thread(target=context.run, args=(self._run,), name="llmops-sdk-rows", daemon=True)
            self._thread.start()
        loop = asyncio.get_running_loop()
        row: asyncio.Future[Any] = loop.create_future()

        def settle(value: Any, error: BaseException | None) -> None:
            if row.done():
                return
            if error is None:
                row.set_result(value)
            else:
                row.set_exception(error)

        def answer(value: Any, error: BaseException | None) -> None:
            try:
                loop.call_soon_threadsafe(settle, value, error)
            except RuntimeError:  # the loop has gone in the meantime
                self.close()

        self._asked.put(answer)
        return await row

    def _run(self) -> None:
        iterator: Any = None
        while (answer := self._asked.get()) is not None:
            try:
                if iterator is None:
                    iterator = iter(self._rows)
                    self._rows = ()  # so that a generator that nobody else holds ends with this thread
                answer(next(iterator, _END), None)
            except BaseException as exc:  # noqa: BLE001  (raised on the other side)
                answer(_END, exc)

    def close(self) -> None:
        self._asked.put(None)


async def each(
    ask: Callable[[int, Any], Awaitable[Result]], rows: RowSource, *, concurrency: int, ordered: bool
) -> AsyncGenerator[Result, None]:
    """`ask(index, row)` for each row, at most `concurrency` at once.

    A row is read when there is room for it: it is worked on at once, and at most `2 * concurrency` rows are between
    being read and being handed out.
    """
    work = _Work(ask, rows, concurrency, ordered=ordered)
    try:
        work.grow()
        while (result := await work.next()) is not None:
            yield result
    finally:
        await work.stop()


class _Work:
    """The tasks that ask, and what they have finished."""

    def __init__(
        self, ask: Callable[[int, Any], Awaitable[Result]], rows: RowSource, concurrency: int, *, ordered: bool
    ) -> None:
        self._ask = ask
        self._rows = rows
        self._concurrency = concurrency
        self._ordered = ordered
        self._workers: set[asyncio.Task[None]] = set()
        self._idle = 0
        self._reading = asyncio.Lock()
        self._read = 0
        self._handed_out = 0
        self._finished: dict[int, Result] = {}
        self._room = asyncio.Event()
        self._news = asyncio.Event()
        self._error: BaseException | None = None
        self._stopping = False

    def grow(self) -> None:
        worker = asyncio.get_running_loop().create_task(self._run())
        self._workers.add(worker)
        worker.add_done_callback(self._ended)

    async def _run(self) -> None:
        while True:
            self._idle += 1
            try:
                async with self._reading:
                    while self._read - self._handed_out >= 2 * self._concurrency:
                        self._room.clear()
                        await self._room.wait()
                    row = await self._rows.next()
                    if row is _END:
                        return
                    index = self._read
                    self._read += 1
            finally:
                self._idle -= 1
            if not self._idle and len(self._workers) < self._concurrency:
                self.grow()
            self._finished[index] = await self._ask(index, row)
            self._news.set()

    def _ended(self, worker: asyncio.Task[None]) -> None:
        self._workers.discard(worker)
        if not self._stopping and self._error is None:
            # A cancelled worker was cancelled by what it asked: its row must not be lost in silence.
            self._error = asyncio.CancelledError() if worker.cancelled() else worker.exception()
        self._news.set()

    async def next(self) -> Result | None:
        """The next result, `None` behind the last one."""
        while True:
            if self._error is not None:
                raise self._error
            index = self._handed_out if self._ordered else next(iter(self._finished), -1)
            if index in self._finished:
                self._handed_out += 1
                self._room.set()
                return self._finished.pop(index)
            if not self._workers:
                return None
            self._news.clear()
            await self._news.wait()

    async def stop(self) -> None:
        self._stopping = True
        self._rows.close()
        if self._workers:
            for worker in self._workers:
                worker.cancel()
            await asyncio.wait(self._workers, timeout=_GRACE_S)
