"""What evaluators may spend in a day."""

from __future__ import annotations

import threading
from datetime import UTC, datetime
from decimal import Decimal

from llmops_sdk.usage import EXACT

__all__ = ["DayBudget", "day_of"]

_NOTHING = Decimal(0)


def day_of(at: float) -> str:
    """The day (UTC) of a moment, as `2026-11-30`."""
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%d")


class DayBudget:
    """US dollars for each day (UTC), over all processes that write the same store.

    What other processes have spent is known as of the last time that the store was written.

    Attributes:
        usd: How much; `None` for no limit.
    """

    def __init__(self, usd: Decimal | None) -> None:
        self.usd = usd
        self._lock = threading.Lock()
        self._day = ""
        self._stored = self._unwritten = _NOTHING

    def left(self, at: float) -> bool:
        """Whether anything is left of the day of `at`."""
        if self.usd is None:
            return True
        with self._lock:
            return self._day != day_of(at) or EXACT.add(self._stored, self._unwritten) < self.usd

    def spend(self, at: float, usd: Decimal) -> None:
        """It was spent, and will be written."""
        with self._lock:
            self._turn(day_of(at))
            self._unwritten = EXACT.add(self._unwritten, usd)

    def written(self, day: str, spent: Decimal, ours: Decimal) -> None:
        """The store knows of `spent` on that day now, `ours` of it new from here."""
        with self._lock:
            self._turn(day)
            self._stored = spent
            self._unwritten = max(EXACT.subtract(self._unwritten, ours), _NOTHING)

    def _turn(self, day: str) -> None:
        if day > self._day:
            self._day, self._stored, self._unwritten = day, _NOTHING, _NOTHING
