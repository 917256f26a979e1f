"""JSON Schemas as Python types, with a `TypedDict` for each object whose properties are known."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from llmops_sdk.prompts._stubs.names import Names, class_name, is_field

__all__ = ["Field", "TypesOfSchemas"]

_PLAIN = {"string": "str", "integer": "int", "number": "float", "boolean": "bool", "null": "None"}
_TEMPORAL = {"date": "_datetime.date | str", "date-time": "_datetime.datetime | str"}
_MOST_NESTED = 32


class Field(NamedTuple):
    """One key of a `TypedDict`."""

    name: str
    type: str
    required: bool


class TypesOfSchemas:
    """Writes types for schemas.

    Attributes:
        names: Gives out the names of the classes.
        classes: The text of each `TypedDict`, in order.
    """

    def __init__(self, names: Names) -> None:
        self.names = names
        self.classes: list[str] = []

    def of(self, schema: object, name: str, *, given: bool) -> str:
        """The type of the values of a schema.

        Args:
            schema: A JSON Schema, of any form.
            name: What a `TypedDict` for it would be called.
            given: Whether the application gives such values to a prompt (a tuple is a list then, a date is one of
                `datetime` or a text), or a model answers with them.
        """
        return _OneSchema(self, schema, name, given=given).written()

    def typed_dict(self, wanted: str, fields: Iterable[Field]) -> str:
        """Declare a `TypedDict`; gives its name."""
        name = self.names.new(wanted)
        self.declare(name, fields)
        return name

    def declare(self, name: str, fields: Iterable[Field]) -> None:
        """Declare a `TypedDict` under a name that was given out."""
        fields = list(fields)
        types = {one.name: one.type if one.required else f"_NotRequired[{one.type}]" for one in fields}
        if all(is_field(one) for one in types):
            body = "".join(f"    {key}: {kind}\n" for key, kind in types.items()) or "    ...\n"
            self.classes.append(f"class {name}(_TypedDict):\n{body}")
        else:  # a class cannot say keywords and signs
            body = "".join(f"        {key!a}: {kind},\n" for key, kind in types.items())
            self.classes.append(f"{name} = _TypedDict(\n    {name!a},\n    {{\n{body}    }},\n)\n")


class _OneSchema:
    """One schema with its definitions, which may refer to each other."""

    def __init__(self, types: TypesOfSchemas, schema: object, name: str, *, given: bool) -> None:
        self._types = types
        self._schema = schema
        self._name = name
        self._given = given
        self._named: dict[str, str] = {}

    def written(self) -> str:
        return self._of(self._schema, self._name, 0)

    def _of(self, schema: object, name: str, depth: int) -> str:
        if not isinstance(schema, Mapping) or depth > _MOST_NESTED:
            return "_Any"
        if isinstance(schema.get("$ref"), str):
            return self._reference(schema["$ref"], depth)
        if "const" in schema or "enum" in schema:
            return _literal([schema["const"]] if "const" in schema else schema["enum"])
        for key in ("anyOf", "oneOf"):
            if key in schema:
                return _union(self._of(one, name, depth + 1) for one in schema[key])
        kind = schema.get("type", "object" if "properties" in schema else None)
        if isinstance(kind, list | tuple):
            return _union(self._of({**schema, "type": one}, name, depth + 1) for one in kind)
        if kind == "array":
            items = self._of(schema.get("items"), f"{name}Item", depth + 1)
            return f"list[{items}] | tuple[{items}, ...]" if self._given else f"list[{items}]"
        if kind == "object":
            return self._object(schema, name, depth)
        if self._given and schema.get("format") in _TEMPORAL:
            return _TEMPORAL[schema["format"]]
        return _PLAIN.get(str(kind), "_Any")

    def _object(self, schema: Mapping[str, Any], name: str, depth: int) -> str:
        if not schema.get("properties"):
            values = self._of(schema.get("additionalProperties"), f"{name}Value", depth + 1)
            return f"_Mapping[str, {values}]" if self._given else f"dict[str, {values}]"
        own = self._types.names.new(name)
        self._declare(own, schema, depth)
        return own

    def _declare(self, name: str, schema: Mapping[str, Any], depth: int) -> None:
        fields = []
        for key, value in schema["properties"].items():
            kind = self._of(value, f"{name}{class_name(key).removeprefix('Prompt')}", depth + 1)
            fields.append(Field(key, kind, key in schema.get("required", ())))
        self._types.declare(name, fields)

    def _reference(self, target: str, depth: int) -> str:
        if target in self._named:
            return self._named[target]
        found: object = self._schema
        for step in target.removeprefix("#/").split("/"):
            found = found.get(step) if isinstance(found, Mapping) else None
        name = f"{self._name}{class_name(target.rpartition('/')[2])}"
        if not isinstance(found, Mapping) or not found.get("properties"):
            self._named[target] = "_Any"  # of one that means itself without a name nothing can be said
            self._named[target] = self._of(found, name, depth + 1)
            return self._named[target]
        own = self._named[target] = self._types.names.new(name)
        self._declare(own, found, depth)
        return own


def _union(alternatives: Iterable[str]) -> str:
    kinds = list(dict.fromkeys(alternatives))
    return "_Any" if "_Any" in kinds or not kinds else " | ".join(kinds)


def _literal(values: object) -> str:
    if not isinstance(values, list | tuple) or not values:
        return "_Any"
    if all(isinstance(one, str | int | None) for one in values):  # a boolean is an int
        return f"_Literal[{', '.join(ascii(one) for one in values)}]"
    return "float" if all(isinstance(one, int | float) for one in values) else "_Any"
