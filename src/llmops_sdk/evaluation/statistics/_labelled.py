"""How a judge's values follow those of people, from answers that both have judged.

A judge of pass and fail is described by its sensitivity and specificity; where people's rate of passes moves by one,
the judge's moves by `sensitivity + specificity - 1` (Youden's index). A judge of grades is described by the line of its
grades on people's: its slope says the same. Both describe a difference between two pipelines as the judge sees it, so
long as the judge errs alike on both.

Sources: Newcombe, Statistics in Medicine 17 (1998), method 10, for the interval of Youden's index from those of Wilson;
MacKinnon and White, Journal of Econometrics 29 (1985), for errors of the slope (HC3, summed over clusters).
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats

from llmops_sdk.errors import ConfigurationError
from llmops_sdk.evaluation.statistics._paired import Floats

__all__ = ["Labelled", "Share", "effective_count", "labelled"]

_FEWEST = 10
"""Labels from which a bend in the line can be told."""
_BENT = 0.01


@dataclass(frozen=True, slots=True, kw_only=True)
class Share:
    """A share of answers, with its interval (Wilson).

    Attributes:
        hits: How many of them.
        of: How many there are.
        value: Their share; `nan` without any.
        low: Lower end of the interval.
        high: Upper end.
        effective: How many independent answers say as much: fewer than `of` where they come in clusters.
    """

    hits: int
    of: int
    value: float
    low: float
    high: float
    effective: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Labelled:
    """What answers that people and a judge have judged say of the judge.

    Attributes:
        human: People's values, shape `(answers,)`.
        judged: The judge's, shape `(answers,)`.
        level: Probability of the intervals to cover the truth.
        sensitivity: How often the judge passes what people pass; `None` where it does not say pass or fail.
        specificity: How often it fails what people fail.
        slope: By how much the judge's mean moves where people's moves by one; `nan` where it cannot be said.
        slope_low: Lower end of its interval.
        slope_high: Upper end.
        offset_error: Standard error of the judge's mean at people's mean.
        t: Quantile for that error.
        refusal: Why nothing can be corrected by it; `None` where something can.
    """

    human: Floats
    judged: Floats
    level: float
    sensitivity: Share | None
    specificity: Share | None
    slope: float
    slope_low: float
    slope_high: float
    offset_error: float
    t: float
    refusal: str | None


def labelled(
    human: Sequence[float],
    judged: Sequence[float],
    /,
    *,
    clusters: Sequence[Hashable | None] | None = None,
    level: float = 0.95,
    graded: bool = False,
) -> Labelled:
    """Describe a judge by answers that people have judged, too.

    Args:
        human: People's values.
        judged: The judge's values of the same answers.
        clusters: The cluster of each answer; `None` for one that stands alone.
        level: Probability of the intervals to cover the truth, `0 < level < 1`.
        graded: Whether 0 and 1 are two of several grades, also where the labels have no other.

    Raises:
        ConfigurationError: There are no answers, or not as many of the one as of the other.
    """
    people, judge = np.asarray(human, dtype=float), np.asarray(judged, dtype=float)
    if people.shape != judge.shape or people.ndim != 1 or people.size == 0:
        raise ConfigurationError(
            f"people's and the judge's values of the same answers, not {people.size}, {judge.size}"
        )
    if not (np.isfinite(people).all() and np.isfinite(judge).all()):
        raise ConfigurationError("people's and the judge's values are finite numbers")
    names = [
        ("", place) if name is None else ("c", name) for place, name in enumerate(clusters or [None] * people.size)
    ]
    if not graded and np.isin(np.concatenate([people, judge]), (0.0, 1.0)).all():
        return _of_passes(people, judge, names, level)
    return _of_grades(people, judge, names, level)


def effective_count(share: float, error: float, most: float, clusters: int) -> float:
    """How many independent answers would give a share with this standard error; at most as many as there are."""
    if not error > 0 or not 0 < share < 1:
        return float(clusters)
    return min(share * (1 - share) / error**2, most)


def _of_passes(people: Floats, judge: Floats, names: Sequence[Hashable], level: float) -> Labelled:
    passes = people == 1
    sensitivity = _share(judge[passes] == 1, [n for n, one in zip(names, passes, strict=True) if one], level)
    specificity = _share(judge[~passes] == 0, [n for n, one in zip(names, passes, strict=True) if not one], level)
    slope = sensitivity.value + specificity.value - 1
    down = math.hypot(sensitivity.value - sensitivity.low, specificity.value - specificity.low)
    up = math.hypot(sensitivity.high - sensitivity.value, specificity.high - specificity.value)
    refusal = None
    if sensitivity.of == 0 or specificity.of == 0:
        lacking = "passed" if sensitivity.of == 0 else "failed"
        refusal = (
            f"no answer among the labels is {lacking} by people: nothing can be corrected; label some of those, too"
        )
    elif slope <= 0:
        refusal = (
            f"the judge agrees with people no more than a coin (sensitivity {sensitivity.value:.2f}, specificity "
            f"{specificity.value:.2f}): nothing can be corrected; improve its rubric, and calibrate it again"
        )
    return Labelled(
        human=people,
        judged=judge,
        level=level,
        sensitivity=sensitivity,
        specificity=specificity,
        slope=slope,
        slope_low=slope - down,
        slope_high=slope + up,
        offset_error=math.nan,
        t=math.nan,
        refusal=refusal,
    )


def _share(hits: np.ndarray, names: Sequence[Hashable], level: float) -> Share:
    of = len(hits)
    if of == 0:
        return Share(hits=0, of=0, value=math.nan, low=0.0, high=1.0, effective=0.0)
    value = float(hits.mean())
    index = _index(names)
    sizes = np.bincount(index)
    influence = np.bincount(index, hits.astype(float)) - sizes * value
    error = math.sqrt(float((influence**2).sum()) * sizes.size / max(sizes.size - 1, 1)) / of
    count = effective_count(value, error, of, sizes.size)
    z2 = float(stats.norm.ppf((1 + level) / 2)) ** 2
    middle = (value + z2 / (2 * count)) / (1 + z2 / count)
    half = math.sqrt(z2 * (value * (1 - value) / count + z2 / (4 * count**2))) / (1 + z2 / count)
    low, high = max(middle - half, 0.0), min(middle + half, 1.0)
    return Share(hits=int(hits.sum()), of=of, value=value, low=min(low, value), high=max(high, value), effective=count)


def _of_grades(people: Floats, judge: Floats, names: Sequence[Hashable], level: float) -> Labelled:
    index = _index(names)
    free = int(index.max()) + 1 - 2
    centred = people - people.mean()
    spread = float((centred**2).sum())
    refusal, slope, reach, error, t = None, math.nan, math.nan, math.nan, math.nan
    if free < 1 or spread == 0:
        refusal = "people gave all answers the same grade, or there are fewer than three: nothing can be corrected"
    else:
        slope = float((centred * judge).sum()) / spread
        residual = judge - judge.mean() - slope * centred
        leverage = 1 / people.size + centred**2 / spread
        sized = residual / np.maximum(1 - leverage, 1e-9)
        t = float(stats.t.ppf((1 + level) / 2, free))
        reach = t * math.sqrt(float((np.bincount(index, centred * sized) ** 2).sum())) / spread
        error = math.sqrt(float((np.bincount(index, sized) ** 2).sum())) / people.size
        refusal = _refusal(people, judge, slope)
    return Labelled(
        human=people,
        judged=judge,
        level=level,
        sensitivity=None,
        specificity=None,
        slope=slope,
        slope_low=slope - reach,
        slope_high=slope + reach,
        offset_error=error,
        t=t,
        refusal=refusal,
    )


def _index(names: Sequence[Hashable]) -> np.ndarray:
    """A number for each cluster, from 0."""
    numbers = {name: number for number, name in enumerate(dict.fromkeys(names))}
    return np.array([numbers[name] for name in names])


def _refusal(people: Floats, judge: Floats, slope: float) -> str | None:
    if slope <= 0:
        return (
            f"the judge's grades do not rise with people's (slope {slope:.2f}): nothing can be corrected; improve its "
            "rubric, and calibrate it again"
        )
    if people.size >= _FEWEST and np.unique(people).size > 2 and (p := _bend(people, judge)) < _BENT:
        return (
            f"the judge's grades do not follow people's in a line (p = {p:.1g}), so that differences cannot be "
            "corrected by one number; a judge of pass and fail can be"
        )
    return None


def _bend(people: Floats, judge: Floats) -> float:
    """P-value of "the square adds nothing to the line", with errors that may differ from grade to grade (HC3)."""
    x = np.column_stack([np.ones_like(people), people, people**2])
    inverse = np.linalg.pinv(x.T @ x)
    fitted = inverse @ x.T @ judge
    leverage = np.einsum("ij,jk,ik->i", x, inverse, x)
    sized = (judge - x @ fitted) / np.maximum(1 - leverage, 1e-9)
    variance = float((inverse @ (x.T * sized**2) @ x @ inverse)[2, 2])
    if not variance > 0:
        return 1.0 if abs(fitted[2]) < 1e-9 else 0.0
    return float(2 * stats.t.sf(abs(fitted[2]) / math.sqrt(variance), max(people.size - 3, 1)))
