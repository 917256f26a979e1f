"""The end of a process, seen from what still has work in hand."""

from __future__ import annotations

import atexit
import sys
from collections.abc import Callable

__all__ = ["end_first"]


def end_first(end: Callable[[], object], priority: int) -> None:
    """Call `end` when the process ends, before the exit functions that are registered by now. Again moves it forward.

    Children of `multiprocessing` run finalizers of their own, and nothing of `atexit`: there it is one of these, and
    the higher priorities come first.
    """
    atexit.unregister(end)
    atexit.register(end)
    util = sys.modules.get("multiprocessing.util")  # in such a child it is loaded
    if util is not None and sys.modules["multiprocessing"].parent_process() is not None:
        util.Finalize(None, end, exitpriority=priority)
