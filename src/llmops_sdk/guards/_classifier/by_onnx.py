"""ONNX files, read without a library: which other files hold their weights, and whether they quantise as they run.

A model is a protocol buffer, https://github.com/onnx/onnx/blob/main/onnx/onnx.proto; only its wire format is read, and
large tensors are skipped, so this takes milliseconds for any size.
"""

from __future__ import annotations

import mmap
from collections.abc import Iterator
from pathlib import Path

from llmops_sdk.errors import ConfigurationError

__all__ = ["external_files", "quantises_as_it_runs"]

_LENGTH = 2
_WIRE_SIZES = {1: 8, 5: 4}
_DEEPEST = 32

# Fields that lead to tensors: message -> field -> message.
_INSIDE = {
    "model": {7: "graph", 25: "function"},
    "graph": {1: "node", 5: "tensor", 15: "sparse"},
    "function": {7: "node", 11: "attribute"},
    "node": {5: "attribute"},
    "attribute": {5: "tensor", 6: "graph", 10: "tensor", 11: "graph", 22: "sparse", 23: "sparse"},
    "sparse": {1: "tensor", 2: "tensor"},
    "tensor": {13: "entry"},
}


def external_files(path: Path) -> set[str]:
    """The files that hold weights of the model `path`, as it names them.

    Raises:
        ConfigurationError: This is no ONNX file.
    """
    try:
        with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
            found = set(_locations(content, 0, len(content), "model", 0))
            if not any(number == 7 for number, *_ in _fields(content, 0, len(content))):
                raise ValueError("it has no graph")
            return found
    except (OSError, ValueError, IndexError, UnicodeDecodeError) as exc:
        raise ConfigurationError(f"{str(path)!r} is no ONNX model: {exc}") from exc


def quantises_as_it_runs(path: Path) -> bool:
    """Whether numbers are quantised with a scale of the whole batch, so that the texts of a batch change each other."""
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        return content.find(b"DynamicQuantize") >= 0


def _locations(content: mmap.mmap, start: int, end: int, message: str, depth: int) -> Iterator[str]:
    if depth > _DEEPEST:
        raise ValueError("it is nested too deeply")
    inside = _INSIDE[message]
    for number, wire, begin, stop in _fields(content, start, end):
        below = inside.get(number) if wire == _LENGTH else None
        if below == "entry":
            entry = {
                field: content[a:b].decode() for field, kind, a, b in _fields(content, begin, stop) if kind == _LENGTH
            }
            if entry.get(1) == "location":
                yield entry.get(2, "")
        elif below is not None:
            yield from _locations(content, begin, stop, below, depth + 1)


def _fields(content: mmap.mmap, start: int, end: int) -> Iterator[tuple[int, int, int, int]]:
    """(number, wire type, begin, end) of each field."""
    at = start
    while at < end:
        key, at = _varint(content, at)
        number, wire = key >> 3, key & 7
        if wire == 0:
            begin = at
            _, stop = _varint(content, at)
        elif wire == _LENGTH:
            size, begin = _varint(content, at)
            stop = begin + size
        elif wire in _WIRE_SIZES:
            begin, stop = at, at + _WIRE_SIZES[wire]
        else:
            raise ValueError(f"wire type {wire} at byte {at}")
        if stop > end:
            raise ValueError(f"a field at byte {at} ends behind its message")
        yield number, wire, begin, stop
        at = stop


def _varint(content: mmap.mmap, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = content[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
        shift += 7
        if shift > 63:
            raise ValueError(f"a number at byte {at} is too long")
