"""Types written in a word: `str`, `list[int]`, `dict[str, date]`, `low | medium | high`, `str?`."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, TypeAlias

from llmops_sdk.errors import ConfigurationError
from llmops_sdk.prompts._hints import did_you_mean

__all__ = ["MOST_NESTED", "OWN_KINDS", "WORDS", "Schema", "or_null", "schema_in_words"]

Schema: TypeAlias = "dict[str, Any]"
"""A JSON Schema (2020-12)."""

MOST_NESTED = 32
"""How deep types may stand within types."""

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
    "None": {"type": "null"},
}
"""What each word means, ours first, then those of JSON Schema and Python."""

OWN_KINDS = ("document", "documents", "messages", "image")
"""Types of values that JSON does not have. Only variables have them, and not within another type."""

_NULLS = ("null", "None")
_LISTS = ("list", "array")
_MAPPINGS = ("dict", "mapping", "object")
_WORD = re.compile(r"[^\s|,?\[\]'\"](?:[^|,?\[\]'\"]*[^\s|,?\[\]'\"])?")
_QUOTED = re.compile(r"'([^']*)'|\"([^\"]*)\"")


def schema_in_words(text: str, also: Sequence[str] = (), *, depth: int = 0) -> Schema:
    """The JSON Schema that a type in words means.

    Args:
        text: The type.
        also: Words that have a meaning where it stands, for the error.
        depth: How deep it is nested.

    Raises:
        ConfigurationError: It means nothing.

    Example:
        >>> schema_in_words("list[int]")
        {'type': 'array', 'items': {'type': 'integer'}}
        >>> schema_in_words("low | 'very high'")
        {'enum': ['low', 'very high']}
    """
    if depth > MOST_NESTED:
        raise ConfigurationError(f"this is nested more than {MOST_NESTED} deep")
    text = text.strip()
    if text.endswith("?"):
        return or_null(schema_in_words(text[:-1], also, depth=depth + 1))
    alternatives = list(_split(text, "|"))
    if len(alternatives) == 1 and not _QUOTED.fullmatch(text):
        return _one(text, also, depth)
    types = [one for one in alternatives if one in WORDS or ("[" in one and not _QUOTED.fullmatch(one))]
    if len(types) == len(alternatives):
        return {"anyOf": [_one(one, also, depth) for one in types]}
    words = [one for one in alternatives if one not in _NULLS]
    if any(one in WORDS or not (_WORD.fullmatch(one) or _QUOTED.fullmatch(one)) for one in words):
        raise ConfigurationError(
            f"{text!r} mixes types and words, or has a word that needs quotes: write `enum: [...]` or `anyOf: [...]`"
        )
    enumeration: Schema = {"enum": [_unquoted(one) for one in words]}
    return enumeration if len(words) == len(alternatives) else or_null(enumeration)


def or_null(schema: Schema) -> Schema:
    """The same, and `null`."""
    return {"anyOf": [schema, {"type": "null"}]}


def _one(text: str, also: Sequence[str], depth: int) -> Schema:
    word, bracket, rest = text.partition("[")
    word = word.strip()
    if bracket and rest.endswith("]") and word in (*_LISTS, *_MAPPINGS):
        parts = list(_split(rest[:-1], ","))
        if word in _LISTS and len(parts) == 1:
            return {"type": "array", "items": schema_in_words(parts[0], also, depth=depth + 1)}
        if word in _MAPPINGS and (len(parts) == 1 or (len(parts) == 2 and parts[0] in ("str", "string"))):
            return {"type": "object", "additionalProperties": schema_in_words(parts[-1], also, depth=depth + 1)}
    if bracket or word not in WORDS:
        known = (*WORDS, *also)
        shown = text if len(text) <= 80 else f"{text[:80]}..."
        raise ConfigurationError(
            f"unknown type {shown!r}; there are {', '.join(known)}, `list[str]`, `dict[str, int]`, `low | high` and"
            f" `str?`.{did_you_mean(shown, known)}"
        )
    return dict(WORDS[word])


def _unquoted(word: str) -> str:
    quoted = _QUOTED.fullmatch(word)
    return word if quoted is None else quoted[1] if quoted[1] is not None else quoted[2]


def _split(text: str, at: str) -> Iterator[str]:
    """The parts of `text` between the signs `at` that stand in no brackets and no quotes."""
    depth = begun = 0
    quote = ""
    for position, sign in enumerate(text):
        if quote:
            quote = "" if sign == quote else quote
        elif sign in "'\"":
            quote = sign
        depth += (sign == "[") - (sign == "]") if not quote else 0
        if sign == at and depth == 0 and not quote:
            yield text[begun:position].strip()
            begun = position + 1
    yield text[begun:].strip()
