"""The runs that are under way by one table, so that what only they need is closed after the last, and not before."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from llmops_sdk.routers._router import Router
    from llmops_sdk.routers._table import Table

__all__ = ["Run", "Runs"]


class Runs:
    """Counts nothing, for a count would need a lock: a set takes and gives from several threads as it is.

    Attributes:
        when_over: Called when the last one has ended; more than once if need be.
    """

    __slots__ = ("_under_way", "when_over")

    def __init__(self) -> None:
        self._under_way: set[object] = set()
        self.when_over: Callable[[], None] | None = None

    def begin(self, run: object) -> None:
        """A run has begun."""
        self._under_way.add(run)

    def end(self, run: object) -> None:
        """It has ended."""
        self._under_way.discard(run)
        if self.when_over is not None and not self._under_way:
            self.when_over()

    def __len__(self) -> int:
        return len(self._under_way)


class Run:
    """A run of a router: `with Run(router) as table`. It goes by that table to its end, whatever is reloaded."""

    __slots__ = ("_router", "_table")
    _table: Table

    def __init__(self, router: Router) -> None:
        self._router = router

    def __enter__(self) -> Table:
        while True:
            self._table = table = self._router._table
            table.runs.begin(self)
            if table is self._router._table:
                return table
            table.runs.end(self)  # a reload came in between, and may have closed what is in that table

    def __exit__(self, *_: object) -> None:
        self._table.runs.end(self)
