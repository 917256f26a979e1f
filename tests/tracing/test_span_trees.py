"""Each kind of run is one tree: right parents, children inside their parents, and engines that know their attempt."""

from __future__ import annotations

import asyncio
import contextlib
from typing import Any

import pytest
from opentelemetry import baggage, context, trace
from opentelemetry.sdk.trace import SpanProcessor, TracerProvider, sampling
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.trace import (
    NonRecordingSpan,
    SpanContext,
    SpanKind,
    StatusCode,
    TraceFlags,
    TraceState,
    set_span_in_context,
)

from llmops_sdk import Pipeline, errors, tracing
from llmops_sdk.calls import Aside, AttemptStarted, Call, Ended, Evaluated, Started, ToolExecuted
from llmops_sdk.engines import Cached, Engine, Scripted
from llmops_sdk.guards import Judge, guard
from llmops_sdk.messages import Choice, Chunk, Request, Response, ToolCall
from llmops_sdk.routers import Router
from llmops_sdk.testing import FaultServer, Hang, Reply
from llmops_sdk.verdicts import Verdict

KEY = "k" * 24


@guard
def polite(text: str) -> Verdict:
    return Verdict.block(reason="rude") if "rude" in text else Verdict.allow()


@guard
def short(text: str) -> Verdict:
    return Verdict.allow()


def opened(server: FaultServer, **options: Any) -> Engine:
    return Engine.open(server.url, model="test-model", api_key=KEY, **options)


@pytest.fixture
def hook(provider: TracerProvider) -> tracing.OpenTelemetry:
    return tracing.OpenTelemetry(provider)


def tree(spans: Any) -> list[tuple[str, str | None, str]]:
    """Name, name of the parent, status; in the order of their starts. Times and ids are checked."""
    by_id = {span.context.span_id: span for span in spans}
    assert len(by_id) == len(spans)
    assert len({span.context.trace_id for span in spans}) == 1
    (root,) = [span for span in spans if span.parent is None]
    told = []
    for span in sorted(spans, key=lambda span: (span.start_time, span.parent is not None)):
        assert span.start_time <= span.end_time
        if span.parent is None:
            told.append((span.name, None, span.status.status_code.name))
            continue
        parent = by_id[span.parent.span_id]
        if span.name.startswith(("execute_tool", "evaluate")):  # done after the run
            assert root.end_time <= span.start_time
        else:
            assert parent.start_time <= span.start_time <= span.end_time <= parent.end_time
        told.append((span.name, parent.name, span.status.status_code.name))
    return told


def parent_of_server(server: FaultServer, number: int = 0) -> str:
    """Span id that a server was told as its parent."""
    version, _, span_id, flags = server.requests[number].headers["traceparent"].split("-")
    assert version == "00"
    assert int(flags, 16) & 1
    return span_id


def id_of(span: Any) -> str:
    return f"{span.context.span_id:016x}"


ROOT = "invoke_workflow support"
CHAT = "chat test-model"
AROUND = [(ROOT, None, "UNSET"), ("apply_guardrail polite", ROOT, "UNSET")]


@pytest.mark.parametrize("streamed", [False, True])
async def test_plain_and_streamed(hook, exporter, named, streamed):
    async with FaultServer("Hello dear world") as server, opened(server) as engine:
        port = server.port
        pipeline = Pipeline(polite, engine, short, name="support", hooks=[hook])
        if streamed:
            async for _ in pipeline.astream("Hi"):
                pass
        else:
            await pipeline.arun("Hi")
    spans = exporter.get_finished_spans()
    told = tree(spans)
    if streamed:  # the guard of the output reads along: it may begin with the attempt
        assert sorted(told) == sorted([*AROUND, (CHAT, ROOT, "UNSET"), ("apply_guardrail short", ROOT, "UNSET")])
    else:
        assert told == [*AROUND, (CHAT, ROOT, "UNSET"), ("apply_guardrail short", ROOT, "UNSET")]
    chat = named(spans, "chat")
    assert parent_of_server(server) == id_of(chat)
    assert chat.kind is SpanKind.CLIENT
    assert (chat.attributes["server.address"], chat.attributes["server.port"]) == ("127.0.0.1", port)


