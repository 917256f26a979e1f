"""When a core that died is started again: at once, then later and later, and at last not at all."""

from __future__ import annotations

import time
from collections.abc import Callable

__all__ = ["Restarts"]

_FIRST_S = 0.5
_MOST_S = 30.0
_HEALTHY_S = 60.0
"""Seconds that a core has to live until what happened before is forgotten."""


class Restarts:
    """Counts the restarts in a row.

    Args:
        most: Most restarts in a row; 0: none at all.
        clock: Seconds of a steady clock.

    Attributes:
        most: As given.
        in_a_row: Restarts since the core was last healthy for a minute.

    Example:
        >>> restarts = Restarts(3)
        >>> [restarts.delay() for _ in range(4)]
        [0.0, 0.5, 1.0, None]
    """

    def __init__(self, most: int, clock: Callable[[], float] = time.monotonic) -> None:
        self.most = most
        self.in_a_row = 0
        self._clock = clock
        self._up_since: float | None = None

    def came_up(self) -> None:
        """The core runs."""
        self._up_since = self._clock()

    def went_down(self) -> None:
        """The core is gone."""
        if self._up_since is not None and self._clock() - self._up_since >= _HEALTHY_S:
            self.in_a_row = 0
        self._up_since = None

    def delay(self) -> float | None:
        """Seconds to wait before the next restart; `None`: there were enough."""
        if self.in_a_row >= self.most:
            return None
        self.in_a_row += 1
        return 0.0 if self.in_a_row == 1 else min(_FIRST_S * 2.0 ** (self.in_a_row - 2), _MOST_S)
