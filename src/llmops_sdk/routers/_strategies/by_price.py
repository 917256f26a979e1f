"""The cheapest engine that fits."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from decimal import Decimal
from typing import TypeAlias

from llmops_sdk.messages import Request
from llmops_sdk.routers._choosing.tokens import likely_usage
from llmops_sdk.routers._legs.leg import Leg
from llmops_sdk.routers._strategies.by_load import least_busy_first
from llmops_sdk.routers._strategies.per_legs import PerLegs

__all__ = ["Cost"]

_UNKNOWN = Decimal(math.inf)
_Service: TypeAlias = tuple[str | None, str]
"""A model, and who bills it."""


class Cost:
    """The one with the lowest price for about what the request takes; equals by load; unknown prices last.

    Prices are those of the run (`Pipeline(prices=)`, `Router(prices=)`), by the model of each engine. Tokens are
    estimated, and `max_tokens`, or 256, count for the answer.
    """

    def __init__(self) -> None:
        self._turn = 0
        self._by_service = PerLegs(_by_service)
        self._prices: dict[_Service, Decimal] = {}

    def order(self, legs: Sequence[Leg], request: Request, /) -> Iterator[Leg]:
        """See `Strategy.order`."""
        self._turn += 1
        by_service = self._by_service[legs]
        self._prices = prices = _prices(by_service, request)
        by_price: dict[Decimal, list[Leg]] = {}
        for service, same in by_service.items():
            price = prices[service]
            by_price[price] = [*by_price[price], *same] if price in by_price else same
        for price in sorted(by_price):
            equals = by_price[price]
            yield from least_busy_first(equals, self._turn % len(equals))

    def reason(self, leg: Leg, /) -> str:
        """See `Strategy.reason`."""
        price = self._prices.get((leg.model, leg.billed_by), _UNKNOWN)
        if price == _UNKNOWN:
            return f"the price of {leg.model!r} is not known"
        return f"about {price.normalize():f} USD, {leg.load} in flight"


def _by_service(legs: Sequence[Leg]) -> dict[_Service, list[Leg]]:
    found: dict[_Service, list[Leg]] = {}
    for leg in legs:
        found.setdefault((leg.model, leg.billed_by), []).append(leg)
    return found


def _prices(services: Iterable[_Service], request: Request) -> dict[_Service, Decimal]:
    call = request.call
    if call is None:
        return dict.fromkeys(services, _UNKNOWN)
    usage = likely_usage(request)
    found = {(model, by): call.price(model, usage, provider=by) for model, by in services}
    return {service: _UNKNOWN if price is None else price for service, price in found.items()}
