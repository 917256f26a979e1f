"""How `PII` looks for what `_pii_rules` describes: cheap where there is nothing, and able to follow a stream.

Numbers are found by their tokens: stretches of letters and digits, held together by `.`, `-` and `/`. Tokens with one
space between them form a row; a tree of shapes says which tokens of a row, read from left to right, the longest first,
are a number. So a text costs the same however many shapes there are.

Nothing that is found reaches over a *break*: a line's end, punctuation that no number holds, or the space between two
words. What stands before the last break is decided, so a stream holds back little more than the last word.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Iterator
from typing import NamedTuple, Self

from llmops_sdk.guards._ignored import Ignored
from llmops_sdk.guards._pii_restorer import PLACEHOLDER
from llmops_sdk.guards._pii_rules import GAP, LICENCES, NOT_PERSONAL, PATTERNS, SHAPES, UNEVEN, Pattern, Shape

__all__ = ["BEHIND", "LONGEST", "Found", "Scanner", "scanner_for"]

LONGEST = 544
"""No finding is longer: an e-mail address of 64 characters, an at sign, and eight labels."""

BEHIND = 64
"""How many characters before a number its words are looked for."""

_SHORTEST = 6  # of the shapes
_REACH = 45  # of the longest shape, spaces included
_LETTER = r"A-Za-z\u00c0-\u024f\u0370-\u03ff\u0400-\u04ff"
_AT = re.compile(rf"(?<=[{_LETTER}0-9_+\-])(?:@|%40|&#64;|\uff20)(?=[{_LETTER}0-9])")
# RFC 5321 allows 64 characters before the @ and 255 after it.
_LOCAL = re.compile(rf"[{_LETTER}0-9_][{_LETTER}0-9._%+'\-]{{0,63}}\Z")
_DOMAIN = re.compile(
    rf"[{_LETTER}0-9\-]{{1,63}}(?:\.[{_LETTER}0-9\-]{{1,63}}){{0,6}}\.(?:[{_LETTER}]{{2,24}}|xn--[a-z0-9\-]{{2,20}})"
    rf"(?![{_LETTER}])"
)
_DIGITS = re.compile("[0-9]")
_TOKEN = re.compile(
    r"(?<![0-9A-Za-z_])(?<![0-9A-Za-z][.\-+/\u2010\u2011])(?:[XYZxyz]-)?[A-Za-z]{0,8}[0-9][0-9A-Za-z]{0,60}(?:[.\-+/\u2010\u2011][0-9A-Za-z]{1,20}){0,7}"
    r"|(?<=[0-9] )[A-Z](?![0-9A-Za-z])"
)
_SHAPE = {
    **{ord(c): "9" for c in "0123456789"},
    **{ord(c): "A" for c in "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"},
    **{ord(c): " " for c in GAP},
    0x2010: "-",
    0x2011: "-",
}
_COMPACT = {ord(c): "" for c in GAP + ".-+/\u2010\u2011"}
_SENTENCE = re.compile(r"[a-z\u00df-\u024f]{3}[.!?]\s")
_WORD = re.compile(r"[^\W\d_]+")
_BEGINNING = re.compile(r"[^\W\d_]{0,2}")
_CJK = r"\u3000-\u30ff\u3400-\u9fff\uac00-\ud7a3\uff01\uff0c\uff1f"
# Not a `d` after the space: it may begin the `de` of a date. Every lookahead is of one character.
_BREAK = re.compile(
    rf"[\n\r\t\"!?=|*^`~$\u2026{_CJK}]|[^\W\d_A-Z](?<![Dd]e)[.,:]? (?=[^\W\d_Dd])|[^\W\d_][,:] (?=[^\W\d_])"
)


_PLACEHOLDERS = Pattern(kind=PLACEHOLDER.kind, pattern=PLACEHOLDER.pattern, hint=PLACEHOLDER.hint or "")


class Found(NamedTuple):
    """A finding; sorted by where it begins, the longest first, then by how much its form says (`rank`, 0 the most)."""

    start: int
    longest_first: int
    rank: int
    kind: str
    end: int
    score: float = 1.0


class _Node:
    """Shapes that begin with the same tokens."""

    __slots__ = ("after", "shapes")

    def __init__(self) -> None:
        self.after: dict[str, _Node] = {}
        self.shapes: list[Shape] = []


class _Words:
    """Some words, to be looked for in small letters.

    Most texts hold none of them, which their first two letters tell faster than a regular expression does.
    """

    __slots__ = ("_beginnings", "_pattern")

    def __init__(self, words: str) -> None:
        self._pattern = re.compile(rf"(?<![^\W_])(?:{words})(?![^\W\d_])")
        alternatives = (word.removeprefix("(?:") for word in words.split("|"))
        self._beginnings = frozenset(_BEGINNING.match(word).group() for word in alternatives)  # type: ignore[union-attr]  # it matches everything

    def last(self, before: _Before) -> int:
        """Where the last of them ends in `before`, -1 without one."""
        beginnings = before.read() if before.beginnings is None else before.beginnings
        return -1 if self._beginnings.isdisjoint(beginnings) else _last(self._pattern, before.words)


class _Before:
    """What stands before a number, from the beginning of its sentence on."""

    __slots__ = ("_start", "_text", "beginnings", "words")

    def __init__(self, text: str, start: int) -> None:
        self._text, self._start = text, start
        self.words = ""
        self.beginnings: set[str] | None = None

    def read(self) -> set[str]:
        """The first two letters of each word; the text is read when somebody asks for the first time."""
        before = self._text[max(0, self._start - BEHIND) : self._start].lower()
        if "." in before or "!" in before or "?" in before:
            before = before[max(0, _last(_SENTENCE, before)) :]
        self.words = before
        self.beginnings = {word[:2] for word in _WORD.findall(before)}
        return self.beginnings

    def names(self, words: str) -> int:
        """How near one of the words stands, 0 where none does or the name of something else stands nearer."""
        end = _words(words).last(self)
        if end < 0 or _OTHER.last(self) > end:
            return 0
        return end + 1 + BEHIND - len(self.words)

    @property
    def refutes(self) -> bool:
        """Whether it names something that belongs to nobody."""
        return _OTHER.last(self) >= 0


def _last(pattern: re.Pattern[str], before: str) -> int:
    """Where the last match ends, -1 without one."""
    end = -1
    for match in pattern.finditer(before):
        end = match.end()
    return end


_OTHER = _Words(NOT_PERSONAL)


@functools.lru_cache(maxsize=256)
def _words(words: str) -> _Words:
    return _Words(words)


class Scanner:
    """Looks for some kinds. Immutable; shared by all guards with the same kinds and ignore list."""

    def __init__(self, kinds: frozenset[str], ignore: Ignored | None) -> None:
        self._kinds = kinds
        self._ignore = ignore
        self._email = "email" in kinds
        self._patterns = [
            (number, re.compile(rule.pattern, re.ASCII), re.compile(rule.hint, re.ASCII), rule)
            for number, rule in enumerate(rule for rule in (*PATTERNS, _PLACEHOLDERS) if rule.kind in kinds)
        ]
        self._tree = _Node()
        for shape in SHAPES:
            for form in shape.forms if shape.kind in kinds else ():
                node = self._tree
                for token in form.split(" "):
                    node = node.after.setdefault(token, _Node())
                node.shapes.append(shape)
        self._uneven = {length: [shape for shape in shapes if shape.kind in kinds] for length, shapes in UNEVEN.items()}
        self._licences = [shape for shape in LICENCES if shape.kind in kinds]

    def __reduce__(self) -> tuple[Callable[..., Scanner], tuple[frozenset[str], Ignored | None]]:
        return scanner_for, (self._kinds, self._ignore)

    def __copy__(self) -> Self:
        return self

    def __deepcopy__(self, memo: object) -> Self:
        return self

    @staticmethod
    def decided(buffer: str, undecided: int) -> int:
        """Up to where no finding that begins before can grow or come any more, whatever follows."""
        decided = max(undecided, len(buffer) - LONGEST - 1)
        for match in _BREAK.finditer(buffer, undecided):
            decided = max(decided, match.end())
        return decided

    def find(self, text: str, start: int, stop: int, offset: int, resume: dict[int, int]) -> list[Found]:
        """All findings that begin in `text[start:stop]`, with `offset` added.

        `text` holds `BEHIND` characters before `start` if there are any. `resume` holds where each search goes on (with
        `offset`); it is read and updated.
        """
        found: list[Found] = []
        if self._email and ("@" in text or "%40" in text or "&#64;" in text or "\uff20" in text):
            self._find_emails(text, start, stop, offset, found)
        digits = _DIGITS.search(text, start) is not None
        if digits:
            self._find_numbers(text, start, stop, offset, resume, found)
        if digits or "_" in text or ":" in text or "<<" in text or "[" in text or "(" in text or "{" in text:
            near = text[max(0, start - BEHIND) :].lower()
            for number, pattern, hint, rule in self._patterns:
                if rule.near and not any(word in near for word in rule.near):
                    continue
                if hint.search(text, start) is not None:
                    self._find_pattern((number, pattern, rule), text, (start, stop, offset), resume, found)
        return found

    def _add(self, found: list[Found], text: str, span: tuple[int, int], kind: str, offset: int, rank: int = 0) -> None:
        start, end = span
        if self._ignore is None or not self._ignore.holds(text[start:end]):
            found.append(Found(start + offset, -end - offset, rank, kind, end + offset))

    def _find_emails(self, text: str, start: int, stop: int, offset: int, found: list[Found]) -> None:
        for at in _AT.finditer(text, start, min(len(text), stop + 65)):
            local = _LOCAL.search(text, max(0, at.start() - 64), at.start())
            if local is None or not start <= local.start() < stop:
                continue
            domain = _DOMAIN.match(text, at.end())
            if domain is not None:
                self._add(found, text, (local.start(), domain.end()), "email", offset)

    def _find_pattern(
        self,
        numbered: tuple[int, re.Pattern[str], Pattern],
        text: str,
        limits: tuple[int, int, int],
        resume: dict[int, int],
        found: list[Found],
    ) -> None:
        number, pattern, rule = numbered
        start, stop, offset = limits
        position = max(start, resume.get(number, 0) - offset)
        while position < stop:
            match = pattern.search(text, position)
            if match is None or match.start() >= stop:
                return
            if rule.check(match.group()) and (not rule.context or _Before(text, match.start()).names(rule.context)):
                self._add(found, text, match.span(), rule.kind, offset, 1 if rule.kind != "email" else 0)
                position = match.end()
                resume[number] = position + offset
            else:
                position = match.start() + 1

    def _find_numbers(
        self, text: str, start: int, stop: int, offset: int, resume: dict[int, int], found: list[Found]
    ) -> None:
        position = max(start, resume.get(-1, 0) - offset)
        for row in _rows(text, position, stop):
            if len(row) == 1 and row[0][1] - row[0][0] < _SHORTEST:
                continue
            number = 0
            while number < len(row) and row[number][0] < stop:
                end, kind = self._read(text, row, number)
                if kind:
                    self._add(found, text, (row[number][0], row[end - 1][1]), kind, offset)
                    resume[-1] = row[end - 1][1] + offset
                    number = end
                else:
                    number += 1

    def _read(self, text: str, row: list[tuple[int, int]], number: int) -> tuple[int, str]:
        """The longest number that begins at a token: the token after it, and its kind."""
        best, kind = number, ""
        node = self._tree
        start = row[number][0]
        before = _Before(text, start)
        for place in range(number, len(row)):
            begin, end = row[place]
            following = node.after.get(text[begin:end].translate(_SHAPE))
            if following is None:
                break
            node = following
            if node.shapes and (told := self._tell(node.shapes, text[start:end], before)):
                best, kind = place + 1, told
        if kind:
            return best, kind
        begin, end = row[number]
        length = end - begin
        uneven = self._uneven.get(length, [])
        if uneven and text[begin:end].isalnum() and (told := self._tell(uneven, text[begin:end], before)):
            return number + 1, told
        if self._licences and 5 <= length <= 20 and (told := self._tell(self._licences, text[begin:end], before)):
            return number + 1, told
        return number, ""

    @staticmethod
    def _tell(shapes: list[Shape], written: str, before: _Before) -> str:
        """Which of the shapes it is: the one whose name stands nearest, else the first whose check holds."""
        compact = written.translate(_COMPACT).upper()
        told, nearest = "", -1
        for shape in shapes:
            near = 0
            if shape.context:
                near = before.names(shape.context)
                if not near and (shape.needed or (shape.weak and before.refutes)):
                    continue
            if near > nearest and shape.check(compact):
                told, nearest = shape.kind, near
        return told


def _rows(text: str, start: int, stop: int) -> Iterator[list[tuple[int, int]]]:
    """Tokens with one space between them."""
    row: list[tuple[int, int]] = []
    for match in _TOKEN.finditer(text, start, min(len(text), stop + _REACH + 100)):
        span = match.span()
        if row and (span[0] - row[-1][1] != 1 or text[span[0] - 1] not in GAP):
            yield row
            row = []
        if not row and span[0] >= stop:
            return
        row.append(span)
    if row:
        yield row


@functools.lru_cache(maxsize=64)
def scanner_for(kinds: frozenset[str], ignore: Ignored | None) -> Scanner:
    """The scanner for these kinds and this ignore list."""
    return Scanner(kinds, ignore)
