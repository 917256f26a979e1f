"""Answers are held against the schema that the prompt asks for."""

import json
import subprocess
import sys

import pytest

from llmops_sdk import Pipeline, Prompt, Scripted, tracing
from llmops_sdk.calls import OutputValidated
from llmops_sdk.guards import PII
from llmops_sdk.messages import ToolCall

SCHEMA = {
    "type": "object",
    "required": ["name"],
    "properties": {"name": {"type": "string"}},
    "additionalProperties": {"type": "integer"},
}
PLANTED = "xyzzy-4711"


def asking(answer, *stations, schema=SCHEMA, **options):
    return Pipeline(Prompt.from_string("Who?", response_schema=schema), Scripted(answer), *stations, **options)


def validated(call):
    return [event for event in call.events if isinstance(event, OutputValidated)]


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        ('{"name": "Ada"}', None),
        (f'{{"name": "{PLANTED}"', "not json"),
        (PLANTED, "not json"),
        ("{}", "schema mismatch: fails `required`"),
        (f'{{"name": "Ada", "{PLANTED}": "x"}}', "schema mismatch at $.*: fails `type`"),
        ("[" * 100_000, "too deep"),
    ],
)
def test_what_is_wrong_with_an_answer_is_recorded_and_never_quoted(run, answer, error):
    result = run(asking(answer))
    (event,) = validated(result.call)
    assert event.error == error
    assert event.started <= event.at
    assert result.text == answer


def test_streams_are_held_against_it_too(stream):
    seen = tracing.memory()
    stream(asking(['{"na', 'me": 1}'], hooks=[seen]))
    assert [event.error for event in seen.of(OutputValidated)] == ["schema mismatch at $.name: fails `type`"]


def test_it_is_the_answer_after_the_guards_that_counts(run):
    result = run(asking('{"name": "ada@example.com"}', PII()))
    assert json.loads(result.text)["name"] != "ada@example.com"
    assert [event.error for event in validated(result.call)] == [None]


def test_a_call_of_a_tool_is_no_answer(run):
    assert validated(run(asking(ToolCall(id="1", name="f", arguments="{}"))).call) == []


def test_runs_without_a_schema_have_no_such_event(run):
    assert validated(run(Pipeline("hi", Scripted("{}"))).call) == []


def test_a_schema_that_is_none_takes_any_json(run):
    assert [event.error for event in validated(run(asking("{}", schema={"type": "nonsense"})).call)] == [None]


def test_without_jsonschema_any_json_will_do():
    code = (
        "import sys; sys.modules['jsonschema'] = None\n"
        "from llmops_sdk import Pipeline, Prompt, Scripted\n"
        "from llmops_sdk.calls import OutputValidated\n"
        "asked = Prompt.from_string('Who?', response_schema={'type': 'object'})\n"
        "for answer in ('[]', 'no'):\n"
        "    events = Pipeline(asked, Scripted(answer)).run().call.events\n"
        "    print([event.error for event in events if isinstance(event, OutputValidated)])\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == ["[None]", "['not json']"]
