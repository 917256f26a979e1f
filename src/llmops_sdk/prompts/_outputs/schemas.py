"""JSON schemas: what is one, the check of its frame, and those of types."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from llmops_sdk.errors import ConfigurationError
from llmops_sdk.prompts._variables import did_you_mean

__all__ = ["check_schema", "is_schema", "schema_of_type"]

_TYPES = ("object", "array", "string", "number", "integer", "boolean", "null")
_SAY_SO = ("$schema", "$ref", "$defs", "$id")
_OF_ONE = ("items", "additionalProperties", "not", "if", "then", "else", "contains", "propertyNames")
_OF_MANY = ("anyOf", "oneOf", "allOf", "prefixItems")
_OF_NAMES = ("properties", "$defs", "definitions", "patternProperties", "dependentSchemas")
_DEEPEST = 64


def is_schema(given: Mapping[Any, Any]) -> bool:
    """Whether a mapping is a JSON schema, and not a shorthand for one.

    It is, if its `type` is one of JSON's own names (`string`, not `str`) or it holds a word that only schemas have
    where that word's value is what a schema has there.
    """
    if not given:  # any JSON
        return True
    kind = given.get("type")
    if (isinstance(kind, str) and kind in _TYPES) or isinstance(given.get("properties"), Mapping):
        return True
    if any(isinstance(given.get(word), str | Mapping) and word in given for word in _SAY_SO):
        return True
    if any(isinstance(one, list) and all(isinstance(each, Mapping) for each in one) and one for one in _many(given)):
        return True
    return "const" in given or (isinstance(given.get("enum"), list) and given.keys() <= {"enum", "type", "description"})


def _many(given: Mapping[Any, Any]) -> list[Any]:
    return [given.get(word) for word in ("anyOf", "oneOf", "allOf")]


def check_schema(schema: object, path: str = "$", depth: int = 0) -> None:
    """Refuse a schema whose frame is wrong: types that do not exist, parts that are no schemas.

    Raises:
        ConfigurationError: It names the place.
    """
    if isinstance(schema, bool):
        return
    if not isinstance(schema, Mapping):
        raise ConfigurationError(f"the schema at {path} has to be a mapping, not {type(schema).__name__}")
    if depth > _DEEPEST:
        raise ConfigurationError("the schema is nested too deeply")
    _check_words(schema, path)
    for step, one in _inner(schema):
        check_schema(one, f"{path}.{step}", depth + 1)


def _check_words(schema: Mapping[Any, Any], path: str) -> None:
    kinds = schema.get("type", [])
    for kind in kinds if isinstance(kinds, list) else [kinds]:
        if kind not in _TYPES:
            hint = did_you_mean(str(kind), _TYPES)
            raise ConfigurationError(f"the schema at {path} has the unknown type {kind!r}.{hint}")
    required = schema.get("required", [])
    if not isinstance(required, list) or not all(isinstance(name, str) for name in required):
        raise ConfigurationError(f"`required` at {path} is a list of names")
    for words, kind, says in ((("enum", *_OF_MANY), list, "a list"), (_OF_NAMES, Mapping, "a mapping")):
        for word in words:
            if word in schema and not isinstance(schema[word], kind):
                raise ConfigurationError(f"`{word}` at {path} has to be {says}, not {type(schema[word]).__name__}")


def _inner(schema: Mapping[Any, Any]) -> Iterator[tuple[str, object]]:
    """The schemas within a schema, and how they are reached."""
    for word in _OF_ONE:
        if word in schema and not isinstance(schema[word], list):  # `items` was a list in old drafts
            yield word, schema[word]
    for word in _OF_MANY:
        for number, one in enumerate(schema.get(word, [])):
            yield f"{word}[{number}]", one
    for word in _OF_NAMES:
        for name, one in schema.get(word, {}).items():
            yield f"{word}.{name}", one


def schema_of_type(kind: Any) -> Mapping[str, Any]:
    """The JSON schema that asks a model for a value of a type.

    All fields are required and no others are allowed, as constrained decoding of providers wants it ("strict"): a model
    then says `null` or an empty list instead of leaving a field out. What comes is validated by the type itself, which
    may allow more.

    Raises:
        ConfigurationError: Pydantic knows no such type.
    """
    import pydantic  # noqa: PLC0415  (third-party: only where there is a type)

    try:
        schema = pydantic.TypeAdapter(kind).json_schema()
    except Exception as exc:  # whatever pydantic says of something that is no type
        raise ConfigurationError(
            f"`output={kind!r}` is no JSON schema, shorthand, pydantic model or type that pydantic knows: {exc}"
        ) from exc
    closed: dict[str, Any] = _closed(schema)
    return closed


def _closed(schema: Any) -> Any:
    if isinstance(schema, list):
        return [_closed(one) for one in schema]
    if not isinstance(schema, dict):
        return schema
    made = {
        word: {name: _closed(one) for name, one in value.items()}
        if word in _OF_NAMES and isinstance(value, dict)
        else _closed(value)
        if word in _OF_ONE or word in _OF_MANY
        else value
        for word, value in schema.items()
    }
    if isinstance(made.get("properties"), dict):
        made["required"] = list(made["properties"])
        made.setdefault("additionalProperties", False)
    return made
