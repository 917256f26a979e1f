"""The values of variables cut down: texts, documents, and lists of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

from llmops_sdk.messages import Document
from llmops_sdk.prompts._fitting.texts import Kept, Side, keep, nothing_of
from llmops_sdk.tokens import Counter

__all__ = ["Shortened", "emptied", "shortened", "size_of", "text_in"]


class Shortened(NamedTuple):
    """A value that has less in it; `kept` is what is left of the one text that was cut, if one was."""

    value: object
    kept: Kept | None = None


def text_in(value: object) -> str | None:
    """The text that a value is, if it is one."""
    if isinstance(value, str):
        return value
    return value.text if isinstance(value, Document) else None


def size_of(value: object) -> int:
    """Characters of a value that can be cut; 0 for what cannot."""
    text = text_in(value)
    if text is not None:
        return len(text)
    if isinstance(value, list | tuple) and (len(value) > 1 or any(text_in(one) is not None for one in value)):
        return sum(len(_written(one)) for one in value)
    return 0


def emptied(value: object, side: Side, marker: str) -> Shortened:
    """The least that can be left of `value`: a text is the marker alone, a list has one item."""
    if isinstance(value, list | tuple):
        first = value[-1] if side == "start" else value[0]
        if text_in(first) is None:
            return Shortened(_alike(value, [first]))
        left = emptied(first, side, marker)
        return Shortened(_alike(value, [left.value]), left.kept)
    return _with(value, nothing_of(marker))


def shortened(value: object, side: Side, most: int, counter: Counter, marker: str, density: float = 4.0) -> Shortened:
    """As much of `value` as has about `most` tokens: of a list whole items, of the last one left its text.

    From a list items are dropped, not cut, since half a document misleads; only where not one fits, it is cut.
    """
    if not isinstance(value, list | tuple):
        return _with(value, keep(text_in(value) or "", side, most, counter, marker, density))
    items = _kept_items(value, side, most, counter)
    if items:
        return Shortened(_alike(value, items))
    first = value[-1] if side == "start" else value[0]
    if text_in(first) is None:
        return emptied(value, side, marker)
    left = shortened(first, side, most, counter, marker, density)
    return Shortened(_alike(value, [left.value]), left.kept)


def _kept_items(items: Sequence[object], side: Side, most: int, counter: Counter) -> list[object]:
    """The first ones, the last ones, or (`"middle"`) some of both, as many as there is room for."""
    first, last = 0, len(items)
    while first < last:
        from_start = side == "end" or (side == "middle" and first <= len(items) - last)
        most -= counter.text(_written(items[first] if from_start else items[last - 1])) + 1  # 1: what is between them
        if most < 0:
            break
        first, last = (first + 1, last) if from_start else (first, last - 1)
    return [*items[:first], *items[last:]]


def _written(item: object) -> str:
    text = text_in(item)
    return str(item) if text is None else text


def _alike(value: object, items: list[object]) -> object:
    return tuple(items) if isinstance(value, tuple) else items


def _with(value: object, kept: Kept) -> Shortened:
    return Shortened(replace(value, text=kept.text) if isinstance(value, Document) else kept.text, kept)
