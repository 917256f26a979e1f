from __future__ import annotations

import re
from decimal import Decimal

from llmops_sdk.calls import Call
from llmops_sdk.costs import Price, budget_refusal, estimated_tokens, most_it_can_cost
from llmops_sdk.errors import BudgetExceeded
from llmops_sdk.messages import Request

CHEAP = Price(input=Decimal(1), output=Decimal(10))
REQUEST = Request(messages=Request.of("Where is my parcel?").messages, max_tokens=1_000)
TOKENS = estimated_tokens(REQUEST)


def _of(**changes: object) -> Request:
    return Request(**{"messages": REQUEST.messages, "max_tokens": 1_000, **changes})  # type: ignore[arg-type]


def test_the_most_is_all_input_and_every_token_of_answer_that_may_come() -> None:
    assert most_it_can_cost(REQUEST, CHEAP) == Decimal(TOKENS + 10_000) / 1_000_000
    assert most_it_can_cost(_of(n=3), CHEAP) == Decimal(TOKENS + 30_000) / 1_000_000
    assert most_it_can_cost(_of(max_tokens=None), CHEAP) == Decimal(TOKENS + 10) / 1_000_000
    written = Price(input=Decimal(1), output=Decimal(10), cache_write=Decimal("1.25"), reasoning=Decimal(40))
    assert most_it_can_cost(REQUEST, written) == (TOKENS * Decimal("1.25") + 40_000) / 1_000_000
    assert most_it_can_cost(REQUEST, None) is None


def test_the_tier_that_is_asked_for_is_the_price() -> None:
    tiers = Price(input=Decimal(1), output=Decimal(10), service_tiers={"priority": Price(input=2, output=20)})  # type: ignore[arg-type]

    assert most_it_can_cost(_of(extra={"service_tier": "priority"}), tiers) == 2 * most_it_can_cost(REQUEST, CHEAP)  # type: ignore[operator]
    assert most_it_can_cost(_of(extra={"service_tier": "auto"}), tiers) == most_it_can_cost(REQUEST, CHEAP)


def test_what_fits_is_let_through_and_what_does_not_is_told_what_would() -> None:
    most = most_it_can_cost(REQUEST, CHEAP)
    assert most is not None
    assert budget_refusal(Call(budget_usd=most), REQUEST, CHEAP, engine="e") is None
    assert budget_refusal(Call(), REQUEST, CHEAP, engine="e") is None

    refused = budget_refusal(Call(budget_usd=Decimal("0.0012345")), REQUEST, CHEAP, engine="e")

    assert isinstance(refused, BudgetExceeded)
    (fits,) = re.findall(r"`max_tokens=(\d+)` would fit", str(refused))
    assert budget_refusal(Call(budget_usd=Decimal("0.0012345")), _of(max_tokens=int(fits)), CHEAP, engine="e") is None
    more = _of(max_tokens=int(fits) + 1)
    assert budget_refusal(Call(budget_usd=Decimal("0.0012345")), more, CHEAP, engine="e") is not None
    nothing = budget_refusal(Call(budget_usd=Decimal("0.000001")), REQUEST, CHEAP, engine="e")
    assert "no answer would fit: raise `budget_usd`" in str(nothing)


def test_what_is_under_way_and_what_was_cut_off_is_not_left() -> None:
    call = Call(budget_usd=Decimal("0.030"))
    most = most_it_can_cost(REQUEST, CHEAP)
    assert most is not None

    call.hold(1, most)
    call.hold(2, most)
    assert budget_refusal(call, REQUEST, CHEAP, engine="e") is not None
    call.let_go(1)
    call.spend(Decimal("0.001"))
    assert budget_refusal(call, REQUEST, CHEAP, engine="e") is None
    call.spend(None, Decimal("0.018"))
    assert budget_refusal(call, REQUEST, CHEAP, engine="e") is not None
    assert call.left_usd == Decimal("0.011") - most
    assert (call.spent_usd, call.estimated_usd) == (Decimal("0.001"), Decimal("0.018"))


def test_an_unknown_price_fits_as_long_as_anything_is_left() -> None:
    assert budget_refusal(Call(budget_usd=Decimal("0.000001")), REQUEST, None, engine="e") is None
