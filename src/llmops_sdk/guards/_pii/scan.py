"""How `PII` looks for what `rules` describes: cheap where there is nothing, and able to follow a stream.

A text is first made plain: digits, letters and signs of other widths and scripts become those of ASCII, one for one, so
places stay. Its *skeleton* has a `9` for each digit and an `A` for each letter. Numbers are found by their tokens:
stretches of letters and digits, held together by `.`, `-`, `+` and `/`. Tokens with one space between them form a row;
a tree of shapes says which tokens of a row, read from left to right, the longest first, are a number. So a text costs
the same however many shapes there are. Words that name a number are looked for once in a text, and only those that
some number in it could need.

Nothing that is found reaches over a *break*: a line's end, punctuation that no number holds, or the space between two
words. What stands before the last break is decided, so a stream holds back little more than the last word.
"""

from __future__ import annotations

import functools
import re
from bisect import bisect_left
from collections.abc import Callable, Sequence
from typing import Self

from llmops_sdk.guards._patterns.cover import Found, found_at
from llmops_sdk.guards._patterns.ignored import Ignored
from llmops_sdk.guards._pii.restorer import PLACEHOLDER
from llmops_sdk.guards._pii.rules import LICENCES, NOT_PERSONAL, PATTERNS, SHAPES, UNEVEN, Pattern, Shape

__all__ = ["BEHIND", "LONGEST", "Found", "Scanner", "plain", "scanner_for"]

LONGEST = 544
"""No finding is longer: an e-mail address of 64 characters, an at sign, and eight labels."""

BEHIND = 64
"""How many characters before a number its words are looked for."""

_LONGEST_DIGITS = 16  # from here on, what changes letters and digits has letters
_LOOK_AHEAD = 4  # tokens that say whether any number may begin at the first of them
_LONGEST_ROW = 10  # tokens of a shape, and more
_A = ord("A")
_REACH = 45  # of the longest shape, spaces included
_LETTER = r"A-Za-z\u00c0-\u024f\u0370-\u03ff\u0400-\u04ff"
_AT = re.compile(rf"(?:@|%40|&#64;)(?=[{_LETTER}0-9])")
_AT_WRITTEN = re.compile(r"\[ ?(?:at|AT|@) ?\]|\( ?(?:at|AT|@) ?\)|\{ ?(?:at|AT|@) ?\}")
_DOT = r"(?:\.| ?(?:\[ ?(?:dot|DOT|\.) ?\]|\( ?(?:dot|DOT|\.) ?\)|\{ ?(?:dot|DOT|\.) ?\}) ?)"
_LABEL = rf"[{_LETTER}0-9\-]{{1,63}}"
# RFC 5321 allows 64 characters before the @ and 255 after it.
_LOCAL = re.compile(rf"[{_LETTER}0-9_][{_LETTER}0-9._%+'\-]{{0,63}}\Z")
_END_OF_LOCAL = re.compile(rf"[{_LETTER}0-9_+\-]")
_DOMAIN = re.compile(rf"{_LABEL}(?:\.{_LABEL}){{0,6}}\.(?:[{_LETTER}]{{2,24}}|xn--[a-z0-9\-]{{2,20}})(?![{_LETTER}])")
_DOMAIN_DOTTED = re.compile(
    rf"{_LABEL}(?:(?:\.|[\[(](?:dot|DOT|\.)[\])]){_LABEL}){{0,4}}[\[(](?:dot|DOT|\.)[\])][{_LETTER}]{{2,24}}(?![{_LETTER}])"
)
_DOMAIN_WRITTEN = re.compile(rf" ?{_LABEL}(?:{_DOT}{_LABEL}){{0,4}}{_DOT}[{_LETTER}]{{2,24}}(?![{_LETTER}])")

