"""In which order a router asks its engines."""

from __future__ import annotations

import copy
import difflib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from llmops_sdk.calls import Call
from llmops_sdk.errors import ConfigurationError
from llmops_sdk.messages import Request
from llmops_sdk.routers._legs.leg import Leg
from llmops_sdk.routers._strategies.by_load import Latency, LeastBusy
from llmops_sdk.routers._strategies.by_prefix import PrefixAffinity
from llmops_sdk.routers._strategies.by_price import Cost
from llmops_sdk.routers._strategies.cascade import Cascade
from llmops_sdk.routers._strategies.in_turn import Priority, RoundRobin, Weighted
from llmops_sdk.routers._strategies.protocol import Escalates, Strategy

__all__ = [
    "STRATEGIES",
    "Cascade",
    "Cost",
    "Escalates",
    "Latency",
    "LeastBusy",
    "PrefixAffinity",
    "Priority",
    "RoundRobin",
    "Strategy",
    "Weighted",
    "ordered",
    "strategy_of",
]

STRATEGIES: dict[str, type[Strategy]] = {
    "cascade": Cascade,
    "cost": Cost,
    "latency": Latency,
    "least_busy": LeastBusy,
    "prefix_affinity": PrefixAffinity,
    "priority": Priority,
    "round_robin": RoundRobin,
    "weighted": Weighted,
}
"""Those that can be named, with their defaults."""

_OURS = frozenset(STRATEGIES.values())


def strategy_of(strategy: str | Mapping[str, Any] | Strategy, legs: tuple[Leg, ...]) -> Strategy:
    """The strategy that is meant; one of the user's own is tried once, so that a wrong one is found now.

    Raises:
        ConfigurationError: There is none of that name, or it is no strategy of `legs`.
    """
    if isinstance(strategy, str | Mapping):
        options = {"name": strategy} if isinstance(strategy, str) else dict(strategy)
        name = options.pop("name", None)
        if name not in STRATEGIES:
            near = difflib.get_close_matches(str(name), STRATEGIES, n=1)
            hint = f"; did you mean {near[0]!r}?" if near else ""
            raise ConfigurationError(f"no strategy is called {name!r}: there are {', '.join(STRATEGIES)}{hint}")
        try:
            return STRATEGIES[name](**options)
        except TypeError as exc:
            raise ConfigurationError(f"the strategy {name!r} does not take these options: {exc}") from exc
    if isinstance(strategy, type):
        raise ConfigurationError(f"{strategy.__name__} is a class; write `{strategy.__name__}()`")
    for method, arguments in (("order", "legs, request"), ("reason", "leg")):
        if not callable(getattr(strategy, method, None)):
            raise ConfigurationError(f"{strategy!r} is no strategy: it has no `{method}({arguments})`")
    for _ in ordered(copy.copy(strategy), legs, Request.of("Hello").bound_to(Call())):
        pass
    return strategy


def ordered(strategy: Strategy, legs: tuple[Leg, ...], request: Request) -> Iterable[Leg]:
    """All of `legs`, each once, as `strategy` orders them; the work for each is done when it is asked for.

    Raises:
        ConfigurationError: The strategy returned something that is none of `legs`.
    """
    order = strategy.order(legs, request)
    return order if type(strategy) in _OURS else _checked(type(strategy).__name__, order, legs)


def _checked(name: str, order: Iterable[Leg], legs: Sequence[Leg]) -> Iterator[Leg]:
    if not isinstance(order, Iterable):
        raise ConfigurationError(f"`order` of the strategy {name} returned {order!r}, which is no series of legs")
    left = dict.fromkeys(legs)
    for leg in order:
        if isinstance(leg, Leg) and leg in left:
            del left[leg]
            yield leg
        elif leg not in legs:
            raise ConfigurationError(
                f"the strategy {name} returned {leg!r}, which is none of the legs that it was given"
            )
    yield from left
