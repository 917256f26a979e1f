"""One run for each row, several at a time."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Awaitable, Callable, Iterable, Sized
from contextlib import AbstractContextManager, nullcontext
from typing import Any, TypeVar

from llmops_sdk.errors import ConfigurationError

__all__ = ["map_rows"]

T = TypeVar("T")


async def map_rows(
    one: Callable[[Any], Awaitable[T]], rows: Iterable[Any], *, concurrency: int, progress: bool
) -> list[T]:
    """`one(row)` for each row, at most `concurrency` at once, in the order of the rows."""
    if isinstance(concurrency, bool) or not isinstance(concurrency, int) or concurrency < 1:
        raise ConfigurationError(f"`concurrency` is a number of runs, 1 or more, not {concurrency!r}")
    if isinstance(rows, (str, bytes)):
        raise ConfigurationError("`map` takes rows (a list of mappings, say), not one text")
    results: dict[int, T] = {}
    waiting = enumerate(rows)
    total = len(rows) if isinstance(rows, Sized) else None
    with _bar(total, show=progress) as advance:

        async def work() -> None:
            for index, row in waiting:
                results[index] = await one(row)
                advance()

        async with asyncio.TaskGroup() as group:
            for _ in range(concurrency if total is None else min(concurrency, total)):
                group.create_task(work())
    return [results[index] for index in range(len(results))]


def _bar(total: int | None, *, show: bool) -> AbstractContextManager[Callable[[], None]]:
    """A progress bar on standard error; nothing where that is no terminal."""
    if not show or not sys.stderr.isatty():
        return nullcontext(lambda: None)
    return _RichBar(total)


class _RichBar(AbstractContextManager[Callable[[], None]]):
    def __init__(self, total: int | None) -> None:
        from rich.console import Console  # noqa: PLC0415  (third-party, and only for people who watch)
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TimeRemainingColumn  # noqa: PLC0415

        self._progress = Progress(
            "rows", BarColumn(), MofNCompleteColumn(), TimeRemainingColumn(), console=Console(stderr=True)
        )
        self._task = self._progress.add_task("rows", total=total)

    def __enter__(self) -> Callable[[], None]:
        self._progress.start()
        return lambda: self._progress.advance(self._task)

    def __exit__(self, *exc: object) -> None:
        self._progress.stop()
