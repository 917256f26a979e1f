"""`Stopping`: looks at every case as it is finished, and says when the answer is clear.

The intervals hold at every moment together (`statistics.ConfidenceSequence`), so looking often raises no false alarms.
"""

from __future__ import annotations

import importlib
import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from llmops_sdk.errors import ConfigurationError

if TYPE_CHECKING:
    from llmops_sdk.evaluation._cases import Case
    from llmops_sdk.evaluation._experiment.analysis import Analysis
    from llmops_sdk.evaluation._running.plan import MetricPlan, Plan

__all__ = ["AT_LEAST", "Stopping"]

AT_LEAST = 20
"""Clusters before which nothing is decided: fewer say too little of what was not asked."""

CaseScores = Mapping[str, Mapping[str, Sequence[float]]]
"""Label of a pipeline -> name of a score -> its values, one for each repeat that has one."""


class Stopping:
    """Whether an experiment may stop.

    It may when every primary score of every pipeline that is compared with the base differs from it for certain, or
    differs by less than its margin for certain. Certainty is shared among all scores and pipelines (Bonferroni).

    Args:
        plan: The experiment's.
        analysis: Level, margins, and which scores decide.

    Attributes:
        observed: Cases that were looked at, in whole clusters: what the analysis of the experiment takes.

    Raises:
        ConfigurationError: There is nothing to compare, or no metric has the name of a primary score.
    """

    def __init__(self, plan: Plan, analysis: Analysis) -> None:
        self._metrics = plan.metrics
        self._base = plan.base
        self._others = [label for label in plan.arms if label != plan.base]
        if not self._others or not plan.metrics:
            raise ConfigurationError("to stop when it is clear, give two pipelines at least, and one metric")
        self._primary = analysis.primary or (plan.metrics[0].name,)
        unknown = [name for name in self._primary if _metric_of(name, plan.metrics) is None]
        if unknown:
            raise ConfigurationError(
                f"`primary` has {unknown[0]!r}; the metrics are {', '.join(repr(one.name) for one in plan.metrics)}"
            )
        self._analysis = analysis
        self._statistics: Any = importlib.import_module("llmops_sdk.evaluation.statistics")
        self._sequences: dict[tuple[str, str], Any] = {}
        self._cluster: list[tuple[Case, CaseScores]] = []
        self._clusters = 0
        self._decided = False
        self.observed = 0

    @property
    def decided(self) -> bool:
        """Whether the answer is clear; once it is, it stays so."""
        return self._decided

    def observe(self, case: Case, scores: CaseScores) -> None:
        """Take a case with all its repeats; cases come in random order, those of a cluster one after another.

        Args:
            case: The case.
            scores: Its scores; what failed or does not apply is not among them.
        """
        if self._decided:
            return
        if self._cluster and (case.cluster is None or case.cluster != self._cluster[0][0].cluster):
            self.close()
        if not self._decided:
            self._cluster.append((case, scores))
            if case.cluster is None:
                self.close()

    def close(self) -> None:
        """Say that the cluster of the last case is complete: call it when there are no more cases."""
        if not self._cluster:
            return
        found: dict[tuple[str, str], list[float]] = {}
        for _, scores in self._cluster:
            for label in self._others:
                for name, difference in self._differences(scores, label):
                    found.setdefault((name, label), []).append(difference)
        for key, differences in found.items():
            self._sequence(key).observe(math.fsum(differences) / len(differences))
        self.observed += len(self._cluster)
        self._clusters += 1
        self._cluster = []
        self._decided = self._clusters >= AT_LEAST and self._clear()

    def _differences(self, scores: CaseScores, label: str) -> list[tuple[str, float]]:
        before, after = scores.get(self._base, {}), scores.get(label, {})
        found = []
        for name, values in after.items():
            metric = _metric_of(name, self._metrics)
            if metric is None or not values:
                continue
            if metric.pairwise:  # is a difference already
                found.append((name, _mean(values)))
            elif before.get(name):
                found.append((name, _mean(values) - _mean(before[name])))
        return found

    def _sequence(self, key: tuple[str, str]) -> Any:
        if key not in self._sequences:
            metric = _metric_of(key[0], self._metrics)
            low, high = (-math.inf, math.inf) if metric is None else metric.bounds
            if metric is None or not metric.pairwise:
                low, high = low - high, high - low
            if not math.isfinite(high - low):
                low, high = -math.inf, math.inf
            self._sequences[key] = self._statistics.ConfidenceSequence(level=self._analysis.level, low=low, high=high)
        return self._sequences[key]

    def _clear(self) -> bool:
        """Every score takes its share of the probability to err: a correction in the end (Holm) asks no more."""
        alpha = 1 - self._analysis.level
        shares = len(self._sequences) if self._analysis.correction else 1
        primary = [key for key in self._sequences if self._is_primary(key[0])]
        needed = {(one, label) for one in self._primary for label in self._others}
        seen = {(one, label) for name, label in primary for one in self._primary if _belongs(name, one)}
        return needed <= seen and all(
            one.p_value() * shares <= alpha or self._inside(key[0], one)
            for key in primary
            for one in (self._sequences[key],)
            if one.count
        )

    def _is_primary(self, name: str) -> bool:
        return any(_belongs(name, one) for one in self._primary)

    def _inside(self, name: str, sequence: Any) -> bool:
        metric = _metric_of(name, self._metrics)
        margin = self._analysis.margin(name, None if metric is None else metric.name)
        low, high = sequence.interval()
        return margin is not None and -margin < low and high < margin


def _metric_of(score: str, metrics: Sequence[MetricPlan]) -> MetricPlan | None:
    return next((one for one in metrics if _belongs(score, one.name)), None)


def _belongs(score: str, name: str) -> bool:
    """Whether a score is the one of this name, or one of the several that the metric of this name gives."""
    return score == name or score.startswith(f"{name}.")


def _mean(values: Sequence[float]) -> float:
    return math.fsum(values) / len(values)
