"""How an experiment is analysed: chosen before its scores are seen, and kept with it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from llmops_sdk.errors import ConfigurationError

__all__ = ["Analysis", "Correction"]

Correction = Literal["holm", "benjamini-hochberg"]

_CORRECTIONS = ("holm", "benjamini-hochberg", None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Analysis:
    """The options of the statistics.

    Attributes:
        level: Probability of an interval to cover the true difference, `0.5 < level < 1`; verdicts err with `1 - level`
            at most.
        power: Probability with which a detectable difference is found, `0 < power < 1`.
        margins: Score (or metric, for all of its scores) -> size up to which a difference does not matter, `> 0`.
        correction: For many comparisons: `"holm"` bounds the probability of any false alarm, `"benjamini-hochberg"`
            the share of false alarms among the alarms, `None` corrects nothing.
        primary: Scores or metrics that decide when a sequential experiment stops; by default the first metric.
        sequential: Whether the experiment could stop at any time: intervals and p-values hold at every moment then.

    Raises:
        ConfigurationError: One is out of its range.

    Example:
        >>> Analysis(margins={"exact": 0.02}).margin("exact"), Analysis().margin("exact")
        (0.02, None)
    """

    level: float = 0.95
    power: float = 0.8
    margins: Mapping[str, float] = field(default_factory=dict)
    correction: Correction | None = "holm"
    primary: tuple[str, ...] = ()
    sequential: bool = False

    def __post_init__(self) -> None:
        if not 0.5 < self.level < 1 or not 0 < self.power < 1:
            raise ConfigurationError(
                f"level={self.level!r}, power={self.power!r}: write 0.5 < level < 1 and 0 < power < 1, such as 0.95 "
                "and 0.8"
            )
        for name, margin in self.margins.items():
            if not 0 < margin < math.inf:
                raise ConfigurationError(f"the margin of {name!r} is a number above 0, not {margin!r}")
        if self.correction not in _CORRECTIONS:
            raise ConfigurationError(f'`correction` is "holm", "benjamini-hochberg" or None, not {self.correction!r}')
        if isinstance(self.primary, str):
            raise ConfigurationError(f"`primary` is a tuple of names: write ({self.primary!r},)")
        object.__setattr__(self, "margins", dict(self.margins))
        object.__setattr__(self, "primary", tuple(self.primary))

    def margin(self, score: str, metric: str | None = None) -> float | None:
        """The margin of a score: its own, or else that of its metric.

        Args:
            score: Name of the score.
            metric: Name of the metric that gives it, where that is another.
        """
        own = self.margins.get(score)
        return own if own is not None or metric is None else self.margins.get(metric)
