"""A second engine is asked beside a slow one; the first answer wins, and nothing of the loser is left."""

import asyncio
import contextlib
import random
from dataclasses import replace
from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llmops_sdk import errors
from llmops_sdk.calls import AttemptEnded, AttemptStarted, Call, Hedged
from llmops_sdk.costs import PriceTable, most_it_can_cost
from llmops_sdk.engines import Engine, Scripted
from llmops_sdk.messages import Choice, Chunk, Request, Response
from llmops_sdk.protocols import Capabilities
from llmops_sdk.routers import Hedge, Leg, Limit, Router
from llmops_sdk.routers._hedging.hedge import HedgeBudget
from llmops_sdk.routers._legs.latencies import Latencies
from llmops_sdk.testing import FaultServer, Hang, Reply
from llmops_sdk.virtual_time import run_in_virtual_time


class Timed(Engine):
    """Answers, fails or hangs after times that a script gives."""

    def __init__(self, name, *script):
        self.name, self.script, self.asked, self.cancelled = name, script, 0, 0

    async def agenerate(self, request):
        took_s, error = self.script[min(self.asked, len(self.script) - 1)]
        self.asked += 1
        try:
            await asyncio.sleep(took_s)
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        if error is not None:
            raise error
        return Response(choices=(Choice(text=self.name),), engine=self.name)


HANGS = (3600.0, None)
DOWN = errors.ServerError("down")


def asked(**options):
    return Request(messages=Request.of("hello").messages, call=Call(**options))


def race(*engines, hedge=0.5, **options):
    """One request: text (or error), seconds, events, router."""

    async def main():
        router = Router(engines, strategy="priority", hedge=hedge, **{"retries": 0, **options})
        request = asked()
        try:
            outcome = (await router.agenerate(request)).text
        except errors.LlmopsError as exc:
            outcome = exc
        took_s = request.call.clock() - request.call.started
        assert len(asyncio.all_tasks()) == 1
        assert asyncio.current_task().cancelling() == 0
        for leg in router.legs:
            assert leg.in_flight == 0
            assert not leg.breaker._under_way
        return outcome, took_s, request.call.events, router

    return run_in_virtual_time(main())


def of_kind(events, kind):
    return [event for event in events if isinstance(event, kind)]


# One race


def test_nothing_is_asked_twice_when_the_first_is_quick():
    outcome, took_s, events, _ = race(Timed("a", (0.4, None)), second := Timed("b", (0.1, None)))
    assert (outcome, took_s) == ("a", pytest.approx(0.4))
    assert second.asked == 0
    assert not of_kind(events, Hedged)


def test_second_engine_wins_and_the_first_is_cancelled_at_once():
    outcome, took_s, events, router = race(first := Timed("a", HANGS), Timed("b", (0.2, None)))
    assert (outcome, took_s) == ("b", pytest.approx(0.7))
    assert first.cancelled == 1
    (hedged,) = of_kind(events, Hedged)
    assert (hedged.engine, hedged.after_s) == ("b", pytest.approx(0.5))
    ended = {event.engine: event for event in of_kind(events, AttemptEnded)}
    assert isinstance(ended["a"].error, asyncio.CancelledError)
    assert ended["b"].error is None
    assert router.ledger.calls == 2  # the loser is booked, too
    assert router.legs[0].breaker.failures == 1


def test_first_engine_wins_after_all_and_the_second_is_cancelled():
    outcome, took_s, events, router = race(Timed("a", (0.6, None)), second := Timed("b", HANGS))
    assert (outcome, took_s) == ("a", pytest.approx(0.6))
    assert second.cancelled == 1
    assert len(of_kind(events, AttemptEnded)) == 2
    assert [leg.breaker.failures for leg in router.legs] == [0, 0]


def test_second_carries_on_when_the_first_fails_meanwhile():
    outcome, took_s, events, _ = race(Timed("a", (0.6, DOWN)), Timed("b", (1.0, None)))
    assert (outcome, took_s) == ("b", pytest.approx(1.5))
    assert len(of_kind(events, AttemptStarted)) == 2


