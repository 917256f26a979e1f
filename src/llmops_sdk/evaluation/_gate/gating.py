"""From an experiment to the verdict of a gate."""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from llmops_sdk.evaluation._experiment import Contrast, Experiment
from llmops_sdk.evaluation._gate.drops import GateVerdict, shown
from llmops_sdk.evaluation._gate.limits import Limits
from llmops_sdk.evaluation._gate.result import CaseDrop, GateCheck, GateResult
from llmops_sdk.evaluation.metrics import Metric

if TYPE_CHECKING:
    from llmops_sdk.evaluation._running.reading import Cell

__all__ = ["gated", "same"]

_SHOWN = 20
"""Cases and failures that are kept to be shown; the others are counted."""


def same(suite: str, base: str, candidate: str) -> GateResult:
    """Two pipelines that are the same: nothing can have dropped."""
    return GateResult(
        suite=suite,
        base=base,
        candidate=candidate,
        checks=(),
        cases=0,
        cells=0,
        failed=0,
        allowed_failures=0,
        failures=(),
        dropped=0,
        worst=(),
        experiment=None,
    )


def gated(
    suite: str, experiment: Experiment, metrics: Sequence[Metric], limits: Limits, base: str, candidate: str
) -> GateResult:
    """Judge an experiment of two pipelines."""
    checks = tuple(_checks(experiment, metrics, limits))
    broken = {(one.case, one.arm, one.repeat) for one in experiment.failures}
    cells = sum(one.planned for one in experiment.arms)
    pairwise = [one for one in metrics if one.pairwise]
    pairs = {one.score for one in checks if any(_is_of(one.score, metric) for metric in pairwise)}
    dropped, worst = _dropped(experiment, checks, pairs, base, candidate)
    return GateResult(
        suite=suite,
        base=base,
        candidate=candidate,
        checks=checks,
        cases=experiment.cases,
        cells=cells,
        failed=len(broken) + cells - sum(one.cells for one in experiment.arms),
        allowed_failures=limits.failures_of(cells),
        failures=tuple(itertools.islice(experiment.failures, _SHOWN)),
        dropped=dropped,
        worst=worst,
        experiment=experiment,
    )


def _checks(experiment: Experiment, metrics: Sequence[Metric], limits: Limits) -> Iterator[GateCheck]:
    for metric in metrics:
        found = [one for one in experiment.contrasts if _is_of(one.score, metric)]
        for contrast in found:
            yield _check(contrast, metric, limits)
        if not found:  # each of its cells failed
            limit = limits.for_score(metric.name, metric)
            verdict: GateVerdict = "reported" if limit is None else "failed"
            yield GateCheck(score=metric.name, verdict=verdict, limit=limit, shown=None, contrast=None)


def _is_of(score: str, metric: Metric) -> bool:
    return score == metric.name or score.startswith(f"{metric.name}.")


def _check(contrast: Contrast, metric: Metric, limits: Limits) -> GateCheck:
    limit = limits.for_score(contrast.score, metric)
    found = contrast.comparison
    if limit is None:
        return GateCheck(score=contrast.score, verdict="reported", limit=None, shown=None, contrast=contrast)
    if found is None:
        return GateCheck(score=contrast.score, verdict="failed", limit=limit, shown=None, contrast=contrast)
    said = shown(found, limit, pairwise=metric.pairwise)
    return GateCheck(score=contrast.score, verdict=said.verdict, limit=limit, shown=said, contrast=contrast)


def _dropped(
    experiment: Experiment, checks: Sequence[GateCheck], pairs: Collection[str], base: str, candidate: str
) -> tuple[int, tuple[CaseDrop, ...]]:
    """How many cases became worse by a score that is judged, and the worst of them."""
    scales = {
        one.score: (1 if found.higher_is_better else -1, abs(found.base) or 1.0)
        for one in checks
        if one.limit is not None and one.contrast is not None and (found := one.contrast.comparison) is not None
    }
    number, worst = 0, list[tuple[float, int, str, dict[str, tuple[float, float]]]]()
    for position, cells in itertools.groupby(experiment.cells(), key=lambda one: one.position):
        group = list(cells)
        before, after = (_means([one for one in group if one.arm == label]) for label in (base, candidate))
        before |= dict.fromkeys(pairs, 0.0)  # scores of two answers are said against the base
        fell = {
            score: (before[score], after[score])
            for score, (sign, _) in scales.items()
            if score in before and score in after and sign * (before[score] - after[score]) > 0
        }
        if fell:
            number += 1
            size = max(abs(old - new) / scales[score][1] for score, (old, new) in fell.items())
            (heapq.heappush if len(worst) < _SHOWN else heapq.heappushpop)(
                worst, (size, -position, group[0].case, fell)
            )
    ordered = sorted(worst, reverse=True)
    return number, tuple(_case_drop(experiment, case, fell) for _, _, case, fell in ordered)


def _means(cells: Sequence[Cell]) -> dict[str, float]:
    values: dict[str, list[float]] = {}
    for cell in cells:
        for one in cell.scores:
            if one.score.value is not None:
                values.setdefault(one.name, []).append(one.score.value)
    return {name: sum(found) / len(found) for name, found in values.items()}


def _case_drop(experiment: Experiment, case: str, fell: Mapping[str, tuple[float, float]]) -> CaseDrop:
    answers = experiment.case(case)
    said = {label: cells[0].error or cells[0].text for label, cells in answers.cells.items() if cells}
    return CaseDrop(case=answers.case, scores=fell, answers=said)
