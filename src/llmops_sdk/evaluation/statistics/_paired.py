"""Scores of two pipelines, paired by case and gathered by cluster."""

from __future__ import annotations

import math
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from llmops_sdk.errors import ConfigurationError

__all__ = ["Floats", "Paired", "Scores", "paired"]

Floats: TypeAlias = NDArray[np.float64]
Scores: TypeAlias = "Mapping[Any, float | Sequence[float]]"
"""Case -> its score, or its scores where it was run several times."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Paired:
    """What two pipelines scored on the cases that both have.

    Attributes:
        differences: New minus base for each case, repeats averaged; shape `(cases,)`.
        base: Mean of the base for each case, shape `(cases,)`.
        within: Variance that repeats alone give a difference, averaged over the cases; `nan` without repeats.
        repeats: Harmonic mean of the repeats of a case.
        totals: Sum of the differences of each cluster, shape `(clusters,)`.
        sizes: Number of cases of each cluster, shape `(clusters,)`.
        binary: Whether each case was run once and every score is 0 or 1.
        unpaired: Cases that one of the two has not scored: they are left out, and counted.
    """

    differences: Floats
    base: Floats
    within: float
    repeats: float
    totals: Floats
    sizes: Floats
    binary: bool
    unpaired: int

    @property
    def cases(self) -> int:
        """Number of cases."""
        return len(self.differences)

    @property
    def clusters(self) -> int:
        """Number of clusters: what is independent of each other."""
        return len(self.totals)

    @property
    def estimate(self) -> float:
        """The mean difference over the cases."""
        return float(self.totals.sum() / self.sizes.sum())

    @property
    def influence(self) -> Floats:
        """What each cluster adds to the estimate's error: `(totals - sizes * estimate) / mean size`; they sum to 0."""
        influence: Floats = (self.totals - self.sizes * self.estimate) / self.sizes.mean()
        return influence

    @property
    def standard_error(self) -> float:
        """Standard error of the estimate, over clusters; `nan` for a single one."""
        if self.clusters < 2:
            return math.nan
        return float(np.sqrt((self.influence**2).sum() / (self.clusters - 1) / self.clusters))


def paired(base: Scores, new: Scores, *, clusters: Mapping[Hashable, Hashable] | None = None) -> Paired:
    """Pair the scores of two pipelines by case.

    Args:
        base: The scores of the one that is there.
        new: The scores of the one that may take its place.
        clusters: Case -> the cluster that it belongs to, for cases that are not independent (questions about the same
            document, turns of the same conversation). A case that is not in it stands alone.

    Raises:
        ConfigurationError: No case has both scores, a case has no score, or a score is no finite number.

    Example:
        >>> paired({"a": 0.0, "b": 1.0, "c": 0.0}, {"a": 1.0, "b": [1.0, 0.0]}).estimate
        0.25
    """
    both = [case for case in base if case in new]
    if not both:
        raise ConfigurationError("no case has a score of both: compare pipelines that were run on the same cases")
    runs = [(_runs(base[case], case), _runs(new[case], case)) for case in both]
    means = np.array([(np.mean(one), np.mean(other)) for one, other in runs])
    differences = means[:, 1] - means[:, 0]
    variances = [_variance_of_mean(one) + _variance_of_mean(other) for one, other in runs]
    known = [one for one in variances if not math.isnan(one)]
    belongs = [("", case) if clusters is None or case not in clusters else ("c", clusters[case]) for case in both]
    numbers = {name: number for number, name in enumerate(dict.fromkeys(belongs))}
    index = np.array([numbers[name] for name in belongs])
    once = all(len(one) == len(other) == 1 for one, other in runs)
    return Paired(
        differences=differences,
        base=means[:, 0],
        within=float(np.mean(known)) if known else math.nan,
        repeats=2 * len(both) / sum(1 / len(one) + 1 / len(other) for one, other in runs),
        totals=np.bincount(index, differences).astype(float),
        sizes=np.bincount(index).astype(float),
        binary=once and bool(np.isin(means, (0.0, 1.0)).all()),
        unpaired=len(base.keys() ^ new.keys()),
    )


def _runs(scores: float | Sequence[float], case: Hashable) -> Floats:
    runs = np.atleast_1d(np.asarray(scores, dtype=float))
    if runs.size == 0 or not np.isfinite(runs).all():
        raise ConfigurationError(
            f"the scores of the case {case!r} are {scores!r}: a case needs one finite number at least; leave out what "
            "failed, so that it is counted as missing"
        )
    return runs


def _variance_of_mean(runs: Floats) -> float:
    return float(np.var(runs, ddof=1) / len(runs)) if len(runs) > 1 else math.nan
