"""What a gate found: a verdict for each score, in words, and the cases that became worse."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from llmops_sdk.evaluation._experiment.words import counted, difference, level
from llmops_sdk.evaluation._gate.drops import GateVerdict, Limit, Shown

if TYPE_CHECKING:
    from llmops_sdk.evaluation._cases import Case
    from llmops_sdk.evaluation._experiment import Contrast, Experiment
    from llmops_sdk.evaluation._running.reading import Failure

__all__ = ["CaseDrop", "GateCheck", "GateResult"]

_SAID = {"passed": "passed", "failed": "failed", "unsure": "cannot tell", "reported": "not judged"}


@dataclass(frozen=True, slots=True, kw_only=True)
class GateCheck:
    """One score, judged. `print` it for the verdict in a sentence.

    Attributes:
        score: Its name.
        verdict: `"passed"`, `"failed"`, `"unsure"`, or `"reported"` where it has no limit.
        limit: What it may drop by; `None` where it has no limit.
        shown: What the comparison shows of the drop; `None` where there is none.
        contrast: The comparison with all that took no part in it; `None` where the metric has no score at all.
    """

    score: str
    verdict: GateVerdict
    limit: Limit | None
    shown: Shown | None
    contrast: Contrast | None

    @property
    def said(self) -> str:
        """The verdict as people read it: `"cannot tell"`."""
        return _SAID[self.verdict]

    @property
    def before(self) -> str:
        """Mean score of the base, with its unit."""
        return self._level("base")

    @property
    def after(self) -> str:
        """Mean score of the candidate."""
        return self._level("new")

    @property
    def change(self) -> str:
        """How much the score has changed, with its sign and its unit."""
        found = self.contrast
        if found is None or found.comparison is None:
            return "-"
        return difference(found.comparison.difference, found.bounds, found.unit)

    @property
    def interval(self) -> str:
        """Between which changes the true one lies."""
        found = self.contrast
        if found is None or found.comparison is None:
            return "-"
        low, high = found.comparison.low, found.comparison.high
        if self.shown is not None:
            up = found.comparison.higher_is_better
            low, high = (-self.shown.most, -self.shown.least) if up else (self.shown.least, self.shown.most)
        return " to ".join(difference(one, found.bounds, found.unit, bare=True) for one in (low, high))

    @property
    def allowed(self) -> str:
        """What it may drop by, or rise by where less is better."""
        if self.limit is None:
            return "any"
        if self.shown is None or self.contrast is None:
            return str(self.limit)
        said = difference(self.shown.allowed, self.contrast.bounds, self.contrast.unit).lstrip("+")
        return f"{said} ({self.limit})" if self.limit.relative else said

    def _level(self, side: str) -> str:
        found = self.contrast
        if found is None or found.comparison is None:
            return "-"
        return level(getattr(found.comparison, side), found.bounds, found.unit)

    def __str__(self) -> str:
        found = self.contrast
        if found is None or found.comparison is None:
            why = "it was never scored" if found is None else _why_not(found)
            return f"{self.said}: {self.score} cannot be compared: {why}"
        said = f"{self.said}: {self.score} {self.after} after {self.before}: {self.change} (interval {self.interval})"
        if self.limit is not None:
            said += f"; may {'drop' if found.comparison.higher_is_better else 'rise'} by {self.allowed}"
        if self.verdict == "unsure" and self.shown is not None:
            more = self.shown.more
            said += f"; needs about {counted(more, 'more case')}" if more else "; more cases would not tell"
        left = found.comparison.unpaired
        return said + (f"; {counted(left, 'case')} without a pair left out" if left else "")


def _why_not(found: Contrast) -> str:
    parts = (
        (found.failed, "failed"),
        (found.missing, "missing"),
        (found.inapplicable, "to which it does not apply"),
    )
    said = ", ".join(f"{number:,} {what}" for number, what in parts if number)
    return f"no case has both scores ({said} of {counted(found.cells, 'cell')})"


@dataclass(frozen=True, slots=True, kw_only=True)
class CaseDrop:
    """A case whose scores became worse.

    Attributes:
        case: The case.
        scores: Name of a score -> its means before and after.
        answers: Label -> the first answer to it, or the error.
    """

    case: Case
    scores: Mapping[str, tuple[float, float]]
    answers: Mapping[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class GateResult:
    """What a gate found. `print` it for the verdict in words; it is true where it passed.

    Attributes:
        suite: Name of the suite.
        base: Label of what it was compared with.
        candidate: Label of what was judged.
        checks: A verdict for each score.
        cases: Number of the cases.
        cells: Runs that there should be: cases, times repeats, times two.
        failed: Cells that failed, by their run or by a metric, or that were not run.
        allowed_failures: How many of them may.
        failures: The first of the failures, with their errors.
        dropped: Number of the cases of which a judged score became worse.
        worst: The worst of them.
        experiment: What was run; `None` where the two pipelines are the same, and nothing had to be.
    """

    suite: str
    base: str
    candidate: str
    checks: tuple[GateCheck, ...]
    cases: int
    cells: int
    failed: int
    allowed_failures: int
    failures: tuple[Failure, ...]
    dropped: int
    worst: tuple[CaseDrop, ...]
    experiment: Experiment | None

    @property
    def verdict(self) -> GateVerdict:
        """`"failed"` where one score failed or too many cells did, else `"unsure"` where one is, else `"passed"`."""
        verdicts = {one.verdict for one in self.checks}
        if "failed" in verdicts or self.too_many_failures:
            return "failed"
        return "unsure" if "unsure" in verdicts else "passed"

    @property
    def passed(self) -> bool:
        """Whether all of it passed."""
        return self.verdict == "passed"

    @property
    def too_many_failures(self) -> bool:
        """Whether more cells failed than may."""
        return self.failed > self.allowed_failures

    @property
    def same(self) -> bool:
        """Whether the two pipelines are the same, so that nothing was run."""
        return self.experiment is None

    @property
    def summary(self) -> str:
        """The verdict in a line."""
        said = f"{_SAID[self.verdict]}: {self.suite}, {self.candidate} against {self.base}"
        if self.same:
            return f"{said}: the pipeline is the same at both, so nothing was run"
        return f"{said}, {counted(self.cases, 'case')}"

    @property
    def cells_said(self) -> str:
        """How many cells failed, and how many may."""
        return f"{self.failed:,} of {counted(self.cells, 'cell')} failed or were not run; {self.allowed_failures:,} may"

    def to_dict(self) -> dict[str, Any]:
        """As plain values for JSON; numbers in the scores' own units, drops positive where the candidate is worse."""
        return {
            "suite": self.suite,
            "verdict": self.verdict,
            "base": self.base,
            "candidate": self.candidate,
            "same": self.same,
            "experiment": None if self.experiment is None else self.experiment.id,
            "cases": self.cases,
            "cells": self.cells,
            "failed": self.failed,
            "allowed_failures": self.allowed_failures,
            "dropped_cases": self.dropped,
            "checks": [_check_to_dict(one) for one in self.checks],
        }

    def __bool__(self) -> bool:
        return self.passed

    def __str__(self) -> str:
        lines = [self.summary, *map(str, self.checks)]
        if self.failed:
            lines.append(f"{'failed' if self.too_many_failures else 'passed'}: {self.cells_said}")
        return "\n".join(lines)


def _check_to_dict(one: GateCheck) -> dict[str, Any]:
    said: dict[str, Any] = {
        "score": one.score,
        "verdict": one.verdict,
        "max_drop": None if one.limit is None else str(one.limit),
        "words": str(one),
    }
    if one.contrast is not None and one.contrast.comparison is not None:
        found = one.contrast.comparison
        said |= {"base": found.base, "candidate": found.new, "cases": found.cases, "unpaired": found.unpaired}
        said |= {"level": found.level, "higher_is_better": found.higher_is_better}
    if one.shown is not None:
        shown = one.shown
        said |= {"drop": shown.drop, "least_drop": _finite(shown.least), "most_drop": _finite(shown.most)}
        said |= {"allowed_drop": shown.allowed, "more_cases": shown.more}
    return said


def _finite(number: float) -> float | None:
    return number if abs(number) != float("inf") else None
