"""Rates, means and differences as people would have judged them, from what a judge has judged.

Where the judge errs alike on both pipelines, the difference that it sees is that of people times the slope of the
judge's values on people's. So the corrected difference is a quotient of two estimates that have nothing to do with each
other: the difference comes from the experiment, the slope from the labels. Its interval is made of theirs (Donner and
Zou, Statistical Methods in Medical Research 21 (2012): MOVER for quotients, of which Fieller's is the symmetric case).
Where the slope may be 0, the quotient may be anything: the interval is all that is possible then.

Sources for rates of passes: Rogan and Gladen, American Journal of Epidemiology 107 (1978), for the estimate; Lang and
Reiczigel, Preventive Veterinary Medicine 113 (2014), for the interval.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from scipy import stats

from llmops_sdk.errors import ConfigurationError
from llmops_sdk.evaluation.statistics._comparison import Comparison
from llmops_sdk.evaluation.statistics._intervals import interval
from llmops_sdk.evaluation.statistics._labelled import Labelled, effective_count
from llmops_sdk.evaluation.statistics._paired import Scores, paired

__all__ = ["Corrected", "corrected_comparison", "corrected_difference", "corrected_mean", "corrected_rate"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Corrected:
    """A rate, a mean, or a difference of them, as people would have judged it.

    Attributes:
        value: The estimate.
        low: Lower end of its interval.
        high: Upper end.
        level: Probability of the interval to cover the truth; the labels' uncertainty is part of it.
        judged: The same as the judge says it.
        wide: Whether the interval is all that is possible, since the labels do not show that the judge sees anything.
    """

    value: float
    low: float
    high: float
    level: float
    judged: float
    wide: bool = False

    def __str__(self) -> str:
        if self.wide:
            return f"nothing can be said: too few labels, or too poor a judge (judged {self.judged:+.4g})"
        return f"{self.value:+.4g} ({self.level:.0%} interval {self.low:+.4g} to {self.high:+.4g})"


def corrected_difference(
    base: Scores,
    new: Scores,
    labels: Labelled,
    /,
    *,
    clusters: Mapping[Any, Hashable] | None = None,
    bounds: tuple[float, float] = (0.0, 1.0),
) -> Corrected:
    """The difference of two pipelines on the same cases as people would have judged it.

    Args:
        base: Case -> what the judge says of the base's answer, or answers.
        new: The same of the new one's.
        labels: What is known of the judge; its level is that of the interval.
        clusters: Case -> its cluster.
        bounds: Smallest and largest value of one answer.

    Raises:
        ConfigurationError: Nothing can be corrected, or no case has both scores.

    Example:
        >>> from llmops_sdk.evaluation.statistics import labelled
        >>> labels = labelled([1] * 50 + [0] * 50, [1] * 45 + [0] * 5 + [0] * 40 + [1] * 10)
        >>> base = {case: float(case % 10 < 3) for case in range(200)}
        >>> new = {case: float(case % 10 < 5) for case in range(200)}
        >>> print(corrected_difference(base, new, labels))
        +0.2857 (95% interval +0.2083 to +0.4225)
    """
    _require(labels)
    scores = paired(base, new, clusters=clusters)
    width = bounds[1] - bounds[0]
    low, high = interval(scores, labels.level)
    return _quotient(scores.estimate, low, high, labels, centre=0.0, bounds=(-width, width), judged=scores.estimate)


def corrected_mean(
    scores: Scores,
    labels: Labelled,
    /,
    *,
    clusters: Mapping[Any, Hashable] | None = None,
    bounds: tuple[float, float] = (0.0, 1.0),
) -> Corrected:
    """The mean score of one pipeline, for pass and fail its rate of passes, as people would have judged it.

    See `corrected_difference`. For pass and fail the interval is that of Lang and Reiczigel, see `corrected_rate`.
    """
    _require(labels)
    found = paired(dict.fromkeys(scores, 0.0), scores, clusters=clusters)
    mean = found.estimate
    if labels.sensitivity is not None and labels.specificity is not None:
        count = effective_count(mean, found.standard_error, found.cases, found.clusters)
        shares = [(one.value * one.effective, one.effective) for one in (labels.sensitivity, labels.specificity)]
        rate = corrected_rate(mean * count, count, true_passes=shares[0], true_fails=shares[1], level=labels.level)
        wide = rate.wide or labels.slope_low <= 0
        return replace(rate, low=0.0, high=1.0, wide=True) if wide else rate
    low, high = interval(found, labels.level)
    return _mean(mean, low, high, labels, bounds)


def corrected_rate(
    passed: float,
    judged: float,
    /,
    *,
    true_passes: tuple[float, float],
    true_fails: tuple[float, float],
    level: float = 0.95,
) -> Corrected:
    """The rate of passes that people would have found, from what a judge has found.

    By Rogan and Gladen, with the interval of Lang and Reiczigel: sensitivity and specificity are estimates, too.

    Args:
        passed: Answers that the judge passed. Counts may be fractions: of how many independent answers would say as
            much as those that are not.
        judged: Answers that it judged.
        true_passes: Of answers that people passed: how many the judge passed, and how many there were.
        true_fails: Of answers that people failed: how many the judge failed, and how many there were.
        level: Probability of the interval to cover the truth.

    Raises:
        ConfigurationError: The counts make no sense, or the judge is no better than a coin.

    Example:
        >>> found = corrected_rate(60, 100, true_passes=(45, 50), true_fails=(40, 50))
        >>> round(found.value, 3), round(found.low, 3), round(found.high, 3)
        (0.571, 0.396, 0.743)
    """
    for hits, of, what in ((passed, judged, "judged"), (*true_passes, "true_passes"), (*true_fails, "true_fails")):
        if not 0 <= hits <= of or of == 0:
            raise ConfigurationError(f"`{what}`: {hits} of {of} makes no sense; give counts, such as 45 of 50")
    z = float(stats.norm.ppf((1 + level) / 2))
    sensitivity, specificity = true_passes[0] / true_passes[1], true_fails[0] / true_fails[1]
    if sensitivity + specificity <= 1:
        raise ConfigurationError(
            f"the judge agrees with people no more than a coin (sensitivity {sensitivity:.2f}, specificity "
            f"{specificity:.2f}): nothing can be corrected; improve its rubric, and calibrate it again"
        )
    # Lang and Reiczigel: one success and one failure more for the judge, z*z/2 of each for what it judged.
    n = judged + z**2
    p = (passed + z**2 / 2) / n
    n_se, n_sp = true_passes[1] + 2, true_fails[1] + 2
    se, sp = (true_passes[0] + 1) / n_se, (true_fails[0] + 1) / n_sp
    youden = se + sp - 1
    plain = (passed / judged + specificity - 1) / (sensitivity + specificity - 1)
    found = Corrected(
        value=min(max(plain, 0.0), 1.0), low=0.0, high=1.0, level=level, judged=passed / judged, wide=youden <= 0
    )
    if found.wide:  # with so few labels it may be a coin
        return found
    rate = (p + sp - 1) / youden
    shift = 2 * z**2 * (rate * se * (1 - se) / n_se - (1 - rate) * sp * (1 - sp) / n_sp)
    variance = p * (1 - p) / n + rate**2 * se * (1 - se) / n_se + (1 - rate) ** 2 * sp * (1 - sp) / n_sp
    half = z * math.sqrt(variance) / youden
    low, high = (min(max(rate + shift + side * half, 0.0), 1.0) for side in (-1, 1))
    return replace(found, low=low, high=high)


def corrected_comparison(
    comparison: Comparison, labels: Labelled, /, *, bounds: tuple[float, float] = (0.0, 1.0), pairwise: bool = False
) -> Corrected:
    """What a comparison by a judge's scores would have found by people's.

    Its interval is made of that of the comparison: one that holds whenever an experiment stopped still does.

    Args:
        comparison: Of the judge's scores, at the level of the labels.
        labels: What is known of the judge.
        bounds: Smallest and largest value of one answer, or of one pair.
        pairwise: Whether the judge said itself which of two answers is better, so that the comparison is with 0.

    Raises:
        ConfigurationError: Nothing can be corrected.
    """
    _require(labels)
    found, low, high = comparison.difference, comparison.low, comparison.high
    if pairwise:
        return _mean(found, low, high, labels, bounds)
    width = bounds[1] - bounds[0]
    return _quotient(found, low, high, labels, centre=0.0, bounds=(-width, width), judged=found)


def _mean(mean: float, low: float, high: float, labels: Labelled, bounds: tuple[float, float]) -> Corrected:
    """By the line of the judge's grades on people's, which goes through the means of the labels."""
    shift = float(labels.judged.mean())
    error = labels.t * labels.offset_error
    below, above = math.hypot(mean - low, error), math.hypot(high - mean, error)
    off = mean - shift
    centre = float(labels.human.mean())
    return _quotient(off, off - below, off + above, labels, centre=centre, bounds=bounds, judged=mean)


def _require(labels: Labelled) -> None:
    if labels.refusal is not None:
        raise ConfigurationError(labels.refusal)


def _quotient(
    top: float,
    low: float,
    high: float,
    labels: Labelled,
    *,
    centre: float,
    bounds: tuple[float, float],
    judged: float,
) -> Corrected:
    """`centre + top / slope`, from the interval of the one and of the other, cut at what is possible."""
    least, most = bounds
    slope, down, up = labels.slope, labels.slope - labels.slope_low, labels.slope_high - labels.slope
    wide = down >= slope
    lowest = -math.inf if wide else _lower_end(top, top - low, slope, down, up)
    highest = math.inf if wide else -_lower_end(-top, high - top, slope, down, up)
    return Corrected(
        value=min(max(centre + top / slope, least), most),
        low=min(max(centre + lowest, least), most),
        high=min(max(centre + highest, least), most),
        level=labels.level,
        judged=judged,
        wide=wide,
    )


def _lower_end(top: float, reach: float, slope: float, down: float, up: float) -> float:
    """The smallest x with `(top - x * slope)**2 <= reach**2 + x**2 * side**2`.

    A small positive quotient comes from a large slope (`side` is `up`), a negative one from a small slope (`down`).
    """
    if not math.isfinite(reach):
        return -math.inf
    beyond = top**2 - reach**2
    if top > reach:
        return beyond / (top * slope + math.sqrt(top**2 * up**2 + reach**2 * (slope**2 - up**2)))
    under = slope**2 - down**2
    return (top * slope - math.sqrt(top**2 * down**2 + reach**2 * under)) / under
