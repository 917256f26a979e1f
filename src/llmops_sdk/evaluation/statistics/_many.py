"""P-values of many comparisons, corrected for their number."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
from scipy import stats

from llmops_sdk.errors import ConfigurationError

__all__ = ["adjusted"]


def adjusted(p_values: Sequence[float], /, *, method: Literal["holm", "benjamini-hochberg"] = "holm") -> list[float]:
    """P-values corrected for how many they are, in the same order.

    Args:
        p_values: As they come from the comparisons, each `0 <= p <= 1`.
        method: `"holm"` bounds the probability of one false alarm at all (Holm, Scandinavian Journal of Statistics 6,
            1979); `"benjamini-hochberg"` bounds the share of false alarms among the alarms (JRSS B 57, 1995).

    Raises:
        ConfigurationError: A number is no p-value, or the method is unknown.

    Example:
        >>> adjusted([0.01, 0.04, 0.03])
        [0.03, 0.06, 0.06]
    """
    given = np.asarray(p_values, dtype=float)
    if not ((given >= 0) & (given <= 1)).all():
        raise ConfigurationError(f"p-values are numbers from 0 to 1, not {list(p_values)!r}")
    if method == "benjamini-hochberg":
        return [] if given.size == 0 else [float(one) for one in stats.false_discovery_control(given)]
    if method != "holm":
        raise ConfigurationError(f'`method` is "holm" or "benjamini-hochberg", not {method!r}')
    order = np.argsort(given, kind="stable")
    stepped = np.maximum.accumulate(given[order] * np.arange(given.size, 0, -1))
    out = np.empty_like(given)
    out[order] = np.minimum(stepped, 1.0)
    return [float(one) for one in out]
