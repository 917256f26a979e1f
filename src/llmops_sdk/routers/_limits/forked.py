"""What counts for one process counts from nothing in a forked child, whose parent goes on by itself."""

from __future__ import annotations

import os
import weakref
from typing import Protocol

__all__ = ["anew_in_child"]


class _Anew(Protocol):
    def start_anew(self) -> None:
        """Forget what was, with the locks that some thread of the parent may hold."""
        ...


_all: weakref.WeakSet[_Anew] = weakref.WeakSet()


def anew_in_child(one: _Anew) -> None:
    """Have `one.start_anew()` called in each child that is forked while `one` lives."""
    _all.add(one)


def _start_anew() -> None:
    for one in list(_all):
        one.start_anew()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_start_anew)
