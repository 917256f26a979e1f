"""How much a score may drop, and whether a comparison shows that it has dropped by less: a test of non-inferiority.

The new pipeline passes where the whole confidence interval of its drop lies below what is allowed, and fails where the
whole of it lies above: ICH E9, Statistical principles for clinical trials (1998), section 3.3.2. Each of the two is
wrong with a probability of at most half of what the two-sided interval leaves, 2.5 % at a level of 0.95. All scores
have to pass, so nothing has to be corrected for their number: Berger, Technometrics 24 (1982), on intersection-union
tests.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
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

_VERDICTS: Mapping[str, GateVerdict] = {"within": "passed", "beyond": "failed", "cannot tell": "unsure"}


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


def shown(found: Comparison, limit: Limit, *, pairwise: bool = False) -> Shown:
    """Whether a comparison shows that the drop is within what is allowed.

    Args:
        found: The comparison.
        limit: What may drop.
        pairwise: Whether the scores compare two answers: they have no base to have a share of, and 1 is the whole.
    """
    shares = limit.relative and not pairwise
    relative = shares and found.base != 0
    said = found.drop(0.0 if shares and not relative else limit.size, relative=relative)
    verdict = _VERDICTS[said.verdict]
    more = 0 if verdict != "unsure" else None if said.needed is None else max(said.needed - found.cases, 1)
    scale = abs(found.base) if relative else 1.0
    return Shown(
        verdict=verdict,
        drop=said.drop * scale,
        least=said.least * scale,
        most=said.most * scale,
        allowed=said.allowed * scale,
        more=more,
    )
