"""In which order engines are asked."""

import asyncio
import copy
import math
import pickle
from collections import Counter
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmops_sdk import errors
from llmops_sdk.calls import Call, Routed
from llmops_sdk.costs import Ledger, PriceTable
from llmops_sdk.engines import Scripted
from llmops_sdk.messages import Request
from llmops_sdk.routers import (
    Breaker,
    Cost,
    Latency,
    LeastBusy,
    Leg,
    Priority,
    RoundRobin,
    Router,
    Weighted,
)
from llmops_sdk.routers._strategies import STRATEGIES
from llmops_sdk.routers._table import take
from llmops_sdk.virtual_time import run_in_virtual_time

NOW = 1_000.0
PRICES = PriceTable({"cheap": {"input": "1", "output": "2"}, "dear": {"input": "10", "output": "20"}})
HELLO = Request.of("hello").bound_to(Call(clock=lambda: NOW, prices=PRICES))


def legs(*latencies, **options):
    made = [
        Leg(Scripted("a", name=f"e{i}"), **{name: values[i] for name, values in options.items()})
        for i in range(len(latencies))
    ]
    take(tuple(made), Ledger(), None)
    for _ in range(50):
        for leg, latency in zip(made, latencies, strict=True):
            if latency:
                leg.pace.answered(latency)
    return tuple(made)


def names(order):
    return [leg.name for leg in order]


def first(strategy, among, request=HELLO):
    return next(iter(strategy.order(among, request))).name


# What holds for all of them


@st.composite
def states(draw):
    made = []
    for i in range(draw(st.integers(1, 12))):
        model = draw(st.sampled_from(["cheap", "dear", "unpriced", None]))
        leg = Leg(Scripted("a", name=f"e{i}", model=model), weight=draw(st.floats(0.01, 100)))
        leg.in_flight = draw(st.integers(0, 50))
        leg.pace.slowness = draw(st.sampled_from([0.01, 0.5, 1.0, 30.0]))
        made.append(leg)
    return tuple(made)


@given(states(), st.sampled_from(sorted(STRATEGIES)), st.integers(1, 5))
def test_every_strategy_gives_each_leg_once_in_any_state(among, name, times):
    strategy = STRATEGIES[name]()
    for _ in range(times):
        order = list(strategy.order(among, HELLO))
        assert sorted(names(order)) == sorted(names(among))
        assert all(strategy.reason(leg) for leg in order)


@given(states(), st.sampled_from(sorted(STRATEGIES)), st.integers(0, 3))
def test_looking_at_a_copy_changes_no_order(among, name, times):
    strategy = STRATEGIES[name]() if name != "latency" else Latency(seed=1)
    for _ in range(times):
        list(strategy.order(among, HELLO))
    if name != "latency":  # a copy draws from the same source of chance
        seen = names(copy.copy(strategy).order(among, HELLO))
        assert names(copy.copy(strategy).order(among, HELLO)) == seen
        assert names(strategy.order(among, HELLO)) == seen


@pytest.mark.parametrize("name", sorted(STRATEGIES))
def test_strategies_travel_between_processes(name):
    among = legs(0, 0.1, 0.2)
    strategy = STRATEGIES[name]()
    list(strategy.order(among, HELLO))
    again = pickle.loads(pickle.dumps(strategy))
    assert type(again) is type(strategy)
    assert sorted(names(again.order(among, HELLO))) == ["e0", "e1", "e2"]
    assert len(pickle.dumps(strategy)) < 5_000  # and take no engines along


@pytest.mark.parametrize("name", sorted(STRATEGIES))
async def test_each_strategy_can_be_named(name):
    router = Router([Scripted("a", name="a"), Scripted("a", name="b")], strategy=name)
    assert (await router.agenerate(Request.of("hello"))).text == "a"


# In turn


def test_priority_keeps_the_order_and_round_robin_turns():
    three = legs(0, 0, 0)
    assert names(Priority().order(three, HELLO)) == ["e0", "e1", "e2"]
    turn = RoundRobin()
    assert [names(turn.order(three, HELLO)) for _ in range(4)] == [
        ["e0", "e1", "e2"],
        ["e1", "e2", "e0"],
        ["e2", "e0", "e1"],
        ["e0", "e1", "e2"],
    ]


