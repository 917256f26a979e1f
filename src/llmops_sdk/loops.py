"""The sync face of an async library: one background event loop, and bridges between loops.

Control flow is written once, as coroutines. Sync methods run them on one daemon thread that the SDK owns. It is
started at first use, stopped at exit, and forgotten in a forked child, which starts its own. So sync methods work in
scripts, in threads, under a running loop (Jupyter) and in pre-forking servers.
"""

from __future__ import annotations

import asyncio
import atexit
import collections
import concurrent.futures
import contextlib
import contextvars
import os
import queue
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterable, Iterator
from typing import Any, Generic, Self, TypeVar

from llmops_sdk.errors import EngineConnectionError, SyncOnLoopError

__all__ = ["Closing", "across", "gather", "in_thread", "run_sync", "sdk_loop", "stream_across", "stream_sync"]

_T = TypeVar("_T")

_BRIDGE_CHUNKS = 1024
"""Most chunks that wait on a bridge; then the producer pauses."""


class _LoopThread:
    """The event loop on its daemon thread."""

    def __init__(self) -> None:
        self.loop = asyncio.new_event_loop()
        self.thread = threading.Thread(target=self._run, name="llmops-sdk-loop", daemon=True)
        self.thread.start()

    def _run(self) -> None:
        asyncio.set_event_loop(self.loop)
        while True:
            try:
                self.loop.run_forever()
            except (KeyboardInterrupt, SystemExit):  # a task raised it, and whoever awaits that gets it
                continue
            return

    def stop(self) -> None:
        async def drain() -> None:
            others = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
            for task in others:
                task.cancel()
            await asyncio.wait(others, timeout=2) if others else None
            await self.loop.shutdown_asyncgens()

        with contextlib.suppress(Exception):
            asyncio.run_coroutine_threadsafe(drain(), self.loop).result(timeout=5)
        self.loop.call_soon_threadsafe(self.loop.stop)
        self.thread.join(timeout=5)


class Closing:
    """What has an `aclose` can be closed by sync code, too, and stand in `with` and `async with`."""

    async def aclose(self) -> None:
        """Give back all that is held. Closing twice is harmless."""

    def close(self) -> None:
        """`aclose`, for code without an event loop."""
        run_sync(self.aclose, method="close()")

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self.aclose()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()


class _Workers:
    """Daemon threads for checks that block.

    Not a `ThreadPoolExecutor`: that one is joined when the loop or the interpreter ends, so that a check which hangs
    would hold up both.
    """

    def __init__(self, most: int = 64) -> None:
        self._most = most
        self._jobs: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()
        self._threads = 0
        self._idle = 0
        self._lock = threading.Lock()

    def submit(self, job: Callable[[], None]) -> None:
        with self._lock:
            if self._idle > 0:
                self._idle -= 1
            elif self._threads < self._most:
                self._threads += 1
                threading.Thread(target=self._work, name="llmops-sdk-worker", daemon=True).start()
        self._jobs.put(job)

    def _work(self) -> None:
        while True:
            self._jobs.get()()
            with self._lock:
                self._idle += 1


_workers = _Workers()
_lock = threading.Lock()
_current: _LoopThread | None = None


def sdk_loop() -> asyncio.AbstractEventLoop:
    """The SDK's own loop; its thread is started by the first call."""
    global _current
    thread = _current
    if thread is None:
        with _lock:
            if _current is None:
                _current = _LoopThread()
            thread = _current
    return thread.loop


def _stop_at_exit() -> None:
    global _current
    thread, _current = _current, None
    if thread is not None:
        thread.stop()


def _forget_in_child() -> None:
    # The parent's thread does not exist in the child, and its lock may be held by a thread that is gone.
    global _current, _lock, _workers
    _current = None
    _lock = threading.Lock()
    _workers = _Workers()


atexit.register(_stop_at_exit)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_in_child)


