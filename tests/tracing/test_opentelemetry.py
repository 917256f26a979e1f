from __future__ import annotations

import asyncio
import inspect
import json
import subprocess
import sys
from typing import Any

import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import SpanLimits, TracerProvider, sampling
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode

from llmops_sdk import loops, tracing
from llmops_sdk.calls import Call, Ended, GuardChecked, Rendered, Started
from llmops_sdk.errors import AllEnginesFailed, Attempt, RateLimitError
from llmops_sdk.faults import Faults
from llmops_sdk.messages import Choice, PromptRef, Request, Response
from llmops_sdk.tracing._dialects import gen_ai, moments, names, usage
from llmops_sdk.tracing.opentelemetry import _afterwards, _hook, _pen, _writer
from llmops_sdk.verdicts import Finding, Verdict


class Counting(sampling.Sampler):
    """Says the same to all, and counts how often it was asked."""

    def __init__(self, sampler: sampling.Sampler) -> None:
        self.asked: list[dict[str, Any]] = []
        self._sampler = sampler

    def should_sample(self, *arguments, **named) -> sampling.SamplingResult:
        self.asked.append(dict(arguments[4]))
        return self._sampler.should_sample(*arguments, **named)

    def get_description(self) -> str:
        return "Counting"


def test_a_run_is_one_trace_under_one_root(runs, provider, exporter):
    runs.plain(Call(hooks=(tracing.OpenTelemetry(provider),)))
    spans = exporter.get_finished_spans()
    assert [span.name for span in spans] == [
        "render_prompt support/answer",
        "apply_guardrail pii",
        "chat gpt-5-mini",
        "apply_guardrail secrets",
        "invoke_workflow support",
    ]
    root = spans[-1]
    assert root.parent is None
    assert root.kind is SpanKind.INTERNAL
    assert {span.parent.span_id for span in spans[:-1]} == {root.context.span_id}
    assert {span.context.trace_id for span in spans} == {root.context.trace_id}


def test_the_span_of_the_application_is_the_parent(runs, provider, exporter, named):
    with provider.get_tracer("app").start_as_current_span("handle") as app:
        runs.plain(Call(hooks=(tracing.OpenTelemetry(provider),)))
    assert named(exporter.get_finished_spans(), "invoke_workflow").parent == app.get_span_context()


def test_it_is_the_parent_of_a_sync_run_too(runs, provider, exporter, named):
    async def run() -> None:
        runs.plain(Call(hooks=(tracing.OpenTelemetry(provider),)))

    with provider.get_tracer("app").start_as_current_span("handle") as app:
        loops.run_sync(run, method="run()")
    assert named(exporter.get_finished_spans(), "invoke_workflow").parent == app.get_span_context()


def test_times_are_those_of_the_record(runs, provider, exporter, named):
    call = runs.plain(Call(hooks=(tracing.OpenTelemetry(provider),)))
    spans = exporter.get_finished_spans()
    root, chat = named(spans, "invoke_workflow"), named(spans, "chat")
    assert root.start_time == pytest.approx(call.wall_time(call.started) * 1e9, abs=1000)
    assert root.end_time - root.start_time == pytest.approx(1e9, abs=1000)
    assert chat.start_time - root.start_time == pytest.approx(0.006e9, abs=1000)
    assert chat.end_time - root.start_time == pytest.approx(0.9e9, abs=1000)


def test_children_lie_inside_the_root_whatever_the_record_says(runs, provider, exporter):
    call = Call(hooks=(tracing.OpenTelemetry(provider),))
    t = call.started
    runs.record(
        call,
        Rendered(t - 5, t - 4, None, runs.request()),
        runs.attempt(call, 0.5, 0.2),
        runs.attempt(call, 0.9, 7.0),
    )
    *children, root = exporter.get_finished_spans()
    for span in children:
        assert root.start_time <= span.start_time <= span.end_time <= root.end_time


