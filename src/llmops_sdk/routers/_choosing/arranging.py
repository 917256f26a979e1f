"""The engines for one request: who can take it, in which order; worked out as far as somebody asks."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from llmops_sdk.calls import Call
from llmops_sdk.messages import Request
from llmops_sdk.routers._choosing.filters import Refusals, Refused
from llmops_sdk.routers._legs.leg import Leg
from llmops_sdk.routers._strategies import ordered

if TYPE_CHECKING:
    from llmops_sdk.routers._table import Table

__all__ = ["Unasked", "arranged", "parted", "rested_last"]

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


def arranged(table: Table, request: Request, call: Call) -> tuple[deque[Leg] | Unasked, Refusals, list[Leg]]:
    """Who is asked in which order; who is not; and who is only when nobody else is left, since a breaker is open.

    A few are put in order at once, which is cheaper than to keep the work for later, and the record shows them all.
    """
    now = call.clock()
    able, refused, shut = parted(table, request, call, now)
    if not able:
        return deque(), refused, shut
    order = ordered(table.strategy, able, request)
    if len(able) > _FEW:
        return Unasked(rested_last(order, now), len(able)), refused, shut
    return deque(rested_last(order, now) if _any_in_trouble(able) else order), refused, shut


def parted(table: Table, request: Request, call: Call, now: float) -> tuple[tuple[Leg, ...], Refusals, list[Leg]]:
    """Those that may be asked, in no order; those that may not; and those of them that only a breaker refuses."""
    able, refused = table.filters(request, call)
    if not _any_in_trouble(able):
        return able, refused, []
    reasons = {leg: reason for leg in able if (reason := leg.refusal(now)) is not None}
    if not reasons:
        return able, refused, []
    able = table.filters.same(tuple(leg for leg in able if leg not in reasons))
    return able, Refusals((*refused, *(Refused(leg, reason) for leg, reason in reasons.items()))), list(reasons)


def _any_in_trouble(legs: tuple[Leg, ...]) -> bool:
    for leg in legs:  # noqa: SIM110  (quicker than `any`, and this is on the way of every request)
        if leg.breaker.trouble:
            return True
    return False


def rested_last(order: Iterable[Leg], now: float) -> Iterator[Leg]:
    """`order`, with those that failed a moment ago at its end."""
    resting = []
    for leg in order:
        if leg.breaker.resting(now):
            resting.append(leg)
        else:
            yield leg
    yield from resting
