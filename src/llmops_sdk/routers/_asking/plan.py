"""The attempts of one request: which engine is next, after what wait, with how much time."""

from __future__ import annotations

import asyncio
import itertools
import math
from collections import deque
from collections.abc import Callable, Iterator
from operator import itemgetter
from typing import NamedTuple, NoReturn, TypeAlias

from llmops_sdk.calls import Call, LimitWaited, Retried, Routed
from llmops_sdk.errors import (
    AllEnginesFailed,
    Attempt,
    BudgetExceeded,
    ContextLengthError,
    DeadlineExceeded,
    EngineError,
    LimitExceeded,
)
from llmops_sdk.messages import Request
from llmops_sdk.routers._asking.fallbacks import rearranged, too_small
from llmops_sdk.routers._choosing.arranging import arranged
from llmops_sdk.routers._choosing.filters import Refusals, Refused, Remedy, nobody
from llmops_sdk.routers._legs.leg import Leg
from llmops_sdk.routers._limits import Gate, Reservation
from llmops_sdk.routers._table import Table

__all__ = ["FAILURES", "Failure", "Plan", "Turn"]

Failure: TypeAlias = EngineError | AllEnginesFailed | LimitExceeded | BudgetExceeded
FAILURES = (EngineError, AllEnginesFailed, LimitExceeded, BudgetExceeded)
"""What an attempt may end in, so that another engine is asked.

`LimitExceeded`: of a router among the engines. `BudgetExceeded`: another engine may be cheaper.
"""

_SLACK_S = 0.01  # so that the run's own deadline is over first, where there is a pipeline that holds to it


class Turn(NamedTuple):
    """An engine's turn: it has `timeout_s` seconds, and the room that was reserved for it."""

    leg: Leg
    timeout_s: float | None
    reservation: Reservation | None


class _Again(NamedTuple):
    """An engine that failed, and may be asked again as long as no more than `times` attempts came before."""

    leg: Leg
    error: Failure
    failed_at: float
    times: int

    def ready_at(self) -> float:
        """When it said that it can be asked again, or at once."""
        return self.failed_at + (getattr(self.error, "retry_after_s", None) or 0.0)


