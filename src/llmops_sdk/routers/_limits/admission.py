"""The gate of a router: what each engine's limits want of a request, who gets room, and who waits."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import TYPE_CHECKING

from llmops_sdk.calls import Call, LimitWaited
from llmops_sdk.errors import (
    ClosedError,
    ConfigurationError,
    LimitExceeded,
)
from llmops_sdk.given import is_number
from llmops_sdk.messages import RateLimit, Request, Usage
from llmops_sdk.routers._limits.counters import LocalLimits
from llmops_sdk.routers._limits.declared import Limit
from llmops_sdk.routers._limits.gate import Gate, Reservation
from llmops_sdk.routers._limits.lines import Lines, Waiter
from llmops_sdk.routers._limits.measures import Measures, measures_of
from llmops_sdk.routers._limits.meters import Blocked, Demand, LimitStore
from llmops_sdk.routers._limits.room import Part, Room

if TYPE_CHECKING:
    from llmops_sdk.routers._legs.leg import Leg

__all__ = ["Limits"]

_POLL_S = 0.02
"""How often the head of a line asks a shared store for what is given back elsewhere, which nobody tells it."""

_TELLING_S = 0.005
"""So much before the deadline the wait ends, so that the run ends with what it waited for."""


class _Unlimited:
    """Of an engine without limits."""

    def settle(
        self,
        usage: Usage | None,
        cost_usd: Decimal | None,
        /,
        *,
        error: BaseException | None = None,
        rate_limit: RateLimit | None = None,
    ) -> None:
        pass

    def release(self) -> None:
        pass


_UNLIMITED = _Unlimited()


class Limits:
    """What a router has counted so far, and who waits. It outlives a table: `gate` makes the gate of each.

    Args:
        store: Where it is counted; by default in this process.
        wait_s: Longest wait for room, seconds, whatever the deadline; 0 waits for nothing.

    Raises:
        ConfigurationError: An argument makes no sense.
    """

    def __init__(self, store: LimitStore | None = None, *, wait_s: float = 120.0) -> None:
        if not is_number(wait_s) or not 0 <= wait_s < math.inf:
            raise ConfigurationError(f"`limit_wait_s` is a time of 0 seconds or more, not {wait_s!r}")
        if store is not None and not all(callable(getattr(store, name, None)) for name in ("reserve", "peek")):
            raise ConfigurationError(f"`limit_store` is a `RedisLimits(...)`, or left out; not {store!r}")
        self.local = LocalLimits()
        self.store = store or self.local
        self.wait_s = float(wait_s)
        self.lines = Lines()
        self._measures: Mapping[str, Measures] = {}

    def gate(self, legs: Sequence[Leg], limits: Limit | Sequence[Limit]) -> Gate | None:
        """The gate of a router of `legs` with limits of its own; `None` where nothing is limited.

        Raises:
            ConfigurationError: A limit does not stand where it can be held.
        """
        own = tuple(limits) if isinstance(limits, list | tuple) else (limits,)
        for limit in own:
            if not isinstance(limit, Limit):
                raise ConfigurationError(
                    f"`limits` of a router are `Limit(...)`, not {limit!r}; `Adaptive` belongs to a leg: "
                    "`Leg(engine, limits=Adaptive())`"
                )
        # After a reload the same meters go on with their new amounts, so that those who wait now go by them, too.
        measures = {leg.name: measures_of(leg, own, self._measures.get(leg.name)) for leg in legs}
        self._measures = measures
        self.lines.wake_all()
        if not any(one.limits_something for one in measures.values()):
            return None
        return _Admission(self, measures)

    def waiting(self, wait_s: float) -> Limits:
        """The same, with another longest wait for the gates that are still to be made."""
        self.wait_s = wait_s
        return self

    async def aclose(self) -> None:
        """Send those away who wait, and tell a shared store what is still to be told."""
        self.lines.dismiss_all()
        await self.store.aclose()


class _Admission:
    """See `Gate`."""

    def __init__(self, limits: Limits, measures: dict[str, Measures]) -> None:
        self.measures = measures
        self.lines = limits.lines
        self._local = limits.local
        self._store = limits.store
        self._wait_s = limits.wait_s
        self._alone = limits.store is limits.local

    def refusal(self, leg: Leg, request: Request, call: Call, /) -> str | None:
        """See `Gate.refusal`."""
        demands = self.measures[leg.name].demands(request, call)
        if not demands:
            return None
        now = call.clock()
        blocked = _too_large(demands) or self._peek(demands, now)
        if blocked is None:
            ahead = self.lines.before(demands)
            return None if ahead is None else f"no room: {_text(ahead[1])}, {len(ahead[0])} wait for it"
        return f"no room: {_text(blocked.demand)}{_when(blocked, now)}"

    async def reserve(self, leg: Leg, request: Request, call: Call, /) -> Reservation:
        """See `Gate.reserve`."""
        demands = self.measures[leg.name].demands(request, call)
        if not demands:
            return _UNLIMITED
        ahead = self.lines.before(demands)
        if ahead is not None:
            line, demand = ahead
            raise _exceeded(line.blocked(demand), call.clock())
        room = await self._room(leg, demands, request, call)
        if isinstance(room, Blocked):
            raise _exceeded(room, call.clock())
        return room

    async def wait(self, legs: Sequence[Leg], request: Request, call: Call, /) -> tuple[Leg, Reservation]:
        """See `Gate.wait`."""
        started = call.clock()
        until = started + self._wait_s
        if call.deadline is not None:
            until = min(until, call.deadline - _TELLING_S)
        wanted = [(leg, self.measures[leg.name].demands(request, call)) for leg in legs]
        waiter = self.lines.waiter()
        waited: Blocked | None = None
        try:
            while True:
                now = call.clock()
                if waited is not None and now >= until:
                    raise _exceeded(waited, now)
                next_at = until
                sure = math.inf
                for leg, demands in wanted:
                    outcome = await self._turn(waiter, leg, demands, request, call)
                    if not isinstance(outcome, Blocked):
                        if waited is not None:
                            call.record(LimitWaited(started, call.clock(), _text(waited.demand)))
                        return leg, outcome
                    if waited is None or outcome.sure < sure:
                        waited = outcome
                    sure = min(sure, outcome.sure)
                    if self.lines.is_head(waiter, leg.name):
                        next_at = min(next_at, self._next_try(outcome, now))
                assert waited is not None  # there was a leg at least
                now = call.clock()
                if sure > until or now >= until:  # which is so at once where nothing is to be waited for
                    raise _exceeded(waited, now)
                await waiter.sleep(next_at - now)
                if waiter.dismissed:
                    raise ClosedError("the router was closed while the request waited for room")
        finally:
            self.lines.leave(waiter)

    async def _turn(
        self, waiter: Waiter, leg: Leg, demands: Sequence[Demand], request: Request, call: Call
    ) -> Reservation | Blocked:
        """Try to get room at `leg`, if it is the waiter's turn there; else stand where it has to wait."""
        if not demands:
            return _UNLIMITED
        hopeless = _too_large(demands)
        if hopeless is not None:
            return hopeless
        while True:
            ahead = self.lines.before(demands, waiter)
            if ahead is not None:
                line, demand = ahead
                self.lines.stand(waiter, leg.name, demand, None)
                if self.lines.is_head(waiter, leg.name):
                    continue  # in another thread, those before it have left in between, and told nobody
                return line.blocked(demand)
            freed = self.lines.freed_last
            outcome = await self._room(leg, demands, request, call)
            if not isinstance(outcome, Blocked):
                return outcome
            stood = self.lines.stand(waiter, leg.name, outcome.demand, outcome)
            if not stood or freed == self.lines.freed_last:
                return outcome
            # Another thread gave something back before it was known here who waits for it: look again.

    def _next_try(self, blocked: Blocked, now: float) -> float:
        at = math.inf if blocked.at is None else max(blocked.at, now)
        if self._alone or blocked.demand.meter.name.startswith("adaptive:"):
            return at  # what is given back earlier wakes it
        return min(at, now + _POLL_S) if blocked.sure <= now else min(at, blocked.sure)

    async def _room(self, leg: Leg, demands: Sequence[Demand], request: Request, call: Call) -> Reservation | Blocked:
        now = call.clock()
        adaptive = self.measures[leg.name].adapting is not None
        if self._alone and not adaptive:
            hold = self._local.reserve_at(demands, now)
            if isinstance(hold, Blocked):
                return hold
            return Room(self.measures[leg.name], self.lines, request, call, (Part(hold, demands),), used=0, now=now)
        # Where limits are shared, an adaptive one is still this process's own.
        own = demands if self._alone else demands[-1:] if adaptive else ()
        holds: list[Part] = []
        if own:
            hold = self._local.reserve_at(own, now)
            if isinstance(hold, Blocked):
                return hold
            holds.append(Part(hold, own))
        shared = demands[: len(demands) - len(own)]
        if shared:
            try:
                stored = await self._store.reserve(shared, call)
            except BaseException:
                self._give_back(holds, call)
                raise
            if isinstance(stored, Blocked):
                self._give_back(holds, call)
                return stored
            holds.append(Part(stored, shared))
        used = self._local.used(demands[-1], now) if adaptive else 0
        return Room(self.measures[leg.name], self.lines, request, call, holds, used=used, now=now)

    def _give_back(self, holds: Sequence[Part], call: Call) -> None:
        for hold, demands in holds:
            hold.end([0] * len(demands), call.clock())
            self.lines.freed(demands)

    def _peek(self, demands: Sequence[Demand], now: float) -> Blocked | None:
        return self._local.peek(demands, now) or (None if self._alone else self._store.peek(demands, now))


def _too_large(demands: Sequence[Demand]) -> Blocked | None:
    """Why a request would wait for ever."""
    for demand in demands:
        if demand.amount > demand.meter.amount:
            return Blocked(demand, None, math.inf)
    return None


def _text(demand: Demand) -> str:
    return demand.meter.text(demand.key)


def _when(blocked: Blocked, now: float) -> str:
    if blocked.sure == math.inf:
        demand = blocked.demand
        if demand.amount <= demand.meter.amount:
            return ", of which this process has a share while the store is away, and the request is larger than that"
        return f", and the request is larger than that ({demand.meter.shown(demand.amount)})"
    return "" if blocked.at is None else f", free in {max(blocked.at - now, 0.0):.3g} s"


def _exceeded(blocked: Blocked, now: float) -> LimitExceeded:
    at = blocked.at if blocked.at is not None or math.isinf(blocked.sure) else blocked.sure
    return LimitExceeded(
        f"no room: {_text(blocked.demand)}{_when(blocked, now)}",
        limit=_text(blocked.demand),
        retry_after_s=None if at is None else max(at - now, 0.0),
    )
