"""JSON in answers, and calls of tools."""

import asyncio
import inspect
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel

from llmops_sdk import Pipeline, Prompt, Scripted
from llmops_sdk.errors import ConfigurationError, DatasetError, EvaluationError
from llmops_sdk.evaluation import Case
from llmops_sdk.evaluation.metrics import FieldsEqual, JSONSchema, JSONValid, OutputValid, ToolCalls, scores_of
from llmops_sdk.messages import Choice, Response, ToolCall


class City(BaseModel):
    name: str
    people: int = 0


def of(metric, answer, expected=None, *, prompt="?", **options):
    async def ask():
        result = await Pipeline(prompt, Scripted(answer), **options).arun()
        said = metric(Case(input="?", expected=expected), result)
        return await said if inspect.isawaitable(said) else said

    return scores_of(metric, asyncio.run(ask()))[metric.name]


def test_json_is_the_whole_answer_or_may_be_wrapped():
    assert of(JSONValid(), '{"a": [1, null]}').value == 1.0
    assert of(JSONValid(), "{'a': 1}").details == {"problem": "not_json"}
    assert of(JSONValid(), '```json\n{"a": 1}\n```').value == 0.0
    assert of(JSONValid(wrapped=True), '```json\n{"a": 1}\n```').value == 1.0
    assert of(JSONValid(), '{"a": 1, "a": 2}').value == 0.0
    assert of(JSONValid(strict=False), '{"a": 1, "a": 2}').value == 1.0


def test_a_schema_says_where_the_answer_is_wrong():
    schema = {"type": "object", "properties": {"born": {"type": "integer"}}, "required": ["born"]}
    assert of(JSONSchema(schema), '{"born": 1815}').value == 1.0
    wrong = of(JSONSchema(schema), '{"born": "1815"}')
    assert (wrong.value, wrong.explanation) == (0.0, "$.born: fails `type`")
    assert of(JSONSchema(City), '{"name": "Oslo"}').value == 1.0
    assert of(JSONSchema(City), '{"people": 3}').value == 0.0
    with pytest.raises(ConfigurationError, match="no JSON schema"):
        JSONSchema({"type": "whatever"})


def test_the_version_of_a_schema_is_that_of_its_content():
    assert JSONSchema({"type": "object"}).version == JSONSchema({"type": "object"}).version
    assert JSONSchema({"type": "object"}).version != JSONSchema({"type": "array"}).version
    assert JSONValid().version != JSONValid(wrapped=True).version


def test_the_form_that_the_prompt_asks_for_is_looked_at():
    prompt = Prompt.from_string("A city?", output=City)
    assert of(OutputValid(), '{"name": "Oslo"}', prompt=prompt).value == 1.0
    wrong = of(OutputValid(), '{"nom": "Oslo"}', prompt=prompt, repairs=0)
    assert wrong.value == 0.0
    assert "name" in wrong.explanation
    assert of(OutputValid(), "Oslo").value is None


def test_fields_are_compared_one_by_one():
    expected = {"name": "Ada", "born": {"year": 1815, "city": "London"}, "tags": ["a", "b"]}
    assert of(FieldsEqual(), json.dumps(expected), expected).value == 1.0
    other = {"name": "Ada", "born": {"year": 1815.0, "city": "Paris"}, "tags": ["b", "a"], "more": 1}
    score = of(FieldsEqual(), f"Here: {json.dumps(other)}", expected)
    assert (score.value, score.details) == (0.5, {"wrong": ["born.city", "tags"]})
    assert of(FieldsEqual("name", "born.year"), json.dumps(other), expected).value == 1.0
    assert of(FieldsEqual(all_or_nothing=True), json.dumps(other), expected).value == 0.0
    assert of(FieldsEqual(), "Ada", expected).value == 0.0
    assert of(FieldsEqual(), "Ada").value is None
    assert of(FieldsEqual(of="found"), '{"found": {"n": 1}}', {"n": 1}).value == 1.0


@pytest.mark.parametrize(("one", "other"), [(1, True), (0, False), ("1", 1), (None, False), ([1], 1)])
def test_what_python_calls_equal_and_json_does_not_is_not_equal(one, other):
    assert of(FieldsEqual(), json.dumps({"a": one}), {"a": other}).value == 0.0


