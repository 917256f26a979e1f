"""How quick an engine is beside the others of its router."""

from __future__ import annotations

import math

__all__ = ["Pace", "Usual"]

_ANSWERS = 50  # of one engine, after which the older ones count for little
_DOUBT = 5.0  # answers as quick as is usual, with which each engine begins
_MOST = 4.0
_SOFTENED = 0.7
_FAILURES = 20
_FORGET_S = 300.0
_ANSWERS_OF_ALL = 200


class Usual:
    """What answers take in the mean, over all engines of a router.

    Attributes:
        first_s: Seconds to the first chunk of a stream; 0.0 while unknown.
        whole_s: Seconds to the end of a whole answer; 0.0 while unknown.
        tokens: Tokens of a whole answer, of those whose tokens were counted; 0.0 while unknown.
    """

    __slots__ = ("_counted", "_firsts", "_wholes", "first_s", "tokens", "whole_s")

    def __init__(self) -> None:
        self.first_s = self.whole_s = self.tokens = 0.0
        self._firsts = self._wholes = self._counted = 0

    def first_chunk(self, took: float) -> None:
        """The first chunk of a stream came."""
        if self._firsts < _ANSWERS_OF_ALL:
            self._firsts += 1
        self.first_s += (took - self.first_s) / self._firsts

    def whole(self, took: float) -> None:
        """A whole answer came."""
        if self._wholes < _ANSWERS_OF_ALL:
            self._wholes += 1
        self.whole_s += (took - self.whole_s) / self._wholes

    def length(self, tokens: int) -> float:
        """The length of an answer, as a multiple of the mean, which takes it in."""
        if self._counted < _ANSWERS_OF_ALL:
            self._counted += 1
        self.tokens += (tokens - self.tokens) / self._counted
        return tokens / self.tokens


class Pace:
    """How quick an engine is, measured by what is usual among the engines of its router.

    Times themselves say little: that of a whole answer is mostly its length, and the first chunk of a stream comes long
    before the end of a whole answer. So each time counts as a multiple of the mean of its kind, and a whole answer is
    due in proportion to its tokens, where they were counted. One that nobody has asked is taken to be as quick as the
    others. How each figure here was chosen: `benchmarks/results/simulation.md`.

    Attributes:
        usual: What is usual.
        average_s: Slow moving average of seconds to the first sign of an answer (the first chunk of a stream, or all of
            an answer); 0.0 while unknown.
        slowness: 1.0: as quick as is usual; 2.0: to be asked half as much; `>= 0.01`, to two places, so that hardly
            different engines are equals.
    """

    __slots__ = ("_answers", "_due", "_failing", "_late", "average_s", "slowness", "usual")

    def __init__(self) -> None:
        self.usual = Usual()
        self.average_s = 0.0
        self.slowness = 1.0
        self._answers = 0
        # Both in answers of usual length: the time that they took, and that which they would usually have taken.
        self._late = self._due = 0.0
        self._failing = 0.0

    def answered(self, took: float, tokens: int | None = None) -> None:
        """A whole answer came after `took` seconds; `tokens` is its length, where somebody counted."""
        usual = self.usual
        usual.whole(took)
        due = usual.length(tokens) if tokens else 1.0
        self._succeeded(took)
        self._count(took / usual.whole_s if usual.whole_s > 0 else due, due)

    def heard(self, took: float) -> None:
        """The first chunk of a stream came after `took` seconds."""
        usual = self.usual
        usual.first_chunk(took)
        self._succeeded(took)
        self._count(took / usual.first_s if usual.first_s > 0 else 1.0, 1.0)

    def gave_up(self, took: float, *, streamed: bool, failed: bool) -> None:
        """No sign came within `took` seconds. `failed`: that was the engine's fault, and not the caller's will.

        A quick failure is no good news; a late one says that an answer would have taken longer than this.
        """
        if failed:
            self._failing += (1.0 - self._failing) / _FAILURES
        mean = self.usual.first_s if streamed else self.usual.whole_s
        if 0 < mean < took:
            self._count(took / mean, 1.0)
        else:
            self._weigh()

    def forget(self, seconds: float) -> None:
        """Let what was learnt fade for so many seconds, so that one that was slow is tried again."""
        if self._due or self._failing:
            kept = math.exp(-seconds / _FORGET_S)
            self._late *= kept
            self._due *= kept
            self._failing *= kept
            self._weigh()

    def _succeeded(self, took: float) -> None:
        if self._answers < _ANSWERS:
            self._answers += 1
        self.average_s += (took - self.average_s) / self._answers
        if self._failing:
            self._failing -= self._failing / _FAILURES

    def _count(self, late: float, due: float) -> None:
        most = due * _MOST  # one that straggles says little of the next
        self._late += min(most, late) - self._late / _ANSWERS
        self._due += due - self._due / _ANSWERS
        self._weigh()

    def _weigh(self) -> None:
        # Softened, since requests that queue at the quick engine wait longer than the slow one takes. An engine that
        # fails answers fewer of those that it is given: it looks idle, and would be given all the more.
        slowness = ((self._late + _DOUBT) / (self._due + _DOUBT)) ** _SOFTENED
        self.slowness = max(round(slowness / (1.0 - self._failing), 2), 0.01)
