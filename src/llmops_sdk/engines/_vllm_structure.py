"""JSON schemas that vLLM's compilers would take without keeping to them, or take for ever, are refused here.

What they refuse themselves (unknown types and references, `minimum` above `maximum`, ...) is left to them. Keywords:
JSON Schema, draft 2020-12 (https://json-schema.org/draft/2020-12/json-schema-core).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

__all__ = ["MOST_VALUES", "wrong_schema"]

MOST_VALUES = 2_000
"""Properties, and values of enumerations, that a schema may have together; each step of the model takes longer with
each of them, for all requests that share the step."""

_ONE = ("additionalProperties", "contains", "else", "if", "items", "not", "propertyNames", "then")
_LISTS = ("allOf", "anyOf", "oneOf", "prefixItems")
_NAMED = ("$defs", "definitions", "patternProperties", "properties")


def wrong_schema(schema: Mapping[str, Any]) -> str | None:
    """What is wrong with `schema`, or `None`.

    Example:
        >>> wrong_schema({"type": "object", "properties": {"kind": {"enum": []}}})
        '`enum` is empty, so that nothing satisfies it'
        >>> wrong_schema({"type": "integer"}) is None
        True
    """
    values = 0
    open_: list[Any] = [schema]
    while open_:
        part = open_.pop()
        if not isinstance(part, Mapping):
            continue
        problem = _wrong_part(part, schema)
        if problem is not None:
            return problem
        values += sum(len(part[name]) for name in ("enum", "properties") if _sized(part.get(name)))
        if values > MOST_VALUES:
            return f"it has more than {MOST_VALUES:,} properties and values of enumerations"
        open_ += _inner(part)
    return None


def _inner(part: Mapping[str, Any]) -> Iterator[Any]:
    """The schemas that `part` is made of."""
    for name in _ONE:
        yield part.get(name)
    for name in _LISTS:
        if isinstance(part.get(name), (list, tuple)):
            yield from part[name]
    for name in _NAMED:
        if isinstance(part.get(name), Mapping):
            yield from part[name].values()


def _wrong_part(part: Mapping[str, Any], schema: Mapping[str, Any]) -> str | None:
    for name in ("anyOf", "enum", "oneOf"):
        if _sized(part.get(name)) and not part[name]:
            return f"`{name}` is empty, so that nothing satisfies it"
    if part.get("additionalProperties") is False and "patternProperties" not in part and "properties" in part:
        required: Any = part.get("required") or ()
        known = part["properties"]
        missing = [name for name in required if name not in known] if _sized(required) and _sized(known) else []
        if missing:
            return f"{missing[0]!r} is required, is no property, and others are not allowed"
    return _wrong_reference(part, schema)


def _wrong_reference(part: Mapping[str, Any], schema: Mapping[str, Any]) -> str | None:
    """Follow `$ref` for as long as there is nothing but a reference."""
    seen: set[str] = set()
    place: Any = part
    while isinstance(place, Mapping) and isinstance(reference := place.get("$ref"), str):
        if not reference.startswith("#"):
            return f"`$ref` to {reference!r} leads out of the schema, and nothing is fetched; put it under `$defs`"
        if reference in seen:
            return f"`$ref` to {reference!r} leads back to itself"
        seen.add(reference)
        place = schema
        for step in reference[1:].strip("/").split("/") if reference != "#" else ():
            name = step.replace("~1", "/").replace("~0", "~")
            place = place.get(name) if isinstance(place, Mapping) else None
    return None


def _sized(value: object) -> bool:
    return isinstance(value, (list, tuple, Mapping))