def _refuse_on_sdk_loop(method: str) -> None:
    thread = _current
    if thread is not None and threading.current_thread() is thread.thread:
        raise SyncOnLoopError(
            f"`{method}` was called on the SDK's own event loop, where it would wait for itself; "
            f"use `await ...a{method.removesuffix('()')}()` inside async guards, engines and hooks"
        )


def run_sync(
    make: Callable[[], Coroutine[Any, Any, _T]],
    *,
    method: str,
    timeout_s: float | None = None,
    on_timeout: Callable[[], Exception] | None = None,
) -> _T:
    """Run `make()` on the SDK's loop and wait for it.

    Args:
        make: Makes the coroutine; it is not called when the method is refused.
        method: Name of the public method, for the error message.
        timeout_s: Seconds after which the caller is let go whatever the loop does (a guard that blocks it, say).
        on_timeout: Makes the error for that case.

    Raises:
        SyncOnLoopError: Called on the SDK's own loop.
    """
    _refuse_on_sdk_loop(method)
    future = asyncio.run_coroutine_threadsafe(make(), sdk_loop())
    try:
        return future.result(timeout_s)
    except concurrent.futures.TimeoutError:
        if future.done() or on_timeout is None:  # the coroutine itself raised a TimeoutError
            raise
        future.cancel()
        raise on_timeout() from None
    except BaseException:  # KeyboardInterrupt in the waiting thread: stop the work, too
        future.cancel()
        raise


class _Bridge(Generic[_T]):
    """Carries the items of an async iterator from its loop to a consumer elsewhere, several at a time.

    A hop between threads costs more than a token, so the consumer takes all that waits at once. The producer pauses
    when `most` items wait.
    """

    def __init__(
        self, make: Callable[[], AsyncIterator[_T]], loop: asyncio.AbstractEventLoop, most: int = _BRIDGE_CHUNKS
    ) -> None:
        self._make = make
        self._most = most
        self._loop = loop
        self._items: collections.deque[_T] = collections.deque()
        self._lock = threading.Lock()
        self._wake: Callable[[], None] | None = None
        self._ended = False
        self._error: BaseException | None = None
        self._room: asyncio.Event | None = None
        self._left = False
        self._pump = asyncio.run_coroutine_threadsafe(self._produce(), loop)

    async def _produce(self) -> None:
        self._room = asyncio.Event()
        error: BaseException | None = None
        iterator = self._make()
        try:
            async for item in iterator:
                with self._lock:
                    self._items.append(item)
                    full = len(self._items) >= self._most
                    wake, self._wake = self._wake, None
                if wake is not None:
                    wake()
                if full:
                    self._room.clear()
                    await self._room.wait()
        except asyncio.CancelledError:
            if not self._left:  # nobody here asked for it: the producer's loop is ending
                error = _loop_ended()
            raise
        except BaseException as exc:  # noqa: BLE001  (raised on the other side)
            error = exc
        finally:
            close = getattr(iterator, "aclose", None)
            if close is not None:
                await close()
            with self._lock:
                self._ended, self._error = True, error
                wake, self._wake = self._wake, None
            if wake is not None:
                wake()

    def take(self, wake: Callable[[], None]) -> tuple[list[_T], bool]:
        """All that waits, and whether the end is reached. With nothing there, `wake` is called when there is."""
        with self._lock:
            items = list(self._items)
            self._items.clear()
            if not items and not self._ended:
                self._wake = wake
            ended = self._ended
        if len(items) >= self._most and self._room is not None:
            self._loop.call_soon_threadsafe(self._room.set)
        return items, ended

    def end(self) -> None:
        """Raise what the producer raised."""
        if self._error is not None:
            raise self._error

    def cancel(self) -> None:
        self._left = True
        self._pump.cancel()


