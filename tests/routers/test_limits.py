"""Limits: what is counted, what is refused, and that no window ever holds more than it may."""

import asyncio
import logging
import math
from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llmops_sdk import errors
from llmops_sdk.calls import Call, LimitWaited
from llmops_sdk.costs import PriceTable
from llmops_sdk.engines import Engine, Scripted
from llmops_sdk.messages import Choice, Request, Response, Usage
from llmops_sdk.routers import Adaptive, Leg, Limit, Router
from llmops_sdk.routers._limits.counters import LocalLimits
from llmops_sdk.routers._limits.meters import CONCURRENT, REQUESTS, TOKENS, USD, Blocked, Demand, Meter
from llmops_sdk.virtual_time import run_in_virtual_time

HELLO = Request.of("hello")


def meter(quantity, amount, name=None):
    return Meter(name=name or quantity.name, quantity=quantity, amount=amount, of="engine x")


def demand(quantity, amount, most):
    return Demand(meter(quantity, most), "", amount)


def asked(call=None, **parameters):
    return Request(messages=HELLO.messages, call=call or Call(), **parameters)


async def admitted(router, count, **options):
    """When each of `count` requests that are sent at once was admitted, in seconds from now; `None`: refused."""
    loop = asyncio.get_running_loop()
    began = loop.time()

    async def one():
        call = Call(**options)
        try:
            await router.agenerate(asked(call))
        except errors.LimitExceeded:
            return None
        return next(event.at for event in call.events if type(event).__name__ == "AttemptStarted") - began

    return await asyncio.gather(*(one() for _ in range(count)))


# Declaring


@pytest.mark.parametrize(
    "wrong",
    [
        {},
        {"requests_per_minute": 0},
        {"requests_per_minute": -1},
        {"requests_per_minute": math.nan},
        {"requests_per_minute": math.inf},
        {"requests_per_minute": 0.5},
        {"requests_per_minute": 10**400},
        {"requests_per_minute": [1]},
        {"requests_per_minute": True},
        {"requests_per_minute": "60"},
        {"tokens_per_minute": -5},
        {"tokens_per_minute": 2**60},
        {"concurrent": 0},
        {"concurrent": 1.5},
        {"usd_per_day": 2.5},
        {"usd_per_day": 0},
        {"usd_per_day": "-1"},
        {"usd_per_day": "NaN"},
        {"usd_per_day": "a lot"},
        {"usd_per_day": 2_000_000},
        {"usd_per_day": True},
        {"requests_per_minute": 1, "per": "person"},
        {"requests_per_minute": 1, "per": "tag:"},
        {"requests_per_minute": 1, "per": None},
    ],
)
def test_wrong_limits_are_refused_when_they_are_built(wrong):
    with pytest.raises(errors.ConfigurationError):
        Limit(**wrong)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Leg(Scripted("a"), limits=["60"]), "limits"),
        (lambda: Router([Scripted("a")], limits=["60"]), "limits"),
        (lambda: Router([Leg(Scripted("a"), limits=Limit(concurrent=1, per="router"))]), "per='router'"),
        (lambda: Router([Scripted("a")], limit_wait_s=-1), "limit_wait_s"),
        (lambda: Router([Scripted("a")], limit_wait_s=math.nan), "limit_wait_s"),
        (lambda: Router([Scripted("a")], limit_store="redis://"), "limit_store"),
    ],
)
def test_limits_where_they_cannot_be_held_are_refused(make, message):
    with pytest.raises(errors.ConfigurationError, match=message):
        make()


def test_whole_floats_and_money_in_any_exact_form_are_taken():
    limit = Limit(tokens_per_minute=1e6, usd_per_day="2.50")
    assert limit.tokens_per_minute == 1_000_000
    assert limit.usd_per_day == Decimal("2.50")


def test_a_router_without_limits_has_no_gate():
    assert Router([Scripted("a")])._table.gate is None


# Counting


OPERATIONS = st.lists(
    st.tuples(
        st.sampled_from(["reserve", "settle", "release"]),
        st.floats(0, 25),
        st.integers(1, 60),
        st.integers(0, 90),
        st.integers(0, 1_000),
    ),
    max_size=80,
)


