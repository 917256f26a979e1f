"""Waiting for room: first come first served, without a herd, and gone at once when nobody waits any more."""

import asyncio
import os
import threading

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llmops_sdk import errors
from llmops_sdk.calls import Call
from llmops_sdk.engines import Scripted
from llmops_sdk.messages import Request, Usage
from llmops_sdk.routers import Leg, Limit, Router
from llmops_sdk.routers._limits.lines import Line
from llmops_sdk.virtual_time import run_in_virtual_time

HELLO = Request.of("hello")


def asked(call=None, **parameters):
    return Request(messages=HELLO.messages, call=call or Call(), **parameters)


def lines(router):
    return len(router._table.counted.lines)


def test_the_longest_waiting_goes_first():
    async def main():
        router = Router([Scripted("a", delay_s=1)], limits=Limit(concurrent=1))
        order = []

        async def one(number):
            await router.agenerate(asked())
            order.append(number)

        await asyncio.gather(*(one(number) for number in range(50)))
        assert order == list(range(50))
        assert lines(router) == 0

    run_in_virtual_time(main())


def test_a_large_request_is_not_overtaken_for_ever():
    async def main():
        usage = Usage(input_tokens=0, output_tokens=20)
        router = Router([Scripted("a", usage=usage)], limits=Limit(tokens_per_minute=100), limit_wait_s=1_000)
        done = []

        async def one(name, max_tokens):
            await router.agenerate(asked(max_tokens=max_tokens))
            done.append(name)

        async with asyncio.TaskGroup() as group:
            for number in range(4):
                group.create_task(one(f"before {number}", 14))  # 20 with the question
            await asyncio.sleep(0.1)
            group.create_task(one("large", 90))
            await asyncio.sleep(0.1)
            for number in range(20):
                group.create_task(one(f"after {number}", 14))
                await asyncio.sleep(3)
        assert done[:5] == [*(f"before {number}" for number in range(4)), "large"]

    run_in_virtual_time(main())


def test_who_waits_for_their_own_limit_keeps_nobody_else_waiting():
    async def main():
        limits = [Limit(requests_per_minute=100), Limit(requests_per_minute=1, per="tag:user")]
        router = Router([Scripted("a")], limits=limits)
        began = asyncio.get_running_loop().time()

        async def one(user):
            await router.agenerate(asked(Call(tags={"user": user})))
            return asyncio.get_running_loop().time() - began

        times = await asyncio.gather(one("ada"), one("ada"), one("bob"), one("cem"))
        assert [round(time) for time in times] == [0, 61, 0, 0]

    run_in_virtual_time(main())


def test_a_cancelled_waiter_leaves_at_once_and_the_next_one_moves_up():
    async def main():
        router = Router([Scripted("a", delay_s=10)], limits=Limit(concurrent=1))
        tasks = [asyncio.create_task(router.agenerate(asked())) for _ in range(3)]
        await asyncio.sleep(1)
        tasks[1].cancel()
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        (line,) = router._table.counted.lines._lines.values()
        assert len(line) == 1
        await asyncio.gather(tasks[0], tasks[2])
        assert asyncio.get_running_loop().time() == 1_020
        assert lines(router) == 0

    run_in_virtual_time(main())


def test_the_deadline_ends_the_wait():
    async def main():
        router = Router([Scripted("a", delay_s=100)], limits=Limit(concurrent=1))
        first = asyncio.create_task(router.agenerate(asked()))
        await asyncio.sleep(0)
        with pytest.raises(errors.LimitExceeded, match="1 requests at once") as refused:
            await router.agenerate(asked(Call(deadline_s=7)))
        assert asyncio.get_running_loop().time() == pytest.approx(1_007, abs=0.01)
        assert refused.value.retry_after_s is None
        await first

    run_in_virtual_time(main())


def test_without_a_deadline_the_longest_wait_ends_it():
    async def main():
        router = Router([Scripted("a", delay_s=100)], limits=Limit(concurrent=1), limit_wait_s=9)
        first = asyncio.create_task(router.agenerate(asked()))
        await asyncio.sleep(0)
        with pytest.raises(errors.LimitExceeded):
            await router.agenerate(asked())
        assert asyncio.get_running_loop().time() == 1_009
        await first

    run_in_virtual_time(main())


