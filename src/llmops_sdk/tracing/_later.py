"""Work that need not be done while somebody waits for an answer: one thread of the process does it soon after."""

from __future__ import annotations

import logging
import os
import threading
import time
import weakref
from collections.abc import Callable
from queue import Empty, SimpleQueue
from typing import Any, Final, TypeAlias

from llmops_sdk.calls import Call
from llmops_sdk.ending import end_first
from llmops_sdk.faults import Faults

__all__ = ["LATER", "Later"]

log = logging.getLogger("llmops_sdk")

_Work: TypeAlias = "tuple[Callable[..., object], tuple[Any, ...]]"

_EXIT_S: Final = 10.0
"""How long the end of the process waits for the queue to be emptied."""

_NAP_S: Final = 0.00005
"""A thread that only computes would keep the interpreter for 5 ms at a time, and each answer of the application would
wait for that long. So it naps between two pieces of work, and they wait for one piece at most, or for several while so
many wait that the thread would fall behind."""


class Later:
    """A bounded queue of work, and one daemon thread that does it in order.

    Nothing is lost: when the queue is full, when there can be no thread, and when the process ends, the caller does the
    work itself, at once. A forked child has a queue and a thread of its own; what waited at the fork is done by the
    parent alone. What the work raises is logged once for each kind, and counted.

    Args:
        most: Pieces of work that may wait.
        batch: Pieces of work that wake the thread before its time. For each further batch that waits, it does one more
            piece before it naps.
        soon_s: Seconds that the thread lets pass when there is something, so that one waking serves many runs.

    Attributes:
        faults: What the work raised.

    Example:
        >>> done = []
        >>> later = Later()
        >>> later.do(done.append, 1)
        >>> later.flush(timeout_s=5.0), done
        (True, [1])
    """

    def __init__(self, *, most: int = 1024, batch: int = 128, soon_s: float = 0.1) -> None:
        self._most = most
        self._batch = batch
        self._soon_s = soon_s
        self.faults = Faults()
        self._begin_anew()
        own = weakref.WeakMethod(self._begin_anew)
        os.register_at_fork(after_in_child=lambda: begin() if (begin := own()) is not None else None)

    def _begin_anew(self) -> None:
        # Of the locks and threads of a parent nothing can be used in a forked child.
        self._queue: SimpleQueue[_Work] = SimpleQueue()
        self._now = threading.Event()
        self._starting = threading.RLock()  # a signal's handler may come while it is held
        self._thread: threading.Thread | None = None
        self._ended = False

    def do(self, function: Callable[..., object], /, *arguments: Any) -> None:
        """Have `function(*arguments)` called soon, in the order of asking; no `Exception` of it is raised."""
        waiting = self._queue.qsize()
        if waiting >= self._most or self._ended or not (self._thread is not None or self._start()):
            self._do(function, arguments)
            return
        self._queue.put((function, arguments))
        if waiting >= self._batch:
            self._now.set()

    def flush(self, timeout_s: float) -> bool:
        """Wait until all is done that was asked for so far; `False` when that took longer than `timeout_s`."""
        if self._thread is None:
            return True
        if self._thread is threading.current_thread():  # asked by the work itself: it cannot wait for its own end
            return self._queue.empty()
        done = threading.Event()
        self._queue.put((done.set, ()))
        self._now.set()
        return done.wait(timeout_s)

    def empty_first_at_exit(self) -> None:
        """When the process ends, do all of it before the exit functions that are registered by now.

        Who sends something through a provider calls this when the provider is there, since it shuts itself down at exit
        and `atexit` begins with what was registered last.
        """
        end_first(self._end, 100)

    def _start(self) -> bool:
        with self._starting:
            if self._thread is None:
                thread = threading.Thread(target=self._work, args=(self._queue, self._now), daemon=True)
                thread.name = "llmops_sdk later"
                try:
                    thread.start()
                except RuntimeError:  # the interpreter is going, or there are too many threads
                    return False
                self._thread = thread
                self.empty_first_at_exit()
        return True

    def _work(self, queue: SimpleQueue[_Work], now: threading.Event) -> None:
        while True:
            work = queue.get()
            now.wait(self._soon_s)
            now.clear()
            done = 0
            try:
                while True:
                    self._do(*work)
                    done += 1
                    if done > queue.qsize() // self._batch:  # the more there is, the more at a time
                        time.sleep(_NAP_S)
                        done = 0
                    work = queue.get_nowait()
            except Empty:
                pass

    def _do(self, function: Callable[..., object], arguments: tuple[Any, ...]) -> None:
        try:
            function(*arguments)
        except BaseException as exc:
            if not isinstance(exc, Exception) and threading.current_thread() is not self._thread:
                raise  # who interrupts the caller means the caller; but nothing ends the thread
            for one in arguments:
                if isinstance(one, Call):
                    one.hide_in_error(exc)
            self.faults.note(getattr(function, "__qualname__", repr(function)), exc)

    def _end(self) -> None:
        self._ended = True
        if not self.flush(_EXIT_S):
            log.warning("about %d pieces of work were not done before the process ended", self._queue.qsize())


LATER: Final = Later()
"""That of this process."""
