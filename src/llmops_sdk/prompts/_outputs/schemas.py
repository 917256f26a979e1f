"""JSON schemas of outputs: the check of their frame, and those of types. All keywords go to the engine."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from llmops_sdk.errors import ConfigurationError
from llmops_sdk.prompts._hints import did_you_mean
from llmops_sdk.prompts._types.keywords import JSON_TYPES, OF_MANY, OF_NAMES, OF_ONE, with_parts
from llmops_sdk.prompts._types.spelling import fail_at

__all__ = ["check_schema", "schema_of_type"]


def check_schema(schema: object, at: tuple[str, ...] = ()) -> None:
    """Refuse a schema whose frame is wrong: types that do not exist, parts that are no schemas.

    Raises:
        ConfigurationError: It names the place.
    """
    if isinstance(schema, bool):
        return
    if not isinstance(schema, Mapping):
        fail_at(at, f"a schema has to be a mapping, not {type(schema).__name__}")
    kinds = schema.get("type", [])
    for kind in kinds if isinstance(kinds, list | tuple) else [kinds]:
        if kind not in JSON_TYPES:
            fail_at(at, f"unknown type {kind!r}.{did_you_mean(str(kind), JSON_TYPES)}")
    required = schema.get("required", [])
    if not isinstance(required, list | tuple) or not all(isinstance(name, str) for name in required):
        fail_at((*at, "required"), "this is a list of names")
    for words, kind, says in ((("enum", *OF_MANY), list | tuple, "a list"), (OF_NAMES, Mapping, "a mapping")):
        for word in words:
            if word in schema and not isinstance(schema[word], kind):
                fail_at((*at, word), f"this is {says}, not {type(schema[word]).__name__}")
    for step, one in _inner(schema):
        check_schema(one, (*at, *step))


def _inner(schema: Mapping[Any, Any]) -> Iterator[tuple[tuple[str, ...], object]]:
    """The schemas within a schema, and how they are reached."""
    for word in OF_ONE:
        if word in schema and not isinstance(schema[word], list | tuple):  # `items` was a list in old drafts
            yield (word,), schema[word]
    for word in OF_MANY:
        for number, one in enumerate(schema.get(word, ())):
            yield (word, str(number)), one
    for word in OF_NAMES:
        for name, one in schema.get(word, {}).items():
            yield ((str(name),) if word == "properties" else (word, str(name))), one


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
    if not isinstance(schema, dict):
        return schema
    made = with_parts(schema, _closed)
    if isinstance(made.get("properties"), dict):
        made["required"] = list(made["properties"])
        made.setdefault("additionalProperties", False)
    return made
