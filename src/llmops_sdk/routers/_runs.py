"""The runs that are under way by one table, so that what only they need is closed after the last, and not before."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from llmops_sdk.routers._router import Router
    from llmops_sdk.routers._table import Table

__all__ = ["Run", "Runs"]


class Runs(set["Run"]):
    """Those under way. No count, which would need a lock: a set takes and gives from several threads as it is.

    Attributes:
        when_over: Called when the last one has ended; more than once if need be.
    """

    __slots__ = ("when_over",)

    def __init__(self) -> None:
        self.when_over: Callable[[], None] | None = None

    def end(self, run: Run) -> None:
        """A run has ended."""
        self.discard(run)
        if self.when_over is not None and not self:
            self.when_over()


class Run:
    """A run of a router: `with Run(router) as table`. It goes by that table to its end, whatever is reloaded."""

    __slots__ = ("_router", "_table")
    _table: Table

    def __init__(self, router: Router) -> None:
        self._router = router

    def __enter__(self) -> Table:
        while True:
            self._table = table = self._router._table
            table.runs.add(self)
            if table is self._router._table:
                return table
            table.runs.end(self)  # a reload came in between, and may have closed what is in that table

    def __exit__(self, *_: object) -> None:
        self._table.runs.end(self)
