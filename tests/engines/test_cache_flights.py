"""Equal questions at the same time are sent once; whoever leaves cuts nobody else off."""

import asyncio
import dataclasses
import gc
import threading
from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llmops_sdk import loops
from llmops_sdk.calls import AttemptEnded, CacheAnswered, Call, Ended
from llmops_sdk.costs import Price, PriceTable
from llmops_sdk.engines import Cached, Engine, MemoryStore, Scripted, response_of
from llmops_sdk.engines._cache.flights import Flight
from llmops_sdk.errors import AllEnginesFailed, Attempt, BudgetExceeded, DeadlineExceeded, ServerError
from llmops_sdk.messages import Chunk, Request, Usage
from llmops_sdk.pipelines import Pipeline
from llmops_sdk.routers import Breaker, Leg, Limit, Router
from llmops_sdk.testing import FaultServer, Reply
from llmops_sdk.virtual_time import run_in_virtual_time

ASKED = Request.of("What is it?")
PRICES = PriceTable({"scripted": Price(input=Decimal(1), output=Decimal(1))})
WORDS = [f"{number} " for number in range(10)]


class Slow(Engine):
    """Ten chunks, one each second, and counts what is under way."""

    def __init__(self, error=None, at=None):
        self.begun = self.under_way = self.stopped = 0
        self.error, self.at = error, at

    async def astream(self, request):
        self.begun += 1
        self.under_way += 1
        try:
            for number, word in enumerate(WORDS):
                await asyncio.sleep(1)
                if number == self.at:
                    raise self.error
                yield Chunk(text=word, model="scripted")
            yield Chunk(finish_reason="stop", usage=Usage(input_tokens=1, output_tokens=10), model="scripted")
        except (asyncio.CancelledError, GeneratorExit):
            self.stopped += 1
            raise
        finally:
            self.under_way -= 1


async def text_of(chunks):
    return "".join([chunk.text async for chunk in chunks])


def now():
    return asyncio.get_running_loop().time()


def test_equal_questions_are_sent_once_as_streams_and_whole():
    async def main():
        engine = Slow()
        cached = Cached(engine)
        asks = [cached.astream(ASKED), cached.astream(dataclasses.replace(ASKED))]
        texts = await asyncio.gather(*map(text_of, asks), cached.agenerate(ASKED), cached.agenerate(ASKED))
        assert [getattr(one, "text", one) for one in texts] == ["".join(WORDS)] * 4
        assert engine.begun == 1
        assert (cached.stats.misses, cached.stats.shared) == (1, 3)
        assert not cached._flights

    run_in_virtual_time(main())


def test_a_follower_reads_what_has_come_at_once_and_then_as_it_comes():
    async def main():
        cached = Cached(Slow())
        leader = asyncio.ensure_future(text_of(cached.astream(ASKED)))
        await asyncio.sleep(5.5)
        seen = [(now(), chunk.text) async for chunk in cached.astream(ASKED)]
        began = seen[0][0]
        assert [round(at - began, 1) for at, _ in seen[:6]] == [0, 0, 0, 0, 0, 0.5]
        assert await leader == "".join(text for _, text in seen) == "".join(WORDS)

    run_in_virtual_time(main())


def test_a_leader_that_leaves_cuts_nobody_off_and_the_next_one_pays():
    async def main():
        engine = Slow()
        pipeline = Pipeline("What is it?", Cached(engine), prices=PRICES)
        first, second = pipeline.astream(), pipeline.astream()
        assert (await anext(first)).text == "0 "
        rest = asyncio.ensure_future(text_of(second))
        await asyncio.sleep(2)
        await first.aclose()
        assert await rest == "".join(WORDS)
        assert (engine.begun, engine.stopped) == (1, 0)
        assert second.result.usage == Usage(input_tokens=1, output_tokens=10)
        assert second.result.cost_usd > 0
        assert not any(isinstance(event, CacheAnswered) for event in second.call.events)

    run_in_virtual_time(main())


