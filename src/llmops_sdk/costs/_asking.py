"""Asking an engine beside the attempts of a run: within its deadline and its budget, and paid from it."""

from __future__ import annotations

import asyncio

from llmops_sdk.calls import ASKER, Call
from llmops_sdk.costs._asides import recorded_aside, relayed_to
from llmops_sdk.errors import DeadlineExceeded, EngineTimeout
from llmops_sdk.messages import Request, Response
from llmops_sdk.protocols import EngineLike

__all__ = ["ask_aside", "time_left"]


def time_left(call: Call | None, timeout_s: float | None) -> float | None:
    """Seconds that may be spent: the asker's own limit, or what is left of the run if that is less.

    Raises:
        DeadlineExceeded: Nothing is left.
    """
    left = None if call is None else call.remaining_s()
    if call is not None and left is not None and left <= 0:
        raise DeadlineExceeded("the run's deadline is over", deadline_s=call.deadline_s or 0.0)
    limits = [limit for limit in (left, timeout_s) if limit is not None]
    return min(limits, default=None)


async def ask_aside(
    engine: EngineLike, request: Request, call: Call | None, *, asker: str, timeout_s: float | None
) -> Response:
    """Ask `engine` on behalf of the run `call`; without one, for nobody's account.

    The engine sees a run of its own, with what is left of the deadline and of the budget: so a router's attempts do not
    mix with those of the run, whose last one is its answer. They are recorded on the run as an `Aside` each, and paid
    from it. `asker` names who asks, where a pipeline has no name of its own for it.

    Raises:
        BudgetExceeded: The run's budget is spent.
        DeadlineExceeded: The run's deadline is over.
        EngineError: One of its subclasses; `EngineTimeout` after `timeout_s`.
    """
    left = time_left(call, timeout_s)
    if call is None:
        return await _within(engine, request, left)
    started = call.clock()
    call.check_budget()
    asker = ASKER.get() or asker
    hook = relayed_to(call, asker)
    own = Call(
        deadline_s=left, budget_usd=call.left_usd, tags=call.tags, hooks=(hook,), prices=call.prices, clock=call.clock
    )
    own.traceparent, own.tracestate = call.traceparent, call.tracestate
    own.found = call.found
    bound = request.bound_to(own)
    try:
        if getattr(engine, "routes", False):  # it records and books each attempt by itself
            return await _within(engine, bound, left)
        with recorded_aside(call, asker, engine, bound) as aside:
            aside.response = await _within(engine, bound, left)
            return aside.response
    except EngineTimeout as exc:
        if call.deadline is not None and (call.remaining_s() or 0.0) <= 0:
            waited = call.clock() - started
            raise DeadlineExceeded(
                f"the run's deadline was over after the engine {engine.name!r} had been asked for {waited:.3g} s",
                deadline_s=call.deadline_s or 0.0,
            ) from exc
        raise


async def _within(engine: EngineLike, request: Request, timeout_s: float | None) -> Response:
    try:
        async with asyncio.timeout(timeout_s):
            return await engine.agenerate(request)
    except TimeoutError as exc:
        if isinstance(exc, EngineTimeout):
            raise
        name = getattr(engine, "name", type(engine).__name__)
        within = "" if timeout_s is None else f" within {timeout_s:.3g} s"
        raise EngineTimeout(f"the engine {name!r} did not answer{within}", engine=name) from exc