@settings(max_examples=300)
@given(OPERATIONS, st.integers(1, 8), st.integers(20, 100), st.integers(1, 4))
def test_no_window_ever_holds_more_than_the_limit(operations, requests, tokens, places):
    """Against a log of everything: at each admission, all windows that end there hold what they may."""
    store = LocalLimits()
    meters = [meter(REQUESTS, requests), meter(TOKENS, tokens), meter(CONCURRENT, places)]
    log = []  # begun at, hold, estimated tokens, tokens or None while under way, or "never"
    now = 1_000.0
    for what, pause, estimate, taken, which in operations:
        now += pause
        open_ones = [entry for entry in log if entry[3] is None]
        if what == "reserve":
            wanted = [Demand(meters[0], "", 1), Demand(meters[1], "", estimate), Demand(meters[2], "", 1)]
            hold = store.reserve_at(wanted, now)
            if not isinstance(hold, Blocked):
                log.append([now, hold, estimate, None])
                begun = [entry for entry in log if entry[0] > now - 60 and entry[3] != "never"]
                assert len(begun) <= requests
                # What is settled counts as it was, what is under way as it was estimated.
                assert sum(entry[2] if entry[3] is None else entry[3] for entry in begun) <= tokens
                assert len(open_ones) + 1 <= places
            else:
                assert hold.sure <= (hold.at or math.inf)
                assert hold.sure == math.inf or hold.at is None or hold.at > now
        elif open_ones:
            entry = open_ones[which % len(open_ones)]
            entry[3] = taken if what == "settle" else "never"
            entry[1].end([1, taken, 0] if what == "settle" else [0, 0, 0], now)


@settings(max_examples=200)
@given(st.lists(st.floats(0, 30), min_size=1, max_size=60), st.integers(1, 6))
def test_the_moment_that_is_named_is_the_first_that_has_room(pauses, most):
    store = LocalLimits()
    wanted = [demand(REQUESTS, 1, most)]
    now = 500.0
    for pause in pauses:
        now += pause
        blocked = store.reserve_at(wanted, now)
        if isinstance(blocked, Blocked):
            assert now < blocked.at <= now + 61
            assert isinstance(store.reserve_at(wanted, blocked.at - 1e-6), Blocked)
            now = blocked.at
            assert not isinstance(store.reserve_at(wanted, now), Blocked)


def test_a_steady_flow_reaches_the_limit_but_for_a_sixtieth():
    store = LocalLimits()
    wanted = [demand(REQUESTS, 1, 60)]
    passed = sum(not isinstance(store.reserve_at(wanted, tenth / 10), Blocked) for tenth in range(10 * 60 * 61))
    assert passed >= 60 * 60


def test_what_took_less_than_estimated_makes_room_at_once():
    store = LocalLimits()
    hold = store.reserve_at([demand(TOKENS, 100, 100)], 0.0)
    assert isinstance(store.reserve_at([demand(TOKENS, 50, 100)], 1.0), Blocked)
    hold.end([40], 1.0)
    assert not isinstance(store.reserve_at([demand(TOKENS, 60, 100)], 1.0), Blocked)


def test_what_took_more_than_estimated_counts_from_then_on():
    store = LocalLimits()
    hold = store.reserve_at([demand(TOKENS, 10, 100)], 0.0)
    hold.end([100], 50.0)  # the reservation itself would count until 61
    blocked = store.reserve_at([demand(TOKENS, 20, 100)], 100.0)
    assert blocked.at == 111.0


def test_what_was_settled_above_its_estimate_is_surely_taken():
    store = LocalLimits()
    store.reserve_at([demand(TOKENS, 10, 100)], 0.0).end([100], 0.0)
    assert store.reserve_at([demand(TOKENS, 50, 100)], 0.0).sure == 61.0


def test_an_answer_that_ends_after_its_window_gives_nothing_back_that_has_left():
    store = LocalLimits()
    long = store.reserve_at([demand(TOKENS, 100, 100)], 0.0)
    store.reserve_at([demand(TOKENS, 100, 100)], 70.0)
    long.end([10], 71.0)
    assert isinstance(store.reserve_at([demand(TOKENS, 1, 100)], 72.0), Blocked)


