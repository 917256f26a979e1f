"""P-values of paired differences.

Under the hypothesis that the two pipelines do the same, the sign of each cluster's difference is a coin's, whatever the
shape of the scores: so the sign-flip test is exact there. For pass and fail, case by case, it is McNemar's exact test.

Sources: Fisher, The Design of Experiments (1935), section 21; McNemar, Psychometrika 12 (1947); for flips by Monte
Carlo, Phipson and Smyth, Statistical Applications in Genetics and Molecular Biology 9 (2010): p = (1 + hits) / (1 +
flips); for many clusters Lugannani and Rice, Advances in Applied Probability 12 (1980).
"""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from llmops_sdk.evaluation.statistics._paired import Floats, Paired

__all__ = ["p_value"]

_ENUMERATED = 15
"""Clusters up to which all flips are tried."""
_FLIPS = 9_999
_SAMPLED = 400
"""Clusters up to which flips are drawn; from there on their saddlepoint approximation is right to three digits."""
_SEED = 20_260_000
_SMALLEST = 1e-300


def p_value(scores: Paired) -> float:
    """Two-sided p-value of "there is no difference", `0 < p <= 1`; 1 where nothing differs."""
    totals = scores.totals[scores.totals != 0]
    if len(totals) == 0:
        return 1.0
    if scores.step and scores.clusters == scores.cases:
        return max(float(stats.binomtest(int((totals > 0).sum()), len(totals)).pvalue), _SMALLEST)
    # In an order, and of a size, that neither the cases' order nor the unit of the scores has a part in.
    totals = totals[np.lexsort((totals, np.abs(totals)))] / np.abs(totals).max()
    if len(totals) <= _ENUMERATED:
        return _of_all(totals)
    if len(totals) <= _SAMPLED:
        return _of_some(totals)
    return _of_many(totals)


def _of_all(totals: Floats) -> float:
    numbers = np.arange(2 ** len(totals))[:, None] >> np.arange(len(totals)) & 1
    return float(_as_large((2.0 * numbers - 1) @ np.abs(totals), totals).mean())


def _of_some(totals: Floats) -> float:
    return float((1 + _as_large(_flips(len(totals)) @ np.abs(totals), totals).sum()) / (1 + _FLIPS))


@functools.lru_cache(maxsize=1)
def _flips(clusters: int) -> Floats:
    """Shape `(flips, clusters)`; 32 MB at most. The scores of an experiment share them."""
    return np.random.default_rng(_SEED).integers(0, 2, (_FLIPS, clusters), dtype=np.int8).astype(np.float64) * 2 - 1


def _as_large(flipped: NDArray[Any], totals: Floats) -> NDArray[np.bool_]:
    # Sums in another order differ in the last bits.
    reached: NDArray[np.bool_] = np.abs(flipped) >= abs(totals.sum()) - 1e-12 * np.abs(totals).sum()
    return reached


def _of_many(totals: Floats) -> float:
    """The saddlepoint approximation; the generating function of a flip of `t` is `cosh(s t)`."""
    t = np.abs(totals) / np.sqrt((totals**2).sum())
    x = abs(float(totals.sum())) / float(np.sqrt((totals**2).sum()))
    if x >= t.sum() * (1 - 1e-9):
        return _SMALLEST
    s = x
    for _ in range(100):
        tanh = np.tanh(s * t)
        step = (x - float((t * tanh).sum())) / float((t**2 * (1 - tanh**2)).sum())
        s += min(max(step, -s / 2), s + 1)
        if abs(step) <= 1e-9 * s:
            break
    scaled = s * t
    exponent = float((scaled + np.log1p(np.exp(-2 * scaled)) - np.log(2)).sum())
    r = np.sqrt(2 * max(s * x - exponent, 0.0))
    if r < 0.01:
        return min(float(2 * stats.norm.sf(r)), 1.0)
    u = s * np.sqrt(float((t**2 * (1 - np.tanh(scaled) ** 2)).sum()))
    tail = stats.norm.sf(r) + stats.norm.pdf(r) * (1 / u - 1 / r)
    return float(np.clip(2 * tail, _SMALLEST, 1.0))
