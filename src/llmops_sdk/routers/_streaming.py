"""Streams: the engines of a plan are asked until one has finished its answer; a broken stream is taken up elsewhere."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncGenerator

from llmops_sdk.calls import Call, StreamResumed
from llmops_sdk.engines import chunks_of
from llmops_sdk.errors import AllEnginesFailed, EngineError
from llmops_sdk.messages import Chunk, Request
from llmops_sdk.routers._answering import answered
from llmops_sdk.routers._continuation import Ahead, DifferentAnswer, interrupted
from llmops_sdk.routers._plan import Plan

__all__ = ["streamed"]


async def streamed(plan: Plan, request: Request, call: Call) -> AsyncGenerator[Chunk, None]:
    """The chunks of one answer, whoever gives them.

    Raises:
        AllEnginesFailed: Nobody did, and nothing had been emitted.
        StreamInterrupted: The stream broke, and could not be taken up elsewhere.
    """
    if plan.escalates is not None:  # nobody can judge an answer before it is there
        for chunk in chunks_of(await answered(plan, request, call)):
            yield chunk
        return
    emitted: dict[int, str] = {}
    while True:
        leg, timeout_s, reservation = await plan.next()
        if any(emitted.values()):
            call.record(StreamResumed(call.clock(), leg.name, "restart", sum(map(len, emitted.values()))))
        chunks = leg.stream(request, call, timeout_s, reservation)
        ahead = Ahead(emitted)
        try:
            async with contextlib.aclosing(chunks):
                async for chunk in chunks:
                    fresh = ahead.skip(chunk)
                    if fresh is not None:
                        emitted[chunk.index] = emitted.get(chunk.index, "") + fresh.text
                        yield fresh
            ahead.check_caught_up()
            return
        except (EngineError, AllEnginesFailed) as exc:
            if not any(emitted.values()):
                plan.failed(leg, exc)
            elif plan.table.on_stream_break == "raise" or isinstance(exc, DifferentAnswer):
                raise interrupted(exc, emitted) from exc
            else:
                plan.note(leg, exc)
                if not plan.can_go_on:
                    raise interrupted(exc, emitted) from exc
