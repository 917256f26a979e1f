"""Texts cut down to so many tokens."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, NamedTuple, TypeAlias

from llmops_sdk.prompts._fitting.breaks import break_after, break_before
from llmops_sdk.tokens import Counter

__all__ = ["Kept", "Side", "keep", "nothing_of"]

Side: TypeAlias = Literal["start", "end", "middle"]
"""Where a text is cut."""

_TRIES = 16
_STRAIGHT = 4


class Kept(NamedTuple):
    """What is left of a text: its beginning, a mark where something is missing, and its end."""

    head: str
    mark: str
    tail: str

    @property
    def text(self) -> str:
        """All of it."""
        return self.head + self.mark + self.tail

    def mark_in(self, text: str) -> tuple[int, int] | None:
        """Begin and end of the mark in `text`, which is all of this, or what a fence or a filter has made of it.

        `None` where it is not clear: the filter has changed the mark, or it stands there several times.
        """
        if text == self.text:
            return len(self.head), len(self.head) + len(self.mark)
        mark = self.mark.strip()
        begin = text.find(mark) if mark and text.count(mark) == 1 else -1
        return None if begin < 0 else (begin, begin + len(mark))


def nothing_of(marker: str) -> Kept:
    """A text of which nothing is left."""
    return Kept("", marker, "")


def keep(text: str, side: Side, most: int, counter: Counter, marker: str, density: float = 4.0) -> Kept:
    """As much of `text` as has at most `most` tokens, mark included, cut on one side.

    It is cut at the end of a line, a sentence or a word where there is one near, so up to 200 characters (and a quarter
    of what is kept) more are missing than need be. `density` is about how many characters a token has.
    """
    joint = "\n" if "\n" in text else " "
    room = most - counter.text(joint + marker + joint)
    if room <= 0:
        return nothing_of(marker)

    def tokens(characters: int) -> int:
        if side == "end":
            return counter.fresh(text[:characters])
        if side == "start":
            return counter.fresh(text[len(text) - characters :])
        head, tail = _halves(characters)
        return counter.fresh(text[:head]) + counter.fresh(text[len(text) - tail :])

    characters = _most_characters(tokens, len(text), room, density)
    head, tail = {"end": (characters, 0), "start": (0, characters), "middle": _halves(characters)}[side]
    first = text[: break_before(text, head)].rstrip() if head else ""
    last = text[break_after(text, len(text) - tail) :].lstrip() if tail else ""
    if not first and not last:
        return nothing_of(marker)
    mark = (joint if first and (marker or last) else "") + marker
    return Kept(first, mark + (joint if last and marker else ""), last)


def _halves(characters: int) -> tuple[int, int]:
    return (characters + 1) // 2, characters // 2


def _most_characters(tokens: Callable[[int], int], length: int, room: int, density: float) -> int:
    """About the most characters whose `tokens` are `room` or fewer; never more of them.

    Every count takes time. So the next guess is where the line through what fits and what does not meets a place just
    under `room`, and what is within half a percent of it will do: two or three counts for most texts.
    """
    aim, near = room - room // 400, room - room // 200
    low, in_low, high, in_high = 0, 0, length, None
    guess = min(max(int(aim * density), 1), length)
    for number in range(_TRIES):
        found = tokens(guess)
        if found <= room:
            low, in_low = guess, found
        else:
            high, in_high = guess, found
        if low == length or high - low <= 1 or in_low >= near:
            break
        if in_high is None:
            guess = min(int(low * aim / max(in_low, 1)) + 1, length)
        elif number > _STRAIGHT or in_high <= in_low:  # the line gets nowhere: halve what is left
            guess = (low + high) // 2
        else:
            guess = low + (high - low) * (aim - in_low) // (in_high - in_low)
        guess = min(max(guess, low + 1), high if in_high is None else high - 1)
    return low
