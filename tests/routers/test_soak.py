"""Thousands of calls of every kind through one router on real sockets leave nothing behind."""

import asyncio
import contextlib
import gc
import random
from collections import Counter
from decimal import Decimal
from pathlib import Path

import pytest

from llmops_sdk import Engine, errors
from llmops_sdk.calls import AttemptEnded, Call, Hedged
from llmops_sdk.costs import PriceTable
from llmops_sdk.messages import Request
from llmops_sdk.routers import Breaker, Hedge, Leg, Limit, Router
from llmops_sdk.testing import FaultServer, Hang, Reply, Status

WARM = 1_000
CALLS = 4_500
ROUNDS = 3
AT_ONCE = 48
PRICES = PriceTable.default().with_prices({"m": {"input": 1, "output": 1}})
QUICK = Reply(chunks=4)
LATE = Reply(chunks=4, delay_s=0.15)
SERVERS = (
    [*[QUICK] * 40, Status(status=500), LATE],
    [*[QUICK] * 30, Reply(chunks=8, drop_at=400), LATE, Status(status=429, retry_after_s=0)],
    [*[QUICK] * 20, Hang(), Reply(chunks=4, hang_after=2)],
)


def router_of(urls):
    legs = [
        Leg(
            Engine.open(url, model="m", api_key="k", name=f"e{i}"),
            limits=Limit(concurrent=AT_ONCE // 2, requests_per_minute=10**6),
        )
        for i, url in enumerate(urls)
    ]
    return Router(
        legs,
        hedge=Hedge(quantile=0.9, share=0.5),
        limits=Limit(concurrent=AT_ONCE - 4, tokens_per_minute=10**9, per="router"),
        attempt_timeout_s=0.3,
        chunk_timeout_s=0.3,
        breaker=Breaker(open_s=0.05, most_open_s=0.1),
        prices=PRICES,
    )


async def ask(router, chance, calls, recorded):
    """One call of some kind; how it ended."""
    budget = Decimal(1) if chance.random() < 0.3 else None
    call = Call(budget_usd=budget, prices=PRICES, tags={"user": chance.randrange(20)})
    request = Request(messages=Request.of("hello").messages, max_tokens=20, call=call)
    kind = chance.random()
    try:
        if kind < 0.5:
            await router.agenerate(request)
        elif kind < 0.8:
            async for _ in router.astream(request):
                pass
        elif kind < 0.9:
            async for _ in router.astream(request):  # a reader that has seen enough
                break
        else:
            async with asyncio.timeout(chance.choice((0.0, 0.002, 0.01))):
                await router.agenerate(request)
    except (errors.LlmopsError, TimeoutError) as exc:
        return type(exc).__name__
    finally:
        recorded.update(type(event) for event in call.events)
        if budget is not None:
            calls.append(call)
        request.unbind()
    return "ok"


async def traffic(router, count, chance):
    """`count` calls: how they ended, what was recorded by then."""
    ended, recorded, with_budget = Counter(), Counter(), []
    numbers = iter(range(count))

    async def work():
        for _ in numbers:
            ended[await ask(router, chance, with_budget, recorded)] += 1

    await asyncio.gather(*(work() for _ in range(AT_ONCE)))
    await quiet(router)
    for call in with_budget:
        assert call.left_usd == 1 - call.spent_usd - call.estimated_usd  # nothing is held any more
    return ended, recorded


def left():
    """File descriptors, tasks and objects of Python's that are there now."""
    gc.collect()
    return sum(1 for _ in Path("/proc/self/fd").iterdir()), len(asyncio.all_tasks()), len(gc.get_objects())


async def quiet(router):
    """Wait until losers of races and readers who went have been put away."""
    for _ in range(100):
        gc.collect()
        if not router._table.runs and len(asyncio.all_tasks()) == 1:
            return
        await asyncio.sleep(0.02)


def nothing_is_under_way(router):
    table = router._table
    assert not table.runs
    assert [leg.in_flight for leg in router.legs] == [0, 0, 0]
    for leg in router.legs:
        assert not leg.breaker._under_way
        assert not leg.breaker._late
    assert len(table.counted.lines) == 0
    for counters in table.counted.local._counters.values():
        for counter in counters.values():
            assert getattr(counter, "pending", counter.used) == 0


@pytest.mark.timeout(240)  # thousands of calls, on a machine that may be busy
def test_thousands_of_calls_of_every_kind_leave_nothing_behind(caplog):
    async def main(urls):
        chance = random.Random(7)
        async with router_of(urls) as router:
            await traffic(router, WARM, chance)  # modules that are needed now and then are loaded by then
        before = left()
        async with router_of(urls) as router:
            await traffic(router, WARM // 2, chance)
            grown, ended, recorded = [], Counter(), Counter()
            for _ in range(ROUNDS):
                early = left()[2]
                some_ended, some_recorded = await traffic(router, CALLS // ROUNDS, chance)
                grown.append(left()[2] - early)
                ended, recorded = ended + some_ended, recorded + some_recorded
            nothing_is_under_way(router)
            booked = router.ledger.calls
        after = left()
        return before, after, min(grown), ended, recorded, booked

    with contextlib.ExitStack() as stack:  # in processes of their own, so that nothing of theirs is counted
        urls = [stack.enter_context(FaultServer.in_subprocess(*behaviours)) for behaviours in SERVERS]
        before, after, growth, ended, recorded, booked = asyncio.run(main(urls))
    assert sum(ended.values()) == CALLS
    assert ended["ok"] > CALLS * 0.85
    assert ended["TimeoutError"] > CALLS * 0.01  # callers that went were among them
    assert recorded[Hedged] > 20
    assert booked >= recorded[AttemptEnded]
    assert after[0] <= before[0] + 2
    assert after[1] == before[1] == 1
    # Objects: less than one for every fourth call. A leak would show in every round, what is made once only in some.
    assert growth < CALLS / ROUNDS / 4
    assert not [record for record in caplog.records if record.levelname == "ERROR"]
