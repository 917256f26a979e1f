"""The ways out of a process: its end, the end of a worker of `multiprocessing`, and SIGTERM."""

from __future__ import annotations

import _thread
import atexit
import multiprocessing
import os
import signal
import threading
from collections.abc import Callable
from multiprocessing import util
from types import FrameType
from typing import Protocol

__all__ = ["at_exit", "at_sigterm", "forget"]


class _Open(Protocol):
    def close(self) -> bool: ...


_at_sigterm: dict[object, Callable[[], object]] = {}
"""What flushes at SIGTERM, by whose it is. There is one handler for the process, so there is one list."""


def at_exit(owner: _Open) -> None:
    """Close `owner` when this process ends, and in children of `multiprocessing`, which run nothing of `atexit`."""
    atexit.register(owner.close)
    util.register_after_fork(owner, _close_in_worker)  # started in whatever way, they forget finalizers before that
    if multiprocessing.parent_process() is not None:
        _close_in_worker(owner)


def _close_in_worker(owner: _Open) -> None:
    util.Finalize(None, owner.close, exitpriority=0)


def at_sigterm(owner: object, flush: Callable[[], object]) -> bool:
    """Call `flush` when SIGTERM comes, before it does what it does by default: end the process, without `atexit`.

    Only where nothing else handles SIGTERM, and from the main thread. A handler of the application's own leads to an
    end by itself, and a server that sets one later takes its place. Returns whether `flush` will be called.
    """
    if threading.current_thread() is not threading.main_thread():
        return False
    if signal.getsignal(signal.SIGTERM) is signal.SIG_DFL:
        signal.signal(signal.SIGTERM, _handle)
    elif signal.getsignal(signal.SIGTERM) is not _handle:
        return False
    _at_sigterm[owner] = flush
    return True


def forget(owner: _Open) -> None:
    """It is closed: none of this is to happen any more."""
    atexit.unregister(owner.close)
    _at_sigterm.pop(owner, None)
    main = threading.current_thread() is threading.main_thread()
    if main and not _at_sigterm and signal.getsignal(signal.SIGTERM) is _handle:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)


def _handle(signum: int, _frame: FrameType | None) -> None:
    # The main thread was stopped anywhere, with any lock in its hands (ours, one of `logging`), so it has to go on for
    # others to get them: nothing is done here. `Thread.start` takes locks, too. A second SIGTERM ends at once.
    signal.signal(signum, signal.SIG_DFL)
    _thread.start_new_thread(_flush_and_go, (signum,))


def _flush_and_go(signum: int) -> None:
    try:
        for flush in list(_at_sigterm.values()):
            flush()
    finally:
        os.kill(os.getpid(), signum)
