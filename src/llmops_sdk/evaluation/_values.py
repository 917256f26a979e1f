"""What a case may hold, and its form as JSON: the same in every file and every process, and read back as it was."""

from __future__ import annotations

import base64
import dataclasses
import datetime as dt
import enum
import math
import pathlib
import uuid
from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal
from typing import Any, TypeAlias

from llmops_sdk.errors import DatasetError
from llmops_sdk.messages import Document, ImagePart, Message, Origin, TextPart, ToolCall
from llmops_sdk.surrogates import valid

__all__ = ["encoded", "plain", "read"]

_TYPE = "$llmops"
"""Marks what JSON has no form for; a mapping that has this key itself is written as a `"mapping"`."""

_RECORDS: Mapping[str, Any] = {one.__name__: one for one in (Document, ImagePart, Message, Origin, TextPart, ToolCall)}

_Texts: TypeAlias = tuple[Callable[[Any], str], Callable[[str], Any]]
_TEXTUAL: Mapping[type, _Texts] = {
    bytes: (lambda value: base64.b64encode(value).decode(), lambda text: base64.b64decode(text, validate=True)),
    Decimal: (str, Decimal),
    dt.date: (dt.date.isoformat, dt.date.fromisoformat),
    dt.datetime: (dt.datetime.isoformat, dt.datetime.fromisoformat),
    dt.time: (dt.time.isoformat, dt.time.fromisoformat),
    dt.timedelta: (
        lambda value: str(value // dt.timedelta(microseconds=1)),
        lambda text: dt.timedelta(0, 0, int(text)),
    ),
    uuid.UUID: (str, uuid.UUID),
}
"""To a text, and back."""
_NAMED = {kind.__name__: back for kind, (_, back) in _TEXTUAL.items()}


def plain(value: Any, where: str) -> Any:
    """A copy of `value`, made of what a case may hold.

    That is texts, numbers, `None`, lists, mappings with texts as keys, bytes, `Decimal`, dates, times, UUIDs, and
    documents and messages of this library. Tuples become lists; pydantic models and dataclasses mappings of their
    fields; members of an `Enum` and numpy's numbers and arrays their values; paths texts. Lone surrogates, which
    nothing outside of Python can hold, become U+FFFD.

    Raises:
        DatasetError: There is something else, a number that is not finite, or it is nested too deeply.
    """
    try:
        return _plain(value, where)
    except RecursionError:
        raise DatasetError(f"`{where}` is nested too deeply, or holds itself") from None


def _plain(value: Any, where: str) -> Any:
    kind = type(value)
    if kind is str:
        return valid(value)
    if kind is dt.datetime or kind is dt.time:  # the offset of a zone is kept, not its name
        return kind.fromisoformat(value.isoformat())
    if value is None or kind is bool or kind is int or kind in _TEXTUAL:
        return value
    if isinstance(value, float):
        if not math.isfinite(value):
            raise DatasetError(f"`{where}` is {float(value)}; write `None` where a value is missing")
        return float(value)
    if isinstance(value, Mapping):
        return {_key(name, where): _plain(one, f"{where}.{name}") for name, one in value.items()}
    if kind in _RECORDS.values():
        return value
    if isinstance(value, Sequence) and not isinstance(value, str | bytes | bytearray | memoryview):
        return [_plain(one, f"{where}[{number}]") for number, one in enumerate(value)]
    return _plain(_converted(value, where), where)


def _key(name: object, where: str) -> str:
    if isinstance(name, str):
        return valid(name)
    raise DatasetError(f"`{where}` has {name!r} as a key; keys are texts")


def _converted(value: Any, where: str) -> Any:
    """One step towards what a case may hold."""
    if isinstance(value, enum.Enum):
        return value.value
    if isinstance(value, bytearray | memoryview):
        return bytes(value)
    if isinstance(value, pathlib.PurePath):
        return value.as_posix()
    for method in ("model_dump", "to_pydatetime", "tolist"):  # pydantic's models; times of pandas; numpy's values
        if callable(getattr(value, method, None)) and not isinstance(value, type):
            return getattr(value, method)()
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {one.name: getattr(value, one.name) for one in dataclasses.fields(value)}
    for kind in (str, int):  # their subclasses, of which nothing else remains
        if isinstance(value, kind):
            return kind.__str__(value) if kind is str else int(value)
    raise DatasetError(
        f"`{where}` is a {type(value).__name__}, which a case cannot hold: give texts, numbers, lists, mappings, "
        "dates, bytes, documents or messages"
    )


def encoded(value: Any) -> Any:
    """What `plain` has made, as JSON."""
    kind = type(value)
    if kind is dict:
        held = {name: encoded(one) for name, one in value.items()}
        return {_TYPE: "mapping", "value": held} if _TYPE in value else held
    if kind is list:
        return [encoded(one) for one in value]
    if kind in _TEXTUAL:
        return {_TYPE: kind.__name__, "value": _TEXTUAL[kind][0](value)}
    if kind.__name__ in _RECORDS and dataclasses.is_dataclass(value):
        fields = ((one.name, getattr(value, one.name), one.default) for one in dataclasses.fields(value))
        held = {name: _encoded_field(one) for name, one, default in fields if one != default}
        return {_TYPE: kind.__name__, "value": held}
    return value


def _encoded_field(value: Any) -> Any:
    return [encoded(one) for one in value] if isinstance(value, tuple) else value


def read(value: Any, where: str) -> Any:
    """What `encoded` wrote; other JSON is as it is.

    Raises:
        DatasetError: Something says that it is of a type that it is not.
    """
    if isinstance(value, list):
        return [read(one, f"{where}[{number}]") for number, one in enumerate(value)]
    if not isinstance(value, dict):
        return value
    if _TYPE not in value:
        return {name: read(one, f"{where}.{name}") for name, one in value.items()}
    try:
        return _typed(value[_TYPE], value["value"], where)
    except DatasetError:
        raise
    except (ArithmeticError, LookupError, TypeError, ValueError) as exc:
        raise DatasetError(f"`{where}` is no {value[_TYPE]!r}, though it says so") from exc


def _typed(name: str, held: Any, where: str) -> Any:
    if name == "mapping":
        return {key: read(one, f"{where}.{key}") for key, one in held.items()}
    if name in _NAMED:
        return _NAMED[name](held)
    kind = _RECORDS[name]
    fields = {key: read(one, f"{where}.{key}") for key, one in held.items()}
    return kind(**{key: tuple(one) if isinstance(one, list) else one for key, one in fields.items()})
