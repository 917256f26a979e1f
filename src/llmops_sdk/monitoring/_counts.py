"""How often what happened: in this process, and what of it the store does not know yet."""

from __future__ import annotations

import threading
from collections import Counter

__all__ = ["Counts"]


class Counts:
    """Counters by name. Any thread may count."""

    def __init__(self) -> None:
        self.begin_anew()

    def begin_anew(self) -> None:
        """In a forked child: what the parent counted is the parent's."""
        self._lock = threading.Lock()
        self._all: Counter[str] = Counter()
        self._new: Counter[str] = Counter()

    def add(self, name: str, more: int = 1) -> None:
        """Count it."""
        with self._lock:
            self._all[name] += more
            self._new[name] += more

    @property
    def unwritten(self) -> bool:
        """Whether there is something new."""
        return bool(self._new)

    def written(self, new: Counter[str]) -> None:
        """Count what the store knows already."""
        with self._lock:
            self._all.update(new)

    def all(self) -> dict[str, int]:
        """What was counted here, by name."""
        with self._lock:
            return dict(sorted(self._all.items()))

    def take(self) -> Counter[str]:
        """What is new since the last time; to be given back if it could not be written."""
        with self._lock:
            new, self._new = self._new, Counter()
            return new

    def give_back(self, new: Counter[str]) -> None:
        """It could not be written."""
        with self._lock:
            self._new.update(new)
