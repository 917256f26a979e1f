"""Guards that judge a text piece by piece: models see sentences, and streams flow while they do.

Where a piece ends depends on the text alone, never on how a stream was cut into chunks, so a guarded stream equals the
guarded whole: at the end of a line; after `.`, `!`, `?` or an ellipsis, closing quotes and white space; after their
East Asian counterparts. A piece without such an end is cut after `longest` characters, at its last space if it has one.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Awaitable, Sequence
from dataclasses import replace
from typing import NamedTuple, Unpack

from llmops_sdk.errors import ConfigurationError
from llmops_sdk.guards._guard import Guard, GuardOptions
from llmops_sdk.loops import gather, in_thread
from llmops_sdk.protocols import GuardContext, GuardStream
from llmops_sdk.verdicts import ALLOW, Finding, Verdict

__all__ = ["Cutter", "Segment", "SegmentGuard", "merge_verdicts"]

_END = re.compile("""[.!?\u2026]["'\u201d\u2019)\\]]{0,3}\\s|[\\n\u3002\uff01\uff1f]""")
_END_LENGTH = 5


class Segment(NamedTuple):
    """A piece of a text.

    Attributes:
        text: The piece.
        before: The characters before it, as far as the guard wants to see them; they are decided already.
        start: Where it begins in the whole text, in code points.
    """

    text: str
    before: str
    start: int


class Cutter:
    """Cuts a text that arrives in any chunks into the same segments."""

    def __init__(self, longest: int, shortest: int, behind: int) -> None:
        self._longest, self._shortest, self._behind = longest, shortest, behind
        self._before = ""
        self._start = 0
        self._searched = 0
        self.rest = ""

    def feed(self, text: str, *, final: bool) -> list[Segment]:
        buffer = self.rest + text
        segments: list[Segment] = []
        start = 0
        while (end := self._end(buffer, start, final=final)) is not None:
            piece = buffer[start:end]
            segments.append(Segment(piece, self._before, self._start))
            self._start += len(piece)
            if self._behind:
                self._before = (self._before + piece)[-self._behind :]
            start = end
            self._searched = 0
        self.rest = buffer[start:]
        self._searched = max(0, len(self.rest) - _END_LENGTH)
        return segments

    def _end(self, buffer: str, start: int, *, final: bool) -> int | None:
        """Where the segment that begins at `start` ends, `None` while that is not known."""
        limit = start + self._longest
        for match in _END.finditer(buffer, start + self._searched, min(limit, len(buffer))):
            if match.end() - start >= self._shortest:
                return match.end()
        if len(buffer) >= limit:
            space = max(buffer.rfind(" ", start, limit), buffer.rfind("\t", start, limit))
            return limit if space < start + self._shortest else space + 1
        return len(buffer) if final and start < len(buffer) else None


class SegmentGuard(Guard):
    """A guard that judges a text sentence by sentence. Write `judge`, which may be `async`; the rest is here.

    In a stream a sentence is emitted as soon as it is judged, so at most `window` characters are held back. A text is
    blocked at its first segment that is. Findings count from the beginning of their segment; they are moved for you.

    Args:
        longest: Most characters of a segment, and of what is held back (`window`).
        shortest: A segment does not end before that many characters.
        behind: How many characters before a segment `judge` wants to see.
        options: See `GuardOptions`.

    Example:
        >>> class NoShouting(SegmentGuard):
        ...     def judge(self, segment, context):
        ...         return Verdict.block("shouting") if segment.text.isupper() else Verdict.allow()
        >>> NoShouting().check("Hello there. GO AWAY!").action
        'block'
    """

    def __init__(
        self, *, longest: int = 600, shortest: int = 1, behind: int = 0, **options: Unpack[GuardOptions]
    ) -> None:
        super().__init__(**options)
        if not 0 < shortest <= longest or behind < 0:
            raise ConfigurationError(
                f"longest={longest!r}, shortest={shortest!r}, behind={behind!r}: 0 < shortest <= longest and "
                "behind >= 0 are needed"
            )
        self.waits = inspect.iscoroutinefunction(self.judge) or inspect.iscoroutinefunction(self.judge_all)
        self._cut = (longest, shortest, behind)
        self.window = longest

    def judge(self, segment: Segment, context: GuardContext | None, /) -> Verdict | Awaitable[Verdict]:
        """Decide about one segment."""
        raise ConfigurationError(f"the guard {type(self).__name__} has no `judge(segment, context)`")

    def judge_all(
        self, segments: Sequence[Segment], context: GuardContext | None, /
    ) -> Sequence[Verdict] | Awaitable[Sequence[Verdict]]:
        """Decide about several segments at once; override it where that is cheaper than one by one."""
        if inspect.iscoroutinefunction(self.judge):
            return self._gather(segments, context)
        verdicts: list[Verdict] = []
        for segment in segments:
            verdict = self.judge(segment, context)
            assert isinstance(verdict, Verdict)
            verdicts.append(verdict)
            if verdict.blocked:
                break
        return verdicts

    async def _gather(self, segments: Sequence[Segment], context: GuardContext | None) -> Sequence[Verdict]:
        async def one(segment: Segment) -> Verdict:
            verdict = self.judge(segment, context)
            return verdict if isinstance(verdict, Verdict) else await verdict

        return await gather(one(segment) for segment in segments)

    def check(self, text: str, context: GuardContext | None = None, /) -> Verdict | Awaitable[Verdict]:
        """Decide about the whole text: all of its segments."""
        segments = Cutter(*self._cut).feed(text, final=True) or [Segment("", "", 0)]
        judged = self.judge_all(segments, context)
        return self._awaited(segments, judged) if isinstance(judged, Awaitable) else _whole(segments, judged)

    async def _awaited(self, segments: Sequence[Segment], judged: Awaitable[Sequence[Verdict]]) -> Verdict:
        return _whole(segments, await judged)

    def open_stream(self, context: GuardContext, /) -> GuardStream | None:
        """The guard at work on one stream."""
        return SegmentStream(self, Cutter(*self._cut), context)


