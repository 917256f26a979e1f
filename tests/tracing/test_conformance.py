"""Every attribute that any kind of run writes is one of the published registries, with their type, or our own."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk._logs.export import InMemoryLogRecordExporter, SimpleLogRecordProcessor
from opentelemetry.trace import StatusCode

from llmops_sdk import tracing
from llmops_sdk.calls import (
    Aside,
    AttemptStarted,
    CacheAnswered,
    Call,
    Escalated,
    Evaluated,
    Hedged,
    LimitsDegraded,
    LimitWaited,
    OutputValidated,
    Rendered,
    Routed,
    ToolExecuted,
)
from llmops_sdk.errors import RateLimitError, ServerError
from llmops_sdk.messages import Choice, Response, ToolCall, Usage
from llmops_sdk.tracing._dialects import names
from llmops_sdk.verdicts import Finding, Verdict

REGISTRY = json.loads(Path(__file__).with_name("gen_ai_names.json").read_text())
TOOL = ToolCall(id="call-1", name="order", arguments='{"id": 7}')
USAGE = Usage(
    input_tokens=100,
    output_tokens=50,
    cached_input_tokens=30,
    cache_write_tokens=20,
    reasoning_tokens=7,
    audio_input_tokens=10,
    cached_audio_tokens=4,
    audio_output_tokens=9,
)
EXTRA = {"top_k": 40, "frequency_penalty": 1, "presence_penalty": 0.5, "reasoning_effort": "low", "mine": object()}


def rich(call: Call, runs: Any) -> Call:
    """A run in which everything has happened."""
    t = call.started
    request = runs.request(
        temperature=0, top_p=1, max_tokens=5, stop=("END",), seed=7, n=2, response_schema={}, extra=EXTRA
    )
    response = Response(
        choices=(Choice(text="It is", finish_reason="stop", tool_calls=(TOOL,)),), usage=USAGE, model="m", id="r"
    )
    limited = RateLimitError("no", status_code=429, request_id="req-9")
    email = Finding(kind="email", start=0, end=5)
    runs.record(
        call,
        Rendered(t + 0.001, t + 0.003, runs.prompt, request),
        Aside(t + 0.0045, "pii", runs.attempt(call, 0.0042, 0.0045)),
        Aside(t + 0.0048, "pii", runs.attempt(call, 0.0045, 0.0048), "moderation"),
        Aside(t + 0.0195, "cache", runs.attempt(call, 0.019, 0.0195), "embeddings"),
        runs.guard(call, 0.005, "pii", "input", Verdict.rewrite("x", (email,), reason="found")),
        runs.guard(call, 0.006, "later", "input", Verdict(action="allow", skipped="blocked before it")),
        runs.guard(call, 0.007, "broken", "input", Verdict(action="allow", error="KeyError: x")),
        Routed(t + 0.006, "outer", ("cloud", "local"), (("azure", "failed 3 s ago"),)),
        Routed(t + 0.006, "inner", ("cloud",), ()),
        LimitWaited(t + 0.01, t + 0.02, "60 a minute"),
        LimitsDegraded(t + 0.02, "redis", "fail_open", ConnectionError()),
        CacheAnswered(t + 0.02, "cloud", "exact", 2.0),
        AttemptStarted(t + 0.02, "cloud", 1, "openai", "gpt-5-mini", False, ("api.example", 443)),
        Hedged(t + 0.1, "local", 0.08),
        runs.attempt(call, 0.02, 0.1, response=None, usage=None, cost_usd=None, error=limited),
        Escalated(t + 0.2, "cloud", "not sure"),
        AttemptStarted(t + 0.2, "local", 2, "vllm", "gpt-5-mini", True),
        runs.attempt(
            call, 0.2, 0.9, number=2, request=request, response=response, usage=USAGE, streamed=True,
            first_chunk_at=t + 0.3, chunks=4, in_process=True,
        ),
        OutputValidated(t + 0.9, t + 0.91, "`id` is missing"),
        outcome="ServerError",
        error=ServerError("bad"),
    )  # fmt: skip
    return call


def with_tools(call: Call, runs: Any) -> Call:
    """A run whose answer calls a tool."""
    response = Response(choices=(Choice(tool_calls=(TOOL,), finish_reason="tool_calls"),), id="r")
    runs.record(call, runs.attempt(call, 0.1, 0.9, response=response))
    return afterwards(call)


def afterwards(call: Call) -> Call:
    """What is done with the answer of a run."""
    call.record(ToolExecuted(call.started + 2, call.started + 3, TOOL, 1, None))
    call.record(ToolExecuted(call.started + 2, call.started + 3, TOOL, None, KeyError("x")))
    call.record(Evaluated(call.started + 4, "relevance", 1, "good", "since", "human"))
    call.record(Evaluated(call.started + 4, "relevance", None, error=ValueError("x")))
    return call


RUNS: dict[str, Callable[[Call, Any], Call]] = {
    "plain": lambda call, runs: runs.plain(call),
    "failed over": lambda call, runs: runs.failed_over(call),
    "rich": rich,
    "with tools and judgements": with_tools,
}


class Logs:
    """Keeps log events."""

    def __init__(self) -> None:
        self._exporter = InMemoryLogRecordExporter()
        self.provider = LoggerProvider(shutdown_on_exit=False)
        self.provider.add_log_record_processor(SimpleLogRecordProcessor(self._exporter))

    def records(self) -> list[Any]:
        return [log.log_record for log in self._exporter.get_finished_logs()]


@pytest.fixture
def logs() -> Iterator[Logs]:
    logs = Logs()
    yield logs
    logs.provider.shutdown()


def is_of(value: object, kind: str) -> bool:
    if kind == "string[]":
        return isinstance(value, tuple | list) and all(isinstance(one, str) for one in value)
    types = {"string": str, "boolean": bool, "int": int, "double": float}
    return type(value) is types[kind]


def wrong(attributes: Mapping[str, Any]) -> dict[str, Any]:
    """What is in no registry, or of another type there."""
    known = REGISTRY["attributes"]
    return {
        name: value
        for name, value in attributes.items()
        if not name.startswith("llmops.") and not (name in known and is_of(value, known[name]))
    }


@pytest.mark.parametrize("content", [False, True])
@pytest.mark.parametrize("kind", RUNS)
def test_a_run_speaks_the_words_of_the_registries(kind, content, runs, provider, exporter, logs):
    hook = tracing.OpenTelemetry(provider, content=content, logger_provider=logs.provider)
    RUNS[kind](Call(hooks=(hook,), tags={"session_id": "s-1", "user_id": 7, "beta": True}), runs)
    spans = exporter.get_finished_spans()
    assert len(spans) > 2
    for span in spans:
        assert wrong(span.attributes) == {}
        operation = span.attributes["gen_ai.operation.name"]
        assert span.name.split(" ")[0] == operation
        assert [name for name in REGISTRY["required"][operation] if name not in span.attributes] == []
        if operation == "chat":
            assert span.attributes["gen_ai.conversation.id"] == "s-1"
            assert ("server.address" in span.attributes) == ("server.port" in span.attributes)
        if span.status.status_code is StatusCode.ERROR:
            assert "error.type" in span.attributes
        for event in span.events:
            assert event.name.startswith("llmops.") or event.name in REGISTRY["events"]
            assert wrong(event.attributes) == {}
    by_id = {span.context.span_id for span in spans}
    for record in logs.records():
        assert record.event_name in REGISTRY["events"]
        assert wrong(record.attributes) == {}
        assert record.span_id in by_id


def test_every_name_of_ours_is_in_the_registry_and_written_by_some_run(runs, provider, exporter, logs):
    hook = tracing.OpenTelemetry(provider, content=True, logger_provider=logs.provider)
    for make in RUNS.values():
        make(Call(hooks=(hook,), tags={"session_id": "s-1", "user_id": 7}), runs)
    spans = exporter.get_finished_spans()
    written = {name for span in spans for name in span.attributes}
    written |= {name for span in spans for event in span.events for name in event.attributes}
    public = {
        value
        for key, value in vars(names).items()
        if key.isupper() and isinstance(value, str) and "." in value and not value.startswith(("llmops.", "gen-ai"))
    } - set(REGISTRY["events"])
    assert public == set(REGISTRY["attributes"])
    assert public - written == {"exception.type"}  # that is of a log event alone


def test_log_events_tell_guards_judgements_and_failures(runs, provider, exporter, logs):
    call = rich(Call(hooks=(tracing.OpenTelemetry(provider, logger_provider=logs.provider),)), runs)
    afterwards(call)
    spans = {span.context.span_id: span for span in exporter.get_finished_spans()}
    assert [(record.event_name, spans[record.span_id].name) for record in logs.records()] == [
        ("gen_ai.guardrail.result", "apply_guardrail pii"),
        ("gen_ai.guardrail.result", "apply_guardrail broken"),
        ("gen_ai.client.operation.exception", "chat gpt-5-mini"),
        ("gen_ai.evaluation.result", "invoke_workflow support"),
        ("gen_ai.evaluation.result", "invoke_workflow support"),
    ]


@pytest.mark.parametrize("opted_in", ["", "gen_ai_latest_experimental", "http"])
def test_the_current_names_are_written_whatever_is_opted_in(opted_in, runs, provider, exporter, monkeypatch):
    monkeypatch.setenv("OTEL_SEMCONV_STABILITY_OPT_IN", opted_in)
    runs.plain(Call(hooks=(tracing.OpenTelemetry(provider),)))
    attributes = {name for span in exporter.get_finished_spans() for name in span.attributes}
    assert "gen_ai.provider.name" in attributes
    assert "gen_ai.system" not in attributes
