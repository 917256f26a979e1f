"""What a schema allows, as a list of cases: each of one type, without `$ref`, `allOf`, `anyOf` and `oneOf`.

A case may allow more than its schema does (it is `loose` then), and never less: what holds for all cases of a schema
holds for all that the schema allows.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

from llmops_sdk.prompts._comparing._schemas.values import (
    CannotTellError,
    Schema,
    listed,
    mapped,
    resolved,
    same,
    type_of,
)
from llmops_sdk.prompts._types.keywords import JSON_TYPES, WORDS_FOR_PEOPLE

__all__ = ["Case", "cases_of", "checked", "own_keywords", "types_in"]

_MOST_CASES = 2_000
_MOST_ITEMS = 1_000
"""Of a list that is a value: each is held against all others, to see whether one is there twice."""
_ALL_TYPES = tuple(one for one in reversed(JSON_TYPES) if one != "integer")  # null first

_GROUPS = {
    "contains": ("contains", "minContains", "maxContains"),
    "if": ("if", "then", "else"),
}
"""Keywords that mean something only together, under the one without which the others mean nothing."""

_COMPOSED = ("$ref", "allOf", "anyOf", "oneOf")
_WORDS = frozenset(
    {
        *WORDS_FOR_PEOPLE,
        *("$defs", "definitions", "contentEncoding", "contentMediaType", "contentSchema", "discriminator", "example"),
        *("readOnly", "writeOnly"),
    }
)
"""Keywords that refuse no value."""

_GREATEST = ("minimum", "exclusiveMinimum", "minLength", "minItems", "minProperties")
_LEAST = ("maximum", "exclusiveMaximum", "maxLength", "maxItems", "maxProperties")


class Case(NamedTuple):
    """One case of what a schema allows.

    Attributes:
        facts: Its keywords, those of `_GROUPS` as one; `type` is one type, `const` is the value where it is one value.
        loose: Whether the schema allows less than this.
    """

    facts: Mapping[str, Any]
    loose: bool = False

    @property
    def type(self) -> str:
        """Its type."""
        return str(self.facts["type"])


def checked(schema: object) -> Schema:
    """`schema`, if it is one."""
    if not isinstance(schema, bool | Mapping):
        raise CannotTellError(f"{schema!r} is no schema")
    return schema


def own_keywords(schema: Mapping[str, Any]) -> dict[str, Any]:
    """The keywords of a schema that refuse values, without those that are made of other schemas."""
    members = [name for group in _GROUPS.values() for name in group]
    own = {
        key: value for key, value in schema.items() if key not in _COMPOSED and key not in _WORDS and key not in members
    }
    for key in (*_GREATEST, *_LEAST):
        if key in own and (isinstance(own[key], bool) or not isinstance(own[key], int | float)):
            raise CannotTellError(f"its `{key}` is no number")
    if "const" in own:
        value = own.pop("const")
        own["enum"] = [one for one in listed(own, "enum") if same(one, value)] if "enum" in own else [value]
    for head, group in _GROUPS.items():
        if head in schema:
            own[head] = {name: schema[name] for name in group if name in schema}
    return own


def types_in(schema: Mapping[str, Any]) -> tuple[str, ...]:
    """The types that a schema's own `type` allows."""
    said = schema.get("type", _ALL_TYPES)
    types = (said,) if isinstance(said, str) else tuple(listed(schema, "type") if "type" in schema else said)
    if unknown := [one for one in types if one not in JSON_TYPES]:
        raise CannotTellError(f"its `type` {unknown[0]!r} is unknown")
    return types


def cases_of(schema: Schema, root: Schema, spend: Callable[[], None]) -> Iterator[Case]:
    """The cases of `schema`, which stands in `root`.

    Args:
        schema: What is taken apart.
        root: What its `$ref`s point into.
        spend: Is called for each schema that is read: a few that name each other twice make millions.

    Raises:
        CannotTellError: They are too many, or it is no schema.
    """
    for facts, loose in _composed(schema, root, frozenset(), spend):
        types = types_in(facts)
        if "enum" not in facts:
            for one in types:
                yield Case({**facts, "type": one}, loose)
            continue
        for value in listed(facts, "enum"):
            kind = type_of(value)
            if kind in types or (kind == "integer" and "number" in types):
                rest = {key: said for key, said in facts.items() if key != "enum"}
                yield Case({**rest, **_spelled_out(value)}, loose)


