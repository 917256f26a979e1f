"""The breaker takes out what is dead or hangs, lets one probe through at a time, and leaves alone what only coughs."""

import asyncio
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmops_sdk import errors
from llmops_sdk.calls import Call, LimitWaited, Routed
from llmops_sdk.engines import Engine, Scripted
from llmops_sdk.messages import Choice, Request, Response
from llmops_sdk.routers import Breaker, Leg, Router
from llmops_sdk.routers._legs.circuit import Circuit
from llmops_sdk.virtual_time import run_in_virtual_time

HELLO = Request.of("hello")
NO_JITTER = 1.0


@pytest.fixture(autouse=True)
def longest_open_times(request, monkeypatch):
    if "jitter" not in request.node.name:
        monkeypatch.setattr("llmops_sdk.routers._legs.circuit.random.random", lambda: NO_JITTER)


def fail(circuit, now, times=1):
    for _ in range(times):
        circuit.failed(circuit.begin(now), now, "ServerError")


def answer(circuit, now, times=1):
    for _ in range(times):
        circuit.succeeded(circuit.begin(now), now)


def opened(now=100.0, **policy):
    circuit = Circuit(Breaker(**policy))
    fail(circuit, now, 5)
    return circuit


# Opening


def test_five_failures_in_a_row_open_it_and_an_answer_breaks_the_row():
    circuit = Circuit(Breaker())
    fail(circuit, 100.0, 4)
    answer(circuit, 100.0)
    fail(circuit, 100.0, 4)
    assert circuit.refusal(100.0) is None
    fail(circuit, 100.0)
    assert circuit.refusal(101.0) == (
        "its breaker is open after 5 failures in a row, the last one ServerError, the next probe is in 4.0 s"
    )


@pytest.mark.parametrize("share", [0.1, 0.2, 0.3])
def test_an_engine_that_fails_now_and_then_stays(share):
    circuit = Circuit(Breaker())
    chance = random.Random(7)
    for second in range(60):
        for _ in range(50):
            (fail if chance.random() < share else answer)(circuit, 100.0 + second)
            assert circuit.refusal(100.0 + second) is None


def test_half_of_twenty_open_it_though_no_five_in_a_row_failed():
    circuit = Circuit(Breaker())
    for _ in range(9):
        fail(circuit, 100.0)
        answer(circuit, 100.0)
    assert circuit.refusal(100.0) is None
    answer(circuit, 100.0)
    fail(circuit, 100.0)
    assert circuit.refusal(100.0) is not None
    assert "10 failures of 20" in circuit.refusal(100.0)


def test_what_left_the_window_does_not_count():
    circuit = Circuit(Breaker(window_s=30.0))
    for second in range(10):
        fail(circuit, 100.0 + second)
        answer(circuit, 100.0 + second)
    answer(circuit, 145.0)
    fail(circuit, 145.0)
    assert circuit.refusal(145.0) is None
    assert len(circuit._past) <= 11


def test_silence_is_four_requests_that_wait_too_long_while_nothing_else_comes():
    circuit = Circuit(Breaker())
    tickets = [circuit.begin(100.0 + i / 100) for i in range(5)]
    assert not circuit.silent(100.52, 0.5)  # three of them are late
    assert circuit.silent(100.54, 0.5)
    circuit.watch(100.71, 0.47)  # those that count as failures already are still late
    assert len(circuit._late) == 1
    assert circuit.silent(100.71, 0.5)
    circuit.succeeded(tickets[0], 100.8)
    assert not circuit.silent(101.2, 0.5)
    assert circuit.silent(101.31, 0.5)
    circuit.heard(tickets[1], 101.4)  # a stream begins
    assert not circuit.silent(102.0, 0.5)


def test_requests_that_hang_open_it_before_they_time_out_and_any_answer_closes_it():
    circuit = Circuit(Breaker())
    hanging = [circuit.begin(100.0 + i / 100) for i in range(6)]
    circuit.watch(100.7, 0.5)
    assert circuit.refusal(100.7) is None
    circuit.watch(100.81, 0.5)
    assert circuit.refusal(100.81) is not None
    assert "a request that hangs" in circuit.refusal(100.81)
    circuit.failed(hanging[0], 102.0, "EngineTimeout")
    assert circuit.failures == 6  # each counts once in the row
    circuit.succeeded(hanging[1], 102.0)
    assert circuit.refusal(102.0) is None
    for ticket in hanging[2:]:
        circuit.dropped(ticket)
    assert not circuit._late
    assert not circuit._under_way


def test_slow_requests_do_not_open_it_while_others_are_answered():
    circuit = Circuit(Breaker())
    for i in range(50):
        circuit.begin(100.0 + i)
        answer(circuit, 100.9 + i)
        circuit.watch(100.9 + i, 0.5)
    assert circuit.refusal(150.0) is None


