"""How far the embedding of an answer is from what answers were like at first."""

from __future__ import annotations

import math
import operator
from collections.abc import Sequence

from llmops_sdk.monitoring._writing import Writing

__all__ = ["Embedding"]

_NOTE = "reference of embedding"
_FIRST = 200
"""So many answers make the reference."""


class Embedding:
    """The mean direction of the first 200 embeddings, and the distance of the later ones from it.

    The reference stands in the store too, so all processes have the same one.
    """

    def __init__(self) -> None:
        self._sum: list[float] | None = None
        self._number = 0
        self._changed = False

    def forget(self) -> None:
        """Begin again from the store."""
        self._sum, self._changed = None, False

    def distance(self, writing: Writing, vector: Sequence[float]) -> float | None:
        """1 less the cosine of the two, 0 to 2; `None` while the reference is being made, and for a zero vector."""
        if self._sum is None:
            state = writing.note(_NOTE) or {"sum": [], "number": 0}
            self._sum, self._number = list(state["sum"]), int(state["number"])
        length = math.hypot(*vector)
        if not 0 < length < math.inf:
            return None
        unit = [value / length for value in vector]
        if self._sum and len(self._sum) != len(unit):  # another model embeds now: its space has nothing to do with it
            self._sum, self._number = [], 0
        if self._number < _FIRST:
            self._sum = [old + new for old, new in zip(self._sum, unit, strict=True)] if self._sum else unit
            self._number += 1
            self._changed = True
            return None
        norm = math.hypot(*self._sum)
        return 1 - sum(map(operator.mul, self._sum, unit)) / norm if norm > 0 else None

    def keep(self, writing: Writing) -> None:
        """Write the reference down, where it has changed."""
        if self._changed and self._sum is not None:
            writing.keep_note(_NOTE, {"sum": self._sum, "number": self._number})
            self._changed = False