def test_third_is_asked_when_the_second_fails_while_the_first_hangs():
    outcome, took_s, *_ = race(Timed("a", HANGS), Timed("b", (0.1, DOWN)), Timed("c", (0.2, None)))
    assert outcome == "c"
    assert took_s == pytest.approx(0.85)


def test_third_is_asked_beside_the_second_when_that_hangs_after_the_first_has_failed():
    outcome, took_s, *_ = race(Timed("a", (0.6, DOWN)), Timed("b", HANGS), Timed("c", (0.2, None)))
    assert outcome == "c"
    assert took_s == pytest.approx(1.2)


def test_all_that_failed_are_in_the_error():
    outcome, took_s, *_ = race(Timed("a", (2.0, DOWN)), Timed("b", (0.1, DOWN)), Timed("c", (0.2, DOWN)))
    assert isinstance(outcome, errors.AllEnginesFailed)
    assert sorted(attempt.engine for attempt in outcome.attempts) == ["a", "b", "c"]
    assert took_s == pytest.approx(2.0)


def test_a_bad_request_is_raised_at_once_and_stops_the_second():
    outcome, took_s, *_ = race(Timed("a", (0.6, errors.BadRequestError("no"))), second := Timed("b", HANGS))
    assert isinstance(outcome, errors.BadRequestError)
    assert took_s == pytest.approx(0.6)
    assert second.cancelled == 1


def test_failed_engine_may_be_asked_again_after_the_race():
    outcome, *_ = race(Timed("a", (0.6, DOWN), (0.1, None)), Timed("b", (0.2, DOWN)), retries=2)
    assert outcome == "a"


def test_an_attempt_that_times_out_leaves_the_race_to_the_second():
    outcome, took_s, *_ = race(Timed("a", HANGS), Timed("b", (0.8, None)), attempt_timeout_s=1.0)
    assert (outcome, took_s) == ("b", pytest.approx(1.3))


def test_both_at_the_same_moment_give_one_answer():
    outcome, took_s, *_ = race(Timed("a", (1.0, None)), Timed("b", (0.5, None)))
    assert outcome in ("a", "b")
    assert took_s == pytest.approx(1.0)


def test_an_engine_that_will_not_be_cancelled_keeps_nobody_waiting_for_it():
    class Stubborn(Timed):
        async def agenerate(self, request):
            for _ in range(10):
                try:
                    await asyncio.sleep(10)
                except asyncio.CancelledError:
                    self.cancelled += 1

    async def main():
        stubborn = Stubborn("b")
        router = Router([Timed("a", (0.6, None)), stubborn], strategy="priority", hedge=0.5)
        request = asked()
        await router.agenerate(request)
        took_s = request.call.clock() - request.call.started
        rest = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
        while rest and not rest[0].done():
            rest[0].cancel()
            await asyncio.sleep(1)
        return took_s

    assert run_in_virtual_time(main()) == pytest.approx(0.63)


@pytest.mark.parametrize("instead", ["answer", "error"])
def test_an_engine_that_keeps_its_cancellation_to_itself_does_not_cancel_the_caller(instead):
    class Swallows(Timed):
        async def agenerate(self, request):
            try:
                await asyncio.sleep(3600)
            except asyncio.CancelledError:
                if instead == "error":
                    raise DOWN from None
            return Response(choices=(Choice(text="a"),))

    outcome, took_s, *_ = race(Swallows("a"), Timed("b", (0.2, None)))
    assert outcome == ("a" if instead == "answer" else "b")
    assert took_s == pytest.approx(0.7)


def test_a_caller_that_is_cancelled_as_the_second_wins_is_cancelled():
    class TidiesUp(Timed):
        async def agenerate(self, request):
            try:
                await asyncio.sleep(3600)
            finally:
                await asyncio.sleep(0.1)

    async def main():
        router = Router([TidiesUp("a"), Timed("b", (0.2, None))], strategy="priority", hedge=0.5)
        task = asyncio.create_task(router.agenerate(asked()))
        await asyncio.sleep(0.75)
        task.cancel()
        await asyncio.wait((task,))
        return task.cancelled()

    assert run_in_virtual_time(main())


