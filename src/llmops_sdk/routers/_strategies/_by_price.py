"""The cheapest engine that fits."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from decimal import Decimal

from llmops_sdk.messages import Request
from llmops_sdk.routers._leg import Leg
from llmops_sdk.routers._strategies._by_load import least_busy_first
from llmops_sdk.routers._strategies._per_legs import PerLegs
from llmops_sdk.routers._tokens import likely_usage

__all__ = ["Cost"]

_UNKNOWN = Decimal(math.inf)


class Cost:
    """The one with the lowest price for about what the request takes; equals by load; unknown prices last.

    Prices are those of the run (`Pipeline(prices=)`, `Router(prices=)`), by the model of each engine. Tokens are
    estimated: four characters for one, and `max_tokens`, or 256, for the answer.
    """

    def __init__(self) -> None:
        self._turn = 0
        self._by_model = PerLegs(_by_model)
        self._prices: dict[str | None, Decimal] = {}

    def order(self, legs: Sequence[Leg], request: Request, /) -> Iterator[Leg]:
        """See `Strategy.order`."""
        self._turn += 1
        by_model = self._by_model[legs]
        self._prices = prices = _prices(by_model, request)
        by_price: dict[Decimal, list[Leg]] = {}
        for model, same in by_model.items():
            price = prices[model]
            by_price[price] = [*by_price[price], *same] if price in by_price else same
        for price in sorted(by_price):
            equals = by_price[price]
            yield from least_busy_first(equals, self._turn % len(equals))

    def reason(self, leg: Leg, /) -> str:
        """See `Strategy.reason`."""
        price = self._prices.get(leg.model, _UNKNOWN)
        if price == _UNKNOWN:
            return f"the price of {leg.model!r} is not known"
        return f"about {price.normalize():f} USD, {leg.load} in flight"


def _by_model(legs: Sequence[Leg]) -> dict[str | None, list[Leg]]:
    found: dict[str | None, list[Leg]] = {}
    for leg in legs:
        found.setdefault(leg.model, []).append(leg)
    return found


def _prices(models: dict[str | None, list[Leg]], request: Request) -> dict[str | None, Decimal]:
    call = request.call
    if call is None:
        return dict.fromkeys(models, _UNKNOWN)
    usage = likely_usage(request)
    found = {model: call.price(model, usage) for model in models}
    return {model: _UNKNOWN if price is None else price for model, price in found.items()}
