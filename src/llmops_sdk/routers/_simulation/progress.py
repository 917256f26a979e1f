"""A bar while a simulation runs."""

from __future__ import annotations

import sys
from contextlib import AbstractContextManager
from typing import Any

__all__ = ["Progress"]

_STRIDE = 256  # requests from one drawing to the next; each costs more than a request


class Progress(AbstractContextManager["Progress"]):
    """Counts requests; with `show`, a bar on standard error if that is a terminal."""

    def __init__(self, total: int | None, *, show: bool) -> None:
        self._bar: Any = None
        self._count = 0
        if show and sys.stderr.isatty():
            from rich.console import Console  # noqa: PLC0415  (third-party, and only for people who watch)
            from rich.progress import BarColumn, MofNCompleteColumn, TimeRemainingColumn  # noqa: PLC0415
            from rich.progress import Progress as Bar  # noqa: PLC0415

            self._bar = Bar(
                "requests", BarColumn(), MofNCompleteColumn(), TimeRemainingColumn(), console=Console(stderr=True)
            )
            self._task = self._bar.add_task("requests", total=total)
            self._bar.start()

    def advance(self) -> None:
        """One more."""
        if self._bar is not None:
            self._count += 1
            if self._count % _STRIDE == 0:
                self._bar.advance(self._task, _STRIDE)

    def __exit__(self, *_: object) -> None:
        if self._bar is not None:
            self._bar.update(self._task, completed=self._count)
            self._bar.stop()
