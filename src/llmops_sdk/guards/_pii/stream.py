"""`PII` at work on one text: what it finds becomes what may be emitted."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from typing import Literal, TypeAlias

from llmops_sdk.guards._pii.scan import BEHIND, Found, Scanner, plain
from llmops_sdk.guards._segments import Cutter, Segment
from llmops_sdk.loops import in_thread
from llmops_sdk.verdicts import ALLOW, Finding, Verdict

__all__ = ["PIIStream", "Recognize"]

Recognize: TypeAlias = Callable[[str], Sequence[Found]]
"""What further recognizers find in one segment; places count from its beginning."""


class PIIStream:
    """The findings of a scanner, and of recognizers if there are any, by position, the longest first.

    One that lies in what an earlier one covers is dropped; one that reaches beyond it extends what is covered. So
    nothing that any of them found is emitted. The verdict holds no text: that was emitted.

    Args:
        scanner: Finds what has a form.
        action: What a finding means.
        hide: What stands in place of a finding of this kind; `None` leaves it, and then it is none.
        origin: Who wrote the text.
        recognize: Finds the rest, segment by segment.
        cutter: Cuts the text into these segments.
    """

    __slots__ = (
        "_action",
        "_buffer",
        "_covered",
        "_cutter",
        "_findings",
        "_hide",
        "_offset",
        "_origin",
        "_over",
        "_plain",
        "_recognize",
        "_resume",
        "_scanned",
        "_scanner",
        "_undecided",
        "_waiting",
        "verdict",
    )

    def __init__(
        self,
        scanner: Scanner,
        action: Literal["rewrite", "block", "flag"],
        hide: Callable[[str, str, bool], str | None],
        *,
        origin: str = "",
        recognize: Recognize | None = None,
        cutter: Cutter | None = None,
    ) -> None:
        self._scanner = scanner
        self._action = action
        self._hide = hide
        self._origin = origin
        self._recognize = recognize
        self._cutter = cutter
        self._buffer = ""
        self._plain = ""  # the buffer, as the scanner reads it
        self._offset = 0  # of the buffer in the text
        self._scanned = 0  # up to where, in the buffer, the scanner's findings are known
        self._undecided = 0  # up to where, in the buffer, it was emitted (or is covered)
        self._covered = 0  # end, in the text, of what findings cover
        self._waiting: list[Found] = []
        self._resume: dict[int, int] = {}
        self._findings: list[Finding] = []
        self._over = False
        self.verdict: Verdict = ALLOW

    @property
    def held(self) -> str:
        """What has been fed, and neither emitted nor covered by a finding."""
        if self._action == "flag":
            return ""
        return self._buffer[max(self._undecided, self._covered - self._offset) :]

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
        self._waiting += found
        segments = [] if self._cutter is None else self._cutter.feed(text, final=True)
        written = self._decide(len(text), self._recognized(segments))
        if self.verdict.action == "rewrite":
            return replace(self.verdict, text=written)
        return self.verdict

    def _advance(self, text: str, decided: int, *, final: bool) -> str | Awaitable[str]:
        passing = self._action == "flag"
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
            self._waiting += self._scanner.find(self._buffer, self._plain, start, decided, self._offset, self._resume)
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
        return text if self._action == "flag" else emitted

    def _decide(self, decided: int, found: Sequence[Found]) -> str:
        """What may be emitted of the buffer up to `decided`, where all findings that begin there are known."""
        buffer, offset = self._buffer, self._offset
        self._waiting += found
        if not self._waiting and self._covered <= offset + self._undecided:
            emitted = buffer[self._undecided : decided]
            self._keep(decided)
            return emitted
        limit = decided + offset
        position = self._undecided + offset
        pieces: list[str] = []
        self._waiting.sort()
        ready = 0
        for item in self._waiting:
            if item.start >= limit:
                break
            ready += 1
            if item.end <= self._covered:
                continue
            begin = max(item.start, self._covered)
            written = buffer[begin - offset : item.end - offset]
            replacement = self._hide(item.kind, written, item.start < self._covered)
            if replacement is None:
                continue
            self._findings.append(
                Finding(
                    kind=item.kind,
                    start=item.start,
                    end=item.end,
                    score=item.score,
                    rule=item.kind,
                    origin=self._origin,
                )
            )
            resumed = max(position, self._covered)
            if resumed < begin:
                pieces.append(buffer[resumed - offset : begin - offset])
            position = begin
            if self._action == "block":
                self._over = True
                break
            pieces.append(replacement)
            self._covered = item.end
        del self._waiting[:ready]
        if self._findings and len(self._findings) != len(self.verdict.findings):
            kinds = ", ".join(sorted({finding.kind for finding in self._findings}))
            self.verdict = Verdict(action=self._action, findings=tuple(self._findings), reason=f"found {kinds}")
        resumed = max(position, self._covered)
        if resumed < limit and not self._over:
            pieces.append(buffer[resumed - offset : decided])
        self._keep(decided)
        return "".join(pieces)

    def _keep(self, decided: int) -> None:
        kept = max(0, min(decided, self._scanned) - BEHIND)
        self._undecided = decided - kept
        self._scanned -= kept
        if kept:
            self._buffer = self._buffer[kept:]
            self._plain = self._plain[kept:]
            self._offset += kept