class SegmentStream:
    """A `SegmentGuard` at work on one stream: what it returns is awaitable where it has to wait for a judgement."""

    def __init__(self, guard: SegmentGuard, cutter: Cutter, context: GuardContext) -> None:
        self._guard = guard
        self._cutter = cutter
        self._context = context
        self._held: str | None = None
        self._any = False
        self.verdict = ALLOW

    @property
    def held(self) -> str:
        """What was fed before, and not emitted."""
        return self._cutter.rest if self._held is None else self._held

    def feed(self, text: str, /) -> str | Awaitable[str]:
        """Take the next piece; return what may be emitted now."""
        if self.verdict.blocked:
            return ""
        held = self._cutter.rest
        segments = self._cutter.feed(text, final=False)
        return self._judge(segments, held) if segments else ""

    def finish(self) -> str | Awaitable[str]:
        """The text has ended: return the rest that may be emitted."""
        if self.verdict.blocked:
            return ""
        held = self._cutter.rest
        segments = self._cutter.feed("", final=True)
        if not segments and not self._any:
            segments = [Segment("", "", 0)]  # an empty text gets a verdict, too
        return self._judge(segments, held) if segments else ""

    def _judge(self, segments: Sequence[Segment], held: str) -> str | Awaitable[str]:
        self._any = True
        self._held = held  # until these are judged
        if self._guard.blocking:
            return self._later(segments)
        judged = self._guard.judge_all(segments, self._context)
        return self._after(segments, judged) if isinstance(judged, Awaitable) else self._emit(segments, judged)

    async def _later(self, segments: Sequence[Segment]) -> str:
        judged = await in_thread(lambda: self._guard.judge_all(segments, self._context))
        return self._emit(segments, (await judged) if isinstance(judged, Awaitable) else judged)

    async def _after(self, segments: Sequence[Segment], judged: Awaitable[Sequence[Verdict]]) -> str:
        return self._emit(segments, await judged)

    def _emit(self, segments: Sequence[Segment], judged: Sequence[Verdict]) -> str:
        pieces, self.verdict = merge_verdicts(segments, judged, self.verdict)
        self._held = None
        # Its text was emitted.
        self.verdict = replace(self.verdict, text=None) if self.verdict.text is not None else self.verdict
        return "".join(pieces)


def merge_verdicts(
    segments: Sequence[Segment], judged: Sequence[Verdict], so_far: Verdict = ALLOW
) -> tuple[list[str], Verdict]:
    """What may be emitted of `segments`, and the verdict on everything up to the first one that is blocked."""
    pieces: list[str] = []
    worst = so_far
    findings: list[Finding] = list(so_far.findings)
    for segment, verdict in zip(segments, judged, strict=False):  # behind a block none is judged
        findings += (
            replace(found, start=found.start + segment.start, end=found.end + segment.start)
            for found in verdict.findings
        )
        if verdict.severity > worst.severity:
            worst = verdict
        if verdict.blocked:
            break
        rewritten = verdict.action == "rewrite" and verdict.text is not None
        pieces.append(verdict.text if rewritten and verdict.text is not None else segment.text)
    if worst is so_far and len(findings) == len(so_far.findings):
        return pieces, so_far
    return pieces, replace(worst, findings=tuple(findings), text=None)


def _whole(segments: Sequence[Segment], judged: Sequence[Verdict]) -> Verdict:
    pieces, verdict = merge_verdicts(segments, judged)
    return replace(verdict, text="".join(pieces)) if verdict.action == "rewrite" else verdict
