"""The engines for one request: who can take it, in which order; worked out as far as somebody asks."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, NamedTuple

from llmops_sdk.calls import Call
from llmops_sdk.messages import Request
from llmops_sdk.routers._filters import Refusals, Refused
from llmops_sdk.routers._leg import Leg
from llmops_sdk.routers._strategies import ordered

if TYPE_CHECKING:
    from llmops_sdk.routers._table import Table

__all__ = ["Arranged", "Unasked", "arranged", "parted", "rested_last"]

_FEW = 8


class Unasked:
    """Legs that have not been asked, in order; like a `deque`, whose end is worked out only when it is needed."""

    __slots__ = ("_coming", "_count", "_known")

    def __init__(self, order: Iterable[Leg], count: int) -> None:
        self._coming = iter(order)
        self._count = count
        self._known: deque[Leg] = deque()

    def __len__(self) -> int:
        return self._count

    def __iter__(self) -> Iterator[Leg]:
        yield from self._known
        for leg in self._coming:
            self._known.append(leg)
            yield leg

    def __getitem__(self, place: int) -> Leg:
        while len(self._known) <= place:
            self._known.append(next(self._coming))
        return self._known[place]

    def popleft(self) -> Leg:
        """The next one."""
        leg = self._known.popleft() if self._known else next(self._coming)
        self._count -= 1
        return leg

    def appendleft(self, leg: Leg) -> None:
        """Put one in front of all others."""
        self._known.appendleft(leg)
        self._count += 1

    def remove(self, leg: Leg) -> None:
        """Take out one that has been seen."""
        self._known.remove(leg)
        self._count -= 1


class Arranged(NamedTuple):
    """Who is asked in which order; who is not; and who is only when nobody else is left, since a breaker is open."""

    order: deque[Leg] | Unasked
    refused: Refusals
    shut: list[Leg]


def arranged(table: Table, request: Request, call: Call) -> Arranged:
    """The engines for `request`.

    A few are put in order at once, which is cheaper than to keep the work for later, and the record shows them all.
    """
    now = call.clock()
    able, refused, shut = parted(table, request, call, now)
    if not able:
        return Arranged(deque(), refused, shut)
    order = rested_last(ordered(table.strategy, able, request), now)
    return Arranged(deque(order) if len(able) <= _FEW else Unasked(order, len(able)), refused, shut)


def parted(table: Table, request: Request, call: Call, now: float) -> tuple[tuple[Leg, ...], Refusals, list[Leg]]:
    """Those that may be asked, in no order; those that may not; and those of them that only a breaker refuses."""
    able, refused = table.filters(request, call)
    if not any([leg.breaker.trouble for leg in able]):  # noqa: C419  (a list is quicker than a generator)
        return able, refused, []
    reasons = {leg: reason for leg in able if (reason := leg.refusal(now)) is not None}
    if not reasons:
        return able, refused, []
    able = table.filters.same(tuple(leg for leg in able if leg not in reasons))
    return able, Refusals((*refused, *(Refused(leg, reason) for leg, reason in reasons.items()))), list(reasons)


def rested_last(order: Iterable[Leg], now: float) -> Iterator[Leg]:
    """`order`, with those that failed a moment ago at its end."""
    resting = []
    for leg in order:
        if leg.breaker.resting(now):
            resting.append(leg)
        else:
            yield leg
    yield from resting