def test_weighted_mixes_evenly():
    among = legs(0, 0, 0, weight=[5, 1, 1])
    strategy = Weighted()
    assert [first(strategy, among) for _ in range(7)] == ["e0", "e0", "e0", "e1", "e2", "e0", "e0"]
    assert strategy.reason(among[0]) == "weight 5"


@given(st.lists(st.integers(1, 20), min_size=1, max_size=8), st.integers(1, 4))
def test_weighted_shares_are_exact_after_each_full_turn(weights, turns):
    among = legs(*[0] * len(weights), weight=weights)
    strategy = Weighted()
    counts = Counter(first(strategy, among) for _ in range(sum(weights) * turns))
    assert [counts[f"e{i}"] for i in range(len(weights))] == [weight * turns for weight in weights]


@given(st.lists(st.floats(0.1, 10), min_size=2, max_size=6), st.integers(1, 200))
def test_weighted_is_never_far_from_the_shares(weights, requests):
    among = legs(*[0] * len(weights), weight=weights)
    strategy = Weighted()
    counts = Counter(first(strategy, among) for _ in range(requests))
    for i, weight in enumerate(weights):
        assert abs(counts[f"e{i}"] - requests * weight / sum(weights)) < len(weights) / 2 + 1


def test_weighted_keeps_its_turns_when_other_legs_are_asked_in_between():
    among = legs(0, 0, weight=[3, 1])
    part = among[:1]
    strategy = Weighted()
    firsts = []
    for _ in range(8):
        firsts.append(first(strategy, among))
        first(strategy, part)
    assert Counter(firsts) == {"e0": 6, "e1": 2}


# By load


def test_least_busy_takes_the_one_with_the_fewest_for_its_weight():
    three = legs(0, 0, 0)
    three[0].in_flight, three[1].in_flight = 2, 1
    assert names(LeastBusy().order(three, HELLO)) == ["e2", "e1", "e0"]
    weighted = legs(0, 0, weight=[4, 1])
    weighted[0].in_flight, weighted[1].in_flight = 3, 1
    assert names(LeastBusy().order(weighted, HELLO)) == ["e0", "e1"]
    assert LeastBusy().reason(weighted[0]) == "3 in flight for weight 4"


@pytest.mark.parametrize("busy", [0, 2])
def test_least_busy_takes_equals_in_turn(busy):
    among = legs(0, 0, 0)
    for leg in among:
        leg.in_flight = busy
    strategy = LeastBusy()
    assert [first(strategy, among) for _ in range(4)] == ["e0", "e1", "e2", "e0"]


def test_least_busy_counts_what_others_ask_of_an_engine():
    engines = [Scripted("a", name="e0"), Scripted("a", name="e1")]
    engines[0].running, engines[0].waiting = 2, 3
    two = tuple(Leg(engine) for engine in engines)
    two[1].in_flight = 4
    assert names(LeastBusy().order(two, HELLO)) == ["e1", "e0"]
    assert LeastBusy().reason(two[0]) == "5 in flight"
    two[1].in_flight = 6
    assert names(LeastBusy().order(two, HELLO)) == ["e0", "e1"]
    engines[0].running = engines[0].waiting = None
    assert LeastBusy().reason(two[0]) == "0 in flight"


# By latency


@given(st.lists(st.tuples(st.floats(0.001, 10), st.integers(0, 20)), min_size=1, max_size=16))
def test_of_few_engines_the_best_is_taken_by_slowness_and_load(states):
    among = legs(*[latency for latency, _ in states])
    for leg, (_, busy) in zip(among, states, strict=True):
        leg.in_flight = busy
    costs = {leg.name: leg.pace.slowness * (leg.in_flight + 1) for leg in among}
    order = names(Latency().order(among, HELLO))
    assert costs[order[0]] == min(costs.values())
    assert [costs[name] for name in order[1:]] == sorted(costs[name] for name in order[1:])