def test_all_demands_are_met_together_or_none():
    store = LocalLimits()
    small, large = demand(CONCURRENT, 1, 1), Demand(meter(CONCURRENT, 5, "other"), "", 1)
    store.reserve_at([small], 0.0)
    assert store.reserve_at([large, small], 0.0).demand is small
    assert store.used(large, 0.0) == 0


def test_a_request_that_is_larger_than_the_limit_is_known_never_to_fit():
    blocked = LocalLimits().reserve_at([demand(TOKENS, 200, 100)], 0.0)
    assert blocked.sure == math.inf


def test_room_that_may_be_given_back_is_not_called_surely_taken():
    store = LocalLimits()
    hold = store.reserve_at([demand(TOKENS, 100, 100)], 0.0)
    assert store.reserve_at([demand(TOKENS, 50, 100)], 0.0).sure == -math.inf
    hold.end([100], 0.0)
    assert store.reserve_at([demand(TOKENS, 50, 100)], 0.0).sure == 61.0


def test_counters_of_users_who_went_away_are_dropped():
    store = LocalLimits()
    per_user = meter(REQUESTS, 5)
    for number in range(50_000):
        hold = store.reserve_at([Demand(per_user, str(number), 1)], number / 10)
        hold.end([1], number / 10)
    assert len(store) <= 2 * 620  # ten a second, for 61 seconds; what is idle goes later, but faster than new ones come


def test_money_of_a_day_is_counted_for_a_day():
    store = LocalLimits()
    store.reserve_at([demand(USD, 10, 10)], 0.0).end([10], 1.0)
    blocked = store.reserve_at([demand(USD, 1, 10)], 86_000.0)
    assert blocked.at == 86_400 + 900
    assert not isinstance(store.reserve_at([demand(USD, 10, 10)], blocked.at), Blocked)


# In a router


def test_a_router_holds_its_requests_to_the_limit():
    async def main():
        router = Router([Scripted("a", name="x")], limits=Limit(requests_per_minute=5))
        times = await admitted(router, 14)
        assert [round(time) for time in times[:10]] == [0] * 5 + [61] * 5
        assert times[10:] == [None] * 4  # nobody waits for more than `limit_wait_s` if it is known

    run_in_virtual_time(main())


def test_requests_that_cannot_come_in_time_are_refused_at_once_with_the_time_to_come_back():
    async def main():
        router = Router([Scripted("a", name="x")], limits=Limit(requests_per_minute=5))
        assert None not in await admitted(router, 5)
        began = asyncio.get_running_loop().time()
        with pytest.raises(errors.LimitExceeded) as refused:
            await router.agenerate(asked(Call(deadline_s=30)))
        assert asyncio.get_running_loop().time() == began
        assert refused.value.limit == "5 requests per minute of engine x"
        assert 60 <= refused.value.retry_after_s <= 61

    run_in_virtual_time(main())


def test_a_queue_that_is_too_long_for_the_deadline_is_not_joined():
    async def main():
        router = Router([Scripted("a", name="x")], limits=Limit(requests_per_minute=5), limit_wait_s=100)
        times = await admitted(router, 13, deadline_s=100)
        assert [time is None for time in times] == [False] * 10 + [True] * 3
        assert all(60 <= time <= 61 for time in times[5:10])

    run_in_virtual_time(main())


def test_waiting_is_recorded():
    async def main():
        router = Router([Scripted("a", name="x", delay_s=3)], limits=Limit(concurrent=1))
        call = Call()
        await asyncio.gather(router.agenerate(asked()), router.agenerate(asked(call)))
        waited = [event for event in call.events if isinstance(event, LimitWaited)]
        assert [(event.limit, event.at - event.started) for event in waited] == [("1 requests at once of engine x", 3)]

    run_in_virtual_time(main())


def test_the_next_engine_is_asked_when_the_first_has_no_room():
    async def main():
        legs = [Leg(Scripted("a", name="x", delay_s=5), limits=Limit(concurrent=1)), Scripted("b", name="y")]
        router = Router(legs, strategy="priority")
        answers = await asyncio.gather(*(router.agenerate(asked()) for _ in range(3)))
        assert [answer.engine for answer in answers] == ["x", "y", "y"]

    run_in_virtual_time(main())


