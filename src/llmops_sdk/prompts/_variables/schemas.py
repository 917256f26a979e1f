"""JSON Schemas of variables: checked when they are declared, and brought into one form.

In that form `type` is one name, null is an alternative of `anyOf`, a constant is an `enum`, and words that only people
read are left out. A keyword that is not checked here is refused, since one that is ignored would promise what nobody
keeps.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NoReturn

from llmops_sdk.errors import ConfigurationError
from llmops_sdk.prompts._variables.formats import FORMATS, TEMPORAL
from llmops_sdk.prompts._variables.hints import did_you_mean
from llmops_sdk.prompts._variables.shorthand import Schema, or_null, schema_in_words

__all__ = ["KEYWORDS", "normal_schema", "without_words"]

_WORDS_FOR_PEOPLE = ("title", "description", "examples", "default", "$comment", "deprecated", "$schema", "$id")
_INSTEAD = {
    "oneOf": "write `anyOf`",
    "nullable": "write `type: [string, 'null']`",
    "definitions": "write `$defs`",
    "prefixItems": "write an object with a name for each",
}
_MOST_NESTED = 32

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
_OF_TYPE: Mapping[str, Mapping[str, tuple[_Check, str]]] = {
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
_SPECIFIC = {keyword: check for keywords in _OF_TYPE.values() for keyword, check in keywords.items()}

KEYWORDS = (*_OF_ANY, *_SPECIFIC)
"""Every keyword that is checked."""


def normal_schema(schema: object) -> Schema:
    """A schema (a type in words is one, too) in the form that this module's docstring describes.

    Raises:
        ConfigurationError: It is none, or says something that is not checked; the message names the place in it.

    Example:
        >>> normal_schema({"type": ["string", "null"], "maxLength": 9, "title": "Name"})
        {'anyOf': [{'type': 'string', 'maxLength': 9}, {'type': 'null'}]}
    """
    definitions: dict[str, Schema] = {}
    if isinstance(schema, Mapping) and "$defs" in schema:
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


def without_words(schema: Any) -> Any:
    """A schema without what only people read. Names of properties are kept, whatever they are."""
    if isinstance(schema, list):
        return [without_words(one) for one in schema]
    if not isinstance(schema, dict):
        return schema
    named = ("properties", "$defs")
    return {
        key: {name: without_words(one) for name, one in value.items()} if key in named else without_words(value)
        for key, value in schema.items()
        if key not in _WORDS_FOR_PEOPLE
    }


def _fail(at: tuple[str, ...], problem: str) -> NoReturn:
    raise ConfigurationError(f"at `{'.'.join(at)}`: {problem}" if at else problem)


def _normal(schema: object, at: tuple[str, ...]) -> Schema:
    if len(at) > _MOST_NESTED:
        _fail(at[:3], f"this is nested more than {_MOST_NESTED} deep")
    if schema is True:
        return {}
    if isinstance(schema, str):
        try:
            return _normal(schema_in_words(schema), at)
        except ConfigurationError as exc:
            _fail(at, str(exc))
    if not isinstance(schema, Mapping):
        _fail(at, "write a type, such as `str`, or a JSON Schema")
    return _of_keywords(_checked_keywords(schema, at), at)


def _checked_keywords(schema: Mapping[Any, Any], at: tuple[str, ...]) -> Schema:
    checked = {key: value for key, value in schema.items() if key not in _WORDS_FOR_PEOPLE}
    for key in checked:
        if key not in KEYWORDS:
            instead = _INSTEAD.get(str(key))
            hint = f": {instead}" if instead else "." + did_you_mean(str(key), KEYWORDS)
            _fail(at, f"{key!r} is not checked here, so it cannot be written{hint}")
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
    if not isinstance(kind, str):
        _fail(at, f"unknown type {kind!r}: write a word, such as `str`")
    rest = {key: value for key, value in schema.items() if key != "type"}
    if kind not in _OF_TYPE:
        return _of_word(kind, rest, at)
    return _of_type(kind, rest, at)


def _of_word(kind: str, rest: Schema, at: tuple[str, ...]) -> Schema:
    try:
        meant = schema_in_words(kind)
    except ConfigurationError as exc:
        _fail(at, str(exc))
    if "enum" in rest and not meant:
        return _enumeration(rest, at)
    if twice := sorted(meant.keys() & rest):
        _fail(at, f"the type {kind!r} says `{twice[0]}` already")
    if "anyOf" not in meant or not rest:
        return _normal({**meant, **rest}, at)
    *kept, null = meant["anyOf"]
    if len(kept) != 1 or null != {"type": "null"}:
        _fail(at, f"the type {kind!r} takes no `{next(iter(rest))}`: write `anyOf: [...]`")
    return or_null(_normal({**kept[0], **rest}, at))


def _reference(schema: Schema, at: tuple[str, ...]) -> Schema:
    target = schema["$ref"]
    if len(schema) > 1 or not isinstance(target, str) or not re.fullmatch(r"#/\$defs/[^/~%]+", target):
        _fail(at, "`$ref` stands alone, and is such as `#/$defs/Address`")
    return {"$ref": target}


def _any_of(schema: Schema, at: tuple[str, ...]) -> Schema:
    alternatives = schema["anyOf"]
    if len(schema) > 1 or not isinstance(alternatives, list | tuple) or not alternatives:
        _fail(at, "`anyOf` stands alone, and is a list of schemas")
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
    taken = {keyword for kind in kinds if isinstance(kind, str) for keyword in _OF_TYPE.get(kind, {})}
    if unfit := sorted(schema.keys() - taken - {"type"}):
        _fail(at, f"`{unfit[0]}` fits none of these types: write `anyOf: [...]`")
    alternatives = [
        {"type": kind, **{key: schema[key] for key in _OF_TYPE.get(kind, {}) if key in schema}}
        if isinstance(kind, str)
        else kind
        for kind in kinds
    ]
    return _any_of({"anyOf": alternatives}, at)


def _inferred(schema: Schema) -> str | None:
    """The type that keywords leave no doubt about, for schemas that do not say it."""
    specific = [key for key in schema if key in _SPECIFIC]
    if not specific:
        return None
    return next((kind for kind, keywords in _OF_TYPE.items() if all(key in keywords for key in specific)), None)


def _of_type(kind: str, schema: Schema, at: tuple[str, ...]) -> Schema:
    if "enum" in schema:
        return _enumeration({"type": kind, **schema}, at)
    keywords = _OF_TYPE[kind]
    for key, value in schema.items():
        if key not in keywords:
            _fail(at, f"`{key}` does not belong to `type: {kind}`, which takes {', '.join(keywords) or 'no others'}")
        is_right, what = keywords[key]
        if not is_right(value):
            _fail((*at, key), f"this is {what}")
    if schema.get("format") in TEMPORAL and len(schema) > 1:
        _fail(at, f"`format: {schema['format']}` stands without other keywords")
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
        _fail(at, f"`enum` says all, so `{unfit[0]}` cannot stand beside it")
    if not isinstance(values, list | tuple) or not values:
        _fail(at, "`enum` is a list of values")
    if any(not isinstance(one, str | int | float | None) for one in values):
        _fail(at, "`enum` lists texts, numbers, `true`, `false` and `null` only (put quotes around dates)")
    types = {type(one) for one in values if one is not None}
    meant = {str: "string", bool: "boolean", int: "integer", float: "number"}
    own = meant[types.pop()] if len(types) == 1 else "number" if types == {int, float} else None
    if kind is not None and kind != own and not (kind == "number" and own == "integer"):
        _fail(at, f"`enum` lists values that are not of `type: {kind}`")
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
        _fail(at, "this is no regular expression that is matched in bounded time: no look-around, no back-references")


def _parts(schema: Schema) -> list[Schema]:
    """The schemas directly within one."""
    within = [*schema.get("anyOf", ()), *schema.get("properties", {}).values()]
    return within + [schema[key] for key in ("items", "additionalProperties") if isinstance(schema.get(key), dict)]


def _check_references(schema: Schema, definitions: Mapping[str, Schema]) -> None:
    name = schema.get("$ref", "").removeprefix("#/$defs/")
    if name and name not in definitions:
        _fail((), f"`$ref: '#/$defs/{name}'` leads nowhere; `$defs` has {', '.join(definitions) or 'nothing'}")
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
                _fail(("$defs", name), "this means itself")
            if target and target not in seen:
                seen.add(target)
                open_.append(definitions[target])