def test_whichever_engine_has_room_first_is_taken():
    async def main():
        slow = Leg(Scripted("slow", name="slow", delay_s=50), limits=Limit(concurrent=1))
        quick = Leg(Scripted("quick", name="quick", delay_s=5), limits=Limit(concurrent=1))
        router = Router([slow, quick], strategy="priority")
        answers = await asyncio.gather(*(router.agenerate(asked()) for _ in range(4)))
        assert [answer.text for answer in answers] == ["slow", "quick", "quick", "quick"]
        assert lines(router) == 0

    run_in_virtual_time(main())


def test_room_for_several_is_taken_by_several_at_once():
    async def main():
        router = Router([Scripted("a", delay_s=100)], limits=Limit(requests_per_minute=5), limit_wait_s=1_000)
        tasks = [asyncio.ensure_future(router.agenerate(asked())) for _ in range(10)]
        await asyncio.sleep(62)
        assert router.legs[0].in_flight == 10
        await asyncio.gather(*tasks)

    run_in_virtual_time(main())


def test_what_is_given_back_wakes_one_and_not_all(monkeypatch):
    async def main():
        router = Router([Scripted("a", delay_s=1)], limits=Limit(concurrent=1), limit_wait_s=10_000)
        gate = router._table.gate
        tries = 0
        room = gate._room

        async def counted(*arguments):
            nonlocal tries
            tries += 1
            return await room(*arguments)

        monkeypatch.setattr(gate, "_room", counted)
        await asyncio.gather(*(router.agenerate(asked()) for _ in range(300)))
        assert tries < 4 * 300  # when it comes, when it is the next one, and when there is room

    run_in_virtual_time(main())


@settings(max_examples=60)
@given(
    st.lists(
        st.tuples(st.floats(0, 3), st.integers(1, 60), st.sampled_from(["ada", "bob", "cem"]), st.floats(0.1, 5)),
        min_size=1,
        max_size=25,
    ),
    st.integers(0, 3),
)
def test_nobody_is_forgotten_and_nothing_is_left(arrivals, cancelled):
    async def main():
        limits = [
            Limit(concurrent=2),
            Limit(tokens_per_minute=150),
            Limit(requests_per_minute=4, concurrent=1, per="tag:user"),
        ]
        engines = [Scripted("a", name="x", delay_s=1), Scripted("b", name="y", delay_s=2)]
        router = Router(engines, limits=limits, strategy="round_robin", limit_wait_s=100_000)
        tasks = []
        for pause, tokens, user, patience in arrivals:
            await asyncio.sleep(pause)
            tasks.append(asyncio.create_task(router.agenerate(asked(Call(tags={"user": user}), max_tokens=tokens))))
            if len(tasks) % 4 < cancelled:
                asyncio.get_running_loop().call_later(patience, tasks[-1].cancel)
        outcomes = await asyncio.gather(*tasks, return_exceptions=True)
        for outcome in outcomes:
            assert isinstance(outcome, asyncio.CancelledError) or outcome.text
        assert lines(router) == 0
        for of_meter in router._table.counted.local._counters.values():
            for counter in of_meter.values():
                assert getattr(counter, "pending", 0) == 0
                assert not hasattr(counter, "pieces") or counter.used == sum(counter.pieces.values())
        assert all(leg.in_flight == 0 for leg in router.legs)

    run_in_virtual_time(main())