@pytest.mark.parametrize("error", [errors.ServerError("down"), RuntimeError("broken")])
def test_a_failure_gives_its_place_back(error):
    async def main():
        router = Router([Scripted(error, "a")], limits=Limit(concurrent=1), retries=0)
        with pytest.raises(errors.AllEnginesFailed):
            await router.agenerate(asked())
        assert (await router.agenerate(asked(Call(deadline_s=1)))).text == "a"

    run_in_virtual_time(main())


def test_a_request_that_its_budget_refuses_gives_its_room_back():
    async def main():
        router = Router([Scripted("a")], limits=Limit(requests_per_minute=1))
        with pytest.raises(errors.BudgetExceeded):
            await router.agenerate(asked(Call(budget_usd=Decimal(0))))
        assert (await router.agenerate(asked(Call(deadline_s=1)))).text == "a"

    run_in_virtual_time(main())


def test_a_stream_that_is_left_gives_its_place_back():
    async def main():
        router = Router([Scripted(["a", "b", "c"], chunk_delay_s=1)], limits=Limit(concurrent=1))
        chunks = router.astream(asked())
        await anext(chunks)
        await chunks.aclose()
        assert (await router.agenerate(asked(Call(deadline_s=5)))).text == "abc"

    run_in_virtual_time(main())


def test_tokens_are_estimated_before_and_settled_after():
    usage = Usage(input_tokens=10, output_tokens=20)

    async def main():
        router = Router([Scripted("a", name="x", usage=usage)], limits=Limit(tokens_per_minute=100))
        times = []
        for _ in range(4):  # each reserves its `max_tokens`, 61 in all with the question, and takes 30
            await router.agenerate(asked(max_tokens=54))
            times.append(asyncio.get_running_loop().time())
        assert [round(time - times[0]) for time in times] == [0, 0, 61, 61]

    run_in_virtual_time(main())


@pytest.mark.parametrize(
    ("error", "counted"),
    [
        (errors.ServerError("down", status_code=503), False),
        (errors.EngineConnectionError("nobody listens", stage="connect"), False),
        (errors.EngineConnectionError("cut", stage="exchange"), True),
        (errors.EngineTimeout("late"), True),
    ],
)
def test_an_attempt_that_was_refused_took_no_tokens(error, counted):
    async def main():
        router = Router([Scripted(error, "a")], limits=Limit(tokens_per_minute=100), retries=0)
        with pytest.raises(errors.AllEnginesFailed):
            await router.agenerate(asked(max_tokens=60))
        answer = router.agenerate(asked(Call(deadline_s=1), max_tokens=60))
        if counted:
            with pytest.raises(errors.LimitExceeded):
                await answer
        else:
            assert (await answer).text == "a"

    run_in_virtual_time(main())


def test_each_user_has_a_limit_of_their_own():
    async def main():
        router = Router([Scripted("a")], limits=Limit(requests_per_minute=1, per="tag:user"))
        for user in ("ada", "bob"):
            await router.agenerate(asked(Call(tags={"user": user}, deadline_s=1)))
        with pytest.raises(errors.LimitExceeded, match="1 requests per minute of user ada"):
            await router.agenerate(asked(Call(tags={"user": "ada"}, deadline_s=1)))

    run_in_virtual_time(main())


class Keyed(Engine):
    def __init__(self, name, key):
        self.name = name
        self._key = key

    @property
    def key_id(self):
        return self._key

    async def agenerate(self, request):
        return Response(choices=(Choice(text=self.name),))


@pytest.mark.parametrize(("per", "count"), [("engine", 3), ("key", 2), ("router", 1)])
def test_what_counts_together_is_stated_by_per(per, count):
    async def main():
        engines = [Keyed("a", "one"), Keyed("b", "one"), Keyed("c", "two")]
        router = Router(engines, strategy="priority", limits=Limit(requests_per_minute=1, per=per))
        times = await admitted(router, 4, deadline_s=10)
        assert sum(time is not None for time in times) == count

    run_in_virtual_time(main())


