"""Picoschema, the short form of JSON Schema in dotprompt files (https://google.github.io/dotprompt/reference/picoschema)."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from llmops_sdk.errors import ConfigurationError
from llmops_sdk.prompts._types.spelling import is_schema

__all__ = ["json_schema"]

_SCALARS = ("string", "number", "integer", "boolean", "null")
_KEY = re.compile(r"([^()?]+)(\?)?(?:\((\w+)(?:,\s*(.*))?\))?", re.DOTALL)


def json_schema(given: object) -> dict[str, Any]:
    """The JSON schema that a Picoschema stands for; a JSON schema is taken as it is.

    Raises:
        ConfigurationError: It is none, or names a schema that is registered in code.

    Example:
        >>> json_schema({"name": "string, of the guest", "tags?(array)": "string"})["required"]
        ['name']
    """
    if isinstance(given, Mapping) and is_schema(given):
        return dict(given)
    if isinstance(given, str):
        return _scalar(given)
    if isinstance(given, Mapping):
        return _object(given)
    raise ConfigurationError(f"{given!r} is no schema")


def _scalar(given: str) -> dict[str, Any]:
    kind, _, description = (part.strip() for part in given.partition(","))
    if kind not in (*_SCALARS, "any"):
        raise ConfigurationError(f"the schema {kind!r} is registered in code, and is not in the file")
    made: dict[str, Any] = {} if kind == "any" else {"type": kind}
    return {**made, "description": description} if description else made


def _object(given: Mapping[Any, Any]) -> dict[str, Any]:
    properties: dict[str, Any] = {}
    required: list[str] = []
    more: Any = False
    for key, value in given.items():
        if key == "(*)":
            more = json_schema(value)
            continue
        match = _KEY.fullmatch(str(key))
        if match is None:
            raise ConfigurationError(f"{key!r} is no name in Picoschema")
        name, optional, kind, description = match[1].strip(), match[2], match[3], match[4]
        made = _property(kind, value)
        if optional and "type" in made:
            made["type"] = [made["type"], "null"]
        elif not optional:
            required.append(name)
        properties[name] = {**made, "description": description} if description else made
    schema: dict[str, Any] = {"type": "object", "properties": properties, "additionalProperties": more}
    return {**schema, "required": required} if required else schema


def _property(kind: str | None, value: object) -> dict[str, Any]:
    if kind is None:
        return json_schema(value)
    if kind == "array":
        return {"type": "array", "items": json_schema(value)}
    if kind == "object":
        return json_schema(value)
    if kind == "enum" and isinstance(value, list):
        return {"enum": value}
    raise ConfigurationError(f"Picoschema has no type {kind!r}")
