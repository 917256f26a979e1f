"""The comparison of two pipelines by one metric: how much better, how sure, and what that means in words."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Literal, TypeAlias

from scipy import special

from llmops_sdk.errors import ConfigurationError
from llmops_sdk.evaluation.statistics._drop import Drop

__all__ = ["FEWEST", "Comparison", "Verdict", "check_options", "decided"]

Verdict: TypeAlias = Literal["better", "worse", "equivalent", "cannot tell"]

FEWEST = 10
"""Clusters below which an interval is a guess: no drop is within or beyond what is allowed, and nothing equivalent."""
_MOST = 1e12
_FEW_REPEATS = 20
"""Repeats up to which they are worth a mention."""


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
        relative: The difference as a share of the size of the base's mean; `nan` where that is 0.
        relative_low: Lower end of its interval; `-inf` where the base's mean may be 0.
        relative_high: Upper end.
        p_value: Two-sided, of "there is no difference"; corrected where there are several comparisons.
        standard_error: Of the difference; `nan` for a single cluster.
        effect_size: The difference in standard deviations of the cases' differences (Cohen's d_z); 0 where none differ.
        wins: Share of the cases that differ in which the new one scores higher; `nan` where none differ.
        ties: Share of the cases that do not differ.
        detectable: The smallest true difference that `cases` such cases show with probability `power`; `inf` where they
            are too few to show any. Shared among `comparisons`, as `needed`.
        needed: Cases of this kind that would show the observed difference with probability `power`, or, where a
            margin is given, show that it is smaller than that; `None` where nothing differs.
        needed_repeats: Repeats of the same cases that would do as well; `None` where no number of them would, or where
            no case was run twice.
        power: See `detectable`.
        margin: Differences up to this size do not matter; `None` where every difference does.
        higher_is_better: What the verdict takes for better.
        cases: Cases that both have scored.
        clusters: What is independent of each other among them.
        repeats: Runs of a case, on average.
        noise_share: Share of the differences' variance that comes from repeats of the same case: near 1, more repeats
            help as much as more cases; `nan` where each case was run once.
        unpaired: Cases with only one score, left out.
        comparisons: How many are made, of which this is one.
        sequential: Whether interval and p-value hold at every moment, so that the run could stop at any.
        verdict: `"better"`, `"worse"`, `"equivalent"` (within the margin) or `"cannot tell"`.
    """

    base: float
    new: float
    difference: float
    low: float
    high: float
    level: float
    relative: float
    relative_low: float
    relative_high: float
    p_value: float
    standard_error: float
    effect_size: float
    wins: float
    ties: float
    detectable: float
    needed: int | None
    needed_repeats: int | None
    power: float
    margin: float | None
    higher_is_better: bool
    cases: int
    clusters: int
    repeats: float
    noise_share: float
    unpaired: int
    comparisons: int = 1
    sequential: bool = False
    verdict: Verdict

    @property
    def more(self) -> int | None:
        """About how many more cases are needed; 0 where it can be told now."""
        return None if self.needed is None else 0 if self.verdict != "cannot tell" else max(self.needed - self.cases, 1)

    @property
    def odds(self) -> float:
        """Cases that the new one wins for each that it loses: for pass or fail, the odds ratio of the two (McNemar)."""
        return math.inf if self.wins == 1 else self.wins / (1 - self.wins)

    @property
    def superiority(self) -> float:
        """Probability that the new one scores higher on a case, ties counted as half; 0.5 where neither does."""
        return (0.0 if math.isnan(self.wins) else self.wins * (1 - self.ties)) + self.ties / 2

    def with_p_value(self, p_value: float) -> Comparison:
        """The same with a corrected p-value; the verdict follows it."""
        changed = replace(self, p_value=p_value)
        return replace(changed, verdict=decided(changed, inside=self.verdict == "equivalent"))

    def drop(self, allowed: float, /, *, relative: bool = False) -> Drop:
        """Whether the new one is worse by no more than is allowed, whichever side is better.

        Args:
            allowed: The largest drop that may be, `>= 0`: in the score's unit, or with `relative` as a share of the
                base's mean.
            relative: See there.

        Raises:
            ConfigurationError: `allowed` is no such number.

        Example:
            >>> from llmops_sdk.evaluation.statistics import compare
            >>> found = compare({case: 1.0 for case in range(400)}, {case: float(case > 0) for case in range(400)})
            >>> print(found.drop(0.02))
            within the allowed 0.02: drop 0.0025 (from -0.007036 to 0.01402)
        """
        if not 0 <= allowed < math.inf:
            raise ConfigurationError(f"an allowed drop is a number from 0, such as 0.01, not {allowed!r}")
        ends = (
            (self.relative, self.relative_low, self.relative_high)
            if relative
            else (self.difference, self.low, self.high)
        )
        drop, least, most = (0 - ends[0], 0 - ends[2], 0 - ends[1]) if self.higher_is_better else ends
        told = self.clusters >= FEWEST
        return Drop(
            verdict="cannot tell" if not told or least <= allowed <= most else "within" if drop < allowed else "beyond",
            drop=drop,
            least=least,
            most=most,
            allowed=allowed,
            relative=relative,
            needed=self._needed_for_drop(drop, most - drop if drop < allowed else drop - least, allowed),
        )

    def _needed_for_drop(self, drop: float, reach: float, allowed: float) -> int | None:
        """By how much the interval has to narrow for its end to leave room with the asked probability."""
        room = abs(allowed - drop)
        if self.clusters < 2 or not reach < room * math.sqrt(_MOST):
            return None
        narrower = reach / room
        if self.standard_error > 0:
            quantile = float(special.ndtri((1 + self.level) / 2))
            narrower = (narrower * (1 + float(special.ndtri(self.power)) / quantile)) ** 2
        # Else all cases are alike, and the interval is for what none of them shows: it narrows with their number.
        needed = max(self.cases * narrower, FEWEST * self.cases / self.clusters)
        return math.ceil(needed) if needed < _MOST else None

    def __str__(self) -> str:
        return f"{self.verdict}{self._why()}"

    def _why(self) -> str:
        said = f" {self.difference:+.4g} ({self.level:.0%} interval {self.low:+.4g} to {self.high:+.4g}"
        said += f", p = {self.p_value:.2g}, {_count(self.cases, 'case')}"
        said += f" in {_count(self.clusters, 'cluster')}" if self.clusters < self.cases else ""
        said += ", valid at any stop)" if self.sequential else ")"
        if self.verdict == "equivalent":
            return f" within {self.margin:g}:{said}"
        return f" ({self.lacks}):{said}" if self.verdict == "cannot tell" else f" by{said}"

    @property
    def lacks(self) -> str:
        """What it would take to tell, in words; the number of cases is rounded up to two digits, for it is a guess."""
        if self.more is not None:
            more = _rounded_up(self.more)
            return f"needs about {more:,} more {'case' if more == 1 else 'cases'}{self._or_repeats()}"
        return "nothing differs" if self.ties == 1 else "needs more clusters" if self.clusters < 2 else "no difference"

    def _or_repeats(self) -> str:
        repeats = self.needed_repeats
        return f", or {repeats} repeats of each" if repeats and self.repeats < repeats <= _FEW_REPEATS else ""


def check_options(level: float, power: float, margin: float | None, comparisons: int) -> None:
    """Raise a `ConfigurationError` for what makes no sense."""
    if not 0.5 < level < 1 or not 0 < power < 1 or (margin is not None and not margin > 0) or comparisons < 1:
        raise ConfigurationError(
            f"{level=}, {power=}, {margin=}, {comparisons=}: write 0.5 < level < 1, 0 < power < 1, margin > 0, "
            "comparisons >= 1"
        )


def decided(found: Comparison, *, inside: bool) -> Verdict:
    """The verdict; `inside` says that the difference is smaller than the margin for certain."""
    if inside:
        return "equivalent"
    if found.p_value > 1 - found.level or found.low <= 0 <= found.high:
        return "cannot tell"
    return "better" if (found.difference > 0) == found.higher_is_better else "worse"


def _rounded_up(number: int) -> int:
    """To two digits.

    >>> _rounded_up(7), _rounded_up(95), _rounded_up(688_147)
    (7, 95, 690000)
    """
    step = int(10 ** max(len(str(number)) - 2, 0))
    return -(-number // step) * step


def _count(number: int, what: str) -> str:
    return f"{number} {what}" if number == 1 else f"{number} {what}s"
