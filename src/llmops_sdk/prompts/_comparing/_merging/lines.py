"""The three-way merge of lines, after Khanna, Kunal and Pierce, "A formal investigation of diff3" (2007)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from llmops_sdk.prompts._comparing.texts import Edit, edits

__all__ = ["Hunk", "merged_lines"]


class Hunk(NamedTuple):
    """A stretch of the result; `conflict` is `(base, ours, theirs)` where it has none."""

    lines: tuple[str, ...] = ()
    conflict: tuple[tuple[str, ...], tuple[str, ...], tuple[str, ...]] | None = None


def merged_lines(base: Sequence[str], ours: Sequence[str], theirs: Sequence[str]) -> Iterator[Hunk]:
    """The merge, from top to bottom. Changes that touch each other are in conflict, unless they are the same.

    Example:
        >>> [hunk.lines for hunk in merged_lines("a b c".split(), "A b c".split(), "a b C".split())]
        [('A',), ('b',), ('C',)]
    """
    mine, its = edits(base, ours), edits(base, theirs)
    position = 0
    while mine or its:
        start = min(changes[0].start for changes in (mine, its) if changes)
        end, our_part, their_part = _region(start, mine, its)
        if start > position:
            yield Hunk(tuple(base[position:start]))
        before = tuple(base[start:end])
        our_lines, their_lines = _applied(before, start, our_part), _applied(before, start, their_part)
        if our_lines == their_lines or not their_part:
            yield Hunk(our_lines)
        elif not our_part:
            yield Hunk(their_lines)
        else:
            yield Hunk(conflict=(before, our_lines, their_lines))
        position = end
    if position < len(base):
        yield Hunk(tuple(base[position:]))


def _region(start: int, mine: list[Edit], its: list[Edit]) -> tuple[int, list[Edit], list[Edit]]:
    """Takes the edits from both lists that begin at `start` or touch one that does; gives where they end, and them."""
    end = start
    taken: tuple[list[Edit], list[Edit]] = ([], [])
    grown = True
    while grown:
        grown = False
        for changes, part in zip((mine, its), taken, strict=True):
            while changes and changes[0].start <= end:
                part.append(changes.pop(0))
                end = max(end, part[-1].end)
                grown = True
    return end, *taken


def _applied(lines: tuple[str, ...], first: int, changes: Sequence[Edit]) -> tuple[str, ...]:
    result = list(lines)
    for change in reversed(changes):
        result[change.start - first : change.end - first] = change.new
    return tuple(result)
