"""Types written in a word: `str`, `list[int]`, `dict[str, date]`, `low | medium | high`, `str?`."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any, TypeAlias

from llmops_sdk.errors import ConfigurationError
from llmops_sdk.prompts._variables.hints import did_you_mean

__all__ = ["OWN_KINDS", "WORDS", "Schema", "or_null", "schema_in_words"]

Schema: TypeAlias = "dict[str, Any]"
"""A JSON Schema (2020-12)."""

WORDS: Mapping[str, Schema] = {
    "any": {},
    "str": {"type": "string"},
    "int": {"type": "integer"},
    "float": {"type": "number"},
    "bool": {"type": "boolean"},
    "list": {"type": "array"},
    "mapping": {"type": "object"},
    "date": {"type": "string", "format": "date"},
    "datetime": {"type": "string", "format": "date-time"},
    "string": {"type": "string"},
    "integer": {"type": "integer"},
    "number": {"type": "number"},
    "boolean": {"type": "boolean"},
    "array": {"type": "array"},
    "object": {"type": "object"},
    "dict": {"type": "object"},
    "null": {"type": "null"},
}
"""What each word means, ours first, then those of JSON Schema and Python."""

OWN_KINDS = ("document", "documents", "messages", "image")
"""Types of values that JSON does not have; they stand alone, never within another type."""

_LISTS = ("list", "array")
_MAPPINGS = ("dict", "mapping", "object")
_WORD = re.compile(r"[^\s|,?\[\]'\"](?:[^|,?\[\]'\"]*[^\s|,?\[\]'\"])?")


def schema_in_words(text: str) -> Schema:
    """The JSON Schema that a type in words means.

    Raises:
        ConfigurationError: It means nothing.

    Example:
        >>> schema_in_words("list[int]")
        {'type': 'array', 'items': {'type': 'integer'}}
        >>> schema_in_words("low | high")
        {'enum': ['low', 'high']}
    """
    text = text.strip()
    if text.endswith("?"):
        return or_null(schema_in_words(text[:-1]))
    alternatives = list(_split(text, "|"))
    if len(alternatives) == 1:
        return _one(text)
    types = [_one(one) for one in alternatives if "[" in one or one in WORDS]
    if len(types) == len(alternatives):
        return {"anyOf": types}
    words = [one for one in alternatives if one != "null"]
    if any(one in WORDS or not _WORD.fullmatch(one) for one in words):
        raise ConfigurationError(
            f"{text!r} mixes types and words, or has a word that needs quotes: write `enum: [...]` or `anyOf: [...]`"
        )
    enumeration: Schema = {"enum": words}
    return enumeration if len(words) == len(alternatives) else or_null(enumeration)


def or_null(schema: Schema) -> Schema:
    """The same, and `null`."""
    return {"anyOf": [schema, {"type": "null"}]}


def _one(text: str) -> Schema:
    word, bracket, rest = text.partition("[")
    word = word.strip()
    if bracket and rest.endswith("]") and word in (*_LISTS, *_MAPPINGS):
        parts = list(_split(rest[:-1], ","))
        if word in _LISTS and len(parts) == 1:
            return {"type": "array", "items": schema_in_words(parts[0])}
        if word in _MAPPINGS and (len(parts) == 1 or (len(parts) == 2 and parts[0] in ("str", "string"))):
            return {"type": "object", "additionalProperties": schema_in_words(parts[-1])}
    if bracket or word not in WORDS:
        known = (*WORDS, *OWN_KINDS)
        raise ConfigurationError(
            f"unknown type {text!r}; there are {', '.join(known)}, `list[str]`, `dict[str, int]`, `low | high` and"
            f" `str?`.{did_you_mean(text, known)}"
        )
    return dict(WORDS[word])


def _split(text: str, at: str) -> Iterator[str]:
    """The parts of `text` between the signs `at` that stand in no brackets."""
    depth = begun = 0
    for position, sign in enumerate(text):
        depth += (sign == "[") - (sign == "]")
        if sign == at and depth == 0:
            yield text[begun:position].strip()
            begun = position + 1
    yield text[begun:].strip()
