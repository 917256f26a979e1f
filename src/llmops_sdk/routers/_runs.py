"""The runs that are under way by one table, so that what only they need is closed after the last, and not before."""

from __future__ import annotations

from collections.abc import Callable

__all__ = ["Runs"]


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
