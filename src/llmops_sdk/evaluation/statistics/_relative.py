"""The difference as a share of the base.

Source: Fieller, JRSS B 16 (1954): a ratio is in the interval as long as `difference - ratio * base` may be 0.
"""

from __future__ import annotations

import math

__all__ = ["ratio"]


def ratio(difference: float, base: float, *, reach: float, t: float, base_variance: float, covariance: float) -> float:
    """The end of the interval of `difference / abs(base)` on the side of `reach`.

    Args:
        difference: New minus base.
        base: Mean of the base.
        reach: From the difference to the end of its interval, below 0 for the lower one.
        t: Quantile that the interval uses, `> 0`.
        base_variance: Variance of the base's mean.
        covariance: Of the base's mean and the difference.

    Returns:
        The end; infinite where the base may be 0.
    """
    side = math.copysign(1.0, reach)
    sign = math.copysign(1.0, base)
    base, covariance = abs(base), covariance * sign
    square = base**2 - t**2 * base_variance
    if not square > 0 or not math.isfinite(reach):
        return side * math.inf
    half = difference * base - t**2 * covariance
    # The roots of square * r**2 - 2 * half * r + (difference**2 - reach**2) = 0.
    return (half + side * math.sqrt(max(half**2 - square * (difference**2 - reach**2), 0.0))) / square
