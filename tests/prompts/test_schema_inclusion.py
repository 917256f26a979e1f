from __future__ import annotations

import contextlib

import jsonschema
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llmops_sdk.prompts._comparing._schemas import CannotTellError, gaps, properties_of

NODE = {"type": "object", "properties": {"next": {"$ref": "#/$defs/node"}}, "required": ["value"]}


@pytest.mark.parametrize(
    ("narrow", "wide"),
    [
        ({"type": "integer"}, {"type": "number"}),
        ({"type": "string"}, {"type": ["string", "null"]}),
        ({"type": ["string", "null"]}, {"anyOf": [{"type": "string"}, {"type": "null"}]}),
        ({"anyOf": [{"type": "string"}, {"type": "null"}]}, {"type": ["null", "string"]}),
        ({"enum": ["a", "b"]}, {"enum": ["c", "b", "a"]}),
        ({"const": "a"}, {"type": "string", "maxLength": 1}),
        ({"enum": [1, 2.0]}, {"type": "integer", "minimum": 1, "maximum": 2}),
        ({"type": "integer", "exclusiveMinimum": 0}, {"minimum": 1}),
        ({"type": "integer", "maximum": 9}, {"exclusiveMaximum": 10}),
        ({"multipleOf": 6}, {"multipleOf": 3}),
        ({"type": "string", "minLength": 2, "pattern": "^a"}, {"minLength": 1, "pattern": "^a"}),
        ({"type": "array", "items": {"type": "integer"}, "maxItems": 3}, {"items": {"type": "number"}, "maxItems": 4}),
        ({"type": "array", "maxItems": 1}, {"uniqueItems": True}),
        ({"type": "array", "prefixItems": [{"const": 1}], "items": False}, {"items": {"type": "integer"}}),
        ({"type": "object", "required": ["a", "b"]}, {"required": ["a"], "minProperties": 2}),
        (
            {"properties": {"a": {"type": "string"}}, "additionalProperties": False},
            {"properties": {"a": True, "b": {}}},
        ),
        ({"allOf": [{"type": "object"}, {"required": ["a"]}]}, {"type": "object", "required": ["a"]}),
        ({"$ref": "#/$defs/x", "$defs": {"x": {"type": "string"}}}, {"type": "string"}),
        ({"type": "string"}, {"$ref": "#/$defs/x", "$defs": {"x": {"type": "string"}}}),
        ({"$ref": "#/$defs/node", "$defs": {"node": {**NODE, "minProperties": 1}}}, {**NODE, "$defs": {"node": NODE}}),
        ({"oneOf": [{"const": "a"}, {"const": "b"}]}, {"enum": ["a", "b"]}),
        (
            {"type": "object", "properties": {"kind": {"const": "cat"}}, "required": ["kind"]},
            {
                "oneOf": [
                    {"type": "object", "properties": {"kind": {"const": "cat"}}, "required": ["kind"]},
                    {"type": "object", "properties": {"kind": {"const": "dog"}}, "required": ["kind"]},
                ]
            },
        ),
        ({"not": {"type": "null"}, "title": "A"}, {"not": {"type": "null"}, "title": "B"}),
        ({"type": "string", "format": "date"}, {"type": "string"}),
        (False, {"type": "string"}),
        ({"type": "string"}, True),
    ],
)
def test_what_is_included_has_no_gaps(narrow, wide) -> None:
    assert gaps(narrow, wide) == ()


