"""P-values of paired differences.

Under the hypothesis that the two pipelines do the same, the sign of each cluster's difference is a coin's, whatever the
shape of the scores: so the sign-flip test is exact there. For pass and fail, case by case, it is McNemar's exact test.

Sources: Fisher, The Design of Experiments (1935), section 21; McNemar, Psychometrika 12 (1947); for flips by Monte
Carlo, Phipson and Smyth, Statistical Applications in Genetics and Molecular Biology 9 (2010): p = (1 + hits) / (1 +
flips).
"""

from __future__ import annotations

import numpy as np
from scipy import stats

from llmops_sdk.evaluation.statistics._paired import Floats, Paired

__all__ = ["p_value"]

_ENUMERATED = 14
"""Clusters up to which all flips are tried."""
_FLIPS = 9_999
_SAMPLED = 1_000
"""Clusters up to which flips are drawn; from there on the sum of the flips is normal to four digits."""
_SEED = 20_260_000


def p_value(scores: Paired) -> float:
    """Two-sided p-value of "there is no difference", `0 < p <= 1`; 1 where nothing differs."""
    totals = scores.totals[scores.totals != 0]
    if len(totals) == 0:
        return 1.0
    if scores.binary and scores.clusters == scores.cases:
        return float(stats.binomtest(int((totals > 0).sum()), len(totals)).pvalue)
    if len(totals) <= _ENUMERATED:
        return _of_all(totals)
    if len(totals) <= _SAMPLED:
        return _of_some(totals)
    return _of_the_limit(totals)


def _of_all(totals: Floats) -> float:
    numbers = np.arange(2 ** len(totals))[:, None] >> np.arange(len(totals)) & 1
    return float(_as_large(np.abs((2.0 * numbers - 1) @ totals), totals).mean())


def _of_some(totals: Floats) -> float:
    flips = np.random.default_rng(_SEED).integers(0, 2, (_FLIPS, len(totals)), dtype=np.int8) * 2.0 - 1
    return float((1 + _as_large(np.abs(flips @ totals), totals).sum()) / (1 + _FLIPS))


def _as_large(flipped: Floats, totals: Floats) -> np.ndarray:
    reached: np.ndarray = flipped >= abs(totals.sum()) * (1 - 1e-12)  # sums in another order differ in the last bit
    return reached


def _of_the_limit(totals: Floats) -> float:
    """Edgeworth's expansion of the sum of flips: symmetric, so the first term beyond the normal is the kurtosis."""
    variance = (totals**2).sum()
    z = abs(totals.sum()) / np.sqrt(variance)
    kurtosis = -2 * (totals**4).sum() / variance**2
    tail = stats.norm.sf(z) + stats.norm.pdf(z) * kurtosis / 24 * (z**3 - 3 * z)
    return float(np.clip(2 * tail, 1e-300, 1.0))
