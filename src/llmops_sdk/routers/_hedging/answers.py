"""One attempt, and another engine beside it when it is slow."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable
from typing import Any, TypeAlias

from llmops_sdk.calls import Hedged
from llmops_sdk.errors import BudgetExceeded, DeadlineExceeded, LlmopsError
from llmops_sdk.messages import Request, Response
from llmops_sdk.routers._asking.plan import FAILURES, Failure, Plan, Turn
from llmops_sdk.routers._hedging.hedge import Hedge, HedgeBudget
from llmops_sdk.routers._legs.leg import Leg

__all__ = ["Answer", "Race", "put_away"]

log = logging.getLogger("llmops_sdk")

Answer: TypeAlias = tuple[Leg, Response]
"""Who answered, and what."""

_LOOK_AGAIN_S = 0.05  # while nobody knows what is slow, or nobody else can be asked
_CLOSE_S = 0.03  # for a loser to put its things away; it is cancelled before, and left alone after


class Race:
    """One attempt in the caller's own task, and another engine in a task beside it once the first one is late.

    Two engines at most are at work. When one fails the other one carries on, and the race goes on from there.

    As long as nothing is late all that it costs is a timer. The caller's task is woken from the attempt that lost in
    the way of `asyncio.timeout`: it is cancelled, and the cancellation is taken back.
    """

    __slots__ = (
        "_beside",
        "_beside_since",
        "_budget",
        "_call",
        "_cancelling",
        "_choosing",
        "_failure",
        "_hedge",
        "_late_after_s",
        "_leg",
        "_overtaken",
        "_paid",
        "_plan",
        "_request",
        "_since",
        "_task",
        "_timer",
    )

    def __init__(self, plan: Plan, request: Request, hedge: Hedge, budget: HedgeBudget, turn: Turn) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._task = task
        self._cancelling = task.cancelling()
        self._plan = plan
        self._call = plan.call
        self._request = request
        self._hedge = hedge
        self._budget = budget
        self._leg, self._since = turn.leg, plan.call.clock()
        self._timer: asyncio.TimerHandle | None = None
        self._beside: asyncio.Task[Answer | None] | None = None
        self._failure: Failure | None = None
        self._choosing = False
        self._overtaken = False
        self._paid = False
        self._late_after_s = 0.0

    async def run(self, turn: Turn) -> Answer | None:
        """The first answer, and who gave it; `None` when those that were asked have failed and somebody else can help.

        Raises:
            AllEnginesFailed: They have failed, and nobody else can help; and whatever else `Plan.check` raises.
        """
        self._budget.earn()
        attempt: Awaitable[Answer | None] = self._attempt(turn)
        after_s = self._hedge.look_after(self._leg)
        self._look_again(_LOOK_AGAIN_S if after_s is None else after_s)
        try:
            while True:
                answer = await attempt
                if answer is not None:
                    return answer
                if self._beside is None or self._is_hopeless():
                    self._check()
                    return None
                # The one beside it is now the one that is waited for.
                attempt, self._beside = self._beside, None
                self._leg, self._since = self._beside_since
                self._look()
        except asyncio.CancelledError:
            if not self._take_back():
                raise
            assert self._beside is not None
            self._leg.overtaken(self._late_after_s, self._call.clock())
            return self._beside.result()
        finally:
            self._stop_looking()
            self._take_back()
            beside, self._beside = self._beside, None
            if beside is not None:
                await put_away(beside)

    async def _attempt(self, turn: Turn) -> Answer | None:
        leg, timeout_s, reservation = turn
        try:
            return leg, await leg.generate(self._request, self._call, timeout_s, reservation)
        except FAILURES as exc:
            self._plan.note(leg, exc)
            self._failure = exc
            return None

    def _look_again(self, in_s: float) -> None:
        self._stop_looking()
        self._timer = asyncio.get_running_loop().call_later(in_s, self._look)

    def _stop_looking(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _look(self) -> None:
        """Is it late? Then ask another engine beside it, if there is one, and room in the budget."""
        if not self._plan.has_others or self._is_hopeless():
            return
        if self._choosing:  # the one that was beside has no engine yet: a plan gives one turn at a time
            self._look_again(_LOOK_AGAIN_S)
            return
        leg = self._leg
        now = self._call.clock()
        waited_s = now - self._since
        after_s = self._hedge.after(leg, now)
        if after_s is None:
            self._look_again(_LOOK_AGAIN_S)
        elif waited_s < after_s:  # it has become slower since, or the two clocks differ by a hair
            self._look_again(max(after_s - waited_s, 0.001))
        elif not self._plan.prefer_fresh():
            self._look_again(_LOOK_AGAIN_S)
        elif not (self._paid or leg.refusal(now) is not None or self._budget.take()):
            self._look_again(after_s)
        else:
            self._paid = True
            self._late_after_s = waited_s
            self._beside_since = leg, now
            self._choosing = True
            self._beside = asyncio.get_running_loop().create_task(self._ask_beside(waited_s))
            self._beside.add_done_callback(self._beside_ended)

    async def _ask_beside(self, waited_s: float) -> Answer | None:
        try:
            turn = await self._plan.next()
        except (*FAILURES, BudgetExceeded, DeadlineExceeded):
            return None  # nobody has room, or time: the attempt that is under way goes on alone
        finally:
            self._choosing = False
        now = self._call.clock()
        if self._beside is asyncio.current_task():
            self._beside_since = turn.leg, now
        else:  # the other one has failed meanwhile
            self._leg, self._since = turn.leg, now
        self._call.record(Hedged(now, turn.leg.name, waited_s))
        return await self._attempt(turn)

    def _beside_ended(self, task: asyncio.Task[Answer | None]) -> None:
        if task is not self._beside or task.cancelled() or task.exception() is not None:
            return  # whoever waits for it, or puts it away, sees that
        if task.result() is not None:
            self._overtaken = True
            self._task.cancel()
        else:
            self._beside = None
            self._look_again(_LOOK_AGAIN_S)

    def _is_hopeless(self) -> bool:
        return self._failure is not None and self._plan.is_hopeless(self._failure)

    def _check(self) -> None:
        assert self._failure is not None
        self._plan.check(self._failure)

    def _take_back(self) -> bool:
        """Take our own cancellation back; whether there was one, and nobody else had cancelled the task, too."""
        if not self._overtaken:
            return False
        self._overtaken = False
        return self._task.uncancel() <= self._cancelling


async def put_away(*tasks: asyncio.Task[Any]) -> None:
    """Stop all of these at once. Those that will not be stopped are left alone after a moment, not waited for."""
    under_way = [task for task in tasks if not task.done()]
    for task in under_way:
        task.cancel()
    for task in tasks:
        task.add_done_callback(_seen)
    if under_way:
        await asyncio.wait(under_way, timeout=_CLOSE_S)


def _seen(task: asyncio.Task[Any]) -> None:
    """Nobody waits for it any more: what it was raised for is not lost, unless it has been recorded already."""
    if not task.cancelled() and (error := task.exception()) is not None and not isinstance(error, LlmopsError):
        log.error("an engine that was asked beside another one broke", exc_info=error)