def test_threads_with_loops_of_their_own_share_a_limit():
    most = [0, 0]
    lock = threading.Lock()

    class Counting(Scripted):
        async def agenerate(self, request):
            with lock:
                most[0] += 1
                most[1] = max(most)
            try:
                return await super().agenerate(request)
            finally:
                with lock:
                    most[0] -= 1

    router = Router([Counting("a", delay_s=0.001)], limits=Limit(concurrent=2))

    async def many():
        await asyncio.gather(*(router.agenerate(asked()) for _ in range(50)))

    threads = [threading.Thread(target=lambda: asyncio.run(many())) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert most == [0, 2]
    assert lines(router) == 0


def test_a_long_line_leaves_no_memory_behind():
    async def main():
        router = Router([Scripted("a", delay_s=100)], limits=Limit(concurrent=1))
        tasks = [asyncio.create_task(router.agenerate(asked())) for _ in range(3_000)]
        await asyncio.sleep(1)
        (line,) = router._table.counted.lines._lines.values()
        for task in tasks[1:2_999]:
            task.cancel()
        await asyncio.sleep(1)
        assert len(line) == 1
        assert len(line._heap) < 100
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        assert lines(router) == 0

    run_in_virtual_time(main())


def test_a_run_of_a_pipeline_is_told_which_limit_it_waited_for():
    async def main():
        router = Router([Scripted("a", delay_s=100)], limits=Limit(concurrent=1))
        first = asyncio.create_task(router.agenerate(asked()))
        await asyncio.sleep(0)
        with pytest.raises(errors.LimitExceeded, match="1 requests at once"):
            await ("Hello" | router).arun(deadline_s=7)
        await first

    run_in_virtual_time(main())


def test_who_waits_when_the_router_is_closed_is_told_at_once():
    async def main():
        router = Router([Scripted("a", delay_s=10)], limits=Limit(concurrent=1))
        tasks = [asyncio.create_task(router.agenerate(asked())) for _ in range(3)]
        await asyncio.sleep(1)
        await router.aclose()
        outcomes = await asyncio.gather(*tasks[1:], return_exceptions=True)
        assert [type(outcome) for outcome in outcomes] == [errors.ClosedError] * 2
        assert asyncio.get_running_loop().time() == 1_001
        await tasks[0]
        assert lines(router) == 0

    run_in_virtual_time(main())


def test_no_thread_sleeps_through_what_another_gives_back(monkeypatch):
    """What is given back just before it is known who waits for it."""

    async def main():
        router = Router([Scripted("a")], limits=Limit(concurrent=1))
        gate, queue = router._table.gate, router._table.counted.lines
        room = await gate.reserve(router.legs[0], asked(), Call())
        stand = queue.stand

        def late(*arguments):
            monkeypatch.undo()
            room.release()
            return stand(*arguments)

        monkeypatch.setattr(queue, "stand", late)
        await gate.wait(router.legs, asked(), Call())
        assert asyncio.get_running_loop().time() == 1_000

    run_in_virtual_time(main())


def test_a_line_whose_head_has_just_left_is_not_slept_in(monkeypatch):
    async def main():
        router = Router([Scripted("a", delay_s=5)], limits=Limit(concurrent=1), limit_wait_s=100)

        def gone(demands, waiter=None):
            monkeypatch.undo()
            return Line(("concurrent:engine:scripted", "")), demands[0]

        monkeypatch.setattr(router._table.counted.lines, "before", gone)
        await router._table.gate.wait(router.legs, asked(), Call())
        assert asyncio.get_running_loop().time() == 1_000

    run_in_virtual_time(main())


@pytest.mark.skipif(not hasattr(os, "fork"), reason="forks")
@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_a_forked_child_holds_nothing_of_what_its_parent_does():
    async def main():
        router = Router([Scripted("a", delay_s=10)], limits=Limit(concurrent=1))
        tasks = [asyncio.create_task(router.agenerate(asked())) for _ in range(2)]
        await asyncio.sleep(1)
        assert (lines(router), len(router._table.counted.local)) == (1, 1)
        child = os.fork()
        if not child:
            os._exit(lines(router) + len(router._table.counted.local))
        _, status = os.waitpid(child, 0)  # noqa: ASYNC222  (in virtual time the others would go on meanwhile)
        assert os.waitstatus_to_exitcode(status) == 0
        assert (lines(router), len(router._table.counted.local)) == (1, 1)
        await asyncio.gather(*tasks)

    run_in_virtual_time(main())
