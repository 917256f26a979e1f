"""Strategies that look at how busy and how quick each engine is."""

from __future__ import annotations

import operator
import random
from collections.abc import Iterator, Sequence

from llmops_sdk.calls import CLOCK
from llmops_sdk.messages import Request
from llmops_sdk.routers._leg import Leg
from llmops_sdk.routers._strategies._per_legs import PerLegs

__all__ = ["Latency", "LeastBusy", "least_busy_first"]

_UNKNOWN_S = 1e-6
_IN_FLIGHT = operator.attrgetter("in_flight")


class LeastBusy:
    """The one with the fewest requests in flight for its weight; equals in turn.

    An engine that knows its own load counts what others ask of it, too: its answers `running` and `waiting`.
    """

    def __init__(self) -> None:
        self._turn = -1
        self._alike = PerLegs(_alike)

    def order(self, legs: Sequence[Leg], request: Request, /) -> Iterator[Leg]:
        """See `Strategy.order`."""
        self._turn = turn = (self._turn + 1) % len(legs)
        return least_busy_first(legs, turn, alike=self._alike[legs])

    def reason(self, leg: Leg, /) -> str:
        """See `Strategy.reason`."""
        for_weight = "" if leg.weight == 1 else f" for weight {leg.weight:g}"
        return f"{leg.load} in flight{for_weight}"


def _alike(legs: Sequence[Leg]) -> bool:
    """Whether they differ in nothing but `in_flight`."""
    return not any(leg.counts_load or leg.weight != legs[0].weight for leg in legs)


def least_busy_first(legs: Sequence[Leg], turn: int, *, alike: bool = False) -> Iterator[Leg]:
    """`legs` by load for their weight, equals as given from number `turn` on. `alike`: see `_alike`."""
    first = legs[turn]
    if first.load:
        first = min((*legs[turn:], *legs[:turn]), key=_IN_FLIGHT if alike else _relative)
    yield first
    for leg in sorted((*legs[turn:], *legs[:turn]), key=_relative):
        if leg is not first:
            yield leg


def _relative(leg: Leg) -> float:
    return leg.load / leg.weight


class Latency:
    """The better of two that are drawn, by the time to the first sign of an answer times the load.

    Peak EWMA with the power of two choices, as in Finagle's and Linkerd's load balancers; see `Pace` for how time is
    measured. Two draws cost the same among 3 engines and among 1,000, and routers that know the same do not all run to
    the same engine. One that was never asked counts as quickest, so each is tried. Two engines are both drawn; among
    equals the first one drawn is taken. `Leg(weight=)` counts as speed.

    Args:
        seed: Makes the draws repeatable.
    """

    def __init__(self, *, seed: int | None = None) -> None:
        self._random = random.Random(seed)

    def order(self, legs: Sequence[Leg], request: Request, /) -> Iterator[Leg]:
        """See `Strategy.order`."""
        call = request.call
        now = CLOCK.get()() if call is None else call.clock()
        first = self._better(legs, now)
        yield legs[first]
        left = [*legs[:first], *legs[first + 1 :]]
        while left:
            yield left.pop(self._better(left, now))

    def _better(self, legs: Sequence[Leg], now: float) -> int:
        count = len(legs)
        if count == 1:
            return 0
        one, other = 0, 1
        if count > 2:
            draw = self._random.random
            one, other = int(draw() * count), int(draw() * (count - 1))
            other += other >= one
        return one if _cost(legs[one], now) <= _cost(legs[other], now) else other

    def reason(self, leg: Leg, /) -> str:
        """See `Strategy.reason`."""
        expected_s = leg.pace.expected_s(CLOCK.get()())
        if not expected_s:
            return "not asked yet"
        return f"{expected_s * 1000:.0f} ms to its first sign, {leg.load} in flight"


def _cost(leg: Leg, now: float) -> float:
    return (leg.pace.expected_s(now) or _UNKNOWN_S) * (leg.load + 1) / leg.weight
