"""Types that code declares: `int`, `Literal["a", "b"]`, `list[str]`, a pydantic model."""

from __future__ import annotations

import datetime as dt
import types
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Union, get_args, get_origin

from llmops_sdk.errors import ConfigurationError
from llmops_sdk.messages import Document, ImagePart, Message
from llmops_sdk.prompts._types.keywords import without_words
from llmops_sdk.prompts._types.words import OWN_KINDS, WORDS, Schema

__all__ = ["TypeMeant", "is_type", "plain_value", "types_meant"]

_WORD: Mapping[Any, str] = {
    str: "str",
    int: "int",
    float: "float",
    bool: "bool",
    list: "list",
    dict: "mapping",
    Mapping: "mapping",
    dt.date: "date",
    dt.datetime: "datetime",
    Any: "any",
    object: "any",
    Document: "document",
    list[Document]: "documents",
    Sequence[Document]: "documents",
    list[Message]: "messages",
    Sequence[Message]: "messages",
    ImagePart: "image",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class TypeMeant:
    """What a Python type means: a word of our own, else a schema, else one that pydantic checks by the annotation."""

    optional: bool = False
    word: str | None = None
    schema: Schema = field(default_factory=dict)
    annotation: Any = None


def is_type(declared: object) -> bool:
    """Whether `declared` is a type, and not a declaration in words or as a mapping."""
    return declared is Any or isinstance(declared, type) or get_origin(declared) is not None


def types_meant(annotation: Any) -> TypeMeant:
    """What a type means. What words can say needs no pydantic.

    Raises:
        ConfigurationError: pydantic cannot check the type, or cannot say it as JSON Schema.
    """
    optional = False
    if get_origin(annotation) in (Union, types.UnionType):
        kept = [one for one in get_args(annotation) if one is not type(None)]
        optional = len(kept) < len(get_args(annotation))
        annotation = Union[tuple(kept)]  # noqa: UP007  (the alternatives are known only now)
    if (word := _word(annotation)) is not None:
        return TypeMeant(optional=optional, word=word)
    if (schema := _in_words(annotation)) is not None:
        return TypeMeant(optional=optional, schema=schema)
    return TypeMeant(optional=optional, schema=_by_pydantic(annotation), annotation=annotation)


def plain_value(annotation: Any, value: object) -> Any:
    """A value of such a type as JSON."""
    from pydantic import TypeAdapter  # noqa: PLC0415  (see `_by_pydantic`)

    return TypeAdapter(annotation).dump_python(value, mode="json")


def _word(annotation: Any) -> str | None:
    if not get_args(annotation):
        annotation = get_origin(annotation) or annotation  # `typing.List` is `list`
    if isinstance(annotation, type) or annotation is Any or get_origin(annotation) in (list, Sequence):
        return next((word for kind, word in _WORD.items() if kind == annotation), None)  # not all types can be hashed
    return None


def _in_words(annotation: Any) -> Schema | None:
    """The schema of a type that is made of words only."""
    if (word := _word(annotation)) is not None:
        return None if word in OWN_KINDS else dict(WORDS[word])
    origin, within = get_origin(annotation), get_args(annotation)
    if origin is Literal and all(type(one) in (str, int, bool) for one in within):  # a member of an enum is more
        return {"enum": list(within)}
    if origin in (Union, types.UnionType):
        alternatives = [{"type": "null"} if one is type(None) else _in_words(one) for one in within]
        return None if None in alternatives else {"anyOf": alternatives}
    if origin in (list, Sequence) and within:
        items = _in_words(within[0])
        return None if items is None else {"type": "array", "items": items}
    if origin in (dict, Mapping) and within[:1] == (str,):
        values = _in_words(within[1])
        return None if values is None else {"type": "object", "additionalProperties": values}
    return None


def _by_pydantic(annotation: Any) -> Schema:
    from pydantic import TypeAdapter  # noqa: PLC0415  (third-party: only who declares such types needs it)
    from pydantic.errors import PydanticUserError  # noqa: PLC0415

    try:
        schema: Schema = without_words(TypeAdapter(annotation).json_schema())
    except PydanticUserError as exc:
        name = getattr(annotation, "__name__", repr(annotation))
        raise ConfigurationError(
            f"pydantic cannot check values of {name} ({exc.code}): write a pydantic model, or a type made of such"
        ) from exc
    return schema