class Plan:
    """The attempts of one request.

    Engines are asked in this order: those that have not been asked and whose breaker is closed; those that have failed
    and may be asked again, after a wait; and when nobody else is left, those whose breaker is open, the one first
    whose next probe is nearest. So no request fails without an engine having been asked.

    Attributes:
        table: What the router goes by; a reload does not change it.
        call: The run.
        refused: The engines that are not tried, or only when nobody else is left.
        attempts: What has failed so far.
        attempt_timeout_s: Seconds for one attempt, besides the deadline.
    """

    __slots__ = (
        "_again",
        "_asked",
        "_left",
        "_request",
        "_router",
        "_shut",
        "_started",
        "_too_dear",
        "_waits",
        "attempt_timeout_s",
        "attempts",
        "call",
        "refused",
        "table",
    )

    def __init__(self, router: str, table: Table, request: Request, call: Call) -> None:
        self._router = router
        self.table = table
        self._request = request
        self.call = call
        self._left, self.refused, self._shut = arranged(table, request, call)
        self._again: list[_Again] = []
        self._asked = 0
        self._waits = 0
        self._started: dict[str, float] = {}
        self._too_dear: BudgetExceeded | None = None
        self.attempts: list[Attempt] = []
        self.attempt_timeout_s = table.attempt_timeout_s

    def record(self) -> None:
        """Put the route into the run's record."""
        left = self._left
        # Of many engines only the first: to put all in order may cost more than the rest of the router.
        known = left if type(left) is deque else itertools.islice(left, 1)
        names = tuple([leg.name for leg in known])
        self.call.record(Routed(self.call.clock(), self._router, names, self.refused.named))

    @property
    def can_go_on(self) -> bool:
        """Whether there is an engine left that could help."""
        return bool(self._left or self._shut or self._may_be_asked_again())

    @property
    def has_others(self) -> bool:
        """Whether there are engines that have not been asked."""
        return bool(self._left)

    def prefer_fresh(self) -> bool:
        """Put those that have gone quiet last, and behind them those that cannot be asked now.

        Gives whether there is one that can: its breaker lets it be asked, and the run can pay for it beside what is
        under way.
        """
        now = self.call.clock()

        def place(leg: Leg) -> tuple[bool, bool]:
            cannot = leg.refusal(now) is not None or leg.over_budget(self._request, self.call) is not None
            return cannot, leg.quiet(now)

        placed = sorted(((place(leg), leg) for leg in self._left), key=itemgetter(0))
        self._left = deque(leg for _, leg in placed)
        return bool(placed) and not placed[0][0][0]

    async def next(self) -> Turn:
        """The next engine's turn; waits first when it has been asked before, or when all are at their limits.

        Raises:
            AllEnginesFailed: There is none, or the wait would pass the deadline.
            DeadlineExceeded: The deadline was over before anybody was asked.
            LimitExceeded: All that are left are at their limits until after the deadline.
            UnsupportedError, ContextLengthError, BudgetExceeded: No engine can take the request.
        """
        while True:
            deadline = self.call.deadline
            if deadline is not None and self.call.clock() >= deadline:
                self._too_late()
            self._set_aside()
            last_resort = not self._left
            if last_resort:
                await self._come_back()
            gate = self.table.gate
            if gate is None:
                leg, reservation = self._left.popleft(), None
                break
            admitted = await self._admitted(gate)
            if admitted is None:
                continue
            leg, reservation = admitted
            if last_resort or leg.refusal(self.call.clock()) is None:
                break
            reservation.release()  # its breaker opened while it was waited for
            self._left.appendleft(leg)
        self._asked += 1
        share = self.attempt_timeout_s if deadline is None else self._share(leg, deadline)
        self._started[leg.name] = self.call.clock()
        return Turn(leg, share, reservation)

    async def next_of(self, able: Callable[[Leg], bool]) -> Turn | None:
        """The turn of an engine that is `able`, first of those not asked before; `None` when there is none.

        When the able one is at its limits, or its breaker opens, the turn may be another's.

        Raises:
            AllEnginesFailed: The wait before coming back to an engine would pass the deadline.
            LimitExceeded: All that are left are at their limits until after the deadline.
        """
        leg = next(filter(able, self._left), None)
        if leg is not None:
            self._left.remove(leg)
        else:
            again = [one for one in self._may_be_asked_again() if able(one.leg)]
            if not again:
                return None
            leg = await self._again_at(again)
        self._left.appendleft(leg)
        return await self.next()

    async def _admitted(self, gate: Gate) -> tuple[Leg, Reservation] | None:
        for leg in self._in_turn():
            try:
                reservation = await gate.reserve(leg, self._request, self.call)
            except LimitExceeded:
                continue
            if self._took(leg, reservation):
                return leg, reservation
        if not self._left:
            return None
        try:
            leg, reservation = await gate.wait(tuple(self._left), self._request, self.call)
        except LimitExceeded as exc:
            if self.attempts:
                self._give_up(exc, because=f", and for another attempt there is {exc}")
            raise
        return (leg, reservation) if self._took(leg, reservation) else None

    def _in_turn(self) -> Iterator[Leg]:
        """Those that are left now, whoever is taken out meanwhile; of many all are put in order only if need be."""
        first = self._left[0]
        yield first
        yield from [leg for leg in self._left if leg is not first]

    def _took(self, leg: Leg, reservation: Reservation) -> bool:
        """Whether it is still the engine's turn: while room was waited for, another attempt may have changed that."""
        if leg in self._left:
            self._left.remove(leg)
            return True
        reservation.release()
        return False

    def _too_late(self) -> NoReturn:
        within_s = self.call.deadline_s or 0.0
        if self.attempts:
            self._give_up(because=f" within the deadline of {within_s:.3g} s")
        raise DeadlineExceeded(f"no engine could be asked within {within_s:.3g} s", deadline_s=within_s)

    def _set_aside(self) -> None:
        """Refuse those at the front whose breaker is open by now, or that the run cannot pay for any more."""
        now = self.call.clock()
        while self._left:
            leg = self._left[0]
            shut = leg.refusal(now)
            if shut is not None:
                self._shut.append(leg)
                self._refuse(Refused(leg, shut))
            elif self.call.budget_usd is not None and (dear := leg.over_budget(self._request, self.call)) is not None:
                self._refuse_too_dear(leg, dear)
            else:
                return
            self._left.popleft()

    def _refuse(self, refused: Refused) -> None:
        self.refused = Refusals((*self.refused, refused))

    def _refuse_too_dear(self, leg: Leg, dear: BudgetExceeded) -> None:
        self._too_dear = dear
        self._refuse(Refused(leg, str(dear), Remedy.MONEY))

    async def _come_back(self) -> None:
        """Put the engine into the queue that can help when nobody else is left: one that failed, or was refused."""
        now = self.call.clock()
        again = self._may_be_asked_again()
        if again:
            self._left.appendleft(await self._again_at(again))
        elif self._shut:
            leg = min(self._shut, key=lambda leg: leg.breaker.ready_at(now))
            self._shut.remove(leg)
            await self._rest(leg)
            self._left.appendleft(leg)
        else:
            self._give_up()

    def _may_be_asked_again(self) -> list[_Again]:
        return [one for one in self._again if self._asked <= one.times] if self._again else self._again

    async def _again_at(self, ones: list[_Again]) -> Leg:
        """The one of these engines that is ready first, after its wait."""
        now = self.call.clock()
        one = min(ones, key=lambda one: (one.leg.refusal(now) is not None, one.ready_at()))
        self._again.remove(one)
        await self._back_off(one)
        return one.leg

    def _share(self, leg: Leg, deadline: float) -> float:
        """Seconds for this attempt, so that time is left for the engines that have not been asked.

        An engine that is not given the time of half of its answers would be asked in vain: it gets that in any case.
        """
        limit = self.attempt_timeout_s
        remaining = max(deadline - self.call.clock(), 0.0)
        share = remaining + _SLACK_S
        if self._left:
            share = min(max(remaining / (len(self._left) + 1), leg.usual_s(0.5) or 0.0), share)
        return share if limit is None else min(share, limit)

    def note(self, leg: Leg, exc: Failure, *, again: bool = False) -> None:
        """Keep a failure, and see who can help now.

        The engine may be asked again if that can help, and if `again` says so, as after any failure that passes.
        """
        if isinstance(exc, BudgetExceeded):
            self._refuse_too_dear(leg, exc)
            return
        now = self.call.clock()
        if isinstance(exc, AllEnginesFailed):
            self.attempts += [one._replace(engine=f"{leg.name}/{one.engine}") for one in exc.attempts]
        else:
            self.attempts.append(Attempt(leg.name, exc, now - self._started[leg.name]))
        times = self.table.retries.times if again else self.table.retries.rule(exc)
        if times not in (0, "never"):
            self._again.append(_Again(leg, exc, now, int(times)))
        if isinstance(exc, ContextLengthError):
            self._leave_out_too_small(leg, exc)
        if self._left:
            after = self.table.fallbacks.get(leg.name, ())
            self._left = deque(rearranged(self._left, leg, exc, after, now))

    def failed(self, leg: Leg, exc: Failure) -> None:
        """Keep a failure; raise when nothing is left that could help."""
        self.note(leg, exc)
        self.check(exc)

    def check(self, exc: Failure) -> None:
        """Raise when nothing is left that could help after `exc`, which has been noted."""
        if self.is_hopeless(exc):
            raise exc
        if not self.can_go_on:
            self._give_up(exc)

    def is_hopeless(self, exc: Failure) -> bool:
        """Whether no engine will do better."""
        return not isinstance(exc, BudgetExceeded) and self.table.retries.rule(exc) == "never"

    def _leave_out_too_small(self, failed: Leg, exc: ContextLengthError) -> None:
        for queue in (self._left, self._shut):
            for leg in tuple(queue):
                reason = too_small(leg, failed, exc)
                if reason is not None:
                    queue.remove(leg)
                    self._refuse(Refused(leg, reason, Remedy.SHORTER))
        self._again = [one for one in self._again if too_small(one.leg, failed, exc) is None]

    def _give_up(self, cause: BaseException | None = None, *, because: str = "") -> NoReturn:
        if not self.attempts:
            raise self._too_dear or nobody(self._router, self.refused, self._request, self.call)
        full = [attempt.error for attempt in self.attempts if isinstance(attempt.error, LimitExceeded)]
        if len(full) == len(self.attempts):  # by the limits of routers among the engines: nobody was asked
            raise min(full, key=lambda one: math.inf if one.retry_after_s is None else one.retry_after_s) from cause
        why = "".join(f"; {one.leg.name} was not asked: {one.reason}" for one in self.refused)
        failed = AllEnginesFailed(f"no engine of {self._router!r} could answer{because}{why}", self.attempts)
        if self._too_dear is not None:
            raise self._too_dear from failed
        raise failed from cause

    async def _back_off(self, one: _Again) -> None:
        """Wait before an engine is asked again."""
        now = self.call.clock()
        if getattr(one.error, "retry_after_s", None) is None:
            self._waits += 1
            delay_s = self.table.retries.back_off_s(self._waits)
        else:
            delay_s = max(one.ready_at() - now, 0.0)
        remaining = self.call.remaining_s()
        if remaining is not None and delay_s >= remaining:
            self._give_up(one.error, because=f", and waiting {delay_s:.1f} s passes the deadline")
        self.call.record(Retried(now, one.leg.name, delay_s, one.error))
        await asyncio.sleep(delay_s)

    async def _rest(self, leg: Leg) -> None:
        """Let an engine rest as long as it wants, if that is not too long: it would only refuse to answer again."""
        started = self.call.clock()
        delay_s = leg.breaker.rest_s(started)
        remaining = self.call.remaining_s()
        if 0.0 < delay_s <= self.table.retries.most_s and (remaining is None or delay_s < remaining):
            await asyncio.sleep(delay_s)
            self.call.record(LimitWaited(started, self.call.clock(), f"Retry-After of {leg.name}"))