def test_nothing_is_watched_where_that_is_not_wanted_or_nobody_knows_what_is_usual():
    for policy, usual_s in ((Breaker(slow_factor=None), 0.5), (Breaker(), None)):
        circuit = Circuit(policy)
        for _ in range(9):
            circuit.begin(100.0)
        circuit.watch(200.0, usual_s)
        assert circuit.failures == 0


# Open and half open


def test_one_probe_at_a_time_and_its_answer_closes_it():
    circuit = opened()
    assert circuit.refusal(104.9) is not None
    assert circuit.refusal(105.0) is None
    assert "half open" in circuit.remark(105.0)
    probe = circuit.begin(105.0)
    assert circuit.refusal(105.0) == "its breaker is half open, and a probe is under way"
    circuit.succeeded(probe, 106.0)
    assert circuit.refusal(106.0) is None
    assert circuit.state == "closed"


def test_a_cancelled_probe_gives_its_permit_back():
    circuit = opened()
    circuit.dropped(circuit.begin(105.0))
    assert circuit.refusal(105.1) is None


def test_a_failed_probe_opens_it_for_twice_as_long_up_to_the_most():
    circuit = opened(open_s=5.0, most_open_s=15.0)
    now = 100.0
    for length in (5.0, 10.0, 15.0, 15.0):
        assert circuit.refusal(now + length - 0.1) is not None
        assert circuit.refusal(now + length) is None
        now += length
        fail(circuit, now)


def test_it_opens_for_the_first_time_again_after_a_window_of_health():
    circuit = opened()
    answer(circuit, 105.0)
    fail(circuit, 106.0, 5)  # at once again: for 10 s
    assert circuit.refusal(115.9) is not None
    answer(circuit, 116.0)
    fail(circuit, 147.0, 5)
    assert circuit.refusal(152.0) is None


def test_jitter_spreads_the_probes_over_the_second_half():
    seen = {round(opened(now=0.0).ready_at(0.0)[0], 1) for _ in range(300)}
    assert min(seen) >= 2.5
    assert max(seen) <= 5.0
    assert len(seen) > 15


def test_a_request_from_before_it_opened_neither_closes_nor_prolongs_it():
    circuit = Circuit(Breaker())
    old = [circuit.begin(99.0) for _ in range(2)]
    fail(circuit, 100.0, 5)
    circuit.succeeded(old[0], 100.1)
    assert circuit.refusal(100.1) is not None
    circuit.failed(old[1], 105.1, "EngineTimeout")  # half open by now
    assert circuit.refusal(105.1) is None


def test_an_answer_to_a_request_that_was_sent_although_it_was_open_closes_it():
    circuit = opened()
    answer(circuit, 101.0)
    assert circuit.refusal(101.0) is None


def test_a_probe_that_hangs_opens_it_again():
    circuit = opened()
    circuit.begin(105.0)
    circuit.watch(105.9, 0.5)
    assert "open after a request that hangs" in circuit.refusal(105.9)


# Rests


def test_retry_after_rests_an_engine_exactly_that_long_and_is_no_failure():
    circuit = Circuit(Breaker())
    circuit.rested(100.0, 7.5, circuit.begin(100.0))
    answer(circuit, 101.0)  # one that was under way
    assert circuit.refusal(107.4) == "it asked to be left alone, for another 0.1 s"
    assert circuit.refusal(107.5) is None
    assert circuit.failures == 0
    assert not circuit.trouble


def test_a_429_without_retry_after_rests_longer_each_time():
    circuit = Circuit(Breaker())
    now = 100.0
    for length in (1.0, 2.0, 4.0, 8.0):
        circuit.rested(now, None, circuit.begin(now))
        assert circuit.rest_s(now) == length
        now += length
    answer(circuit, now)
    circuit.rested(now, None, circuit.begin(now))
    assert circuit.rest_s(now) == 1.0


# Whatever happens

ACTIONS = st.lists(
    st.tuples(
        st.sampled_from(["ask", "ask", "answer", "fail", "drop", "rest", "overtake", "watch"]),
        st.floats(0.0, 4.0),
        st.integers(0, 5),
    ),
    max_size=120,
)


