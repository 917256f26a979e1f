"""Is it worse than may be? The question of a gate: non-inferiority.

Source: ICH E9, Statistical principles for clinical trials (1998), section 3.3.2: one side of the two-sided interval
answers it, with half of its probability to err.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

__all__ = ["Drop"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Drop:
    """How much worse the new pipeline is, against how much worse it may be.

    Attributes:
        verdict: `"within"`: the drop is smaller than the allowed one, for certain; `"beyond"`: it is larger, for
            certain; `"cannot tell"`, also where there are fewer than ten clusters.
        drop: How much worse it is, below 0 where it is better; in the score's unit, or as a share of the base.
        least: Lower end of the drop's interval.
        most: Upper end: it may be as bad as that.
        allowed: The largest drop that may be.
        relative: Whether drops are shares of the base's mean.
        needed: Cases of this kind that show on which side of the allowed one a drop of this size is, about; `None`
            where that cannot be said.
    """

    verdict: Literal["within", "beyond", "cannot tell"]
    drop: float
    least: float
    most: float
    allowed: float
    relative: bool
    needed: int | None

    def __str__(self) -> str:
        form = ".2%" if self.relative else ".4g"
        where = "cannot tell within or beyond" if self.verdict == "cannot tell" else self.verdict
        more = f"; about {self.needed:,} cases would tell" if self.verdict == "cannot tell" and self.needed else ""
        said = f"drop {self.drop:{form}} (from {self.least:{form}} to {self.most:{form}}){more}"
        return f"{where} the allowed {self.allowed:{form}}: {said}"