def test_money_is_reserved_by_the_price_table_and_settled_as_booked():
    prices = PriceTable({"scripted": {"input": 0, "output": 1_000_000}})  # a dollar a token

    async def main():
        engine = Scripted("a", usage=Usage(output_tokens=3))
        router = Router([engine], limits=Limit(usd_per_day=10), prices=prices)
        call = Call(prices=prices, deadline_s=1)
        for _ in range(2):
            await router.agenerate(asked(call, max_tokens=4))
        with pytest.raises(errors.LimitExceeded, match="10 USD per day"):
            await router.agenerate(asked(call, max_tokens=5))
        await router.agenerate(asked(call, max_tokens=4))

    run_in_virtual_time(main())


def test_a_model_without_a_price_is_said_to_count_as_nothing(caplog):
    async def main():
        router = Router([Scripted("a", model="unheard-of")], limits=Limit(usd_per_day=1))
        for _ in range(3):
            await router.agenerate(asked())

    with caplog.at_level(logging.WARNING, logger="llmops_sdk"):
        run_in_virtual_time(main())
    assert [record.message.partition(" of ")[0] for record in caplog.records] == ["the price"]
    assert "unheard-of" in caplog.text


def test_route_says_which_engine_has_no_room_and_reserves_nothing():
    async def main():
        router = Router([Scripted("a", name="x"), Scripted("b", name="y")], limits=Limit(requests_per_minute=1))
        for _ in range(5):
            assert not router.route("hello").refused
        await router.agenerate(asked())
        (refused,) = router.route("hello").refused
        assert refused.reason.startswith(f"no room: 1 requests per minute of engine {refused.engine}, free in 6")

    run_in_virtual_time(main())


def test_a_limit_of_a_request_that_never_fits_is_refused_at_once():
    async def main():
        router = Router([Scripted("a")], limits=Limit(tokens_per_minute=100))
        with pytest.raises(errors.LimitExceeded, match="larger than that") as refused:
            await router.agenerate(asked(max_tokens=500))
        assert refused.value.retry_after_s is None

    run_in_virtual_time(main())


def test_of_two_limits_for_the_same_the_stricter_holds():
    async def main():
        leg = Leg(Scripted("a", name="x"), limits=[Limit(requests_per_minute=9), Limit(requests_per_minute=2)])
        times = await admitted(Router([leg], limits=Limit(requests_per_minute=5)), 4, deadline_s=10)
        assert sum(time is not None for time in times) == 2

    run_in_virtual_time(main())


# Under way when something else happens


def test_a_request_that_never_fits_is_refused_at_once_though_others_wait():
    async def main():
        router = Router([Scripted("a", delay_s=1)], limits=Limit(tokens_per_minute=100), limit_wait_s=1_000)
        tasks = [asyncio.create_task(router.agenerate(asked(max_tokens=90))) for _ in range(2)]
        await asyncio.sleep(0)
        began = asyncio.get_running_loop().time()
        with pytest.raises(errors.LimitExceeded, match="larger than that"):
            await router.agenerate(asked(max_tokens=900))
        assert asyncio.get_running_loop().time() == began
        assert "larger than that" in str(router.route(asked(max_tokens=900)))
        await asyncio.gather(*tasks)

    run_in_virtual_time(main())


def test_nobody_is_refused_for_tokens_that_those_before_may_not_take():
    usage = Usage(input_tokens=2, output_tokens=2)

    async def main():
        router = Router([Scripted("a", delay_s=1, usage=usage)], limits=Limit(tokens_per_minute=100))
        room = await router._table.gate.reserve(router.legs[0], asked(max_tokens=90), Call())
        room.settle(Usage(output_tokens=90), None)
        tasks = [asyncio.create_task(router.agenerate(asked(Call(deadline_s=100), max_tokens=40))) for _ in range(8)]
        await asyncio.gather(*tasks)  # each reserves 46, and takes 4
        assert asyncio.get_running_loop().time() < 1_070

    run_in_virtual_time(main())


def test_the_failure_is_told_when_there_is_no_room_for_another_attempt():
    async def main():
        router = Router([Scripted(errors.ServerError("down"), "a")], limits=Limit(requests_per_minute=1))
        with pytest.raises(errors.AllEnginesFailed, match="1 requests per minute") as failed:
            await router.agenerate(asked(Call(deadline_s=10)))
        assert [type(attempt.error) for attempt in failed.value.attempts] == [errors.ServerError]
        assert failed.value.__cause__.retry_after_s > 50

    run_in_virtual_time(main())