def stream_sync(
    make: Callable[[], AsyncIterator[_T]],
    *,
    method: str,
    remaining_s: Callable[[], float | None] = lambda: None,
    on_timeout: Callable[[], Exception] | None = None,
    most: int = _BRIDGE_CHUNKS,
) -> Iterator[_T]:
    """Iterate over `make()`, which runs on the SDK's loop, from this thread.

    `remaining_s` gives the seconds after which the consumer is let go whatever the loop does (`None`: never). Ahead of
    the consumer `most` items are made.
    """
    _refuse_on_sdk_loop(method)
    return _iterate(_Bridge(make, sdk_loop(), most), remaining_s, on_timeout)


def _iterate(
    bridge: _Bridge[_T], remaining_s: Callable[[], float | None], on_timeout: Callable[[], Exception] | None
) -> Iterator[_T]:
    ready = threading.Event()
    try:
        while True:
            ready.clear()
            items, ended = bridge.take(ready.set)
            yield from items
            if ended and not items:
                bridge.end()
                return
            if not items:
                left = remaining_s()
                if not ready.wait(None if left is None else max(left, 0)) and on_timeout is not None:
                    raise on_timeout()
    finally:
        bridge.cancel()


async def in_thread(function: Callable[[], _T]) -> _T:
    """Run `function` in a daemon thread, with the caller's context variables.

    When the caller is cancelled the thread is left to itself: Python cannot stop it.
    """
    loop = asyncio.get_running_loop()
    future: asyncio.Future[_T] = loop.create_future()
    context = contextvars.copy_context()

    def settle(result: Any, error: BaseException | None) -> None:
        if not future.done():
            if error is not None:
                future.set_exception(error)
            else:
                future.set_result(result)

    def job() -> None:
        result: Any = None
        error: BaseException | None = None
        try:
            result = context.run(function)
        except StopIteration as exc:  # no future can hold it
            error = RuntimeError("StopIteration was raised")
            error.__cause__ = exc
        except BaseException as exc:  # noqa: BLE001  (raised on the other side)
            error = exc
        with contextlib.suppress(RuntimeError):  # the loop has gone in the meantime
            loop.call_soon_threadsafe(settle, result, error)

    _workers.submit(job)
    return await future


async def gather(work: Iterable[Awaitable[_T]]) -> list[_T]:
    """What all of `work` give, in order; the first failure is raised as it is, and stops the rest.

    `asyncio.gather` leaves the rest running, and a `TaskGroup` hides what went wrong in a group of exceptions.
    """
    tasks = [asyncio.ensure_future(one) for one in work]
    try:
        return list(await asyncio.gather(*tasks))
    finally:
        for task in tasks:
            task.cancel()


async def across(make: Callable[[], Coroutine[Any, Any, _T]], loop: asyncio.AbstractEventLoop) -> _T:
    """Await `make()` on `loop`, wherever the caller is; cancelling the caller cancels it there."""
    if loop is asyncio.get_running_loop():
        return await make()
    there = asyncio.run_coroutine_threadsafe(make(), loop)
    try:
        return await asyncio.wrap_future(there)
    except asyncio.CancelledError:
        task = asyncio.current_task()
        if there.cancelled() and task is not None and not task.cancelling():
            raise _loop_ended() from None
        raise


def _loop_ended() -> EngineConnectionError:
    return EngineConnectionError(
        "the event loop on which the engine lives has ended; start the engine on one that stays"
    )


async def stream_across(make: Callable[[], AsyncIterator[_T]], loop: asyncio.AbstractEventLoop) -> AsyncIterator[_T]:
    """Iterate over `make()` on `loop`, wherever the caller is; closing this closes it there."""
    here = asyncio.get_running_loop()
    bridge = _Bridge(make, loop)
    ready = asyncio.Event()

    def wake() -> None:
        here.call_soon_threadsafe(ready.set)

    try:
        while True:
            ready.clear()
            items, ended = bridge.take(wake)
            for item in items:
                yield item
            if ended and not items:
                bridge.end()
                return
            if not items:
                await ready.wait()
    finally:
        bridge.cancel()
