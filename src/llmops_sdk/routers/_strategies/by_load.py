"""Strategies that look at how busy and how quick each engine is."""

from __future__ import annotations

import math
import operator
import random
from collections.abc import Iterator, Sequence
from typing import Any

from llmops_sdk.calls import CLOCK
from llmops_sdk.errors import ConfigurationError
from llmops_sdk.messages import Request
from llmops_sdk.routers._legs.leg import Leg
from llmops_sdk.routers._strategies.per_legs import PerLegs

__all__ = ["Latency", "LeastBusy", "least_busy_first"]

_COMPARED = 16
_REVIEW_S = 10.0
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
    """The one with the fewest requests in flight for how quick it is beside the others; equals in turn.

    What is compared is (requests in flight + 1) x slowness: see `Pace` for how that is measured. Engines that are alike
    are asked as `least_busy` asks them. One that was never asked counts as usual, one that fails counts as slow, and
    one that hangs keeps its requests in flight. `Leg(weight=)` counts as speed.

    Up to 16 engines are all compared; of more, 16 that are drawn by lot, so that a pick costs the same among 1,000.

    Args:
        seed: Makes the draws repeatable.
    """

    def __init__(self, *, seed: int | None = None) -> None:
        if seed is not None and not isinstance(seed, int):
            raise ConfigurationError(f"`seed` is a whole number, or None, not {seed!r}")
        self._seed = seed
        self._random = random.Random(seed)
        self._turn = -1
        self._reviewed_at = -math.inf
        self._circle = PerLegs(_circle)

    def order(self, legs: Sequence[Leg], request: Request, /) -> Iterator[Leg]:
        """See `Strategy.order`."""
        call = request.call
        now = CLOCK.get()() if call is None else call.clock()
        if not 0.0 <= now - self._reviewed_at < _REVIEW_S:
            self._review(legs, now)
        twice, counts_load = self._circle[legs]
        some = self._some(twice, len(legs))
        if counts_load:
            costs = [*map(_cost, some)]
        else:
            costs = [(leg.in_flight + 1) * leg.pace.slowness / leg.weight for leg in some]
        first = some[costs.index(min(costs))]
        yield first
        for leg in sorted(some if len(some) == len(legs) else legs, key=_cost):
            if leg is not first:
                yield leg

    def configuration(self) -> dict[str, Any]:
        """What it was made with; a lock pins it by a hash of this."""
        return {"seed": self._seed}

    def _review(self, legs: Sequence[Leg], now: float) -> None:
        """Let what was learnt fade, once in a while: to do it at each pick would cost more than the pick."""
        passed_s, self._reviewed_at = now - self._reviewed_at, now
        if 0.0 < passed_s < math.inf:  # runs may bring clocks of their own, so time may also go back
            for leg in legs:
                leg.pace.forget(passed_s)

    def _some(self, twice: Sequence[Leg], count: int) -> Sequence[Leg]:
        """All legs from the one on whose turn it is, or `_COMPARED` of them."""
        if count <= _COMPARED:
            self._turn = turn = (self._turn + 1) % count
            return twice[turn : turn + count]
        # From anywhere, and in steps over half of the circle to all of it: neighbours are often alike.
        start = int(self._random.random() * count)
        step = int((0.5 + self._random.random() / 2) * count / _COMPARED) or 1
        return twice[start : start + _COMPARED * step : step]

    def reason(self, leg: Leg, /) -> str:
        """See `Strategy.reason`."""
        if not leg.latency_s:
            return f"not asked yet, {leg.in_flight} in flight" if leg.in_flight else "not asked yet"
        return f"{leg.latency_s * 1000:.0f} ms to its first sign, slowness {leg.pace.slowness:g}, {leg.load} in flight"


def _circle(legs: Sequence[Leg]) -> tuple[Sequence[Leg], bool]:
    """The legs twice, so that a stretch may go over the end; and whether any of them counts its own load."""
    return (*legs, *legs), any(leg.counts_load for leg in legs)


def _cost(leg: Leg) -> float:
    return (leg.load + 1) * leg.pace.slowness / leg.weight