STEP = st.tuples(st.sampled_from([0.0, 0.1, 0.4, 0.5, 0.6, 1.0, 2.0]), st.sampled_from([None, None, DOWN]))


def test_an_engine_that_falls_silent_is_not_waited_for_longer_than_half_of_the_answers_take():
    async def main(at_once):
        # Half of the answers take 0.1 s, and more than one of 20 a second.
        times = [(1.0 if i % 10 == 9 else 0.1, None) for i in range(100)]
        router = Router(
            [Timed("first", *times, HANGS), Timed("second", (0.1, None))], strategy="priority", hedge=Hedge(share=1.0)
        )
        first = router.legs[0]
        for _ in range(100):
            await first.generate(asked(), Call())
        requests = [asked() for _ in range(at_once)]
        await asyncio.gather(*map(router.agenerate, requests))
        return [event.after_s for one in requests for event in one.call.events if isinstance(event, Hedged)]

    few = run_in_virtual_time(main(3))  # every second answer is late by then: three say nothing
    assert len(few) == 3
    assert all(after_s >= 1.0 for after_s in few)
    many = run_in_virtual_time(main(8))
    assert len(many) == 8
    assert all(0.1 <= after_s <= 0.12 for after_s in many)


def test_an_engine_that_has_never_said_a_word_is_not_waited_for_longer_than_half_of_its_peers_answers_take():
    async def main():
        router = Router([Timed("mute", HANGS), Timed("fine", (0.1, None))], strategy="round_robin", hedge="p95")
        for _ in range(19):
            await router.legs[1].generate(asked(), Call())
        router.legs[1].times.add(1.0, first_chunk=False)
        router.legs[1].times.add(1.0, first_chunk=False)
        requests = [asked() for _ in range(12)]
        await asyncio.gather(*map(router.agenerate, requests))
        return [event.after_s for one in requests for event in one.call.events if isinstance(event, Hedged)]

    hedged = run_in_virtual_time(main())
    assert len(hedged) == 6
    assert all(0.1 <= after_s <= 0.12 for after_s in hedged)


def test_while_one_waits_for_room_beside_no_other_is_chosen():
    async def main():
        engines = [Timed("down", (1.0, DOWN)), Timed("full", (3.0, None)), Timed("full too", (3.0, None))]
        legs = [Leg(engine, limits=Limit(concurrent=1)) for engine in engines]
        router = Router(legs, strategy="priority", hedge=Hedge(after_s=0.5, share=1.0), retries=0)
        full = [asyncio.create_task(legs[i].generate(asked(), Call())) for i in (1, 2)]
        gate = router._table.gate
        held = [await gate.reserve(leg, asked(), Call()) for leg in legs[1:]]
        request = asked()
        answer = asyncio.create_task(router.agenerate(request))
        await asyncio.sleep(2.0)  # the first has failed at 1.0, and the second still waits for room
        for reservation in held:
            reservation.release()
        assert (await answer).text == "full"
        await asyncio.gather(*full)
        assert [leg.in_flight for leg in legs] == [0, 0, 0]
        return [event.engine for event in request.call.events if isinstance(event, AttemptStarted)]

    assert run_in_virtual_time(main())[:2] == ["down", "full"]


@settings(max_examples=150)
@given(st.lists(st.lists(STEP, min_size=1, max_size=3), min_size=2, max_size=4), st.sampled_from([0.1, 0.5, 1.0]))
def test_whatever_the_engines_do_there_is_one_outcome_and_nothing_is_left(scripts, hedge):
    engines = [Timed(f"e{i}", *script) for i, script in enumerate(scripts)]
    outcome, _, events, _ = race(*engines, hedge=hedge, retries=1)
    if isinstance(outcome, errors.AllEnginesFailed):
        assert all(script[0][1] is not None for script in scripts)
    else:
        assert isinstance(outcome, str)
    started, ended = of_kind(events, AttemptStarted), of_kind(events, AttemptEnded)
    assert len(started) == len(ended) == sum(engine.asked for engine in engines)
    running = 0  # never more than two at work
    for event in events:
        running += isinstance(event, AttemptStarted) - isinstance(event, AttemptEnded)
        assert running <= 2


