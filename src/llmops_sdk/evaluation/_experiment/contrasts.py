"""Contrasts: each pipeline against the base, by each score."""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from llmops_sdk.evaluation._experiment.words import verdict

if TYPE_CHECKING:
    from llmops_sdk.evaluation._experiment.analysis import Analysis
    from llmops_sdk.evaluation._experiment.columns import Columns
    from llmops_sdk.evaluation._running.plan import Plan
    from llmops_sdk.evaluation.statistics import Comparison

__all__ = ["Contrast", "contrasts"]


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

    def __str__(self) -> str:
        return verdict(self)


def contrasts(columns: Columns, plan: Plan, analysis: Analysis) -> tuple[Contrast, ...]:
    """Each pipeline against the base, by each score; p-values are corrected for their number."""
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
    clusters = columns.cluster_of()
    for name, metric in columns.names.items():
        base = {} if metric.pairwise else columns.scores(name, plan.base).by_case()
        for label in plan.arms:
            if label == plan.base:
                continue
            new = columns.scores(name, label).by_case()
            if metric.pairwise:
                base = {position: [0.0] * len(values) for position, values in new.items()}
            comparison = None
            if base.keys() & new.keys():
                comparison = statistics.compare(
                    base,
                    new,
                    clusters=clusters,
                    margin=analysis.margin(name, metric.name),
                    higher_is_better=metric.higher_is_better,
                    level=analysis.level,
                    power=analysis.power,
                )
            arms = (label,) if metric.pairwise else (plan.base, label)
            yield Contrast(
                score=name,
                base=plan.base,
                new=label,
                comparison=comparison,
                unit=metric.unit,
                bounds=metric.bounds,
                cells=columns.planned * len(arms),
                failed=sum(columns.failed(name, arm) for arm in arms),
                inapplicable=sum(columns.scores(name, arm).inapplicable for arm in arms),
                missing=sum(columns.missing(name, arm) for arm in arms),
            )
