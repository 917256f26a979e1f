"""`compare_sequentially`: two pipelines on the cases that were run until the answer was clear."""

from __future__ import annotations

import math
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import replace

from scipy import special

from llmops_sdk.evaluation.statistics._compare import described
from llmops_sdk.evaluation.statistics._comparison import Comparison, check_options, decided
from llmops_sdk.evaluation.statistics._paired import Bounds, Paired, paired
from llmops_sdk.evaluation.statistics._sequence import MIXTURE, ConfidenceSequence

__all__ = ["compare_sequentially"]

_MOST = 1e12

CaseScores = Mapping[Hashable, float | Sequence[float]]


def compare_sequentially(
    base: CaseScores,
    new: CaseScores,
    /,
    order: Sequence[Hashable],
    *,
    clusters: Mapping[Hashable, Hashable] | None = None,
    bounds: Bounds = (-math.inf, math.inf),
    margin: float | None = None,
    higher_is_better: bool = True,
    level: float = 0.95,
    power: float = 0.8,
    comparisons: int = 1,
) -> Comparison:
    """Compare two pipelines on cases that came in random order, and may have stopped at any moment.

    Interval and p-value hold at every moment together (see `ConfidenceSequence`), so they are wider than those of
    `compare`. Each cluster is one observation, whatever its size: means are those of the clusters' means.

    Args:
        base: Case -> score of the pipeline that is there; a list of scores where a case was run several times.
        new: The same of the one that may take its place.
        order: The cases in the order in which they were looked at, chosen without looking at any answer. Others take no
            part.
        clusters: Case -> its cluster, where cases are not independent; others stand alone.
        bounds: Smallest and largest score that is possible; with them the interval holds for scores of any shape, and
            without them for differences that are symmetric about their mean, as they are where the two do the same.
        margin: See `compare`.
        higher_is_better: See `compare`.
        level: See `compare`.
        power: See `compare`.
        comparisons: See `compare`.

    Raises:
        ConfigurationError: No case of the order has both scores, a score is not finite, or an option is out of range.

    Example:
        >>> base = {case: 0.0 for case in range(40)}
        >>> new = {case: float(case % 4 > 0) for case in range(40)}
        >>> print(compare_sequentially(base, new, range(40), bounds=(0, 1)))
        better by +0.75 (95% interval +0.4355 to +0.907, p = 1e-05, 40 cases, valid at any stop)
    """
    check_options(level, power, margin, comparisons)
    scores = paired(
        {case: base[case] for case in order if case in base},
        {case: new[case] for case in order if case in new},
        clusters=clusters,
        bounds=bounds,
    )
    by_cluster = _by_cluster(scores)
    low, high = (-scores.reach, scores.reach) if scores.bounded else (-math.inf, math.inf)
    sequence = ConfidenceSequence(level=level, low=low, high=high)
    for value in by_cluster.totals:
        sequence.observe(min(max(float(value), low), high))
    ends = sequence.interval()
    plan = _Reach(by_cluster, ends, (1 - level) / comparisons, power)
    size = scores.cases / scores.clusters
    needed = plan.clusters(abs(by_cluster.estimate), margin)
    found = described(
        by_cluster,
        ends,
        level=level,
        power=power,
        margin=margin,
        higher_is_better=higher_is_better,
        comparisons=comparisons,
        p=sequence.p_value(),
        detectable=plan.detectable,
        needed=None if needed is None else math.ceil(needed * size),
        needed_repeats=None,
    )
    inside = margin is not None and -margin < found.low and found.high < margin
    found = replace(found, cases=scores.cases, sequential=True, repeats=scores.repeats, unpaired=scores.unpaired)
    return replace(found, verdict=decided(found, inside=inside))


def _by_cluster(scores: Paired) -> Paired:
    """Each cluster as one case."""
    return replace(
        scores,
        differences=scores.totals / scores.sizes,
        base=scores.base_totals / scores.sizes,
        totals=scores.totals / scores.sizes,
        base_totals=scores.base_totals / scores.sizes,
        sizes=scores.sizes / scores.sizes,
    )


class _Reach:
    """How the interval goes on to narrow: as the mixture's, in proportion to what it is now."""

    def __init__(self, scores: Paired, ends: tuple[float, float], alpha: float, power: float) -> None:
        self._alpha, self._n = alpha, scores.clusters
        self._spread = scores.standard_error * math.sqrt(scores.clusters)
        self._quantile = float(special.ndtri(power))
        half = (ends[1] - ends[0]) / 2
        plain = self._spread * self._width(self._n)
        self._scale = half / plain if math.isfinite(half) and plain > 0 else 1.0
        self.detectable = self._at(self._n) if self._spread > 0 else math.inf

    def _width(self, n: float) -> float:
        total = n + MIXTURE
        return math.sqrt(total * (2 * math.log(1 / self._alpha) + math.log(total / MIXTURE))) / n

    def _at(self, n: float) -> float:
        return self._spread * (self._scale * self._width(n) + self._quantile / math.sqrt(n))

    def clusters(self, difference: float, margin: float | None) -> int | None:
        """Clusters that show the difference, or that it lies within the margin; `None` where no number can be named."""
        room = max(difference, 0.0 if margin is None else margin - difference)
        if not room > 0 or not self._spread > 0:
            return None
        high = 2.0
        while self._at(high) > room:
            high *= 2
            if high > _MOST:
                return None
        low = high / 2
        while high - low > 1:
            middle = (low + high) / 2
            low, high = (low, middle) if self._at(middle) <= room else (middle, high)
        return math.ceil(high)
