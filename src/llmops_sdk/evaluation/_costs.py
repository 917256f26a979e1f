"""What people allow, and what a run has cost as budgets count it."""

from __future__ import annotations

from decimal import Decimal

from llmops_sdk.calls import Aside, AttemptEnded
from llmops_sdk.errors import ConfigurationError
from llmops_sdk.given import dollars
from llmops_sdk.pipelines import Result

__all__ = ["allowed", "paid_for"]


def allowed(budget_usd: Decimal | float | str | None) -> Decimal | None:
    """The limit in US dollars; `None` for none.

    Raises:
        ConfigurationError: It is no amount over 0.
    """
    limit = None if budget_usd is None else dollars(budget_usd)
    if budget_usd is not None and limit is None:
        raise ConfigurationError(f"`budget_usd` is a number of US dollars over 0, such as '5', not {budget_usd!r}")
    return limit


def paid_for(result: Result) -> tuple[Decimal | None, Decimal | None]:
    """US dollars that a run has cost, and those that it may have cost beside, as estimated: what `settle` takes.

    A run that asked nobody has cost 0. `(None, None)` where an attempt took tokens whose price is not known.
    """
    unpriced = [one for event in result.call.events if (one := _attempt(event)) is not None and one.unpriced]
    if any(one.estimated_usd is None for one in unpriced):
        return None, None
    return result.call.spent_usd, result.call.estimated_usd if unpriced else None


def _attempt(event: object) -> AttemptEnded | None:
    return event.attempt if isinstance(event, Aside) else event if isinstance(event, AttemptEnded) else None
