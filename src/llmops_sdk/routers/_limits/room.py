"""Room that an attempt holds, and what of it is given back when the attempt has ended."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from typing import NamedTuple

from llmops_sdk.calls import Call
from llmops_sdk.errors import AllEnginesFailed, EngineConnectionError, EngineError, LimitExceeded
from llmops_sdk.messages import RateLimit, Request, Usage
from llmops_sdk.routers._limits.lines import Lines
from llmops_sdk.routers._limits.measures import Measures, nano_usd
from llmops_sdk.routers._limits.meters import TOKENS, USD, Demand, Hold

__all__ = ["Part", "Room"]

_NOTHING = Usage()


class Room:
    """Room that one attempt holds; see `Reservation`."""

    __slots__ = ("_call", "_holds", "_lines", "_measures", "_request", "_started", "_used")

    def __init__(
        self,
        measures: Measures,
        lines: Lines,
        request: Request,
        call: Call,
        holds: Sequence[Part],
        *,
        used: int,
        now: float,
    ) -> None:
        self._measures = measures
        self._lines = lines
        self._request = request
        self._call = call
        self._holds = holds
        self._started = now
        self._used = used

    def settle(
        self,
        usage: Usage | None,
        cost_usd: Decimal | None,
        /,
        *,
        error: BaseException | None = None,
        rate_limit: RateLimit | None = None,
    ) -> None:
        now = self._call.clock()
        measures = self._measures
        if usage is not None and error is None:
            measures.estimates.learn(usage, self._request.n)
        if measures.adapting is not None:
            measures.adapting.ended(self._started, now, self._used, error, rate_limit)
        if usage is None and error is not None and _was_refused(error):
            usage, cost_usd = _NOTHING, Decimal(0)
        for hold, demands in self._holds:
            hold.end([_taken(demand, usage, cost_usd) for demand in demands], now)
            self._lines.freed(demands)

    def release(self) -> None:
        now = self._call.clock()
        for hold, demands in self._holds:
            hold.end([0] * len(demands), now)
            self._lines.freed(demands)


class Part(NamedTuple):
    hold: Hold
    demands: Sequence[Demand]


def _taken(demand: Demand, usage: Usage | None, cost_usd: Decimal | None) -> int:
    quantity = demand.meter.quantity
    if quantity is TOKENS and usage is not None:
        return usage.total_tokens
    if quantity is USD and cost_usd is not None:
        return nano_usd(cost_usd)
    return demand.amount


def _was_refused(error: BaseException) -> bool:
    """Whether an engine said no, or was never reached: nothing was generated then, and nobody bills for it."""
    if isinstance(error, AllEnginesFailed):
        return all(_was_refused(attempt.error) for attempt in error.attempts)
    if isinstance(error, LimitExceeded):
        return True
    if isinstance(error, EngineConnectionError):
        return error.stage in ("look-up", "connect", "tls")
    return isinstance(error, EngineError) and error.status_code is not None and error.status_code >= 400
