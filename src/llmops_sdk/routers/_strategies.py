"""In which order a router asks its engines. Write your own: an object with `order(legs, request)`."""

from __future__ import annotations

import itertools
import random
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Protocol, TypeAlias

from llmops_sdk.messages import Request, Response
from llmops_sdk.routers._leg import Leg

__all__ = ["STRATEGIES", "Escalates", "Latency", "LeastBusy", "Priority", "RoundRobin", "Strategy"]


class Strategy(Protocol):
    """Puts engines in order, the one to ask first at the front. `reason` says why, for `router.route()`."""

    def order(self, legs: Sequence[Leg], request: Request, /) -> Iterable[Leg]:
        """All of `legs`, in order. A generator may leave the work for the later ones until somebody asks."""
        ...

    def reason(self, leg: Leg, /) -> str:
        """Why `leg` stands where it stands."""
        ...


Escalates: TypeAlias = Callable[[Leg, Request, Response], Awaitable[str | None]]
"""A strategy may have a method `escalates(leg, request, response)`, which judges each answer.

It gives the reason why the next engine has to be asked, too, or `None` when the answer is good enough. When the others
fail, the last answer is returned whatever was said of it.
"""


class Priority:
    """As they were given: the first one first, the others when it fails."""

    def order(self, legs: Sequence[Leg], request: Request, /) -> list[Leg]:
        """See `Strategy.order`."""
        return list(legs)

    def reason(self, leg: Leg, /) -> str:
        """See `Strategy.reason`."""
        return "as given"


class RoundRobin:
    """In turn."""

    def __init__(self) -> None:
        self._turn = itertools.count()

    def order(self, legs: Sequence[Leg], request: Request, /) -> list[Leg]:
        """See `Strategy.order`."""
        first = next(self._turn) % len(legs)
        return [*legs[first:], *legs[:first]]

    def reason(self, leg: Leg, /) -> str:
        """See `Strategy.reason`."""
        return "in turn"


class LeastBusy:
    """The one with the fewest requests in flight; among equals as given.

    An engine that knows its own load counts what others ask of it, too: its answers `running` and `waiting`.
    """

    def order(self, legs: Sequence[Leg], request: Request, /) -> list[Leg]:
        """See `Strategy.order`."""
        return sorted(legs, key=_in_flight)

    def reason(self, leg: Leg, /) -> str:
        """See `Strategy.reason`."""
        return f"{_in_flight(leg)} in flight"


def _in_flight(leg: Leg) -> int:
    own = [getattr(leg.engine, name, 0) for name in ("running", "waiting")]
    # A request that this router has just sent may not have reached the engine's own count.
    return max(leg.in_flight, sum(count for count in own if isinstance(count, int)))


class Latency:
    """The better of two chosen at random, by moving average of latency times load; the others by the same measure.

    Peak EWMA with the power of two choices, as in Finagle's load balancer
    (https://twitter.github.io/finagle/guide/Clients.html#power-of-two-choices-p2c-least-loaded). An engine that was
    never asked counts as fastest, so each is tried once; among equals the order is as given.
    """

    def order(self, legs: Sequence[Leg], request: Request, /) -> list[Leg]:
        """See `Strategy.order`."""
        ranked = sorted(legs, key=_load)
        if len(ranked) > 2 and _load(ranked[0]) > 0:
            first = int(random.random() * len(ranked))
            second = int(random.random() * (len(ranked) - 1))
            ranked.insert(0, ranked.pop(min(first, second + (second >= first))))
        return ranked

    def reason(self, leg: Leg, /) -> str:
        """See `Strategy.reason`."""
        if not leg.latency_s:
            return "not asked yet"
        return f"{leg.latency_s * 1000:.0f} ms, {leg.in_flight} in flight"


def _load(leg: Leg) -> float:
    return leg.latency_s * (leg.in_flight + 1)


STRATEGIES: dict[str, type[Strategy]] = {
    "latency": Latency,
    "least_busy": LeastBusy,
    "priority": Priority,
    "round_robin": RoundRobin,
}