async def test_tools_and_judgements_hang_below_the_run_that_has_ended(hook, exporter, named):
    call = ToolCall(id="call-1", name="order", arguments='{"id": 7}')
    pipeline = Pipeline(Scripted([call], model="test-model"), name="support", hooks=[hook])
    result = await pipeline.arun("Where is it?")
    at = result.call.clock()
    result.call.record(ToolExecuted(at, at + 0.25, call, "shipped", None))
    result.call.record(ToolExecuted(at + 0.5, at + 1, call, None, TimeoutError("no answer")))
    result.call.record(Evaluated(at + 2, "relevance", 0.75, label="relevant", explanation="because", by="llm"))
    spans = exporter.get_finished_spans()
    assert tree(spans) == [
        (ROOT, None, "UNSET"),
        (CHAT, ROOT, "UNSET"),
        ("execute_tool order", ROOT, "UNSET"),
        ("execute_tool order", ROOT, "ERROR"),
        ("evaluate relevance", ROOT, "UNSET"),
    ]
    tool = next(span for span in spans if span.name == "execute_tool order" and not span.status.description)
    assert tool.end_time - tool.start_time == pytest.approx(0.25e9, abs=1000)
    assert dict(tool.attributes) == {
        "gen_ai.operation.name": "execute_tool",
        "gen_ai.tool.name": "order",
        "gen_ai.tool.call.id": "call-1",
        "gen_ai.tool.type": "function",
    }
    (event,) = named(spans, "evaluate").events
    assert (event.name, dict(event.attributes)) == (
        "gen_ai.evaluation.result",
        {
            "gen_ai.evaluation.name": "relevance",
            "gen_ai.evaluation.score.value": 0.75,
            "gen_ai.evaluation.score.label": "relevant",
            "llmops.evaluation.by": "llm",
        },
    )


async def test_arguments_of_a_tool_are_shown_with_the_answer_that_they_are_from(provider, exporter, named):
    call = ToolCall(id="call-1", name="order", arguments='{"id": 7}')
    pipeline = Pipeline(Scripted([call]), name="support", hooks=[tracing.OpenTelemetry(provider, content=True)])
    result = await pipeline.arun("Where is it?")
    result.call.record(ToolExecuted(0.0, 1.0, call, "shipped", None))
    assert named(exporter.get_finished_spans(), "execute_tool").attributes["gen_ai.tool.call.arguments"] == '{"id": 7}'


async def test_blocked(hook, exporter):
    await Pipeline(polite, Scripted("never"), name="support", hooks=[hook]).arun("something rude")
    assert tree(exporter.get_finished_spans()) == AROUND


async def test_failed_over_each_server_knows_its_attempt(hook, exporter):
    async with FaultServer(503) as down, FaultServer("Hello") as up, opened(down) as one, opened(up) as two:
        router = Router([one, two], strategy="priority", retries=1)
        await Pipeline(router, name="support", hooks=[hook]).arun("Hi")
    spans = exporter.get_finished_spans()
    assert tree(spans) == [(ROOT, None, "UNSET"), (CHAT, ROOT, "ERROR"), (CHAT, ROOT, "UNSET")]
    first, second = (span for span in spans if span.name == CHAT)
    assert (parent_of_server(down), parent_of_server(up)) == (id_of(first), id_of(second))


async def test_hedged_two_attempts_under_way_have_a_server_each(hook, exporter):
    async with FaultServer(Hang()) as slow, FaultServer("Hello") as fast, opened(slow) as one, opened(fast) as two:
        router = Router([one, two], strategy="priority", hedge=0.05)
        await Pipeline(router, name="support", hooks=[hook]).arun("Hi")
    spans = exporter.get_finished_spans()
    assert tree(spans) == [(ROOT, None, "UNSET"), (CHAT, ROOT, "UNSET"), (CHAT, ROOT, "UNSET")]
    by_number = {span.attributes["llmops.attempt.number"]: span for span in spans if span.name == CHAT}
    assert by_number[1].attributes["llmops.cancelled"] is True
    assert (parent_of_server(slow), parent_of_server(fast)) == (id_of(by_number[1]), id_of(by_number[2]))


