"""What attempts cost, where it is booked, and what a budget lets through."""

from __future__ import annotations

import asyncio
from decimal import Decimal

import pytest

from llmops_sdk import Pipeline, Router, Scripted
from llmops_sdk.calls import AttemptEnded, Call
from llmops_sdk.costs import PriceTable
from llmops_sdk.engines import Cached
from llmops_sdk.errors import AllEnginesFailed, BudgetExceeded, RateLimitError, ServerError
from llmops_sdk.messages import Choice, Message, Request, Response, Usage
from llmops_sdk.prompts import Prompt
from llmops_sdk.virtual_time import run_in_virtual_time

PRICES = PriceTable({"m": {"input": "1", "output": "10"}, "n": {"input": "100", "output": "1000"}})
USAGE = Usage(input_tokens=1_000, output_tokens=100)
COST = Decimal("0.002")


def _engine(name, answers="one two three", **options):
    return Scripted(answers, name=name, **{"model": "m", "usage": USAGE, **options})


def _pipeline(*stations, **options):
    return Pipeline(*stations, prices=PRICES, **options)


def test_the_ledger_of_a_router_sums_what_its_engines_cost():
    router = Router([_engine("a", ServerError("x")), _engine("b")], strategy="priority")
    pipeline = _pipeline(Prompt.from_string("Hello {{ name }}", max_tokens=5), router)

    pipeline.run(name="Ada", tags={"team": "x"})
    pipeline.run(name="Ben", tags={"team": "y"})

    rows = {row.name: row for row in router.ledger.by("engine")}
    assert (rows["a"].calls, rows["a"].failed, rows["a"].unpriced, rows["a"].cost_usd) == (
        1,
        1,
        0,
        0,
    )  # it rests after that
    assert (rows["b"].calls, rows["b"].failed, rows["b"].cost_usd) == (2, 0, 2 * COST)
    assert {row.name: row.cost_usd for row in router.ledger.by("tag:team")} == {"x": COST, "y": COST}
    assert router.ledger.total.input_tokens == 2_000


@pytest.mark.parametrize("streamed", [False, True])
def test_routers_inside_of_routers_are_seen_by_all_around_exactly_once(streamed):
    shared = Router([_engine("a")], name="shared")
    left, right = Router([shared], name="left"), Router([shared], name="right")
    outer = Router([left, right], name="outer", strategy="priority")

    async def main():
        for router in (outer, right):
            if streamed:
                async for _ in _pipeline("hi", router).astream():
                    pass
            else:
                await _pipeline("hi", router).arun()

    asyncio.run(main())

    assert [router.ledger.calls for router in (shared, left, right, outer)] == [2, 1, 1, 1]
    assert outer.ledger.cost_usd == COST


def test_a_reader_who_stops_is_booked_around_too_and_leaves_nothing_behind():
    inner = Router([_engine("a", [["one ", "two ", "three"]])], name="inner")
    outer, other = Router([inner], name="outer"), Router([_engine("b")], name="other")

    async def main():
        stream = _pipeline("hi", outer).astream()
        await anext(stream)
        await _pipeline("hi", other).arun()  # while the stream is open, in the same task
        await stream.aclose()

    asyncio.run(main())

    assert [router.ledger.calls for router in (inner, outer, other)] == [1, 1, 1]
    (row,) = outer.ledger.by("engine")
    assert (row.name, row.failed, row.unpriced, row.estimated, row.cost_usd) == ("a", 1, 1, 1, 0)
    assert 0 < row.estimated_usd < COST


def test_an_attempt_that_was_cancelled_is_estimated_and_makes_the_sum_unknown():
    router = Router([_engine("slow", delay_s=60.0)])
    seen = []

    async def main():
        run = asyncio.create_task(
            _pipeline("x" * 3_000, router, hooks=[lambda event, call: seen.append((event, call))]).arun()
        )
        await asyncio.sleep(1)
        run.cancel()
        with pytest.raises(asyncio.CancelledError):
            await run

    run_in_virtual_time(main())

    assert (router.ledger.cost_usd, router.ledger.unpriced) == (0, 1)
    assert router.ledger.estimated_usd == Decimal("0.001004")  # 1,000 tokens of text, 4 around
    (event, call) = next(pair for pair in seen if isinstance(pair[0], AttemptEnded))
    assert (event.cut_off, event.unpriced, event.cost_usd) == (True, True, None)
    assert event.estimated_usd == call.estimated_usd == Decimal("0.001004")
    assert call.spent_usd == 0


def test_what_an_engine_refused_costs_nothing_and_leaves_the_sum_known():
    router = Router([_engine("a", RateLimitError("later")), _engine("b")], strategy="priority")
    result = _pipeline("hi", router).run()

    assert result.cost_usd == COST
    assert (router.ledger.unpriced, router.ledger.total.failed) == (0, 1)


def test_an_answer_without_a_count_makes_the_sum_unknown():
    class Silent(Scripted):
        async def agenerate(self, request):
            return Response(choices=(Choice(text="x" * 30),), model="m")

    router = Router([Silent("", name="a")])
    result = _pipeline("hi", router).run()

    assert result.cost_usd is None
    assert (router.ledger.unpriced, router.ledger.total.estimated) == (1, 1)
    assert router.ledger.estimated_usd == result.call.estimated_usd == Decimal("0.000105")  # 5 tokens in, 10 out


