"""Contrasts: each pipeline against the base, by each score."""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from llmops_sdk.evaluation._experiment.words import verdict
from llmops_sdk.evaluation._judges.calibration import Calibration

if TYPE_CHECKING:
    from llmops_sdk.evaluation._experiment.analysis import Analysis
    from llmops_sdk.evaluation._experiment.columns import Columns, Scores
    from llmops_sdk.evaluation._running.plan import MetricPlan, Plan
    from llmops_sdk.evaluation.statistics import Comparison, Corrected

__all__ = ["Contrast", "contrasts", "usable_calibration"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Contrast:
    """One pipeline against the base, by one score. `print` it for the verdict in a sentence.

    Attributes:
        score: Name of the score.
        base: Label of the base.
        new: Label of the other one.
        comparison: What the statistics say; `None` where no case has both scores. Of a metric that compares two answers
            the base's score is 0, and the new one's from -1 to 1.
        unit: Unit of the score.
        bounds: Smallest and largest possible score.
        cells: Cells that the comparison could have had.
        failed: Those that have no score because the run or the metric failed.
        inapplicable: Those to which the metric does not apply.
        missing: Those without a score for no known reason: not run yet, or the metric gave none.
        corrected: The difference as people would have judged it, by a calibrated judge; `None` for other metrics.
    """

    score: str
    base: str
    new: str
    comparison: Comparison | None
    unit: str
    bounds: tuple[float, float]
    cells: int
    failed: int
    inapplicable: int
    missing: int
    corrected: Corrected | None = None

    def __str__(self) -> str:
        return verdict(self)


def contrasts(columns: Columns, plan: Plan, analysis: Analysis) -> tuple[Contrast, ...]:
    """Each pipeline against the base, by each score; p-values are corrected for their number."""
    if len(plan.arms) < 2 or not columns.names:
        return ()  # nothing to compare needs no library
    statistics: Any = importlib.import_module("llmops_sdk.evaluation.statistics")
    found = list(_uncorrected(columns, plan, analysis, statistics))
    p_values = [one.comparison.p_value for one in found if one.comparison is not None]
    if analysis.correction is not None:
        p_values = statistics.adjusted(p_values, method=analysis.correction)
    corrected = iter(p_values)
    return tuple(
        one if one.comparison is None else replace(one, comparison=one.comparison.with_p_value(next(corrected)))
        for one in found
    )


def _uncorrected(columns: Columns, plan: Plan, analysis: Analysis, statistics: Any) -> Iterator[Contrast]:
    labels = [label for label in plan.arms if label != plan.base]
    comparisons = len(columns.names) * len(labels) if analysis.correction is not None else 1
    for name, metric in columns.names.items():
        for label in labels:
            arms = (label,) if metric.pairwise else (plan.base, label)
            new = columns.scores(name, label)
            base = new.of_zeros() if metric.pairwise else columns.scores(name, plan.base)
            options = {
                "bounds": metric.bounds,
                "margin": analysis.margin(name, metric.name),
                "higher_is_better": metric.higher_is_better,
                "level": analysis.level,
                "power": analysis.power,
                "comparisons": comparisons,
            }
            compared = _compared(base, new, columns, statistics, options, sequential=analysis.sequential)
            yield Contrast(
                score=name,
                base=plan.base,
                new=label,
                comparison=compared,
                unit=metric.unit,
                bounds=metric.bounds,
                cells=columns.planned * len(arms),
                failed=sum(columns.failed(name, arm) for arm in arms),
                inapplicable=sum(columns.scores(name, arm).inapplicable() for arm in arms),
                missing=sum(columns.missing(name, arm) for arm in arms),
                corrected=_corrected(compared, metric),
            )


def _corrected(comparison: Comparison | None, metric: MetricPlan) -> Corrected | None:
    """What people would have said; `None` where nothing is known of the judge."""
    calibration = usable_calibration(metric)
    if calibration is None or comparison is None:
        return None
    return calibration.comparison(comparison, pairwise=metric.pairwise)


def usable_calibration(metric: MetricPlan) -> Calibration | None:
    """What is known of a judge; `None` where nothing is, or where it is no better than a coin."""
    if metric.calibration is None:
        return None
    calibration = Calibration.from_json(metric.calibration)
    return None if calibration.refusal is not None else calibration


def _compared(
    base: Scores, new: Scores, columns: Columns, statistics: Any, options: dict[str, Any], *, sequential: bool
) -> Comparison | None:
    """What the statistics say; `None` where no case has both scores."""
    if not base.shares_a_case_with(new):
        return None
    clusters = columns.clusters
    if sequential:
        found: Comparison = statistics.compare_sequentially(
            base.by_case(),
            new.by_case(),
            columns.order,
            clusters=None if clusters is None else dict(enumerate(clusters)),
            **options,
        )
        return found
    compared: Comparison = statistics.compare(base.shaped, new.shaped, clusters=clusters, **options)
    return compared
