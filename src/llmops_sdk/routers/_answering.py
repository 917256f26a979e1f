"""Whole answers: the engines of a plan are asked until one has answered, and the strategy is content."""

from __future__ import annotations

from llmops_sdk.calls import Call, Escalated
from llmops_sdk.errors import BudgetExceeded, DeadlineExceeded
from llmops_sdk.messages import Request, Response
from llmops_sdk.routers._plan import FAILURES, Plan, Turn
from llmops_sdk.routers._race import Answer, Race

__all__ = ["answered"]


async def answered(plan: Plan, request: Request, call: Call) -> Response:
    """The answer of the first engine that gives one with which the strategy is content.

    Raises:
        AllEnginesFailed: None did.
        BadRequestError: The request itself is wrong.
        LimitExceeded: All engines are at their limits until after the deadline.
    """
    second_best: Response | None = None
    table = plan.table
    try:
        while True:
            turn = await plan.next()
            escalates = table.escalates
            if escalates is None or not plan.has_others:  # nobody is left to whom it could escalate
                answer = await _attempt(plan, turn, request, call)
                if answer is None:
                    continue
                return answer[1]
            answer = await _attempt(plan, turn, table.judged_form(request), call)
            if answer is None:
                continue
            leg, response = answer
            why = await escalates(leg, request, response)
            if why is None:
                return response
            call.record(Escalated(call.clock(), leg.name, why))
            second_best = response
    except (*FAILURES, BudgetExceeded, DeadlineExceeded):
        if second_best is None:
            raise
        return second_best


async def _attempt(plan: Plan, turn: Turn, request: Request, call: Call) -> Answer | None:
    """The answer of the engine, or of one that was asked beside it; `None` when the next one has to be asked."""
    table = plan.table
    if table.hedge is not None and table.hedge_budget is not None and plan.has_others:
        return await Race(plan, request, table.hedge, table.hedge_budget, turn).run(turn)
    leg, timeout_s, reservation = turn
    try:
        return leg, await leg.generate(request, call, timeout_s, reservation)
    except FAILURES as exc:
        plan.failed(leg, exc)
        return None
