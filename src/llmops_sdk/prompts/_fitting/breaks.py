"""Places at which a text may be cut: between lines, sentences or words, and never inside a character."""

from __future__ import annotations

import re
import unicodedata

__all__ = ["LOOK", "break_after", "break_before"]

LOOK = 200
"""Most characters that are given up for a better place; and at most a quarter of what would be kept."""

_WIDE = "\u3002\uff01\uff1f"  # the full stop and the other ends of sentences in Chinese and Japanese
_SENTENCE_END = re.compile(rf"[.!?\u2026]+[\"')\]\u201d\u2019\u00bb]*(?=\s)|[{_WIDE}]")
_SENTENCE_BEGIN = re.compile(rf"(?<=[.!?\u2026])\s+(?=\S)|(?<=[{_WIDE}])")
_ZERO_WIDTH_JOINER = "\u200d"


def break_before(text: str, at: int) -> int:
    """The best place to end a text that may have `at` characters at the most.

    Example:
        >>> break_before("One sentence. Another one", 20)
        20
        >>> break_before("One long sentence. An", 20)
        18
    """
    if at >= len(text):
        return len(text)
    low = max(at - min(LOOK, at // 4), 0)
    stretch = text[low : at + 1]
    line = stretch.rfind("\n")
    if line >= 0:
        return low + line
    ends = [match.end() for match in _SENTENCE_END.finditer(stretch)]
    if ends and low + ends[-1] <= at:
        return low + ends[-1]
    word = max(stretch.rfind(" "), stretch.rfind("\t"))
    return low + word if word >= 0 else _whole(text, at, -1)


def break_after(text: str, at: int) -> int:
    """The best place to begin a text that may leave out `at` characters at the least."""
    if at <= 0:
        return 0
    high = min(at + min(LOOK, (len(text) - at) // 4), len(text))
    stretch = text[at - 1 : high]
    line = stretch.find("\n")
    if line >= 0:
        return at + line
    begin = _SENTENCE_BEGIN.search(stretch)
    if begin is not None and begin.end() > 0:
        return at - 1 + begin.end()
    word = re.search(r"[ \t]", stretch)
    return at + word.start() if word is not None else _whole(text, at, +1)


def _whole(text: str, at: int, step: int) -> int:
    """`at`, or the next place from there at which no character falls apart that people see as one."""
    while 0 < at < len(text) and _belong_together(text[at - 1], text[at]):
        at += step
    return at


def _belong_together(left: str, right: str) -> bool:
    if left.isascii() and right.isascii():
        return left == "\r" and right == "\n"
    return (
        unicodedata.category(right).startswith("M")  # accents, vowel signs, variation selectors
        or _ZERO_WIDTH_JOINER in (left, right)
        or "\U0001f3fb" <= right <= "\U0001f3ff"  # colours of skin
        or ("\U0001f1e6" <= left <= "\U0001f1ff" and "\U0001f1e6" <= right <= "\U0001f1ff")  # flags
        or ("\ud800" <= left <= "\udbff" and "\udc00" <= right <= "\udfff")
        or "\u1160" <= right <= "\u11ff"  # vowels and finals of a Hangul syllable
    )
