"""What fails beside the run fails alone: it is counted, and the first of each kind is logged."""

from __future__ import annotations

import logging
import os
import threading
import weakref
from collections import Counter
from typing import Final

__all__ = ["Faults", "error_name", "is_for_the_process"]

log = logging.getLogger("llmops_sdk")

_MOST: Final = 1000
"""Kinds that are told apart; all others are one kind."""


_all: weakref.WeakSet[Faults] = weakref.WeakSet()


def is_for_the_process(error: BaseException) -> bool:
    """Whether `error` is Ctrl-C or a signal's handler, and no failure of whose code it came in: in the main thread."""
    return isinstance(error, KeyboardInterrupt | SystemExit) and (threading.current_thread() is threading.main_thread())


def error_name(error: BaseException) -> str:
    """The class of `error` and of what caused it: its message may quote what was sent, so it is never shown.

    Example:
        >>> error_name(ValueError("my text"))
        'ValueError'
    """
    cause = error.__cause__
    name = type(error).__name__
    return name if cause is None else f"{name} ({type(cause).__name__})"


class Faults:
    """Counts failures, by what failed.

    Example:
        >>> faults = Faults()
        >>> faults.count, faults.by_name()
        (0, {})
    """

    def __init__(self) -> None:
        self._kinds: Counter[tuple[str, str]] = Counter()
        self._lock = threading.Lock()
        _all.add(self)

    @property
    def count(self) -> int:
        """How many there were."""
        return sum(self._copy().values())

    def note(self, what: str, error: BaseException) -> None:
        """`what` failed with `error`: say so, unless it has failed in the same way before."""
        if self.is_new(what, error):
            self.tell(what, error)

    def is_new(self, what: str, error: BaseException) -> bool:
        """Count that `what` failed with `error`; whether it is the first time in this way, so that it is to be told."""
        kind = (what, type(error).__name__)
        with self._lock:
            if kind not in self._kinds and len(self._kinds) >= _MOST:
                kind = ("others", "")
            self._kinds[kind] += 1
            return self._kinds[kind] == 1

    @staticmethod
    def tell(what: str, error: BaseException) -> None:
        """Say that `what` failed with `error`."""
        log.error("%s failed; the like is counted, and not logged again", what, exc_info=error)

    def by_name(self) -> dict[str, int]:
        """How often each has failed."""
        counts: Counter[str] = Counter()
        for (what, _), count in self._copy().items():
            counts[what] += count
        return dict(counts)

    def _in_child(self) -> None:
        self._lock = threading.Lock()  # another thread of the parent may have held it

    def _copy(self) -> dict[tuple[str, str], int]:
        with self._lock:
            return dict(self._kinds)


def _in_child() -> None:
    for faults in list(_all):
        faults._in_child()


if hasattr(os, "register_at_fork"):  # not on Windows
    os.register_at_fork(after_in_child=_in_child)
