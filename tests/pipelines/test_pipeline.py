"""The line from end to end: composition, runs, streams, maps, blocks, deadlines, closing."""

import asyncio
import gc
import multiprocessing
import os
import pickle
import sys
import threading
import time
import warnings
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal

import pytest

from llmops_sdk import errors
from llmops_sdk.calls import AttemptEnded, Ended, GuardChecked, Rendered, Started
from llmops_sdk.costs import PriceTable
from llmops_sdk.engines import Engine, Scripted
from llmops_sdk.guards import Guard, guard
from llmops_sdk.messages import Choice, Chunk, Message, Request, Response, TokenLogprob, ToolCall, Usage
from llmops_sdk.pipelines import Draft, Pipeline
from llmops_sdk.prompts import Prompt
from llmops_sdk.routers import Router
from llmops_sdk.verdicts import Finding, Verdict
from llmops_sdk.virtual_time import run_in_virtual_time


class NoShouting(Guard):
    def check(self, text, context=None):
        return Verdict.block("shouting") if text.isupper() else Verdict.allow()


class Quiet(Guard):
    """Rewrites to lower case."""

    blocking = False

    def check(self, text, context=None):
        return Verdict.rewrite(text.lower()) if text != text.lower() else Verdict.allow()


class ByProtocol:
    def check(self, text):
        return Verdict.block("no x") if "x" in text else Verdict.allow()


class AsyncNoX(Guard):
    async def check(self, text, context=None):
        await asyncio.sleep(0)
        return (
            Verdict.block("no x", [Finding(kind="x", start=text.index("x"), end=text.index("x") + 1)])
            if "x" in text
            else Verdict.allow()
        )


# Composition


def test_string_prompt_and_engine_make_a_pipeline(run):
    result = run("Say hello to {{ name }}" | Scripted("Hello, Ada!"), name="Ada")
    assert result.text == "Hello, Ada!"
    assert not result.blocked
    assert result.call.events[-1].outcome == "ok"


def test_prompt_reaches_the_engine_rendered(run):
    engine = Scripted("ok")
    run(Prompt.from_string("To {{ name }}", system="Be kind", temperature=0.5) | engine, name="Ada")
    (request,) = engine.requests
    assert [(m.role, m.text) for m in request.messages] == [("system", "Be kind"), ("user", "To Ada")]
    assert request.temperature == 0.5


def test_variables_may_be_a_mapping_and_keywords(run):
    engine = Scripted("ok")
    run("{{ a }} {{ b }}" | engine, {"a": 1}, b=2)
    assert engine.requests[0].messages[0].text == "1 2"


def test_pipeline_may_be_one_engine_and_takes_text_messages_or_requests(run):
    engine = Scripted("ok")
    for given in ("hi", Message.user("hi"), [Message.user("hi")], Request.of("hi")):
        assert run(Pipeline(engine), given).text == "ok"
    assert [request.messages[0].text for request in engine.requests] == ["hi"] * 4


def test_draft_says_that_an_engine_is_missing():
    draft = Prompt.from_string("hi") | NoShouting()
    assert isinstance(draft, Draft)
    for face in ("run", "arun", "stream", "astream", "map", "amap", "coverage"):
        with pytest.raises(errors.ConfigurationError, match="no engine yet"):
            getattr(draft, face)
    with pytest.raises(AttributeError):
        draft.nonsense  # noqa: B018
    assert (draft | Scripted("ok")).run().text == "ok"


@pytest.mark.parametrize(
    ("stations", "message"),
    [
        ((), "needs an engine"),
        (("hi",), "needs an engine"),
        (("hi", Scripted("a"), Scripted("b")), "put them into a router"),
        ((Scripted("a"), "hi"), "stands first"),
        (("hi", object(), Scripted("a")), "cannot stand in a pipeline"),
        (("hi", NoShouting, Scripted("a")), "is a class"),
        (("hi", Scripted), "is a class"),
        (("hi", lambda text: Verdict.allow(), Scripted("a")), "plain function"),
        (("hi", Engine()), "neither"),
    ],
)
def test_wrong_wiring_says_what_to_write(stations, message):
    with pytest.raises(errors.ConfigurationError, match=message):
        Pipeline(*stations)


