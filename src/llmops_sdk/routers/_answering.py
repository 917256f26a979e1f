"""Whole answers: the engines of a plan are asked until one has answered, and the strategy is content."""

from __future__ import annotations

from llmops_sdk.calls import Call, Escalated
from llmops_sdk.errors import AllEnginesFailed, BudgetExceeded, EngineError, LimitExceeded
from llmops_sdk.messages import Request, Response
from llmops_sdk.routers._plan import Plan

__all__ = ["answered"]


async def answered(plan: Plan, request: Request, call: Call) -> Response:
    """The answer of the first engine that gives one with which the strategy is content.

    Raises:
        AllEnginesFailed: None did.
        BadRequestError: The request itself is wrong.
        LimitExceeded: All engines are at their limits until after the deadline.
    """
    second_best: Response | None = None
    try:
        while True:
            leg, timeout_s, reservation = await plan.next()
            escalates = None if plan.is_last else plan.escalates  # nobody is left to whom it could escalate
            asked = request if escalates is None else plan.judged_form(request)
            try:
                response = await leg.generate(asked, call, timeout_s, reservation)
            except (EngineError, AllEnginesFailed) as exc:
                plan.failed(leg, exc)
                continue
            why = None if escalates is None else await escalates(leg, request, response)
            if why is None:
                return response
            call.record(Escalated(call.clock(), leg.name, why))
            second_best = response
    except (EngineError, AllEnginesFailed, BudgetExceeded, LimitExceeded):
        if second_best is None:
            raise
        return second_best
