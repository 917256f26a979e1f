"""Schemas that vLLM would take without keeping to them."""

from __future__ import annotations

from typing import Any

import pytest

from llmops_sdk.engines._vllm_structure import MOST_VALUES, wrong_schema

NODE = {"type": "object", "properties": {"next": {"$ref": "#/$defs/node"}}, "additionalProperties": False}


def many(count: int) -> dict[str, Any]:
    return {"type": "object", "properties": {f"p{number}": {"type": "string"} for number in range(count)}}


@pytest.mark.parametrize(
    "schema",
    [
        {},
        {"type": "string", "enum": ["a"]},
        {"$ref": "#/$defs/node", "$defs": {"node": NODE}},
        {"$ref": "#/$defs/a", "$defs": {"a": {"$ref": "#/$defs/b"}, "b": {"type": "integer"}}},
        {"type": "object", "properties": {"$ref": {"type": "string"}, "enum": {"type": "array"}}},
        {"type": "object", "properties": {"a": {}}, "required": ["a"], "additionalProperties": False},
        {"type": "object", "properties": {"a": {}}, "required": ["b"]},
        {"const": {"enum": []}},
        many(MOST_VALUES),
    ],
    ids=lambda schema: str(schema)[:60],
)
def test_what_can_be_kept_to_is_let_through(schema: dict[str, Any]) -> None:
    assert wrong_schema(schema) is None


@pytest.mark.parametrize(
    ("schema", "says"),
    [
        ({"$ref": "https://example.com/schema.json"}, "leads out of the schema"),
        ({"type": "array", "items": {"$ref": "other.json"}}, "leads out of the schema"),
        ({"$ref": "#"}, "back to itself"),
        ({"$ref": "#/$defs/a", "$defs": {"a": {"$ref": "#/$defs/b"}, "b": {"$ref": "#/$defs/a"}}}, "back to itself"),
        ({"$ref": "#/$defs/a~1b", "$defs": {"a/b": {"$ref": "#/$defs/a~1b"}}}, "back to itself"),
        ({"properties": {"a": {"anyOf": [{"enum": []}]}}}, "`enum` is empty"),
        ({"additionalProperties": {"anyOf": []}}, "`anyOf` is empty"),
        ({"properties": {}, "required": ["a"], "additionalProperties": False}, "'a' is required"),
        ({"enum": [str(number) for number in range(MOST_VALUES + 1)]}, "more than 2,000"),
        ({"allOf": [many(MOST_VALUES // 2), many(MOST_VALUES // 2 + 1)]}, "more than 2,000"),
    ],
    ids=lambda value: str(value)[:60],
)
def test_what_cannot_be_kept_to_is_told(schema: dict[str, Any], says: str) -> None:
    problem = wrong_schema(schema)
    assert problem is not None
    assert says in problem


def test_a_schema_of_any_depth_is_walked() -> None:
    schema: dict[str, Any] = {"enum": []}
    for _ in range(5000):
        schema = {"items": schema}
    assert wrong_schema(schema) is not None
