"""The forms in which a type is written, spelled out as JSON Schema: words, fields, lists, and schemas of such.

A variable and an output are declared in the same forms. What a schema may hold differs, and is not decided here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NoReturn

from llmops_sdk.errors import ConfigurationError
from llmops_sdk.prompts._types.formats import FORMATS
from llmops_sdk.prompts._types.keywords import (
    JSON_TYPES,
    KEYWORDS,
    KEYWORDS_OF_TYPES,
    OF_MANY,
    OF_NAMES,
    OF_ONE,
    WORDS_FOR_PEOPLE,
)
from llmops_sdk.prompts._types.words import WORDS, Schema, or_null, schema_in_words

__all__ = ["fail_at", "is_schema", "spelled_out", "spelled_schema"]

_MOST_STEPS = 64
_ONLY_OF_SCHEMAS = ("$schema", "$ref", "$defs", "$id")
_ALL = {
    *KEYWORDS,
    *WORDS_FOR_PEOPLE,
    *OF_ONE,
    *OF_MANY,
    *OF_NAMES,
    *("dependentRequired", "minContains", "maxContains", "unevaluatedItems", "unevaluatedProperties", "readOnly"),
    *("writeOnly", "contentEncoding", "contentMediaType", "$anchor", "$dynamicRef", "$dynamicAnchor", "$vocabulary"),
}
_TEXTS = ("title", "description", "pattern", "$comment")
"""Keywords whose value may be any text, so that a type in words there means a field of such a name."""


def spelled_out(
    given: object, at: tuple[str, ...] = (), also: Sequence[str] = (), *, in_schema: bool = False
) -> Schema:
    """The JSON Schema that a declaration means, with no words of ours left in it.

    A text is a type in words. A mapping is a JSON Schema, within which types may be in words, or else an object with
    these fields and no others, all of them required. A list with one type in it is a list of that, one of several
    values a choice of these.

    Args:
        given: The declaration.
        at: Names that lead to it, for errors.
        also: Words that have a meaning besides those of JSON, for errors.
        in_schema: Whether it stands in a JSON Schema, where a mapping with none but words of JSON Schema is one.

    Raises:
        ConfigurationError: It means nothing; the message names the place.

    Example:
        >>> spelled_out({"answer": "str", "tags": ["str"]})["properties"]["tags"]
        {'type': 'array', 'items': {'type': 'string'}}
    """
    if len(at) > _MOST_STEPS:
        fail_at(at[:3], f"this is nested more than {_MOST_STEPS} deep")
    if isinstance(given, str):
        return _in_words(given, at, also)
    if isinstance(given, Mapping):
        is_one = is_schema(given) or (in_schema and _looks_like_schema(given))
        return spelled_schema(given, at, also) if is_one else _of_fields(given, at, also)
    if isinstance(given, list | tuple) and len(given) == 1:
        return {"type": "array", "items": spelled_out(given[0], (*at, "items"), also)}
    if isinstance(given, list | tuple) and given and all(isinstance(one, str | int | float | None) for one in given):
        return {"enum": list(given)}
    if given is None:  # YAML's `null`
        return {"type": "null"}
    return fail_at(at, f"this is no type: write one, such as `str` or `list[str]`, or a JSON Schema, not {given!r}")


def is_schema(given: Mapping[Any, Any]) -> bool:
    """Whether a mapping is a JSON Schema, and not the fields of an object.

    It is one if it holds a word of JSON Schema with a value that a field could not have, or has it with a type beside
    it to which that word belongs; or if a mapping under a word such as `not` is one.

    Example:
        >>> is_schema({"type": "str", "maxLength": 3}), is_schema({"type": "str", "items": "list[str]"})
        (True, False)
    """
    waiting = [given]
    while waiting:
        one = waiting.pop()
        if _says_schema(one):
            return True
        waiting += [one[word] for word in OF_ONE[2:] if isinstance(one.get(word), Mapping)]
    return False


def _says_schema(given: Mapping[Any, Any]) -> bool:
    """The same by what it says itself, and not the mappings in it."""
    kind = given.get("type")
    if not given or kind in JSON_TYPES or isinstance(kind, list) or isinstance(given.get("properties"), Mapping):
        return True  # without any word: any JSON
    if any(isinstance(given.get(word), str | Mapping) for word in _ONLY_OF_SCHEMAS) or "const" in given:
        return True
    if any(isinstance(given.get(word), list) and given[word] for word in OF_MANY):
        return True
    if isinstance(given.get("enum"), list) and given.keys() <= {"enum", "type", "description"}:
        return True
    if any(isinstance(given.get(word), bool) for word in OF_ONE) or given.get("format") in FORMATS:
        return True
    if isinstance(kind, str) and _means(kind) is not None and _is_typed(given, kind):
        return True
    return any(_is_no_type(value) for word, value in given.items() if word in (*KEYWORDS, *WORDS_FOR_PEOPLE))


def _looks_like_schema(given: Mapping[Any, Any]) -> bool:
    """Whether all its keys are words of JSON Schema, or a value is one that no field could have."""
    return all(word in _ALL for word in given) or any(_is_no_type(value) for value in given.values())


def _is_typed(given: Mapping[Any, Any], kind: str) -> bool:
    """Whether all that stands beside a type in words belongs to it."""
    others = {word: value for word, value in given.items() if word != "type"}
    if any(isinstance(value, bool | int | float) for value in others.values()):  # no field: perhaps a word mistyped
        return True
    if others and all(word in _TEXTS and not _is_no_type(value) for word, value in others.items()):
        return False
    known = {**_keywords_of(_means(kind) or {}), **dict.fromkeys((*WORDS_FOR_PEOPLE, "enum"), (lambda _: True, ""))}
    return all(word in known and known[word][0](value) for word, value in others.items())


def _keywords_of(schema: Schema) -> Mapping[str, Any]:
    alternatives = schema.get("anyOf", [schema])
    return {word: check for one in alternatives for word, check in KEYWORDS_OF_TYPES.get(one.get("type"), {}).items()}


def _is_no_type(value: object) -> bool:
    if isinstance(value, str):
        return _means(value) is None
    return isinstance(value, bool | int | float)


def _means(text: str) -> Schema | None:
    try:
        return schema_in_words(text)
    except ConfigurationError:
        return None


def _of_fields(given: Mapping[Any, Any], at: tuple[str, ...], also: Sequence[str]) -> Schema:
    for name in given:
        if not isinstance(name, str):
            fail_at(at, f"there is a field {name!r}: names are texts, so put it into quotes")
    return {
        "type": "object",
        "properties": {name: spelled_out(one, (*at, name), also) for name, one in given.items()},
        "required": list(given),
        "additionalProperties": False,
    }


def spelled_schema(given: Mapping[Any, Any], at: tuple[str, ...] = (), also: Sequence[str] = ()) -> Schema:
    """The same for what is known to be a JSON Schema."""
    kind = given.get("type")
    if isinstance(kind, str) and kind not in JSON_TYPES:
        given = _with_type(given, _in_words(kind, at, also), at)
    elif isinstance(kind, list | tuple):
        given = {**given, "type": [_plain_type(one) for one in kind]}
    made: Schema = {}
    for word, value in given.items():
        if word in OF_ONE and isinstance(value, Mapping | str):
            made[word] = spelled_out(value, (*at, word), also, in_schema=True)
        elif word in OF_MANY and isinstance(value, list | tuple):
            made[word] = [
                one if isinstance(one, bool) else spelled_out(one, (*at, word, str(number)), also, in_schema=True)
                for number, one in enumerate(value)
            ]
        elif word in OF_NAMES and isinstance(value, Mapping):
            within = at if word == "properties" else (*at, word)
            made[word] = {
                name: one if isinstance(one, bool) else spelled_out(one, (*within, str(name)), also, in_schema=True)
                for name, one in value.items()
            }
        else:
            made[word] = value
    return made


def _with_type(given: Mapping[Any, Any], meant: Schema, at: tuple[str, ...]) -> Schema:
    """A schema whose type is in words, with what those mean in place of it."""
    kind = given["type"]
    rest = {word: value for word, value in given.items() if word != "type"}
    says = {word: value for word, value in rest.items() if word not in WORDS_FOR_PEOPLE}
    if twice := sorted(meant.keys() & says):
        fail_at(at, f"the type {kind!r} says `{twice[0]}` already")
    if "anyOf" not in meant or not says:
        return {**meant, **rest}
    *kept, null = meant["anyOf"]
    if len(kept) != 1 or null != {"type": "null"}:
        fail_at(at, f"the type {kind!r} takes no `{next(iter(says))}`: write `anyOf: [...]`")
    words = {word: value for word, value in rest.items() if word not in says}
    return {**or_null({**kept[0], **says}), **words}


def _plain_type(word: object) -> object:
    """A type in a word under the name that JSON Schema has for it."""
    meant = WORDS.get(word, {}) if isinstance(word, str) else {}
    return meant["type"] if meant.keys() == {"type"} else word


def _in_words(text: str, at: tuple[str, ...], also: Sequence[str]) -> Schema:
    try:
        return schema_in_words(text, also)
    except ConfigurationError as exc:
        fail_at(at, str(exc))


def fail_at(at: tuple[str, ...], problem: str) -> NoReturn:
    """Raise the error of the place to which these names lead."""
    raise ConfigurationError(f"at `{'.'.join(at)}`: {problem}" if at else problem)
