"""The shorthand for JSON schemas: names with types, `{answer: str, score: float, tags: list[str]}`."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from llmops_sdk.errors import ConfigurationError
from llmops_sdk.prompts._outputs.schemas import check_schema, is_schema
from llmops_sdk.prompts._variables import did_you_mean

__all__ = ["schema_of"]

_TYPES: dict[str, dict[str, Any]] = {
    "str": {"type": "string"},
    "int": {"type": "integer"},
    "float": {"type": "number"},
    "bool": {"type": "boolean"},
    "any": {},
    "dict": {"type": "object"},
    "list": {"type": "array"},
}
_LIST = re.compile(r"list\[(.+)\]")
_DICT = re.compile(r"dict\[\s*str\s*,(.+)\]")
_LITERAL = re.compile(r"'([^']*)'|\"([^\"]*)\"")
_DEEPEST = 32


def schema_of(given: object, where: str, depth: int = 0) -> dict[str, Any]:
    """The JSON schema that a shorthand stands for.

    A mapping is an object with these fields, all of them required and no others allowed; a list with one type in it is
    a list of that type, one with several values a choice of these; a text is a type: `str`, `int`, `float`, `bool`,
    `any`, `list[...]`, `dict[str, ...]`, alternatives with `|` between, among them `null` and `'texts in quotes'`.
    A field may be a JSON schema.

    Args:
        given: The shorthand.
        where: Path to it, for errors.
        depth: How deep it is nested.

    Raises:
        ConfigurationError: It is none; the message names the place.

    Example:
        >>> schema_of("int | null", "output")
        {'anyOf': [{'type': 'integer'}, {'type': 'null'}]}
    """
    if depth > _DEEPEST:
        raise ConfigurationError(f"`{where}` is nested too deeply")
    if isinstance(given, Mapping):
        if is_schema(given):
            check_schema(given, where)
            return dict(given)
        return _object(given, where, depth)
    if isinstance(given, list) and given:
        if len(given) == 1:
            return {"type": "array", "items": schema_of(given[0], f"{where}[]", depth + 1)}
        if all(isinstance(one, str | int | float | bool) for one in given):
            return {"enum": given}
    if given is None:  # YAML's `null`
        return {"type": "null"}
    if not isinstance(given, str):
        raise ConfigurationError(f"`{where}` is no type: write one such as `str` or `list[str]`, not {given!r}")
    return _type(given.strip(), where, depth)


def _object(given: Mapping[Any, Any], where: str, depth: int) -> dict[str, Any]:
    if not given:
        raise ConfigurationError(f"`{where}` is empty: write its fields, such as `{{answer: str}}`")
    for name in given:
        if not isinstance(name, str):
            raise ConfigurationError(f"`{where}` has a field {name!r}: names are texts, so put it into quotes")
    return {
        "type": "object",
        "properties": {name: schema_of(one, f"{where}.{name}", depth + 1) for name, one in given.items()},
        "required": list(given),
        "additionalProperties": False,
    }


def _type(text: str, where: str, depth: int) -> dict[str, Any]:
    parts = _alternatives(text)
    literals = [_LITERAL.fullmatch(part) for part in parts]
    if parts and all(literals):
        return {"enum": [one[1] if one[1] is not None else one[2] for one in literals if one]}
    if len(parts) > 1:
        return {"anyOf": [schema_of(part, where, depth + 1) for part in parts]}
    if text in ("null", "None"):
        return {"type": "null"}
    if text in _TYPES:
        return dict(_TYPES[text])
    if match := _LIST.fullmatch(text):
        return {"type": "array", "items": schema_of(match[1], f"{where}[]", depth + 1)}
    if match := _DICT.fullmatch(text):
        return {"type": "object", "additionalProperties": schema_of(match[1], f"{where}.*", depth + 1)}
    there_are = ", ".join((*_TYPES, "list[...]", "dict[str, ...]"))
    raise ConfigurationError(
        f"`{where}` has the unknown type {text!r}; there are {there_are}, and `|` between them."
        + did_you_mean(text, _TYPES)
    )


def _alternatives(text: str) -> list[str]:
    """The parts between `|`, but not those in brackets or quotes."""
    parts, depth, quote, begun = [], 0, "", 0
    for position, letter in enumerate(text):
        if quote:
            quote = "" if letter == quote else quote
        elif letter in "'\"":
            quote = letter
        elif letter in "[]":
            depth += 1 if letter == "[" else -1
        elif letter == "|" and depth == 0:
            parts.append(text[begun:position].strip())
            begun = position + 1
    return [*parts, text[begun:].strip()]