@pytest.mark.parametrize(
    ("narrow", "wide", "found"),
    [
        ({"type": ["string", "null"]}, {"type": "string"}, ": may be null"),
        (True, {"type": ["string", "number", "boolean"]}, ": may be null or an array or an object"),
        ({"enum": ["a", "b"]}, {"enum": ["a"]}, ': may be "b"'),
        ({"type": "string"}, {"enum": ["a"]}, ": may be any string"),
        ({"type": "number"}, {"type": "integer"}, ": may be a number"),
        ({"enum": [True]}, {"enum": [1]}, ": may be true"),
        ({"type": "number", "minimum": 1}, {"minimum": 2}, ": may be less than 2"),
        ({"type": "number", "minimum": 2}, {"exclusiveMinimum": 2}, ": may be 2 or less"),
        ({"type": "number"}, {"maximum": 2}, ": may be more than 2"),
        ({"type": "number", "maximum": 2}, {"exclusiveMaximum": 2}, ": may be 2 or more"),
        ({"type": "string"}, {"maxLength": 5}, ": may have more than 5 characters"),
        ({"type": "string"}, {"minLength": 5}, ": may have less than 5 characters"),
        ({"type": "array"}, {"minItems": 1}, ": may have less than 1 items"),
        ({"type": "array"}, {"uniqueItems": True}, ": may have an item twice"),
        ({"type": "integer"}, {"multipleOf": 2}, ": may be no multiple of 2"),
        ({"type": "object"}, {"required": ["a"]}, ": may lack 'a'"),
        ({"type": "object"}, {"additionalProperties": False}, ": may have more properties"),
        (
            {"type": "object", "properties": {"a": {"type": "array", "items": {"type": ["null", "string"]}}}},
            {"type": "object", "properties": {"a": {"type": "array", "items": {"type": "string"}}}},
            "a[]: may be null",
        ),
        (
            {"anyOf": [{"type": "string"}, {"type": "null"}]},
            {"anyOf": [{"type": "string", "maxLength": 3}, {"type": "null"}]},
            ": may have more than 3 characters",
        ),
    ],
)
def test_a_certain_gap_says_what_may_come(narrow, wide, found) -> None:
    assert [(f"{gap.path}: {gap.problem}", gap.certain) for gap in gaps(narrow, wide)] == [(found, True)]


@pytest.mark.parametrize(
    ("narrow", "wide"),
    [
        ({"type": "string", "pattern": "^ab"}, {"type": "string", "pattern": "^a"}),
        ({"type": "string"}, {"type": "string", "format": "date"}),
        ({"type": "object"}, {"type": "object", "propertyNames": {"maxLength": 3}}),
        ({"type": "string"}, {"type": "string", "x-new-keyword": 1}),
        ({"$ref": "https://example.org/schema"}, {"type": "string"}),
        ({"type": "string"}, {"$ref": "#/$defs/missing"}),
        ({"type": "integer"}, {"oneOf": [{"type": "integer"}, {"minimum": 3}]}),
        ({"$schema": "http://json-schema.org/draft-04/schema#", "type": "string"}, {"type": "string"}),
        ({"type": "strin"}, {"type": "string"}),
        ({"type": "number"}, {"minimum": "3"}),
        ({"$ref": "#/$defs/a", "$defs": {"a": {"$ref": "#/$defs/a"}}}, {"type": "string"}),
        ({"type": "string"}, {"anyOf": 3}),
        ({"items": [{"type": "string"}]}, {"items": {"type": "string"}, "minItems": 0}),
    ],
)
def test_what_cannot_be_told_is_said_to_be_so(narrow, wide) -> None:
    found = gaps(narrow, wide)

    assert found
    assert not all(gap.certain for gap in found)


def test_schemas_of_any_size_are_answered_in_bounded_time() -> None:
    deep, deeper = {"const": 1}, {"const": 2}
    for _ in range(300):
        deep, deeper = ({"type": "object", "properties": {"a": one}} for one in (deep, deeper))
    words = [f"w{number}" for number in range(3_000)]
    wide = {"anyOf": [{"enum": words[number:]} for number in range(100)]}

    assert not gaps(deep, deeper)[0].certain
    assert gaps({"enum": [*words, "x"]}, wide)
    assert "a list of 100,000 items" in gaps({"const": list(range(100_000))}, {"type": "array"})[0].problem


def doubled(made) -> dict:
    """A schema of 40 lines in which each definition names the next one twice."""
    chain = {f"d{number}": made({"$ref": f"#/$defs/d{number + 1}"}) for number in range(40)}
    return {"$ref": "#/$defs/d0", "$defs": {**chain, "d40": {"type": "string"}}}


def test_schemas_that_name_each_other_twice_are_answered_in_bounded_time() -> None:
    found = gaps(doubled(lambda one: {"allOf": [one, one]}), {"type": "integer"})

    assert [gap.problem for gap in found] == ["cannot be compared: the schemas are too large"]
    for made in (lambda one: {"allOf": [one, one]}, lambda one: {"properties": {"x": one, "y": one}}):
        with pytest.raises(CannotTellError, match="too many properties"):
            properties_of(doubled(made))


