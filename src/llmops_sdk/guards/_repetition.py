"""`Repetition`: a model that has run into a loop, found while it runs."""

from __future__ import annotations

from dataclasses import replace
from typing import Literal, Unpack

from llmops_sdk.errors import ConfigurationError
from llmops_sdk.guards._guard import Guard, GuardOptions
from llmops_sdk.protocols import GuardContext, GuardStream
from llmops_sdk.verdicts import ALLOW, Finding, Surface, Verdict

__all__ = ["Repetition"]

# Looked at after every `_STEP` characters of the text, wherever it is cut, for short periods; for long ones after
# every `_LONG_STEP`.
_STEP = 16
_LONG_STEP = 256
_PROBE = 24
_SHORT_PERIOD = 128
_TRIES = 6
_DATA = frozenset("0123456789abcdefxABCDEFX,;.:_-+|/\\ \t\r\n[](){}<>'\"#*=~&%$")
"""Characters of rules, empty tables and arrays of numbers (hexadecimal ones, too), which repeat for good reasons."""
_PLAIN_FACTOR = 5


def _is_data(period: str) -> bool:
    """Whether what repeats holds no letters, but for those of hexadecimal numbers."""
    if not _DATA.issuperset(period):
        return period.isspace()
    return not any(map(str.isalpha, period)) or any(map(str.isdigit, period))


class Repetition(Guard):
    """Finds runaway loops: the same token, line, phrase or paragraph over and over, floods of one character.

    A loop is a stretch of text that repeats with a fixed period, exactly. It has to hold at least `times` repeats and
    `shortest` characters; stretches without letters (rules, tables, arrays of numbers, white space) are let grow five
    times as long. It is looked for after every 16 characters (256 for periods of more than 128), so it is found that
    much late at most. Items with a counter (`1. ... 2. ...`) and loops with small changes are not found.

    In a stream the text flows on, nothing is held back; at the limit it ends there and is blocked, or cut.

    Reasoning is read, as loops begin there, too; names and arguments of tool calls are not (`waived`), as the files
    that they may hold repeat for good reasons.

    Args:
        times: Repeats that are too many, at least 2.
        shortest: Characters of a loop that are too many, at least 48.
        longest_period: Longest stretch that is recognised when it repeats, in characters.
        action: `"block"` (the default), `"rewrite"` (cut what follows) or `"flag"`.
        options: See `GuardOptions`.

    Raises:
        ConfigurationError: A number makes no sense.

    Example:
        >>> Repetition().check("All work and no play makes Jack a dull boy. " * 20).action
        'block'
        >>> Repetition().check("-" * 80).action
        'allow'
    """

    blocking = False
    waived: frozenset[Surface] = frozenset({"tool_calls"})
    window = 0

    def __init__(
        self,
        *,
        times: int = 8,
        shortest: int = 200,
        longest_period: int = 1_000,
        action: Literal["block", "rewrite", "flag"] = "block",
        **options: Unpack[GuardOptions],
    ) -> None:
        super().__init__(**options)
        if action not in ("block", "rewrite", "flag"):
            raise ConfigurationError(f'action={action!r} is not one of "block", "rewrite", "flag"')
        if times < 2 or shortest < 2 * _PROBE or not 1 <= longest_period <= 10_000:
            raise ConfigurationError(
                f"times={times!r}, shortest={shortest!r}, longest_period={longest_period!r}: at least 2, at least "
                f"{2 * _PROBE}, and between 1 and 10,000 are needed"
            )
        self.times = times
        self.shortest = shortest
        self.longest_period = longest_period
        self.action: Literal["block", "rewrite", "flag"] = action
        # What has to be seen to know the longest loop that counts.
        self._memory = max(times * longest_period, shortest * _PLAIN_FACTOR) + 2 * _PROBE

    def check(self, text: str, context: GuardContext | None = None, /) -> Verdict:
        """Decide about the whole text."""
        stream = _LoopStream(self, "" if context is None else context.origin)
        written = stream.feed(text) + stream.finish()
        return replace(stream.verdict, text=written) if stream.verdict.action == "rewrite" else stream.verdict

    def open_stream(self, context: GuardContext, /) -> GuardStream | None:
        """The guard at work on one stream."""
        return _LoopStream(self, context.origin)

    def loop_at(self, text: str, end: int, *, long: bool) -> tuple[int, int] | None:
        """The loop that `text[:end]` ends in, if it is one too many: its length so far, and its period."""
        probe_start = end - _PROBE
        if probe_start < 0:
            return None
        probe = text[probe_start:end]
        reach = self.longest_period if long else min(_SHORT_PERIOD, self.longest_period)
        lowest = max(0, probe_start - reach)
        position = end - 1
        for _ in range(_TRIES):
            position = text.rfind(probe, lowest, position)
            if position < 0:
                return None
            period = probe_start - position
            wanted = max(self.shortest, period * self.times)
            if self._repeats(text, end, wanted, period):
                if not _is_data(text[end - period : end]):
                    return wanted, period
                wanted = max(self.shortest * _PLAIN_FACTOR, period * self.times)
                if self._repeats(text, end, wanted, period):
                    return wanted, period
            position += _PROBE - 1  # the next one is at least one character before
        return None

    @staticmethod
    def _repeats(text: str, end: int, length: int, period: int) -> bool:
        start = end - length
        return start >= 0 and text[start + period : end] == text[start : end - period]


class _LoopStream:
    """A `Repetition` at work on one text; it remembers what a loop may be long."""

    held = ""

    def __init__(self, guard: Repetition, origin: str) -> None:
        self._guard = guard
        self._origin = origin
        self._tail = ""
        self._offset = 0  # of the tail in the text
        self._due = _STEP  # the position, in the text, of the next look
        self._cut = False
        self.verdict = ALLOW

    def feed(self, text: str, /) -> str:
        """Take the next piece; return what may be emitted now."""
        if self._cut:
            return ""
        self._tail += text
        end = self._offset + len(self._tail)
        if end < self._due:
            return text
        begin = end - len(text)
        while self._due <= end:
            position = self._due
            self._due += _STEP
            if self.verdict is not ALLOW:
                break
            at = position - self._offset
            found = self._guard.loop_at(self._tail, at, long=position % _LONG_STEP == 0)
            if found is not None:
                self._record(position, *found)
                if self._guard.action != "flag":
                    self._cut = True
                    self._tail = ""
                    return text[: position - begin]
        # Cutting the tail costs its length, so it is let grow to twice what is needed.
        memory = self._guard._memory
        if len(self._tail) > 2 * memory:
            self._offset += len(self._tail) - memory
            self._tail = self._tail[-memory:]
        return text

    def _record(self, position: int, length: int, period: int) -> None:
        reason = f"{period} characters repeat over {length} characters"
        finding = Finding(
            kind="repetition", start=position - length, end=position, rule=f"period {period}", origin=self._origin
        )
        self.verdict = Verdict(action=self._guard.action, findings=(finding,), reason=reason)

    def finish(self) -> str:
        """The text has ended; nothing was held back."""
        return ""