@pytest.mark.parametrize("whole", [True, False])
def test_the_last_one_who_leaves_stops_the_work_at_once(whole):
    async def main():
        engine = Slow()
        cached = Cached(engine)

        def ask():
            return cached.agenerate(ASKED) if whole else text_of(cached.astream(ASKED))

        tasks = [asyncio.ensure_future(ask()) for _ in range(3)]
        await asyncio.sleep(2.5)
        for left, task in zip((2, 1, 0), tasks, strict=True):
            task.cancel()
            await asyncio.wait({task})
            assert task.cancelled()
            assert engine.under_way == (left > 0)
        assert not cached._flights
        assert cached.stats.entries == 0
        assert await text_of(cached.astream(ASKED)) == "".join(WORDS)
        assert engine.begun == 2

    run_in_virtual_time(main())


def test_who_asks_while_the_work_is_being_stopped_gets_work_of_its_own():
    class Clinging(Engine):
        begun = 0

        async def astream(self, request):
            self.begun += 1
            try:
                await asyncio.sleep(10)
                yield Chunk(text="done", finish_reason="stop")
            except asyncio.CancelledError:
                await asyncio.sleep(5)
                raise

    async def main():
        engine = Clinging()
        cached = Cached(engine)
        task = asyncio.ensure_future(cached.agenerate(ASKED))
        await asyncio.sleep(1)
        task.cancel()
        await asyncio.sleep(1)
        assert (await cached.agenerate(ASKED)).text == "done"
        assert engine.begun == 2
        assert task.cancelled()

    run_in_virtual_time(main())


def test_who_leaves_last_waits_until_the_work_has_stopped():
    class Clinging(Engine):
        stopped = False

        async def astream(self, request):
            yield Chunk(text="x")
            try:
                await asyncio.sleep(10)
            except asyncio.CancelledError:
                await asyncio.sleep(5)
                self.stopped = True
                raise

    async def main():
        engine = Clinging()
        chunks = Cached(engine).astream(ASKED)
        await anext(chunks)
        await asyncio.sleep(1)
        began = now()
        await chunks.aclose()
        assert engine.stopped
        assert now() - began == 5

    run_in_virtual_time(main())


def test_a_follower_keeps_its_own_deadline():
    async def main():
        engine = Slow()
        pipeline = Pipeline("What is it?", Cached(engine))
        leader = asyncio.ensure_future(pipeline.arun())
        await asyncio.sleep(1)
        began = now()
        with pytest.raises(DeadlineExceeded):
            await pipeline.arun(deadline_s=3)
        assert now() - began == pytest.approx(3, abs=0.1)
        assert (await leader).text == "".join(WORDS)
        assert engine.begun == 1

    run_in_virtual_time(main())


def test_the_work_has_until_the_latest_deadline_of_those_who_wait():
    async def main():
        engine = Scripted("a", delay_s=3)
        cached = Cached(engine)
        tasks = []
        for deadline_s, left in ((5, 5), (2, 5), (9, 9), (None, None), (4, None)):
            call = Call(deadline_s=deadline_s)
            tasks.append(asyncio.ensure_future(cached.agenerate(ASKED.bound_to(call))))
            await asyncio.sleep(0)
            await asyncio.sleep(0)
            assert engine.requests[0].call.remaining_s() == left
        await asyncio.gather(*tasks)
        assert len(engine.requests) == 1

    run_in_virtual_time(main())


@pytest.mark.parametrize("wrap", [lambda engine: engine, lambda engine: Router([engine], retries=0)])
def test_the_deadline_of_the_leader_is_not_that_of_its_followers(wrap):
    async def main():
        engine = Slow()
        pipeline = Pipeline("What is it?", Cached(wrap(engine)))
        leader = asyncio.ensure_future(pipeline.arun(deadline_s=4))
        await asyncio.sleep(1)
        assert (await pipeline.arun()).text == "".join(WORDS)
        with pytest.raises(DeadlineExceeded):
            await leader
        assert engine.begun <= 2
        assert engine.under_way == 0

    run_in_virtual_time(main())


