"""A variable and an output are declared in the same words, and mean the same JSON Schema by them."""

from __future__ import annotations

import jsonschema
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llmops_sdk.errors import ConfigurationError
from llmops_sdk.prompts._outputs import output_of
from llmops_sdk.prompts._variables import variable_of

PERSON = {
    "type": "object",
    "properties": {"name": {"type": "string"}, "born": {"type": "string", "format": "date"}},
    "required": ["name", "born"],
    "additionalProperties": False,
}


@pytest.mark.parametrize(
    ("declared", "schema"),
    [
        ("list[str]", {"type": "array", "items": {"type": "string"}}),
        (["str"], {"type": "array", "items": {"type": "string"}}),
        ("str | int", {"anyOf": [{"type": "string"}, {"type": "integer"}]}),
        ("list[list[date]]", {"type": "array", "items": {"type": "array", "items": PERSON["properties"]["born"]}}),  # type: ignore[index]
        ({"name": "str", "born": "date"}, PERSON),
        ({"type": "list", "items": {"name": "str", "born": "date"}}, {"type": "array", "items": PERSON}),
        ({"type": "list[str]", "maxItems": 3}, {"type": "array", "items": {"type": "string"}, "maxItems": 3}),
        ({"properties": {"who": {"name": "str", "born": "date"}}}, {"type": "object", "properties": {"who": PERSON}}),
        ({"type": "str", "maxLength": 3}, {"type": "string", "maxLength": 3}),
    ],
)
def test_what_is_declared_in_the_same_words_is_the_same(declared: object, schema: dict[str, object]) -> None:
    assert variable_of("a", declared).schema == schema
    said = output_of(declared).schema
    assert said == {key: value for key, value in schema.items() if key in said}
    assert schema.keys() - said.keys() <= {"type"}  # which a variable's has, where its keywords say it


@pytest.mark.parametrize("words", ["low | high", "'low' | high", "\"low\" | 'high'"])
def test_words_to_choose_from_stand_with_quotes_or_without(words: str) -> None:
    assert output_of(words).schema == {"enum": ["low", "high"]}
    assert variable_of("a", words).schema == {"type": "string", "enum": ["low", "high"]}


@pytest.mark.parametrize(
    ("declared", "says"),
    [
        ("list[strng]", "unknown type 'strng'"),
        ({"a": {"b": "strng"}}, "at `a.b`: unknown type 'strng'"),
        ("low | str", "mixes types and words"),
        ("list[" * 40 + "str" + "]" * 40, "nested more than 32 deep"),
        ("str" + "?" * 5_000, "nested more than 32 deep"),
        ({"type": "list[str]", "items": "int"}, "says `items` already"),
        ({"a": [[], 1]}, "at `a`: this is no type"),
    ],
)
def test_what_means_nothing_is_told_in_the_same_words(declared: object, says: str) -> None:
    for declare in (lambda: variable_of("a", declared), lambda: output_of(declared)):
        with pytest.raises(ConfigurationError) as caught:
            declare()
        assert says in str(caught.value)


def test_a_mapping_is_a_schema_where_its_words_belong_to_its_type_and_else_fields() -> None:
    fields = output_of({"type": "str", "items": "list[str]", "total": "float"}).schema
    assert list(fields["properties"]) == ["type", "items", "total"]
    assert output_of({"title": "str", "description": "str"}).schema["required"] == ["title", "description"]
    assert output_of({"a": {"type": "str", "description": "Who wrote it."}}).schema["properties"]["a"] == {
        "type": "string",
        "description": "Who wrote it.",
    }


_schemas = st.recursive(
    st.sampled_from(["str", "int?", "low | high", "list[date]"]).map(lambda one: output_of(one).schema),
    lambda inner: st.one_of(
        st.builds(lambda one: {"items": one}, inner),
        st.builds(lambda one: {"additionalProperties": one, "description": "str"}, inner),
        st.builds(lambda one: {"anyOf": [one, {"type": "null"}]}, inner),
        st.dictionaries(st.sampled_from(["type", "items", "title", "$ref", "a"]), inner).map(
            lambda fields: {"type": "object", "properties": fields}
        ),
    ),
    max_leaves=8,
)


@settings(max_examples=50)
@given(_schemas)
def test_a_json_schema_is_spelled_out_already(schema: dict[str, object]) -> None:
    schema = {"type": "object", "properties": {"a": schema}}
    assert output_of(schema).schema == schema
    jsonschema.Draft202012Validator.check_schema(schema)
