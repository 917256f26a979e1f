"""A bounded queue, and one daemon thread that works on what comes, several at a time."""

from __future__ import annotations

import contextlib
import logging
import os
import threading
from collections.abc import Callable
from queue import Empty, SimpleQueue
from typing import Any

from llmops_sdk.ending import end_first

__all__ = ["Batches"]

log = logging.getLogger("llmops_sdk")

_MOST_AT_ONCE = 500
_SOON_S = 0.1
"""So long the thread waits when something has come, so that one waking, and one transaction, serve many runs."""
_EXIT_S = 10.0


class Batches:
    """Hands what is put in to `work`, in order, on a thread of its own.

    A forked child has a queue and a thread of its own; what waited at the fork is worked on by the parent alone.

    Args:
        work: Called with what has come; it gives the seconds after which it wants to be called again, whether or not
            something has come by then, or `None`. It has to catch its own errors.
        most: How much may wait, `>= 1`.
        end: Called when the process ends, with the seconds that may take.
        anew: Called in a forked child.
    """

    def __init__(
        self,
        work: Callable[[list[Any]], float | None],
        *,
        most: int,
        end: Callable[[float], object],
        anew: Callable[[], object],
    ) -> None:
        self._anew = anew
        self._work = work
        self._most = most
        self._end = end
        self._begin_anew()

    def _begin_anew(self) -> None:
        self._queue: SimpleQueue[Any] = SimpleQueue()
        self._now = threading.Event()
        self._lock = threading.RLock()  # a signal's handler may come while it is held
        self._thread: threading.Thread | None = None
        self.closed = False

    @property
    def fill(self) -> float:
        """How full the queue is, 0 to 1."""
        return self._queue.qsize() / self._most

    def put(self, item: Any) -> bool:
        """Have it worked on; `False` when the queue is full or closed, or when there can be no thread."""
        if self._queue.qsize() >= self._most or self.closed:
            return False
        if self._thread is None and not self._start():
            return False
        self._queue.put(item)
        return True

    def _start(self) -> bool:
        with self._lock:
            if self._thread is None:
                thread = threading.Thread(target=self._run, name="llmops-sdk-monitor", daemon=True)
                try:
                    thread.start()
                except RuntimeError:  # the interpreter is going, or there are too many threads
                    return False
                self._thread = thread
                _all.add(self)
                _end_all_at_exit()
        return True

    def _run(self) -> None:
        queue, now = self._queue, self._now
        again_s: float | None = None
        while True:
            batch: list[Any] = []
            done: list[threading.Event] = []
            with contextlib.suppress(Empty):
                _sort(queue.get(timeout=again_s), batch, done)
                if not done:
                    now.wait(_SOON_S)
                now.clear()
                while len(batch) < _MOST_AT_ONCE:
                    _sort(queue.get_nowait(), batch, done)
            if batch or again_s is not None or done:
                again_s = self._work(batch)
            for event in done:
                event.set()
            if self.closed and queue.empty():
                return

    def flush(self, timeout_s: float) -> bool:
        """Wait until all is worked on that was put in so far; `False` when that took longer."""
        if self._thread is None:
            return True
        if self._thread is threading.current_thread():  # asked by the work itself: it cannot wait for its own end
            return self._queue.empty()
        done = threading.Event()
        self._queue.put(done)
        self._now.set()
        return done.wait(max(timeout_s, 0.0))

    def close(self, timeout_s: float) -> bool:
        """Take nothing more; the thread ends when it has worked on all that waits. `False` if that takes longer."""
        self.closed = True
        _all.discard(self)
        thread, self._thread = self._thread, None
        if thread is not None:
            self._queue.put(threading.Event())
            self._now.set()
            if thread is threading.current_thread():
                return False
            thread.join(timeout_s)
        return thread is None or not thread.is_alive()

    def end(self) -> None:
        """The process ends."""
        if not self.closed:
            self._end(_EXIT_S)


def _sort(item: Any, batch: list[Any], done: list[threading.Event]) -> None:
    if isinstance(item, threading.Event):
        done.append(item)
    else:
        batch.append(item)


_all: set[Batches] = set()
"""Those that are not closed, so that what waits in them is worked on when the process ends."""


def _forget_in_child() -> None:
    for one in list(_all):
        one._begin_anew()
        one._anew()


def _end_all() -> None:
    for one in list(_all):
        one.end()


def _end_all_at_exit() -> None:
    """Before the exit functions that are registered by now: evaluations that are under way still go to the traces."""
    end_first(_end_all, 200)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_in_child)
