"""JSON Schemas of variables: checked when they are declared, and brought into one form.

In that form `type` is one name, null is an alternative of `anyOf`, a constant is an `enum`, and words that only people
read are left out. A keyword that is not checked here is refused, since one that is ignored would promise what nobody
keeps.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from llmops_sdk.errors import ConfigurationError
from llmops_sdk.prompts._hints import did_you_mean
from llmops_sdk.prompts._types.formats import TEMPORAL
from llmops_sdk.prompts._types.keywords import KEYWORDS, KEYWORDS_OF_TYPES, WORDS_FOR_PEOPLE
from llmops_sdk.prompts._types.spelling import fail_at, spelled_out, spelled_schema
from llmops_sdk.prompts._types.words import MOST_NESTED, OWN_KINDS, Schema, or_null

__all__ = ["normal_schema"]

_INSTEAD = {
    "oneOf": "write `anyOf`",
    "nullable": "write `type: [string, 'null']`",
    "definitions": "write `$defs`",
    "prefixItems": "write an object with a name for each",
}


def normal_schema(schema: object) -> Schema:
    """A declared type in the form that this module's docstring describes.

    Raises:
        ConfigurationError: It is none, or says something that is not checked; the message names the place in it.

    Example:
        >>> normal_schema({"type": ["string", "null"], "maxLength": 9, "title": "Name"})
        {'anyOf': [{'type': 'string', 'maxLength': 9}, {'type': 'null'}]}
    """
    schema = (
        spelled_schema(schema, (), OWN_KINDS) if isinstance(schema, Mapping) else spelled_out(schema, (), OWN_KINDS)
    )
    definitions: dict[str, Schema] = {}
    if "$defs" in schema:
        given = schema["$defs"]
        if not isinstance(given, Mapping):
            raise ConfigurationError("`$defs` is a mapping of names to schemas")
        definitions = {str(name): _normal(one, ("$defs", str(name))) for name, one in given.items()}
        schema = {key: value for key, value in schema.items() if key != "$defs"}
    normal = _normal(schema, ())
    for one in (normal, *definitions.values()):
        _check_references(one, definitions)
    _refuse_circles(definitions)
    return {**normal, "$defs": definitions} if definitions else normal


def _normal(schema: object, at: tuple[str, ...]) -> Schema:
    if len(at) > MOST_NESTED:
        fail_at(at[:3], f"this is nested more than {MOST_NESTED} deep")
    if schema is True:
        return {}
    if not isinstance(schema, Mapping):
        fail_at(at, "write a type, such as `str`, or a JSON Schema")
    return _of_keywords(_checked_keywords(schema, at), at)


def _checked_keywords(schema: Mapping[Any, Any], at: tuple[str, ...]) -> Schema:
    checked = {key: value for key, value in schema.items() if key not in WORDS_FOR_PEOPLE}
    for key in checked:
        if key not in KEYWORDS:
            instead = _INSTEAD.get(str(key))
            hint = f": {instead}" if instead else "." + did_you_mean(str(key), KEYWORDS)
            fail_at(at, f"{key!r} is not checked here, so it cannot be written{hint}")
    if "const" in checked:
        checked["enum"] = [checked.pop("const")]
    return checked


def _of_keywords(schema: Schema, at: tuple[str, ...]) -> Schema:
    if "$ref" in schema:
        return _reference(schema, at)
    if "anyOf" in schema:
        return _any_of(schema, at)
    kind = schema["type"] if "type" in schema else _inferred(schema)
    if isinstance(kind, list | tuple):
        return _several(schema, kind, at)
    if kind is None and "enum" in schema:
        return _enumeration(schema, at)
    if kind is None and not schema:
        return {}
    if not isinstance(kind, str) or kind not in KEYWORDS_OF_TYPES:
        fail_at(at, f"unknown type {kind!r}: write a word, such as `str`")
    return _of_type(kind, {key: value for key, value in schema.items() if key != "type"}, at)


def _reference(schema: Schema, at: tuple[str, ...]) -> Schema:
    target = schema["$ref"]
    if len(schema) > 1 or not isinstance(target, str) or not re.fullmatch(r"#/\$defs/[^/~%]+", target):
        fail_at(at, "`$ref` stands alone, and is such as `#/$defs/Address`")
    return {"$ref": target}


def _any_of(schema: Schema, at: tuple[str, ...]) -> Schema:
    alternatives = schema["anyOf"]
    if len(schema) > 1 or not isinstance(alternatives, list | tuple) or not alternatives:
        fail_at(at, "`anyOf` stands alone, and is a list of schemas")
    flat: list[Schema] = []
    for number, one in enumerate(alternatives):
        normal = _normal(one, (*at, "anyOf", str(number)))
        flat += normal.get("anyOf", [normal])
    null = {"type": "null"}
    kept = [one for one in flat if one != null]
    ordered = [*kept, null] if len(kept) < len(flat) else kept
    return {"anyOf": ordered} if len(ordered) > 1 else ordered[0]


def _several(schema: Schema, kinds: Sequence[object], at: tuple[str, ...]) -> Schema:
    """`type: [string, integer]`: each alternative takes the keywords of its type."""
    taken = {keyword for kind in kinds if isinstance(kind, str) for keyword in KEYWORDS_OF_TYPES.get(kind, {})}
    if unfit := sorted(schema.keys() - taken - {"type"}):
        fail_at(at, f"`{unfit[0]}` fits none of these types: write `anyOf: [...]`")
    alternatives = [
        {"type": kind, **{key: schema[key] for key in KEYWORDS_OF_TYPES.get(kind, {}) if key in schema}}
        if isinstance(kind, str)
        else kind
        for kind in kinds
    ]
    return _any_of({"anyOf": alternatives}, at)


def _inferred(schema: Schema) -> str | None:
    """The type that keywords leave no doubt about, for schemas that do not say it."""
    of_types = KEYWORDS_OF_TYPES.values()
    specific = [key for key in schema if any(key in keywords for keywords in of_types)]
    if not specific:
        return None
    return next(
        (kind for kind, keywords in KEYWORDS_OF_TYPES.items() if all(key in keywords for key in specific)), None
    )


def _of_type(kind: str, schema: Schema, at: tuple[str, ...]) -> Schema:
    if "enum" in schema:
        return _enumeration({"type": kind, **schema}, at)
    keywords = KEYWORDS_OF_TYPES[kind]
    for key, value in schema.items():
        if key not in keywords:
            fail_at(at, f"`{key}` does not belong to `type: {kind}`, which takes {', '.join(keywords) or 'no others'}")
        is_right, what = keywords[key]
        if not is_right(value):
            fail_at((*at, key), f"this is {what}")
    if schema.get("format") in TEMPORAL and len(schema) > 1:
        fail_at(at, f"`format: {schema['format']}` stands without other keywords")
    if "pattern" in schema:
        _check_pattern(schema["pattern"], (*at, "pattern"))
    normal: Schema = {"type": kind, **schema}
    if "items" in schema:
        normal["items"] = _normal(schema["items"], (*at, "items"))
    if "properties" in schema:
        normal["properties"] = {str(name): _normal(one, (*at, str(name))) for name, one in schema["properties"].items()}
    if not isinstance(schema.get("additionalProperties", True), bool):
        normal["additionalProperties"] = _normal(schema["additionalProperties"], (*at, "additionalProperties"))
    return normal


def _enumeration(schema: Schema, at: tuple[str, ...]) -> Schema:
    values, kind = schema["enum"], schema.get("type")
    if unfit := sorted(schema.keys() - {"enum", "type"}):
        fail_at(at, f"`enum` says all, so `{unfit[0]}` cannot stand beside it")
    if not isinstance(values, list | tuple) or not values:
        fail_at(at, "`enum` is a list of values")
    if any(type(one) not in (str, int, float, bool, type(None)) for one in values):
        fail_at(at, "`enum` lists texts, numbers, `true`, `false` and `null` only (put quotes around dates)")
    types = {type(one) for one in values if one is not None}
    meant = {str: "string", bool: "boolean", int: "integer", float: "number"}
    own = meant[types.pop()] if len(types) == 1 else "number" if types == {int, float} else None
    if kind is not None and kind != own and not (kind == "number" and own == "integer"):
        fail_at(at, f"`enum` lists values that are not of `type: {kind}`")
    listed = [one for one in values if one is not None]
    if not listed:
        return {"type": "null"}
    normal: Schema = {"enum": listed} if own is None else {"type": kind or own, "enum": listed}
    return normal if len(listed) == len(values) else or_null(normal)


def _check_pattern(pattern: str, at: tuple[str, ...]) -> None:
    import pydantic_core  # noqa: PLC0415  (third-party: whoever writes no pattern needs none)

    try:
        pydantic_core.SchemaValidator(pydantic_core.core_schema.str_schema(pattern=pattern))
    except pydantic_core.SchemaError:
        fail_at(at, "this is no regular expression that is matched in bounded time: no look-around, no back-references")


def _parts(schema: Schema) -> list[Schema]:
    """The schemas directly within one."""
    within = [*schema.get("anyOf", ()), *schema.get("properties", {}).values()]
    return within + [schema[key] for key in ("items", "additionalProperties") if isinstance(schema.get(key), dict)]


def _check_references(schema: Schema, definitions: Mapping[str, Schema]) -> None:
    name = schema.get("$ref", "").removeprefix("#/$defs/")
    if name and name not in definitions:
        fail_at((), f"`$ref: '#/$defs/{name}'` leads nowhere; `$defs` has {', '.join(definitions) or 'nothing'}")
    for one in _parts(schema):
        _check_references(one, definitions)


def _refuse_circles(definitions: Mapping[str, Schema]) -> None:
    """Refuse a definition that is itself again before any value is read: checking it would not end."""
    for name, schema in definitions.items():
        open_, seen = [schema], set()
        while open_:
            one = open_.pop()
            open_ += one.get("anyOf", ())
            target = one.get("$ref", "").removeprefix("#/$defs/")
            if target == name:
                fail_at(("$defs", name), "this means itself")
            if target and target not in seen:
                seen.add(target)
                open_.append(definitions[target])
