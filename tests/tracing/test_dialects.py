"""What the dialects write, held against the names that are published for them (`published_names.json`)."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from llmops_sdk.calls import AttemptEnded, Call, Ended, Evaluated, GuardChecked, Rendered, ToolExecuted
from llmops_sdk.messages import ImagePart, Message, PromptRef, Request, TextPart, Usage
from llmops_sdk.tracing._content import content_of
from llmops_sdk.tracing._dialects import DIALECTS, Run
from llmops_sdk.verdicts import Finding, Verdict

PUBLISHED = json.loads(Path(__file__).with_name("published_names.json").read_text())
FUNCTIONS = {
    Rendered: "prompt", GuardChecked: "guard", AttemptEnded: "attempt", ToolExecuted: "tool", Evaluated: "evaluation",
}  # fmt: skip
TYPES: dict[str, Any] = {
    "string": str, "json string": str, "integer": int, "float": float, "integer/float": (int, float), "boolean": bool,
    "list of strings": list, "string/integer": (str, int),
}  # fmt: skip
OI = "openinference"


@pytest.fixture(scope="module")
def every_call(run_every_kind: Callable[[Any], dict[str, Call]]) -> dict[str, Call]:
    return run_every_kind(lambda _event, _call: None)


def spans(name: str, call: Call, *, content: bool = True) -> Iterator[tuple[str, dict[str, Any]]]:
    """The attributes of each span of a run, in one dialect; first those of the root."""
    dialect = DIALECTS[name]()
    ended = next(event for event in call.events if isinstance(event, Ended))
    run = Run(call, ended, content_of(call) if content else None)
    yield "workflow", dict(dialect.workflow(run))
    for event in call.events:
        kind = FUNCTIONS.get(type(event))
        if kind is not None and not (isinstance(event, GuardChecked) and event.verdict.skipped):
            yield kind, dict(getattr(dialect, kind)(event, run))


def one(name: str, call: Call, kind: str, **options: Any) -> dict[str, Any]:
    """The attributes of the last span of a kind."""
    return [attributes for found, attributes in spans(name, call, **options) if found == kind][-1]


def published_type(name: str, dialect: str) -> str | None:
    """The type of an attribute, `None` where there is no such name. Lists are flattened: `NAME.0.NAME`."""
    names = PUBLISHED[dialect]["names"]
    *lists, last = re.split(r"\.\d+\.", name)
    if any(names.get(part) != "list of objects" for part in lists):
        return None
    if last in names:
        return names[last]
    return names["image.url"] if last == "message_content.image.image.url" else None


def wrong(attributes: dict[str, Any], dialect: str) -> list[str]:
    found = []
    for name, value in attributes.items():
        if re.match(r"langfuse\.(trace|observation)\.metadata\.", name):
            continue
        home = "mlflow" if name.startswith("mlflow.") else dialect
        expected = published_type(name, home)
        if (
            expected is None
            or not isinstance(value, TYPES[expected])
            or type(value) not in (str, int, float, bool, list)
        ):
            found.append(f"{name} = {value!r} ({expected})")
        elif expected == "json string" and not isinstance(json.loads(value), dict):
            found.append(f"{name} is no JSON object: {value}")
    return found


@pytest.mark.parametrize("dialect", [OI, "langfuse"])
@pytest.mark.parametrize("content", [True, False])
def test_every_attribute_is_published_and_has_the_right_type(every_call, dialect, content):
    for kind, call in every_call.items():
        for span, attributes in spans(dialect, call, content=content):
            assert not wrong(attributes, dialect), (kind, span)


@pytest.mark.parametrize(
    "name", ["llm.inputs", "llm.input_messages.message.role", "input_value", "session.0.id", "llm.cost.0.total"]
)
def test_a_name_that_nobody_published_is_noticed(name):
    assert published_type(name, OI) is None


def test_kinds_are_exactly_as_published(every_call):
    kinds = {kind: attributes for call in every_call.values() for kind, attributes in spans(OI, call)}
    assert {kind: attributes["openinference.span.kind"] for kind, attributes in kinds.items()} == {
        "workflow": "CHAIN", "prompt": "PROMPT", "guard": "GUARDRAIL", "attempt": "LLM", "tool": "TOOL",
        "evaluation": "EVALUATOR",
    }  # fmt: skip
    kinds = {kind: attributes for call in every_call.values() for kind, attributes in spans("langfuse", call)}
    assert {kind: attributes["langfuse.observation.type"] for kind, attributes in kinds.items()} == {
        "workflow": "chain", "prompt": "span", "guard": "guardrail", "attempt": "generation", "tool": "tool",
        "evaluation": "evaluator",
    }  # fmt: skip


@pytest.mark.parametrize("dialect", [OI, "langfuse"])
def test_nothing_of_a_text_is_written_without_content(runs, dialect):
    call = runs.plain(Call(tags={"session_id": "s"}))
    call.record(Evaluated(call.clock(), "relevance", 0.5, None, f"because {runs.planted}", "llm"))
    assert runs.planted not in repr(list(spans(dialect, call, content=False)))
    assert runs.planted in repr(list(spans(dialect, call)))


@pytest.mark.parametrize("dialect", [OI, "langfuse"])
def test_session_and_user_are_on_every_span(every_call, dialect):
    for _, attributes in spans(dialect, every_call["plain"]):
        assert (attributes["session.id"], attributes["user.id"]) == ("chat-1", "ada")


def test_other_tags_are_metadata(every_call):
    assert json.loads(one(OI, every_call["plain"], "workflow")["metadata"]) == {"tenant": "acme"}
    root = one("langfuse", every_call["plain"], "workflow")
    assert root["langfuse.trace.metadata.tenant"] == "acme"
    assert root["langfuse.trace.tags"] == ["tenant:acme"]


def test_environment_release_and_version_have_a_place_of_their_own_in_langfuse(runs):
    given = {"environment": "staging", "release": "2026-11", "version": "7"}
    call = runs.plain(Call(tags=given))
    for _, attributes in spans("langfuse", call):
        assert {name: attributes[f"langfuse.{name}"] for name in given} == given
        assert "langfuse.trace.tags" not in attributes


def test_the_cost_is_ours_and_told_apart_by_what_was_read_and_written(every_call):
    attributes = one(OI, every_call["own prices"], "attempt")
    assert attributes["llm.cost.prompt"] == pytest.approx(0.001)
    assert attributes["llm.cost.completion"] == pytest.approx(0.002)
    assert json.loads(attributes["mlflow.llm.cost"]) == pytest.approx(
        {"input_cost": 0.001, "output_cost": 0.002, "total_cost": 0.003}
    )
    details = one("langfuse", every_call["own prices"], "attempt")["langfuse.observation.cost_details"]
    assert json.loads(details) == pytest.approx({"input": 0.001, "output": 0.002, "total": 0.003})


def test_a_cost_of_which_only_the_whole_is_known_has_no_parts(runs):
    call = Call()
    runs.record(call, runs.attempt(call, 0.1, 0.2, cost_usd=Decimal("0.5")))
    attributes = one(OI, call, "attempt")
    assert attributes["llm.cost.total"] == 0.5
    assert "llm.cost.prompt" not in attributes
    assert json.loads(attributes["mlflow.llm.cost"]) == {"total_cost": 0.5}


def test_each_token_is_in_one_class_in_langfuse(runs):
    usage = Usage(
        input_tokens=1000, output_tokens=500, cached_input_tokens=300, cache_write_tokens=200, reasoning_tokens=100,
        audio_input_tokens=50, audio_output_tokens=20,
    )  # fmt: skip
    call = Call()
    runs.record(call, runs.attempt(call, 0.1, 0.2, usage=usage))
    classes = json.loads(one("langfuse", call, "attempt")["langfuse.observation.usage_details"])
    assert sum(classes.values()) == usage.total_tokens
    assert classes["input_cached_tokens"] == 300
    assert classes["output_reasoning_tokens"] == 100
    attributes = one(OI, call, "attempt")
    assert attributes["llm.token_count.total"] == usage.total_tokens
    assert attributes["llm.token_count.prompt_details.cache_write"] == 200


@pytest.mark.parametrize(
    ("version", "linked"), [("7", True), ("0", False), ("prod", False), ("²", False), (None, False)]
)
def test_langfuse_links_a_prompt_by_whole_numbers_alone(runs, version, linked):
    request = Request(messages=(Message.user("hi"),), prompt=PromptRef(name="support/answer", version=version))
    call = Call()
    runs.record(call, runs.attempt(call, 0.1, 0.2, request=request))
    attributes = one("langfuse", call, "attempt")
    assert ("langfuse.observation.prompt.name" in attributes) is linked
    assert attributes.get("langfuse.observation.prompt.version") == (7 if linked else None)
    assert attributes["langfuse.observation.metadata.prompt_name"] == "support/answer"


def test_langfuse_is_always_given_the_input_of_a_generation_since_it_takes_the_prompts_name_for_it(every_call):
    for call in every_call.values():
        for kind, attributes in spans("langfuse", call):
            if kind == "attempt":
                assert json.loads(attributes["langfuse.observation.input"])[0]["parts"]


def test_the_moment_of_the_first_chunk_is_told(every_call):
    attributes = one("langfuse", every_call["stream"], "attempt")
    assert re.fullmatch(
        r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", attributes["langfuse.observation.completion_start_time"]
    )


def test_a_blocked_run_is_a_warning_that_says_who_blocked(every_call):
    root = one("langfuse", every_call["blocked"], "workflow")
    assert (root["langfuse.observation.level"], root["langfuse.observation.status_message"]) == (
        "WARNING", "blocked by pii",
    )  # fmt: skip
    assert one("langfuse", every_call["blocked"], "guard")["langfuse.observation.level"] == "WARNING"


def test_a_guard_says_what_it_found_without_quoting_it(every_call):
    said = {"action": "block", "reason": "found email", "findings": {"email": 1}}
    assert json.loads(one(OI, every_call["blocked"], "guard", content=False)["output.value"]) == said
    assert json.loads(one("langfuse", every_call["blocked"], "guard")["langfuse.observation.output"]) == said


def test_the_prompt_is_shown_as_written_and_as_sent(every_call):
    attributes = one(OI, every_call["plain"], "prompt")
    assert attributes["llm.prompt_template.template"] == "[system]\nYou are a support agent.\n\n[user]\n{{ question }}"
    assert attributes["llm.prompt_template.version"] == "7"
    assert attributes["output.value"].endswith("[user]\nMail [EMAIL_1] about order 1042")
    asked = one(OI, every_call["plain"], "attempt")
    assert asked["llm.prompt_template.template"] == attributes["llm.prompt_template.template"]
    assert "llm.prompt_template.template" not in one(OI, every_call["plain"], "attempt", content=False)


def test_tools_and_their_calls_and_results_are_flattened(every_call):
    called = one(OI, every_call["tool call"], "attempt")
    at = "llm.output_messages.0.message.tool_calls.0.tool_call."
    assert called[f"{at}id"] == "call_1"
    assert called[f"{at}function.name"] == "order_status"
    assert json.loads(called[f"{at}function.arguments"]) == {"order": 1042}
    assert json.loads(called["llm.tools.0.tool.json_schema"])["function"]["name"] == "order_status"
    answered = one(OI, every_call["tool result"], "attempt")
    assert answered["llm.input_messages.2.message.tool_call_id"] == "call_1"
    assert answered["llm.input_messages.2.message.content"] == "shipped"
    assert (
        json.loads(one(OI, every_call["tool call"], "workflow")["output.value"])[0]["parts"][0]["type"] == "tool_call"
    )


def test_images_are_flattened(runs):
    parts = (TextPart(text="What is this?"), ImagePart(url="https://example.org/cat.png"))
    call = Call()
    runs.record(call, runs.attempt(call, 0.1, 0.2, request=Request(messages=(Message.user(parts),))))
    attributes = one(OI, call, "attempt")
    at = "llm.input_messages.0.message.contents."
    assert attributes[f"{at}0.message_content.text"] == "What is this?"
    assert attributes[f"{at}1.message_content.image.image.url"] == "https://example.org/cat.png"
    assert not wrong(attributes, OI)


def test_messages_are_written_as_json_once_for_all_dialects(every_call):
    call = every_call["plain"]
    ended = next(event for event in call.events if isinstance(event, Ended))
    run = Run(call, ended, content_of(call))
    (attempt,) = (event for event in call.events if isinstance(event, AttemptEnded))
    said = [DIALECTS[name]().attempt(attempt, run) for name in ("gen_ai", OI, "langfuse")]
    texts = [
        said[0]["gen_ai.input.messages"], said[1]["input.value"], said[2]["langfuse.observation.input"],
    ]  # fmt: skip
    assert texts[0] is texts[1] is texts[2]


def test_a_judgement_is_of_the_whole_trace(every_call):
    attributes = one(OI, every_call["judged"], "evaluation")
    at = "trace.evaluations.0.evaluation."
    assert (attributes[f"{at}name"], attributes[f"{at}score"], attributes[f"{at}annotator_kind"]) == (
        "relevance", 0.9, "LLM",
    )  # fmt: skip


def test_a_verdict_counts_findings_by_kind(runs):
    call = Call()
    email, key = (Finding(kind=kind, start=0, end=1) for kind in ("email", "key"))
    runs.record(call, runs.guard(call, 0.1, "pii", "input", Verdict.flag("three", (email, key, email))))
    assert json.loads(one(OI, call, "guard")["output.value"])["findings"] == {"email": 2, "key": 1}


@pytest.mark.parametrize("dialect", [OI, "langfuse"])
def test_a_dialect_is_not_loaded_unless_it_is_asked_for(dialect):
    program = (
        "import sys; from llmops_sdk import tracing; tracing.OpenTelemetry();"
        f"print('llmops_sdk.tracing._dialects.{dialect}' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
