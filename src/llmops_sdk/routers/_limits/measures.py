"""What limits an engine, and how much of each limit a request wants."""

from __future__ import annotations

import logging
import math
from collections.abc import Sequence
from decimal import Decimal
from typing import TYPE_CHECKING, NamedTuple

from llmops_sdk.calls import Call
from llmops_sdk.errors import ConfigurationError
from llmops_sdk.messages import Request, Usage
from llmops_sdk.routers._limits.adaptive import Adapting
from llmops_sdk.routers._limits.declared import Adaptive, Limit
from llmops_sdk.routers._limits.estimates import Estimates
from llmops_sdk.routers._limits.meters import CONCURRENT, REQUESTS, TOKENS, USD, Demand, Meter, Quantity
from llmops_sdk.usage import EXACT

if TYPE_CHECKING:
    from llmops_sdk.routers._legs.leg import Leg

__all__ = ["Measures", "measures_of", "nano_usd"]

log = logging.getLogger("llmops_sdk")

_NANO = Decimal(1_000_000_000)


class _Measure(NamedTuple):
    """A meter of an engine, and how its key is found: always the same, or by a tag of the run."""

    meter: Meter
    tag: str | None


class Measures:
    """All that limits one engine; it knows what a request wants of it."""

    def __init__(self, leg: Leg, shared: Sequence[_Measure], adapting: Adapting | None, estimates: Estimates) -> None:
        self.leg = leg
        self._shared = tuple(shared)
        self.adapting = adapting
        self.estimates = estimates
        wanted = {measure.meter.quantity for measure in shared}
        self.meters = {(measure.meter.name, measure.tag): measure.meter for measure in shared}
        self._money = USD in wanted
        self._tokens = TOKENS in wanted or self._money
        self._unpriced = False
        self._fixed: list[Demand] | None = None
        """What every request wants, where that is the same for all."""
        if not self._tokens and all(measure.tag is None for measure in shared):
            self._fixed = [Demand(measure.meter, "", 1) for measure in shared]
            if adapting is not None:
                self._fixed.append(Demand(adapting.meter, "", 1))

    @property
    def limits_something(self) -> bool:
        """Whether there is any limit."""
        return bool(self._shared) or self.adapting is not None

    def demands(self, request: Request, call: Call) -> list[Demand]:
        """What a request takes of all that limits the engine; the adaptive limit last."""
        if self._fixed is not None:
            return self._fixed
        tokens = money = 0
        if self._tokens:
            usage = self.estimates.usage(request)
            tokens = usage.total_tokens
            if self._money:
                money = self._price(usage, call)
        demands = []
        for meter, tag in self._shared:
            quantity = meter.quantity
            amount = tokens if quantity is TOKENS else money if quantity is USD else 1
            demands.append(Demand(meter, "" if tag is None else str(call.tags.get(tag, "")), amount))
        if self.adapting is not None:
            demands.append(Demand(self.adapting.meter, "", 1))
        return demands

    def _price(self, usage: Usage, call: Call) -> int:
        leg = self.leg
        cost = call.price(leg.model, usage, provider=leg.billed_by)
        if cost is not None:
            return nano_usd(cost)
        if not (self._unpriced or leg.in_process or leg.routes):
            self._unpriced = True
            log.warning(
                "the price of the model %r of engine %r is not known, so `usd_per_day` counts its requests only where "
                "the engine says what they cost; give the router `prices=`",
                leg.model,
                leg.name,
            )
        return 0


def measures_of(leg: Leg, own: Sequence[Limit], before: Measures | None = None) -> Measures:
    """What limits an engine: its own limits, and those of its router.

    Args:
        leg: The engine.
        own: The limits of its router.
        before: What limited it until now: its meters take the new amounts, and what was learnt stays.

    Raises:
        ConfigurationError: A limit does not stand where it can be held.
    """
    found: dict[tuple[str, str | None], _Measure] = {}
    adapting: Adapting | None = None
    learnt = before if before is not None and before.leg is leg else None
    for limit in (*leg.limits, *own):
        if isinstance(limit, Adaptive):
            if adapting is not None:
                raise ConfigurationError(f"the leg {leg.name!r} has two `Adaptive` limits; give it one")
            adapting = None if learnt is None else learnt.adapting
            if adapting is None or adapting.declared != limit:
                adapting = Adapting(limit, _adaptive_meter(leg, limit) if adapting is None else adapting.meter)
            continue
        of_leg = any(limit is one for one in leg.limits)
        if limit.per == "router" and of_leg:
            raise ConfigurationError(
                f"a limit of the leg {leg.name!r} is `per='router'`; give it to the router: `Router(..., limits=...)`"
            )
        scope, of, tag = _scope(leg, limit.per, of_leg=of_leg)
        for quantity, amount in _amounts(limit):
            name = f"{quantity.name}:{scope}"
            same = found.get((name, tag))
            if same is None or amount < same.meter.amount:  # of two for the same, the stricter one holds
                meter = Meter(name=name, quantity=quantity, amount=amount, of=of, by_tag=tag is not None)
                found[name, tag] = _Measure(meter, tag)
    for (name, tag), (meter, _) in found.items():
        goes_on = None if before is None else before.meters.get((name, tag))
        if goes_on is not None:
            goes_on.amount = meter.amount
            found[name, tag] = _Measure(goes_on, tag)
    return Measures(leg, list(found.values()), adapting, Estimates() if learnt is None else learnt.estimates)


def _adaptive_meter(leg: Leg, limit: Adaptive) -> Meter:
    return Meter(name=f"adaptive:{leg.name}", quantity=CONCURRENT, amount=limit.initial, of=f"engine {leg.name}")


def _scope(leg: Leg, per: str, *, of_leg: bool) -> tuple[str, str, str | None]:
    """What the counters are called, what people read, and the tag that tells them apart."""
    if per == "router":
        return "router", "the router", None
    if per == "key" and (key := getattr(leg.engine, "key_id", None)) is not None:
        return f"key:{key}", f"the key of engine {leg.name}", None
    if per.startswith("tag:"):
        tag = per[4:]
        where = f"engine:{leg.name}:" if of_leg else ""
        return f"{where}{per}", tag, tag
    return f"engine:{leg.name}", f"engine {leg.name}", None


def _amounts(limit: Limit) -> list[tuple[Quantity, int]]:
    usd = limit.usd_per_day
    given = (
        (REQUESTS, limit.requests_per_minute),
        (TOKENS, limit.tokens_per_minute),
        (CONCURRENT, limit.concurrent),
        (USD, int(EXACT.multiply(usd, _NANO)) if isinstance(usd, Decimal) else None),
    )
    return [(quantity, amount) for quantity, amount in given if amount is not None]


def nano_usd(usd: Decimal) -> int:
    """Money as meters count it."""
    return max(0, math.ceil(EXACT.multiply(usd, _NANO)))