@pytest.mark.parametrize("at_s", [0.2, 0.7])
def test_cancelling_the_caller_cancels_both(at_s):
    async def main():
        first, second = Timed("a", HANGS), Timed("b", HANGS)
        router = Router([first, second], strategy="priority", hedge=0.5)
        task = asyncio.create_task(router.agenerate(asked()))
        await asyncio.sleep(at_s)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert len(asyncio.all_tasks()) == 1
        return first.cancelled, second.cancelled, [leg.in_flight for leg in router.legs]

    assert run_in_virtual_time(main()) == (1, int(at_s > 0.5), [0, 0])


def test_a_time_limit_of_the_caller_that_passes_with_the_answer_of_the_second_is_no_answer_or_no_time_out():
    async def main():
        router = Router([Timed("a", HANGS), Timed("b", (0.5, None))], strategy="priority", hedge=0.5)
        try:
            async with asyncio.timeout(1.0):
                outcome = (await router.agenerate(asked())).text
        except TimeoutError:
            outcome = "time-out"
        assert asyncio.current_task().cancelling() == 0
        await asyncio.sleep(1)  # and no cancellation comes late
        return outcome

    assert run_in_virtual_time(main()) in ("b", "time-out")


async def test_loser_on_a_real_socket_is_hung_up_on_at_once():
    async with FaultServer(Hang()) as slow, FaultServer(Reply(text="quick")) as quick:
        engines = [Engine.open(server.url, model="m", api_key="k") for server in (slow, quick)]
        async with Router(engines, strategy="priority", hedge=0.05) as router:
            assert (await router.agenerate(asked())).text == "quick"
            await slow.auntil(lambda: slow.disconnects == 1 and slow.answering == 0)
            assert [leg.in_flight for leg in router.legs] == [0, 0]


# When


def test_the_usual_time_is_the_engines_own_once_it_has_given_twenty_answers():
    async def main():
        slow, quick = Timed("slow", (2.0, None)), Timed("quick", (0.1, None))
        router = Router([slow, quick], hedge="p95", strategy="priority")
        hedge, leg = Hedge(), router.legs[0]
        before = hedge.after(leg, 0.0)
        for _ in range(20):
            await router.legs[1].generate(asked(), Call())
        by_peers = hedge.after(leg, 0.0)
        for _ in range(20):
            await leg.generate(asked(), Call())
        return before, by_peers, hedge.after(leg, 0.0)

    before, by_peers, own = run_in_virtual_time(main())
    assert before is None
    assert 0.1 <= by_peers <= 0.11
    assert 2.0 <= own <= 2.2


