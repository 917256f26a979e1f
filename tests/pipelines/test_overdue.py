"""A run that is over its deadline is recorded as its caller sees it: once, with the outcome `DeadlineExceeded`."""

import asyncio
import contextlib
import threading

import pytest

from llmops_sdk import Guard, Pipeline, Scripted, Verdict, tracing
from llmops_sdk.calls import Ended
from llmops_sdk.engines import Engine
from llmops_sdk.errors import DeadlineExceeded
from llmops_sdk.messages import Chunk
from llmops_sdk.virtual_time import run_in_virtual_time

SLOW = 60.0


class Slow(Guard):
    async def check(self, text, context=None):
        await asyncio.sleep(SLOW)
        return Verdict.allow()


class Stubborn(Engine):
    """Ignores that it is cancelled, and answers later."""

    def __init__(self):
        self.goes_on = asyncio.Event()

    async def astream(self, request):
        while not self.goes_on.is_set():
            with contextlib.suppress(asyncio.CancelledError):
                await self.goes_on.wait()
        yield Chunk(text="late", finish_reason="stop")


class Trickle(Engine):
    async def astream(self, request):
        yield Chunk(text="one ")
        await asyncio.sleep(SLOW)
        yield Chunk(text="two", finish_reason="stop")


def line(*stations):
    seen = tracing.memory()
    return Pipeline("hi", *stations, hooks=[seen]), seen


def only_end(seen):
    (ended,) = seen.of(Ended)
    return ended


async def asked(pipeline, deadline_s):
    with pytest.raises(DeadlineExceeded):
        await pipeline.arun(deadline_s=deadline_s)


async def streamed(pipeline, deadline_s):
    with pytest.raises(DeadlineExceeded):
        async for _ in pipeline.astream(deadline_s=deadline_s):
            pass


async def mapped(pipeline, deadline_s):
    (result,) = await pipeline.amap([{}], deadline_s=deadline_s)
    assert isinstance(result.error, DeadlineExceeded)


@pytest.mark.parametrize("ask", [asked, streamed, mapped])
@pytest.mark.parametrize(
    "stations",
    [
        lambda: (Scripted("a", delay_s=SLOW),),
        lambda: (Slow(), Scripted("a")),
        lambda: (Scripted("a"), Slow()),
        lambda: (Slow(overlap=True), Scripted("a", delay_s=SLOW)),
        lambda: (Trickle(),),
        lambda: (Stubborn(),),
    ],
    ids=["engine", "guard", "guard of the answer", "beside", "trickle", "stubborn"],
)
def test_it_is_recorded_once_as_over_its_deadline(ask, stations):
    async def main():
        pipeline, seen = line(*stations())
        await ask(pipeline, 2.0)
        ended = only_end(seen)
        assert ended.outcome == "DeadlineExceeded"
        assert isinstance(ended.error, DeadlineExceeded)
        assert ended.at - seen.calls[0].started == pytest.approx(2.0, abs=0.1)
        if isinstance(pipeline.engine, Stubborn):  # what it says when nobody waits changes nothing
            pipeline.engine.goes_on.set()
            await asyncio.sleep(1)
            assert only_end(seen) is ended

    run_in_virtual_time(main())


def test_a_timer_that_is_early_changes_nothing(monkeypatch):
    async def main():
        pipeline, seen = line(Scripted("a", delay_s=SLOW))
        wait = asyncio.wait

        async def early(tasks, *, timeout=None, **options):  # noqa: ASYNC109  (as `asyncio.wait`)
            return await wait(tasks, timeout=None if timeout is None else timeout - 0.001, **options)

        monkeypatch.setattr(asyncio, "wait", early)
        await asked(pipeline, 2.0)
        assert only_end(seen).outcome == "DeadlineExceeded"
        assert only_end(seen).at < seen.calls[0].deadline + 0.1

    run_in_virtual_time(main())


@pytest.mark.parametrize("before_s", [1.0, 0.001])
@pytest.mark.parametrize("streams", [False, True])
def test_who_cancels_before_the_deadline_has_cancelled(before_s, streams):
    async def main():
        pipeline, seen = line(Trickle())

        async def work():
            if not streams:
                await pipeline.arun(deadline_s=2.0)
            async for _ in pipeline.astream(deadline_s=2.0):
                pass

        task = asyncio.ensure_future(work())
        await asyncio.sleep(2.0 - before_s)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        if not streams:
            assert only_end(seen).outcome == "cancelled"

    run_in_virtual_time(main())


def test_who_closes_a_stream_before_the_deadline_has_cancelled():
    async def main():
        pipeline, seen = line(Trickle())
        async with pipeline.astream(deadline_s=2.0) as stream:
            await anext(stream)
        assert only_end(seen).outcome == "cancelled"

    run_in_virtual_time(main())


def test_a_guard_that_blocks_a_thread_is_over_in_time():
    release = threading.Event()

    class Hangs(Guard):
        def check(self, text, context=None):
            release.wait(30)
            return Verdict.allow()

    pipeline, seen = line(Hangs(), Scripted("a"))
    try:
        with pytest.raises(DeadlineExceeded):
            pipeline.run(deadline_s=0.05)
        assert only_end(seen).outcome == "DeadlineExceeded"
    finally:
        release.set()


def test_its_time_is_over_and_explained():
    async def main():
        pipeline, seen = line(Stubborn())
        await asked(pipeline, 2.0)
        text = str(tracing.explain(seen.calls[0]))
        pipeline.engine.goes_on.set()
        return text

    text = run_in_virtual_time(main())
    assert "DeadlineExceeded" in text.splitlines()[0]
    assert "never ended" in text
