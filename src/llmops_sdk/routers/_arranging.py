"""The engines for one request: who can take it, in which order; worked out as far as somebody asks."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from llmops_sdk.calls import Call
from llmops_sdk.messages import Request
from llmops_sdk.routers._filters import Refusals
from llmops_sdk.routers._leg import Leg
from llmops_sdk.routers._strategies import ordered

if TYPE_CHECKING:
    from llmops_sdk.routers._table import Table

__all__ = ["Unasked", "arranged", "rested_last"]

_FEW = 8


class Unasked:
    """Legs that have not been asked, in order; like a `deque`, whose end is worked out only when it is needed."""

    __slots__ = ("_coming", "_count", "_known")

    def __init__(self, order: Iterable[Leg], count: int) -> None:
        self._coming = iter(order)
        self._count = count
        self._known: list[Leg] = []

    def __len__(self) -> int:
        return self._count

    def __iter__(self) -> Iterator[Leg]:
        yield from self._known
        for leg in self._coming:
            self._known.append(leg)
            yield leg

    def popleft(self) -> Leg:
        """The next one."""
        leg = self._known.pop(0) if self._known else next(self._coming)
        self._count -= 1
        return leg

    def remove(self, leg: Leg) -> None:
        """Take out one that has been seen."""
        self._known.remove(leg)
        self._count -= 1


def arranged(table: Table, request: Request, call: Call) -> tuple[deque[Leg] | Unasked, Refusals]:
    """The engines in the order in which they are tried, and those that cannot take the request.

    A few are put in order at once, which is cheaper than to keep the work for later, and the record shows them all.
    """
    able, refused = table.filters(request, call)
    if not able:
        return deque(), refused
    order = rested_last(ordered(table.strategy, able, request), call.clock())
    return deque(order) if len(able) <= _FEW else Unasked(order, len(able)), refused


def rested_last(order: Iterable[Leg], now: float) -> Iterator[Leg]:
    """`order`, with those that failed a moment ago at its end."""
    resting = []
    for leg in order:
        if leg.breaker.resting(now):
            resting.append(leg)
        else:
            yield leg
    yield from resting
