"""The attempts of one request: which engine is next, after what wait, with how much time."""

from __future__ import annotations

import asyncio
import itertools
from collections import deque
from collections.abc import Callable
from typing import NamedTuple

from llmops_sdk.calls import Call, Retried, Routed
from llmops_sdk.errors import (
    AllEnginesFailed,
    Attempt,
    BadRequestError,
    ContextLengthError,
    EngineError,
    LimitExceeded,
    LlmopsError,
    UnsupportedError,
)
from llmops_sdk.messages import Request
from llmops_sdk.routers._arranging import Unasked, arranged
from llmops_sdk.routers._filters import nobody
from llmops_sdk.routers._leg import Leg
from llmops_sdk.routers._limits import Reservation
from llmops_sdk.routers._strategies import Escalates
from llmops_sdk.routers._table import Table

__all__ = ["Plan", "Turn"]


class Turn(NamedTuple):
    """An engine's turn: it has `timeout_s` seconds, and the room that was reserved for it."""

    leg: Leg
    timeout_s: float | None
    reservation: Reservation | None


class Plan:
    """The attempts of one request.

    Attributes:
        table: What the router goes by; a reload does not change it.
        call: The run.
        refused: The engines that are not tried.
        attempts: What has failed so far.
        escalates: How the strategy judges an answer, `None` when it is content with any.
        judged_form: What an engine is asked whose answer is judged.
    """

    def __init__(self, router: str, table: Table, request: Request, call: Call) -> None:
        self._router = router
        self.table = table
        self._request = request
        self.call = call
        self._left, self.refused = arranged(table, request, call)
        self._again: deque[Leg] = deque()
        self._attempts_left = max(len(self._left), 1 + table.retries)
        self._started = 0.0
        self.attempts: list[Attempt] = []
        self.escalates: Escalates | None = getattr(table.strategy, "escalates", None)
        self.judged_form: Callable[[Request], Request] = getattr(table.strategy, "judged_form", _as_it_is)

    def record(self) -> None:
        """Put the route into the run's record."""
        # Of many engines only the first: to put all in order may cost more than the rest of the router.
        known = itertools.islice(self._left, 1) if isinstance(self._left, Unasked) else self._left
        names = tuple(leg.name for leg in known)
        self.call.record(Routed(self.call.clock(), self._router, names, self.refused.named))

    @property
    def can_go_on(self) -> bool:
        """Whether there is an engine left that could help."""
        return self._attempts_left > 0 and bool(self._left or self._again)

    @property
    def is_last(self) -> bool:
        """Whether all engines have had their turn."""
        return not self._left

    async def next(self) -> Turn:
        """The next engine's turn; waits first when it has been asked before, or when all are at their limits.

        Raises:
            AllEnginesFailed: There is none, or the wait would pass the deadline.
            UnsupportedError, ContextLengthError, BudgetExceeded: No engine can take the request.
            LimitExceeded: All that are left are at their limits until after the deadline.
        """
        if not self._left and self._again:
            self._left, self._again = self._again, deque()
            await self._back_off(next(iter(self._left)))
        if not self._left:
            raise self._failure()
        leg, reservation = await self._admitted()
        self._attempts_left -= 1
        share = self._share()
        self._started = self.call.clock()
        return Turn(leg, share, reservation)

    async def _admitted(self) -> tuple[Leg, Reservation | None]:
        gate = self.table.gate
        if gate is None:
            return self._left.popleft(), None
        for leg in self._left:
            try:
                reservation = await gate.reserve(leg, self._request, self.call)
            except LimitExceeded:
                continue
            self._left.remove(leg)
            return leg, reservation
        leg, reservation = await gate.wait(tuple(self._left), self._request, self.call)
        self._left.remove(leg)
        return leg, reservation

    def _share(self) -> float | None:
        """Seconds for this attempt, so that time is left for the engines that have not been asked."""
        share = self.table.attempt_timeout_s
        remaining = self.call.remaining_s()
        if remaining is not None and self._left:
            part = max(remaining, 0.0) / (len(self._left) + 1)
            share = part if share is None else min(share, part)
        return share

    def note(self, leg: Leg, exc: EngineError | AllEnginesFailed) -> None:
        """Keep a failure; the engine may be asked again if that can help."""
        self.attempts.append(Attempt(leg.name, exc, self.call.clock() - self._started))
        if getattr(exc, "retryable", True):
            self._again.append(leg)

    def failed(self, leg: Leg, exc: EngineError | AllEnginesFailed) -> None:
        """Keep a failure; raise when nothing is left that could help."""
        self.note(leg, exc)
        if isinstance(exc, BadRequestError) and not isinstance(exc, (ContextLengthError, UnsupportedError)):
            raise exc
        if not self.can_go_on:
            raise self._failure() from exc

    def _failure(self) -> LlmopsError:
        if self.refused and not self.attempts:
            return nobody(self._router, self.refused, self._request, self.call)
        why = "".join(f"; {one.leg.name} was not asked: {one.reason}" for one in self.refused)
        return AllEnginesFailed(f"no engine of {self._router!r} could answer{why}", self.attempts)

    async def _back_off(self, leg: Leg) -> None:
        import tenacity  # noqa: PLC0415  (costs 20 ms; only failures need it)

        error = self.attempts[-1].error
        said = getattr(error, "retry_after_s", None)
        if said is None:
            state = tenacity.RetryCallState(retry_object=None, fn=None, args=(), kwargs={})  # type: ignore[arg-type]
            state.attempt_number = len(self.attempts)
            said = tenacity.wait_random_exponential(multiplier=0.1, max=10)(state)
        remaining = self.call.remaining_s()
        if remaining is not None and said >= remaining:
            raise AllEnginesFailed(
                f"no engine of {self._router!r} could answer, and waiting {said:.1f} s passes the deadline",
                self.attempts,
            ) from error
        self.call.record(Retried(self.call.clock(), leg.name, said, error))
        await asyncio.sleep(said)


def _as_it_is(request: Request) -> Request:
    return request