_ZEROS = (
    *(0x660, 0x6F0, 0x7C0, 0x966, 0x9E6, 0xA66, 0xAE6, 0xB66, 0xBE6, 0xC66, 0xCE6, 0xD66, 0xE50, 0xED0, 0xF20, 0x1040),
    *(0x17E0, 0x1810, 0xFF10, 0x1D7CE, 0x1D7D8, 0x1D7E2, 0x1D7EC, 0x1D7F6),
)
_PLAIN = {
    **{0xFF01 + number: chr(0x21 + number) for number in range(94)},
    **{zero + digit: str(digit) for zero in _ZEROS for digit in range(10)},
    **dict.fromkeys((0xA0, *range(0x2000, 0x200B), 0x202F, 0x205F, 0x3000), " "),
    **dict.fromkeys((*range(0x2010, 0x2016), 0x2212, 0xFE63), "-"),
}
_PLAIN_BY_SIGN = {chr(code): sign for code, sign in _PLAIN.items()}
_NOT_PLAIN = frozenset(_PLAIN_BY_SIGN)


def plain(text: str) -> str:
    """`text` with the digits, letters, spaces and hyphens of ASCII in place of others, each of one character."""
    if not text.isascii():
        for sign in _NOT_PLAIN.intersection(text):
            text = text.replace(sign, _PLAIN_BY_SIGN[sign])
    return text