async def test_cancelled(hook, exporter, named):
    async with FaultServer(Hang()) as server, opened(server) as engine:
        task = asyncio.create_task(Pipeline(engine, name="support", hooks=[hook]).arun("Hi"))
        while not server.requests:  # noqa: ASYNC110  (the server has no event for it)
            await asyncio.sleep(0.001)
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
    spans = exporter.get_finished_spans()
    assert tree(spans) == [(ROOT, None, "UNSET"), (CHAT, ROOT, "UNSET")]
    assert named(spans, "chat").attributes["llmops.cancelled"] is True
    assert named(spans, ROOT).attributes["llmops.call.outcome"] == "cancelled"


async def test_deadline_exceeded(hook, exporter, named):
    async with FaultServer(Hang()) as server, opened(server) as engine:
        with pytest.raises(errors.DeadlineExceeded):
            await Pipeline(engine, name="support", hooks=[hook]).arun("Hi", deadline_s=0.1)
    spans = exporter.get_finished_spans()
    assert [(name, parent) for name, parent, _ in tree(spans)] == [(ROOT, None), (CHAT, ROOT)]
    root = named(spans, ROOT)
    assert (root.status.status_code, root.attributes["error.type"]) == (StatusCode.ERROR, "DeadlineExceeded")


async def test_cached_the_second_run_asks_nobody(hook, exporter):
    async with FaultServer("Hello") as server, opened(server) as engine:
        pipeline = Pipeline(Cached(engine), name="support", hooks=[hook])
        await pipeline.arun("Hi")
        first = exporter.get_finished_spans()
        exporter.clear()
        await pipeline.arun("Hi")
    assert tree(first) == [(ROOT, None, "UNSET"), (CHAT, ROOT, "UNSET")]
    assert parent_of_server(server) == id_of(next(span for span in first if span.name == CHAT))
    again = exporter.get_finished_spans()
    assert tree(again) == [(ROOT, None, "UNSET"), (CHAT, ROOT, "UNSET")]
    assert [event.name for event in again[-1].events] == ["llmops.cache_answered"]
    assert len(server.requests) == 1


async def test_cached_router_the_server_knows_the_attempt_of_the_one_who_pays(hook, exporter):
    async with FaultServer("Hello") as server, opened(server) as engine:
        pipeline = Pipeline(Cached(Router([engine])), name="support", hooks=[hook])
        await asyncio.gather(pipeline.arun("Hi"), pipeline.arun("Hi"))
    chats = [id_of(span) for span in exporter.get_finished_spans() if span.name == CHAT]
    assert parent_of_server(server) in chats


async def test_a_judge_hangs_below_its_guard_and_its_server_below_the_run(hook, exporter, named, runs):
    async with FaultServer(Reply(text='{"violation": false, "confidence": 90}')) as server, opened(server) as engine:
        judge = Judge(engine, "It is rude.", name="rude")
        await Pipeline(judge, Scripted("Hello", model="other"), name="support", hooks=[hook]).arun("Hi")
    assert parent_of_server(server) == id_of(named(exporter.get_finished_spans(), ROOT))
    exporter.clear()

    call = Call(hooks=(hook,))
    t = call.started
    runs.record(
        call,
        Aside(t + 0.0045, "rude", runs.attempt(call, 0.0042, 0.0045, model="judge")),
        Aside(t + 0.3, "cache", runs.attempt(call, 0.2, 0.3, model="small"), "embeddings"),
        runs.guard(call, 0.005, "rude", "input", Verdict.allow()),
    )
    assert tree(exporter.get_finished_spans()) == [
        (ROOT, None, "UNSET"),
        ("apply_guardrail rude", ROOT, "UNSET"),
        ("chat judge", "apply_guardrail rude", "UNSET"),
        ("embeddings small", ROOT, "UNSET"),
    ]


async def test_an_attempt_that_nobody_waited_for_ends_with_the_run(hook, exporter, named, runs):
    call = Call(hooks=(hook,))
    runs.record(call, AttemptStarted(call.started + 0.5, "cloud", 1, "openai", "test-model"))
    spans = exporter.get_finished_spans()
    assert tree(spans) == [(ROOT, None, "UNSET"), (CHAT, ROOT, "UNSET")]
    assert named(spans, "chat").attributes["llmops.cancelled"] is True


