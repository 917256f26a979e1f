"""Streams: the engines of a plan are asked until one has finished its answer; a broken stream is taken up elsewhere."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncGenerator

from llmops_sdk.calls import Call
from llmops_sdk.engines import chunks_of
from llmops_sdk.messages import Chunk, ChunkJoiner, Request
from llmops_sdk.routers._asking.answers import answered
from llmops_sdk.routers._asking.continuation import Broken, has_begun, time_between
from llmops_sdk.routers._asking.plan import FAILURES, Plan
from llmops_sdk.routers._hedging.streams import Runner, race

__all__ = ["streamed"]


async def streamed(plan: Plan, request: Request, call: Call) -> AsyncGenerator[Chunk, None]:
    """The chunks of one answer, whoever gives them.

    Raises:
        AllEnginesFailed: Nobody did, and nothing had been emitted.
        StreamInterrupted: The stream broke, and could not be taken up elsewhere.
    """
    if plan.table.escalates is not None:  # nobody can judge an answer before it is there
        for chunk in chunks_of(await answered(plan, request, call)):
            yield chunk
        return
    if plan.table.first_chunk_timeout_s is not None:
        plan.attempt_timeout_s = plan.table.first_chunk_timeout_s
    broken: Broken | None = None
    while broken is None:
        leg, chunks, told = await _begun(plan, request, call)
        try:
            async with contextlib.aclosing(chunks):
                async for chunk in chunks:
                    yield chunk
            return
        except FAILURES as exc:
            if has_begun(told):
                broken = Broken(plan, request, call, told)
                broken.blame(leg, exc)
            else:
                plan.failed(leg, exc)
    async with contextlib.aclosing(broken.rest()) as rest:
        async for chunk in rest:
            yield chunk


async def _begun(plan: Plan, request: Request, call: Call) -> Runner:
    """The next engine's stream, of which nobody has seen anything yet."""
    turn = await plan.next()
    table = plan.table
    if table.hedge is not None and table.hedge_budget is not None and plan.has_others:
        return await race(plan, turn, table.hedge, table.hedge_budget, request, call)
    leg, timeout_s, reservation = turn
    told = ChunkJoiner()
    between_s = time_between(plan, call)
    chunks = leg.stream(request, call, timeout_s, reservation, chunk_timeout_s=between_s, joiner=told)
    return Runner(leg, chunks, told)
