"""Guards that read the input while the engine already works."""

import asyncio
import contextlib

import pytest

from llmops_sdk import Chunk, Engine, Guard, Verdict
from llmops_sdk.calls import AttemptEnded, GuardChecked
from llmops_sdk.errors import DeadlineExceeded, EngineError
from llmops_sdk.guards import Regex
from llmops_sdk.virtual_time import run_in_virtual_time


class Waits(Guard):
    """Decides when it is let go."""

    blocking = False

    def __init__(self, decide=lambda text: Verdict.allow(), **options):
        super().__init__(overlap=True, **options)
        self.let_go = asyncio.Event()
        self.decide = decide

    async def check(self, text, context=None):
        await self.let_go.wait()
        return self.decide(text)


class Echo(Engine):
    """Repeats the question word by word; knows what it was asked and how often it was stopped."""

    name = "echo"

    def __init__(self, *, error=None, endless=False):
        super().__init__()
        self.asked, self.stopped = [], 0
        self.error, self.endless = error, endless

    async def astream(self, request):
        question = request.messages[-1].text
        self.asked.append(question)
        try:
            for word in question.split():
                yield Chunk(text=word + " ")
                await asyncio.sleep(0)
            if self.endless:
                await asyncio.sleep(3600)
            if self.error is not None:
                raise self.error
        except (asyncio.CancelledError, GeneratorExit):
            self.stopped += 1
            raise


async def begin(line, how, **options):
    """A run under way, and what it has emitted so far."""
    emitted = []

    async def stream():
        chunks = line.astream("say it", **options)
        async for chunk in chunks:
            emitted.append(chunk.text)  # noqa: PERF401  (it is looked at meanwhile)
        return chunks.result

    run = asyncio.ensure_future(line.arun("say it", **options) if how == "run" else stream())
    for _ in range(50):
        await asyncio.sleep(0)
    return run, emitted


hows = pytest.mark.parametrize("how", ["run", "stream"])


@hows
async def test_the_engine_begins_at_once_and_nothing_comes_out_before_the_verdict(how):
    guard, engine = Waits(), Echo()
    run, emitted = await begin(guard | engine, how)
    assert engine.asked == ["say it"]
    assert not run.done()
    assert emitted == []
    guard.let_go.set()
    result = await run
    assert result.text == "say it "
    assert [verdict.action for verdict in result.verdicts] == ["allow"]
    assert "".join(emitted) == ("say it " if how == "stream" else "")


@hows
async def test_a_block_stops_the_engine(how):
    guard, engine = Waits(lambda text: Verdict.block("no")), Echo(endless=True)
    run, emitted = await begin(guard | engine, how)
    guard.let_go.set()
    result = await run
    assert result.blocked
    assert engine.stopped == 1
    assert emitted == []
    assert [event.guard for event in result.call.events if isinstance(event, GuardChecked)] == ["waits"]
    assert [type(event.error).__name__ for event in result.call.events if isinstance(event, AttemptEnded)] == [
        "CancelledError"
    ]


@hows
async def test_a_rewrite_stops_the_engine_and_asks_it_anew_after_the_guards_behind(how):
    guard, engine = Waits(lambda text: Verdict.rewrite(text.replace("it", "secret"))), Echo(endless=True)
    behind = Regex(["secret"], action="rewrite", replacement="nothing")
    run, _ = await begin(guard | behind | engine, how)
    guard.let_go.set()
    engine.endless = False
    result = await run
    assert engine.asked == ["say it", "say nothing"]
    assert engine.stopped == 1
    assert result.text == "say nothing "
    assert [(verdict.guard, verdict.action) for verdict in result.verdicts] == [
        ("waits", "rewrite"),
        ("regex", "rewrite"),
    ]


@hows
async def test_guards_behind_that_block_the_rewritten_text_win(how):
    guard, engine = Waits(lambda text: Verdict.rewrite("secret")), Echo()
    run, emitted = await begin(guard | Regex(["secret"]) | engine, how)
    guard.let_go.set()
    result = await run
    assert result.blocked
    assert engine.asked == ["say it"]
    assert emitted == []


@hows
async def test_a_block_wins_over_an_engine_that_failed_and_without_it_the_failure_comes_out(how):
    for decide, blocked in ((lambda text: Verdict.block("no"), True), (lambda text: Verdict.allow(), False)):
        guard = Waits(decide)
        run, emitted = await begin(guard | Echo(error=EngineError("down", engine="echo")), how)
        guard.let_go.set()
        if blocked:
            assert (await run).blocked
            assert emitted == []
        else:
            with pytest.raises(EngineError, match="down"):
                await run


@hows
async def test_guards_that_do_not_overlap_read_first(how):
    guard, engine = Waits(), Echo()
    run, _ = await begin(guard | Regex(["say"]) | engine, how)
    result = await run
    assert result.blocked
    assert engine.asked == []
    assert [verdict.skipped is not None for verdict in result.verdicts] == [True, False]


@hows
async def test_the_deadline_holds_while_a_guard_reads(how):
    guard, engine = Waits(), Echo(endless=True)
    run, emitted = await begin(guard | engine, how, deadline_s=0.05)
    with pytest.raises(DeadlineExceeded):
        await run
    assert engine.stopped == 1
    assert emitted == []


@hows
async def test_a_guard_that_breaks_beside_the_engine_fails_closed(how):
    def decide(text):
        raise RuntimeError("no")

    guard, engine = Waits(decide), Echo(endless=True)
    run, _ = await begin(guard | engine, how)
    guard.let_go.set()
    result = await run
    assert result.blocked
    assert engine.stopped == 1


async def test_an_abandoned_stream_stops_guard_and_engine():
    guard, engine = Waits(), Echo(endless=True)
    run, _ = await begin(guard | engine, "stream")
    run.cancel()
    with pytest.raises(asyncio.CancelledError):
        await run
    assert engine.stopped == 1


async def test_more_chunks_than_may_wait_arrive_in_order():
    guard, engine = Waits(), Echo()
    text = " ".join(map(str, range(1000)))
    chunks = (guard | engine).astream(text)
    collected = asyncio.ensure_future(_all(chunks))
    await asyncio.sleep(0.02)
    guard.let_go.set()
    assert await collected == text + " "


async def _all(chunks):
    return "".join([chunk.text async for chunk in chunks])


def test_the_coverage_says_so():
    assert (Waits() | Echo()).coverage().rows[0][2]["input"] == "reads beside"


@pytest.mark.parametrize("how", ["whole", "stream"])
def test_an_engine_that_will_not_be_stopped_does_not_hold_up_the_refusal(how):
    class Stubborn(Engine):
        async def agenerate(self, request):
            for _ in range(10):
                with contextlib.suppress(asyncio.CancelledError):
                    await asyncio.sleep(10)
            raise EngineError("late")

        async def astream(self, request):
            yield Chunk(text=(await self.agenerate(request)).text)

    class Blocks(Waits):
        async def check(self, text, context=None):
            await asyncio.sleep(0.1)
            return Verdict(action="block")

    async def main():
        pipeline = Blocks() | Stubborn()
        started = asyncio.get_running_loop().time()
        if how == "whole":
            result = await pipeline.arun("?")
        else:
            stream = pipeline.astream("?")
            await _all(stream)
            result = stream.result
        took_s = asyncio.get_running_loop().time() - started
        await asyncio.wait(asyncio.all_tasks() - {asyncio.current_task()})
        return result.blocked, took_s

    blocked, took_s = run_in_virtual_time(main())
    assert blocked
    assert took_s < 0.2
