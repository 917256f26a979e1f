"""Means and differences as people would have judged them, from what a judge has judged.

Where the judge errs alike on both pipelines, the difference that it sees is that of people times the slope of the
judge's values on people's. So the corrected difference is a quotient of two estimates that have nothing to do with each
other: the difference comes from the experiment, the slope from the labels. Its interval is made of theirs (Donner and
Zou, Statistical Methods in Medical Research 21 (2012): MOVER for quotients, of which Fieller's is the symmetric case).
Where the slope may be 0, the quotient may be anything: the interval is all that is possible then.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from typing import Any

from llmops_sdk.errors import ConfigurationError
from llmops_sdk.evaluation.statistics._intervals import interval
from llmops_sdk.evaluation.statistics._judges import corrected_rate
from llmops_sdk.evaluation.statistics._labelled import Labelled, effective_count
from llmops_sdk.evaluation.statistics._paired import Scores, paired

__all__ = ["Corrected", "corrected_difference", "corrected_mean"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Corrected:
    """A mean, or a difference of means, as people would have judged it.

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
        wide = labels.slope_low <= 0
        return Corrected(
            value=rate.rate,
            low=0.0 if wide else rate.low,
            high=1.0 if wide else rate.high,
            level=labels.level,
            judged=mean,
            wide=wide,
        )
    shift = float(labels.judged.mean())
    error = labels.t * labels.offset_error
    low, high = (end - shift for end in interval(found, labels.level))
    off = mean - shift
    low, high = off - math.hypot(off - low, error), off + math.hypot(high - off, error)
    return _quotient(off, low, high, labels, centre=float(labels.human.mean()), bounds=bounds, judged=mean)


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
