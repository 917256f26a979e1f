"""Pass or fail, case by case: everything hangs on the cases that only one of the two passes.

Sources: Tango, Statistics in Medicine 17 (1998), for the score interval, which holds for few cases and rare
differences; Connor, Biometrics 43 (1987), for the power of McNemar's test, exact here where few cases differ.
"""

from __future__ import annotations

import math

import numpy as np
from scipy import optimize, stats

__all__ = ["detectable_rate", "needed_for_rate", "tango"]

_EXACT = 1_000
"""Cases that differ up to which the power is exact."""
_MOST = 1e12


def tango(wins: int, losses: int, cases: int, level: float) -> tuple[float, float]:
    """Interval of the difference of two paired rates, each end from -1 to 1.

    Args:
        wins: Cases that only the new one passes.
        losses: Cases that only the base passes.
        cases: All of them, `>= 1`.
        level: Its probability to cover the truth.
    """
    return -_upper(losses, wins, cases, level), _upper(wins, losses, cases, level)


def _upper(wins: int, losses: int, n: int, level: float) -> float:
    z = float(stats.norm.ppf((1 + level) / 2))
    estimate = (wins - losses) / n

    def excess(delta: float) -> float:
        # q: the rate of losses that is likeliest where the difference is `delta`, Tango's (5).
        b = -wins - losses + (2 * n - wins + losses) * delta
        c = -losses * delta * (1 - delta)
        q = (math.sqrt(max(b * b - 8 * n * c, 0.0)) - b) / (4 * n)
        variance = n * (2 * q + delta * (1 - delta))
        gap = n * (delta - estimate)
        return gap - z * math.sqrt(max(variance, 0.0))

    if estimate >= 1 or excess(1.0) <= 0:
        return 1.0
    # At the estimate itself nothing may vary: that is no end.
    return float(optimize.brentq(excess, estimate + 1e-12, 1.0, xtol=1e-10))


def _power(n: float, rare: float, delta: float, alpha: float) -> float:
    """Probability of McNemar's test to find that one passes only `rare`, the other `rare + delta`, of all cases."""
    differ = 2 * rare + delta
    expected = n * differ
    if expected > _EXACT:
        z = float(stats.norm.isf(alpha / 2))
        return float(
            stats.norm.cdf((delta * math.sqrt(n) - z * math.sqrt(differ)) / math.sqrt(max(differ - delta**2, 1e-12)))
        )
    spread = 6 * math.sqrt(expected) + 6
    few = np.arange(max(math.floor(expected - spread), 0), min(math.ceil(expected + spread), math.ceil(n)) + 1)
    critical = stats.binom.isf(alpha / 2, few, 0.5)
    found = stats.binom.sf(critical, few, (rare + delta) / differ)
    return float((stats.binom.pmf(few, math.ceil(n), min(differ, 1.0)) * found).sum())


def detectable_rate(wins: int, losses: int, cases: int, alpha: float, power: float) -> float:
    """The smallest difference of the rates that is found with this probability; `inf` where none is.

    As many cases go against it as were seen to go against the one that won. Where chance alone says which one that is,
    fewer are seen than go against it in truth: so the gap counts as far as it exceeds its noise (James and Stein,
    Proceedings of the Fourth Berkeley Symposium, 1961).
    """
    differ, gap = wins + losses, abs(wins - losses)
    rare = (differ - (gap * max(1 - differ / gap**2, 0.0) if gap else 0.0)) / 2 / cases
    low, high = 0.0, 1 - 2 * rare
    if high <= 0 or _power(cases, rare, high, alpha) < power:
        return math.inf
    while high - low > 0.002 * high:
        middle = (low + high) / 2
        low, high = (low, middle) if _power(cases, rare, middle, alpha) >= power else (middle, high)
    return high


def needed_for_rate(wins: int, losses: int, cases: int, alpha: float, power: float) -> float:
    """Cases of this kind that show the difference that was seen with this probability; `inf` where none is seen."""
    rare, delta = min(wins, losses) / cases, abs(wins - losses) / cases
    if delta == 0:
        return math.inf
    high = 8.0
    while _power(high, rare, delta, alpha) < power:
        high *= 2
        if high > _MOST:
            return math.inf
    low = high / 2
    while high - low > max(0.002 * high, 1):
        middle = (low + high) / 2
        low, high = (low, middle) if _power(middle, rare, delta, alpha) >= power else (middle, high)
    return math.ceil(high)
