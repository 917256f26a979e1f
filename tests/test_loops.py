"""The sync face: one loop thread, bridges between loops."""

import asyncio
import threading
import time

import pytest

from llmops_sdk import loops
from llmops_sdk.errors import EngineConnectionError, SyncOnLoopError


async def count(n, *, pause_every=10**9):
    for i in range(n):
        if i % pause_every == pause_every - 1:
            await asyncio.sleep(0)
        yield i


async def doubled(n):
    await asyncio.sleep(0)
    return 2 * n


def test_run_sync_runs_on_the_one_background_thread():
    async def name():
        return threading.current_thread().name

    assert loops.run_sync(name, method="x()") == "llmops-sdk-loop"
    assert loops.run_sync(lambda: doubled(4), method="x()") == 8


def test_run_sync_raises_what_the_coroutine_raised():
    async def fail():
        raise TimeoutError("mine")

    with pytest.raises(TimeoutError, match="mine"):
        loops.run_sync(fail, method="x()", timeout_s=5, on_timeout=lambda: RuntimeError("not this"))


def test_run_sync_lets_the_caller_go_when_the_loop_is_blocked():
    async def blocks():
        time.sleep(1.5)  # noqa: ASYNC251  (that is the point)

    started = time.perf_counter()
    with pytest.raises(RuntimeError, match="over"):
        loops.run_sync(blocks, method="x()", timeout_s=0.05, on_timeout=lambda: RuntimeError("over"))
    assert time.perf_counter() - started < 1.4  # without waiting for the loop


def test_sync_call_on_the_sdk_loop_is_refused_with_advice():
    async def nested():
        return loops.run_sync(lambda: doubled(1), method="run()")

    with pytest.raises(SyncOnLoopError, match="arun"):
        loops.run_sync(nested, method="run()")


@pytest.mark.parametrize("n", [0, 1, 5, 1024, 5000])
def test_stream_sync_carries_everything_in_order(n):
    assert list(loops.stream_sync(lambda: count(n), method="stream()")) == list(range(n))


def test_stream_sync_pauses_the_producer():
    made = []

    async def numbers():
        for i in range(100_000):
            made.append(i)
            yield i

    stream = loops.stream_sync(numbers, method="stream()")
    assert next(stream) == 0
    time.sleep(0.05)
    assert len(made) < 5000
    stream.close()


def test_stream_sync_raises_after_what_came_before():
    async def breaks():
        yield 1
        raise ValueError("end")

    stream = loops.stream_sync(breaks, method="stream()")
    assert next(stream) == 1
    with pytest.raises(ValueError, match="end"):
        next(stream)


async def test_across_runs_on_the_other_loop_and_cancels_there():
    assert await loops.across(lambda: doubled(3), loops.sdk_loop()) == 6
    cancelled = threading.Event()

    async def hang():
        try:
            await asyncio.sleep(30)
        finally:
            cancelled.set()

    task = asyncio.create_task(loops.across(hang, loops.sdk_loop()))
    await asyncio.sleep(0.02)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert cancelled.wait(5)


@pytest.mark.parametrize("n", [0, 1, 3000])
async def test_stream_across_carries_everything_and_closes_there(n):
    closed = threading.Event()

    async def numbers():
        try:
            for i in range(n):
                yield i
        finally:
            closed.set()

    assert [i async for i in loops.stream_across(numbers, loops.sdk_loop())] == list(range(n))
    assert closed.wait(5)


async def test_other_loop_that_ends_is_an_error_and_no_silent_end():
    ready, there = threading.Event(), []

    async def live_for_a_while():
        there.append(asyncio.get_running_loop())
        ready.set()
        await asyncio.sleep(0.15)

    async def endless():
        while True:
            yield 1
            await asyncio.sleep(0.01)

    thread = threading.Thread(target=lambda: asyncio.run(live_for_a_while()))
    thread.start()
    ready.wait(5)
    hanging = asyncio.create_task(loops.across(lambda: asyncio.sleep(30), there[0]))
    with pytest.raises(EngineConnectionError, match="has ended"):
        async for _ in loops.stream_across(endless, there[0]):
            pass
    with pytest.raises(EngineConnectionError, match="has ended"):
        await hanging
    thread.join(5)


async def test_in_thread_does_not_hold_up_the_loop_and_keeps_context():
    names = set()

    def job():
        names.add(threading.current_thread().daemon)
        time.sleep(0.02)
        return 1

    assert await asyncio.gather(*[loops.in_thread(job) for _ in range(10)]) == [1] * 10
    assert names == {True}
    with pytest.raises(ZeroDivisionError):
        await loops.in_thread(lambda: 1 // 0)


async def test_gather_keeps_the_order_and_stops_the_rest_at_the_first_failure():
    stopped = []

    async def give(value, turns):
        for _ in range(turns):
            await asyncio.sleep(0)
        return value

    async def hang():
        try:
            await asyncio.sleep(3600)
        except asyncio.CancelledError:
            stopped.append(True)
            raise

    async def fail():
        await asyncio.sleep(0)
        raise ValueError("this one")

    assert await loops.gather(give(n, 3 - n) for n in range(3)) == [0, 1, 2]
    with pytest.raises(ValueError, match="this one"):
        await loops.gather([hang(), fail()])
    await asyncio.sleep(0)
    assert stopped == [True]


@pytest.mark.parametrize("error", [SystemExit, KeyboardInterrupt])
def test_no_task_ends_the_background_loop(error):
    async def fails():
        raise error

    for work in (fails, lambda: loops.in_thread(lambda: (_ for _ in ()).throw(error))):
        with pytest.raises(error):
            loops.run_sync(work, method="x()")
        assert loops.run_sync(lambda: doubled(4), method="x()", timeout_s=5, on_timeout=TimeoutError) == 8


def test_in_thread_raises_what_no_future_can_hold():
    with pytest.raises(RuntimeError, match="StopIteration"):
        loops.run_sync(
            lambda: loops.in_thread(lambda: next(iter(()))), method="x()", timeout_s=5, on_timeout=TimeoutError
        )