def test_an_error_is_shared_and_asked_for_once():
    async def main():
        engine = Slow(ServerError("down", status_code=503), 2)
        cached = Cached(engine)
        outcomes = await asyncio.gather(*(cached.agenerate(ASKED) for _ in range(50)), return_exceptions=True)
        assert {type(one) for one in outcomes} == {ServerError}
        assert {one.status_code for one in outcomes} == {503}
        assert len({id(one) for one in outcomes}) == 50
        assert engine.begun == 1
        assert cached.stats.not_kept == 1
        with pytest.raises(ServerError):
            await cached.agenerate(ASKED)
        assert engine.begun == 2

    run_in_virtual_time(main())


@pytest.mark.parametrize(
    "error",
    [
        BudgetExceeded("spent", budget_usd=1, spent_usd=1),
        AllEnginesFailed("too late", [Attempt("a", ServerError("down"), 1.0)]),
    ],
)
def test_what_was_wrong_with_the_leader_is_not_held_against_its_followers(error):
    async def main():
        def first_fails(request):
            if len(engine.requests) == 1:
                raise error
            return "Yes"

        engine = Scripted(first_fails, delay_s=1)
        cached = Cached(engine)
        asks = [ASKED.bound_to(Call(deadline_s=deadline)) for deadline in (5, None, None, None)]
        outcomes = await asyncio.gather(*map(cached.agenerate, asks), return_exceptions=True)
        assert type(outcomes[0]) is type(error)
        assert [one.text for one in outcomes[1:]] == ["Yes"] * 3
        assert len(engine.requests) == 2

    run_in_virtual_time(main())


def test_one_of_many_pays_and_the_others_are_recorded_as_shared():
    async def main():
        pipeline = Pipeline("What is it?", Cached(Router([Slow()])), prices=PRICES)
        results = await asyncio.gather(*(pipeline.arun() for _ in range(5)))
        assert sorted(result.cost_usd > 0 for result in results) == [False] * 4 + [True]
        assert sum(result.usage.output_tokens for result in results) == 10
        shared = [event.how for result in results for event in result.call.events if isinstance(event, CacheAnswered)]
        assert shared == ["shared"] * 4
        for result in results:
            assert isinstance(result.call.events[-1], Ended)
            attempts = [event for event in result.call.events if isinstance(event, AttemptEnded)]
            assert len(attempts) == (result.cost_usd > 0)

    run_in_virtual_time(main())


def test_a_slow_reader_does_not_hold_up_a_fast_one_and_nobody_runs_far_ahead():
    class Endless(Engine):
        made = 0

        async def astream(self, request):
            for _ in range(5000):
                self.made += 1
                yield Chunk(text="x")
            yield Chunk(finish_reason="stop")

    async def main():
        engine = Endless()
        cached = Cached(engine)
        slow = cached.astream(ASKED)
        await anext(slow)
        await asyncio.sleep(10)
        assert engine.made <= 300
        assert await text_of(cached.astream(ASKED)) == "x" * 5000
        assert len(await text_of(slow)) == 4999
        assert cached.stats.misses == 1

    run_in_virtual_time(main())


@settings(max_examples=60)
@given(st.lists(st.tuples(st.floats(0, 12), st.booleans(), st.none() | st.floats(0, 12)), min_size=1, max_size=6))
def test_whoever_comes_and_goes_everyone_who_stays_has_the_whole_answer(guests):
    # Each guest comes at a moment, asks for a stream or a whole answer, and leaves after a while or not at all.
    async def main():
        engine = Slow()
        cached = Cached(engine, MemoryStore())

        async def guest(comes, whole, stays):
            await asyncio.sleep(comes)
            ask = cached.agenerate(ASKED) if whole else text_of(cached.astream(ASKED))
            try:
                async with asyncio.timeout(stays):
                    answer = await ask
            except TimeoutError:
                return None
            return answer if isinstance(answer, str) else answer.text

        texts = await asyncio.gather(*(guest(*one) for one in guests))
        for text, (_, _, stays) in zip(texts, guests, strict=True):
            assert text == "".join(WORDS) or (text is None and stays is not None)
        assert engine.under_way == 0
        assert not cached._flights
        assert engine.begun <= len(guests)
        assert cached.stats.entries == (cached.stats.misses > cached.stats.not_kept)

    run_in_virtual_time(main())