def test_guard_without_check_is_refused_when_it_is_called_and_fails_closed(run):
    class Empty(Guard):
        pass

    result = run("hi" | Empty() | Scripted("a"))
    assert result.blocked
    assert "has no `check`" in result.verdicts[0].error


def test_duck_typed_stations_fit(run):
    class Duck:
        name = "duck"

        async def agenerate(self, request):
            return Response(choices=(Choice(text="quack"),))

        async def astream(self, request):
            yield Chunk(text="quack")

    assert run("hi" | Draft([ByProtocol()]) | Duck()).text == "quack"
    assert run("x marks" | Draft([ByProtocol()]) | Duck()).blocked


def test_missing_and_unknown_variables_name_themselves(run):
    pipeline = "Hello {{ name }}" | Scripted("a")
    with pytest.raises(errors.PromptError, match="name"):
        run(pipeline)
    with pytest.raises(errors.PromptError, match="colour"):
        run(pipeline, name="Ada", colour="red")
    with pytest.raises(errors.ConfigurationError, match="takes variables"):
        run(pipeline, "text")
    with pytest.raises(errors.ConfigurationError, match="no prompt"):
        run(Pipeline(Scripted("a")))
    with pytest.raises(errors.ConfigurationError, match="nowhere to go"):
        run(Pipeline(Scripted("a")), name="Ada")


def test_prompt_variable_with_the_name_of_an_option_is_refused():
    with pytest.raises(errors.ConfigurationError, match="tags"):
        "{{ tags }}" | Scripted("a")


# Guards


def test_guard_before_the_engine_blocks_the_input(run):
    engine = Scripted("never")
    result = run("{{ q }}" | NoShouting() | engine, q="HELP")
    assert result.blocked
    assert result.text == "Sorry, I cannot help with that."
    assert engine.requests == []
    assert [(v.guard, v.stage, v.action) for v in result.verdicts] == [("no_shouting", "input", "block")]
    with pytest.raises(errors.GuardBlocked, match="shouting") as caught:
        result.raise_for_verdict()
    assert pickle.loads(pickle.dumps(caught.value)).verdict.reason == "shouting"


def test_guard_after_the_engine_blocks_the_output_and_never_shows_it(run):
    result = run(Pipeline("hi", Scripted("SECRET PLAN"), NoShouting(), refusal="No."))
    assert result.blocked
    assert result.text == "No."
    assert result.response is None
    assert "SECRET" not in repr(result) + str(result.verdicts) + str(result.explain())


def test_same_guard_serves_both_directions(run):
    both = Pipeline("{{ q }}", NoShouting(), Scripted("fine"), NoShouting())
    result = run(both, q="help")
    assert [(v.guard, v.stage) for v in result.verdicts] == [("no_shouting", "input"), ("no_shouting-2", "output")]
    assert result.raise_for_verdict() is result


def test_guards_work_in_order_on_what_the_ones_before_let_pass(run):
    # The shout is quiet before the second guard reads it, so it is not blocked.
    assert not run("{{ q }}" | Quiet() | NoShouting() | Scripted("a"), q="HELP").blocked
    assert run("{{ q }}" | NoShouting() | Quiet() | Scripted("a"), q="HELP").blocked


def test_slow_guards_side_by_side_see_rewritten_text_and_run_at_the_same_time(run):
    class SlowQuiet(Guard):
        async def check(self, text, context=None):
            await asyncio.sleep(0.01)
            return Verdict.rewrite(text.lower())

    seen = []

    class Slow(Guard):
        async def check(self, text, context=None):
            seen.append(text)
            await asyncio.sleep(0.15)
            return Verdict.allow()

    engine = Scripted("a")
    run("{{ q }}" | SlowQuiet() | NoShouting() | engine, q="HELP")
    assert engine.requests[0].messages[0].text == "help"

    result = run("{{ q }}" | Slow() | Slow() | Slow() | engine, q="hi")
    checks = [event for event in result.call.events if isinstance(event, GuardChecked)]
    # One after the other the first check ends before the last begins.
    assert max(check.started for check in checks) < min(check.at for check in checks)
    assert seen == ["hi"] * 3