async def test_the_state_of_the_trace_goes_along(hook):
    parent = SpanContext(
        1, 2, is_remote=True, trace_flags=TraceFlags(TraceFlags.SAMPLED), trace_state=TraceState([("vendor", "x")])
    )
    token = context.attach(set_span_in_context(NonRecordingSpan(parent)))
    try:
        async with FaultServer("Hello") as server, opened(server) as engine:
            await Pipeline(engine, name="support", hooks=[hook]).arun("Hi")
    finally:
        context.detach(token)
    assert server.requests[0].headers["tracestate"] == "vendor=x"


async def test_what_is_not_sampled_is_not_sampled_behind_us_either(exporter):
    provider = TracerProvider(sampler=sampling.ALWAYS_OFF, shutdown_on_exit=False)
    async with FaultServer("Hello") as server, opened(server) as engine:
        pipeline = Pipeline(engine, name="support", hooks=[tracing.OpenTelemetry(provider)])
        result = await pipeline.arun("Hi")
    assert int(server.requests[0].headers["traceparent"][-2:], 16) & 1 == 0
    result.call.record(Evaluated(0.0, "late", 1.0))
    assert exporter.get_finished_spans() == ()


def test_a_request_that_was_asked_is_the_same_question():
    request = Request.of("Hi")
    asked = request.asked_by("00-" + "ab" * 16 + "-" + "cd" * 8 + "-01", Call())
    assert asked == request
    assert asked.trace_headers == {"traceparent": "00-" + "ab" * 16 + "-" + "cd" * 8 + "-01"}
    assert request.trace_headers == {}


def test_a_run_that_never_ends_leaves_nothing_behind(hook, exporter):
    call = Call(hooks=(hook,))
    call.record(Started(call.started, "support", streamed=False))
    call.record(AttemptStarted(call.started, "cloud", 1))
    assert list(call.state) == [hook]  # with the call it is gone
    call.record(Ended(call.started, "ok", None))
    assert call.state == {}


@pytest.fixture
def nested(provider):
    """A pipeline with a hook of its own, for what runs inside of others."""
    return Pipeline(Scripted("yes", model="inner-model"), name="nested", hooks=[tracing.OpenTelemetry(provider)])


def below(spans: Any, name: str) -> str | None:
    """Name of the parent of the one span that is called `name`."""
    (span,) = [span for span in spans if span.name == name]
    return {one.context.span_id: one.name for one in spans}[span.parent.span_id] if span.parent else None


@pytest.mark.parametrize("stage", ["input", "output"])
@pytest.mark.parametrize("streamed", [False, True])
@pytest.mark.parametrize("kind", ["async", "thread"])
async def test_a_pipeline_in_a_guard_hangs_below_the_run(exporter, nested, provider, stage, streamed, kind):
    hook, tracer = tracing.OpenTelemetry(provider), provider.get_tracer("the application")

    async def ask(text: str) -> Verdict:
        await nested.arun(text)
        return Verdict.allow()

    def ask_in_thread(text: str) -> Verdict:
        with tracer.start_as_current_span("own"):
            nested.run(text)
        return Verdict.allow()

    asks = guard(ask if kind == "async" else ask_in_thread)
    engine = Scripted("Hello", model="test-model")
    stations = (asks, engine) if stage == "input" else (engine, asks)
    pipeline = Pipeline(*stations, name="support", hooks=[hook])
    if streamed:
        async for _ in pipeline.astream("Hi"):
            pass
    else:
        await pipeline.arun("Hi")
    spans = exporter.get_finished_spans()
    tree(spans)
    assert below(spans, "invoke_workflow nested") == ("own" if kind == "thread" else ROOT)
    if kind == "thread":
        assert below(spans, "own") == ROOT
    assert not trace.get_current_span().get_span_context().is_valid


@pytest.mark.parametrize("streamed", [False, True])
async def test_a_pipeline_and_a_span_in_an_engine_hang_below_its_attempt(hook, exporter, nested, provider, streamed):
    tracer = provider.get_tracer("an instrumented client")

    class Asks(Engine):
        name, model = "asks", "test-model"

        async def astream(self, request: Request, /) -> Any:
            with tracer.start_as_current_span("POST"):
                text = (await nested.arun("Hi")).text
            yield Chunk(text=text)
            yield Chunk(text="!", finish_reason="stop")

    pipeline = Pipeline(Router([Asks()], hedge=60), name="support", hooks=[hook])
    if streamed:
        async for _ in pipeline.astream("Hi"):
            assert not trace.get_current_span().get_span_context().is_valid
    else:
        await pipeline.arun("Hi")
    spans = exporter.get_finished_spans()
    tree(spans)
    assert below(spans, "POST") == CHAT
    assert below(spans, "invoke_workflow nested") == "POST"