def test_an_attempt_has_the_attributes_of_the_conventions(runs, provider, exporter, named):
    runs.plain(Call(hooks=(tracing.OpenTelemetry(provider),)))
    chat = named(exporter.get_finished_spans(), "chat")
    assert chat.kind is SpanKind.CLIENT
    assert chat.status.status_code is StatusCode.UNSET
    assert dict(chat.attributes) == {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "openai",
        "gen_ai.request.model": "gpt-5-mini",
        "gen_ai.request.temperature": 0.2,
        "gen_ai.request.max_tokens": 200,
        "gen_ai.prompt.name": "support/answer",
        "gen_ai.prompt.version": "prod",
        "gen_ai.response.id": "resp-1",
        "gen_ai.response.model": "gpt-5-mini-2026",
        "gen_ai.response.finish_reasons": ("stop",),
        "gen_ai.usage.input_tokens": 1312,
        "gen_ai.usage.output_tokens": 158,
        "gen_ai.usage.cache_read.input_tokens": 1024,
        "llmops.engine": "cloud",
        "llmops.attempt.number": 1,
        "llmops.cost_usd": 0.00021325,
    }


def test_all_parameters_of_a_request_are_attributes(runs, provider, exporter, named):
    call = Call(hooks=(tracing.OpenTelemetry(provider),))
    request = runs.request(top_p=0.9, stop=("END",), seed=7, n=2, response_schema={}, adapter="lora-1")
    runs.record(call, runs.attempt(call, 0.1, 0.2, request=request))
    attributes = named(exporter.get_finished_spans(), "chat").attributes
    assert attributes["gen_ai.request.top_p"] == 0.9
    assert attributes["gen_ai.request.stop_sequences"] == ("END",)
    assert attributes["gen_ai.request.seed"] == 7
    assert attributes["gen_ai.request.choice.count"] == 2
    assert attributes["gen_ai.output.type"] == "json"
    assert attributes["llmops.adapter"] == "lora-1"


def test_a_guard_tells_kinds_and_never_what_it_found(runs, provider, exporter, named):
    runs.plain(Call(hooks=(tracing.OpenTelemetry(provider),)))
    assert dict(named(exporter.get_finished_spans(), "apply_guardrail pii").attributes) == {
        "gen_ai.operation.name": "apply_guardrail",
        "gen_ai.guardrail.component.name": "pii",
        "gen_ai.guardrail.source": "input",
        "gen_ai.guardrail.result.type": "action",
        "gen_ai.guardrail.result.value": "rewrite",
        "gen_ai.guardrail.result.reason": "2 found",
        "gen_ai.guardrail.risk.category": "email",
        "llmops.guard.findings": 2,
        "llmops.guard.finding_kinds": ("email",),
    }


def test_a_broken_guard_is_an_error_without_its_message(runs, provider, exporter, named):
    call = Call(hooks=(tracing.OpenTelemetry(provider),))
    verdict = Verdict(action="allow", error=f"KeyError: {runs.planted}")
    runs.record(call, runs.guard(call, 0.1, "topic", "input", verdict))
    span = named(exporter.get_finished_spans(), "apply_guardrail")
    assert (span.status.status_code, span.status.description) == (StatusCode.ERROR, "KeyError")
    assert span.attributes["error.type"] == "KeyError"


def test_a_guard_in_a_stream_tells_how_long_it_worked(runs, provider, exporter, named):
    call = Call(hooks=(tracing.OpenTelemetry(provider),))
    t = call.started
    runs.record(call, GuardChecked(t + 0.1, t + 0.9, "secrets", "output", Verdict.allow(), 0.002))
    assert named(exporter.get_finished_spans(), "apply_guardrail").attributes["llmops.guard.busy_s"] == 0.002


def test_the_root_tells_route_attempts_cost_and_outcome(runs, provider, exporter, named):
    call = runs.plain(Call(hooks=(tracing.OpenTelemetry(provider),), tags={"user": "u-42", "beta": True, "x": [1]}))
    assert dict(named(exporter.get_finished_spans(), "invoke_workflow").attributes) == {
        "gen_ai.operation.name": "invoke_workflow",
        "gen_ai.agent.name": "support",
        "llmops.call.id": call.id,
        "llmops.tag.user": "u-42",
        "llmops.tag.beta": True,
        "llmops.router": "latency",
        "llmops.route.order": ("cloud", "local"),
        "llmops.route.refused": ("azure: failed 3 s ago",),
        "llmops.call.outcome": "ok",
        "llmops.call.attempts": 1,
        "llmops.call.cost_usd": 0.00021325,
    }


