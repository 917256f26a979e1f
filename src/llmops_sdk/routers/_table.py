"""What a router goes by, checked once and never changed: a reload puts another table in its place."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

from llmops_sdk.costs import Ledger
from llmops_sdk.errors import ConfigurationError
from llmops_sdk.routers._filters import Filters
from llmops_sdk.routers._hedging import Hedge
from llmops_sdk.routers._leg import Leg
from llmops_sdk.routers._limits import Gate, Limit
from llmops_sdk.routers._strategies import Strategy, strategy_of

__all__ = ["OnStreamBreak", "Table"]

OnStreamBreak: TypeAlias = Literal["resume", "restart", "raise"]
_NOBODY: Mapping[str, tuple[Leg, ...]] = {}


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """The engines of a router and its policies; see `Router` for what each means."""

    legs: tuple[Leg, ...]
    filters: Filters
    strategy: Strategy
    retries: int = 2
    attempt_timeout_s: float | None = None
    first_chunk_timeout_s: float | None = None
    chunk_timeout_s: float | None = None
    on_stream_break: OnStreamBreak = "resume"
    hedge: Hedge | None = None
    fallbacks: Mapping[str, tuple[Leg, ...]]
    gate: Gate | None = None

    @property
    def closed_with_it(self) -> tuple[Leg, ...]:
        """All legs, those of the strategy (a judge) among them."""
        return *self.legs, *getattr(self.strategy, "legs", ())

    @classmethod
    def of(
        cls,
        engines: Sequence[Any],
        ledger: Ledger,
        *,
        strategy: str | Strategy,
        retries: int,
        attempt_timeout_s: float | None,
        first_chunk_timeout_s: float | None,
        chunk_timeout_s: float | None,
        on_stream_break: OnStreamBreak,
        hedge: Hedge | Literal["p95"] | float | None,
        fallbacks: Mapping[str, Sequence[str]] | None,
        limits: Limit | Sequence[Limit],
    ) -> Table:
        """Check all that a router was given.

        Raises:
            ConfigurationError: Something of it makes no sense; the message says what to write.
        """
        if not isinstance(engines, Sequence) or isinstance(engines, str) or not engines:
            raise ConfigurationError("a router needs engines: `Router([Engine.open(...), Engine.open(...)])`")
        if isinstance(retries, bool) or not isinstance(retries, int) or retries < 0:
            raise ConfigurationError(f"`retries` is a number of attempts, 0 or more, not {retries!r}")
        times = {
            "attempt_timeout_s": attempt_timeout_s,
            "first_chunk_timeout_s": first_chunk_timeout_s,
            "chunk_timeout_s": chunk_timeout_s,
        }
        for name, seconds in times.items():
            if seconds is not None and not 0 < seconds < math.inf:
                raise ConfigurationError(f"`{name}` is a time over 0 seconds, not {seconds!r}")
        if on_stream_break not in ("resume", "restart", "raise"):
            raise ConfigurationError(f"`on_stream_break` is 'resume', 'restart' or 'raise', not {on_stream_break!r}")
        if fallbacks or limits:
            raise ConfigurationError("`fallbacks` and `limits` are not there yet; leave them out")
        legs = tuple(engine if isinstance(engine, Leg) else Leg(engine) for engine in engines)
        _name_apart(legs)
        _take(legs, ledger)
        chosen = strategy_of(strategy, legs)
        _take(getattr(chosen, "legs", ()), ledger)
        return cls(
            legs=legs,
            filters=Filters(legs),
            strategy=chosen,
            retries=retries,
            on_stream_break=on_stream_break,
            hedge=_hedge(hedge),
            fallbacks=_NOBODY,
            attempt_timeout_s=attempt_timeout_s,
            first_chunk_timeout_s=first_chunk_timeout_s,
            chunk_timeout_s=chunk_timeout_s,
        )


def _take(legs: tuple[Leg, ...], ledger: Ledger) -> None:
    for leg in legs:
        if leg.ledger is not None and leg.ledger is not ledger:
            raise ConfigurationError(
                f"the leg {leg.name!r} belongs to another router; write `Leg(engine)` once for each router"
            )
    for leg in legs:
        leg.ledger = ledger


def _hedge(hedge: Hedge | Literal["p95"] | float | None) -> Hedge | None:
    if hedge is None or isinstance(hedge, Hedge):
        return hedge
    if hedge == "p95":
        return Hedge()
    if isinstance(hedge, int | float) and not isinstance(hedge, bool):
        return Hedge(after_s=float(hedge))
    raise ConfigurationError(f"`hedge` is None, 'p95', a time in seconds or a `Hedge`, not {hedge!r}")


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
