"""One attempt, and another engine beside it when it is slow."""

from __future__ import annotations

import asyncio
import logging

from llmops_sdk.calls import Call, Hedged
from llmops_sdk.errors import DeadlineExceeded, LlmopsError
from llmops_sdk.messages import Request, Response
from llmops_sdk.routers._hedging import Hedge, HedgeBudget
from llmops_sdk.routers._leg import Leg
from llmops_sdk.routers._plan import FAILURES, Plan, Turn

__all__ = ["Race"]

log = logging.getLogger("llmops_sdk")

_LOOK_AGAIN_S = 0.05  # while nobody knows what is slow
_CLOSE_S = 0.03  # for the loser to put its things away; it is cancelled before, and left alone after


class Race:
    """One attempt in the caller's own task, and another engine in a task beside it once the first one is late.

    As long as nothing is late all that it costs is a timer. The caller's task is woken from the attempt that lost in
    the way of `asyncio.timeout`: it is cancelled, and the cancellation is taken back.
    """

    def __init__(self, plan: Plan, request: Request, call: Call, hedge: Hedge, budget: HedgeBudget, turn: Turn) -> None:
        self._plan = plan
        self._request = request
        self._call = call
        self._hedge = hedge
        self._budget = budget
        self._turn = turn
        self._started = call.clock()
        self._timer: asyncio.TimerHandle | None = None
        self._second: asyncio.Task[tuple[Leg, Response] | None] | None = None
        self._late_after_s = 0.0
        self._over = False
        self._overtaken = False
        self._task = asyncio.current_task()
        self._cancelling = 0 if self._task is None else self._task.cancelling()

    async def run(self) -> tuple[Leg, Response] | None:
        """The first answer, and who gave it; `None` when those that were asked have failed and somebody else can help.

        Raises:
            AllEnginesFailed: They have failed, and nobody else can help; and whatever else `Plan.check` raises.
        """
        leg, timeout_s, reservation = self._turn
        self._budget.earn()
        after_s = self._hedge.after(leg)
        self._look_again(_LOOK_AGAIN_S if after_s is None else after_s)
        try:
            response = await leg.generate(self._request, self._call, timeout_s, reservation)
        except asyncio.CancelledError:
            if not self._take_back():
                raise
            leg.overtaken(self._late_after_s, self._call.clock())
            assert self._second is not None
            return self._second.result()
        except FAILURES as exc:
            self._stop_looking()
            self._plan.note(leg, exc)
            if self._second is not None and not self._plan.is_hopeless(exc):
                answer = await self._second
                if answer is not None:
                    return answer
            self._plan.check(exc)
            return None
        finally:
            self._stop_looking()
            self._take_back()
            if self._second is not None and not self._second.done():
                self._second.cancel()
                await asyncio.wait((self._second,), timeout=_CLOSE_S)
        return leg, response

    def _look_again(self, in_s: float) -> None:
        self._timer = asyncio.get_running_loop().call_later(in_s, self._look)

    def _stop_looking(self) -> None:
        self._over = True
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _look(self) -> None:
        """Is it late? Then ask another engine beside it, if there is one, and room in the budget."""
        leg = self._turn.leg
        now = self._call.clock()
        waited_s = now - self._started
        after_s = self._hedge.after(leg)
        if after_s is None:
            self._look_again(_LOOK_AGAIN_S)
        elif waited_s < after_s:  # it has become slower since, or the two clocks differ by a hair
            self._look_again(max(after_s - waited_s, 0.001))
        elif not self._plan.has_fresh:
            return
        elif leg.refusal(now) is None and not self._budget.take():
            self._look_again(after_s)
        else:
            self._late_after_s = waited_s
            self._second = asyncio.get_running_loop().create_task(self._ask_beside())
            self._second.add_done_callback(self._second_ended)

    async def _ask_beside(self) -> tuple[Leg, Response] | None:
        """The answer of one of the engines that were not asked yet; `None` when none of them gives one."""
        plan, call = self._plan, self._call
        while plan.has_fresh:
            try:
                leg, timeout_s, reservation = await plan.next()
            except (*FAILURES, DeadlineExceeded):
                return None  # nobody has room, or time: the attempt that is under way goes on alone
            call.record(Hedged(call.clock(), leg.name, call.clock() - self._started))
            try:
                return leg, await leg.generate(self._request, call, timeout_s, reservation)
            except FAILURES as exc:
                plan.note(leg, exc)
                if plan.is_hopeless(exc):
                    return None
        return None

    def _second_ended(self, second: asyncio.Task[tuple[Leg, Response] | None]) -> None:
        if second.cancelled():
            return
        error = second.exception()
        if error is not None:
            if self._over and not isinstance(error, LlmopsError):  # nobody waits for it any more
                log.error("the engine that was asked beside a slow one broke", exc_info=error)
        elif second.result() is not None and not self._over and self._task is not None:
            self._overtaken = True
            self._task.cancel()

    def _take_back(self) -> bool:
        """Take our own cancellation back; whether there was one, and nobody else had cancelled the task, too."""
        if not self._overtaken or self._task is None:
            return False
        self._overtaken = False
        return self._task.uncancel() <= self._cancelling
