"""Keywords of JSON Schema: which there are, what their values are, and where schemas stand within schemas."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from llmops_sdk.prompts._types.formats import FORMATS

__all__ = [
    "JSON_TYPES",
    "KEYWORDS",
    "KEYWORDS_OF_TYPES",
    "OF_MANY",
    "OF_NAMES",
    "OF_ONE",
    "WORDS_FOR_PEOPLE",
    "with_parts",
    "without_words",
]

JSON_TYPES = ("object", "array", "string", "number", "integer", "boolean", "null")
OF_ONE = ("items", "additionalProperties", "not", "if", "then", "else", "contains", "propertyNames")
"""Keywords whose value is a schema."""
OF_MANY = ("anyOf", "oneOf", "allOf", "prefixItems")
"""Keywords whose value is a list of schemas."""
OF_NAMES = ("properties", "$defs", "definitions", "patternProperties", "dependentSchemas")
"""Keywords whose value is a mapping of names to schemas."""
WORDS_FOR_PEOPLE = ("title", "description", "examples", "default", "$comment", "deprecated", "$schema", "$id")
"""Keywords that say nothing of a value."""

_Check = Callable[[Any], bool]


def _is_count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _is_divisor(value: object) -> bool:
    return _is_number(value) and value > 0  # type: ignore[operator]  # narrowed by `_is_number`


def _is_names(value: object) -> bool:
    return isinstance(value, list | tuple) and all(isinstance(one, str) for one in value)


_COUNT: tuple[_Check, str] = (_is_count, "a whole number from 0")
_NUMBER: tuple[_Check, str] = (_is_number, "a number")
_MAPPING: tuple[_Check, str] = (lambda value: isinstance(value, Mapping), "a mapping")
_SCHEMA: tuple[_Check, str] = (lambda value: isinstance(value, Mapping | str | bool), "a type or a JSON Schema")
_NUMERIC: Mapping[str, tuple[_Check, str]] = {
    "minimum": _NUMBER,
    "maximum": _NUMBER,
    "exclusiveMinimum": _NUMBER,
    "exclusiveMaximum": _NUMBER,
    "multipleOf": (_is_divisor, "a number over 0"),
}
KEYWORDS_OF_TYPES: Mapping[str, Mapping[str, tuple[_Check, str]]] = {
    "string": {
        "minLength": _COUNT,
        "maxLength": _COUNT,
        "pattern": (lambda value: isinstance(value, str), "a regular expression"),
        "format": (lambda value: isinstance(value, str) and value in FORMATS, f"one of {', '.join(FORMATS)}"),
    },
    "number": _NUMERIC,
    "integer": _NUMERIC,
    "boolean": {},
    "null": {},
    "array": {
        "items": _SCHEMA,
        "minItems": _COUNT,
        "maxItems": _COUNT,
        "uniqueItems": (lambda value: isinstance(value, bool), "`true` or `false`"),
    },
    "object": {
        "properties": _MAPPING,
        "required": (_is_names, "a list of names"),
        "additionalProperties": _SCHEMA,
        "minProperties": _COUNT,
        "maxProperties": _COUNT,
    },
}
"""Type -> its keywords -> whether a value is right for one, and what is."""
_OF_ANY = ("type", "enum", "const", "anyOf", "$ref", "$defs")
_SPECIFIC = {keyword: check for keywords in KEYWORDS_OF_TYPES.values() for keyword, check in keywords.items()}

KEYWORDS = (*_OF_ANY, *_SPECIFIC)
"""Every keyword that can be checked of a value here."""


def with_parts(schema: Mapping[str, Any], change: Callable[[Any], Any]) -> dict[str, Any]:
    """A schema, with every schema directly within it changed. Names of properties are kept, whatever they are."""

    def changed(word: str, value: Any) -> Any:
        if word in OF_NAMES and isinstance(value, Mapping):
            return {name: change(one) for name, one in value.items()}
        if word in OF_MANY and isinstance(value, list | tuple):
            return [change(one) for one in value]
        return change(value) if word in OF_ONE else value

    return {word: changed(word, value) for word, value in schema.items()}


def without_words(schema: Any) -> Any:
    """A schema without what only people read."""
    if not isinstance(schema, dict):
        return schema
    return with_parts({word: value for word, value in schema.items() if word not in WORDS_FOR_PEOPLE}, without_words)