@given(st.lists(st.floats(0.002, 3000.0), min_size=1, max_size=300), st.sampled_from([0.5, 0.9, 0.95, 0.99]))
def test_quantiles_are_never_too_short_and_nine_percent_too_long_at_most(times, q):
    latencies = Latencies()
    for seconds in times:
        latencies.add(seconds)
    latencies._known.clear()
    exact = sorted(times)[max(-int(-q * len(times) // 1) - 1, 0)]
    assert exact <= latencies.quantile(q) * (1 + 1e-9)
    assert latencies.quantile(q) <= exact * 1.0906


def test_quantiles_follow_an_engine_that_changes_and_memory_is_bounded():
    latencies = Latencies()
    for _ in range(5000):
        latencies.add(0.1)
        assert 0.1 <= latencies.quantile(0.95) <= 0.11
    for _ in range(200):
        latencies.add(1.0)
    assert latencies.quantile(0.95) >= 1.0
    assert len(latencies) <= 1024
    latencies.add(1e9)
    latencies.add(0.0)
    assert len(latencies._counts) == 176


def test_losing_races_makes_an_engines_usual_time_neither_longer_nor_shorter():
    async def main():
        chance = random.Random(3)
        first = Timed("a", *((3600.0 if chance.random() < 0.1 else 0.5, None) for _ in range(2000)))
        router = Router([first, Timed("b", (0.5, None))], strategy="priority", hedge=Hedge(share=1.0))
        usual = []
        for _ in range(1000):
            await router.agenerate(asked())
            usual.append(router.legs[0].usual_s())
        return usual[100], usual[-1]

    early, late = run_in_virtual_time(main())
    assert 0.5 <= early <= 0.55
    assert 0.5 <= late <= 0.55


def test_losing_races_does_not_make_an_engines_usual_time_creep_down():
    async def main():
        chance = random.Random(3)
        first = Timed("a", *((0.5 + chance.expovariate(2.0), None) for _ in range(3000)))
        router = Router([first, Timed("b", (0.001, None))], strategy="priority", hedge=Hedge(share=1.0))
        for _ in range(50):
            await router.legs[0].generate(asked(), Call())
        for _ in range(2500):
            await router.agenerate(asked())
        return router.legs[0].usual_s()

    assert 1.7 <= run_in_virtual_time(main()) <= 2.3


def test_no_more_than_the_share_of_the_requests_is_asked_twice():
    async def main():
        first, second = Timed("a", (1.0, None)), Timed("b", (1.0, None))
        router = Router([first, second], strategy="priority", hedge=Hedge(after_s=0.5, share=0.1, burst=5))
        for _ in range(200):
            await router.agenerate(asked())
        return first.asked, second.asked

    assert run_in_virtual_time(main()) == (200, pytest.approx(25, abs=1))


def test_budget_is_a_bucket():
    budget = HedgeBudget(Hedge(share=0.25, burst=2))
    assert [budget.take() for _ in range(3)] == [True, True, False]
    for _ in range(4):
        budget.earn()
    assert [budget.take() for _ in range(2)] == [True, False]


@pytest.mark.parametrize(
    ("hedge", "message"),
    [
        ("p99", "hedge"),
        (True, "hedge"),
        (0.0, "over 0 seconds"),
        (-1, "over 0 seconds"),
        (float("nan"), "over 0 seconds"),
    ],
)
def test_wrong_hedges_are_refused_when_the_router_is_built(hedge, message):
    with pytest.raises(errors.ConfigurationError, match=message):
        Router([Scripted("a")], hedge=hedge)


@pytest.mark.parametrize("options", [{"quantile": 1.0}, {"share": 0}, {"share": 1.5}, {"burst": 0}, {"burst": True}])
def test_wrong_policies_are_refused_when_they_are_built(options):
    with pytest.raises(errors.ConfigurationError, match=next(iter(options))):
        Hedge(**options)


# All of it


class Lifelike(Engine):
    def __init__(self, name, kind):
        self.name, self.kind, self.asked = name, kind, 0

    async def agenerate(self, request):
        self.asked += 1
        await asyncio.sleep(3600.0 if self.kind == "hangs" else random.lognormvariate(-0.693, 0.3))
        if self.kind == "fails":
            raise errors.ServerError("down", status_code=500)
        return Response(choices=(Choice(text="hi"),), engine=self.name)


def traffic(kinds, **options):
    """2,000 requests, 64 at once: (begun, seconds) of each, and how often each engine was asked."""

    async def main():
        random.seed(1)
        engines = [Lifelike(name, kind) for name, kind in zip("abc", kinds, strict=True)]
        router = Router(engines, strategy="round_robin", **options)
        loop = asyncio.get_running_loop()
        requests = iter(range(2000))
        times = []

        async def worker():
            for _ in requests:
                begun = loop.time()
                assert (await router.agenerate(asked())).text == "hi"
                times.append((begun, loop.time() - begun))

        begun = loop.time()
        await asyncio.gather(*(worker() for _ in range(64)))
        return begun, times, [engine.asked for engine in engines]

    return run_in_virtual_time(main())


def p99(times):
    return sorted(seconds for _, seconds in times)[int(len(times) * 0.99)]


def test_with_one_engine_failing_and_one_hanging_all_are_answered_and_p99_stays_near():
    _, healthy, _ = traffic(("fine", "fine", "fine"))
    begun, times, (_, failing, hanging) = traffic(("fine", "fails", "hangs"), attempt_timeout_s=2.0)
    assert len(times) == 2000
    assert p99([one for one in times if one[0] > begun + 2.5]) <= 1.5 * p99(healthy)  # the breaker has opened
    assert failing < 60
    assert hanging < 60
    _, hedged, _ = traffic(("fine", "fails", "hangs"), hedge="p95")
    assert len(hedged) == 2000
    assert p99(hedged) <= 1.5 * p99(healthy)  # all of them, from the first one on


# With limits and budgets


class Paid(Timed):
    provider, model = "openai", "gpt-4o-mini"


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("fails", [False, True])
def test_run_that_cannot_pay_for_two_at_once_is_not_asked_twice_and_loses_nothing_by_it(stream, fails):
    down = errors.ServerError("down", status_code=500) if fails else None

    async def main():
        router = Router([Paid("a", (2.0, down)), Paid("b", (1.0, None))], strategy="priority", hedge=0.5)
        request = replace(Request.of("hello"), max_tokens=1000)
        one = most_it_can_cost(request, PriceTable.default().price("gpt-4o-mini", provider="openai"))
        request = request.bound_to(Call(budget_usd=one * Decimal("1.5"), prices=PriceTable.default()))
        if stream:
            text = "".join([chunk.text async for chunk in router.astream(request)])
        else:
            text = (await router.agenerate(request)).text
        return text, of_kind(request.call.events, Hedged)

    assert run_in_virtual_time(main()) == ("b" if fails else "a", [])


@pytest.mark.parametrize("retries", [0, 2])
@pytest.mark.parametrize("failure", [errors.ContextLengthError("long", tokens=2000), DOWN])
def test_one_that_waits_for_room_beside_another_may_lose_its_turn_meanwhile(failure, retries):
    async def main():
        small = [
            Leg(
                Timed(name, (3.0, None)),
                limits=Limit(concurrent=1),
                capabilities=Capabilities(context_window=1000),
            )
            for name in ("b", "c")
        ]
        large = Leg(Timed("large", (3.0, None)), limits=Limit(concurrent=1))
        first = Leg(Timed("a", (1.0, failure)))
        router = Router([first, *small, large], strategy="priority", hedge=0.5, retries=retries)
        busy = [asyncio.create_task(leg.engine.agenerate(asked())) for leg in (*small, large)]
        rooms = [await router._table.gate.reserve(leg, asked(), Call()) for leg in (*small, large)]
        request = asyncio.create_task(router.agenerate(asked()))
        await asyncio.gather(*busy)
        for room in rooms:
            room.release()
        text = (await request).text
        assert all(router._table.gate.refusal(leg, asked(), Call()) is None for leg in router.legs)
        return text

    assert run_in_virtual_time(main()) == ("large" if isinstance(failure, errors.ContextLengthError) else "b")


def test_loser_that_will_not_be_cancelled_does_not_keep_the_winner_s_stream_waiting():
    class Stubborn(Timed):
        async def astream(self, request):
            for _ in range(10):
                with contextlib.suppress(asyncio.CancelledError):
                    await asyncio.sleep(10)
            yield Chunk(text="late")

    async def main():
        router = Router([Stubborn("a"), Timed("b", (0.1, None))], strategy="priority", hedge=0.5)
        request = asked()
        text = "".join([chunk.text async for chunk in router.astream(request)])
        took_s = request.call.clock() - request.call.started
        await asyncio.wait(asyncio.all_tasks() - {asyncio.current_task()})
        assert router.legs[0].in_flight == 0
        return text, took_s

    assert run_in_virtual_time(main()) == ("b", pytest.approx(0.63))