_SKELETON = bytes.maketrans(b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz", b"9" * 10 + b"A" * 52)
# For the skeleton of words: small letters; what is not ASCII is a question mark.
_WORDS = bytes(c if chr(c).isalpha() or c == ord("?") else ord(" ") for c in range(128)) + b" " * 128
_OUTLINE = bytes.maketrans(  # a skeleton that keeps the zeros
    b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz", b"0" + b"9" * 9 + b"A" * 52
)
_DIGIT = re.compile("[0-9]")
# A hardware address may have letters only.
_PAIRS = re.compile(r"[:\-][A-Fa-f]{2}[:\-][A-Fa-f]{2}[:\-]")
# Tokens from the first one's first digit on. A later one begins with a digit, one letter and a digit, or is a letter.
_TOKENS = rb"[9A]*(?:[.\-+/][9A]+)*(?: (?=A?9|A(?![9A]))[9A]+(?:[.\-+/][9A]+)*)*"
_ROW = re.compile(rb"9(?=[9A.\-+/ ]{4})" + _TOKENS)
_LONG_ROW = re.compile(rb"9(?=[9A.\-+/ ]{7}|(?<=A9)[9A.\-+/ ]{4})" + _TOKENS)
_LONG = 9  # characters of a number of which no word is needed, at least
_JOINED = frozenset(b"9A_.-+/")
_ONE_LETTER = re.compile(rb"(?<![9A.\-+/_])A-\Z")
_JOINT = re.compile(rb"[A_.\-+/]*\Z")
_TAIL = re.compile(rb"[.\-/]A{2,}\Z")
_COMPACT = {ord(c): "" for c in " .-+/"}
_IN_WORD = re.compile(rf"[{_LETTER}0-9]")  # East Asian scripts have no spaces between words
_SENTENCE = re.compile(r"[a-z\u00df-\u024f]{3}[.!?]\s")
_LITERAL = re.compile(r"(?:[^\W\d_]|\\\.)+(?![?*{])|(?:[^\W\d_]|\\\.)+(?=[^\W\d_][?*{])")
_CJK = r"\u3000-\u30ff\u3400-\u9fff\uac00-\ud7a3"
# Not a `d` after the space: it may begin the `de` of a date. Every lookahead is of one character.
_BREAK = re.compile(
    rf"[\n\r\t\"!?=|*^`~$\u2026{_CJK}]|[^\W\d_A-Z](?<![Dd]e)[.,:]? (?=[^\W\d_Dd])|[^\W\d_][,:] (?=[^\W\d_])"
)
_PLACEHOLDER = re.compile(PLACEHOLDER.pattern, re.ASCII)
_MAYBE_PLACEHOLDER = re.compile(r"_[0-9A-Fa-f]|[\]>)}\u3011](?:(?<=[0-9A-Fa-f].)|(?<=[0-9A-Fa-f] .))")


def _found(start: int, end: int, kind: str, offset: int, rank: int) -> Found:
    return found_at(start + offset, end + offset, rank, kind)


class _Node:
    """Shapes that begin with the same tokens. `all_shapes` are those that go on, too."""

    __slots__ = ("after", "all_shapes", "shapes")

    def __init__(self) -> None:
        self.after: dict[bytes, _Node] = {}
        self.shapes: list[Shape] = []
        self.all_shapes: list[Shape] = []


class _Words:
    """Some words, to be looked for in small letters: a regular expression, and what its alternatives begin with."""

    __slots__ = ("beginnings", "firsts", "pattern")

    def __init__(self, words: str) -> None:
        # `phone_number`, `phone-number` and `phoneNumber` name a number, too.
        joined = words.replace("[- ]", " ").replace(" ?", " ").replace(" ", "[ -]?")
        self.pattern = re.compile(rf"(?:{joined})(?:number|num|no|nr|id)?(?![{_LETTER}])")
        found = {_beginning(one) for one in _alternatives(words)}
        self.beginnings = sorted(one for one in found if not any(one != two and one.startswith(two) for two in found))
        self.firsts = frozenset(map(_first_letters, self.beginnings))


def _alternatives(words: str) -> list[str]:
    """What stands between the bars that are in no parentheses."""
    depth, pieces = 0, [""]
    for c in words:
        depth += (c == "(") - (c == ")")
        if c == "|" and not depth:
            pieces.append("")
        else:
            pieces[-1] += c
    return pieces


def _beginning(alternative: str) -> str:
    match = _LITERAL.match(alternative)
    assert match is not None, alternative
    return match.group().replace("\\", "")


@functools.lru_cache(maxsize=1024)
def _first_letters(word: str) -> bytes:
    return word.encode("ascii", "replace").translate(_WORDS).split(b" ")[0][:3]


@functools.lru_cache(maxsize=256)
def _words(words: str) -> _Words:
    return _Words(words)


@functools.cache
def _all_firsts() -> frozenset[bytes]:
    shapes = (*SHAPES, *LICENCES, *(shape for uneven in UNEVEN.values() for shape in uneven))
    contexts = {NOT_PERSONAL, *(shape.context for shape in shapes), *(pattern.context for pattern in PATTERNS)}
    return frozenset().union(*(_words(context).firsts for context in contexts if context))


class _Named:
    """The words in one text that name numbers; each kind of them is looked for when it is asked for first."""

    __slots__ = ("_any", "_firsts", "_hits", "_small", "_text", "live")

    def __init__(self, text: str) -> None:
        self._text = text
        self._small = ""
        self._firsts: set[bytes] = set()
        self._any = True
        self._hits: dict[str, list[tuple[int, int]]] = {}
        self.live: dict[int, list[Shape]] = {}

    def shapes(self, shapes: Sequence[Shape]) -> list[Shape]:
        """Those of which the text holds a word, or that need none."""
        known = self.live.get(id(shapes))
        if known is None:
            known = self.live[id(shapes)] = [one for one in shapes if not one.needed or self.hits(one.context)]
        return known

    def hits(self, words: str) -> list[tuple[int, int]]:
        """Where they begin and end, in order."""
        hits = self._hits.get(words)
        if hits is None:
            if not self._small:
                self._read()
            hits = []
            if self._any and not (looked_for := _words(words)).firsts.isdisjoint(self._firsts):
                hits = self._look_for(looked_for)
            self._hits[words] = hits
        return hits

    def _read(self) -> None:
        """The text in small letters, and the first three letters, two and one of its words."""
        small = self._text.lower()
        if len(small) != len(self._text):  # a capital whose small letter is written as two
            small = "".join(low if len(low := c.lower()) == 1 else c for c in self._text)
        self._small = small.replace("_", " ")
        written = self._small.encode("ascii", "replace").translate(_WORDS)
        firsts = {word[:3] for word in written.split()}
        if b"?" in written:  # a letter, or a sign before a word
            firsts.update(word[:3] for word in written.replace(b"?", b" ").split())
        firsts.update([word[:2] for word in firsts])
        firsts.update([word[:1] for word in firsts])
        self._firsts = firsts
        self._any = not _all_firsts().isdisjoint(firsts)

    def _look_for(self, words: _Words) -> list[tuple[int, int]]:
        small, firsts, hits = self._small, self._firsts, []
        for beginning in words.beginnings:
            if _first_letters(beginning) not in firsts:
                continue
            place = small.find(beginning)
            while place >= 0:
                if (not place or _IN_WORD.match(small, place - 1) is None) and (
                    match := words.pattern.match(small, place)
                ):
                    hits.append(match.span())
                place = small.find(beginning, place + 1)
        hits.sort()
        return hits

    def near(self, words: str, start: int) -> int:
        """How near one of the words stands before `start`, 0 where none does or the name of something else is nearer.

        It has to be in the same sentence.
        """
        end = self._last(words, start)
        if end < 0 or (words != NOT_PERSONAL and self._last(NOT_PERSONAL, start) > end):
            return 0
        return BEHIND + 1 - (start - end)

    def _last(self, words: str, start: int) -> int:
        hits = self.hits(words)
        place = bisect_left(hits, (start,)) if hits else 0
        while place:
            place -= 1
            begin, end = hits[place]
            if begin <= start - BEHIND:
                break
            if end > start:  # it reaches into what it would name
                match = _words(words).pattern.match(self._small, begin, start)
                if match is None:
                    continue
                end = match.end()
            return -1 if _SENTENCE.search(self._small, end, start) else end
        return -1


def _behind(hits: Sequence[tuple[int, int]]) -> list[tuple[int, int]]:
    """Where something may begin that one of these words names, without overlaps."""
    stretches: list[tuple[int, int]] = []
    for begin, _ in hits:
        if stretches and begin < stretches[-1][1]:
            stretches[-1] = (stretches[-1][0], begin + BEHIND)
        else:
            stretches.append((begin + 1, begin + BEHIND))
    return stretches


class Scanner:
    """Looks for some kinds. Immutable; shared by all guards with the same kinds and ignore list."""

    def __init__(self, kinds: frozenset[str], ignore: Ignored | None) -> None:
        self._kinds = kinds
        self._ignore = ignore
        self._email = "email" in kinds
        self._placeholders = PLACEHOLDER.kind in kinds
        self._patterns = [
            (
                number,
                re.compile(rule.pattern, re.ASCII),
                re.compile(rule.hint or rule.start),
                re.compile(rule.start),
                rule,
            )
            for number, rule in enumerate(PATTERNS)
            if rule.kind in kinds
        ]
        self.tree = _Node()
        for shape in SHAPES:
            for form in shape.forms if shape.kind in kinds else ():
                node = self.tree
                for token in form.encode().split(b" "):
                    node = node.after.setdefault(token, _Node())
                    node.all_shapes.append(shape)
                node.shapes.append(shape)
        self.uneven = {length: [shape for shape in shapes if shape.kind in kinds] for length, shapes in UNEVEN.items()}
        every_shape = [shape for shape in SHAPES if shape.kind in kinds]
        self.short = [shape for shape in every_shape if min(map(len, shape.forms)) < _LONG]
        self.short += [shape for shape in LICENCES if shape.kind in kinds]
        self.licences = [shape for shape in LICENCES if shape.kind in kinds]

    def __reduce__(self) -> tuple[Callable[..., Scanner], tuple[frozenset[str], Ignored | None]]:
        return scanner_for, (self._kinds, self._ignore)

    def __copy__(self) -> Self:
        return self

    def __deepcopy__(self, memo: object) -> Self:
        return self

    @staticmethod
    def decided(buffer: str, undecided: int) -> int:
        """Up to where no finding that begins before can grow or come any more, whatever follows; `buffer` is plain."""
        decided = max(undecided, len(buffer) - LONGEST - 1)
        for match in _BREAK.finditer(buffer, undecided):
            decided = max(decided, match.end())
        return decided

    def find(self, written: str, text: str, start: int, stop: int, offset: int, resume: dict[int, int]) -> list[Found]:
        """All findings that begin in `text[start:stop]`, with `offset` added. `text` is `plain(written)`.

        It holds `BEHIND` characters before `start` if there are any. `resume` holds where each search goes on (with
        `offset`); it is read and updated.
        """
        found: list[Found] = []
        if self._email:
            self._find_emails(text, start, stop, offset, found)
        digits = _DIGIT.search(text, start) is not None
        if (
            digits
            or "<<" in text
            or "::" in text
            or ((text.count(":") > 4 or text.count("-") > 4) and _PAIRS.search(text))
        ):
            written_in_ascii = text.encode("ascii", "replace")
            skeleton, outline = written_in_ascii.translate(_SKELETON), written_in_ascii.translate(_OUTLINE)
            named = _Named(text)
            if digits:
                _Numbers(self, text, skeleton, named).find(start, stop, offset, resume, found)
            for numbered in self._patterns:
                rule = numbered[4]
                if rule.context:
                    if digits and named.hits(rule.context):
                        self._find_named(numbered, text, named, (start, stop, offset), resume, found)
                    continue
                drawn = outline if rule.zeros else skeleton
                if not rule.hint or numbered[2].search(drawn, start) is not None:
                    self._find_pattern(numbered, text, drawn, (start, stop, offset), resume, found)
        if self._placeholders and _MAYBE_PLACEHOLDER.search(text, start) is not None:
            self._find_placeholders(text, start, stop, offset, resume, found)
        ignore = self._ignore
        if ignore is None or not found:
            return found
        return [one for one in found if not ignore.holds(written[one.start - offset : one.end - offset])]

    def _find_emails(self, text: str, start: int, stop: int, offset: int, found: list[Found]) -> None:
        if "@" in text or "%40" in text or "&#64;" in text:
            for at in _AT.finditer(text, start, min(len(text), stop + 66)):
                self._find_email(text, at, _DOMAIN, (start, stop, offset), found)
        if ("[" in text or "(" in text or "{" in text) and ("at" in text or "AT" in text or "@" in text):
            for at in _AT_WRITTEN.finditer(text, start, min(len(text), stop + 72)):
                self._find_email(text, at, _DOMAIN_WRITTEN, (start, stop, offset), found)

    def _find_email(
        self,
        text: str,
        at: re.Match[str],
        domains: re.Pattern[str],
        limits: tuple[int, int, int],
        found: list[Found],
    ) -> None:
        start, stop, offset = limits
        end = at.start()
        if domains is _DOMAIN_WRITTEN and end and text[end - 1] == " ":
            end -= 1
        if not end or _END_OF_LOCAL.match(text, end - 1) is None:
            return
        local = _LOCAL.search(text, max(0, end - 64), end)
        if local is None or not start <= local.start() < stop:
            return
        domain = domains.match(text, at.end())
        if domain is None and domains is _DOMAIN:
            domain = _DOMAIN_DOTTED.match(text, at.end())
        if domain is not None:
            found.append(_found(local.start(), domain.end(), "email", offset, 0))

    def _find_pattern(
        self,
        numbered: tuple[int, re.Pattern[str], re.Pattern[bytes], re.Pattern[bytes], Pattern],
        text: str,
        skeleton: bytes,
        limits: tuple[int, int, int],
        resume: dict[int, int],
        found: list[Found],
    ) -> None:
        number, pattern, _, starts, rule = numbered
        start, stop, offset = limits
        position = max(start, resume.get(number, 0) - offset)
        for place in starts.finditer(skeleton, position):
            begin = place.start()
            if begin >= stop:
                return
            if begin < position:
                continue
            match = pattern.match(text, begin)
            if match is not None and rule.check(match.group()):
                found.append(_found(begin, match.end(), rule.kind, offset, 1))
                position = match.end()
                resume[number] = position + offset

    def _find_named(
        self,
        numbered: tuple[int, re.Pattern[str], re.Pattern[bytes], re.Pattern[bytes], Pattern],
        text: str,
        named: _Named,
        limits: tuple[int, int, int],
        resume: dict[int, int],
        found: list[Found],
    ) -> None:
        """Only behind the words that name it."""
        number, pattern, _, _, rule = numbered
        start, stop, offset = limits
        position = max(start, resume.get(number, 0) - offset)
        for begin, end in _behind(named.hits(rule.context)):
            limit = min(stop, end)
            position = max(position, begin)
            while position < limit:
                match = pattern.search(text, position, limit + BEHIND)
                if match is None or match.start() >= limit:
                    position = limit
                elif rule.check(match.group()) and named.near(rule.context, match.start()):
                    found.append(_found(match.start(), match.end(), rule.kind, offset, 1))
                    position = match.end()
                    resume[number] = position + offset
                else:
                    position = match.start() + 1

    def _find_placeholders(
        self, text: str, start: int, stop: int, offset: int, resume: dict[int, int], found: list[Found]
    ) -> None:
        position = max(start, resume.get(-2, 0) - offset)
        for match in _PLACEHOLDER.finditer(text, position):
            if match.start() >= stop:
                return
            found.append(_found(match.start(), match.end(), PLACEHOLDER.kind, offset, 1))
            resume[-2] = match.end() + offset


class _Numbers:
    """The search for numbers in one text."""

    __slots__ = ("_dead", "_licences", "_named", "_short", "_skeleton", "_text", "_tree", "_tried", "_uneven")

    def __init__(self, scanner: Scanner, text: str, skeleton: bytes, named: _Named) -> None:
        self._tree = scanner.tree.after
        self._uneven = scanner.uneven
        self._licences: Sequence[Shape] = scanner.licences
        self._tried = False
        self._short: Sequence[Shape] = scanner.short
        self._dead: set[tuple[bytes, ...]] = set()  # tokens that begin no number in this text
        self._text = text
        self._skeleton = skeleton
        self._named = named

    def find(self, start: int, stop: int, offset: int, resume: dict[int, int], found: list[Found]) -> None:
        """Add the numbers that begin in `text[start:stop]`; see `Scanner.find`."""
        skeleton = self._skeleton
        covered = max(start, resume.get(-1, 0) - offset)
        dead: set[bytes] = set()  # rows that cannot be a number in this text
        rows, shortest = (_ROW, 5) if self._named.shapes(self._short) else (_LONG_ROW, _LONG - 1)
        for match in rows.finditer(skeleton, covered):
            begin = match.start()
            written = match.group()
            if begin and skeleton[begin - 1] in _JOINED:
                row = written.split(b" ")
                covered = self._read_joined(row, begin, (covered, stop, offset), found)
                begin += len(row[0]) + 1
                del row[0]
                written = b""  # not the whole row
            elif len(written) < shortest or written in dead:
                continue
            else:
                row = written.split(b" ")
            if begin >= stop + _REACH:
                break
            before = covered
            covered, tried = self._read_row(row, begin, (covered, stop, offset), found)
            if written and not tried and before <= begin and begin + len(written) <= stop:
                dead.add(written)
        if covered > start:
            resume[-1] = covered + offset

    def _read_joined(self, row: list[bytes], begin: int, limits: tuple[int, int, int], found: list[Found]) -> int:
        """The number that begins at the first token, which is joined to what precedes it; up to where all is known."""
        covered, stop, offset = limits
        skeleton = self._skeleton
        for at in self._beginnings(begin, covered):
            if covered <= at < stop:
                whole = [skeleton[at:begin] + row[0], *row[1:_LONGEST_ROW]]
                end, kind = self._read(whole, 0, at, joined=at > 0 and skeleton[at - 1] in _JOINED)
                if kind:
                    found.append(_found(at, end, kind, offset, 0))
                    return end
        return covered

    def _read_row(
        self, row: list[bytes], begin: int, limits: tuple[int, int, int], found: list[Found]
    ) -> tuple[int, bool]:
        """The numbers that begin at the tokens of a row; up to where all is known, and whether anything was checked."""
        covered, stop, offset = limits
        tree, dead, any_tried = self._tree, self._dead, False
        for number, token in enumerate(row):
            if begin >= stop:
                break
            if (token in tree or len(token) > 4) and begin >= covered:
                tokens = tuple(row[number : number + _LOOK_AHEAD])
                if tokens not in dead:
                    self._tried = False
                    end, kind = self._read(row, number, begin)
                    if kind:
                        found.append(_found(begin, end, kind, offset, 0))
                        covered = end
                    if self._tried:
                        any_tried = True
                    else:
                        dead.add(tokens)
            begin += len(token) + 1
        return covered, any_tried

    def _beginnings(self, begin: int, floor: int) -> list[int]:
        """Where a token may begin whose first digit is at `begin`, the longest first: it is joined to what precedes."""
        skeleton, floor = self._skeleton, max(floor - 2, begin - _REACH, 0)
        head = begin
        while head > floor and skeleton[head - 1] == _A:
            head -= 1
        before = skeleton[head - 1 : head]
        if before == b"9" or (head == floor > 0 and before == b"A"):
            return []  # it began before
        if before == b"-" and head == begin and _ONE_LETTER.search(skeleton, max(0, head - 3), head):
            return [head - 2, begin]
        return [head, begin] if head < begin else [begin]

    def _read(self, row: list[bytes], number: int, begin: int, *, joined: bool = False) -> tuple[int, str]:
        """The longest number that begins at a token: its end, and its kind."""
        best, kind = begin, ""
        after, at, named = self._tree, begin, self._named
        for place in range(number, len(row)):
            token = row[place]
            node, end, last = after.get(token), at + len(token), False
            if node is None:
                if token[-1] != _A or (tail := _TAIL.search(token)) is None:
                    break
                node, end, last = after.get(token[: tail.start()]), at + tail.start(), True
                if node is None:
                    break
            elif token == b"A" and not self._text[at].isupper():
                self._tried = True
                break
            if place - number == _LOOK_AHEAD:
                self._tried = True
            if not named.shapes(node.all_shapes):
                break
            if (shapes := node.shapes) and (shapes := named.shapes(shapes)):
                self._tried = True
                if told := self._tell(shapes, begin, end, joined=joined):
                    best, kind = end, told
            if last:
                break
            after, at = node.after, end + 1
        return (best, kind) if kind or len(row[number]) < 5 else self._read_uneven(row[number], begin, joined=joined)

    def _read_uneven(self, token: bytes, begin: int, *, joined: bool) -> tuple[int, str]:
        """The number that a token is without any shape."""
        tail = _TAIL.search(token) if token[-1] == _A else None
        length = len(token) if tail is None else tail.start()
        end, kind = begin + length, ""
        # Digits alone are long enough only for kinds that have a shape.
        if (uneven := self._uneven.get(length)) and (length < _LONGEST_DIGITS or b"A" in token):
            uneven = self._named.shapes(uneven)
            if uneven and token[:length].isalnum():
                self._tried = True
                kind = self._tell(uneven, begin, end, joined=joined)
        if not kind and length <= 20 and (licences := self._named.shapes(self._licences)):
            self._tried = True
            kind = self._tell(licences, begin, end, joined=joined)
        return end, kind

    def _tell(self, shapes: Sequence[Shape], begin: int, end: int, *, joined: bool) -> str:
        """Which of the shapes it is: the one whose name stands nearest, else the first whose check holds."""
        named = self._named
        compact, told, nearest = "", "", -1
        for shape in shapes:
            near = 0
            if shape.context:
                near = named.near(shape.context, begin)
                if not near and shape.needed:
                    continue
            if near <= nearest or (joined and not self._joins(near, begin)):
                continue
            if not compact:
                compact = self._text[begin:end].translate(_COMPACT).upper()
            if shape.check(compact) and (near or not shape.weak or not named.near(NOT_PERSONAL, begin)):
                told, nearest = shape.kind, near
        return told

    def _joins(self, near: int, begin: int) -> bool:
        """Whether the word that names the number is joined to it: `ssn-...`, and not the end of some identifier."""
        return bool(near) and _JOINT.match(self._skeleton, begin - (BEHIND + 1 - near), begin) is not None


@functools.lru_cache(maxsize=64)
def scanner_for(kinds: frozenset[str], ignore: Ignored | None) -> Scanner:
    """The scanner for these kinds and this ignore list."""
    return Scanner(kinds, ignore)
