"""Conflicts of a merge in a text, between the markers that git writes."""

from __future__ import annotations

from collections.abc import Sequence

__all__ = ["UNRESOLVED", "begins_conflict", "conflict_text", "first_conflict"]

UNRESOLVED = "a conflict of a merge is not resolved: write what shall stand here, without the markers"
"""What is wrong with a text that holds one."""


_OURS, _BASE, _BETWEEN, _THEIRS = "<<<<<<<", "|||||||", "=======", ">>>>>>>"


def conflict_text(base: str, ours: str, theirs: str, names: tuple[str, str, str]) -> str:
    """Three versions of whole lines between markers, as git's style `diff3` has them.

    Args:
        base: What was there before.
        ours: What our side made of it.
        theirs: What their side made of it.
        names: What the versions are called: ours, base, theirs.
    """
    mine, before, its = names
    return f"{_OURS} {mine}\n{ours}{_BASE} {before}\n{base}{_BETWEEN}\n{theirs}{_THEIRS} {its}\n"


def begins_conflict(line: str) -> bool:
    """Whether a line is the first marker of a conflict, right or wrong."""
    return line.startswith(_OURS + " ")


def first_conflict(lines: Sequence[str]) -> int | None:
    """Number, from 0, of the line on which the first conflict begins; `None` where there is none.

    A line of seven `=` alone underlines a title: only all markers of a conflict, in order, make one.
    """
    begun: int | None = None
    parted = False
    for number, line in enumerate(lines):
        if begins_conflict(line):
            begun, parted = number, False
        elif line.rstrip() == _BETWEEN:
            parted = begun is not None
        elif parted and line.startswith(_THEIRS + " "):
            return begun
    return None
