"""`compare`: two pipelines on the same cases, once all of them are there."""

from __future__ import annotations

import math
from dataclasses import replace

from scipy import special

from llmops_sdk.evaluation.statistics._comparison import FEWEST, Comparison, check_options, decided
from llmops_sdk.evaluation.statistics._intervals import interval
from llmops_sdk.evaluation.statistics._paired import Bounds, Clusters, Paired, Scores, paired
from llmops_sdk.evaluation.statistics._power import power_of, spread_of
from llmops_sdk.evaluation.statistics._relative import ratio
from llmops_sdk.evaluation.statistics._tests import p_value

__all__ = ["compare", "described"]


def compare(
    base: Scores,
    new: Scores,
    /,
    *,
    clusters: Clusters | None = None,
    bounds: Bounds = (-math.inf, math.inf),
    margin: float | None = None,
    higher_is_better: bool = True,
    level: float = 0.95,
    power: float = 0.8,
    comparisons: int = 1,
) -> Comparison:
    """Compare two pipelines on the same cases.

    The p-value is exact where the two do the same: at `level=0.95` at most one in twenty such comparisons is called
    better or worse, whatever the shape of the scores. The verdict needs both the p-value and the interval to agree.

    Args:
        base: Case -> score of the pipeline that is there; a list of scores where a case was run several times. Or an
            array of shape `(cases,)` or `(cases, repeats)`; `nan` is a run without score there.
        new: The same of the one that may take its place. For a metric that compares two answers itself give its scores
            here, and as many zeros as `base`.
        clusters: Case -> its cluster, where cases are not independent; others stand alone. For arrays one for each row.
        bounds: Smallest and largest score that is possible: no interval reaches beyond what they allow.
        margin: Differences up to this size do not matter, `> 0`: the verdict may be `"equivalent"` then.
        higher_is_better: Whether a higher score is better; `False` for latencies and costs.
        level: Probability of the interval to cover the truth, `0.5 < level < 1`; verdicts err with `1 - level`.
        power: Probability with which a detectable difference is to be found, `0 < power < 1`.
        comparisons: How many comparisons the p-value will be corrected for: `detectable` and `needed` count on it.

    Raises:
        ConfigurationError: No case has both scores, a score is not finite, or an option is out of range.

    Example:
        >>> base = {case: 0.0 for case in range(40)}
        >>> new = {case: float(case % 4 > 0) for case in range(40)}
        >>> print(compare(base, new))
        better by +0.75 (95% interval +0.5967 to +0.8581, p = 1.9e-09, 40 cases)
    """
    check_options(level, power, margin, comparisons)
    scores = paired(base, new, clusters=clusters, bounds=bounds)
    ends = interval(scores, level)
    error = _error(scores, ends, level)
    strength = power_of(scores, error, level=level, power=power, margin=margin, comparisons=comparisons)
    found = described(
        scores,
        ends,
        level=level,
        power=power,
        margin=margin,
        higher_is_better=higher_is_better,
        comparisons=comparisons,
        p=p_value(scores),
        detectable=strength.detectable,
        needed=strength.needed,
        needed_repeats=strength.needed_repeats,
    )
    inside = margin is not None and _inside(scores, margin, level)
    return replace(found, verdict=decided(found, inside=inside))


def described(
    scores: Paired,
    ends: tuple[float, float],
    *,
    level: float,
    power: float,
    margin: float | None,
    higher_is_better: bool,
    comparisons: int,
    p: float,
    detectable: float,
    needed: int | None,
    needed_repeats: int | None,
) -> Comparison:
    """The comparison without its verdict; `ends` are those of the difference's interval, still uncut."""
    spread = spread_of(scores)
    differ = scores.differences[scores.differences != 0]
    mean, estimate = float(scores.base.mean()), scores.estimate
    relative_low, relative_high = _relative(scores, ends, mean, level)
    most = scores.reach if scores.bounded else math.inf
    return Comparison(
        base=mean,
        new=mean + estimate,
        difference=estimate,
        low=max(ends[0], -most),
        high=min(ends[1], most),
        level=level,
        relative=estimate / abs(mean) if mean else math.nan,
        relative_low=relative_low,
        relative_high=relative_high,
        p_value=p,
        standard_error=scores.standard_error,
        effect_size=estimate / spread if spread else 0.0,
        wins=float((differ > 0).mean()) if len(differ) else math.nan,
        ties=1 - len(differ) / scores.cases,
        detectable=detectable,
        needed=needed,
        needed_repeats=needed_repeats,
        power=power,
        margin=margin,
        higher_is_better=higher_is_better,
        cases=scores.cases,
        clusters=scores.clusters,
        repeats=scores.repeats,
        noise_share=min(scores.within / spread / spread, 1.0) if spread else math.nan,
        unpaired=scores.unpaired,
        comparisons=comparisons,
        verdict="cannot tell",
    )


def _relative(scores: Paired, ends: tuple[float, float], mean: float, level: float) -> tuple[float, float]:
    if scores.clusters < 2:
        return -math.inf, math.inf
    t = float(special.stdtrit(scores.freedom, (1 + level) / 2))
    variance, covariance = scores.with_base()
    low, high = (
        ratio(scores.estimate, mean, reach=end, t=t, base_variance=variance, covariance=covariance)
        for end in (ends[0] - scores.estimate, ends[1] - scores.estimate)
    )
    return low, high


def _error(scores: Paired, ends: tuple[float, float], level: float) -> float:
    """The standard error, no less than what the interval's width says."""
    if scores.clusters < 2:
        return math.inf
    t = float(special.stdtrit(scores.freedom, (1 + level) / 2))
    return max((ends[1] - ends[0]) / 2 / t, scores.standard_error)


def _inside(scores: Paired, margin: float, level: float) -> bool:
    """Whether two one-sided tests say that the difference is smaller than the margin."""
    low, high = interval(scores, 2 * level - 1)
    return scores.clusters >= FEWEST and -margin < low and high < margin
