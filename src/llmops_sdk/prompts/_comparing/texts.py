"""The difference of two texts, by lines and by words."""

from __future__ import annotations

import difflib
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Literal, NamedTuple, TypeAlias

__all__ = ["Edit", "Piece", "edits", "likeness", "pieces", "unified"]

_LONG = 2_000
_WORD = re.compile(r"\s+|\w+|[^\w\s]")

Piece: TypeAlias = "tuple[Literal['same', 'removed', 'added'], str]"
"""A stretch of two texts: in both, in the old one only, or in the new one only."""


class Edit(NamedTuple):
    """`old[start:end]` became `new`."""

    start: int
    end: int
    new: tuple[str, ...]


def edits(old: Sequence[str], new: Sequence[str]) -> list[Edit]:
    """What changes `old` into `new`, in order; between two edits at least one item stays.

    Example:
        >>> edits(["a", "b", "c"], ["a", "x", "c"])
        [Edit(start=1, end=2, new=('x',))]
    """
    # Of long texts, items that stand in them very often are not matched: that would take minutes.
    matcher = difflib.SequenceMatcher(None, old, new, autojunk=max(len(old), len(new)) > _LONG)
    return [
        Edit(start, end, tuple(new[new_start:new_end]))
        for tag, start, end, new_start, new_end in matcher.get_opcodes()
        if tag != "equal"
    ]


def unified(old: str, new: str, old_name: str, new_name: str, *, context: int = 3) -> str:
    """The difference by lines, as `diff -u` writes it; empty where there is none."""
    lines = difflib.unified_diff(old.splitlines(), new.splitlines(), old_name, new_name, n=context, lineterm="")
    return "\n".join(lines)


def pieces(old: str, new: str) -> Iterator[Piece]:
    """The difference by words.

    Example:
        >>> list(pieces("Be brief.", "Be very brief."))
        [('same', 'Be'), ('added', ' very'), ('same', ' brief.')]
    """
    words = _WORD.findall(old)
    position = 0
    for start, end, added in edits(words, _WORD.findall(new)):
        if start > position:
            yield "same", "".join(words[position:start])
        if end > start:
            yield "removed", "".join(words[start:end])
        if added:
            yield "added", "".join(added)
        position = end
    if position < len(words):
        yield "same", "".join(words[position:])


def likeness(one: str, other: str) -> float:
    """How much two texts have in common, from 0 (no word) to 1 (all words)."""
    if one == other:
        return 1.0
    words, others = Counter(one.split()), Counter(other.split())
    total = words.total() + others.total()
    return 2 * (words & others).total() / total if total else 1.0