def test_fail_over_is_seen(runs, provider, exporter, named):
    runs.failed_over(Call(hooks=(tracing.OpenTelemetry(provider),)))
    spans = exporter.get_finished_spans()
    first, second, root = named(spans, "chat SmolLM2"), named(spans, "chat gpt"), named(spans, "invoke_workflow")
    assert first.kind is SpanKind.INTERNAL
    assert first.status.status_code is StatusCode.ERROR
    assert first.attributes["error.type"] == "StreamInterrupted"
    assert first.attributes["http.response.status_code"] == 502
    assert first.attributes["gen_ai.request.stream"] is True
    assert first.attributes["gen_ai.response.time_to_first_chunk"] == pytest.approx(0.085)
    assert second.status.status_code is root.status.status_code is StatusCode.UNSET
    retried, resumed = root.events
    assert (retried.name, dict(retried.attributes)) == (
        "llmops.retried",
        {"llmops.engine": "cloud", "llmops.retry.delay_s": 0.05, "error.type": "StreamInterrupted"},
    )
    assert retried.timestamp - root.start_time == pytest.approx(0.2e9, abs=1000)
    assert dict(resumed.attributes) == {
        "llmops.engine": "cloud",
        "llmops.resume.how": "resume",
        "llmops.resume.emitted_characters": 118,
    }
    assert "llmops.call.cost_usd" not in root.attributes  # nobody knows what the broken stream costs


def test_a_failed_run_is_an_error_without_its_message(runs, provider, exporter, named):
    call = Call(hooks=(tracing.OpenTelemetry(provider),))
    limited = RateLimitError(runs.planted, status_code=429, request_id="req-9")
    failed = AllEnginesFailed(runs.planted, [Attempt("cloud", limited, 0.1)])
    attempt = runs.attempt(call, 0.1, 0.2, response=None, usage=None, cost_usd=None, error=limited)
    runs.record(call, attempt, outcome="AllEnginesFailed", error=failed)
    spans = exporter.get_finished_spans()
    root, chat = named(spans, "invoke_workflow"), named(spans, "chat")
    assert (root.status.status_code, root.status.description) == (StatusCode.ERROR, "AllEnginesFailed")
    assert root.attributes["error.type"] == root.attributes["llmops.call.outcome"] == "AllEnginesFailed"
    assert (chat.attributes["error.type"], chat.attributes["llmops.provider.request_id"]) == ("RateLimitError", "req-9")
    assert runs.planted not in "".join(span.to_json() for span in spans)


def test_a_blocked_run_is_no_error(runs, provider, exporter, named):
    call = Call(hooks=(tracing.OpenTelemetry(provider),))
    skipped = Verdict(skipped="blocked by injection")
    runs.record(
        call,
        runs.guard(call, 0.1, "injection", "input", Verdict.block("an injection")),
        runs.guard(call, 0.2, "pii", "input", skipped),
        outcome="blocked",
    )
    guard, root = exporter.get_finished_spans()
    assert root.status.status_code is guard.status.status_code is StatusCode.UNSET
    assert "error.type" not in root.attributes
    assert root.attributes["llmops.call.outcome"] == "blocked"
    assert root.attributes["llmops.call.blocked_by"] == "injection"
    assert guard.attributes["gen_ai.guardrail.result.value"] == "block"
    (event,) = root.events
    assert event.attributes["llmops.guard.skipped"] == "blocked by injection"


def test_a_cancelled_run_is_no_error(runs, provider, exporter, named):
    call = Call(hooks=(tracing.OpenTelemetry(provider),))
    stopped = asyncio.CancelledError()
    attempt = runs.attempt(call, 0.1, 0.2, response=None, usage=None, cost_usd=None, error=stopped)
    runs.record(call, attempt, outcome="cancelled", error=stopped)
    spans = exporter.get_finished_spans()
    assert {span.status.status_code for span in spans} == {StatusCode.UNSET}
    assert named(spans, "chat").attributes["llmops.cancelled"] is True
    assert named(spans, "invoke_workflow").attributes["llmops.call.outcome"] == "cancelled"


