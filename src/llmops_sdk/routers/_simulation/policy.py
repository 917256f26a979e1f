"""From what a user names to the router that is simulated: the same options, other engines."""

from __future__ import annotations

import copy
import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias

from llmops_sdk.errors import ConfigurationError
from llmops_sdk.messages import Request
from llmops_sdk.routers._legs.leg import Leg
from llmops_sdk.routers._router import Router
from llmops_sdk.routers._simulation.engine import Run, SimulatedEngine
from llmops_sdk.routers._simulation.model import EngineModel
from llmops_sdk.routers._strategies import STRATEGIES, Strategy

__all__ = ["Oracle", "Policy", "models_by_name", "named", "router_of"]

Policy: TypeAlias = "str | Strategy | Router | Mapping[str, Any] | Callable[[Sequence[Any]], Router]"
"""The name of a strategy, or `"oracle"`; a strategy; the options of a `Router`; a router, whose engines are replaced by
those of the same names; or a function that makes a router of the engines."""


class Oracle:
    """The engine that would answer first if nobody came after this request: nobody can know that, and none does better.

    It sees what is in each engine, how long each answer will take, and who would fail.
    """

    def order(self, legs: Sequence[Leg], request: Request, /) -> list[Leg]:
        """See `Strategy.order`."""
        run = request.call
        if not isinstance(run, Run):  # a router asks once when it is built
            return list(legs)
        return sorted(legs, key=lambda leg: leg.engine.forecast(run))

    def reason(self, leg: Leg, /) -> str:
        """See `Strategy.reason`."""
        return "it would answer first"


def named(policies: Policy | Mapping[str, Policy] | Sequence[Policy]) -> dict[str, Policy]:
    """Policies by name.

    Raises:
        ConfigurationError: There is none, or two have the same name.
    """
    # A mapping with a `strategy` is the options of one router.
    if isinstance(policies, Mapping) and "strategy" not in policies:
        found = list(policies.items())
    elif isinstance(policies, Sequence) and not isinstance(policies, str):
        found = [(_name(policy), policy) for policy in policies]
    else:
        found = [(_name(policies), policies)]
    names = [name for name, _ in found]
    if not names or len(set(names)) < len(names):
        raise ConfigurationError(
            "`policies` needs at least one, each with a name of its own: "
            f"`{{'now': {{'strategy': 'latency'}}, 'new': router}}`; there are {', '.join(map(repr, names)) or 'none'}"
        )
    return dict(found)


def _name(policy: Any) -> str:
    if isinstance(policy, str):
        return policy
    if isinstance(policy, Mapping):
        return str(policy.get("strategy", "latency"))
    return str(getattr(policy, "name", None) or getattr(policy, "__name__", None) or type(policy).__name__)


def models_by_name(engines: Mapping[str, EngineModel] | Sequence[EngineModel]) -> dict[str, EngineModel]:
    """Models by the names of their engines.

    Raises:
        ConfigurationError: There is none, or one is something else.
    """
    if isinstance(engines, Mapping):
        found = {str(name): model for name, model in engines.items()}
    elif isinstance(engines, Sequence) and not isinstance(engines, str):
        found = {f"engine-{number}": model for number, model in enumerate(engines, start=1)}
    else:
        found = {}
    if not found or not all(isinstance(model, EngineModel) for model in found.values()):
        raise ConfigurationError(
            f"`engines` is `{{'name': EngineModel(...)}}` or `[EngineModel(...)] * 4`, not {engines!r}"
        )
    return found


def router_of(policy: Policy, engines: Sequence[SimulatedEngine], seed: int) -> Router:
    """A fresh router for one run of `policy`.

    Raises:
        ConfigurationError: The policy makes no sense, or its router has an engine without a model.
    """
    if isinstance(policy, Router):
        return _again(policy, engines, seed)
    if isinstance(policy, Mapping):
        options = {name: copy.deepcopy(value) for name, value in policy.items()}
        return Router(engines, **{**options, "strategy": _strategy(options.get("strategy", "latency"), seed)})
    if isinstance(policy, str) or callable(getattr(policy, "order", None)):
        return Router(engines, strategy=_strategy(copy.deepcopy(policy), seed))
    if callable(policy):
        router = policy(engines)
        if isinstance(router, Router):
            return router
        raise ConfigurationError(f"the policy {_name(policy)!r} returned {router!r}, no Router")
    raise ConfigurationError(
        f"a policy is a strategy, its name, options of a Router, a Router or a function that makes one; not {policy!r}"
    )


def _strategy(strategy: Any, seed: int) -> Any:
    if strategy == "oracle":
        return Oracle()
    if isinstance(strategy, str) and strategy in STRATEGIES:
        made = STRATEGIES[strategy]
        return made(**({"seed": seed} if "seed" in inspect.signature(made).parameters else {}))
    return strategy


def _again(router: Router, engines: Sequence[SimulatedEngine], seed: int) -> Router:
    by_name = {engine.name: engine for engine in engines}
    legs = []
    for leg in router.legs:
        if leg.name not in by_name:
            raise ConfigurationError(
                f"the router's engine {leg.name!r} has no model: write `engines={{{leg.name!r}: EngineModel(...)}}`; "
                f"there are models for {', '.join(map(repr, by_name))}"
            )
        _, (_, options) = leg.__reduce__()
        legs.append(Leg(by_name[leg.name], **options))
    _, made_with = router._made_with
    options = {name: copy.deepcopy(value) for name, value in made_with.items() if name != "prices"}
    return Router(legs, **{**options, "strategy": _strategy(options.get("strategy", "latency"), seed)})
