"""`JSONSchema`: what is JSON, what satisfies a schema, and where it does not."""

import pickle
import time

import pydantic
import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmops_sdk.errors import ConfigurationError
from llmops_sdk.guards import JSONSchema
from llmops_sdk.guards._json_schema import _locate
from llmops_sdk.testing import GuardContract

SCHEMA = {
    "type": "object",
    "properties": {"name": {"type": "string"}, "ages": {"type": "array", "items": {"type": "integer"}}},
    "required": ["name"],
}


class Person(pydantic.BaseModel):
    name: str
    ages: list[int] = []


class TestMapping(GuardContract):
    examples_allowed = ('{"name": "Ada"}', ' {"name": "Ada", "ages": [1, 2]}\n')
    examples_caught = ('{"name": 1}', "[]", "Ada", '{"name": "Ada"', "")

    def make_guard(self):
        return JSONSchema(SCHEMA)


class TestModel(TestMapping):
    def make_guard(self):
        return JSONSchema(Person)


class TestRepairing(TestMapping):
    examples_caught = ('```json\n{"name": "Ada"}\n```', 'Here: {"name": "Ada"}. Right?', "no")

    def make_guard(self):
        return JSONSchema(SCHEMA, repair=True)


@pytest.mark.parametrize("schema", [SCHEMA, Person])
def test_a_finding_begins_where_the_first_error_is(schema):
    text = '{"name": "Ada", "ages": [1, "two", 3]}'
    verdict = JSONSchema(schema).check(text)
    assert verdict.findings[0].start == text.index('"two"')
    assert verdict.findings[0].kind == "schema_mismatch"
    assert "$.ages[1]" in verdict.reason
    assert "two" not in verdict.reason


def test_what_is_no_json_is_found_at_its_place():
    verdict = JSONSchema(True).check('{"a": 1,, "b": 2}')
    assert (verdict.findings[0].kind, verdict.findings[0].start) == ("not_json", 8)


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ('{"a": 1, "a": 2}', "duplicate_key"),
        ("[NaN]", "not_a_number"),
        ("[1e999]", "number_too_large"),
        ("[" + "9" * 5_000 + "]", "number_too_long"),
        ("[" * 100_000, "too_deep"),
        ('{"a":' * 100_000, "too_deep"),
    ],
)
def test_strange_json_is_refused(text, kind):
    assert JSONSchema(True).check(text).findings[0].kind == kind


def test_what_is_not_strict_lets_more_pass():
    loose = JSONSchema(True, strict=False)
    assert loose.check('{"a": 1, "a": NaN}').action == "allow"
    assert JSONSchema(Person, strict=False).check('{"name": "A", "ages": ["1"]}').action == "allow"
    assert JSONSchema(Person).check('{"name": "A", "ages": ["1"]}').blocked


@pytest.mark.parametrize(
    "written",
    [
        '```\n{"name": "A"}\n```',
        'Sure!\n```json\n{"name": "A"}\n```\nBye {}',
        '\ufeff{"name": "A"}',
        'So {x}: {"name": "A"}',
    ],
)
def test_what_stands_around_json_is_taken_off(written):
    assert JSONSchema(SCHEMA, repair=True).check(written).text == '{"name": "A"}'


def test_what_is_wrong_in_fences_is_blocked_at_its_place():
    text = '```json\n{"name": 3}\n```'
    assert JSONSchema(SCHEMA, repair=True).check(text).findings[0].start == text.index("3")


def test_types_will_do_as_schemas():
    assert JSONSchema(list[int]).check("[1, 2]").action == "allow"
    assert JSONSchema(list[int]).check("[1, true]").blocked


def test_lone_surrogates_in_strings_are_judged():
    assert JSONSchema(Person).check('{"name": "\\ud800"}').blocked
    assert JSONSchema(Person).check('{"name": "\ud800"}').blocked


def test_references_are_never_fetched():
    guard = JSONSchema({"$ref": "http://127.0.0.1:9/schema.json"})
    with pytest.raises(Exception, match=r"schema\.json"):
        guard.check("1")


@pytest.mark.parametrize("schema", [{"type": "no such type"}, 3, "object"])
def test_what_is_no_schema_is_refused(schema):
    with pytest.raises(ConfigurationError):
        JSONSchema(schema)


def test_it_survives_pickle():
    assert pickle.loads(pickle.dumps(JSONSchema(SCHEMA))).check('{"name": 1}').blocked


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=8,
)


@given(values, st.sampled_from([None, 1]), st.booleans())
def test_every_json_is_json_and_its_parts_are_found(value, indent, ascii_only):
    import json

    text = json.dumps(value, indent=indent, ensure_ascii=ascii_only)
    assert JSONSchema(True).check(text).action == "allow"
    step = next(iter(value), None) if isinstance(value, dict) else 0
    if isinstance(value, list | dict) and value:
        found, _ = json.JSONDecoder().raw_decode(text, _locate(text, [step]))
        assert found == value[step]


@pytest.mark.parametrize(
    ("text", "unique"),
    [
        ("[1, 1.0]", False),
        ("[true, 1]", True),
        ('["1", 1]', True),
        ('[{"a": 1, "b": [2.0]}, {"b": [2], "a": 1}]', False),
        ('[{"a": 1}, {"a": 2}]', True),
        ("[0, false, null, []]", True),
        ("[1e400, 1e400]", False),
    ],
)
def test_elements_are_unique_as_json_schema_means_it(text, unique):
    guard = JSONSchema({"type": "array", "uniqueItems": True}, strict=False)
    assert (guard.read(text).problem is None) is unique
    assert JSONSchema({"uniqueItems": False}, strict=False).read(text).problem is None


def test_fences_are_found_in_a_time_that_grows_with_the_length():
    guard = JSONSchema({"type": "array"}, repair=True)
    started = time.perf_counter()
    for text in ("```\n" + " " * 300_000, "```" + " " * 300_000 + "x", "```json\nx" + "\t" * 300_000 + "x"):
        assert guard.read(text).problem == "not_json"
    assert time.perf_counter() - started < 2  # seconds; it was minutes
