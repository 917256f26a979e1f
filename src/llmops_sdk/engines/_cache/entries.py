"""An answer as it is kept: its chunks as they came, in JSON, which is safe to read from a store that others write."""

from __future__ import annotations

import dataclasses
import functools
import json
import time
from collections.abc import Iterable, Sequence
from decimal import Decimal, InvalidOperation
from typing import Any, NamedTuple, get_args

from llmops_sdk.calls import CLOCK, Call
from llmops_sdk.messages import Chunk, ChunkJoiner, FinishReason, TokenLogprob, ToolCall, Usage

__all__ = ["Entry", "from_bytes", "joined", "now_s", "to_bytes", "worth_keeping"]

_FORMAT = 1
_REPEATED = ("model", "engine", "id")
"""What is the same on nearly every chunk; written where it changes."""
_NOT_KEPT = frozenset({"cached", "rate_limit"})
"""What is no part of the answer: limits are those of the moment in which it was made."""
_COMPLETE = frozenset({"stop", "length", "tool_calls"})
_FINISH = frozenset(get_args(FinishReason))


class Entry(NamedTuple):
    """An answer that was kept. `made_at` is in seconds since the epoch."""

    made_at: float
    chunks: tuple[Chunk, ...]


def now_s(call: Call | None) -> float:
    """Seconds since the epoch, which processes share; in virtual time, the virtual seconds."""
    clock = CLOCK.get() if call is None else call.clock
    return time.time() if clock is time.perf_counter else clock()


def worth_keeping(chunks: Sequence[Chunk]) -> bool:
    """Whether the answer is complete: each of its choices ended as it should."""
    return bool(chunks) and all(one.finish_reason in _COMPLETE for one in joined(chunks).response().choices)


def joined(chunks: Iterable[Chunk]) -> ChunkJoiner:
    """The chunks in a joiner."""
    joiner = ChunkJoiner()
    for chunk in chunks:
        joiner.add(chunk)
    return joiner


def to_bytes(entry: Entry) -> bytes:
    """The form in which stores keep it."""
    rows = []
    before: dict[str, Any] = dict.fromkeys(_REPEATED)
    for chunk in entry.chunks:
        row = _plain(chunk)
        for name in _REPEATED:
            value = row.pop(name, None)
            if value != before[name]:
                row[name] = before[name] = value
        rows.append(row)
    return json.dumps([_FORMAT, entry.made_at, rows], default=_plain, separators=(",", ":")).encode("ascii")


def _plain(value: Any) -> Any:
    """A record as JSON, without the fields that have their default values."""
    if isinstance(value, Decimal):
        return str(value)
    kind: Any = type(value)
    return {
        name: held
        for name, default in _fields(kind)
        if (held := getattr(value, name)) != default and name not in _NOT_KEPT
    }


@functools.cache
def _fields(cls: Any) -> tuple[tuple[str, Any], ...]:
    return tuple((one.name, one.default) for one in dataclasses.fields(cls))


def from_bytes(kept: bytes) -> Entry | None:
    """Read what `to_bytes` wrote; `None`: another version of the library did.

    Raises:
        ValueError: It is no such thing.
    """
    try:
        form, made_at, rows = json.loads(kept)
        return Entry(float(made_at), tuple(_chunks(rows))) if form == _FORMAT else None
    except (ValueError, TypeError, LookupError, AttributeError, InvalidOperation, RecursionError) as exc:
        raise ValueError(f"it is no kept answer ({type(exc).__name__}: {exc})") from exc


def _chunks(rows: Iterable[dict[str, Any]]) -> Iterable[Chunk]:
    before: dict[str, Any] = dict.fromkeys(_REPEATED)
    for row in rows:
        for name in _REPEATED:
            if name in row:
                before[name] = row[name]
        _check(row)
        yield Chunk(**{**row, **before, **_records(row), "cached": True})


def _check(row: dict[str, Any]) -> None:
    for name in ("text", "reasoning"):
        if not isinstance(row.get(name, ""), str):
            raise TypeError(f"`{name}` is no text")
    if row.get("finish_reason") not in {None, *_FINISH}:
        raise ValueError("unknown `finish_reason`")


def _records(row: dict[str, Any]) -> dict[str, Any]:
    """The fields of a chunk that JSON knows in another form."""
    records: dict[str, Any] = {}
    if "tool_calls" in row:
        records["tool_calls"] = tuple(ToolCall(**one) for one in row["tool_calls"])
    if "logprobs" in row:
        records["logprobs"] = tuple(_logprob(one) for one in row["logprobs"])
    if "token_ids" in row:
        records["token_ids"] = tuple(row["token_ids"])
    if "usage" in row:
        records["usage"] = Usage.from_json(row["usage"])
    if "cost_usd" in row:
        records["cost_usd"] = Decimal(row["cost_usd"])
    return records


def _logprob(one: dict[str, Any]) -> TokenLogprob:
    return TokenLogprob(**{**one, "top": tuple((token, logprob) for token, logprob in one.get("top", ()))})