def test_rewriting_input_changes_what_the_engine_gets_and_keeps_roles(run):
    engine = Scripted("a")
    run(Pipeline(Prompt.from_string("HELLO {{ x }}", system="BE KIND"), Quiet(), engine), x="ADA")
    assert [(m.role, m.text) for m in engine.requests[0].messages] == [("system", "be kind"), ("user", "hello ada")]


def test_every_choice_and_every_tool_call_is_read(run):
    for index in range(2):
        texts = ["fine", "fine"]
        texts[index] = "SHOUT"
        answer = Response(choices=tuple(Choice(text=text) for text in texts))
        assert run("hi" | Scripted(answer) | NoShouting()).blocked
    call = ToolCall(id="1", name="send", arguments='{"to": "x"}')
    assert run("hi" | Scripted(call) | AsyncNoX()).blocked
    result = run("hi" | Scripted(ToolCall(id="1", name="send", arguments="ABC")) | Quiet())
    assert result.response.tool_calls[0].arguments == "abc"


def test_tool_calls_of_the_history_are_read(run):
    call = ToolCall(id="1", name="web", arguments='{"q": "x"}')
    history = [Message.user("hi"), Message.assistant(tool_calls=(call,))]
    assert run(Pipeline(AsyncNoX(), Scripted("a")), history).blocked
    engine = Scripted("a")
    shout = [Message.user("hi"), Message.assistant(tool_calls=(ToolCall(id="1", name="web", arguments="ABC"),))]
    run(Pipeline(Quiet(), engine), shout)
    assert engine.requests[0].messages[1].tool_calls[0].arguments == "abc"


def test_tool_results_and_history_are_read(run):
    history = [
        Message.user("hi"),
        Message.assistant(tool_calls=(ToolCall(id="1", name="web", arguments="{}"),)),
        Message.tool("x", tool_call_id="1", name="web"),
    ]
    result = run(Pipeline(AsyncNoX(), Scripted("a")), history)
    assert result.blocked
    assert result.findings[0].origin == "tool:web"


def test_broken_guard_fails_closed_unless_it_is_allowed_to_fail_open(run):
    def broken(text):
        raise KeyError("oops")

    result = run("hi" | guard(broken) | Scripted("a"))
    assert result.blocked
    assert result.verdicts[0].error == "KeyError: 'oops'"
    open_result = run("hi" | guard(on_error="allow")(broken) | Scripted("a"))
    assert open_result.text == "a"
    assert open_result.verdicts[0].error == "KeyError: 'oops'"
    nothing = run("hi" | guard(lambda text: None) | Scripted("a"))
    assert nothing.blocked
    assert "no Verdict" in nothing.verdicts[0].error


def test_every_run_leaves_a_verdict_of_every_guard(run, stream):
    pipeline = Pipeline("{{ q }}", NoShouting(), Quiet(), Scripted("ok"), NoShouting(), AsyncNoX())
    for q, blocked in (("hi", False), ("HI", True)):
        result = run(pipeline, q=q)
        streamed = stream(pipeline, q=q)[1]
        for one in (result, streamed):
            assert one.blocked is blocked
            assert [v.guard for v in one.verdicts] == ["no_shouting", "quiet", "no_shouting-2", "async_no_x"]
    assert result.verdicts[-1].skipped


def test_coverage_refuses_an_unread_surface_unless_it_is_waived():
    class TextOnly(Guard):
        covers = frozenset({"input", "output", "stream", "choices", "reasoning", "batch"})

        def check(self, text, context=None):
            return Verdict.allow()

    with pytest.raises(errors.ConfigurationError, match="tool_calls"):
        "hi" | Scripted("a") | TextOnly()
    pipeline = "hi" | Scripted("a") | TextOnly().waive("tool_calls")
    assert "waived" in str(pipeline.coverage())
    with pytest.raises(errors.ConfigurationError, match="no surface"):
        TextOnly().waive("everything")


