"""How much a score may drop, and whether a comparison shows that it has dropped by less: a test of non-inferiority.

The new pipeline passes where the whole confidence interval of its drop lies below what is allowed, and fails where the
whole of it lies above: ICH E9, Statistical principles for clinical trials (1998), section 3.3.2. Each of the two is
wrong with a probability of at most half of what the two-sided interval leaves, 2.5 % at a level of 0.95. All scores
have to pass, so nothing has to be corrected for their number: Berger, Technometrics 24 (1982), on intersection-union
tests.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from llmops_sdk.errors import ConfigurationError
from llmops_sdk.given import is_number

if TYPE_CHECKING:
    from llmops_sdk.evaluation.statistics import Comparison

__all__ = ["Drop", "GateVerdict", "Limit", "Shown", "shown"]

GateVerdict: TypeAlias = Literal["passed", "failed", "unsure", "reported"]
Drop: TypeAlias = "float | str"
"""A number in the score's unit, or a share of the base's mean as a text with a per cent sign: `0.01`, `"1%"`."""

_FEW = 10
"""Independent units below which an interval is a guess, and nobody passes or fails by it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Limit:
    """What a score may drop by.

    Attributes:
        size: In the score's unit, or as a share of the base's mean, `>= 0`.
        relative: Whether it is such a share.
    """

    size: float
    relative: bool

    @classmethod
    def of(cls, given: Any, /) -> Limit:
        """The limit that somebody wrote.

        Raises:
            ConfigurationError: It is neither a number nor a share.

        Example:
            >>> str(Limit.of("1%")), str(Limit.of(0.01)), str(Limit.of("0.5"))
            ('1%', '0.01', '0.5')
        """
        relative = isinstance(given, str) and given.strip().endswith("%")
        text = given.strip().removesuffix("%") if isinstance(given, str) else given
        try:
            size = float(text) if isinstance(text, str) or is_number(text) else math.nan
        except ValueError:
            size = math.nan
        if not 0 <= size < math.inf:
            raise ConfigurationError(
                f"a drop is a number in the score's unit, such as 0.01, or a share of the base such as '1%', and 0 or "
                f"more; not {given!r}"
            )
        return cls(size=size / 100 if relative else size, relative=relative)

    def within(self, base: float, *, pairwise: bool) -> float:
        """In the score's unit. Scores that compare two answers have no base: there 1 is the whole."""
        return self.size * (1.0 if pairwise else abs(base)) if self.relative else self.size

    def __str__(self) -> str:
        return f"{self.size * 100:g}%" if self.relative else f"{self.size:g}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Shown:
    """What a comparison shows of a drop.

    Attributes:
        verdict: Whether it is within the limit.
        drop: As it was observed, positive where the new one is worse, in the score's unit.
        least: Lower end of its interval.
        most: Upper end.
        allowed: What it may be.
        more: About how many more cases would tell; `None` where that cannot be said, 0 where it is told.
    """

    verdict: GateVerdict
    drop: float
    least: float
    most: float
    allowed: float
    more: int | None


def shown(found: Comparison, allowed: float, *, bounds: tuple[float, float]) -> Shown:
    """Whether a comparison shows that the drop is within what is allowed.

    Args:
        found: The comparison.
        allowed: In the score's unit, `>= 0`.
        bounds: The smallest and the largest score: what one case can lose at most.
    """
    least, most = (-found.high, -found.low) if found.higher_is_better else (found.low, found.high)
    drop = -found.difference if found.higher_is_better else found.difference
    width = bounds[1] - bounds[0]
    if least == most:
        unseen = _unseen(found, width)
        least, most = least - unseen, most + unseen
    few = found.clusters < _FEW
    verdict: GateVerdict = "unsure"
    if not few and most <= allowed:
        verdict = "passed"
    elif not few and least > allowed:
        verdict = "failed"
    more = 0 if verdict != "unsure" else _more(found, drop, allowed, width)
    if few:
        more = max(more or 0, _FEW - found.clusters)
    return Shown(verdict=verdict, drop=drop, least=least, most=most, allowed=allowed, more=more)


def _unseen(found: Comparison, width: float) -> float:
    """By how much the mean may be another one where all cases differ alike, so that their spread says nothing.

    What none of `n` cases showed happens to at most `1 - error ** (1 / n)` of all: Louis, The American Statistician 35
    (1981). One case loses the width of the scores at most.
    """
    return width * -math.expm1(math.log(_error(found)) / found.clusters)


def _error(found: Comparison) -> float:
    return (1 - found.level) / 2


def _more(found: Comparison, drop: float, allowed: float, width: float) -> int | None:
    """By the normal approximation: `detectable` is what the interval shows with the wanted power at this many cases."""
    room = abs(drop - allowed)
    if not room or not math.isfinite(found.detectable):
        return None
    if found.low != found.high:
        needed = found.cases * (found.detectable / room) ** 2
    elif room < width < math.inf:
        needed = math.log(_error(found)) / math.log1p(-room / width)
    else:
        return None
    return max(math.ceil(needed) - found.cases, 1) if needed < 1e12 else None