def test_the_name_of_the_answer_comes_first_then_the_name_that_was_asked_for():
    def answering(model):
        return _engine("e", lambda request: Response(choices=(Choice(text="a"),), usage=USAGE, model=model))

    assert _pipeline("hi", answering("n")).run().cost_usd == 100 * COST
    assert _pipeline("hi", answering("deployment-7")).run().cost_usd == COST


def test_a_model_in_this_process_has_only_the_price_that_the_application_gives():
    class AtHome(Scripted):
        in_process = True

    engine = AtHome("a", model="gpt-5-mini", usage=USAGE)

    assert Pipeline("hi", engine).run().cost_usd is None
    own = PriceTable.default().with_prices({"gpt-5-mini": {"input": "1", "output": "10"}})
    assert Pipeline("hi", engine, prices=own).run().cost_usd == COST


def test_what_cannot_fit_is_refused_before_it_is_sent():
    engine = _engine("dear", model="n")
    request = Request(messages=(Message.user("hi"),), max_tokens=100)

    with pytest.raises(BudgetExceeded, match=r"'dear' may cost up to 0\.1005 USD .*`max_tokens=9` would fit"):
        _pipeline(engine).run(request, budget_usd="0.01")

    assert engine.requests == []
    fits = Request(messages=(Message.user("hi"),), max_tokens=9)
    _pipeline(engine).run(fits, budget_usd="0.01")
    assert len(engine.requests) == 1


def test_attempts_that_went_before_leave_less_for_the_next():
    router = Router([_engine("a", ["x"], usage=USAGE), _engine("b")], strategy="priority")
    request = Request(messages=(Message.user("hi"),), max_tokens=100)

    async def main():

        call = Call(budget_usd=Decimal("0.003"), prices=PRICES)
        asked = request.bound_to(call)
        await router.agenerate(asked)
        with pytest.raises(BudgetExceeded, match=r"0\.001 USD is left"):
            await router.agenerate(asked)

    asyncio.run(main())


def test_attempts_at_once_know_of_each_other():
    router = Router([_engine("a", delay_s=1.0)])
    request = Request(messages=(Message.user("hi"),), max_tokens=100)

    async def main():

        call = Call(budget_usd=Decimal("0.0015"), prices=PRICES)
        asked = request.bound_to(call)
        first = asyncio.create_task(router.agenerate(asked))
        await asyncio.sleep(0.5)
        with pytest.raises(BudgetExceeded):
            await router.agenerate(asked)
        await first
        assert call.left_usd == Decimal("0.0015") - COST

    run_in_virtual_time(main())


def test_a_failed_attempt_gives_back_what_was_held_for_it():
    router = Router([_engine("a", ServerError("x")), _engine("b", ServerError("y"))], retries=0)
    request = Request(messages=(Message.user("hi"),), max_tokens=100)

    async def main():

        call = Call(budget_usd=Decimal("0.0015"), prices=PRICES)
        with pytest.raises(AllEnginesFailed) as failed:
            await router.agenerate(request.bound_to(call))
        assert len(failed.value.attempts) == 2
        assert call.left_usd == Decimal("0.0015")

    asyncio.run(main())


def test_an_engine_of_unknown_price_runs_within_a_budget():
    router = Router([_engine("a", model="nobody-knows")])
    result = _pipeline("hi", router).run(budget_usd="0.000001")

    assert (result.cost_usd, router.ledger.unpriced) == (None, 1)


@pytest.mark.parametrize("wrapped", [lambda router: router, Cached])
def test_a_pipeline_without_prices_goes_by_those_of_its_router(wrapped):
    router = Router([_engine("a")], prices=PRICES)
    pipeline = Pipeline("Hello", wrapped(router))
    assert pipeline.run().cost_usd == COST
    assert Pipeline("Hello", router, prices=PriceTable({"m": {"input": 0, "output": 0}})).run().cost_usd == 0
    router.reload(Router([_engine("a")], prices=PriceTable({"m": {"input": "2", "output": "20"}})))
    assert Pipeline("Hello", router).run().cost_usd == 2 * COST


@pytest.mark.parametrize(
    ("prices", "cost"),
    [
        (PriceTable.default(), "0.25"),  # the built-in price is known, and the provider knows better
        (PriceTable.default().with_prices({"gpt-5-mini": {"input": "1", "output": "10"}}), "0.002"),
    ],
)
def test_what_the_provider_says_that_it_charges_is_booked_unless_the_application_has_a_price(prices, cost):
    engine = _engine(
        "a", model="gpt-5-mini", usage=Usage(input_tokens=1_000, output_tokens=100, billed_usd=Decimal("0.25"))
    )
    router = Router([engine], prices=prices)
    assert prices.price("gpt-5-mini") is not None

    result = ("hi" | router).run()

    assert result.cost_usd == router.ledger.total.cost_usd == Decimal(cost)
