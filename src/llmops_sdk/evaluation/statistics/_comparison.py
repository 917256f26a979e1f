"""The comparison of two pipelines by one metric: how much better, how sure, and what that means in words."""

from __future__ import annotations

import math
from collections.abc import Hashable, Mapping
from dataclasses import dataclass, replace
from typing import Literal, TypeAlias

from scipy import stats

from llmops_sdk.errors import ConfigurationError
from llmops_sdk.evaluation.statistics._intervals import interval
from llmops_sdk.evaluation.statistics._paired import Paired, Scores, paired
from llmops_sdk.evaluation.statistics._tests import p_value

__all__ = ["Comparison", "Verdict", "compare"]

Verdict: TypeAlias = Literal["better", "worse", "equivalent", "cannot tell"]

_FEW = 10
"""Clusters below which nothing is certain: an interval of so few is a guess."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """How the new pipeline compares with the base, by one metric.

    Attributes:
        base: Mean score of the base over the cases that both have.
        new: Mean score of the new one.
        difference: New minus base.
        low: Lower end of the confidence interval of the difference.
        high: Upper end.
        level: Probability of the interval to cover the true difference.
        p_value: Two-sided, of "there is no difference"; corrected where there are several comparisons.
        effect_size: The difference in standard deviations of the cases' differences (Cohen's d_z); 0 where none differ.
        wins: Share of the cases that differ in which the new one scores higher; `nan` where none differ.
        detectable: The smallest true difference that `cases` such cases show with probability `power`.
        needed: Cases of this kind that would show the observed difference with probability `power`, or, where a
            margin is given, show that it is smaller than that; `None` where nothing differs.
        power: See `detectable`.
        margin: Differences up to this size do not matter; `None` where every difference does.
        higher_is_better: What the verdict takes for better.
        cases: Cases that both have scored.
        clusters: What is independent of each other among them.
        repeats: Runs of a case, on average.
        noise_share: Share of the differences' variance that comes from repeats of the same case: near 1, more repeats
            help as much as more cases; `nan` where each case was run once.
        unpaired: Cases with only one score, left out.
        verdict: `"better"`, `"worse"`, `"equivalent"` (within the margin) or `"cannot tell"`.
    """

    base: float
    new: float
    difference: float
    low: float
    high: float
    level: float
    p_value: float
    effect_size: float
    wins: float
    detectable: float
    needed: int | None
    power: float
    margin: float | None
    higher_is_better: bool
    cases: int
    clusters: int
    repeats: float
    noise_share: float
    unpaired: int
    verdict: Verdict

    @property
    def more(self) -> int | None:
        """About how many more cases are needed; 0 where it can be told now."""
        return None if self.needed is None else 0 if self.verdict != "cannot tell" else max(self.needed - self.cases, 1)

    def with_p_value(self, p_value: float) -> Comparison:
        """The same with a corrected p-value; the verdict follows it."""
        changed = replace(self, p_value=p_value)
        return replace(changed, verdict=_verdict(changed, inside=self.verdict == "equivalent"))

    def __str__(self) -> str:
        return f"{self.verdict}{self._why()}"

    def _why(self) -> str:
        said = f" {self.difference:+.4g} ({self.level:.0%} interval {self.low:+.4g} to {self.high:+.4g}"
        said += f", p = {self.p_value:.2g}"
        said += f", {self.cases} cases" + (f" in {self.clusters} clusters" if self.clusters < self.cases else "") + ")"
        if self.verdict == "equivalent":
            said = f" within {self.margin:g}:{said}"
        elif self.verdict == "cannot tell":
            more = self.more
            said = (" (needs about " + f"{more:,} more cases)" if more else " (nothing differs)") + ":" + said
        else:
            said = f" by{said}"
        return said


def compare(
    base: Scores,
    new: Scores,
    /,
    *,
    clusters: Mapping[Hashable, Hashable] | None = None,
    margin: float | None = None,
    higher_is_better: bool = True,
    level: float = 0.95,
    power: float = 0.8,
) -> Comparison:
    """Compare two pipelines on the same cases.

    The p-value is exact where the two do the same: at `level=0.95` at most one in twenty such comparisons is called
    better or worse, whatever the shape of the scores. The verdict needs both the p-value and the interval to agree.

    Args:
        base: Case -> score of the pipeline that is there; a list of scores where a case was run several times.
        new: The same of the one that may take its place.
        clusters: Case -> its cluster, where cases are not independent; others stand alone.
        margin: Differences up to this size do not matter, `> 0`: the verdict may be `"equivalent"` then.
        higher_is_better: Whether a higher score is better; `False` for latencies and costs.
        level: Probability of the interval to cover the truth, `0.5 < level < 1`; verdicts err with `1 - level`.
        power: Probability with which a detectable difference is to be found, `0 < power < 1`.

    Raises:
        ConfigurationError: No case has both scores, a score is not finite, or an option is out of range.

    Example:
        >>> base = {case: 0.0 for case in range(40)}
        >>> new = {case: float(case % 4 > 0) for case in range(40)}
        >>> print(compare(base, new))
        better by +0.75 (95% interval +0.6 to +0.875, p = 1.9e-09, 40 cases)
    """
    if not 0.5 < level < 1 or not 0 < power < 1 or (margin is not None and not margin > 0):
        raise ConfigurationError(f"{level=}, {power=}, {margin=}: write 0.5 < level < 1, 0 < power < 1, margin > 0")
    scores = paired(base, new, clusters=clusters)
    low, high = interval(scores, level)
    inside = margin is not None and _inside(scores, margin, level)
    spread = float(scores.differences.std(ddof=1)) if scores.cases > 1 else 0.0
    differ = scores.differences[scores.differences != 0]
    mean = float(scores.base.mean())
    found = Comparison(
        base=mean,
        new=mean + scores.estimate,
        difference=scores.estimate,
        low=low,
        high=high,
        level=level,
        p_value=p_value(scores),
        effect_size=scores.estimate / spread if spread else 0.0,
        wins=float((differ > 0).mean()) if len(differ) else math.nan,
        detectable=_z(level, power) * scores.standard_error,
        needed=_needed(scores, level, power, margin),
        power=power,
        margin=margin,
        higher_is_better=higher_is_better,
        cases=scores.cases,
        clusters=scores.clusters,
        repeats=scores.repeats,
        noise_share=min(scores.within / spread**2, 1.0) if spread else math.nan,
        unpaired=scores.unpaired,
        verdict="cannot tell",
    )
    return replace(found, verdict=_verdict(found, inside=inside))


def _inside(scores: Paired, margin: float, level: float) -> bool:
    """Whether two one-sided tests say that the difference is smaller than the margin."""
    low, high = interval(scores, 2 * level - 1)
    return scores.clusters >= _FEW and -margin < low and high < margin


def _verdict(found: Comparison, *, inside: bool) -> Verdict:
    if inside:
        return "equivalent"
    if found.p_value > 1 - found.level or found.low <= 0 <= found.high:
        return "cannot tell"
    return "better" if (found.difference > 0) == found.higher_is_better else "worse"


def _z(level: float, power: float) -> float:
    return float(stats.norm.ppf((1 + level) / 2) + stats.norm.ppf(power))


def _needed(scores: Paired, level: float, power: float, margin: float | None) -> int | None:
    """By the normal approximation; clusters keep their size."""
    error = scores.standard_error
    if not error > 0:
        return None
    difference = abs(scores.estimate)
    by_difference = _z(level, power) / difference if difference else math.inf
    if margin is not None and difference < margin:
        # Two one-sided tests, both of which have to succeed: Julious, Statistics in Medicine 23 (2004).
        z = float(stats.norm.ppf(level) + stats.norm.ppf((1 + power) / 2))
        by_difference = min(by_difference, z / (margin - difference))
    needed = scores.cases * (error * by_difference) ** 2
    return math.ceil(needed) if math.isfinite(needed) and needed < 1e12 else None
