"""Whether the next attempt fits into what is left of a run's budget, said before anything is sent."""

from __future__ import annotations

from decimal import ROUND_FLOOR, Decimal

from llmops_sdk.calls import Call
from llmops_sdk.costs._estimates import estimated_tokens
from llmops_sdk.costs._prices import Price
from llmops_sdk.errors import BudgetExceeded
from llmops_sdk.messages import Request
from llmops_sdk.usage import EXACT

__all__ = ["budget_refusal", "hold_budget", "most_it_can_cost"]


def most_it_can_cost(request: Request, price: Price | None) -> Decimal | None:
    """US dollars that an answer to `request` can cost; `None` where the price is not known.

    The input is estimated, and as if all of it were written to the cache where that is dearer; the output is
    `max_tokens` for each of the `n` answers. Without `max_tokens` nobody can know: then one token of output each is
    all that is counted, so give `max_tokens` where a budget has to hold.
    """
    rates = _rates(request, price)
    return None if rates is None else _most(request, *rates)


def _most(request: Request, of_input: Decimal, of_token: Decimal) -> Decimal:
    return EXACT.fma(of_token, request.max_tokens or 1, of_input)


def _rates(request: Request, price: Price | None) -> tuple[Decimal, Decimal] | None:
    """US dollars for the input, and for one token of each answer."""
    if price is None:
        return None
    tokens = estimated_tokens(request)
    tier = request.extra.get("service_tier")
    price = price.at(tokens, tier if isinstance(tier, str) and tier in price.service_tiers else None)
    if price is None:
        return None
    of_input, of_output = price.most_per_token()
    return EXACT.scaleb(of_input * tokens, -6), EXACT.scaleb(of_output * request.n, -6)


def budget_refusal(call: Call, request: Request, price: Price | None, *, engine: str) -> BudgetExceeded | None:
    """Why an attempt cannot be paid from what is left of the run's budget, `None` if it can.

    What is left: the budget, less what was spent, less what attempts under way may cost. An attempt of unknown price
    fits as long as anything is left: a budget cannot hold what nobody knows, and the ledger counts it as unpriced.
    """
    left = call.left_usd
    rates = _rates(request, price)
    if left is None or rates is None:
        return None
    most = _most(request, *rates)
    if most <= left:
        return None
    room = EXACT.subtract(left, rates[0])
    fits = int(EXACT.divide(room, rates[1]).to_integral_value(ROUND_FLOOR)) if rates[1] else 0
    answer = f"`max_tokens={request.max_tokens}`" if request.max_tokens else "one token of answer"
    advice = f"`max_tokens={fits}` would fit" if fits > 0 else "no answer would fit: raise `budget_usd`"
    return BudgetExceeded(
        f"an attempt at {engine!r} may cost up to {_dollars(most)} USD (about {estimated_tokens(request):,} tokens of "
        f"input, and {answer}), and {_dollars(left)} USD is left of the run's budget of {call.budget_usd} USD; "
        f"{advice}",
        budget_usd=call.budget_usd,
        spent_usd=call.spent_usd,
    )


def hold_budget(call: Call, request: Request, price: Price | None, *, engine: str, holder: object) -> None:
    """Hold the most that an attempt can cost, so that attempts at the same time know of each other.

    Until `call.let_go(holder)` says that it is over.

    Raises:
        BudgetExceeded: It does not fit into what is left, or nothing is left.
    """
    call.check_budget()
    refusal = budget_refusal(call, request, price, engine=engine)
    if refusal is not None:
        raise refusal
    most = most_it_can_cost(request, price)
    if most is not None:
        call.hold(holder, most)


def _dollars(amount: Decimal) -> str:
    return f"{max(amount, Decimal(0)):.6f}".rstrip("0").rstrip(".") or "0"
