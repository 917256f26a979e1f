"""Rules for what the texts say: secrets, white space, lengths."""

from __future__ import annotations

import functools
import re
from collections.abc import Iterator
from typing import NamedTuple

from llmops_sdk.guards import Secrets
from llmops_sdk.linting._problems import Found
from llmops_sdk.linting._subject import Subject

__all__ = ["contradictory_lengths", "secrets", "trailing_whitespace"]


@functools.cache
def _guard() -> Secrets:
    return Secrets()


def secrets(subject: Subject) -> Iterator[Found]:
    """A key or a password; the message does not repeat it."""
    for finding in _guard().check(subject.text).findings:
        kind = finding.kind.replace("_", " ")
        yield Found(
            *subject.place(finding.start),
            f"this looks like a secret ({kind}): take it out, and make it invalid where it is used, since it stays in "
            "the history of the repository",
        )


def trailing_whitespace(subject: Subject) -> Iterator[Found]:
    """White space that nobody sees and that changes the tokens."""
    for section in subject.prompt.sections:
        for number, line in subject.section_lines(section):
            if line != line.rstrip():
                kept = len(line.rstrip())
                yield Found(
                    number,
                    kept + 1,
                    f"{len(line) - kept} blanks at the end of a line change the tokens: delete them",
                )


# Lengths. Only what is said in plain words is understood; what is not understood contradicts nothing.

_UNITS = {
    "word": 1.0, "sentence": 4.0, "paragraph": 10.0, "token": 1.0, "line": 1.0, "bullet": 2.0, "character": 0.1,
    "item": 1.0,
}  # fmt: skip
"""Unit -> fewest tokens that one of it can sensibly take: a contradiction with `max_tokens` has to be plain."""

_NUMBER = r"(\d{1,3}(?:[,_]\d{3})+|\d+|one|two|three|four|five|six|seven|eight|nine|ten|twelve|twenty|fifty|a hundred)"
_WORDS = {
    "one": 1, "two": 2, "three": 3, "four": 4, "five": 5, "six": 6, "seven": 7, "eight": 8, "nine": 9, "ten": 10,
    "twelve": 12, "twenty": 20, "fifty": 50, "a hundred": 100,
}  # fmt: skip
_UNIT = r"\s+(?:short\s+|full\s+|complete\s+)?(" + "|".join(_UNITS) + r")s?(?:\s+points?)?\b"
_MOST = re.compile(
    rf"\b(at most|no more than|not more than|a maximum of|maximum|max\.?|up to|within|under|fewer than|less than|"
    rf"no longer than|limit(?:ed)? (?:\w+ ){{0,3}}to)\s+{_NUMBER}{_UNIT}",
    re.IGNORECASE,
)
_LEAST = re.compile(
    rf"\b(at least|no fewer than|no less than|not less than|a minimum of|minimum|min\.?|more than|over|longer than)"
    rf"\s+{_NUMBER}{_UNIT}",
    re.IGNORECASE,
)
_EXACT = re.compile(rf"\b(exactly|precisely)\s+{_NUMBER}{_UNIT}", re.IGNORECASE)
_NOT = re.compile(r"\b(no|not|never)\s+$", re.IGNORECASE)


class _Limit(NamedTuple):
    line: int
    column: int
    words: str
    unit: str
    least: int
    most: float


def contradictory_lengths(subject: Subject) -> Iterator[Found]:
    """Limits of length of which no answer keeps both."""
    limits = [
        limit
        for section in subject.prompt.sections
        for number, line in subject.section_lines(section)
        for limit in _limits(line, number)
    ]
    for at, later in enumerate(limits):
        for earlier in limits[:at]:
            if earlier.unit == later.unit and max(earlier.least, later.least) > min(earlier.most, later.most):
                yield Found(
                    later.line,
                    later.column,
                    f"{later.words!r} contradicts {earlier.words!r} in line {earlier.line}: keep one of them",
                )
                break
    most_tokens = subject.prompt.parameters.get("max_tokens")
    for limit in limits:
        fewest = limit.least * _UNITS[limit.unit]
        if most_tokens is not None and fewest > most_tokens:
            yield Found(
                limit.line,
                limit.column,
                f"{limit.words!r} takes more than the {most_tokens} tokens of `max_tokens`: raise it, or ask for less",
            )


def _limits(line: str, number: int) -> Iterator[_Limit]:
    taken: list[tuple[int, int]] = []
    for pattern, has_least, has_most in ((_MOST, False, True), (_LEAST, True, False), (_EXACT, True, True)):
        for match in pattern.finditer(line):
            negated = pattern is _LEAST and _NOT.search(line[: match.start()])
            if negated or any(start <= match.start() < end for start, end in taken):
                continue  # "no more than" holds "more than"
            taken.append(match.span())
            digits = match[2].lower().replace(",", "").replace("_", "")
            amount = _WORDS[digits] if digits in _WORDS else int(digits)
            least, most = (amount if has_least else 0), (amount if has_most else float("inf"))
            yield _Limit(number, match.start() + 1, match[0], match[3].lower(), least, most)
