"""What traces, records and explanations say of where a prompt came from: the arm of a split, the lock, what was cut."""

import json

import pytest
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from llmops_sdk import Prompt, Scripted, guard, tracing
from llmops_sdk.prompts import Section
from llmops_sdk.verdicts import Verdict

LOCK = "3f0c92d1" * 8


def traced(station, dialects, **given):
    exporter, provider = InMemorySpanExporter(), TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    hook = tracing.OpenTelemetry(provider, dialects=dialects)
    pipeline = (station | Scripted('{"answer": "x"}'))._by_lock(LOCK).with_hooks(hook)
    result = pipeline.run(**given)
    hook.flush()
    return result, {span.name.partition(" ")[0]: dict(span.attributes) for span in exporter.get_finished_spans()}


@guard
def passing(text):
    return Verdict.allow()


OURS = {
    "lock_hash": "llmops.lock.hash",
    "prompt_arm": "llmops.prompt.arm",
    "prompt_split": "llmops.prompt.split",
    "prompt_cut_tokens": "llmops.prompt.cut_tokens",
}


def said(dialect, attributes, name):
    """What a span says under a name, in whichever way its dialect has for it."""
    if dialect == "gen_ai":
        return attributes.get(OURS[name])
    if dialect == "openinference":
        return json.loads(attributes.get("metadata", "{}")).get(name)
    kinds = ("trace", "observation")
    return next((one for kind in kinds if (one := attributes.get(f"langfuse.{kind}.metadata.{name}"))), None)


@pytest.mark.parametrize("dialect", ["gen_ai", "openinference", "langfuse"])
def test_every_dialect_says_the_arm_the_lock_and_what_was_cut(dialect):
    one, other = (Prompt.from_string(f"{n} {{{{ q }}}}", name="p", output={"answer": "str"}) for n in "ab")
    split = Prompt.split([(one, 0.5, "prod"), (other, 0.5, "new")], key="customer")
    result, spans = traced(split | passing, [dialect], q="?", customer="c-1", tags={"team": "docs"})
    arm = split.arm_of("c-1")
    for name in ("render_prompt", "chat" if dialect == "gen_ai" else "invoke_workflow"):
        assert (said(dialect, spans[name], "prompt_arm"), said(dialect, spans[name], "prompt_split")) == (arm, "p")
    assert said(dialect, spans["invoke_workflow"], "lock_hash") == LOCK
    record = json.loads(json.dumps(result.call.to_json()))
    rendered = next(event for event in record["events"] if event["event"] == "rendered")
    assert (rendered["prompt"]["arm"], rendered["prompt"]["split"]) == (arm, "p")
    assert record["events"][0]["lock"] == LOCK
    assert result.call.prompt.arm == arm

    fitted = Prompt([Section("system", "Sum up."), Section("user", "{{ q }}", priority=1)]).fit(
        30, counter=lambda text: len(text.split())
    )
    result, spans = traced(fitted, [dialect], q="one two three four five six seven " * 9)
    assert said(dialect, spans["render_prompt"], "prompt_cut_tokens") > 0


def test_explain_says_the_arm_and_the_lock():
    split = Prompt.split([(Prompt.from_string("Hi", name="p"), 1.0, "prod")], key="customer")
    result, _ = traced(split, ["gen_ai"], customer="c-1")
    assert "arm prod of its split" in str(result.explain())
    assert "lock 3f0c92d1" in str(result.explain())