@given(ACTIONS)
def test_never_more_than_one_probe_whatever_happens(actions):
    circuit = Circuit(Breaker(failures=2, minimum_calls=4))
    now = 100.0
    under_way: dict[
        int, bool
    ] = {}  # ticket -> whether it was let through by an open breaker, and none has opened since
    for what, seconds, which in actions:
        now += seconds
        ticket = list(under_way)[which % len(under_way)] if under_way else None
        was_open_until = circuit._open_until
        if what == "ask":
            if circuit.refusal(now) is None:
                probing = circuit.state == "open"
                under_way[circuit.begin(now)] = probing
        elif what == "watch":
            circuit.watch(now, 0.5)
        elif what == "overtake" and ticket is not None:
            under_way.pop(ticket)
            circuit.dropped(ticket)
            circuit.overtaken(now)
        elif ticket is not None:
            under_way.pop(ticket)
            end = {"answer": None, "fail": errors.ServerError("x"), "drop": asyncio.CancelledError()}
            circuit.ended(ticket, now, end.get(what, errors.RateLimitError("x", retry_after_s=1.0)))
        if circuit._open_until != was_open_until:  # a new state: what was let through before is no probe of it
            under_way = dict.fromkeys(under_way, False)
        assert sum(under_way.values()) <= 1
        assert len(circuit._under_way) + len(circuit._late) == len(under_way)


# In a router


class Dead(Engine):
    def __init__(self, name, took_s=0.0):
        self.name, self.took_s, self.asked, self.error = name, took_s, 0, errors.ServerError("down")

    async def agenerate(self, request):
        self.asked += 1
        await asyncio.sleep(self.took_s)
        if self.error is not None:
            raise self.error
        return Response(choices=(Choice(text="back"),))


def asked(text="hello", **options):
    return Request(messages=Request.of(text).messages, call=Call(**options))


def test_a_dead_engine_is_not_asked_until_its_probe_and_the_route_says_so():
    async def main():
        dead = Dead("dead")
        router = Router([dead, Scripted("b", name="good")], strategy="round_robin", breaker=Breaker(failures=3))
        for _ in range(40):
            await router.agenerate(asked())
            await asyncio.sleep(0.5)
        return dead.asked, router.route("hello"), asked()

    count, route, _ = run_in_virtual_time(main())
    assert count < 10
    assert [one.engine for one in route.order] == ["good"]
    ((engine, reason),) = route.refused
    assert engine == "dead"
    assert reason.startswith("its breaker is open after ")
    assert "the next probe is in" in reason


def test_refusals_stand_in_the_record_of_the_run():
    async def main():
        router = Router([Dead("dead"), Scripted("b", name="good")], strategy="priority", breaker=Breaker(failures=1))
        await router.agenerate(asked())
        request = asked()
        await router.agenerate(request)
        return request.call.events

    (routed,) = [event for event in run_in_virtual_time(main()) if isinstance(event, Routed)]
    assert routed.order == ("good",)
    assert routed.refused[0][0] == "dead"


def test_when_all_are_open_the_one_whose_probe_is_nearest_is_asked():
    async def main():
        first, second = Dead("first"), Dead("second")
        router = Router([second, first], strategy="priority", breaker=Breaker(failures=1), retries=0)
        fail(router.legs[1].breaker, 999.0)
        fail(router.legs[0].breaker, 1000.0)
        route = router.route("hello")
        first.error = second.error = None
        return route, (await router.agenerate(asked())).text, first.asked, second.asked

    route, text, first, second = run_in_virtual_time(main())
    assert (text, first, second) == ("back", 1, 0)
    assert [one.engine for one in route.order] == ["first"]
    assert "nobody else can be asked" in route.order[0].reason
    assert [one.engine for one in route.refused] == ["second"]


def test_an_open_engine_is_the_last_resort_when_the_others_fail():
    async def main():
        healed, wrong_key = Dead("healed"), Scripted(errors.AuthenticationError("key"), name="wrong")
        router = Router([healed, wrong_key], strategy="priority", breaker=Breaker(failures=1))
        fail(router.legs[0].breaker, 1000.0)
        healed.error = None
        return (await router.agenerate(asked())).text

    assert run_in_virtual_time(main()) == "back"


def test_engines_that_all_rest_are_waited_for_but_not_past_the_deadline():
    async def main():
        only = Dead("only")
        router = Router([only], retries=0)
        only.error = errors.RateLimitError("slow", retry_after_s=3.0)
        with pytest.raises(errors.AllEnginesFailed):
            await router.agenerate(asked())
        only.error = None
        at_once = asked(deadline_s=1.0)
        await router.agenerate(at_once)  # no request fails without an engine having been asked
        patient = asked(deadline_s=10.0)
        started = patient.call.clock()
        await router.agenerate(patient)
        return patient.call.clock() - started, patient.call.events, at_once.call.events

    waited, events, at_once = run_in_virtual_time(main())
    assert waited == pytest.approx(3.0)
    assert [event.limit for event in events if isinstance(event, LimitWaited)] == ["Retry-After of only"]
    assert not [event for event in at_once if isinstance(event, LimitWaited)]


