"""Whole answers: the engines of a plan are asked until one has answered, and the strategy is content."""

from __future__ import annotations

from llmops_sdk.calls import Call, Escalated
from llmops_sdk.errors import DeadlineExceeded
from llmops_sdk.messages import Request, Response
from llmops_sdk.routers._asking.plan import FAILURES, Plan
from llmops_sdk.routers._hedging.answers import Race

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
            escalates = table.escalates if plan.has_others else None  # or nobody is left to whom it could escalate
            asked = request if escalates is None else table.judged_form(request)
            leg = turn.leg
            if table.hedge is not None and table.hedge_budget is not None and plan.has_others:
                answer = await Race(plan, asked, table.hedge, table.hedge_budget, turn).run(turn)
                if answer is None:
                    continue
                leg, response = answer
            else:
                try:
                    response = await leg.generate(asked, call, turn.timeout_s, turn.reservation)
                except FAILURES as exc:
                    plan.failed(leg, exc)
                    continue
            why = None if escalates is None else await escalates(leg, request, response)
            if why is None:
                return response
            call.record(Escalated(call.clock(), leg.name, why))
            second_best = response
    except (*FAILURES, DeadlineExceeded):
        if second_best is None:
            raise
        return second_best