@pytest.mark.parametrize(
    "wrap", [lambda engine: engine, lambda engine: Router([Cached(Cached(engine)), Scripted("?")])]
)
@pytest.mark.parametrize("whole", [True, False])
def test_wherever_two_of_three_are_cancelled_the_third_has_the_answer_and_nothing_stays(whole, wrap):
    # Step by step of the event loop: no place where one waits may strand another.
    class Steps(Slow):
        async def astream(self, request):
            self.begun += 1
            self.under_way += 1
            try:
                for word in WORDS[:3]:
                    await asyncio.sleep(0)
                    yield Chunk(text=word)
                yield Chunk(finish_reason="stop")
            finally:
                try:
                    await asyncio.sleep(0)  # what closes a connection waits, too
                finally:
                    self.under_way -= 1

    async def main(steps, leaving):
        engine = Steps()
        cached = Cached(wrap(engine), Later())

        def ask():
            return asyncio.ensure_future(cached.agenerate(ASKED) if whole else text_of(cached.astream(ASKED)))

        tasks = [ask() for _ in range(3)]
        for _ in range(steps):
            await asyncio.sleep(0)
        done = all(task.done() for task in tasks)
        for number in leaving:
            tasks[number].cancel()
        async with asyncio.timeout(100):
            outcomes = await asyncio.gather(*tasks, return_exceptions=True)
        texts = [getattr(one, "text", one) for one in outcomes]
        assert {text for number, text in enumerate(texts) if number not in leaving} <= {"0 1 2 "}
        assert all(text == "0 1 2 " or isinstance(text, asyncio.CancelledError) for text in texts)
        for _ in range(20):  # until it is written down
            await asyncio.sleep(0)
        assert engine.under_way == 0
        assert not cached._flights
        assert len(asyncio.all_tasks()) == 1
        assert (await ask()) is not None
        assert engine.begun <= 2
        return done

    for leaving in ((0, 1), (1, 2), (0, 1, 2)):
        steps = 0
        while not run_in_virtual_time(main(steps, leaving)):
            steps += 1
        assert steps > 5


class Later:
    """A store that lets others go first."""

    def __init__(self):
        self.held = {}

    async def get(self, key):
        await asyncio.sleep(0)
        return self.held.get(key)

    async def put(self, key, value, ttl_s):
        await asyncio.sleep(0)
        self.held[key] = value

    async def forget(self, key):
        self.held.pop(key, None)

    async def clear(self):
        self.held.clear()


@pytest.mark.parametrize("wrap", [lambda engine: engine, lambda engine: Router([engine])])
def test_a_thousand_equal_questions_at_once_are_one_request(wrap):
    async def main():
        engine = Slow()
        pipeline = Pipeline("What is it?", Cached(wrap(engine)), prices=PRICES)
        results = await asyncio.gather(*(pipeline.arun() for _ in range(1000)))
        assert {result.text for result in results} == {"".join(WORDS)}
        assert engine.begun == 1
        assert sum(result.cost_usd for result in results) == results[0].call.price(
            "scripted", results[0].response.usage
        )

    run_in_virtual_time(main())


@pytest.mark.parametrize("whole", [True, False])
def test_an_engine_that_failed_once_is_not_counted_as_failing_for_each_who_waited(whole):
    async def main():
        failing, other = Slow(ServerError("down", status_code=503), 0), Scripted("Yes", name="other")
        router = Router([Cached(failing), other], strategy="priority", prices=PRICES, retries=1)
        pipeline = Pipeline("What is it?", router)
        asks = [pipeline.arun() if whole else text_of(pipeline.astream()) for _ in range(50)]
        assert {getattr(one, "text", one) for one in await asyncio.gather(*asks)} == {"Yes"}
        assert failing.begun == 1
        assert not router.route(ASKED).refused  # its breaker has not opened
        assert router.ledger.total.failed == 1

    run_in_virtual_time(main())


