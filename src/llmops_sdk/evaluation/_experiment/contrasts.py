"""Contrasts: each pipeline against the base, by each score."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from llmops_sdk.evaluation.statistics import Comparison, Corrected

__all__ = ["Contrast"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Contrast:
    """One pipeline against the base, by one score.

    Attributes:
        score: Name of the score.
        base: Label of the base.
        new: Label of the other one.
        comparison: What the statistics say; `None` where no case has both scores.
        failed: Cells of the two that have no score because the run or the metric failed.
        inapplicable: Cells of the two where the metric does not apply.
        corrected: The difference as people would have judged it, by a calibrated judge; `None` for other metrics.
    """

    score: str
    base: str
    new: str
    comparison: Comparison | None
    failed: int
    inapplicable: int
    corrected: Corrected | None = None

    def __str__(self) -> str:
        said = "cannot be compared: no case has both scores" if self.comparison is None else str(self.comparison)
        failed = f"; {self.failed} failed" if self.failed else ""
        corrected = f"; as people would judge: {self.corrected}" if self.corrected is not None else ""
        return f"{self.new} against {self.base}, {self.score}: {said}{corrected}{failed}"
