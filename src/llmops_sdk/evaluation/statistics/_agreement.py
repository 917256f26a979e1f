"""How far judges agree, beyond chance.

Sources: Cohen, Educational and Psychological Measurement 20 (1960), and Psychological Bulletin 70 (1968) for weights;
Krippendorff, Content Analysis (2004), chapter 11.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal

import numpy as np
from scipy import stats

from llmops_sdk.errors import ConfigurationError
from llmops_sdk.evaluation.statistics._paired import Floats

__all__ = ["cohen_kappa", "krippendorff_alpha", "sign_test"]


def cohen_kappa(one: Sequence[float], other: Sequence[float], /) -> float:
    """Agreement of two judges on the same answers, weighted by squared distance: 1 is full agreement, 0 chance.

    With two values the weights change nothing. `nan` where both have said one and the same of everything.

    Raises:
        ConfigurationError: They have not judged the same number of answers, or none.

    Example:
        >>> round(cohen_kappa([1, 1, 0, 0], [1, 0, 0, 0]), 3)
        0.5
    """
    first, second = np.asarray(one, dtype=float), np.asarray(other, dtype=float)
    if first.shape != second.shape or first.ndim != 1 or first.size == 0:
        raise ConfigurationError(f"two judges of the same answers: not {first.size} and {second.size} values")
    seen = ((first - second) ** 2).mean()
    by_chance = first.var() + second.var() + (first.mean() - second.mean()) ** 2
    return float(1 - seen / by_chance) if by_chance > 0 else math.nan


def krippendorff_alpha(
    ratings: Sequence[Sequence[float | None]], /, *, distance: Literal["nominal", "interval"] = "nominal"
) -> float:
    """Agreement of several judges, some of whom may have missed some answers: 1 is full agreement, 0 chance.

    Args:
        ratings: A row for each answer, with a place for each judge, `None` where one has not judged.
        distance: `"nominal"`: values differ or do not; `"interval"`: by squared distance.

    Returns:
        Alpha; `nan` where no answer has two ratings, or all ratings are the same.

    Example:
        >>> round(krippendorff_alpha([[1, 1], [0, 0], [1, 0], [0, None]]), 3)
        0.444
    """
    rows = [np.array([one for one in row if one is not None], dtype=float) for row in ratings]
    rows = [row for row in rows if row.size > 1]
    if not rows:
        return math.nan
    every = np.concatenate(rows)
    seen = sum(_disagreement(row, distance) / (row.size - 1) for row in rows) / every.size
    by_chance = _disagreement(every, distance) / (every.size * (every.size - 1))
    return float(1 - seen / by_chance) if by_chance > 0 else math.nan


def _disagreement(values: Floats, distance: str) -> float:
    """Sum of the distances of all ordered pairs."""
    if distance == "nominal":
        counts = np.unique(values, return_counts=True)[1]
        return float(values.size**2 - (counts**2).sum())
    return float(2 * values.size**2 * values.var())


def sign_test(more: int, fewer: int, /) -> float:
    """Two-sided p-value of "one is as likely as the other", exact; 1 where there is neither."""
    return float(stats.binomtest(more, more + fewer).pvalue) if more + fewer else 1.0