def test_a_pipeline_that_a_tool_runs_hangs_below_the_run_that_asked_for_it(hook, exporter, nested, caplog):
    call = ToolCall(id="call-1", name="order", arguments="{}")
    result = Pipeline(Scripted([call], model="test-model"), name="support", hooks=[hook]).run("Hi")
    with result.call.executing(call):
        trace.get_current_span().set_attribute("mine", 1)  # the root has ended: nobody is told
        nested.run("Hi")
    assert below(exporter.get_finished_spans(), "invoke_workflow nested") == ROOT
    # What other threads shut down meanwhile is told by `opentelemetry.sdk.trace.export`.
    assert not [record for record in caplog.records if record.name == "opentelemetry.sdk.trace"]


async def test_what_runs_inside_a_run_that_is_not_sampled_is_not_sampled_either(exporter):
    provider = TracerProvider(sampler=sampling.ParentBased(OnlyThe("support")), shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    hook = tracing.OpenTelemetry(provider)
    nested = Pipeline(Scripted("yes"), name="nested", hooks=[hook])

    class Asks(Engine):
        name = "asks"

        async def agenerate(self, request: Request, /) -> Response:
            await nested.arun("Hi")
            return Response(choices=(Choice(text="Hello"),))

    await Pipeline(Asks(), name="support", hooks=[hook]).arun("Hi")
    assert not exporter.get_finished_spans()
    await nested.arun("Hi")
    assert exporter.get_finished_spans()
    provider.shutdown()


class OnlyThe(sampling.Sampler):
    """Leaves one pipeline out."""

    def __init__(self, left_out: str) -> None:
        self._left_out = left_out

    def should_sample(self, parent_context: Any, trace_id: int, name: str, *_: Any, **__: Any) -> Any:
        out = self._left_out in name
        return sampling.SamplingResult(sampling.Decision.DROP if out else sampling.Decision.RECORD_AND_SAMPLE)

    def get_description(self) -> str:
        return f"all but {self._left_out}"


def test_processors_of_the_application_find_its_baggage_at_each_span(provider, exporter, hook):
    seen = {}

    class Bag(SpanProcessor):
        def on_start(self, span: Any, parent_context: Any = None) -> None:
            seen[span.name] = dict(baggage.get_all(parent_context))

    provider.add_span_processor(Bag())
    token = context.attach(baggage.set_baggage("tenant", "a"))
    try:
        Pipeline(polite, Scripted("Hello", model="test-model"), name="support", hooks=[hook]).run("Hi")
    finally:
        context.detach(token)
    exporter.get_finished_spans()
    assert seen == {name: {"tenant": "a"} for name in (ROOT, "apply_guardrail polite", CHAT)}


async def test_what_runs_inside_hangs_below_the_span_of_its_own_backend(provider, exporter):
    other, its = TracerProvider(shutdown_on_exit=False), type(exporter)()
    other.add_span_processor(SimpleSpanProcessor(its))
    hooks = [tracing.OpenTelemetry(provider), tracing.OpenTelemetry(other)]
    nested = Pipeline(Scripted("yes"), name="nested", hooks=hooks)

    @guard
    async def asks(text: str) -> Verdict:
        await nested.arun(text)
        return Verdict.allow()

    class Asks(Engine):
        name = "asks"

        async def agenerate(self, request: Request, /) -> Response:
            await nested.arun("Hi")
            return Response(choices=(Choice(text="Hello"),))

    result = await Pipeline(asks, Asks(), name="support", hooks=hooks).arun("Hi")
    with result.call.executing(ToolCall(id="1", name="look", arguments="{}")):
        await nested.arun("Hi")
    for seen in (exporter, its):
        spans = seen.get_finished_spans()
        names = {span.context.span_id: span.name for span in spans}
        inner = sorted(names[span.parent.span_id] for span in spans if span.name == "invoke_workflow nested")
        assert inner == ["chat", ROOT, ROOT]
    other.shutdown()
