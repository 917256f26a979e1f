"""Fingerprints of rows and pipelines that are the same in every process: by content, never by address or order."""

from __future__ import annotations

import dataclasses
import datetime as dt
import decimal
import enum
import hashlib
import json
import pathlib
import uuid
from collections.abc import Callable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from typing import Any

from llmops_sdk.errors import ConfigurationError

__all__ = ["hash_of", "pipeline_fingerprint", "plain", "row_key"]

_TEXTUAL = (decimal.Decimal, dt.date, dt.time, dt.timedelta, uuid.UUID, pathlib.PurePath)


def row_key(fingerprint: str, row: Any) -> str:
    """32 hexadecimal digits for a row of the pipeline with this fingerprint.

    Raises:
        ConfigurationError: The row holds something that has no stable form.
    """
    return hash_of([fingerprint, plain(row)])[:32]


def pipeline_fingerprint(pipeline: Any) -> str:
    """32 hexadecimal digits for what a pipeline asks: its prompt, the models, and the kinds of guards in their order.

    Where a model is served is no part of it, nor are the settings of guards and engines.
    """
    prompt = pipeline.prompt
    asked = None if prompt is None else getattr(prompt, "hash", None) or _kind(prompt)
    guards = [
        [_kind(station), str(getattr(station, "name", ""))]
        for station in pipeline.stations
        if station is not prompt and station is not pipeline.engine
    ]
    return hash_of([asked, _models(pipeline.engine), guards])[:32]


def _models(engine: Any) -> list[Any]:
    if getattr(engine, "transparent", False):  # a cache asks what the engine within would be asked
        return _models(engine.engine)
    inner = getattr(engine, "engines", None) if getattr(engine, "routes", False) else None
    if inner:
        return [_models(one) for one in inner]
    return [_kind(engine), str(getattr(engine, "model", None))]


def _kind(value: Any) -> str:
    return type(value).__qualname__


def hash_of(plain: Any) -> str:
    """SHA-256, 64 hexadecimal digits, of what `plain` has made."""
    text = json.dumps(plain, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode("ascii")).hexdigest()


def plain(value: Any, special: Callable[[Any], Any] | None = None) -> Any:
    """`value` as JSON that is the same wherever it is made.

    Args:
        value: Plain values, and whatever `special` knows.
        special: Is asked first of each value; what it does not know it answers with `NotImplemented`.

    Raises:
        ConfigurationError: Something has no such form.
    """
    if special is not None and (known := special(value)) is not NotImplemented:
        return known
    if isinstance(value, enum.Enum):
        return [_kind(value), value.name]
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    if isinstance(value, Mapping):
        return {str(name): plain(one, special) for name, one in value.items()}
    if isinstance(value, (bytes, bytearray)):
        return [_kind(value), value.hex()]
    if isinstance(value, Sequence):
        return [plain(one, special) for one in value]
    if isinstance(value, AbstractSet):
        return sorted((plain(one, special) for one in value), key=json.dumps)
    if isinstance(value, _TEXTUAL):
        return [_kind(value), str(value)]
    if dataclasses.is_dataclass(value):
        compared = [one.name for one in dataclasses.fields(value) if one.compare]
        return [_kind(value), {name: plain(getattr(value, name), special) for name in compared}]
    for method in ("model_dump", "tolist"):  # pydantic's models; numpy's scalars and arrays
        if callable(getattr(value, method, None)):
            return plain(getattr(value, method)(), special)
    raise ConfigurationError(
        f"a row holds a {type(value).__name__}, which has no form that a checkpoint could compare with the next run; "
        "give rows of plain values (texts, numbers, lists, mappings, dataclasses)"
    )
