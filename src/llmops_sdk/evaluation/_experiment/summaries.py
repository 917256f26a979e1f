"""Summaries: what each pipeline scored, by itself, and what it took."""

from __future__ import annotations

import importlib
import math
from array import array
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING, Any, TypeAlias

from llmops_sdk.errors import ConfigurationError
from llmops_sdk.evaluation._experiment.columns import Columns, total_usd
from llmops_sdk.evaluation._experiment.contrasts import usable_calibration
from llmops_sdk.evaluation._experiment.tables import Table
from llmops_sdk.evaluation._experiment.words import level, people_say
from llmops_sdk.evaluation.metrics import ConfusionMatrix, summary_of

if TYPE_CHECKING:
    from llmops_sdk.evaluation._experiment.analysis import Analysis
    from llmops_sdk.evaluation._running.plan import MetricPlan, Plan
    from llmops_sdk.evaluation._running.reading import Reading
    from llmops_sdk.evaluation.statistics import Corrected

__all__ = [
    "ArmSummary",
    "ScoreSummary",
    "Together",
    "arm_summaries",
    "in_short",
    "score_summaries",
    "score_table",
    "summed",
]

Together: TypeAlias = ConfusionMatrix | float
"""What the scores of a pipeline say together beside their mean."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ScoreSummary:
    """What one pipeline scored, by itself.

    Attributes:
        score: Name of the score.
        arm: Label of the pipeline.
        group: The tag or the cluster; `None` for all cases.
        mean: Mean over the cases, each of which counts once; `nan` where there is no score.
        low: Lower end of its confidence interval.
        high: Upper end.
        cases: Cases that have a score.
        scores: Number of the scores.
        failed: Cells without a score because the run or the metric failed.
        inapplicable: Cells to which the metric does not apply.
        missing: Cells without a score for no known reason: not run yet, or the metric gave none.
        corrected: The mean as people would have judged it, by a calibrated judge; `None` for other metrics.
    """

    score: str
    arm: str
    group: str | None
    mean: float
    low: float
    high: float
    cases: int
    scores: int
    failed: int
    inapplicable: int
    missing: int
    corrected: Corrected | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ArmSummary:
    """What the runs of one pipeline took.

    Attributes:
        arm: Its label.
        cells: Runs that there are.
        planned: Runs that there should be.
        failed: Those that failed.
        blocked: Those that a guard blocked: their answer is the refusal.
        cost_usd: What all of them cost; `None` where the cost of one is not known.
        known_usd: What is known of it.
        unpriced: Runs whose cost is not known.
        p50_s: Half of the runs that did not fail took at most so many seconds; `nan` without one.
        p95_s: 95 of 100 did.
        p99_s: 99 of 100 did.
    """

    arm: str
    cells: int
    planned: int
    failed: int
    blocked: int
    cost_usd: Decimal | None
    known_usd: Decimal
    unpriced: int
    p50_s: float
    p95_s: float
    p99_s: float


def arm_summaries(columns: Columns) -> tuple[ArmSummary, ...]:
    """What the runs of each pipeline took."""
    found = []
    for label, runs in columns.runs.items():
        seconds = sorted(runs.seconds)
        p50, p95, p99 = (_quantile(seconds, share) for share in (0.5, 0.95, 0.99))
        found.append(
            ArmSummary(
                arm=label,
                cells=runs.cells,
                planned=columns.planned,
                failed=len(runs.failed),
                blocked=runs.blocked,
                cost_usd=total_usd(runs.known_usd, runs.unpriced),
                known_usd=runs.known_usd,
                unpriced=runs.unpriced,
                p50_s=p50,
                p95_s=p95,
                p99_s=p99,
            )
        )
    return tuple(found)


def score_summaries(
    columns: Columns, plan: Plan, analysis: Analysis, score: str, by: str | None = None
) -> tuple[ScoreSummary, ...]:
    """What each pipeline scored, on all cases or by group."""
    if by not in (None, "tag", "cluster"):
        raise ConfigurationError(f'`by` is "tag", "cluster" or None, not {by!r}')
    metric = columns.names[score]
    arms = [label for label in plan.arms if not metric.pairwise or label != plan.base]
    if by is None:
        return tuple(_whole(columns, analysis, score, arm) for arm in arms)
    return tuple(
        _summary(columns, analysis, score, arm, sorted(positions), group)
        for group, positions in columns.groups(by)
        for arm in arms
    )


def score_table(
    columns: Columns, plan: Plan, analysis: Analysis, score: str, by: str | None, together: Mapping[str, Together]
) -> ScoreTable:
    """The same, as a table; `together` is what the scores say beside their mean, by pipeline."""
    metric = columns.names[score]
    found = score_summaries(columns, plan, analysis, score, by)
    more = {arm: in_short(one) for arm, one in together.items()}
    return ScoreTable(score, found, by=by, unit=metric.unit, bounds=metric.bounds, level=analysis.level, together=more)


def summed(reading: Reading, plan: Plan, metric: MetricPlan, score: str) -> dict[str, Together]:
    """Label -> what the scores of a pipeline say together; empty where that is no more than their mean."""
    if not metric.kind:
        return {}
    found = {arm: summary_of(metric.kind, reading.said(score, arm)) for arm in plan.arms}
    return {arm: one for arm, one in found.items() if one is not None}


def in_short(together: Together) -> str:
    """For a cell of a table."""
    if isinstance(together, ConfusionMatrix):
        kappa = "-" if together.kappa is None else f"{together.kappa:.3f}"
        return f"macro F1 {together.macro_f1:.3f}, kappa {kappa}"
    return f"corpus {together:.2f}"


class ScoreTable(Table, Sequence[ScoreSummary]):
    """Summaries by one score: a sequence that shows itself as a table."""

    def __init__(
        self,
        score: str,
        summaries: Sequence[ScoreSummary],
        *,
        by: str | None,
        unit: str,
        bounds: tuple[float, float],
        level: float,
        together: Mapping[str, str],
    ) -> None:
        self._summaries = tuple(summaries)
        head = ["pipeline", "mean", f"{level * 100:g} % interval", "cases", "failed", "not applicable", "missing"]
        if by is not None:
            head.insert(0, by)
        judged = any(one.corrected is not None for one in self._summaries)
        if judged:
            head.append("as people would judge")
        self.together = together
        rows = [_row(one, bounds, unit, judged=judged) for one in self._summaries]
        if together:
            head.append("together")
            rows = [[*row, together.get(one.arm, "-")] for row, one in zip(rows, self._summaries, strict=True)]
        super().__init__(score, head, rows)

    def __getitem__(self, index: Any) -> Any:
        return self._summaries[index]

    def __len__(self) -> int:
        return len(self._summaries)

    def __iter__(self) -> Iterator[ScoreSummary]:
        return iter(self._summaries)


def _row(one: ScoreSummary, bounds: tuple[float, float], unit: str, *, judged: bool) -> list[str]:
    known = math.isfinite(one.low) and math.isfinite(one.high)
    interval = f"{level(one.low, bounds, unit)} to {level(one.high, bounds, unit)}" if known else "-"
    counts = [f"{number:,}" for number in (one.cases, one.failed, one.inapplicable, one.missing)]
    group = [] if one.group is None else [one.group]
    people = [people_say(one.corrected, bounds, unit) or "-"] if judged else []
    return [*group, one.arm, level(one.mean, bounds, unit), interval, *counts, *people]


def _whole(columns: Columns, analysis: Analysis, score: str, arm: str) -> ScoreSummary:
    return _summary(columns, analysis, score, arm, None, None)


def _summary(
    columns: Columns, analysis: Analysis, score: str, arm: str, positions: Sequence[int] | None, group: str | None
) -> ScoreSummary:
    scores = columns.scores(score, arm)
    mean = low = high = math.nan
    cases = 0
    values, belongs = array("d"), array("q")
    for position, found in scores.by_case(positions).items():
        values.extend(found)
        belongs.extend([position] * len(found))
    if values:
        statistics: Any = importlib.import_module("llmops_sdk.evaluation.statistics")
        clusters = columns.clusters
        summed = statistics.mean(
            values,
            belongs,
            clusters=None if clusters is None else array("q", (clusters[one] for one in belongs)),
            level=analysis.level,
            bounds=columns.names[score].bounds,
        )
        mean, low, high, cases = summed.mean, summed.low, summed.high, summed.cases
    return ScoreSummary(
        score=score,
        arm=arm,
        group=group,
        mean=mean,
        low=low,
        high=high,
        cases=cases,
        scores=len(values),
        failed=columns.failed(score, arm, positions),
        inapplicable=scores.inapplicable(positions),
        missing=columns.missing(score, arm, positions),
        corrected=_corrected(columns, analysis, score, scores.by_case(positions)),
    )


def _corrected(columns: Columns, analysis: Analysis, score: str, found: dict[int, list[float]]) -> Corrected | None:
    """The mean as people would have judged it."""
    calibration = usable_calibration(columns.names[score])
    if calibration is None or not found:
        return None
    clusters = None if columns.clusters is None else dict(enumerate(columns.clusters))
    return calibration.mean(found, clusters=clusters, level=analysis.level)


def _quantile(ordered: Sequence[float], share: float) -> float:
    """Between the two nearest, as numpy's default has it."""
    if not ordered:
        return math.nan
    place = share * (len(ordered) - 1)
    below = math.floor(place)
    above = min(below + 1, len(ordered) - 1)
    return ordered[below] + (ordered[above] - ordered[below]) * (place - below)
