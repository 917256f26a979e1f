"""Strategies that look at no engine: as given, in turn, by weight."""

from __future__ import annotations

import copy
import heapq
from collections.abc import Iterator, Sequence
from typing import Self

from llmops_sdk.messages import Request
from llmops_sdk.routers._legs.leg import Leg
from llmops_sdk.routers._strategies.per_legs import PerLegs

__all__ = ["Priority", "RoundRobin", "Weighted"]


class Priority:
    """As they were given: the first one first, the others when it fails."""

    def order(self, legs: Sequence[Leg], request: Request, /) -> Sequence[Leg]:
        """See `Strategy.order`."""
        return legs

    def reason(self, leg: Leg, /) -> str:
        """See `Strategy.reason`."""
        return "as given"


class RoundRobin:
    """In turn."""

    def __init__(self) -> None:
        self._turn = -1

    def order(self, legs: Sequence[Leg], request: Request, /) -> Iterator[Leg]:
        """See `Strategy.order`."""
        self._turn = turn = self._turn + 1
        return (legs[(turn + i) % len(legs)] for i in range(len(legs)))

    def reason(self, leg: Leg, /) -> str:
        """See `Strategy.reason`."""
        return "in turn"


class Weighted:
    """In proportion to `Leg(weight=)`, evenly mixed and without chance.

    The one whose share is furthest behind is next: leg i has its k-th turn at (k - 1/2) / weight. So after any number
    of requests the counts are those of Sainte-Laguë's apportionment, which a draw by chance would reach only in the
    long run; and a pick costs O(log n), where nginx's smooth weighting goes over all.

    Legs that can take different requests (tools, tags, ...) have their shares within each such set.
    """

    def __init__(self) -> None:
        self._turns = PerLegs(_Turns)

    def __copy__(self) -> Self:
        twin = type(self)()
        twin._turns = copy.copy(self._turns)
        return twin

    def order(self, legs: Sequence[Leg], request: Request, /) -> Iterator[Leg]:
        """See `Strategy.order`."""
        turns = self._turns[legs]
        return turns.order(turns.take())

    def reason(self, leg: Leg, /) -> str:
        """See `Strategy.reason`."""
        return f"weight {leg.weight:g}"


class _Turns:
    """Whose turn it is among `legs`."""

    __slots__ = ("_counts", "_due", "_legs")

    def __init__(self, legs: Sequence[Leg]) -> None:
        self._legs = legs
        self._counts = [0] * len(legs)
        self._due = [(0.5 / leg.weight, i) for i, leg in enumerate(legs)]
        heapq.heapify(self._due)

    def __copy__(self) -> _Turns:
        twin = _Turns(self._legs)
        twin._counts, twin._due = self._counts[:], self._due[:]
        return twin

    def take(self) -> int:
        first = self._due[0][1]
        self._counts[first] += 1
        # From the count, not from the last moment: nothing adds up but whole numbers.
        heapq.heapreplace(self._due, ((self._counts[first] + 0.5) / self._legs[first].weight, first))
        return first

    def order(self, first: int) -> Iterator[Leg]:
        yield self._legs[first]
        for _, i in sorted(self._due):
            if i != first:
                yield self._legs[i]