def test_waived_surfaces_stay_unread_and_the_verdict_says_so(run, stream):
    class NoStreams(NoShouting):
        covers = frozenset({"input", "output", "tool_calls", "choices", "reasoning", "batch"})

    class NoTools(AsyncNoX):
        covers = frozenset({"input", "output", "stream", "choices", "reasoning", "batch"})

    class NoReasoning(AsyncNoX):
        covers = frozenset({"input", "output", "stream", "tool_calls", "choices", "batch"})

    texts, result = stream("hi" | Scripted("SHOUT") | NoStreams().waive("stream"))
    assert texts == ["SHOUT"]
    assert "waived" in result.verdicts[0].skipped
    assert run("hi" | Scripted("SHOUT") | NoStreams().waive("stream")).blocked
    call = ToolCall(id="1", name="send", arguments="x")
    for one in (run, lambda pipeline: stream(pipeline)[1]):
        assert not one("hi" | Scripted(call) | NoTools().waive("tool_calls")).blocked
        assert one("hi" | Scripted(call) | AsyncNoX()).blocked
        thought = Response(choices=(Choice(text="a", reasoning="x"),))
        assert not one("hi" | Scripted(thought) | NoReasoning().waive("reasoning")).blocked
        assert one("hi" | Scripted(thought) | AsyncNoX()).blocked
    with pytest.raises(errors.ConfigurationError, match="reasoning"):
        "hi" | Scripted("a") | NoReasoning()


def test_tokens_of_an_answer_stay_unless_a_guard_has_rewritten_it(run):
    tokens = {"logprobs": (TokenLogprob(token="SHOUT", logprob=-0.1),), "token_ids": (1, 2)}

    def kept(**choice):
        answer = Response(choices=(Choice(**choice, **tokens), Choice(text="fine", **tokens)))
        choices = run("hi" | Scripted(answer) | Quiet()).response.choices
        assert (choices[1].logprobs, choices[1].token_ids) == (tokens["logprobs"], (1, 2))
        return choices[0]

    assert kept(text="shout").token_ids == (1, 2)
    for rewritten in (
        kept(text="SHOUT"),
        kept(text="a", reasoning="SHOUT"),
        kept(text="a", tool_calls=(ToolCall(id="1", name="send", arguments="SHOUT"),)),
    ):
        assert (rewritten.logprobs, rewritten.token_ids) == ((), ())
    assert kept(text="a", reasoning="SHOUT").reasoning == "shout"


def test_guard_reads_empty_text(run):
    seen = []

    @guard
    def spy(text):
        seen.append(text)
        return Verdict.allow()

    assert run(Pipeline("hi", Scripted(""), spy)).text == ""
    assert seen == [""]


# Streams


def test_stream_gives_chunks_and_then_the_result(stream):
    texts, result = stream("hi" | Scripted(["Hel", "lo"]))
    assert texts == ["Hel", "lo"]
    assert result.text == "Hello"
    assert result.usage.output_tokens == 1


def test_stream_holds_everything_back_for_a_guard_that_needs_the_whole_text(stream):
    texts, result = stream("hi" | Scripted(["SHO", "UT"]) | NoShouting())
    assert texts == []
    assert result.blocked
    assert result.text == "Sorry, I cannot help with that."
    texts, result = stream("hi" | Scripted(["sho", "UT"]) | NoShouting() | Quiet())
    assert "".join(texts) == result.text == "shout"


def test_stream_of_blocked_input_gives_no_chunk(stream):
    engine = Scripted("never")
    texts, result = stream("HI" | NoShouting() | engine)
    assert texts == []
    assert result.blocked
    assert engine.requests == []