@given(st.integers(1, 16), st.integers(1, 5))
def test_engines_that_are_alike_are_asked_in_turn(count, rounds):
    strategy, among = Latency(), legs(*[0] * count)
    assert [first(strategy, among) for _ in range(count * rounds)] == [leg.name for leg in among] * rounds


@pytest.mark.parametrize("count", [17, 31, 32, 100, 1_000])
def test_of_many_engines_each_is_compared_some_time_and_sixteen_each_time(count):
    strategy, among = Latency(seed=1), legs(*[0] * count)
    for leg in among:
        leg.in_flight = 1
    idle = among[count // 3]
    idle.in_flight = 0
    times = 40 * count // 16
    found = [first(strategy, among) for _ in range(times)].count(idle.name)
    assert 20 <= found <= 60  # a sixteenth of the engines is compared each time: about 40


def test_many_engines_whose_neighbours_are_alike_are_compared_with_others():
    strategy, among = Latency(seed=1), legs(*[0] * 400)
    for leg in among[:200]:
        leg.in_flight = 5
    idle = {leg.name for leg in among[200:]}
    assert sum(first(strategy, among) in idle for _ in range(200)) > 190


def test_what_was_learnt_of_an_engine_fades_while_time_passes_and_others_are_asked():
    among, now = legs(0.1, 1.0), [0.0]
    request = Request.of("hello").bound_to(Call(clock=lambda: now[0]))
    strategy, slow = Latency(), among[1].pace.slowness
    first(strategy, among, request)
    for now[0] in (9.0, -500.0, 9.0):
        first(strategy, among, request)
    learnt = among[1].pace.slowness
    now[0] = 600.0
    first(strategy, among, request)
    assert slow > 1.3
    assert 1.0 <= among[1].pace.slowness < learnt - 0.1


@pytest.mark.parametrize("count", [3, 60])
def test_engines_that_are_twice_as_quick_get_more_of_the_work(count):
    async def go():
        engines = [Scripted("a", name=f"e{i}", delay_s=1.0 if i % 2 else 0.5) for i in range(count)]
        router = Router(engines, strategy=Latency(seed=1))

        async def ask():
            for _ in range(60):
                await router.agenerate(Request.of("hello"))

        await asyncio.gather(*(ask() for _ in range(count)))
        return Counter(engine._delay_s for engine in engines for _ in engine.requests)

    asked = run_in_virtual_time(go())
    engines_of_each = (count - count // 2, count // 2)
    assert asked[0.5] / engines_of_each[0] > 1.7 * asked[1.0] / engines_of_each[1]


def test_length_of_an_answer_does_not_make_its_engine_slow():
    one, other = legs(0, 0)
    for _ in range(100):
        one.pace.answered(10.0, tokens=1_000)
        other.pace.answered(1.0, tokens=100)
    assert one.pace.slowness == pytest.approx(other.pace.slowness, abs=0.1)


def test_engine_that_fails_at_once_is_asked_less_than_those_that_answer():
    async def go():
        bad = Scripted([errors.ServerError("down"), "a"] * 500, name="bad", delay_s=0.001)
        good = [Scripted("a", name=f"good {i}", delay_s=0.5) for i in range(2)]
        router = Router([bad, *good], breaker=Breaker(failures=1_000, failure_rate=1.0))

        async def ask():
            for _ in range(50):
                await router.agenerate(Request.of("hello"))

        await asyncio.gather(*(ask() for _ in range(12)))
        return len(bad.requests), [len(engine.requests) for engine in good]

    bad, good = run_in_virtual_time(go())
    assert bad < min(good)


def test_seed_makes_the_draws_repeatable():
    among = legs(*[0.1] * 40)
    firsts = [[first(strategy, among) for _ in range(50)] for strategy in (Latency(seed=7), Latency(seed=7))]
    assert firsts[0] == firsts[1]
    assert len(set(firsts[0])) > 10


def test_latency_counts_weight_as_speed():
    among = legs(0.1, 0.1, weight=[1, 3])
    assert first(Latency(), among) == "e1"


def test_latency_says_why():
    async def go():
        router = Router([Scripted("a", name="a", delay_s=0.25), Scripted("b", name="b", delay_s=1)], strategy="latency")
        await router.agenerate(Request.of("hello"))
        return router.route("hello")

    assert run_in_virtual_time(go()).order == (
        ("b", "not asked yet"),
        ("a", "250 ms to its first sign, slowness 1, 0 in flight"),
    )


def test_latency_tries_each_engine_once_and_then_the_fastest():
    async def go():
        slow, fast = Scripted("slow", delay_s=0.2, name="slow"), Scripted("fast", name="fast", delay_s=0.01)
        router = Router([slow, fast], strategy="latency")
        return [(await router.agenerate(Request.of("hello"))).text for _ in range(4)]

    assert run_in_virtual_time(go()) == ["slow", "fast", "fast", "fast"]


def test_many_requests_at_once_to_engines_nobody_knows_are_spread():
    async def go():
        engines = [Scripted("a", delay_s=1, name=f"e{i}") for i in range(4)]
        router = Router(engines, strategy=Latency(seed=3))
        await asyncio.gather(*(router.agenerate(Request.of("hello")) for _ in range(100)))
        return [len(engine.requests) for engine in engines]

    assert min(run_in_virtual_time(go())) >= 20


def test_engine_that_hangs_is_left_alone_before_it_has_answered_anything():
    async def go():
        hangs = Scripted("late", name="hangs", delay_s=0.05)
        router = Router([hangs, Scripted("a", name="good", delay_s=0.1)], strategy="latency")
        for _ in range(4):
            await router.agenerate(Request.of("hello"))  # both are known: the first one is quicker
        hangs._delay_s = 1_000.0
        stuck = [asyncio.create_task(router.agenerate(Request.of("hello")))]
        await asyncio.sleep(0.5)  # ten times what it took before, and no sign
        before = len(hangs.requests)
        answers = [await router.agenerate(Request.of("hello")) for _ in range(50)]
        for task in stuck:
            task.cancel()
        await asyncio.gather(*stuck, return_exceptions=True)
        return before, len(hangs.requests), {answer.text for answer in answers}

    before, after, texts = run_in_virtual_time(go())
    assert (before, after, texts) == (before, before, {"a"})


def test_engine_that_was_slow_is_tried_again_some_time():
    async def go():
        once_slow = Scripted("once slow", name="once slow", delay_s=3)
        router = Router([once_slow, Scripted("steady", name="steady", delay_s=0.1)], strategy="latency")
        await router.agenerate(Request.of("hello"))
        once_slow._delay_s = 0.01
        return [(await router.agenerate(Request.of("hello"))).text for _ in range(2_000)]

    texts = run_in_virtual_time(go())
    assert texts[:50] == ["steady"] * 50
    assert texts[-1] == "once slow"


# By price


def priced(*models):
    return tuple(Leg(Scripted("a", name=f"e{i}", model=model)) for i, model in enumerate(models))


def test_cost_takes_the_cheapest_then_the_least_busy_and_the_unknown_last():
    among = priced("unpriced", "dear", "cheap", "cheap", None)
    among[2].in_flight = 3
    strategy = Cost()
    assert names(strategy.order(among, HELLO))[:3] == ["e3", "e2", "e1"]
    assert strategy.reason(among[3]) == "about 0.000518 USD, 0 in flight"
    assert "not known" in strategy.reason(among[0])


def test_cost_goes_by_what_the_request_takes():
    prices = PriceTable({"long in": {"input": "1", "output": "9"}, "long out": {"input": "9", "output": "1"}})
    among = priced("long in", "long out")
    for text, tokens, expected in (("word " * 1_000, 1, "e0"), ("word", 1_000, "e1")):
        request = Request(messages=Request.of(text).messages, max_tokens=tokens, call=Call(prices=prices))
        assert first(Cost(), among, request) == expected


async def test_cost_works_without_a_run_of_a_pipeline():
    engines = [Scripted("a", name="dear", model="dear"), Scripted("b", name="cheap", model="cheap")]
    router = Router(engines, strategy="cost", prices=PRICES)
    assert (await router.agenerate(Request.of("hello"))).text == "b"
    assert router.ledger.cost_usd > Decimal(0)


# Your own


class Last:
    def order(self, legs, request):
        return list(reversed(legs))

    def reason(self, leg):
        return "last first"


class Some:
    """Returns what it is told to."""

    def __init__(self, *orders):
        self.orders = list(orders)

    def order(self, legs, request):
        order = self.orders.pop(0) if len(self.orders) > 1 else self.orders[0]
        return order(legs) if callable(order) else order

    def reason(self, leg):
        return "told so"


async def test_own_strategy():
    router = Router([Scripted("a", name="a"), Scripted("b", name="b")], strategy=Last())
    assert (await router.agenerate(HELLO)).text == "b"
    assert router.route(HELLO).order[0] == ("b", "last first")


async def test_own_strategy_may_leave_legs_out_or_repeat_them():
    engines = [Scripted(errors.ServerError("x"), name="a"), Scripted("b", name="b"), Scripted("c", name="c")]
    router = Router(engines, strategy=Some(lambda legs: [legs[2], legs[2]]))
    assert [one.engine for one in router.route("hello").order] == ["c", "a", "b"]
    assert [one.engine for one in Router(engines, strategy=Some([])).route("hello").order] == ["a", "b", "c"]


@pytest.mark.parametrize("order", [["a"], [None], [Leg(Scripted("x"))], [[]], None])
async def test_own_strategy_that_returns_something_else_is_refused(order):
    engines = [Scripted("a", name="a"), Scripted("b", name="b")]
    with pytest.raises(errors.ConfigurationError, match="strategy Some"):
        Router(engines, strategy=Some(order))
    router = Router(engines, strategy=Some(lambda legs: legs))
    router._table.strategy.orders[:] = [order]
    with pytest.raises(errors.ConfigurationError, match="strategy Some"):
        await router.agenerate(HELLO)


def test_building_and_looking_take_no_turn_of_an_own_strategy():
    class Turning:
        def __init__(self):
            self.turn = 0

        def order(self, legs, request):
            assert request.call is not None
            self.turn += 1
            return legs

        def reason(self, leg):
            return f"turn {self.turn}"

    strategy = Turning()
    router = Router([Scripted("a")], strategy=strategy)
    assert router.route("hello").order[0].reason == "turn 1"
    assert strategy.turn == 0


@pytest.mark.parametrize(
    ("strategy", "message"),
    [
        ("latncy", "did you mean 'latency'"),
        ("prefix_afinity", "did you mean 'prefix_affinity'"),
        ("wieghted", "did you mean 'weighted'"),
        (object(), "no `order"),
        (Last, "is a class"),
        (type("NoReason", (), {"order": lambda self, legs, request: legs})(), "no `reason"),
    ],
)
def test_what_is_no_strategy_is_refused(strategy, message):
    with pytest.raises(errors.ConfigurationError, match=message):
        Router([Scripted("a")], strategy=strategy)


@pytest.mark.parametrize("weight", [0, -1, math.nan, math.inf, "1", True, None])
def test_weights_that_make_no_sense_are_refused(weight):
    with pytest.raises(errors.ConfigurationError, match="weight"):
        Leg(Scripted("a"), weight=weight)


async def test_of_many_engines_only_those_that_are_needed_are_put_in_order():
    looked_at = []

    class Lazy(Last):
        def order(self, legs, request):
            for leg in legs:
                looked_at.append(leg.name)
                yield leg

    router = Router([Scripted("a", name=f"e{i}") for i in range(100)], strategy=Lazy())
    looked_at.clear()
    call = Call()
    await router.agenerate(Request.of("hello").bound_to(call))
    assert looked_at == ["e0"]
    (routed,) = [event for event in call.events if isinstance(event, Routed)]
    assert routed.order == ("e0",)