def _composed(
    schema: Schema, root: Schema, seen: frozenset[str], spend: Callable[[], None]
) -> list[tuple[dict[str, Any], bool]]:
    spend()
    if isinstance(checked(schema), bool):
        return [({}, False)] if schema else []
    assert isinstance(schema, Mapping)
    found = [(own_keywords(schema), False)]
    parts = [_composed(one, root, seen, spend) for one in listed(schema, "allOf")]
    parts += [
        [case for one in listed(schema, key) for case in _composed(one, root, seen, spend)]
        for key in ("anyOf", "oneOf")
        if key in schema
    ]
    if "$ref" in schema:
        ref = str(schema["$ref"])
        if ref in seen:
            raise CannotTellError(f"`$ref: {ref}` points at itself")
        parts.append(_composed(resolved(ref, root), root, seen | {ref}, spend))
    for part in parts:
        if len(found) * len(part) > _MOST_CASES:
            raise CannotTellError("it has too many alternatives")
        found = [_both(one, other) for one in found for other in part]
    return found


def _both(one: tuple[dict[str, Any], bool], other: tuple[dict[str, Any], bool]) -> tuple[dict[str, Any], bool]:
    """What is in both: as keywords of one schema, or something wider that is marked as loose."""
    facts, loose = dict(one[0]), one[1] or other[1]
    for key, value in other[0].items():
        if key not in facts:
            facts[key] = value
        elif same(facts[key], value):
            continue
        elif key in _GREATEST:
            facts[key] = max(facts[key], value)
        elif key in _LEAST:
            facts[key] = min(facts[key], value)
        elif key == "enum":
            facts[key] = [item for item in listed(facts, key) if any(same(item, one) for one in value)]
        elif key == "required":
            facts[key] = [*facts[key], *value]
        elif key == "type":
            facts[key] = _types_in_both(facts, other[0])
        elif key in ("items", "additionalProperties"):
            facts[key] = {"allOf": [facts[key], value]}
        elif key == "properties":
            facts[key] = _properties_of_both(mapped(facts, key), mapped(other[0], key))
        elif key == "prefixItems":  # they shift what `items` is about
            facts = _without_items(facts)
            return _both((facts, True), (_without_items(other[0]), loose))
        else:
            loose = True
    closed = "additionalProperties" in facts or "prefixItems" in facts
    return facts, loose or (closed and bool(one[0]) and bool(other[0]))


def _without_items(facts: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in facts.items() if key not in ("items", "prefixItems")}


def _types_in_both(one: Mapping[str, Any], other: Mapping[str, Any]) -> list[str]:
    mine, its = types_in(one), types_in(other)
    both = [kind for kind in mine if kind in its or (kind == "integer" and "number" in its)]
    return both + [kind for kind in its if kind == "integer" and kind not in both and "number" in mine]


def _properties_of_both(one: Mapping[str, Any], other: Mapping[str, Any]) -> dict[str, Any]:
    merged = {**one, **other}
    return {
        name: {"allOf": [one[name], other[name]]} if name in one and name in other else schema
        for name, schema in merged.items()
    }


def _spelled_out(value: object) -> dict[str, Any]:
    """All that is known of a value, as keywords."""
    facts: dict[str, Any] = {"const": value, "type": type_of(value)}
    if isinstance(value, str):
        facts |= {"minLength": len(value), "maxLength": len(value)}
    elif isinstance(value, Mapping):
        facts |= {
            "properties": {name: {"const": one} for name, one in value.items()},
            "required": list(value),
            "additionalProperties": False,
            "minProperties": len(value),
            "maxProperties": len(value),
        }
    elif isinstance(value, list | tuple):
        if len(value) > _MOST_ITEMS:
            raise CannotTellError(f"a list of {len(value):,} items is one of its values")
        unique = not any(same(one, other) for at, one in enumerate(value) for other in value[:at])
        facts |= {
            "prefixItems": [{"const": one} for one in value],
            "items": False,
            "minItems": len(value),
            "maxItems": len(value),
            "uniqueItems": unique,
        }
    elif isinstance(value, int | float) and not isinstance(value, bool):
        facts |= {"minimum": value, "maximum": value}
    return facts
