"""Where a new observation stands among all before it, in memory that does not grow.

The p-value of an observation is its rank among all observations so far, itself included, ties broken by chance, over
their number. If their order says nothing (no change), these p-values are independent and uniform on (0, 1), whatever
the distribution: the rank of the newest says nothing about the set, and later ranks depend on the set alone (Vovk,
Gammerman, Shafer, "Algorithmic Learning in a Random World", 2nd ed. 2022). That needs no estimate, and it is not so
for ranks among a fixed sample, which are independent only given the sample, and then not uniform.

All observations are not kept, only counts of them in cells. For rates there are two cells, the zeros and the ones,
and nothing is lost. For values some of the first observations are the cells' edges. n observations leave n + 1 gaps,
and the next one falls into each gap equally often; so a cell is drawn with the probability (gaps in it / all gaps)
given the cells of all before, exactly (Polya's urn), and within its cell a gap is drawn by chance.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

from llmops_sdk.monitoring._drift.chance import Chance

__all__ = ["Reference", "Shares", "Values"]

_CELLS = 24


class Shares:
    """For rates: how many zeros and ones there were."""

    __slots__ = ("_ones", "_zeros")

    def __init__(self, zeros: int = 0, ones: int = 0) -> None:
        self._zeros = zeros
        self._ones = ones

    def __len__(self) -> int:
        return self._zeros + self._ones

    @property
    def middle(self) -> float:
        """The rate."""
        return self._ones / len(self) if len(self) else 0.0

    def place(self, value: float, chance: Chance) -> float:
        """The p-value of an observation, which then belongs to the reference."""
        everything = self._zeros + self._ones + 1
        if value:
            p = (self._zeros + chance.draw() * (self._ones + 1)) / everything
            self._ones += 1
        else:
            p = chance.draw() * (self._zeros + 1) / everything
            self._zeros += 1
        return p

    def state(self) -> dict[str, Any]:
        """As JSON."""
        return {"zeros": self._zeros, "ones": self._ones}


class Values:
    """For values of any distribution: how many there were between edges that the first `warm_up` of them gave."""

    __slots__ = ("_breaks", "_edges", "_first", "_gaps", "_total", "_warm_up")

    def __init__(
        self,
        warm_up: int,
        *,
        first: Sequence[float] = (),
        edges: Sequence[float] = (),
        breaks: Sequence[float] = (),
        gaps: Sequence[int] = (),
    ) -> None:
        self._warm_up = warm_up
        self._first = list(first)
        # An edge is a pair, so that a value that occurs often can lie on both sides of it, by a drawn number.
        self._edges = list(edges)
        self._breaks = list(breaks)
        self._gaps = list(gaps)
        self._total = sum(gaps)

    def __len__(self) -> int:
        return self._total - 1 if self._total else len(self._first)

    @property
    def middle(self) -> float:
        """About the median; 0 before the cells are known."""
        if not self._edges:
            return 0.0
        half, below = self._total / 2, 0
        for edge, gaps in zip(self._edges, self._gaps, strict=False):
            below += gaps
            if below >= half:
                return edge
        return self._edges[-1]

    def place(self, value: float, chance: Chance) -> float:
        """The p-value of an observation, which then belongs to the reference; a mere draw while the cells are made."""
        if not self._edges:
            self._first.append(value)
            if len(self._first) >= self._warm_up:
                self._cut(chance)
            return chance.draw()
        cell = bisect_left(self._edges, value)
        last = bisect_right(self._edges, value, cell)
        if last > cell:
            cell = bisect_left(self._breaks, chance.draw(), cell, last)
        gaps = self._gaps
        p = (sum(gaps[:cell]) + chance.draw() * gaps[cell]) / self._total
        gaps[cell] += 1
        self._total += 1
        return p

    def _cut(self, chance: Chance) -> None:
        """Make edges of the first observations: evenly in the middle, closer and closer at both ends."""
        ordered = sorted((value, chance.draw()) for value in self._first)
        count = len(ordered)
        step = max(1, count // _CELLS)
        ranks = set(range(step, count + 1, step))
        near = 1
        while near < step:
            ranks |= {near, count + 1 - near}
            near *= 2
        self._edges = [ordered[rank - 1][0] for rank in sorted(ranks)]
        self._breaks = [ordered[rank - 1][1] for rank in sorted(ranks)]
        self._gaps = [high - low for low, high in pairwise((0, *sorted(ranks), count + 1))]
        self._total = count + 1
        self._first = []

    def state(self) -> dict[str, Any]:
        """As JSON."""
        return {"first": self._first, "edges": self._edges, "breaks": self._breaks, "gaps": self._gaps}


Reference = Shares | Values
