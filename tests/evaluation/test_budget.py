import asyncio
import random
from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llmops_sdk import Pipeline, Prompt, Scripted, guards
from llmops_sdk.costs import Price, PriceTable
from llmops_sdk.errors import BudgetExceeded, EvaluationError
from llmops_sdk.evaluation._costs import paid_for
from llmops_sdk.evaluation._running.budget import Budget
from llmops_sdk.messages import Usage


async def waits(task):
    for _ in range(5):
        await asyncio.sleep(0)
    return not task.done()


async def test_without_a_limit_nobody_waits_and_what_is_spent_is_summed():
    budget = Budget(None)

    assert [await budget.reserve("a") for _ in range(3)] == [None, None, None]
    budget.settle(None, Decimal("0.1"), None)
    budget.settle(None, None, None)

    assert (budget.spent_usd, budget.unpriced, budget.left_usd) == (Decimal("0.1"), 1, None)


async def test_the_first_run_may_use_all_of_it_so_that_the_second_waits_for_what_it_cost():
    budget = Budget(Decimal(1))
    assert await budget.reserve("a") == 1
    second = asyncio.create_task(budget.reserve("a"))
    assert await waits(second)

    budget.settle(Decimal(1), Decimal("0.01"), None, kind="a")

    assert await second == Decimal("0.04")
    assert await budget.reserve("a") == Decimal("0.04")  # now they run beside each other
    assert budget.left_usd == Decimal("0.91")


async def test_the_first_run_of_another_kind_waits_for_all_that_is_under_way_and_nobody_overtakes_it():
    budget = Budget(Decimal(1))
    budget.settle(await budget.reserve("a"), Decimal("0.01"), None, kind="a")
    running = await budget.reserve("a")
    other = asyncio.create_task(budget.reserve("b"))
    assert await waits(other)
    later = asyncio.create_task(budget.reserve("a"))
    assert await waits(later)

    budget.settle(running, Decimal("0.01"), None, kind="a")

    assert await other == Decimal("0.98")
    assert await waits(later)
    budget.settle(Decimal("0.98"), Decimal("0.02"), None, kind="b")
    assert await later == Decimal("0.04")


async def test_a_refused_run_is_worth_another_try_with_more_until_it_had_everything():
    budget = Budget(Decimal(1))
    budget.settle(await budget.reserve(), Decimal("0.01"), None)

    tries = []
    while True:
        reserved = await budget.reserve()
        tries.append(reserved)
        if not budget.settle(reserved, Decimal(0), None, refused=True):
            break

    assert tries == [Decimal(one) for one in ("0.04", "0.16", "0.64", "0.99")]
    with pytest.raises(BudgetExceeded, match="too little for a run"):
        await budget.reserve()


async def test_a_run_that_was_refused_while_others_held_money_is_tried_again():
    budget = Budget(Decimal(1))
    budget.settle(await budget.reserve(), Decimal("0.2"), None)
    holding = await budget.reserve()
    assert holding == Decimal("0.8")
    budget.settle(holding, Decimal("0.01"), None)
    small = Budget(Decimal(1))
    small.settle(await small.reserve("a"), Decimal("0.1"), None, kind="a")
    one, two = await small.reserve("a"), await small.reserve("a")

    assert small.settle(one, Decimal(0), None, kind="a", refused=True)
    again = asyncio.create_task(small.reserve("a"))
    assert await waits(again)
    small.settle(two, Decimal("0.1"), None, kind="a")

    assert await again == Decimal("0.8")


async def test_when_nothing_is_left_everybody_who_waits_is_told_so():
    budget = Budget(Decimal("0.1"))
    reserved = await budget.reserve()
    waiting = [asyncio.create_task(budget.reserve()) for _ in range(3)]
    assert await waits(waiting[0])

    budget.settle(reserved, Decimal("0.1"), None)

    for one in waiting:
        with pytest.raises(BudgetExceeded, match=r"budget of 0\.1 USD is used up .*nothing is left") as raised:
            await one
        assert (raised.value.budget_usd, raised.value.spent_usd) == (Decimal("0.1"), Decimal("0.1"))


