"""Kinds of values: what `Variable.type` names, each checked by one look at the value."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Mapping
from pathlib import PurePath
from typing import Any

from llmops_sdk.messages import Document, ImagePart, Message
from llmops_sdk.prompts._types.formats import FORMATS

__all__ = ["exact_type", "fits", "kind_of"]


def _is_documents(value: object) -> bool:
    if isinstance(value, list | tuple):
        return all(isinstance(one, Document) for one in value)
    return isinstance(value, Document)


def _is_messages(value: object) -> bool:
    return isinstance(value, list | tuple) and all(isinstance(one, Message | Mapping) for one in value)


_FITS: Mapping[str, Callable[[Any], bool]] = {
    "any": lambda _: True,
    "str": lambda value: isinstance(value, str),
    "int": lambda value: isinstance(value, int) and not isinstance(value, bool),
    "float": lambda value: isinstance(value, int | float) and not isinstance(value, bool),
    "bool": lambda value: isinstance(value, bool),
    "list": lambda value: isinstance(value, list | tuple),
    "mapping": lambda value: isinstance(value, Mapping),
    "date": FORMATS["date"],
    "datetime": FORMATS["date-time"],
    "document": lambda value: isinstance(value, Document),
    "documents": _is_documents,
    "messages": _is_messages,
    "image": lambda value: isinstance(value, (ImagePart, str, bytes, bytearray, memoryview, PurePath)),
}

_EXACT: Mapping[str, type] = {"str": str, "int": int, "float": float, "bool": bool, "date": dt.date}

_OF_SCHEMA = {
    "string": "str",
    "integer": "int",
    "number": "float",
    "boolean": "bool",
    "array": "list",
    "object": "mapping",
}
_OF_FORMAT = {"date": "date", "date-time": "datetime"}


def fits(value: object, kind: str) -> bool:
    """Whether `value` is of the kind, one of those that `Variable.type` names."""
    return _FITS[kind](value)


def exact_type(kind: str) -> type | None:
    """The class whose very instances are all of this kind: one comparison says so. `None`: there is no such class."""
    return _EXACT.get(kind)


def kind_of(schema: Mapping[str, Any]) -> tuple[str, Mapping[str, Any] | None]:
    """The kind of the values of a schema in its normal form, and the schema itself where it says more."""
    kind = _OF_FORMAT.get(schema.get("format", ""), _OF_SCHEMA.get(schema.get("type", ""), "any"))
    says = schema.keys() - {"type"} - ({"format"} if kind in ("date", "datetime") else set())
    return kind, schema if says or (kind == "any" and schema) else None
