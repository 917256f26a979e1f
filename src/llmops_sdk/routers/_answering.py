"""Whole answers: the engines of a plan are asked until one has answered, and the strategy is content."""

from __future__ import annotations

from llmops_sdk.calls import Call, Escalated
from llmops_sdk.errors import AllEnginesFailed, EngineError
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
    while True:
        try:
            leg, timeout_s, reservation = await plan.next()
        except AllEnginesFailed:
            if second_best is not None:
                return second_best
            raise
        judged = plan.escalates is not None and not plan.is_last
        try:
            response = await leg.generate(
                plan.judged_form(request) if judged else request, call, timeout_s, reservation
            )
        except (EngineError, AllEnginesFailed) as exc:
            plan.failed(leg, exc)
            continue
        why = await plan.escalates(leg, request, response) if judged else None
        if why is None:
            return response
        call.record(Escalated(call.clock(), leg.name, why))
        second_best = response