def test_stream_checks_tool_calls_and_choices(stream):
    call = ToolCall(id="1", name="send", arguments='{"to": "x"}')
    assert stream("hi" | Scripted(call) | AsyncNoX())[1].blocked
    answer = Response(choices=(Choice(text="fine", finish_reason="stop"), Choice(text="SHOUT", finish_reason="stop")))
    assert stream("hi" | Scripted(answer) | NoShouting())[1].blocked


def test_stream_error_carries_the_partial_text(stream):
    with pytest.raises(errors.StreamInterrupted) as caught:
        stream("hi" | Scripted(["Hel", errors.EngineConnectionError("cut")]))
    assert caught.value.partial_text == "Hel"


async def test_leaving_a_stream_closes_the_engine_and_is_recorded_as_cancelled():
    closed = asyncio.Event()

    class Endless(Engine):
        async def astream(self, request):
            try:
                while True:
                    yield Chunk(text="x")
                    await asyncio.sleep(0)
            finally:
                closed.set()

    async with ("hi" | Endless()).astream() as chunks:
        async for _ in chunks:
            break
    assert closed.is_set()
    assert chunks.call.events[-1].outcome == "cancelled"
    assert chunks.result is None


def test_leaving_a_sync_stream_closes_the_engine():
    closed = threading.Event()

    class Endless(Engine):
        async def astream(self, request):
            try:
                while True:
                    yield Chunk(text="x")
                    await asyncio.sleep(0)
            finally:
                closed.set()

    with ("hi" | Endless()).stream() as chunks:
        next(chunks)
    assert closed.wait(5)


# Deadlines and cancellation


class Hanging(Engine):
    """Hangs; says when it was cancelled."""

    def __init__(self, *, stubborn=False):
        self.cancelled = threading.Event()
        self.stubborn = stubborn

    async def agenerate(self, request):
        while True:
            try:
                await asyncio.sleep(30)
            except asyncio.CancelledError:
                self.cancelled.set()
                if not self.stubborn:
                    raise


@pytest.mark.parametrize("stubborn", [False, True])
def test_deadline_holds_whatever_the_engine_does(run, stubborn):
    engine = Hanging(stubborn=stubborn)
    started = time.perf_counter()
    with pytest.raises(errors.DeadlineExceeded) as caught:
        if stubborn:  # asyncio.run would wait for the stubborn task: the SDK's loop does not
            ("hi" | engine).run(deadline_s=0.1)
        else:
            run("hi" | engine, deadline_s=0.1)
    assert time.perf_counter() - started < 5
    assert caught.value.deadline_s == 0.1
    assert engine.cancelled.wait(5)
    engine.stubborn = False


def test_deadline_holds_when_a_guard_blocks_its_thread(run):
    release = threading.Event()

    @guard
    def hangs(text):
        release.wait(20)
        return Verdict.allow()

    started = time.perf_counter()
    with pytest.raises(errors.DeadlineExceeded):
        run("hi" | hangs | Scripted("a"), deadline_s=0.1)
    assert time.perf_counter() - started < 10
    release.set()


def test_deadline_holds_even_when_an_inline_guard_blocks_the_loop():
    class Rude(Guard):
        blocking = False

        def check(self, text, context=None):
            time.sleep(1.5)
            return Verdict.allow()

    started = time.perf_counter()
    with pytest.raises(errors.DeadlineExceeded):
        ("hi" | Rude() | Scripted("a")).run(deadline_s=0.05)
    assert time.perf_counter() - started < 1.4  # without waiting for the guard


def test_deadline_holds_in_streams(stream):
    class Stalls(Engine):
        async def astream(self, request):
            yield Chunk(text="some")
            await asyncio.sleep(30)

    with pytest.raises(errors.DeadlineExceeded) as caught:
        stream("hi" | Stalls(), deadline_s=0.15)
    assert caught.value.partial_text in ("", "some")  # the sync face may not know it