def test_a_field_that_the_case_does_not_expect_is_wrong_data():
    with pytest.raises(DatasetError, match="expects no field b"):
        of(FieldsEqual("b"), "{}", {"a": 1})
    with pytest.raises(DatasetError, match="no mapping of fields"):
        of(FieldsEqual(), "{}", "a")


def calls(*wanted):
    return Response(
        choices=(
            Choice(
                text="",
                tool_calls=tuple(
                    ToolCall(id=str(number), name=name, arguments=arguments if isinstance(arguments, str)
                             else json.dumps(arguments))
                    for number, (name, arguments) in enumerate(wanted)
                ),
            ),
        )
    )  # fmt: skip


WEATHER = {"name": "weather", "arguments": {"city": "Paris", "days": 2}}


@pytest.mark.parametrize(
    ("called", "expected", "options", "precision", "recall"),
    [
        ([("weather", {"days": 2.0, "city": "Paris"})], [WEATHER], {}, 1, 1),
        ([("weather", {"city": "Paris"})], [WEATHER], {}, 0, 0),
        ([("weather", {"city": "Paris", "days": 2, "unit": "C"})], [WEATHER], {}, 0, 0),
        ([("weather", {"city": "Paris", "days": 2, "unit": "C"})], [WEATHER], {"arguments": "contain"}, 1, 1),
        ([("weather", {"city": "Rome"})], [WEATHER], {"arguments": "any"}, 1, 1),
        ([("weather", "no json")], [WEATHER], {}, 0, 0),
        ([("weather", "no json")], ["weather"], {}, 1, 1),
        ([("a", {}), ("b", {})], ["b", "a"], {}, 1, 1),
        ([("a", {}), ("b", {})], ["b", "a"], {"ordered": True}, 0.5, 0.5),
        ([("a", {}), ("a", {})], ["a"], {}, 0.5, 1),
        ([("a", {})], ["a", "a", "b"], {}, 1, 1 / 3),
        ([], [], {}, 1, 1),
        ([], ["a"], {}, 0, 0),
        ([("a", {})], [], {}, 0, 0),
        # The first call fits both: only the second one leaves it for the call with arguments.
        ([("a", {"x": 1}), ("a", {})], ["a", {"name": "a", "arguments": {"x": 1}}], {}, 1, 1),
        ([("a", {})], "a", {}, 1, 1),
    ],
)
def test_calls_of_tools_are_held_against_those_expected(called, expected, options, precision, recall):
    answer = calls(*called) if called else "No tool."
    score = of(ToolCalls(**options), answer, expected)
    assert (score.details["precision"], score.details["recall"]) == (pytest.approx(precision), pytest.approx(recall))
    total = precision + recall
    assert score.value == pytest.approx(2 * precision * recall / total if total else 0)
    assert score.details["called"] == [name for name, _ in called]


NAMES = st.lists(st.sampled_from("abc"), max_size=6)


@given(NAMES, NAMES)
def test_calls_in_any_order_are_matched_as_often_as_both_have_them(called, expected):
    metric, ordered = ToolCalls(measure="recall"), ToolCalls(measure="recall", ordered=True)
    result = Pipeline("?", Scripted(calls(*((name, {}) for name in called)))).run()
    case = Case(input="?", expected=expected)
    common = sum(min(called.count(name), expected.count(name)) for name in "abc")
    right = common / len(expected) if expected else float(not called)
    assert metric(case, result).value == pytest.approx(right)
    assert ordered(case, result).value <= metric(case, result).value


def test_what_is_no_call_of_a_tool_is_wrong_data():
    with pytest.raises(DatasetError, match="neither the name of a tool"):
        of(ToolCalls(), "?", [{"tool": "a"}])
    with pytest.raises(ConfigurationError, match="has no option 'of'"):
        ToolCalls(of="a")
    with pytest.raises(ConfigurationError, match="`arguments` is"):
        ToolCalls(arguments="some")


def test_more_calls_than_are_compared_are_an_error_and_no_score():
    many = calls(*[("a", {})] * 201)
    for answer, expected in ((many, ["a"]), (calls(("a", {})), ["a"] * 201)):
        with pytest.raises(EvaluationError, match="at most 200 calls"):
            of(ToolCalls(), answer, expected)
