"""`Length`: how long a text may be, and how long it has to be."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from typing import Literal, TypeAlias, Unpack, get_args

from llmops_sdk.errors import ConfigurationError
from llmops_sdk.guards._guard import Guard, GuardOptions
from llmops_sdk.protocols import GuardContext, GuardStream
from llmops_sdk.verdicts import ALLOW, Finding, Surface, Verdict

__all__ = ["Length", "LengthAction", "LengthUnit"]

LengthUnit: TypeAlias = Literal["characters", "words", "lines", "bytes"]
LengthAction: TypeAlias = Literal["block", "rewrite", "flag"]

_WORD = re.compile(r"\S+")


def _characters(text: str, room: int, _inside: bool) -> tuple[int, int, bool]:
    return len(text), min(len(text), room), True


def _bytes(text: str, room: int, _inside: bool) -> tuple[int, int, bool]:
    amount = len(text) if text.isascii() else len(text.encode("utf-8", "surrogatepass"))
    if amount <= room:
        return amount, len(text), True
    if text.isascii():
        return amount, room, True
    # A character begins at each byte that does not continue one.
    kept = text.encode("utf-8", "surrogatepass")[: room + 1]
    return amount, sum((byte & 0xC0) != 0x80 for byte in kept) - 1, True


def _words(text: str, room: int, inside: bool) -> tuple[int, int, bool]:
    if not text:
        return 0, 0, inside
    joins = inside and not text[0].isspace()
    amount = len(text.split()) - joins
    inside = not text[-1].isspace()
    if amount <= room:
        return amount, len(text), inside
    for number, match in enumerate(_WORD.finditer(text), start=1 - joins):
        if number > room:
            return amount, match.start(), inside
    return amount, len(text), inside


def _lines(text: str, room: int, inside: bool) -> tuple[int, int, bool]:
    if not text:
        return 0, 0, inside
    # A line begins with its first character, be it the one that ends it.
    amount = text.count("\n") + (not text.endswith("\n")) - inside
    ends = not text.endswith("\n")
    if amount <= room:
        return amount, len(text), ends
    position = 0
    for _ in range(room + inside):
        position = text.index("\n", position) + 1
    return amount, position, ends


_MEASURES: dict[str, Callable[[str, int, bool], tuple[int, int, bool]]] = {
    "characters": _characters,
    "words": _words,
    "lines": _lines,
    "bytes": _bytes,
}
"""Unit -> of a piece: its amount, how much of the piece fits into `room`, and whether the last one goes on."""


class Length(Guard):
    """Limits the length of a text.

    In a stream the text flows until the limit; no more than `most` is ever emitted. With `action="rewrite"` the text
    is cut there, with `"block"` it ends there and is blocked. A minimum is known at the end only: with `least`
    characters or bytes up to that many characters are held back, with other units the whole text is awaited.

    Words are what stands between white space, so a text in Chinese or Thai is one word. Lines end with a newline.
    Bytes are those of UTF-8; no character is cut in two, but an emoji made of several characters may be.

    Names and arguments of tool calls, and reasoning, may be of any length: they are not read (`waived`).

    Args:
        most: The most that is right.
        least: The least that is right; what is shorter is blocked (flagged, with `action="flag"`), as no rewriting
            makes it longer.
        unit: `"characters"` (code points), `"words"`, `"lines"` or `"bytes"`.
        action: What happens to a text that is too long: `"block"` (the default), `"rewrite"` (cut) or `"flag"`.
        options: See `GuardOptions`.

    Raises:
        ConfigurationError: There is no limit, or the limits exclude every text.

    Example:
        >>> Length(most=2, unit="words", action="rewrite").check("one two three").text
        'one two '
    """

    blocking = False
    waived: frozenset[Surface] = frozenset({"tool_calls", "reasoning"})

    def __init__(
        self,
        *,
        most: int | None = None,
        least: int | None = None,
        unit: LengthUnit = "characters",
        action: LengthAction = "block",
        **options: Unpack[GuardOptions],
    ) -> None:
        super().__init__(**options)
        if unit not in get_args(LengthUnit):
            raise ConfigurationError(f"unit={unit!r} is not one of {', '.join(map(repr, get_args(LengthUnit)))}")
        if action not in get_args(LengthAction):
            raise ConfigurationError(f"action={action!r} is not one of {', '.join(map(repr, get_args(LengthAction)))}")
        if most is None and least is None:
            raise ConfigurationError("give a limit: Length(most=...), Length(least=...), or both")
        if (most is not None and most < 0) or (least is not None and least < 0):
            raise ConfigurationError(f"most={most!r}, least={least!r}: a length is not below 0")
        if most is not None and least is not None and least > most:
            raise ConfigurationError(f"no text has at least {least} and at most {most} {unit}")
        self.most = most
        self.least = least or 0
        self.unit: LengthUnit = unit
        self.action: LengthAction = action
        holds = self.least if action != "flag" else 0
        self.window = holds if not holds or unit in ("characters", "bytes") else None

    def check(self, text: str, context: GuardContext | None = None, /) -> Verdict:
        """Decide about the whole text."""
        if self.most is None and self.least == 0:
            return ALLOW
        stream = _LengthStream(self, "" if context is None else context.origin)
        written = stream.feed(text) + stream.finish()
        verdict = stream.verdict
        return replace(verdict, text=written) if verdict.action == "rewrite" else verdict

    def open_stream(self, context: GuardContext, /) -> GuardStream | None:
        """The guard at work on one stream."""
        return None if self.window is None else _LengthStream(self, context.origin)


class _LengthStream:
    """A `Length` at work on one text; it remembers amounts, and what is held back for a minimum."""

    def __init__(self, guard: Length, origin: str) -> None:
        self._guard = guard
        self._measure = _MEASURES[guard.unit]
        self._origin = origin
        self._amount = 0
        self._inside = False
        self._length = 0  # code points so far
        self._cut: int | None = None  # where the text became too long
        self._holds = guard.least > 0 and guard.action != "flag"
        self.held = ""
        self.verdict = ALLOW

    def feed(self, text: str, /) -> str:
        """Take the next piece; return what may be emitted now."""
        if self.verdict.blocked:
            return ""
        guard = self._guard
        most = guard.most
        room = len(text) * 4 if most is None or self._cut is not None else most - self._amount
        amount, fits, self._inside = self._measure(text, room, self._inside)
        self._amount += amount
        if amount > room:
            self._cut = self._length + fits
        self._length += len(text)
        if self._cut is not None:
            text = self._beyond(text, fits if amount > room else 0)
        if not self._holds:
            return text
        self.held += text
        if self._amount < guard.least:
            return ""
        self._holds = False
        text, self.held = self.held, ""
        return text

    def _beyond(self, text: str, fits: int) -> str:
        """What may be emitted of a piece of which only the first `fits` characters are not too much."""
        cut, guard = self._cut, self._guard
        assert cut is not None
        if guard.action == "flag":
            return text
        if guard.action == "block" and not self.verdict.blocked:
            self.verdict = self._said("too_long", cut, cut + 1, f"more than {guard.most} {guard.unit}")
        return text[:fits]

    def finish(self) -> str:
        """The text has ended: return the rest that may be emitted."""
        guard = self._guard
        if self.verdict.blocked:
            return ""
        if self._amount < guard.least:
            reason = f"{self._amount} {guard.unit}, fewer than {guard.least}"
            self.verdict = self._said("too_short", 0, self._length, reason)
            if guard.action != "flag":
                self.verdict = replace(self.verdict, action="block")
                return ""
        elif self._cut is not None:
            reason = f"{self._amount} {guard.unit}, more than {guard.most}"
            self.verdict = self._said("too_long", self._cut, self._length, reason)
        text, self.held = self.held, ""
        return text

    def _said(self, kind: str, start: int, end: int, reason: str) -> Verdict:
        finding = Finding(kind=kind, start=start, end=end, rule=self._guard.unit, origin=self._origin)
        return Verdict(action=self._guard.action, findings=(finding,), reason=reason)
