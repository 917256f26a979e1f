"""An event loop on a thread of its own, for an object that must never see another one."""

from __future__ import annotations

import asyncio
import contextlib
import os
import threading

__all__ = ["OwnLoop"]


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

    def stop(self) -> None:
        """End what is under way and stop; idempotent."""
        if not self.alive:
            return
        with contextlib.suppress(RuntimeError):  # it is closing already
            self.loop.call_soon_threadsafe(_cancel_all, self.loop)
        if threading.current_thread() is not self._thread:
            self._thread.join(timeout=5)


def _cancel_all(loop: asyncio.AbstractEventLoop) -> None:
    for task in asyncio.all_tasks(loop):
        task.cancel()
    loop.call_later(0.01, loop.stop)  # they get to run their last lines


def _run(loop: asyncio.AbstractEventLoop) -> None:
    asyncio.set_event_loop(loop)
    try:
        loop.run_forever()
    finally:
        loop.close()
