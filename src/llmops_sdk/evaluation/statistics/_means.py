"""The mean of one pipeline's scores, with its interval."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats

from llmops_sdk.errors import ConfigurationError

__all__ = ["Mean", "mean"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Mean:
    """The mean of the scores of one pipeline; each case counts once, however often it was run.

    Attributes:
        mean: It.
        low: Lower end of its confidence interval.
        high: Upper end.
        cases: Cases that have a score.
        clusters: What is independent of each other among them.
    """

    mean: float
    low: float
    high: float
    cases: int
    clusters: int


def mean(
    scores: Sequence[float],
    cases: Sequence[int],
    /,
    *,
    clusters: Sequence[int] | None = None,
    level: float = 0.95,
    bounds: tuple[float, float] = (-math.inf, math.inf),
) -> Mean:
    """The mean over the cases, with Student's interval over clusters; for rates of single runs that of Wilson.

    For one pipeline by itself. To tell two apart, `compare` pairs them, which is far sharper than to look whether two
    of these intervals overlap.

    Args:
        scores: Finite numbers, one for each run.
        cases: Number of the case of each score; those of a case stand together.
        clusters: Number of the cluster of each score; without it each case stands alone.
        level: Probability of the interval to cover the truth, `0 < level < 1`.
        bounds: Smallest and largest possible score: no interval reaches beyond them.

    Raises:
        ConfigurationError: There is no score, or not as many cases.

    Example:
        >>> found = mean([1.0, 0.0, 1.0, 1.0], [0, 1, 2, 3])
        >>> round(found.mean, 2), round(found.low, 2), round(found.high, 2)
        (0.75, 0.3, 0.95)
    """
    given, belongs = np.asarray(scores, dtype=float), np.asarray(cases)
    if not given.size or given.shape != belongs.shape:
        raise ConfigurationError("`mean` takes one score at least, and for each score the number of its case")
    starts = np.flatnonzero(np.r_[True, belongs[1:] != belongs[:-1]])
    counts = np.diff(np.r_[starts, given.size])
    means = np.add.reduceat(given, starts) / counts
    n = means.size
    middle = float(means.mean())
    if clusters is None:
        groups, totals, sizes = n, means, np.ones(n)
    else:
        _, index = np.unique(np.asarray(clusters)[starts], return_inverse=True)
        totals, sizes = np.bincount(index, means), np.bincount(index).astype(float)
        groups = totals.size
    if groups == n == given.size and bool(np.isin(given, (0.0, 1.0)).all()):
        wilson = stats.binomtest(round(middle * n), n).proportion_ci(level, method="wilson")
        return Mean(mean=middle, low=float(wilson.low), high=float(wilson.high), cases=n, clusters=n)
    reach = math.inf
    if groups > 1:
        influence = (totals - sizes * middle) / sizes.mean()
        error = math.sqrt(float((influence**2).sum()) / (groups - 1) / groups)
        reach = float(stats.t.ppf((1 + level) / 2, groups - 1)) * error
    return Mean(
        mean=middle,
        low=max(middle - reach, bounds[0]),
        high=min(middle + reach, bounds[1]),
        cases=n,
        clusters=groups,
    )
