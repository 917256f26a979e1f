"""Shares and ranks with intervals: Wilson's and Clopper and Pearson's for shares, DeLong's for the area under a curve.

Sources: Wilson, J. Am. Stat. Assoc. 22 (1927) 209; Clopper and Pearson, Biometrika 26 (1934) 404; DeLong, DeLong and
Clarke-Pearson, Biometrics 44 (1988) 837, by midranks as in Sun and Xu, IEEE Signal Process. Lett. 21 (2014) 1389.
"""

from __future__ import annotations

import bisect
import math
from collections.abc import Sequence
from statistics import NormalDist
from typing import NamedTuple

__all__ = ["Interval", "Share", "area", "binomial_cdf", "curve", "rows_needed", "share_above", "upper_bound"]


class Interval(NamedTuple):
    """An estimate, and where the true value lies with the confidence that was asked for."""

    value: float
    low: float
    high: float


class Share(NamedTuple):
    """`hits` of `of`.

    Attributes:
        hits: How many were.
        of: How many there are.
        confidence: Of the interval.
    """

    hits: int
    of: int
    confidence: float = 0.95

    @property
    def value(self) -> float | None:
        """The share; `None` of nothing."""
        return self.hits / self.of if self.of else None

    @property
    def interval(self) -> tuple[float, float]:
        """Wilson's interval of the true share, `(0, 1)` where nothing is known."""
        if not self.of:
            return 0.0, 1.0
        z = NormalDist().inv_cdf(0.5 + self.confidence / 2)
        share, spread = self.hits / self.of, z * z / self.of
        middle = (share + spread / 2) / (1 + spread)
        half = z / (1 + spread) * math.sqrt(share * (1 - share) / self.of + spread / (4 * self.of))
        return (0.0 if not self.hits else max(0.0, middle - half)), (
            1.0 if self.hits == self.of else min(1.0, middle + half)
        )


def binomial_cdf(hits: int, of: int, share: float) -> float:
    """Probability of at most `hits` in `of` tries that succeed with probability `share`, exactly.

    Summed from the largest term down, so that nothing is lost to rounding.
    """
    if hits >= of or share <= 0:
        return 1.0
    if hits < 0 or share >= 1:
        return 0.0
    odds, miss = math.log(share), math.log1p(-share)
    whole = math.lgamma(of + 1)
    terms = (whole - math.lgamma(k + 1) - math.lgamma(of - k + 1) + k * odds + (of - k) * miss for k in range(hits + 1))
    return min(1.0, math.fsum(math.exp(term) for term in terms))


def upper_bound(hits: int, of: int, confidence: float) -> float:
    """Clopper and Pearson's one-sided bound of the true share, with `confidence`; 1 where nothing is known."""
    if hits >= of:
        return 1.0
    low, high = hits / of, 1.0
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if binomial_cdf(hits, of, middle) > 1 - confidence else (low, middle)
    return high


def rows_needed(share: float, confidence: float, hits: int = 0) -> int:
    """How many rows of which `hits` were found prove that the true share is at most `share`."""
    low, high = hits, max(2 * hits, 2)
    while binomial_cdf(hits, high, share) > 1 - confidence:
        low, high = high, 2 * high
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if binomial_cdf(hits, middle, share) > 1 - confidence else (low, middle)
    return high


def area(positives: Sequence[float], negatives: Sequence[float], confidence: float = 0.95) -> Interval | None:
    """Area under the curve: how likely a positive scores over a negative, a tie counting half. `None` without both.

    DeLong's interval, on the scale of log odds so that it stays in 0..1. Where the two are told apart perfectly that
    has no width; then the bound is the one of as many tries, without a failure, as there are of the rarer kind.
    """
    if not positives or not negatives:
        return None
    up, down = sorted(positives), sorted(negatives)
    above = [(bisect.bisect_left(down, one) + bisect.bisect_right(down, one)) / 2 / len(down) for one in up]
    below = [1 - (bisect.bisect_left(up, one) + bisect.bisect_right(up, one)) / 2 / len(up) for one in down]
    value = math.fsum(above) / len(above)
    variance = _variance(above, value) / len(above) + _variance(below, value) / len(below)
    edge = 1 - upper_bound(0, min(len(up), len(down)), 0.5 + confidence / 2)
    if value >= 1:
        return Interval(1.0, edge, 1.0)
    if value <= 0:
        return Interval(0.0, 0.0, 1 - edge)
    z = NormalDist().inv_cdf(0.5 + confidence / 2)
    middle, half = math.log(value / (1 - value)), z * math.sqrt(variance) / (value * (1 - value))
    return Interval(value, _logistic(middle - half), _logistic(middle + half))


def _variance(values: Sequence[float], mean: float) -> float:
    return math.fsum((one - mean) ** 2 for one in values) / (len(values) - 1) if len(values) > 1 else 0.25


def _logistic(value: float) -> float:
    return 1 / (1 + math.exp(-value)) if value > -700 else 0.0


def curve(positives: Sequence[float], negatives: Sequence[float]) -> tuple[tuple[float, float], ...]:
    """(false-alarm rate, recall) for each threshold at which they change, from (0, 0) to (1, 1)."""
    up, down = sorted(positives), sorted(negatives)
    thresholds = sorted({*up, *down}, reverse=True)
    return ((0.0, 0.0), *((share_above(down, one), share_above(up, one)) for one in thresholds))


def share_above(ordered: Sequence[float], threshold: float) -> float:
    """How much of `ordered` (ascending) reaches the threshold; 0 of nothing."""
    return (len(ordered) - bisect.bisect_left(ordered, threshold)) / len(ordered) if ordered else 0.0