def test_deadline_ends_a_stream_whose_reader_is_slower_than_its_engine():
    class Endless(Engine):
        async def astream(self, request):
            while True:
                yield Chunk(text="x")

    async def main():
        text = ""
        stream = Pipeline(Endless()).astream("?", deadline_s=5)
        with pytest.raises(errors.DeadlineExceeded) as caught:
            async for chunk in stream:
                text += chunk.text
                await asyncio.sleep(1)
        assert caught.value.partial_text == text
        return len(text), len(asyncio.all_tasks())

    assert run_in_virtual_time(main()) == (5, 1)


def test_stream_with_a_deadline_gives_the_same_chunks(stream):
    texts, result = stream("hi" | Scripted([str(i) for i in range(2000)]), deadline_s=30)
    assert texts == [str(i) for i in range(2000)]
    assert result.text == "".join(texts)


@pytest.mark.parametrize("wrong", [0, -1, float("nan")])
def test_wrong_deadline_is_refused(wrong):
    with pytest.raises(errors.ConfigurationError, match="deadline_s"):
        ("hi" | Scripted("a")).run(deadline_s=wrong)


async def test_cancelling_the_caller_cancels_the_engine_at_once():
    for options in ({}, {"deadline_s": 30}):
        engine = Hanging()
        pipeline = "hi" | engine
        task = asyncio.create_task(pipeline.arun(**options))
        await asyncio.sleep(0.02)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert engine.cancelled.is_set()


# Faces


async def test_run_works_inside_a_running_loop():
    pipeline = "hi" | Scripted("a")
    assert pipeline.run().text == "a"
    assert [chunk.text for chunk in pipeline.stream()] == ["a"]
    assert (await pipeline.arun()).text == "a"


def test_run_works_in_many_threads():
    pipeline = "{{ n }}" | Scripted(lambda request: request.messages[0].text)
    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(lambda n: pipeline.run(n=n).text, range(200))) == [str(n) for n in range(200)]


def test_sync_method_on_the_sdk_loop_is_refused(run):
    class Nested(Engine):
        async def agenerate(self, request):
            return Response(choices=(Choice(text=("hi" | Scripted("a")).run().text),))

    with pytest.raises((errors.SyncOnLoopError, errors.EngineError), match="await") as caught:
        ("hi" | Nested()).run()
    assert isinstance(caught.value, errors.SyncOnLoopError)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_run_works_after_fork():
    pipeline = "hi" | Scripted("a")
    assert pipeline.run().text == "a"
    context = multiprocessing.get_context("fork")
    results = context.SimpleQueue()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # Python 3.12: forking with threads
        child = context.Process(target=lambda: results.put(pipeline.run().text))
        child.start()
    child.join(20)
    assert child.exitcode == 0
    assert results.get() == "a"


def test_exception_of_the_engine_comes_out_typed(run):
    def breaks(request):
        raise KeyError("inside")

    with pytest.raises(errors.EngineError, match="KeyError") as caught:
        run("hi" | Scripted(breaks))
    assert any("pipeline" in note for note in caught.value.__notes__)
    assert isinstance(caught.value.__cause__, KeyError)


def test_engine_that_returns_nonsense_is_named(run):
    class Wrong(Engine):
        async def agenerate(self, request):
            return "text"

    with pytest.raises(errors.ConfigurationError, match="wrong"):
        run("hi" | Wrong())


def test_map_keeps_the_order_and_failures_to_their_rows():
    def answer(request):
        n = int(request.messages[0].text)
        if n == 7:
            raise errors.ServerError("seven")
        return str(n * n)

    pipeline = "{{ n }}" | Scripted(answer)
    rows = [{"n": n} for n in range(50)]
    results = pipeline.map(rows, concurrency=8, progress=True)
    assert [r.text for r in results if not r.error] == [str(n * n) for n in range(50) if n != 7]
    assert isinstance(results[7].error, errors.ServerError)
    with pytest.raises(errors.ServerError):
        results[7].text  # noqa: B018
    assert [r.text for r in asyncio.run(pipeline.amap(iter(rows[:3])))] == ["0", "1", "4"]


