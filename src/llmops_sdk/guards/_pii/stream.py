"""`PII` at work on one text: what it finds becomes what may be emitted."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from typing import TypeAlias

from llmops_sdk.guards._patterns.cover import Cover, Found
from llmops_sdk.guards._pii.scan import BEHIND, Scanner, plain
from llmops_sdk.guards._segments import Cutter, Segment
from llmops_sdk.loops import in_thread
from llmops_sdk.verdicts import Verdict

__all__ = ["PIIStream", "Recognize"]

Recognize: TypeAlias = Callable[[str], Sequence[Found]]
"""What further recognizers find in one segment; places count from its beginning."""


class PIIStream:
    """The findings of a scanner, and of recognizers if there are any; nothing that any of them found is emitted.

    Args:
        scanner: Finds what has a form.
        cover: Makes of findings what may be emitted.
        passes: Whether everything is emitted, whatever is found.
        recognize: Finds the rest, segment by segment.
        cutter: Cuts the text into these segments.
    """

    __slots__ = (
        "_buffer",
        "_cover",
        "_cutter",
        "_offset",
        "_over",
        "_passes",
        "_plain",
        "_recognize",
        "_resume",
        "_scanned",
        "_scanner",
        "_undecided",
    )

    def __init__(
        self,
        scanner: Scanner,
        cover: Cover,
        *,
        passes: bool,
        recognize: Recognize | None = None,
        cutter: Cutter | None = None,
    ) -> None:
        self._scanner = scanner
        self._cover = cover
        self._passes = passes
        self._recognize = recognize
        self._cutter = cutter
        self._buffer = ""
        self._plain = ""  # the buffer, as the scanner reads it
        self._offset = 0  # of the buffer in the text
        self._scanned = 0  # up to where, in the buffer, the scanner's findings are known
        self._undecided = 0  # up to where, in the buffer, it was emitted (or is covered)
        self._resume: dict[int, int] = {}
        self._over = False

    @property
    def verdict(self) -> Verdict:
        """The verdict so far."""
        return self._cover.verdict

    @property
    def held(self) -> str:
        """What has been fed, and neither emitted nor covered by a finding."""
        return "" if self._passes else self._buffer[max(self._undecided, self._cover.end - self._offset) :]

    def feed(self, text: str, /) -> str | Awaitable[str]:
        """Take the next piece; return what may be emitted now."""
        if self._over:
            return ""
        self._buffer += text
        self._plain += plain(text)
        return self._advance(text, self._scanner.decided(self._plain, self._scanned), final=False)

    def finish(self) -> str | Awaitable[str]:
        """The text has ended: return the rest that may be emitted."""
        if self._over:
            return ""
        return self._advance("", len(self._buffer), final=True)

    def whole(self, text: str, found: Sequence[Found]) -> Verdict:
        """The verdict on a whole text of which the scanner's findings are known, with what is left of it."""
        self._buffer = text
        self._scanned = len(text)
        self._cover.add(found)
        segments = [] if self._cutter is None else self._cutter.feed(text, final=True)
        written = self._decide(len(text), self._recognized(segments))
        if self.verdict.action == "rewrite":
            return replace(self.verdict, text=written)
        return self.verdict

    def _advance(self, text: str, decided: int, *, final: bool) -> str | Awaitable[str]:
        passing = self._passes
        if decided == self._scanned and not final:
            return text if passing else ""
        before = self._scanned
        segments = self._scan(decided, final=final)
        if self._recognize is None:
            emitted = self._decide(decided, ())
        elif segments:
            return self._later(text, segments, final=final)
        else:
            emitted = "" if before != decided or not final else self._decide(decided, ())
        self._over = self._over or final
        return text if passing else emitted

    def _scan(self, decided: int, *, final: bool) -> list[Segment]:
        start = self._scanned
        if decided > start:
            found = self._scanner.find(self._buffer, self._plain, start, decided, self._offset, self._resume)
            self._cover.add(found)
            self._scanned = decided
        return [] if self._cutter is None else self._cutter.feed(self._buffer[start:decided], final=final)

    def _recognized(self, segments: Sequence[Segment]) -> list[Found]:
        if self._recognize is None:
            return []
        return [
            found._replace(
                start=found.start + one.start, end=found.end + one.start, longest_first=-found.end - one.start
            )
            for one in segments
            for found in self._recognize(one.text)
        ]

    async def _later(self, text: str, segments: Sequence[Segment], *, final: bool) -> str:
        try:
            found = await in_thread(lambda: self._recognized(segments))
        except BaseException:
            self._buffer = self._buffer.removesuffix(text)  # `held` is what was fed before
            self._plain = self._plain[: len(self._buffer)]
            raise
        end = segments[-1].start + len(segments[-1].text) - self._offset
        emitted = self._decide(end, found)
        self._over = self._over or final
        return text if self._passes else emitted

    def _decide(self, decided: int, found: Sequence[Found]) -> str:
        """What may be emitted of the buffer up to `decided`, where all findings that begin there are known."""
        cover = self._cover
        cover.add(found)
        if not cover.waiting and cover.end <= self._offset + self._undecided:
            emitted = self._buffer[self._undecided : decided]
        else:
            emitted = cover.decide(self._buffer, self._undecided, decided, self._offset)
            self._over = self._over or cover.blocks
        self._keep(decided)
        return emitted

    def _keep(self, decided: int) -> None:
        kept = max(0, min(decided, self._scanned) - BEHIND)
        self._undecided = decided - kept
        self._scanned -= kept
        if kept:
            self._buffer = self._buffer[kept:]
            self._plain = self._plain[kept:]
            self._offset += kept
