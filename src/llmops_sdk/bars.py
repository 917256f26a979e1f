"""A bar for people who wait: in a terminal (rich) or in a notebook, and nothing anywhere else."""

from __future__ import annotations

import html
import sys
import time
from contextlib import AbstractContextManager
from typing import Any, Protocol, Self

__all__ = ["Bar"]

_PAUSE_S = 0.1
"""Seconds from one drawing to the next; each costs more than what it counts."""


class _Shown(Protocol):
    def draw(self, count: int, note: str) -> None: ...

    def stop(self) -> None: ...


class Bar(AbstractContextManager["Bar"]):
    """Counts things while they are done.

    Args:
        noun: What they are, such as `"rows"`.
        total: How many there are, `None` where nobody knows.
        show: Whether to show anything; it is shown on standard error if that is a terminal, and in notebooks.
    """

    def __init__(self, noun: str, total: int | None, *, show: bool) -> None:
        self._noun, self._total, self._show = noun, total, show
        self._shown: _Shown | None = None
        self._count, self._note, self._drawn = 0, "", 0.0

    def __enter__(self) -> Self:
        if self._show:
            self._shown = _in_a_notebook(self._noun, self._total)
            if self._shown is None and sys.stderr.isatty():
                self._shown = _Terminal(self._noun, self._total)
        return self

    def advance(self, number: int = 1, note: str = "") -> None:
        """So many more are done; `note` stands behind the bar."""
        self._count, self._note = self._count + number, note
        if self._shown is not None and (now := time.monotonic()) - self._drawn >= _PAUSE_S:
            self._drawn = now
            self._shown.draw(self._count, self._note)

    def __exit__(self, *_: object) -> None:
        if self._shown is not None:
            self._shown.draw(self._count, self._note)
            self._shown.stop()


class _Terminal:
    def __init__(self, noun: str, total: int | None) -> None:
        from rich.console import Console  # noqa: PLC0415  (third-party, and only for people who watch)
        from rich.progress import (  # noqa: PLC0415
            BarColumn,
            MofNCompleteColumn,
            Progress,
            TextColumn,
            TimeRemainingColumn,
        )

        note = TextColumn("{task.fields[note]}", markup=False)
        columns = (noun, BarColumn(), MofNCompleteColumn(), TimeRemainingColumn(), note)
        self._progress = Progress(*columns, console=Console(stderr=True))
        self._task = self._progress.add_task(noun, total=total, note="")
        self._progress.start()

    def draw(self, count: int, note: str) -> None:
        self._progress.update(self._task, completed=count, note=note)

    def stop(self) -> None:
        self._progress.stop()


class _Notebook:
    """One output below the cell, written anew: it needs no widgets."""

    def __init__(self, noun: str, total: int | None, display: Any) -> None:
        self._noun, self._total, self._started = noun, total, time.monotonic()
        self._handle = display({"text/plain": "", "text/html": ""}, raw=True, display_id=True)
        self.draw(0, "")

    def draw(self, count: int, note: str) -> None:
        text = f"{count:,}{'' if self._total is None else f' of {self._total:,}'} {self._noun}"
        if self._total is not None and 0 < count < self._total:
            seconds = (time.monotonic() - self._started) * (self._total - count) / count
            text += f", {int(seconds) // 3600}:{int(seconds) // 60 % 60:02}:{int(seconds) % 60:02} left"
        text = f"{text}  {note}".rstrip()
        done = "" if self._total is None else f" value='{count}' max='{self._total}'"
        shown = f"<progress{done}></progress> <span style='white-space:pre'>{html.escape(text)}</span>"
        self._handle.update({"text/plain": text, "text/html": shown}, raw=True)

    def stop(self) -> None:
        """What stands there stays."""


def _in_a_notebook(noun: str, total: int | None) -> _Shown | None:
    ipython = sys.modules.get("IPython")
    shell = None if ipython is None else ipython.get_ipython()
    if ipython is None or getattr(shell, "kernel", None) is None:
        return None
    return _Notebook(noun, total, ipython.display.display)
