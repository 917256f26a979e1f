"""For every record, however odd, people get an answer: `explain`, `to_json` and the spans never fail."""

from __future__ import annotations

import asyncio
import io
import json
import math

from hypothesis import given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from rich.console import Console

from llmops_sdk.calls import (
    Aside,
    AttemptEnded,
    AttemptStarted,
    CacheAnswered,
    Call,
    Ended,
    Escalated,
    Evaluated,
    FirstChunk,
    GuardChecked,
    Hedged,
    LimitsDegraded,
    LimitWaited,
    OutputValidated,
    Rendered,
    Retried,
    Routed,
    Started,
    StreamResumed,
    ToolExecuted,
    record_schema,
)
from llmops_sdk.errors import EngineError
from llmops_sdk.messages import Choice, PromptRef, Request, Response, ToolCall, Usage
from llmops_sdk.tracing import OpenTelemetry, explain, to_json
from llmops_sdk.tracing._dialects import DIALECTS
from llmops_sdk.tracing._later import LATER
from llmops_sdk.verdicts import Finding, Verdict


def closed(schema):
    """The schema, with nothing allowed that it does not describe."""
    if isinstance(schema, list):
        return [closed(one) for one in schema]
    if not isinstance(schema, dict):
        return schema
    shut = {name: closed(part) for name, part in schema.items()}
    if schema.get("type") == "object" and "properties" in schema and "not" not in schema["properties"].get("event", {}):
        shut["additionalProperties"] = False
    return shut


SCHEMA = Draft202012Validator(closed(record_schema()))

moments = st.floats(allow_nan=True, allow_infinity=True) | st.floats(0, 10)
texts = st.text(alphabet=st.characters(), max_size=12)
errors = st.sampled_from([None, EngineError("x"), asyncio.CancelledError(), KeyError("k")])
costs = st.none() | st.decimals(allow_nan=True)
usages = st.none() | st.builds(Usage, input_tokens=st.integers(), output_tokens=st.integers())
findings = st.builds(Finding, kind=texts, start=st.integers(), end=st.integers(), score=st.floats())
verdicts = st.builds(
    Verdict,
    action=st.sampled_from(["allow", "rewrite", "block", "flag"]),
    text=st.none() | texts,
    findings=st.lists(findings, max_size=3).map(tuple),
    reason=texts,
    skipped=st.none() | texts,
    error=st.none() | texts,
)
requests = st.builds(Request.of, texts)
responses = st.none() | st.builds(
    Response, choices=st.builds(Choice, text=texts).map(lambda one: (one,)), model=st.none() | texts
)
prompts = st.none() | st.builds(PromptRef, name=texts, version=st.none() | texts)
attempts = st.builds(
    AttemptEnded, moments, moments, texts, texts, st.integers(0, 3), requests, responses, usages, costs, errors,
    st.booleans(), st.none() | moments, st.integers(0, 9), st.none() | texts, st.booleans(), st.booleans(), costs,
    st.lists(moments, max_size=3),
)  # fmt: skip
any_event = st.one_of(
    st.builds(Started, moments, texts, st.booleans()),
    st.builds(
        Rendered, moments, moments, prompts, requests, st.none() | st.dictionaries(texts, texts),
        st.lists(st.tuples(st.sampled_from(["system", "user"]), texts), max_size=2),
    ),
    st.builds(GuardChecked, moments, moments, texts, st.sampled_from(["input", "output"]), verdicts, moments),
    st.builds(Routed, moments, texts, st.lists(texts).map(tuple), st.lists(st.tuples(texts, texts)).map(tuple)),
    st.builds(AttemptStarted, moments, texts, st.integers(0, 3), st.none() | texts, st.none() | texts, st.booleans()),
    st.builds(FirstChunk, moments, texts),
    attempts,
    st.builds(Aside, moments, texts, attempts, st.sampled_from(["chat", "embeddings", "moderation"])),
    st.builds(OutputValidated, moments, moments, st.none() | texts),
    st.builds(
        ToolExecuted, moments, moments, st.builds(ToolCall, id=texts, name=texts, arguments=texts), texts, errors
    ),
    st.builds(Evaluated, moments, texts, st.none() | moments, st.none() | texts, st.none() | texts,
              st.sampled_from(["code", "llm", "human"]), errors),
    st.builds(Retried, moments, texts, moments, errors.filter(lambda error: error is not None)),
    st.builds(StreamResumed, moments, texts, st.sampled_from(["resume", "restart", "?"]), st.integers(0, 9)),
    st.builds(Hedged, moments, texts, moments),
    st.builds(Escalated, moments, texts, texts),
    st.builds(LimitWaited, moments, moments, texts),
    st.builds(LimitsDegraded, moments, texts, texts, errors.filter(lambda error: error is not None)),
    st.builds(CacheAnswered, moments, texts, st.sampled_from(["exact", "shared", "semantic", "?"]), moments),
    st.builds(
        Ended, moments, st.sampled_from(["ok", "blocked", "cancelled", "EngineError"]) | texts, errors, responses
    ),
)  # fmt: skip


@settings(max_examples=300, deadline=None)
@given(st.lists(any_event, max_size=8))
def test_any_record_can_be_explained(events):
    call = Call()
    call.events.extend(events)
    explanation = explain(call)
    assert math.isfinite(explanation.total_ms)
    assert 0 <= explanation.elsewhere_ms <= explanation.total_ms
    text = str(explanation)
    text.encode()
    assert all(char.isprintable() for char in text if char != "\n")
    explanation._repr_html_().encode()
    Console(file=io.StringIO(), width=60).print(explanation)


@settings(max_examples=200, deadline=None)
@given(st.lists(any_event, max_size=8), st.booleans())
def test_any_record_can_be_written(events, content):
    call = Call()
    call.events.extend(events)
    made = to_json(call, content=content)
    json.dumps(made, allow_nan=False, ensure_ascii=False).encode()
    SCHEMA.validate(made)


@settings(max_examples=100, deadline=None)
@given(st.lists(any_event, max_size=8), st.booleans())
def test_any_record_gives_spans_that_can_be_sent(events, content):
    exporter = InMemorySpanExporter()
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    call = Call(hooks=(OpenTelemetry(provider, dialects=tuple(DIALECTS), content=content),))
    call.record(Started(call.started, "support", streamed=False))
    for event in events:
        if not isinstance(event, Started | Ended):
            call.record(event)
    call.record(Ended(call.started + 1, "ok", None))
    assert LATER.flush(timeout_s=30)
    *children, root = exporter.get_finished_spans()
    assert root.name == "invoke_workflow support"
    for span in children:
        assert root.start_time <= span.start_time <= span.end_time <= root.end_time
    for span in (*children, root):
        str((span.name, dict(span.attributes), [dict(event.attributes) for event in span.events])).encode()