def test_sampled_out_nothing_is_built(runs, exporter):
    sampler = Counting(sampling.ALWAYS_OFF)
    provider = TracerProvider(sampler=sampler, shutdown_on_exit=False)
    call = runs.plain(Call(hooks=(tracing.OpenTelemetry(provider),), tags={"tier": "gold"}))
    assert len(sampler.asked) == 1  # for the root, with what a sampler may decide by
    assert sampler.asked[0]["llmops.tag.tier"] == "gold"
    assert call.state == {}
    assert call.traceparent is not None
    assert int(call.traceparent[-2:], 16) & 1 == 0  # engines behind us do not sample either


def test_sampled_out_the_hook_gets_no_more_of_the_run(runs, provider, exporter):
    dropping = TracerProvider(sampler=sampling.ALWAYS_OFF, shutdown_on_exit=False)
    seen: list[type] = []

    class Seeing(tracing.OpenTelemetry):
        def __call__(self, event, call, /):
            seen.append(type(event))
            super().__call__(event, call)

    hooks = (Seeing(dropping), tracing.OpenTelemetry(provider))
    for _ in range(2):
        runs.plain(Call(hooks=hooks))
    assert seen == [Started, Started]
    assert len(exporter.get_finished_spans()) == 10  # whoever stands beside it gets all


def test_without_an_sdk_nothing_happens(runs):
    call = runs.plain(Call(hooks=(tracing.OpenTelemetry(trace.NoOpTracerProvider()),)))
    assert call.traceparent is None
    assert call.state == {}


def test_traceparent_names_the_root(runs, provider, exporter):
    call = runs.plain(Call(hooks=(tracing.OpenTelemetry(provider),)))
    root = exporter.get_finished_spans()[-1].context
    version, trace_id, span_id, flags = (call.traceparent or "").split("-")
    assert (version, int(trace_id, 16), int(span_id, 16)) == ("00", root.trace_id, root.span_id)
    assert int(flags, 16) & 1


def test_hooks_behind_it_see_the_traceparent(provider):
    seen = []
    Call(hooks=(tracing.OpenTelemetry(provider), lambda _, call: seen.append(call.traceparent))).record(
        Started(0.0, "support", streamed=False)
    )
    assert seen[0] is not None


async def test_concurrent_runs_do_not_mix(runs, provider, exporter):
    hook = tracing.OpenTelemetry(provider)

    async def one(number: int) -> Call:
        call = Call(hooks=(hook,), tags={"number": number})
        call.record(Started(call.started, f"p{number}", streamed=False))
        await asyncio.sleep(0)
        call.record(runs.attempt(call, 0.0, 0.1, engine=f"e{number}"))
        await asyncio.sleep(0)
        call.record(Ended(call.started + 0.2, "ok", None))
        return call

    calls = await asyncio.gather(*(one(number) for number in range(20)))
    spans = exporter.get_finished_spans()
    roots = {span.context.span_id: span for span in spans if span.parent is None}
    assert len(roots) == 20
    for chat in (span for span in spans if span.parent is not None):
        root = roots[chat.parent.span_id]
        assert chat.attributes["llmops.engine"] == f"e{root.attributes['llmops.tag.number']}"
        assert root.context.trace_id == chat.context.trace_id
    assert all(call.state == {} for call in calls)


def test_two_tracing_hooks_each_keep_their_own_root(runs, provider, exporter):
    runs.plain(Call(hooks=(tracing.OpenTelemetry(provider), tracing.OpenTelemetry(provider))))
    assert len({span.context.trace_id for span in exporter.get_finished_spans()}) == 2
    assert len(exporter.get_finished_spans()) == 10


@pytest.mark.parametrize("kind", ["plain", "failed_over"])
def test_content_is_off_by_default(runs, provider, exporter, kind):
    getattr(runs, kind)(Call(hooks=(tracing.OpenTelemetry(provider),)))
    assert exporter.get_finished_spans()
    for span in exporter.get_finished_spans():
        assert runs.planted not in span.to_json()


