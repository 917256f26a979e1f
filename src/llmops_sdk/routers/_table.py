"""What a router goes by, checked once and never changed: a reload puts another table in its place."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal, TypeAlias

from llmops_sdk.costs import Ledger
from llmops_sdk.errors import ConfigurationError
from llmops_sdk.given import is_number
from llmops_sdk.messages import Request
from llmops_sdk.routers._asking.fallbacks import checked_fallbacks
from llmops_sdk.routers._asking.retries import Retries, Rule, retries_of
from llmops_sdk.routers._choosing.filters import Filters
from llmops_sdk.routers._hedging.hedge import Hedge, HedgeBudget, hedge_of
from llmops_sdk.routers._legs.breaker import Breaker
from llmops_sdk.routers._legs.latencies import Times
from llmops_sdk.routers._legs.leg import Leg
from llmops_sdk.routers._legs.pace import Usual
from llmops_sdk.routers._limits import Gate, Limit, Limits
from llmops_sdk.routers._runs import Runs
from llmops_sdk.routers._strategies import Escalates, Strategy, strategy_of

__all__ = ["OnStreamBreak", "Table", "take"]

OnStreamBreak: TypeAlias = Literal["resume", "restart", "raise"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """The engines of a router and its policies; see `Router` for what each means."""

    legs: tuple[Leg, ...]
    filters: Filters
    strategy: Strategy
    retries: Retries
    attempt_timeout_s: float | None = None
    first_chunk_timeout_s: float | None = None
    chunk_timeout_s: float | None = None
    on_stream_break: OnStreamBreak = "resume"
    hedge: Hedge | None = None
    hedge_budget: HedgeBudget | None = None
    fallbacks: Mapping[str, tuple[Leg, ...]]
    counted: Limits
    gate: Gate | None = None
    runs: Runs = field(default_factory=Runs)
    escalates: Escalates | None = field(init=False)
    """How the strategy judges an answer, `None` when it is content with any."""
    judged_form: Callable[[Request], Request] = field(init=False)
    """What an engine is asked whose answer is judged."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "escalates", getattr(self.strategy, "escalates", None))
        object.__setattr__(self, "judged_form", getattr(self.strategy, "judged_form", _as_it_is))

    def with_legs(
        self, instead: Mapping[Leg, Leg], strategy: Strategy, counted: Limits, limits: Limit | Sequence[Limit]
    ) -> Table:
        """The same for other legs: each leg that is a key of `instead` gives its place to the value."""
        legs = tuple(instead.get(leg, leg) for leg in self.legs)
        return replace(
            self,
            legs=legs,
            filters=Filters(legs),
            strategy=strategy,
            fallbacks={name: tuple(instead.get(leg, leg) for leg in ones) for name, ones in self.fallbacks.items()},
            counted=counted,
            gate=counted.gate(legs, limits),
            runs=Runs(),
        )

    @property
    def all_legs(self) -> tuple[Leg, ...]:
        """The legs, and those of the strategy (a judge)."""
        return *self.legs, *getattr(self.strategy, "legs", ())

    @property
    def closed_with_it(self) -> tuple[Any, ...]:
        """All engines, and what counts the limits."""
        return *(leg.engine for leg in self.all_legs), self.counted

    @classmethod
    def of(
        cls,
        engines: Sequence[Any],
        ledger: Ledger,
        counted: Limits,
        *,
        strategy: str | Mapping[str, Any] | Strategy,
        retries: int | Retries | Mapping[type[BaseException], Rule],
        attempt_timeout_s: float | None,
        first_chunk_timeout_s: float | None,
        chunk_timeout_s: float | None,
        on_stream_break: OnStreamBreak,
        hedge: Hedge | Literal["p95"] | float | None,
        breaker: Breaker | None,
        fallbacks: Mapping[str, Sequence[str]] | None,
        limits: Limit | Sequence[Limit],
    ) -> Table:
        """Check all that a router was given; `counted` is what its limits have counted under the tables before.

        Raises:
            ConfigurationError: Something of it makes no sense; the message says what to write.
        """
        if not isinstance(engines, Sequence) or isinstance(engines, str) or not engines:
            raise ConfigurationError("a router needs engines: `Router([Engine.open(...), Engine.open(...)])`")
        times = {
            "attempt_timeout_s": attempt_timeout_s,
            "first_chunk_timeout_s": first_chunk_timeout_s,
            "chunk_timeout_s": chunk_timeout_s,
        }
        for name, seconds in times.items():
            if seconds is not None and not (is_number(seconds) and 0 < seconds < math.inf):
                raise ConfigurationError(f"`{name}` is a time over 0 seconds, not {seconds!r}")
        if on_stream_break not in ("resume", "restart", "raise"):
            raise ConfigurationError(f"`on_stream_break` is 'resume', 'restart' or 'raise', not {on_stream_break!r}")
        if breaker is not None and not isinstance(breaker, Breaker):
            raise ConfigurationError(f"`breaker` is like `Breaker(failures=5)`, or left out, not {breaker!r}")
        legs = tuple(engine if isinstance(engine, Leg) else Leg(engine) for engine in engines)
        _name_apart(legs)
        chosen = strategy_of(strategy, legs)
        take((*legs, *getattr(chosen, "legs", ())), ledger, breaker)
        hedging = hedge_of(hedge)
        return cls(
            legs=legs,
            filters=Filters(legs),
            strategy=chosen,
            retries=retries_of(retries),
            on_stream_break=on_stream_break,
            hedge=hedging,
            hedge_budget=None if hedging is None else HedgeBudget(hedging),
            fallbacks=checked_fallbacks(fallbacks, legs),
            counted=counted,
            gate=counted.gate(legs, limits),
            attempt_timeout_s=attempt_timeout_s,
            first_chunk_timeout_s=first_chunk_timeout_s,
            chunk_timeout_s=chunk_timeout_s,
        )


def _as_it_is(request: Request) -> Request:
    return request


def take(legs: tuple[Leg, ...], ledger: Ledger, breaker: Breaker | None, *, anew: bool = False) -> None:
    """Have the legs book in `ledger`, learn together, and go by `breaker`. `anew`: whosever they were before.

    Raises:
        ConfigurationError: One of them is of another router.
    """
    for leg in legs:
        if not anew and leg.ledger is not None and leg.ledger is not ledger:
            raise ConfigurationError(
                f"the leg {leg.name!r} belongs to another router; write `Leg(engine)` once for each router"
            )
    peers = next((leg.times.peers for leg in legs if leg.times.peers is not None), None) or Times()
    usual = next((leg.pace.usual for leg in legs if leg.ledger is ledger), None) or Usual()
    for leg in legs:
        leg.join(ledger, peers, usual, breaker)


def _name_apart(legs: tuple[Leg, ...]) -> None:
    """Give engines without a name of their own different ones; refuse two that were given the same."""
    taken: set[str] = set()
    for leg in legs:
        name = leg.name
        if name in taken:
            if "name" in getattr(leg.engine, "__dict__", {}):
                raise ConfigurationError(
                    f"two engines of the router are called {name!r}; give them names: `Engine.open(..., name='...')`"
                )
            name = next(f"{name}-{i}" for i in range(2, len(legs) + 2) if f"{name}-{i}" not in taken)
            with contextlib.suppress(AttributeError):  # an object with slots keeps its name; the record has the new one
                leg.engine.name = name
            leg.name = name
        taken.add(name)
