"""What so many cases can show, and how many would be needed.

By Student's t and the spread that the interval has seen; for pass or fail by McNemar's test itself. Clusters keep their
size, and repeats their number.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from scipy import special

from llmops_sdk.evaluation.statistics._paired import Paired
from llmops_sdk.evaluation.statistics._proportions import detectable_rate, needed_for_rate

__all__ = ["Power", "power_of", "spread_of"]

_MOST = 1e12


@dataclass(frozen=True, slots=True, kw_only=True)
class Power:
    """See `Comparison`, which has the same."""

    detectable: float
    needed: int | None
    needed_repeats: int | None


def power_of(
    scores: Paired, error: float, *, level: float, power: float, margin: float | None, comparisons: int
) -> Power:
    """What the scores can show.

    Args:
        scores: The scores.
        error: Standard error of the estimate, no less than the interval says.
        level: Of the interval.
        power: Probability with which a difference is to be found.
        margin: Size up to which a difference does not matter.
        comparisons: How many share the probability to err.
    """
    alpha = (1 - level) / comparisons
    wins, losses = int((scores.differences > 0).sum()), int((scores.differences < 0).sum())
    passing = bool(scores.step) and scores.clusters == scores.cases
    if passing:
        detectable = detectable_rate(wins, losses, scores.cases, alpha, power) * scores.step
        needed = needed_for_rate(wins, losses, scores.cases, alpha, power)
    else:
        enough = scores.clusters >= _fewest(alpha)
        detectable = _quantiles(alpha / 2, power, scores.freedom) * error if enough else math.inf
        needed = _cases(scores, error, alpha / 2, power, abs(scores.estimate))
        if math.isfinite(needed):
            needed = max(needed, _fewest(alpha) * scores.cases / scores.clusters)
    if margin is not None and abs(scores.estimate) < margin:
        # Two one-sided tests, both of which have to succeed: Julious, Statistics in Medicine 23 (2004).
        room = margin - abs(scores.estimate)
        needed = min(needed, _cases(scores, error, 1 - level, (1 + power) / 2, room))
    found = math.ceil(needed - 1e-9) if needed < _MOST else None
    return Power(detectable=detectable, needed=found, needed_repeats=_repeats(scores, found))


def _fewest(alpha: float) -> int:
    """Clusters whose signs can be alike by chance with no more than this probability: 6 for 0.05."""
    return math.ceil(1 + math.log2(1 / alpha) - 1e-9)


def _quantiles(alpha: float, power: float, freedom: float) -> float:
    return float(special.stdtrit(freedom, power) - special.stdtrit(freedom, alpha))


def _cases(scores: Paired, error: float, alpha: float, power: float, difference: float) -> float:
    """Cases with which a one-sided test at `alpha` finds this difference."""
    if not 0 < error < math.inf or difference <= 0 or scores.clusters < 2:
        return math.inf
    times = (_quantiles(alpha, power, math.inf) * error / difference) ** 2
    for _ in range(20):  # the fewer the clusters, the further out their quantiles
        freedom = max(scores.freedom * min(times, _MOST), 1.0)
        times, before = (_quantiles(alpha, power, freedom) * error / difference) ** 2, times
        if abs(times - before) <= 1e-3 * times:
            break
        times = math.sqrt(times * before)
    return scores.cases * times


def _repeats(scores: Paired, needed: int | None) -> int | None:
    """Repeats of the same cases that narrow the interval as much as `needed` cases would."""
    if needed is None or not scores.within > 0 or scores.clusters < 2:
        return None
    variance = scores.standard_error**2
    noise = min(scores.within / scores.cases, variance)  # the part of it that repeats can take away
    allowed = variance * scores.cases / needed - (variance - noise)
    return math.ceil(scores.repeats * noise / allowed - 1e-9) if allowed > noise * 1e-3 else None


def spread_of(scores: Paired) -> float:
    """Standard deviation of the cases' differences; 0 for a single case."""
    scale = float(np.abs(scores.differences).max())
    return scale * float((scores.differences / scale).std(ddof=1)) if scale > 0 and scores.cases > 1 else 0.0
