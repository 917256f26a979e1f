"""A second stream beside one that is slow to begin: the first to give a chunk goes on, the other one is closed."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator
from typing import NamedTuple

from llmops_sdk.calls import Call, Hedged
from llmops_sdk.errors import AllEnginesFailed, EngineError, LimitExceeded
from llmops_sdk.messages import Chunk, ChunkJoiner, Request
from llmops_sdk.routers._continuation import time_between
from llmops_sdk.routers._hedging import Hedge
from llmops_sdk.routers._leg import Leg
from llmops_sdk.routers._plan import Plan, Turn

__all__ = ["Runner", "race"]

_MOST_CHUNKS = 256
"""Chunks that may wait for their reader; then the engine waits."""


class Runner(NamedTuple):
    """An engine's stream, and what has been read of it."""

    leg: Leg
    chunks: AsyncGenerator[Chunk, None]
    told: ChunkJoiner


async def race(plan: Plan, hedge: Hedge, request: Request, call: Call) -> Runner:
    """The stream of the first engine that gives a chunk, or of the last one that fails.

    Raises:
        AllEnginesFailed: There is no engine left.
    """
    runners = [_Pumped(await plan.next(), plan, request, call)]
    winner: _Pumped | None = None
    try:
        after_s = hedge.after(runners[0].leg, call.clock())
        if after_s is not None:
            await asyncio.wait({runners[0].begun}, timeout=after_s)
            if not runners[0].begun.done() and plan.has_fresh:
                with contextlib.suppress(LimitExceeded):  # then nobody is asked beside it
                    turn = await plan.next()
                    call.record(Hedged(call.clock(), turn.leg.name, after_s))
                    runners.append(_Pumped(turn, plan, request, call))
        winner = await _first(runners, plan)
        return Runner(winner.leg, winner.chunks(), winner.told)
    finally:
        for runner in runners:
            if runner is not winner:
                await runner.aclose()


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
        between_s = time_between(plan, call)
        self._task = loop.create_task(
            self._pump(leg.stream(request, call, timeout_s, reservation, chunk_timeout_s=between_s))
        )
        self._task.add_done_callback(self._ended)

    async def _pump(self, chunks: AsyncGenerator[Chunk, None]) -> None:
        async with contextlib.aclosing(chunks):
            async for chunk in chunks:
                if not self.begun.done():
                    self.begun.set_result(None)
                await self._waiting.put(chunk)

    def _ended(self, _: asyncio.Task[None]) -> None:
        if not self.begun.done():
            self.begun.set_result(None)
        with contextlib.suppress(asyncio.QueueFull):  # then the reader sees for itself that the task is done
            self._waiting.put_nowait(None)

    def failure(self) -> EngineError | AllEnginesFailed | None:
        """Why no chunk came, if that is the engine's fault."""
        if not self._task.done() or self._task.cancelled() or self._waiting.qsize() > 1:
            return None
        error = self._task.exception()
        return error if isinstance(error, EngineError | AllEnginesFailed) else None

    async def chunks(self) -> AsyncGenerator[Chunk, None]:
        try:
            while not (self._task.done() and self._waiting.empty()):
                chunk = await self._waiting.get()
                if chunk is not None:
                    self.told.add(chunk)
                    yield chunk
            self._task.result()
        finally:
            await self.aclose()

    async def aclose(self) -> None:
        """Stop the engine's work, if it is still at it."""
        if not self._task.done():
            self._task.cancel()
            await asyncio.wait({self._task})
        if not self._task.cancelled():
            self._task.exception()  # it was seen: where it matters it is raised by who reads the chunks
