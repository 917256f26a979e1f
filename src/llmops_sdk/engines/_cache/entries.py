"""An answer as it is kept: its chunks as they came, in JSON, which is safe to read from a store that others write."""

from __future__ import annotations

import dataclasses
import functools
import json
import math
import time
import types
from collections.abc import Callable, Sequence
from decimal import Decimal
from typing import Any, Literal, NamedTuple, Union, get_args, get_origin, get_type_hints

from llmops_sdk.calls import CLOCK, Call
from llmops_sdk.messages import Chunk, ChunkJoiner, FinishReason, Response, StreamRestarted

__all__ = ["Entry", "Kept", "from_bytes", "now_s", "settled", "to_bytes", "worth_keeping"]

_FORMAT = 1
_REPEATED = ("model", "engine", "id")
"""What is the same on nearly every chunk; written where it changes."""
_OF_THE_MOMENT = ("cached", "rate_limit")
"""What is true only of the moment in which a chunk comes."""
_COMPLETE = frozenset({"stop", "length", "tool_calls"})


class Entry:
    """An answer that was kept; never changed, so that many runs may have the same one.

    Attributes:
        made_at: Seconds since the epoch.
        chunks: What came.
    """

    __slots__ = ("_whole", "chunks", "made_at")

    def __init__(self, made_at: float, chunks: Sequence[Chunk]) -> None:
        self.made_at = made_at
        self.chunks = tuple(chunks)
        self._whole: Response | None = None

    def response(self, engine: str) -> Response:
        """The chunks joined; `engine` where they do not say who answered."""
        whole = self._whole
        if whole is None:
            joiner = ChunkJoiner()
            for chunk in self.chunks:
                joiner.add(chunk)
            whole = self._whole = joiner.response()
        return whole if whole.engine is not None else dataclasses.replace(whole, engine=engine)


class Kept(NamedTuple):
    """An answer that was found, and how: `"exact"`, or `"semantic"` with the cosine of the two questions."""

    entry: Entry
    how: str = "exact"
    similarity: float | None = None


def now_s(call: Call | None) -> float:
    """Seconds since the epoch, which processes share; in virtual time, the virtual seconds."""
    clock = CLOCK.get() if call is None else call.clock
    return time.time() if clock is time.perf_counter else clock()


def worth_keeping(chunks: Sequence[Chunk]) -> bool:
    """Whether the answer is complete: each of its choices ended as it should."""
    ended: dict[int, FinishReason | None] = {}
    for chunk in chunks:
        if chunk.finish_reason is not None or chunk.index not in ended or chunk.__class__ is StreamRestarted:
            ended[chunk.index] = chunk.finish_reason
    return bool(ended) and _COMPLETE.issuperset(ended.values())


def settled(chunks: Sequence[Chunk]) -> Sequence[Chunk]:
    """The chunks that hold in the end: without what a router took back when it began a stream anew."""
    if not any(chunk.__class__ is StreamRestarted for chunk in chunks):
        return chunks
    held: list[Chunk] = []
    for chunk in chunks:
        if chunk.__class__ is StreamRestarted:
            held = [one for one in held if one.index != chunk.index]
            held.append(Chunk(**{name: getattr(chunk, name) for name in _chunk_fields()}))
        else:
            held.append(chunk)
    return held


@functools.cache
def _chunk_fields() -> tuple[str, ...]:
    return tuple(one.name for one in dataclasses.fields(Chunk))


# Written.


def to_bytes(entry: Entry) -> bytes:
    """The form in which stores keep it."""
    rows = []
    before: dict[str, Any] = dict.fromkeys(_REPEATED)
    for chunk in entry.chunks:
        row = _plain(chunk, Chunk)
        for name in _REPEATED:
            value = getattr(chunk, name)
            if value == before[name]:
                row.pop(name, None)
            else:
                row[name] = before[name] = value
        rows.append(row)
    return _json([_FORMAT, entry.made_at, rows]).encode("ascii")


def _plain(value: Any, kind: type | None = None) -> Any:
    """A record as JSON, without the fields that have their default values."""
    if isinstance(value, Decimal):
        return str(value)
    return {name: held for name, default in _written(kind or type(value)) if (held := getattr(value, name)) != default}