def _objects(parts: st.SearchStrategy) -> st.SearchStrategy:
    names = st.sampled_from("abc")
    return st.fixed_dictionaries(
        {},
        optional={
            "type": st.sampled_from(["object", ["object", "null"]]),
            "properties": st.dictionaries(names, parts, max_size=2),
            "required": st.lists(names, unique=True, max_size=2),
            "additionalProperties": parts,
            "patternProperties": st.dictionaries(st.sampled_from(["a|b", "c"]), parts, max_size=1),
            "minProperties": st.integers(0, 2),
            "maxProperties": st.integers(0, 2),
            "propertyNames": st.just({"maxLength": 1}),
            "unevaluatedProperties": st.just(False),
            "dependentRequired": st.just({"a": ["b"]}),
        },
    )


def _arrays(parts: st.SearchStrategy) -> st.SearchStrategy:
    return st.fixed_dictionaries(
        {},
        optional={
            "type": st.just("array"),
            "prefixItems": st.lists(parts, min_size=1, max_size=2),
            "items": parts,
            "minItems": st.integers(0, 2),
            "maxItems": st.integers(0, 2),
            "uniqueItems": st.booleans(),
            "contains": parts,
            "minContains": st.integers(0, 1),
        },
    )


NUMBERS = st.sampled_from([-1, 0, 0.5, 1, 2, 3, 4.0])
SCALARS = st.sampled_from([None, True, False, 0, 1, 1.0, 1.5, 2, 3, 6, -1, "", "a", "ab", "abc"])
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("abcd"), inner, max_size=3),
    max_leaves=6,
)
TYPES = ("null", "boolean", "integer", "number", "string", "array", "object")
LEAVES = st.fixed_dictionaries(
    {},
    optional={
        "type": st.sampled_from(TYPES) | st.lists(st.sampled_from(TYPES), min_size=1, max_size=3, unique=True),
        "enum": st.lists(VALUES, max_size=3),
        "const": SCALARS,
        "minimum": NUMBERS,
        "exclusiveMinimum": NUMBERS,
        "maximum": NUMBERS,
        "exclusiveMaximum": NUMBERS,
        "multipleOf": st.sampled_from([1, 2, 3, 0.5]),
        "minLength": st.integers(0, 2),
        "maxLength": st.integers(0, 2),
        "pattern": st.sampled_from(["a", "^ab"]),
        "title": st.just("words"),
    },
)


def _composed(parts: st.SearchStrategy) -> st.SearchStrategy:
    some = st.lists(parts, min_size=1, max_size=3)
    composed = st.fixed_dictionaries(
        {},
        optional={
            "anyOf": some,
            "oneOf": some,
            "allOf": some,
            "not": parts,
            "if": parts,
            "then": parts,
            "else": parts,
            "$ref": st.sampled_from(["#/$defs/x", "#/$defs/y"]),
        },
    )
    plain = LEAVES | _objects(parts) | _arrays(parts)
    return st.one_of(plain, composed, st.builds(lambda one, other: {**one, **other}, plain, composed))


PARTS = st.recursive(LEAVES | st.booleans(), _composed, max_leaves=5)
SCHEMAS = st.builds(
    lambda schema, x, y: schema if isinstance(schema, bool) else {**schema, "$defs": {"x": x, "y": y}},
    PARTS,
    st.recursive(LEAVES, lambda parts: _objects(parts | st.just({"$ref": "#/$defs/x"})), max_leaves=3),
    LEAVES,
)


@st.composite
def pairs(draw):
    """Two schemas that are often alike, so that one often includes the other."""
    one = draw(SCHEMAS)
    if isinstance(one, bool) or draw(st.booleans()):
        return one, draw(SCHEMAS)
    other = dict(one)
    for key in list(other):
        if key != "$defs" and draw(st.integers(0, 3)) == 0:
            del other[key]
    change = draw(SCHEMAS)
    if draw(st.booleans()) and not isinstance(change, bool):
        other |= {key: value for key, value in change.items() if draw(st.booleans())}
    return (one, other) if draw(st.booleans()) else (other, one)


def fits(value, schema) -> bool:
    return jsonschema.Draft202012Validator(schema).is_valid(value)


@settings(max_examples=60)
@given(pair=pairs(), values=st.lists(VALUES, min_size=15, max_size=15))
def test_no_value_proves_an_inclusion_wrong(pair, values) -> None:
    narrow, wide = pair
    if gaps(narrow, wide):
        return
    for value in values:
        with contextlib.suppress(RecursionError):  # a `$ref` that points at itself: no validator can answer
            assert fits(value, wide) or not fits(value, narrow)