@pytest.mark.parametrize("whole", [True, False])
def test_a_hit_decides_no_probe_of_a_breaker_and_takes_no_room_of_a_limit(whole):
    async def main():
        engine = Slow()
        cached = Cached(engine)
        await cached.agenerate(ASKED)
        engine.error, engine.at = ServerError("down", status_code=503), 0
        leg = Leg(cached, limits=Limit(requests_per_minute=2))
        router = Router([leg], retries=0, breaker=Breaker(failures=1, open_s=10), limit_wait_s=0)
        with pytest.raises(AllEnginesFailed):
            await router.agenerate(Request.of("Another?"))
        await asyncio.sleep(11)  # half open
        for _ in range(5):
            answer = await (response_of(router.astream(ASKED), "x") if whole else router.agenerate(ASKED))
            assert answer.cached
        assert "half open" in str(router.route(ASKED))
        with pytest.raises(AllEnginesFailed):  # the second that was sent: there is room for it
            await router.agenerate(Request.of("Another?"))
        assert engine.begun == 3

    run_in_virtual_time(main())


def test_a_hedge_that_loses_against_a_hit_stops_its_request():
    async def main():
        slow, quick = Slow(), Scripted("Hit", name="quick")
        hit = Cached(quick)
        await hit.agenerate(ASKED)
        router = Router([Cached(slow), hit], strategy="priority", hedge=0.5)
        assert (await router.agenerate(ASKED)).text == "Hit"
        await asyncio.sleep(0)
        assert (slow.begun, slow.under_way) == (1, 0)
        assert router.ledger.cost_usd in (0, None)

    run_in_virtual_time(main())


def test_what_is_cleared_on_another_loop_while_it_is_written_down_does_not_stay():
    entered, cleared = threading.Event(), threading.Event()

    class Slowly(Later):
        async def put(self, key, value, ttl_s):
            entered.set()
            await asyncio.to_thread(cleared.wait, 10)
            self.held[key] = value

    cached = Cached(Scripted("a"), Slowly())

    async def ask():
        await cached.agenerate(ASKED)
        await asyncio.gather(*(flight.task for flight in cached._flights.values()))

    thread = threading.Thread(target=asyncio.run, args=(ask(),))
    thread.start()
    assert entered.wait(10)
    asyncio.run(cached.clear())
    cleared.set()
    thread.join()
    assert cached.store.held == {}


async def test_nothing_is_left_behind_by_flights():
    # A new error each time: one that is raised again and again keeps the frames of all times.
    cached = Cached(Scripted("a", lambda asked: ServerError("down")), MemoryStore(max_bytes=1))
    gc.collect()
    before = len(asyncio.all_tasks()), flights()
    for _ in range(20):
        await asyncio.gather(*(cached.agenerate(ASKED) for _ in range(3)), return_exceptions=True)
    await asyncio.sleep(0)
    gc.collect()
    assert (len(asyncio.all_tasks()), flights()) == before
    assert not cached._flights


def flights():
    return sum(isinstance(one, Flight) for one in gc.get_objects())


def test_several_loops_and_threads_share_the_store_and_nothing_else():
    with (
        FaultServer(Reply(text="Hello", delay_s=0.05)) as server,
        Cached(Engine.open(server.url, model="m")) as cached,
    ):
        texts = []

        def ask():
            texts.append(asyncio.run(both()))

        async def both():
            answers = await asyncio.gather(cached.agenerate(ASKED), cached.agenerate(ASKED))
            return [one.text for one in answers]

        threads = [threading.Thread(target=ask) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert texts == [["Hello", "Hello"]] * 4
        assert server.request_count <= 4
        seen = server.request_count
        assert cached.generate("What is it?").cached
        assert loops.run_sync(lambda: cached.agenerate(ASKED), method="test()").cached
        assert server.request_count == seen


async def test_cancelling_the_last_reader_ends_the_request_upstream():
    async with (
        FaultServer(Reply(text="Hello", delay_s=60)) as server,
        Cached(Engine.open(server.url, model="m")) as cached,
    ):
        tasks = [asyncio.ensure_future(cached.agenerate(ASKED)) for _ in range(2)]
        await server.auntil(lambda: server.answering == 1)
        tasks[0].cancel()
        await asyncio.wait({tasks[0]})
        assert server.answering == 1
        tasks[1].cancel()
        await asyncio.wait({tasks[1]})
        await server.auntil(lambda: server.answering == 0)