def test_the_limit_of_an_inner_router_is_told_as_a_limit():
    async def main():
        inner = Router([Scripted("a", delay_s=100)], limits=Limit(concurrent=1), limit_wait_s=0, name="inner")
        outer = Router([inner], retries=0)
        task = asyncio.create_task(outer.agenerate(asked()))
        await asyncio.sleep(0)
        with pytest.raises(errors.LimitExceeded, match="1 requests at once"):
            await outer.agenerate(asked())
        await task

    run_in_virtual_time(main())


@pytest.mark.parametrize("streamed", [False, True])
def test_what_an_inner_router_took_is_settled_with_the_outer_one(streamed):
    usage = Usage(input_tokens=1_000, output_tokens=2_000)

    async def main():
        engines = [
            Scripted(errors.ServerError("down"), name="x"),
            Scripted("a", name="y", usage=usage, model="gpt-5-mini"),
        ]
        inner = Router(engines, strategy="priority", name="inner")
        outer = Router([inner], limits=[Limit(tokens_per_minute=5_000), Limit(usd_per_day=1)])
        request = asked(Call(prices=PriceTable.default()))
        if streamed:
            async for _ in outer.astream(request):
                pass
        else:
            await outer.agenerate(request)
        counters = outer._table.counted.local._counters
        assert counters["tokens:engine:inner"][""].used == 3_000
        assert counters["usd:engine:inner"][""].used == int(inner.ledger.cost_usd * 10**9) > 0

    run_in_virtual_time(main())


def test_an_inner_router_whose_engines_refused_took_nothing():
    async def main():
        inner = Router([Scripted(errors.ServerError("down", status_code=500))], retries=0, name="inner")
        outer = Router([inner], retries=0, limits=Limit(tokens_per_minute=5_000))
        with pytest.raises(errors.AllEnginesFailed):
            await outer.agenerate(asked())
        assert outer._table.counted.local._counters["tokens:engine:inner"][""].used == 0

    run_in_virtual_time(main())


def test_a_price_table_that_breaks_gives_the_room_back():
    class Broken:
        def price(self, *_, **__):
            raise RuntimeError("broken")

    async def main():
        router = Router([Scripted("a")], limits=Limit(concurrent=1))
        for _ in range(2):
            with pytest.raises(RuntimeError):
                await router.agenerate(asked(Call(prices=Broken(), budget_usd=Decimal(1), deadline_s=5)))
        assert (await router.agenerate(asked(Call(deadline_s=1)))).text == "a"

    run_in_virtual_time(main())


def test_a_reload_moves_those_who_wait_by_the_new_limit():
    async def main():
        router = Router([Scripted("a", name="x")], limits=Limit(requests_per_minute=1))
        await router.agenerate(asked())
        waits = asyncio.create_task(router.agenerate(asked()))
        await asyncio.sleep(1)
        router.reload(Router([Scripted("a", name="x")], limits=Limit(requests_per_minute=100)))
        await router.agenerate(asked())
        await waits
        assert asyncio.get_running_loop().time() == 1_001

    run_in_virtual_time(main())


def test_a_reload_keeps_what_an_adaptive_limit_has_found():
    def made():
        return Router([Leg(Scripted("a", name="x"), limits=Adaptive(initial=4))])

    router = made()
    router._table.gate.measures["x"].adapting.meter.amount = 77
    router.reload(made())
    assert router._table.gate.measures["x"].adapting.meter.amount == 77
    router.reload(Router([Leg(Scripted("a", name="x"), limits=Adaptive(initial=5))]))
    assert router._table.gate.measures["x"].adapting.meter.amount == 5


def test_runs_without_the_tag_are_named():
    async def main():
        router = Router([Scripted("a")], limits=Limit(requests_per_minute=1, per="tag:user"))
        await router.agenerate(asked())
        with pytest.raises(errors.LimitExceeded, match="of runs without the tag user"):
            await router.agenerate(asked(Call(deadline_s=1)))

    run_in_virtual_time(main())
