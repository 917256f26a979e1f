"""A second stream beside one that is slow to begin: the first to give a chunk goes on, the other one is closed."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Coroutine
from typing import NamedTuple

from llmops_sdk.calls import Call, Hedged
from llmops_sdk.errors import DeadlineExceeded
from llmops_sdk.messages import Chunk, ChunkJoiner, Request
from llmops_sdk.routers._asking.continuation import time_between
from llmops_sdk.routers._asking.plan import FAILURES, Failure, Plan, Turn
from llmops_sdk.routers._hedging.answers import put_away
from llmops_sdk.routers._hedging.hedge import Hedge, HedgeBudget
from llmops_sdk.routers._legs.leg import Leg

__all__ = ["Runner", "race"]

_LOOK_AGAIN_S = 0.05  # while nobody knows what is slow, or nobody else can be asked
_MOST_CHUNKS = 256
"""Chunks that may wait for their reader; then the engine waits."""


class Runner(NamedTuple):
    """An engine's stream, and what has been read of it."""

    leg: Leg
    chunks: AsyncGenerator[Chunk, None]
    told: ChunkJoiner


async def race(plan: Plan, turn: Turn, hedge: Hedge, budget: HedgeBudget, request: Request, call: Call) -> Runner:
    """The stream of the first engine that gives a chunk, or of the last one that fails; it begins with `turn`."""
    first = _Pumped(turn, plan, request, call)
    runners = [first]
    budget.earn()
    try:
        late_s = await _until_late(first, plan, hedge, budget)
        if late_s is not None:
            await _unless_begun(first, _beside(plan, request, call, late_s, runners))
        winner = await _first(runners, plan)
        overtaken = winner is not first and not first.begun.done()
        await put_away(*(runner.task for runner in runners if runner is not winner))
        if overtaken and late_s is not None:
            first.leg.overtaken(late_s, call.clock(), first_chunk=True)
        return Runner(winner.leg, winner.chunks(), winner.told)
    except BaseException:
        await put_away(*(runner.task for runner in runners))  # the winner, too, when the caller left meanwhile
        raise


async def _until_late(runner: _Pumped, plan: Plan, hedge: Hedge, budget: HedgeBudget) -> float | None:
    """Wait for the first chunk; seconds after which another engine may be asked beside it, `None` when it has begun."""
    clock = plan.call.clock
    started = clock()
    while True:
        now = clock()
        waited_s = now - started
        after_s = hedge.after(runner.leg, now, first_chunk=True)
        look_s = hedge.look_after(runner.leg, first_chunk=True)
        if look_s is not None and waited_s < look_s:
            after_s = look_s
        wait_s: float | None = _LOOK_AGAIN_S
        if not plan.has_others:
            wait_s = None
        elif after_s is not None and waited_s < after_s:
            wait_s = max(after_s - waited_s, 0.001)
        elif after_s is not None and plan.prefer_fresh():
            if runner.leg.refusal(clock()) is not None or budget.take():
                return waited_s
            wait_s = after_s
        await asyncio.wait({runner.begun}, timeout=wait_s)
        if runner.begun.done():
            return None


async def _unless_begun(first: _Pumped, asking: Coroutine[None, None, None]) -> None:
    """Have one asked beside `first`, unless `first` begins while that one still waits for room."""
    task = asyncio.get_running_loop().create_task(asking)
    try:
        await asyncio.wait((task, first.begun), return_when=asyncio.FIRST_COMPLETED)
        if first.failure() is not None:  # then it is the only one, and has all the time that it needs
            await asyncio.wait((task,))
    finally:
        await put_away(task)
    if not task.cancelled():
        task.result()


async def _beside(plan: Plan, request: Request, call: Call, late_s: float, runners: list[_Pumped]) -> None:
    """Let another engine join the `runners`."""
    try:
        turn = await plan.next()
    except (*FAILURES, DeadlineExceeded):
        return  # nobody has room, time or money: the stream that is under way goes on alone
    call.record(Hedged(call.clock(), turn.leg.name, late_s))
    runners.append(_Pumped(turn, plan, request, call))


async def _first(runners: list[_Pumped], plan: Plan) -> _Pumped:
    """The first that has begun; one that fails is out of the race, unless it is the last."""
    racing = list(runners)
    while True:
        await asyncio.wait([runner.begun for runner in racing], return_when=asyncio.FIRST_COMPLETED)
        for runner in [one for one in racing if one.begun.done()]:
            failure = runner.failure()
            if failure is None or len(racing) == 1:
                return runner
            plan.note(runner.leg, failure)
            racing.remove(runner)


class _Pumped:
    """A stream that is read by a task of its own, which also closes it: some transports want both from one task.

    Attributes:
        leg: The engine.
        task: Its reader.
        told: What has been read.
        begun: Done when there is a chunk, or when there will be none.
    """

    def __init__(self, turn: Turn, plan: Plan, request: Request, call: Call) -> None:
        leg, timeout_s, reservation = turn
        loop = asyncio.get_running_loop()
        self.leg = leg
        self.told = ChunkJoiner()
        self.begun: asyncio.Future[None] = loop.create_future()
        self._waiting: asyncio.Queue[Chunk | None] = asyncio.Queue(_MOST_CHUNKS)
        self._unused = reservation
        between_s = time_between(plan, call)
        self.task = loop.create_task(
            self._pump(leg.stream(request, call, timeout_s, reservation, chunk_timeout_s=between_s))
        )
        self.task.add_done_callback(self._ended)

    async def _pump(self, chunks: AsyncGenerator[Chunk, None]) -> None:
        self._unused = None
        async with contextlib.aclosing(chunks):
            async for chunk in chunks:
                if not self.begun.done():
                    self.begun.set_result(None)
                await self._waiting.put(chunk)

    def _ended(self, task: asyncio.Task[None]) -> None:
        if self._unused is not None:  # it was stopped before it could begin
            self._unused.release()
        if not task.cancelled():
            task.exception()  # it was seen: where it matters it is raised by who reads the chunks
        if not self.begun.done():
            self.begun.set_result(None)
        with contextlib.suppress(asyncio.QueueFull):  # then the reader sees for itself that the task is done
            self._waiting.put_nowait(None)

    def failure(self) -> Failure | None:
        """Why no chunk came, if that is the engine's fault."""
        if not self.task.done() or self.task.cancelled() or self._waiting.qsize() > 1:
            return None
        error = self.task.exception()
        return error if isinstance(error, FAILURES) else None

    async def chunks(self) -> AsyncGenerator[Chunk, None]:
        try:
            while not (self.task.done() and self._waiting.empty()):
                chunk = await self._waiting.get()
                if chunk is not None:
                    self.told.add(chunk)
                    yield chunk
            self.task.result()
        finally:
            if not self.task.done():
                await put_away(self.task)