def test_content_is_given_when_asked_for(runs, provider, exporter, named):
    runs.plain(Call(hooks=(tracing.OpenTelemetry(provider, content=True),)))
    chat = named(exporter.get_finished_spans(), "chat").attributes
    assert json.loads(chat["gen_ai.input.messages"]) == [
        {"role": "user", "parts": [{"type": "text", "content": f"Tell me {runs.planted}"}]}
    ]
    assert json.loads(chat["gen_ai.output.messages"]) == [
        {
            "role": "assistant",
            "parts": [{"type": "text", "content": f"It is {runs.planted}"}],
            "finish_reason": "stop",
        }
    ]


@pytest.mark.parametrize(
    "case",
    [
        ("span_and_event", None, True),
        ("SPAN_ONLY", None, True),
        ("EVENT_ONLY", None, False),
        ("NO_CONTENT", None, False),
        ("SPAN_ONLY", False, False),
        ("NO_CONTENT", True, True),
    ],
)
def test_the_standard_variable_asks_for_content(runs, provider, exporter, monkeypatch, case):
    asked, given, shown = case
    monkeypatch.setenv("OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT", asked)
    runs.plain(Call(hooks=(tracing.OpenTelemetry(provider, content=given),)))
    assert any(runs.planted in span.to_json() for span in exporter.get_finished_spans()) is shown


def test_lone_surrogates_never_reach_an_exporter(runs, provider, exporter):
    bad = "a\ud800b"
    call = Call(hooks=(tracing.OpenTelemetry(provider, content=True),), tags={bad: bad})
    t = call.started
    prompt = PromptRef(name=bad, version=bad)
    call.record(Started(t, bad, streamed=False))
    call.record(Rendered(t, t, prompt, Request.of(bad)))
    call.record(runs.guard(call, 0.1, bad, "input", Verdict.rewrite(bad, [Finding(kind=bad, start=0, end=1)])))
    response = Response(choices=(Choice(text=bad),), model=bad, id=bad)
    call.record(
        runs.attempt(call, 0.1, 0.2, engine=bad, provider=bad, model=bad, request=Request.of(bad), response=response)
    )
    call.record(Ended(t + 1, "ok", None))
    spans = exporter.get_finished_spans()
    assert len(spans) == 4
    for span in spans:
        for text in (span.name, *(str(item) for pair in span.attributes.items() for item in pair)):
            assert "a" in text or "\ufffd" not in text
            text.encode()


def test_a_huge_text_is_cut_and_stays_json(runs, provider, exporter, named):
    call = Call(hooks=(tracing.OpenTelemetry(provider, content=True),))
    runs.record(call, runs.attempt(call, 0.1, 0.2, request=runs.request("é" * 1_000_000, "and this")))
    written = named(exporter.get_finished_spans(), "chat").attributes["gen_ai.input.messages"]
    assert len(written) < 70_000
    first, second = json.loads(written)
    assert first["parts"][0]["content"].endswith("… [934464 more characters]")
    assert second["parts"][0]["content"] == "… [8 more characters]"


class Broken:
    """A dialect that cannot say anything of guards."""

    __name__ = "broken"

    def __getattr__(self, kind: str):
        def say(*_: object) -> dict[str, str]:
            if kind == "guard":
                raise LookupError(kind)
            return {f"broken.{kind}": "said"}

        return say


def test_a_dialect_that_fails_takes_no_words_of_the_others_away(runs, provider, exporter, named, monkeypatch, caplog):
    monkeypatch.setattr(_hook, "DIALECTS", {"gen_ai": lambda: gen_ai, "broken": Broken})
    monkeypatch.setattr(_pen, "FAULTS", faults := Faults())
    runs.plain(Call(hooks=(tracing.OpenTelemetry(provider, dialects=["broken"]),)))
    spans = exporter.get_finished_spans()
    guard = named(spans, "apply_guardrail pii").attributes
    assert guard["gen_ai.guardrail.component.name"] == "pii"
    assert named(spans, "chat").attributes["broken.attempt"] == "said"
    assert faults.count == 2  # two guards
    assert len(caplog.records) == 1