def test_map_is_bounded_and_reads_rows_as_needed():
    running, most = 0, 0

    class Busy(Engine):
        async def agenerate(self, request):
            nonlocal running, most
            running += 1
            most = max(most, running)
            await asyncio.sleep(0.005)
            running -= 1
            return Response(choices=(Choice(text="a"),))

    assert len(Pipeline(Busy()).map(["q"] * 40, concurrency=4)) == 40
    assert most == 4
    for wrong in (0, True, 1.5):
        with pytest.raises(errors.ConfigurationError, match="concurrency"):
            Pipeline(Busy()).map(["q"], concurrency=wrong)
    with pytest.raises(errors.ConfigurationError, match="rows"):
        Pipeline(Busy()).map("text")


# The record


def test_record_holds_what_happened_in_order(run):
    pipeline = Pipeline("{{ q }}", NoShouting(), Scripted("ok"), Quiet())
    result = run(pipeline, q="hi", tags={"team": "a"})
    kinds = [type(event).__name__ for event in result.call.events]
    assert kinds == ["Started", "Rendered", "GuardChecked", "AttemptStarted", "AttemptEnded", "GuardChecked", "Ended"]
    assert result.call.tags == {"team": "a"}
    assert result.route == ("scripted",)
    assert result.call.state == {}


def test_hooks_get_every_event_and_break_nothing(run):
    seen, more = [], []

    def broken(event, call):
        raise RuntimeError("hook")

    pipeline = ("hi" | Scripted("a")).with_hooks(lambda event, call: seen.append(type(event)), broken)
    result = run(pipeline, hooks=[lambda event: more.append(type(event))])
    assert result.text == "a"
    assert seen == more == [Started, Rendered, *[type(e) for e in result.call.events[2:-1]], Ended]
    with pytest.raises(errors.ConfigurationError, match="no hook"):
        pipeline.with_hooks("print")


def test_failed_and_cancelled_runs_end_their_record():
    records = []
    pipeline = Pipeline("hi", Scripted(errors.ServerError("x")), hooks=[lambda event, call: records.append(event)])
    with pytest.raises(errors.ServerError):
        pipeline.run()
    assert records[-1].outcome == "ServerError"
    assert isinstance(next(e for e in records if isinstance(e, AttemptEnded)).error, errors.ServerError)


def test_an_answer_that_is_longer_than_anybody_could_know_may_pass_the_budget(run):
    engine = Scripted("a", usage=Usage(input_tokens=10**6, output_tokens=0), model="gpt-4o-mini")
    result = run("hi" | engine, budget_usd="0.01")
    assert result.cost_usd is not None
    assert result.cost_usd > Decimal("0.01")


@pytest.mark.parametrize("budget", [0, -1, "much", float("nan"), float("inf"), True, Decimal("-0.01")])
def test_a_budget_that_is_no_sum_of_money_is_refused_at_the_call(run, budget):
    engine = Scripted("a")
    with pytest.raises(errors.ConfigurationError, match="`budget_usd` is a number of US dollars over 0"):
        run("hi" | engine, budget_usd=budget)
    assert engine.requests == []


def test_cost_is_none_where_the_price_is_unknown(run):
    assert run("hi" | Scripted("a", model="nobody-knows")).cost_usd is None


@pytest.mark.parametrize(("prices", "cost"), [({}, "0.5"), ({"m": {"input": "1", "output": "1"}}, "0.000003")])
def test_what_the_engine_says_fills_in_where_the_price_table_is_silent(run, prices, cost):
    class Knows(Engine):
        model = "m"

        async def agenerate(self, request):
            usage = Usage(input_tokens=1, output_tokens=2)
            return Response(choices=(Choice(text="a"),), usage=usage, cost_usd=Decimal("0.5"))

    result = run(Pipeline("hi", Knows(), prices=PriceTable(prices)))
    assert result.cost_usd == result.call.spent_usd == Decimal(cost)


