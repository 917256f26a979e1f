"""An event loop on a thread of its own, for an object that must never see another one."""

from __future__ import annotations

import asyncio
import contextlib
import os
import threading
from collections.abc import Callable, Coroutine
from concurrent.futures import Future
from typing import Any, TypeVar

__all__ = ["OwnLoop", "in_fresh_thread"]

_T = TypeVar("_T")


class OwnLoop:
    """A running event loop on a daemon thread, until `stop`.

    Attributes:
        loop: The loop.
        process: The process that it lives in: a forked child has no thread of it.
    """

    def __init__(self, name: str) -> None:
        self.loop = asyncio.new_event_loop()
        self.process = os.getpid()
        # The thread knows the loop alone, so that whoever holds this object can be forgotten.
        self._thread = threading.Thread(target=_run, args=(self.loop,), name=name, daemon=True)
        self._thread.start()

    @property
    def alive(self) -> bool:
        """Whether it runs in this process."""
        return self.process == os.getpid() and not self.loop.is_closed()

    def stop(self, last: Callable[[], Coroutine[Any, Any, object]] | None = None) -> None:
        """Run `last`, end what is under way and stop; idempotent."""
        if not self.alive:
            return
        with contextlib.suppress(RuntimeError):  # it is closing already
            asyncio.run_coroutine_threadsafe(_drain(self.loop, last), self.loop)
        if threading.current_thread() is not self._thread:
            self._thread.join(timeout=5)


async def _drain(loop: asyncio.AbstractEventLoop, last: Callable[[], Coroutine[Any, Any, object]] | None) -> None:
    if last is not None:
        with contextlib.suppress(Exception):  # whatever it is, the loop ends now
            await asyncio.wait_for(last(), 2)
    others = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
    for task in others:
        task.cancel()
    if others:
        await asyncio.wait(others, timeout=2)  # they get to run their last lines
    await loop.shutdown_asyncgens()
    loop.call_soon(loop.stop)


def _run(loop: asyncio.AbstractEventLoop) -> None:
    asyncio.set_event_loop(loop)
    try:
        loop.run_forever()
    finally:
        loop.close()


def in_fresh_thread(function: Callable[[], _T]) -> _T:
    """Call `function` in a new thread, and wait; that thread's event loop is closed afterwards.

    LLMRails runs a loop while it is made: the one that it finds in its thread, or a new one that it never closes.
    """
    done: Future[_T] = Future()

    def work() -> None:
        loop = asyncio.new_event_loop()
        asyncio.set_event_loop(loop)
        try:
            done.set_result(function())
        except BaseException as exc:  # noqa: BLE001  (raised on the other side)
            done.set_exception(exc)
        finally:
            asyncio.set_event_loop(None)
            loop.close()

    thread = threading.Thread(target=work, name="llmops-sdk-nemo-making", daemon=True)
    thread.start()
    thread.join()
    return done.result()