@functools.cache
def _written(kind: Any) -> tuple[tuple[str, Any], ...]:
    return tuple((one.name, one.default) for one in dataclasses.fields(kind) if one.name not in _OF_THE_MOMENT)


_json = json.JSONEncoder(default=_plain, separators=(",", ":")).encode


# Read. Whoever can write into a shared store may have put anything there: each value is checked to be what its field
# says, so that nothing of it breaks a run later on.


def from_bytes(kept: bytes) -> Entry | None:
    """Read what `to_bytes` wrote; `None`: another version of the library did.

    Raises:
        ValueError: It is no such thing.
    """
    try:
        form, made_at, rows = json.loads(kept)
        if form != _FORMAT:
            return None
        if not isinstance(made_at, int | float) or not math.isfinite(made_at) or not isinstance(rows, list):
            raise TypeError("it has another form")
        return Entry(float(made_at), _chunks(rows))
    except (ValueError, TypeError, LookupError, ArithmeticError, RecursionError) as exc:
        raise ValueError(f"it is no kept answer ({type(exc).__name__}: {exc})") from exc


def _chunks(rows: list[Any]) -> list[Chunk]:
    readers = _readers(Chunk)
    before: dict[str, Any] = dict.fromkeys(_REPEATED)
    chunks = []
    for row in rows:
        read = {name: readers[name](value) for name, value in _exactly(dict, row).items()}
        if not before.keys().isdisjoint(read):
            before.update((name, read[name]) for name in _REPEATED if name in read)
        chunks.append(Chunk(**{**before, **read}, cached=True))
    if not chunks:
        raise ValueError("it has no chunks")
    return chunks


@functools.cache
def _readers(kind: Any) -> dict[str, Callable[[Any], Any]]:
    """For each field of a record, what makes its value from JSON, and raises where that is none."""
    hints = get_type_hints(kind)
    return {name: _reader(hints[name]) for name, _ in _written(kind)}


def _reader(hint: Any) -> Callable[[Any], Any]:
    if get_origin(hint) in (Union, types.UnionType):
        (hint,) = (one for one in get_args(hint) if one is not types.NoneType)
        inner = _reader(hint)
        return lambda value: None if value is None else inner(value)
    if get_origin(hint) is Literal:
        return functools.partial(_one_of, frozenset(get_args(hint)))
    if get_origin(hint) is tuple:
        each = [_reader(one) for one in get_args(hint) if one is not ...]
        return functools.partial(_many, each[0]) if ... in get_args(hint) else functools.partial(_some, each)
    if dataclasses.is_dataclass(hint):
        return functools.partial(_record, hint)
    return _PLAIN[hint]


def _exactly(kind: type, value: Any) -> Any:
    if type(value) is not kind:
        raise TypeError(f"{value!r:.40} is no {kind.__name__}")
    return value


def _text(value: Any) -> str:  # the most frequent one
    if type(value) is str:
        return value
    raise TypeError(f"{value!r:.40} is no text")


def _count(value: Any) -> int:
    if type(value) is not int or value < 0:
        raise TypeError(f"{value!r:.40} is no count")
    return value


def _number(value: Any) -> float:
    if type(value) is not float and type(value) is not int:
        raise TypeError(f"{value!r:.40} is no number")
    return float(value)


def _money(value: Any) -> Decimal:
    amount = Decimal(_exactly(str, value))
    if not amount.is_finite():
        raise ValueError(f"{value:.40} is no amount")
    return amount


_PLAIN: dict[Any, Callable[[Any], Any]] = {
    str: _text,
    bool: functools.partial(_exactly, bool),
    int: _count,
    float: _number,
    Decimal: _money,
}


def _one_of(values: frozenset[str], value: Any) -> Any:
    if value not in values:
        raise ValueError(f"{value!r:.40} is none of {sorted(values)}")
    return value


def _many(reader: Callable[[Any], Any], value: Any) -> tuple[Any, ...]:
    return tuple(map(reader, _exactly(list, value)))


def _some(readers: list[Callable[[Any], Any]], value: Any) -> tuple[Any, ...]:
    return tuple(reader(one) for reader, one in zip(readers, _exactly(list, value), strict=True))


def _record(kind: Any, value: Any) -> Any:
    readers = _readers(kind)
    return kind(**{name: readers[name](one) for name, one in _exactly(dict, value).items()})