def test_explain_shows_every_station(run):
    text = str(run(Pipeline("{{ q }}", NoShouting(), Scripted("ok"), Quiet()), q="hi").explain())
    for word in ("no_shouting", "scripted", "quiet", "ms"):
        assert word in text


# Closing


def test_closing_twice_is_harmless_and_use_after_it_is_refused():
    pipeline = "hi" | Scripted("a")
    with pipeline:
        assert pipeline.run().text == "a"
    pipeline.close()
    with pytest.raises(errors.ClosedError):
        pipeline.run()
    with pytest.raises(errors.ClosedError):
        pipeline.stream()


def test_engine_that_holds_something_warns_once_when_it_was_forgotten():
    class Holding(Engine):
        async def agenerate(self, request):
            self._opened = True
            return Response(choices=(Choice(text="a"),))

        async def aclose(self):
            self._opened = False

    pipeline = "hi" | Holding()
    pipeline.run()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        del pipeline
        gc.collect()
    assert [w.category for w in caught] == [ResourceWarning]
    assert "holding" in str(caught[0].message)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with "hi" | Holding() as closed:
            closed.run()
        del closed
        gc.collect()


def test_pipelines_are_shared_without_state():
    pipeline = "{{ n }}" | Quiet() | Scripted(lambda request: request.messages[0].text)
    before = sys.getrefcount(pipeline)
    results = pipeline.map([{"n": f"N{i}"} for i in range(100)])
    assert [r.text for r in results] == [f"n{i}" for i in range(100)]
    assert sys.getrefcount(pipeline) <= before + 1


def test_a_run_leaves_no_work_for_the_garbage_collector():
    class Plain(Engine):  # `Scripted` keeps its requests
        async def agenerate(self, request):
            return Response(choices=(Choice(text="a"),))

    pipeline = Pipeline("{{ n }}", Quiet(), Router([Plain(), Plain()]), Quiet())

    async def many():
        for n in range(50):
            await pipeline.arun(n=n)

    async def measured():
        await many()
        gc.collect()
        gc.freeze()  # what is there already is not looked at again: after some thousand tests that is a lot
        gc.disable()
        try:
            await many()
            return gc.collect()
        finally:
            gc.enable()
            gc.unfreeze()

    # What other threads of the test run leave behind meanwhile counts, too: so the quietest of three tries.
    assert min(asyncio.run(measured()) for _ in range(3)) < 50


def test_guards_are_prepared_when_the_pipeline_is_built():
    prepared = []

    class Slow(Quiet):
        def prepare(self):
            prepared.append(self.name)

    Pipeline("hi", Slow(), Scripted("a"), Slow())
    assert prepared == ["slow", "slow"]


@pytest.mark.parametrize("streamed", [False, True])
@pytest.mark.parametrize(("first_s", "route"), [(5.0, ("a", "b")), (1.2, ("b", "a"))])
def test_route_of_a_hedged_run_ends_with_the_engine_that_answered(first_s, route, streamed):
    async def main():
        engines = [Scripted("a", name="a", delay_s=first_s), Scripted("b", name="b", delay_s=1.0)]
        pipeline = Pipeline(Router(engines, strategy="priority", hedge=0.5))
        if not streamed:
            return await pipeline.arun("?")
        stream = pipeline.astream("?")
        [chunk async for chunk in stream]
        return stream.result

    result = run_in_virtual_time(main())
    assert (result.route, result.text) == (route, route[-1])
    ended = result.call.events[-1]
    assert isinstance(ended, Ended)
    assert ended.at - result.call.started == pytest.approx(min(first_s, 1.5))


def test_a_prompt_is_any_object_that_renders():
    class Mine:
        name = "mine"

        def render(self, **variables):
            return Request.of(f"Say {variables['word']}")

    result = Pipeline(Mine(), Scripted(lambda request: request.messages[0].text)).run(word="so")
    assert result.text == "Say so"
    (rendered,) = (event for event in result.call.events if isinstance(event, Rendered))
    assert (rendered.variables, rendered.template) == ({"word": "so"}, ())