@pytest.mark.parametrize(
    "error",
    [
        errors.BadRequestError("x"),
        errors.ContentFilteredError("x"),
        errors.NotFoundError("x"),
        errors.UnsupportedError("x"),
    ],
)
def test_what_is_wrong_with_a_request_says_nothing_of_the_engine(error):
    async def main():
        router = Router([Scripted(error, name="a")], breaker=Breaker(failures=1), retries=0)
        with pytest.raises(errors.LlmopsError):
            await router.agenerate(asked())
        return router.legs[0].breaker

    breaker = run_in_virtual_time(main())
    assert breaker.failures == 0
    assert not breaker._under_way


def test_a_hanging_engine_is_out_before_anything_timed_out():
    class Hangs(Dead):
        async def agenerate(self, request):
            self.asked += 1
            await asyncio.sleep(3600)

    async def main():
        hangs = Hangs("hangs")
        healthy = Dead("healthy", took_s=0.5)
        healthy.error = None
        router = Router([hangs, healthy], strategy="round_robin")

        async def user():
            await router.agenerate(asked(deadline_s=60.0))

        for _ in range(100):
            task = asyncio.create_task(user())
            await asyncio.sleep(0.1)
            users.append(task)
        state = router.legs[0].breaker.state
        for task in users:
            task.cancel()
        await asyncio.gather(*users, return_exceptions=True)
        return hangs.asked, state, router.legs[0]

    users: list[asyncio.Task] = []
    count, state, leg = run_in_virtual_time(main())
    assert state == "open"
    assert count < 20  # of the 50 that were its turn
    assert leg.in_flight == 0
    assert not leg.breaker._under_way
    assert not leg.breaker._late


def test_a_router_among_the_engines_has_a_breaker_too():
    async def main():
        inner = Router([Dead("x")], name="inner", retries=0)
        router = Router([inner, Scripted("b", name="b")], strategy="priority", breaker=Breaker(failures=1))
        await router.agenerate(asked())
        return router.route("hello"), router.legs[0].in_flight

    route, in_flight = run_in_virtual_time(main())
    assert [one.engine for one in route.refused] == ["inner"]
    assert in_flight == 0


def test_a_leg_has_a_breaker_of_its_own():
    own = Leg(Scripted("a", name="a"), breaker=Breaker(failures=1))
    router = Router([own, Scripted("b", name="b")], breaker=Breaker(failures=7))
    assert [leg.breaker.policy.failures for leg in router.legs] == [1, 7]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"failures": 0}, "failures"),
        ({"failures": 1.5}, "failures"),
        ({"minimum_calls": True}, "minimum_calls"),
        ({"failure_rate": 0.0}, "failure_rate"),
        ({"failure_rate": float("nan")}, "failure_rate"),
        ({"window_s": 0}, "window_s"),
        ({"open_s": float("inf")}, "open_s"),
        ({"open_s": 10.0, "most_open_s": 5.0}, "most_open_s"),
        ({"slow_factor": 0.5}, "slow_factor"),
        ({"open_s": "5"}, "open_s"),
        ({"window_s": True}, "window_s"),
        ({"failure_rate": None}, "failure_rate"),
        ({"slow_factor": "2"}, "slow_factor"),
    ],
)
def test_wrong_policies_are_refused_when_they_are_built(options, message):
    with pytest.raises(errors.ConfigurationError, match=message):
        Breaker(**options)


def test_a_long_stream_that_is_the_probe_keeps_nobody_from_being_the_next_one():
    circuit = opened(open_s=4.0)
    probe = circuit.begin(105.0)
    assert "a probe is under way" in circuit.refusal(105.0)
    circuit.heard(probe, 106.0)
    assert circuit.refusal(106.0) is None
    circuit.failed(probe, 200.0, "StreamInterrupted")
    assert "its breaker is open" in circuit.refusal(200.0)


@pytest.mark.parametrize("name", ["attempt_timeout_s", "chunk_timeout_s"])
def test_a_time_that_is_none_is_refused_when_the_router_is_built(name):
    for seconds in ("5", True):
        with pytest.raises(errors.ConfigurationError, match=name):
            Router([Scripted("a")], **{name: seconds})


def test_a_wrong_breaker_is_refused_when_the_router_is_built():
    with pytest.raises(errors.ConfigurationError, match="breaker"):
        Leg(Scripted("a"), breaker="open")
    with pytest.raises(errors.ConfigurationError, match="breaker"):
        Router([Scripted("a")], breaker=5)


@pytest.mark.parametrize(
    "made", [lambda breaker: Leg(Scripted("a"), breaker=breaker), lambda b: Router([Scripted("a")], breaker=b)]
)
def test_what_is_no_breaker_is_refused_with_what_to_write(made):
    with pytest.raises(errors.ConfigurationError, match=r"is like `Breaker\(failures=5\)`"):
        made(5)
