"""Intervals of the mean difference: BCa bootstrap over clusters, and Student's t where that reaches further.

The bootstrap follows the skew of the scores, but knows nothing of tails that were not drawn: with log-normal scores and
30 to 100 cases it covers 90 % where 95 % are promised, and Student's interval 96 %; with one-sided scores it is the
other way round. So each end is the further one of the two.

Sources: Efron, Better bootstrap confidence intervals, JASA 82 (1987); Hesterberg, What teachers should know about the
bootstrap, The American Statistician 69 (2015), section 4.2, for the widening: bootstrap intervals are too narrow by
sqrt((n - 1) / n) and use a normal where a t is due. For many clusters the resamples are replaced by the expansions that
they approach: Hall, The Bootstrap and Edgeworth Expansion (1992), section 3.10.
"""

from __future__ import annotations

import math

import numpy as np
from scipy import stats

from llmops_sdk.evaluation.statistics._paired import Floats, Paired

__all__ = ["interval"]

_RESAMPLED = 1_000
"""Clusters up to which resamples are drawn."""
_RESAMPLES = 9_999
_AT_ONCE = 4_000_000
_SEED = 20_260_000


def interval(scores: Paired, level: float) -> tuple[float, float]:
    """Confidence interval of the mean difference.

    Args:
        scores: The scores.
        level: Its probability to cover the truth, `0 < level < 1`.

    Returns:
        Its ends; `-inf, inf` for a single cluster, from which nothing can be said of others.
    """
    n = scores.clusters
    if n < 2:
        return -math.inf, math.inf
    if scores.standard_error == 0:
        return scores.estimate, scores.estimate
    influence = scores.influence
    skew = float((influence**3).sum() / (influence**2).sum() ** 1.5) / 6  # the acceleration
    t = float(stats.t.ppf((1 + level) / 2, n - 1))
    low, high = _bca(scores, skew, t * math.sqrt(n / (n - 1)))
    reach = t * scores.standard_error
    return min(low, scores.estimate - reach), max(high, scores.estimate + reach)


def _bca(scores: Paired, skew: float, t: float) -> tuple[float, float]:
    n = scores.clusters
    if n <= _RESAMPLED:
        resampled = np.sort(_resampled(scores))
        below = float((resampled < scores.estimate).mean() + (resampled == scores.estimate).mean() / 2)
        bias = float(stats.norm.ppf(np.clip(below, 0.5 / _RESAMPLES, 1 - 0.5 / _RESAMPLES)))
        low, high = (float(np.quantile(resampled, stats.norm.cdf(_moved(z, bias, skew)))) for z in (-t, t))
        return low, high
    z_low, z_high = (_moved(z, skew, skew) for z in (-t, t))
    spread = scores.standard_error
    low, high = (scores.estimate + spread * (z + skew * (z**2 - 1)) for z in (z_low, z_high))
    return low, high


def _moved(z: float, bias: float, skew: float) -> float:
    """Efron's (6.8): where to look in the distribution of the resamples for its quantile of `z`."""
    return bias + (bias + z) / (1 - skew * (bias + z))


def _resampled(scores: Paired) -> Floats:
    random = np.random.default_rng(_SEED)
    n = scores.clusters
    estimates = []
    left = _RESAMPLES
    while left:
        some = min(left, max(1, _AT_ONCE // n))
        chosen = random.integers(0, n, (some, n))
        estimates.append(scores.totals[chosen].sum(1) / scores.sizes[chosen].sum(1))
        left -= some
    return np.concatenate(estimates)
