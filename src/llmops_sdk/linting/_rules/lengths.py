"""Limits of length in a text: which there are, and which contradict each other.

Only what is said in plain English words is understood; what is not understood contradicts nothing. A limit is about a
thing (the answer, a title, each item), and holds under the conditions of its sentence and of the template's blocks
around it. Two limits are compared where they are about the same thing, of the same unit, and can hold together.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator
from typing import NamedTuple

from llmops_sdk.linting._problems import Found
from llmops_sdk.linting._subject import Line, Subject

__all__ = ["contradictory_lengths"]

_UNITS = {
    "word": 1.0, "sentence": 4.0, "paragraph": 10.0, "token": 1.0, "line": 1.0, "bullet": 2.0, "character": 0.1,
    "char": 0.1, "item": 1.0, "step": 2.0, "question": 2.0, "example": 2.0, "option": 1.0, "keyword": 1.0, "tag": 1.0,
    "page": 200.0,
}  # fmt: skip
"""Unit -> fewest tokens that one of it can sensibly take: a contradiction with `max_tokens` has to be plain."""
_SAME_UNIT = {"char": "character"}

_WORDS = {
    "one": 1, "two": 2, "three": 3, "four": 4, "five": 5, "six": 6, "seven": 7, "eight": 8, "nine": 9, "ten": 10,
    "twelve": 12, "fifteen": 15, "twenty": 20, "thirty": 30, "fifty": 50, "a hundred": 100, "one hundred": 100,
}  # fmt: skip
_NUMBER = r"(\d{1,3}(?:[,_]\d{3}){1,4}|\d{1,12}|" + "|".join(sorted(_WORDS, key=len, reverse=True)) + ")"
_UNIT = (
    r"[\s-]+(?:(?:short|full|complete|clear|concise|bullet|key|brief)\s+)?("
    + "|".join(_UNITS)
    + r")s?(?:\s+points?)?\b"
)
_MOST = (
    r"at most|at the most|no more than|not more than|a maximum of|maximum(?: of)?|max\.?|up to|within|under|fewer than|"
    r"less than|below|no longer than|not longer than|limit(?:ed)? (?:\w+ ){0,3}to|not exceed|never exceed|n't exceed"
)
_LEAST = (
    r"at least|no fewer than|no less than|not less than|a minimum of|minimum(?: of)?|min\.?|more than|over|"
    r"longer than|above"
)
_RANGE = re.compile(
    rf"(?:\b({_LEAST}|{_MOST})\s+)?(?:\bbetween\s+{_NUMBER}\s+and\s+{_NUMBER}"
    rf"|(?<![\w.,]){_NUMBER}\s*(?:-|\u2013|to|or)\s*{_NUMBER}){_UNIT}",
    re.IGNORECASE,
)
_LIMIT = re.compile(rf"(?<!\w)({_MOST}|{_LEAST}|exactly|precisely)\s+{_NUMBER}{_UNIT}", re.IGNORECASE)
_ASKED = re.compile(
    r"\b(?:answer|reply|respond|write|summari[sz]e|explain|describe)\b[^.;:!?\n]{0,60}?"
    rf"\b(in (?:only |just )?){_NUMBER}{_UNIT}",
    re.IGNORECASE,
)
_UPPER = re.compile(_MOST, re.IGNORECASE)
_STRICT = re.compile(r"more than|over|longer than|above|fewer than|less than|under|below", re.IGNORECASE)
_NO = re.compile(r"\b(?:no|not|never|nor|without|avoid|cannot)\b|n't\b", re.IGNORECASE)
_IF = re.compile(
    r"\b(?:if|when|whenever|unless|otherwise|else|in case|for (?:short|long|simple|complex|hard|easy|very)|given|"
    r"depending|except|either|usually|example:|e\.g)\b|\b(?:input|document|user)s? (?:has|have|is|are|will|may)\b",
    re.IGNORECASE,
)
_EACH_BEFORE = re.compile(r"\b(?:each|every|per|any)\b|\w+s (?:of|with|that have)\s+(?:each\s+)?$", re.IGNORECASE)
_EACH_AFTER = re.compile(r"\W{0,2}(?:each|per|apiece|(?:in|for|to|of) (?:each|every)|every|long each)\b", re.IGNORECASE)
_SENTENCE_END = re.compile(r"[.!?;](?=\s|$|\{%)|%\}")
_SAID_OF = re.compile(r"\W*(?:is|are|was|were|will|would|gets?|counts?)\b", re.IGNORECASE)
"""Behind a limit: the sentence says something of it, and asks for nothing."""
_SUBJECT = re.compile(
    r"\b(?:the|an?|your|our|its|their)\s+(?:[\w-]+\s+)?([\w-]+)\s+(?:has|have|is|are|must|should|may|can|contains?|needs?|of|with)\b",
    re.IGNORECASE,
)
_LABEL = re.compile(r"\W*([A-Za-z][\w -]{0,30}?)[`\"'*]*\s*[:=(]")
_THING = re.compile(
    r"\b(title|headline|heading|subject(?: line)?|summary|abstract|introduction|intro|conclusion|description|article|"
    r"essay|story|poem|body|caption|name|explanation|reason|reasoning|rationale|note|comment|tweet|post|quote|snippet|"
    r"label|question|greeting|paragraph|section|bullet|sentence|item|line|list|field|email|report|outline|plan|chapter|"
    r"thought|code|query|slogan|teaser|tagline|bio|review|message|example|draft)s?\b",
    re.IGNORECASE,
)
_WHOLE = ("answer", "reply", "response", "output", "length", "format", "style", "rules", "important", "note", "limit")
_BLOCK = re.compile(r"\{%[-+]?\s*(if|elif|else|endif|for|endfor|macro|endmacro|call|endcall)\b")

_MOST_COMPARED = 500
"""Limits of a prompt, and of a line: each is held against all before it."""
_LONGEST_SENTENCE = 500
"""Characters before a limit that are read for what it is about: a file may be one line of a million."""


class _Limit(NamedTuple):
    line: Line
    column: int
    words: str
    unit: str
    least: int
    most: float
    about: str | None
    """What it is a limit of, `""` for the whole answer; `None` where that is not clear."""
    blocks: tuple[int, ...]
    """The branches of the template around it."""


def contradictory_lengths(subject: Subject) -> Iterator[Found]:
    """Limits of length of which no answer keeps both."""
    limits = list(itertools.islice(_limits(subject.spoken_lines), _MOST_COMPARED))
    for at, later in enumerate(limits):
        earlier = next((one for one in limits[:at] if _contradict(one, later)), None)
        if earlier is not None:
            where = "" if earlier.line.path == later.line.path else f" of {earlier.line.path or subject.path}"
            yield _found(later, f"contradicts {earlier.words!r} in line {earlier.line.number}{where}: keep one of them")
    most_tokens = subject.prompt.parameters.get("max_tokens")
    for limit in limits:
        if most_tokens is not None and limit.least * _UNITS[limit.unit] > most_tokens:
            more = f"takes more than the {most_tokens} tokens of `max_tokens`: raise it, or ask for less"
            yield _found(limit, more)


def _found(limit: _Limit, problem: str) -> Found:
    return Found(limit.line.number, limit.column, f"{limit.words!r} {problem}", limit.line.path)


def _contradict(one: _Limit, other: _Limit) -> bool:
    return (
        one.unit == other.unit
        and one.about is not None
        and one.about == other.about
        and max(one.least, other.least) > min(one.most, other.most)
        and all(a == b for a, b in zip(one.blocks, other.blocks, strict=False))
    )


def _limits(lines: list[Line]) -> Iterator[_Limit]:
    blocks: list[int] = []
    branches = 0
    path: str | None = None
    for line in lines:
        if line.path != path:
            blocks, path = [], line.path
        events: list[tuple[int, str | _Limit]] = [(one.start(), one[1]) for one in _BLOCK.finditer(line.text)]
        events += [(one.column - 1, one) for one in itertools.islice(_limits_in(line), _MOST_COMPARED)]
        for _, event in sorted(events, key=lambda one: one[0]):
            if isinstance(event, _Limit):
                yield event._replace(blocks=tuple(blocks))
                continue
            branches += 1
            if (event.startswith("end") or event in ("elif", "else")) and blocks:
                blocks.pop()
            if not event.startswith("end"):
                blocks.append(branches)


def _limits_in(line: Line) -> Iterator[_Limit]:
    text = line.text
    taken: list[tuple[int, int]] = []
    for pattern in (_RANGE, _LIMIT, _ASKED):
        for match in pattern.finditer(text):
            begin = match.start(1) if pattern is _ASKED else match.start()
            if any(start < match.end() and begin < end for start, end in taken):
                continue
            sentence = _before(text, begin)
            words = text[begin : match.end()].strip()
            bounds = _bounds(pattern, match, negated=_NO.search(sentence) is not None)
            if bounds is None or _IF.search(sentence) or _SAID_OF.match(text, match.end()):
                continue
            taken.append((begin, match.end()))
            unit = match[match.lastindex or 0].lower()
            about = _about(text, sentence, match.end())
            yield _Limit(line, begin + 1, words, _SAME_UNIT.get(unit, unit), *bounds, about, ())


def _before(text: str, at: int) -> str:
    """What stands before a place, in its sentence."""
    low = max(at - _LONGEST_SENTENCE, 0)
    begin = max((match.end() for match in _SENTENCE_END.finditer(text, low, at)), default=low)
    return text[begin:at]


def _bounds(pattern: re.Pattern[str], match: re.Match[str], *, negated: bool) -> tuple[int, float] | None:
    """The least and the most that a limit allows; `None` where it is not plain."""
    how = (match[1] or "").lower()
    if pattern is _ASKED:
        return None if negated else (_number(match[2]), _number(match[2]))
    if pattern is _RANGE:
        low, high = sorted(_number(one) for one in match.groups()[1:5] if one is not None)
        if not how:
            return None if negated else (low, high)
        return (0, high) if _UPPER.fullmatch(how) else (low, float("inf"))
    amount = _number(match[2])
    if how in ("exactly", "precisely"):
        return None if negated else (amount, amount)
    upper = _UPPER.fullmatch(how) is not None
    strict = _STRICT.fullmatch(how) is not None
    if not negated:
        return (0, amount - strict) if upper else (amount + strict, float("inf"))
    # "Never write more than 50 words" is an upper limit; "do not guess, write at most 50" is one as it stands.
    if strict:
        return (amount, float("inf")) if upper else (0, amount)
    return (0, amount) if upper else (amount, float("inf"))


def _number(text: str) -> int:
    digits = text.lower().replace(",", "").replace("_", "")
    return _WORDS[digits] if digits in _WORDS else int(digits)


def _about(text: str, sentence: str, end: int) -> str | None:
    """What a limit is about."""
    if _EACH_BEFORE.search(sentence) or _EACH_AFTER.match(text, end):
        return None
    label = _LABEL.match(text)
    if label is not None and label.end() <= end and label[1].lower().strip() not in _WHOLE:
        return str(label[1]).lower().strip()
    subjects: list[str] = [one.lower() for one in _SUBJECT.findall(sentence)]
    if subjects and subjects[-1] not in _WHOLE:
        return subjects[-1]
    things: list[str] = _THING.findall(sentence)
    return things[-1].lower() if things else ""
