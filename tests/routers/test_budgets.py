"""What a run can pay for is asked; what it cannot is left out, and what is free is never refused."""

from __future__ import annotations

import asyncio
from decimal import Decimal

import pytest

from llmops_sdk import Pipeline, Router, Scripted
from llmops_sdk.costs import PriceTable
from llmops_sdk.engines import Cached
from llmops_sdk.errors import AllEnginesFailed, BudgetExceeded, EngineConnectionError, EngineTimeout
from llmops_sdk.messages import Message, Request, Usage
from llmops_sdk.routers import Leg, Limit, Priority, Retries
from llmops_sdk.virtual_time import run_in_virtual_time

PRICES = PriceTable({"dear": {"input": 0, "output": 1_000}, "cheap": {"input": 0, "output": 1}})
ASKED = Request(messages=(Message.user("Hello"),), max_tokens=10)  # 0.01 USD of the dear one, 0.00001 of the cheap one
TAKES = Usage(input_tokens=1, output_tokens=10)


def dear(*answers: object, **options: object) -> Scripted:
    return Scripted(*(answers or ("dear",)), model="dear", name="dear", usage=TAKES, **options)  # type: ignore[arg-type]


def cheap(*answers: object, **options: object) -> Scripted:
    return Scripted(*(answers or ("cheap",)), model="cheap", name="cheap", usage=TAKES, **options)  # type: ignore[arg-type]


@pytest.mark.parametrize("routed", [False, True])
async def test_a_hit_is_free_whatever_is_left(routed: bool) -> None:
    engine = dear()
    cached = Cached(engine)
    pipeline = Pipeline(Router([cached]) if routed else cached, prices=PRICES)
    await pipeline.arun(ASKED)

    hit = await pipeline.arun(ASKED, budget_usd="0.001")
    stream = pipeline.astream(ASKED, budget_usd="0.001")
    streamed = [chunk.text async for chunk in stream]

    assert (hit.text, hit.cost_usd) == ("dear", 0)
    assert ("".join(streamed), stream.result.cost_usd) == ("dear", 0)
    assert len(engine.requests) == 1


@pytest.mark.parametrize("keeps", [True, False])
async def test_a_miss_that_does_not_fit_is_refused_before_it_is_sent(keeps: bool) -> None:
    engine = dear()
    router = Router([Leg(Cached(engine, only_deterministic=not keeps), limits=Limit(requests_per_minute=1))])
    pipeline = Pipeline(router, prices=PRICES)

    with pytest.raises(BudgetExceeded, match="'dear' may cost up to"):
        await pipeline.arun(ASKED, budget_usd="0.001")

    assert engine.requests == []
    assert router.ledger.calls == 0
    assert (await pipeline.arun(ASKED, deadline_s=0.2)).text == "dear"  # the limit was given back its request


async def test_a_miss_that_does_not_fit_leaves_the_turn_to_a_cheaper_engine() -> None:
    engine = dear()
    pipeline = Pipeline(Router([Cached(engine), cheap()], strategy=Priority()), prices=PRICES)

    result = await pipeline.arun(ASKED, budget_usd="0.001")
    stream = pipeline.astream(ASKED, budget_usd="0.001")
    streamed = "".join([chunk.text async for chunk in stream])

    assert result.text == streamed == "cheap"
    assert result.cost_usd == Decimal("0.00001")
    assert engine.requests == []


def test_what_a_cache_may_cost_is_held_while_it_is_under_way() -> None:
    async def main() -> None:
        call_count = 0

        async def slowly(_: Request) -> str:
            nonlocal call_count
            call_count += 1
            await asyncio.sleep(10)
            return "slow"

        first = Cached(dear(slowly), name="first")
        second = Cached(dear(slowly), name="second")
        router = Router([first, second], strategy=Priority(), hedge=1.0)
        result = await Pipeline(router, prices=PRICES).arun(ASKED, budget_usd="0.015")
        assert result.text == "slow"
        assert call_count == 1  # there was no money for two
        assert result.cost_usd == Decimal("0.01")

    run_in_virtual_time(main())


async def test_a_router_among_the_engines_that_is_too_dear_leaves_the_turn_to_another() -> None:
    inner = Router([dear()], name="inner")
    result = await Pipeline(Router([inner, cheap()], strategy=Priority()), prices=PRICES).arun(
        ASKED, budget_usd="0.001"
    )

    assert result.text == "cheap"


async def test_an_expensive_failure_leaves_money_for_a_cheap_engine_only() -> None:
    # What was cut off is estimated and counted, so that a second attempt at the same engine would not fit.
    first = Scripted(["x" * 9, EngineConnectionError("broke")], "never", model="dear", name="dear")
    router = Router([first, cheap()], strategy=Priority(), retries=Retries(first_s=0.001), on_stream_break="restart")

    stream = Pipeline(router, prices=PRICES).astream(ASKED, budget_usd="0.0105")
    async for _ in stream:
        pass

    assert stream.result.text == "cheap"
    assert len(first.requests) == 1


async def test_budget_errors_carry_the_attempts_that_failed_before() -> None:
    # Out of time: what was asked may have to be paid, 6 tokens at 0.001 USD, and leaves too little for the dear one.
    prices = PRICES.with_prices({"late": {"input": 1_000, "output": 0}})
    late = Scripted(EngineTimeout("too late"), model="late", name="late")
    router = Router([late, dear()], strategy=Priority(), retries=Retries(times=0))
    pipeline = Pipeline(router, prices=prices)

    with pytest.raises(BudgetExceeded) as caught:
        await pipeline.arun(ASKED, budget_usd="0.0125")

    cause = caught.value.__cause__
    assert isinstance(cause, AllEnginesFailed)
    assert [one.engine for one in cause.attempts] == ["late"]