def test_an_event_that_cannot_be_written_takes_no_other_away(runs, provider, exporter, monkeypatch, caplog):
    call = Call(hooks=(tracing.OpenTelemetry(provider),))
    odd = runs.guard(call, 0.3, ["no", "name"], "input", Verdict.allow())
    runs.record(call, odd, runs.attempt(call, 0.1, 0.2))
    assert [span.name for span in exporter.get_finished_spans()] == ["chat gpt-5-mini", "invoke_workflow support"]


def test_content_that_cannot_be_made_clean_is_left_out_and_the_spans_are_written(runs, provider, exporter, monkeypatch):
    def fail(*_: object) -> None:
        raise LookupError("odd")

    monkeypatch.setattr(_hook, "content_of", fail)
    runs.plain(Call(hooks=(tracing.OpenTelemetry(provider, content=True),)))
    spans = exporter.get_finished_spans()
    assert len(spans) == 5
    assert not [span for span in spans if "gen_ai.input.messages" in span.attributes]


def test_limits_of_the_application_take_attributes_and_no_span(runs, exporter):
    limits = SpanLimits(max_span_attributes=2, max_events=1, max_span_attribute_length=3)
    provider = TracerProvider(shutdown_on_exit=False, span_limits=limits)
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    runs.failed_over(Call(hooks=(tracing.OpenTelemetry(provider),)))
    spans = exporter.get_finished_spans()
    assert [span.name for span in spans] == ["chat SmolLM2", "chat gpt-5-mini", "invoke_workflow support"]
    assert all(len(span.attributes) == 2 for span in spans)


def test_numbers_that_no_exporter_can_write_become_texts(runs, provider, exporter, named):
    call = Call(hooks=(tracing.OpenTelemetry(provider),), tags={"n": 2**63})
    runs.record(call, runs.attempt(call, 0.1, 0.2, request=runs.request(seed=2**64)))
    spans = exporter.get_finished_spans()
    assert named(spans, "chat").attributes["gen_ai.request.seed"] == str(2**64)
    assert named(spans, "invoke_workflow").attributes["llmops.tag.n"] == str(2**63)


def test_an_end_without_a_start_is_let_pass(provider, exporter):
    call = Call(hooks=(tracing.OpenTelemetry(provider),))
    call.record(Ended(call.started, "ok", None))
    assert exporter.get_finished_spans() == ()


def test_every_name_of_the_conventions_is_used_and_no_other_is_written():
    values = {key: value for key, value in vars(names).items() if key.isupper() and isinstance(value, str)}
    assert len(set(values.values())) == len(values)
    source = "".join(map(inspect.getsource, (_hook, _writer, _afterwards, gen_ai, moments, usage)))
    assert [key for key in values if key != "SCHEMA_VERSION" and f"names.{key}" not in source] == []
    assert '"gen_ai.' not in source
    assert '"llmops.' not in source


def _python(program: str) -> str:
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=30, check=True)
    return done.stdout.strip()


def test_importing_tracing_loads_no_third_party_library():
    heavy = "{'opentelemetry', 'rich'} & {name.partition('.')[0] for name in sys.modules}"
    assert _python(f"import sys, llmops_sdk.tracing; print({heavy} or 'none')") == "none"


def test_a_missing_library_is_named():
    program = (
        "import sys; sys.modules['opentelemetry'] = None\n"
        "from llmops_sdk import tracing\n"
        "from llmops_sdk.errors import MissingDependencyError\n"
        "try: tracing.OpenTelemetry\n"
        "except MissingDependencyError as exc: print(exc.package)"
    )
    assert _python(program) == "opentelemetry-api"


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="Opentelemetry"):
        tracing.Opentelemetry  # noqa: B018


def test_flush_waits_until_the_spans_of_all_that_has_ended_are_written(runs):
    exporter = InMemorySpanExporter()  # the fixture flushes by itself
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    hook = tracing.OpenTelemetry(provider)
    runs.plain(Call(hooks=(hook,)))
    assert hook.flush(timeout_s=10)
    assert "invoke_workflow support" in {span.name for span in exporter.get_finished_spans()}
