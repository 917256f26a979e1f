"""JSON values and schemas as such: their types, when two are the same, and what a `$ref` points at."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, TypeAlias

__all__ = ["CannotTellError", "Schema", "dumped", "listed", "mapped", "resolved", "same", "type_of", "walk"]

Schema: TypeAlias = "bool | Mapping[str, Any]"


class CannotTellError(Exception):
    """The schemas cannot be compared; the message says what stands in the way."""


def dumped(value: object) -> str:
    """A text that is the same only for the same schemas and values."""
    try:
        return json.dumps(value, sort_keys=True)
    except (TypeError, ValueError) as exc:  # keys or values that YAML knows and JSON does not: dates, numbers as keys
        raise CannotTellError(f"it is no JSON ({exc})") from exc


def same(one: object, other: object) -> bool:
    """Whether two JSON values are equal: `1` is `1.0`, and is not `true`."""
    if isinstance(one, bool) or isinstance(other, bool):
        return one is other
    if isinstance(one, Mapping) and isinstance(other, Mapping):
        return one.keys() == other.keys() and all(same(value, other[key]) for key, value in one.items())
    if isinstance(one, list | tuple) and isinstance(other, list | tuple):
        return len(one) == len(other) and all(map(same, one, other))
    return one == other


def type_of(value: object) -> str:
    """The narrowest JSON type of a value.

    Example:
        >>> type_of(1.0)
        'integer'
    """
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "boolean"
    if isinstance(value, int | float):
        return "integer" if value == value // 1 else "number"
    if isinstance(value, str):
        return "string"
    if isinstance(value, list | tuple):
        return "array"
    if isinstance(value, Mapping):
        return "object"
    raise CannotTellError(f"{value!r} is no JSON value")


def listed(schema: Mapping[str, Any], key: str) -> Sequence[Any]:
    """The list under `key`, empty where it is not there."""
    value = schema.get(key, ())
    if isinstance(value, str) or not isinstance(value, Sequence):
        raise CannotTellError(f"its `{key}` is no list")
    return value


def mapped(schema: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    """The mapping under `key`, empty where it is not there."""
    value = schema.get(key, {})
    if not isinstance(value, Mapping):
        raise CannotTellError(f"its `{key}` is no mapping")
    return value


def resolved(ref: object, root: Schema) -> Schema:
    """What a `$ref` into the same schema points at.

    Raises:
        CannotTellError: It points elsewhere, or at nothing.
    """
    if not isinstance(ref, str) or not ref.startswith("#"):
        raise CannotTellError(f"`$ref: {ref}` points out of the schema")
    found: Any = root
    for step in ref[1:].split("/")[1:]:
        key = step.replace("~1", "/").replace("~0", "~")
        if isinstance(found, Mapping) and key in found:
            found = found[key]
        elif isinstance(found, list | tuple) and key.isdecimal() and int(key) < len(found):
            found = found[int(key)]
        else:
            raise CannotTellError(f"`$ref: {ref}` points at nothing")
    if not isinstance(found, bool | Mapping) or (ref != "#" and not ref.startswith("#/")):
        raise CannotTellError(f"`$ref: {ref}` points at no schema")
    return found


def walk(value: object) -> Iterator[Mapping[str, Any]]:
    """All mappings in a schema, itself included."""
    waiting = [value]
    while waiting:
        one = waiting.pop()
        if isinstance(one, Mapping):
            yield one
            waiting += one.values()
        elif isinstance(one, list | tuple):
            waiting += one