async def test_what_was_cut_off_counts_by_its_estimate():
    budget = Budget(Decimal(1))
    budget.settle(await budget.reserve(), Decimal("0.25"), Decimal("0.5"))
    assert (budget.spent_usd, budget.estimated_usd, budget.left_usd) == (
        Decimal("0.25"),
        Decimal("0.5"),
        Decimal("0.25"),
    )


async def test_under_a_limit_an_unknown_cost_is_an_error_for_everybody():
    budget = Budget(Decimal(1))
    reserved = await budget.reserve("new")
    waiting = asyncio.create_task(budget.reserve("base"))
    assert await waits(waiting)

    with pytest.raises(EvaluationError, match=r"'new' has cost what nobody knows.*`prices`"):
        budget.settle(reserved, None, None, kind="new")
    with pytest.raises(EvaluationError, match="'new' has cost what nobody knows"):
        await waiting


async def test_runs_that_cost_nothing_do_not_keep_each_other_waiting():
    budget = Budget(Decimal(1))
    budget.settle(await budget.reserve(), Decimal(0), None)
    assert len([await asyncio.wait_for(budget.reserve(), 1) for _ in range(64)]) == 64


async def test_who_is_cancelled_while_it_waits_gives_its_place_away():
    budget = Budget(Decimal(1))
    budget.settle(await budget.reserve("a"), Decimal("0.01"), None, kind="a")
    await budget.reserve("a")
    first_of_b = asyncio.create_task(budget.reserve("b"))
    assert await waits(first_of_b)
    behind = asyncio.create_task(budget.reserve("a"))
    assert await waits(behind)

    first_of_b.cancel()

    assert await asyncio.wait_for(behind, 1) == Decimal("0.04")


async def test_what_was_handed_to_one_who_is_cancelled_in_the_same_moment_comes_back():
    budget = Budget(Decimal(1))
    reserved = await budget.reserve()
    waiting = asyncio.create_task(budget.reserve())
    assert await waits(waiting)

    budget.settle(reserved, Decimal("0.5"), None)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting

    assert budget.held_usd == 0
    assert budget.left_usd == Decimal("0.5")


@settings(max_examples=40, deadline=None)
@given(
    costs=st.lists(st.integers(0, 30), min_size=1, max_size=40),
    limit=st.integers(1, 300),
    seed=st.integers(0, 1000),
)
def test_whatever_runs_at_once_the_limit_holds_and_nobody_waits_for_ever(costs, limit, seed):
    async def main():
        budget, delays = Budget(Decimal(limit)), random.Random(seed)
        done = 0

        async def run(cost, kind):
            nonlocal done
            while True:
                reserved = await budget.reserve(kind)
                for _ in range(delays.randrange(4)):
                    await asyncio.sleep(0)
                fits = cost <= reserved
                again = budget.settle(reserved, Decimal(cost if fits else 0), None, kind=kind, refused=not fits)
                assert budget.left_usd >= 0
                if fits:
                    done += 1
                if not again:
                    return

        found = await asyncio.wait_for(
            asyncio.gather(*(run(one, "ab"[i % 2]) for i, one in enumerate(costs)), return_exceptions=True), 10
        )
        assert all(one is None or isinstance(one, BudgetExceeded) for one in found)
        assert budget.spent_usd <= limit
        assert budget.held_usd == 0
        if sum(costs) < limit:
            assert done == len(costs)

    asyncio.run(main())


PRICES = PriceTable({"priced": Price(input=Decimal(1), output=Decimal(1))})


def run_of(model):
    engine = Scripted("yes", model=model, usage=Usage(input_tokens=500, output_tokens=500))
    return Pipeline(Prompt.from_string("{{ q }}"), engine, prices=PRICES).run(q="?")


def test_a_run_that_was_paid_says_what_it_cost():
    assert paid_for(run_of("priced")) == (Decimal("0.001"), None)


def test_a_run_without_a_price_says_that_nobody_knows():
    assert paid_for(run_of("other")) == (None, None)


def test_a_run_that_asked_nobody_has_cost_nothing():
    blocked = ("{{ q }}" | guards.Secrets(action="block") | Scripted("yes")).run(q="key " + "AKIA" + "IOSFODNN7EXAMPLE")
    assert blocked.blocked
    assert paid_for(blocked) == (Decimal(0), None)
