"""From findings to what may be emitted: the one place where it is decided what findings cover.

Findings are taken by position, the longest first, then by rank. One that lies in what an earlier one covers is dropped;
one that reaches beyond it extends what is covered. Nothing that is covered is ever emitted. A blocking guard decides at
the first finding.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Literal, NamedTuple, TypeAlias

from llmops_sdk.verdicts import ALLOW, Finding, Verdict

__all__ = ["Cover", "Found", "PatternAction", "found_at"]

PatternAction: TypeAlias = Literal["rewrite", "block", "flag"]


class Found(NamedTuple):
    """A finding; sorted by where it begins, the longest first, then by its rank. Places are those of the whole text."""

    start: int
    longest_first: int
    rank: int
    kind: str
    end: int
    score: float = 1.0


def found_at(start: int, end: int, rank: int, kind: str, score: float = 1.0) -> Found:
    """The finding of `text[start:end]`."""
    return Found(start, -end, rank, kind, end, score)


class Cover:
    """What the findings of one text cover, and what is left of it.

    Args:
        action: What a finding means.
        replace: What stands in place of a finding, given what is written there and whether it extends the one before;
            `None` leaves it, and then it is none. Asked only where findings are rewritten.
        origin: Where the text came from.
        rule_of: Name of the rule that found it; its kind unless given.

    Attributes:
        waiting: Findings that are known, but something that begins before may still come.
        end: End, in the text, of what findings cover.
        blocks: Whether a finding has blocked.
    """

    __slots__ = ("_action", "_findings", "_origin", "_replace", "_rule_of", "_verdict", "blocks", "end", "waiting")

    def __init__(
        self,
        action: PatternAction,
        replace: Callable[[Found, str, bool], str | None],
        *,
        origin: str = "",
        rule_of: Callable[[Found], str] | None = None,
    ) -> None:
        self._action: PatternAction = action
        self._replace = replace
        self._origin = origin
        self._rule_of = rule_of
        self._findings: list[Finding] = []
        self._verdict = ALLOW
        self.waiting: list[Found] = []
        self.end = 0
        self.blocks = False

    @property
    def verdict(self) -> Verdict:
        """The verdict so far. It holds no text."""
        if len(self._verdict.findings) != len(self._findings):
            kinds = ", ".join(sorted({finding.kind for finding in self._findings}))
            self._verdict = Verdict(action=self._action, findings=tuple(self._findings), reason=f"found {kinds}")
        return self._verdict

    def add(self, found: Iterable[Found]) -> None:
        """Take further findings."""
        self.waiting += found

    def decide(self, buffer: str, start: int, stop: int, offset: int) -> str:
        """What may be emitted of `buffer[start:stop]`, where all findings that begin there are known.

        Args:
            buffer: A part of the text, with all that the findings cover.
            start: Up to where, in the buffer, it was emitted or is covered.
            stop: Up to where it is decided now.
            offset: Where the buffer begins in the text.
        """
        limit = stop + offset
        position = start + offset
        pieces: list[str] = []
        self.waiting.sort()
        ready = 0
        for item in self.waiting:
            if item.start >= limit:
                break
            ready += 1
            if item.end <= self.end:
                continue
            begin = max(item.start, self.end)
            replacement = ""
            if self._action == "rewrite":
                wanted = self._replace(item, buffer[begin - offset : item.end - offset], item.start < self.end)
                if wanted is None:
                    continue
                replacement = wanted
            self._record(item)
            resumed = max(position, self.end)
            if resumed < begin:
                pieces.append(buffer[resumed - offset : begin - offset])
            position = begin
            if self._action == "block":
                self.blocks = True
                return "".join(pieces)
            pieces.append(replacement)
            self.end = item.end
        del self.waiting[:ready]
        resumed = max(position, self.end)
        if resumed < limit:
            pieces.append(buffer[resumed - offset : stop])
        return "".join(pieces)

    def _record(self, item: Found) -> None:
        rule = item.kind if self._rule_of is None else self._rule_of(item)
        self._findings.append(
            Finding(kind=item.kind, start=item.start, end=item.end, score=item.score, rule=rule, origin=self._origin)
        )
