"""Intervals of the mean difference: BCa bootstrap over clusters, and Student's t where that reaches further.

The bootstrap follows the skew of the scores, but knows nothing of tails that were not drawn: with log-normal scores and
30 to 100 cases it covers 90 % where 95 % are promised, and Student's interval 96 %; with one-sided scores it is the
other way round. So each end is the further one of the two. Where the spread itself is a guess, of few clusters, skewed
scores hide it: both are widened by the spread of Student's t. Where hardly a cluster differs from the rest, neither
knows what another one would be like: then one more cluster is added in each direction (Bonett and Price, Journal of
Educational and Behavioral Statistics 37, 2012), or, where none differs, as many as 0 seen do not exclude ("rule of
three": Hanley and Lippman-Hand, JAMA 249, 1983). Pass or fail, case by case, has Tango's interval.

Sources: Efron, Better bootstrap confidence intervals, JASA 82 (1987); Hesterberg, What teachers should know about the
bootstrap, The American Statistician 69 (2015), section 4.2: bootstrap intervals of few cases are too narrow, and use a
normal where a t is due. For many clusters the resamples are replaced by the expansions that
they approach: Hall, The Bootstrap and Edgeworth Expansion (1992), section 3.10. Unequal clusters: the jackknife's
variance (Bell and McCaffrey, Survey Methodology 28, 2002) with degrees of freedom by Kish's effective number.
"""

from __future__ import annotations

import functools
import math

import numpy as np
from scipy import special

from llmops_sdk.evaluation.statistics._paired import ROUNDED, Floats, Paired
from llmops_sdk.evaluation.statistics._proportions import tango

__all__ = ["interval"]

_RESAMPLED = 400
"""Clusters up to which resamples are drawn."""
_RESAMPLES = 9_999
_SEED = 20_260_000
_RARE = 8
"""Clusters that differ from the usual difference, below which they are rare."""


def interval(scores: Paired, level: float) -> tuple[float, float]:
    """Confidence interval of the mean difference; it may reach beyond what bounds make possible.

    Args:
        scores: The scores.
        level: Its probability to cover the truth, `0 < level < 1`.

    Returns:
        Its ends; `-inf, inf` for a single cluster, from which nothing can be said of others.
    """
    if scores.clusters < 2:
        return -math.inf, math.inf
    if scores.step and scores.clusters == scores.cases:
        wins, losses = int((scores.differences > 0).sum()), int((scores.differences < 0).sum())
        low, high = tango(wins, losses, scores.cases, level)
        return low * scores.step, high * scores.step
    estimate = scores.estimate
    reach = _rare(scores, level)
    low, high = estimate - reach, estimate + reach
    if scores.standard_error > 0:
        t = float(special.stdtrit(scores.freedom, (1 + level) / 2)) * _widened(scores.freedom)
        bca_low, bca_high = _bca(scores, t)
        reach = t * scores.standard_error
        low, high = min(low, bca_low, estimate - reach), max(high, bca_high, estimate + reach)
    return low, high


def _widened(freedom: float) -> float:
    """By how much few clusters show their spread too small where scores are skewed: the spread of Student's t."""
    return math.sqrt((freedom + 1) / max(freedom - 2, 1.0))


def _rare(scores: Paired, level: float) -> float:
    """How far the interval reaches at least, where hardly a cluster differs from the usual; else 0."""
    means = scores.totals / scores.sizes
    grain = ROUNDED * (float(np.abs(means).max()) or 1.0)
    means = np.round(means / grain) * grain
    values, counts = np.unique(means, return_counts=True)
    if scores.clusters - counts.max() >= _RARE:
        return 0.0
    usual = values[counts.argmax()]
    size, n = float(np.abs(means - usual).max()), scores.clusters
    if size == 0:  # others may be as large, and go the other way; where there is none, as large as scores allow
        size = 2 * abs(float(usual)) or scores.reach
        return float(1 - ((1 - level) / 2) ** (1 / n)) * size
    if counts.max() < n / 2:
        return 0.0
    more = np.append(means, (usual - size, usual + size))
    return float(special.stdtrit(scores.freedom + 2, (1 + level) / 2) * more.std(ddof=1) / math.sqrt(n + 2))


def _bca(scores: Paired, z: float) -> tuple[float, float]:
    """Efron's interval; `z` is the quantile that it would have without bias and skew."""
    estimate = scores.estimate
    influence = scores.influence / np.abs(scores.influence).max()
    skew = float((influence**3).sum() / (influence**2).sum() ** 1.5) / 6  # the acceleration
    if estimate < 0 or (estimate == 0 and skew < 0):  # so that swapping the two changes the signs and nothing else
        low, high = _upwards(-scores.totals, scores.sizes, -estimate, scores.standard_error, -skew, z)
        return -high, -low
    return _upwards(scores.totals, scores.sizes, estimate, scores.standard_error, skew, z)


def _upwards(
    totals: Floats, sizes: Floats, estimate: float, spread: float, skew: float, z: float
) -> tuple[float, float]:
    n = len(totals)
    if n > _RESAMPLED:
        ends = (_moved(side, skew, skew) for side in (-z, z))
        low, high = (estimate + spread * (end + skew * (end**2 - 1)) for end in ends)
        return low, high
    order = np.lexsort((sizes, totals))  # that of the cases has no part in what is drawn
    often = _draws(n)
    equal = bool((sizes == sizes[0]).all())
    resampled = np.sort((often @ totals[order]) / (n * sizes[0] if equal else often @ sizes[order]))
    near = ROUNDED * max(abs(estimate), float(np.abs(totals).max()))
    below = float((resampled < estimate - near).mean() + (np.abs(resampled - estimate) <= near).mean() / 2)
    bias = float(special.ndtri(np.clip(below, 0.5 / _RESAMPLES, 1 - 0.5 / _RESAMPLES)))
    low, high = (float(np.quantile(resampled, special.ndtr(_moved(side, bias, skew)))) for side in (-z, z))
    return low, high


def _moved(z: float, bias: float, skew: float) -> float:
    """Efron's (6.8): where to look in the distribution of the resamples for its quantile of `z`."""
    # Near its pole, which only a handful of clusters can reach, the formula turns round.
    return bias + (bias + z) / max(1 - skew * (bias + z), 0.1)


@functools.lru_cache(maxsize=1)
def _draws(clusters: int) -> Floats:
    """How often a resample has each cluster, shape `(resamples, clusters)`; 32 MB at most. Scores share them."""
    drawn = np.random.default_rng(_SEED).integers(0, clusters, (_RESAMPLES, clusters))
    drawn += np.arange(0, _RESAMPLES * clusters, clusters)[:, None]
    return np.bincount(drawn.ravel(), minlength=drawn.size).reshape(drawn.shape).astype(float)
