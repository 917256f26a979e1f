"""Intervals that hold at every moment, so that a run may stop when the answer is clear.

For scores within bounds by betting: Waudby-Smith and Ramdas, Estimating means of bounded random variables by betting,
JRSS B 86 (2024), section 4.3 (hedged capital, predictable plug-in bets). For scores without bounds by Robbins' mixture
of the self-normalised process of de la Pena, Annals of Probability 27 (1999): exact for differences that are symmetric
about their mean, as they are where the two pipelines do the same.
"""

from __future__ import annotations

import math

import numpy as np

from llmops_sdk.errors import ConfigurationError

__all__ = ["ConfidenceSequence"]

_GRID = 1_001
_MIXTURE = 15.0
"""Precision of the mixture: tightest after some 150 observations."""


class ConfidenceSequence:
    """An interval of a mean that covers it at every moment, with the probability `level` for all moments together.

    Args:
        level: That probability, `0 < level < 1`.
        low: Smallest value that an observation can have; `-inf` where there is none.
        high: Largest value; both are finite, or neither is.

    Observations come in random order, one for each independent unit: the difference of a case, or the mean difference
    of a cluster.

    Attributes:
        count: Observations so far.

    Example:
        >>> sequence = ConfidenceSequence(low=-1, high=1)
        >>> for _ in range(60):
        ...     sequence.observe(0.5)
        >>> sequence.excludes(0.0), sequence.excludes(0.5)
        (True, False)
    """

    def __init__(self, *, level: float = 0.95, low: float = -math.inf, high: float = math.inf) -> None:
        if not 0 < level < 1:
            raise ConfigurationError(f"`level` is a probability between 0 and 1, not {level!r}")
        if not low < high or math.isfinite(low) != math.isfinite(high):
            raise ConfigurationError(f"bounds are two finite numbers, or none: not {low!r} to {high!r}")
        self.count = 0
        self._method = _Betting(1 - level, low, high) if math.isfinite(low) else _Mixture(1 - level)
        self._low, self._high = low, high

    def observe(self, value: float) -> None:
        """Take the next observation.

        Raises:
            ConfigurationError: It is not finite, or outside of the bounds.
        """
        if not math.isfinite(value) or not self._low <= value <= self._high:
            raise ConfigurationError(f"{value!r} is no finite number from {self._low!r} to {self._high!r}")
        self.count += 1
        self._method.observe(value)

    def interval(self) -> tuple[float, float]:
        """The interval now; what was excluded once stays excluded."""
        return self._method.interval()

    def excludes(self, mean: float) -> bool:
        """Whether the mean is not this one."""
        low, high = self.interval()
        return not low <= mean <= high


class _Betting:
    """Bets against every mean of a grid; whoever would have won too much is no mean."""

    def __init__(self, alpha: float, low: float, high: float) -> None:
        self._low, self._width = low, high - low
        self._alpha = alpha
        self._means = np.linspace(0, 1, _GRID)
        self._up = np.zeros(_GRID)  # logarithms of the capital
        self._down = np.zeros(_GRID)
        self._alive = np.ones(_GRID, dtype=bool)
        self._count, self._sum, self._squares = 0, 0.5, 0.25

    def observe(self, value: float) -> None:
        x = (value - self._low) / self._width
        self._count += 1
        n = self._count
        variance = self._squares / n
        bet = math.sqrt(2 * math.log(2 / self._alpha) / (variance * n * math.log(1 + n)))
        # At most half of what can be lost; at the ends of the grid nothing limits it.
        with np.errstate(divide="ignore"):
            up = np.minimum(bet, 0.5 / self._means)
            down = np.minimum(bet, 0.5 / (1 - self._means))
        self._up += np.log1p(np.where(np.isinf(up), 0, up) * (x - self._means))
        self._down += np.log1p(-np.where(np.isinf(down), 0, down) * (x - self._means))
        self._alive &= np.maximum(self._up, self._down) + math.log(0.5) < math.log(1 / self._alpha)
        self._sum += x
        self._squares += (x - self._sum / (n + 1)) ** 2

    def interval(self) -> tuple[float, float]:
        alive = np.flatnonzero(self._alive)
        if alive.size == 0:  # between two points of the grid
            middle = float(self._means[np.argmin(np.maximum(self._up, self._down))])
            return self._low + self._width * middle, self._low + self._width * middle
        step = 1 / (_GRID - 1)
        low, high = max(self._means[alive[0]] - step, 0), min(self._means[alive[-1]] + step, 1)
        return float(self._low + self._width * low), float(self._low + self._width * high)


class _Mixture:
    """Observations in units of the spread that was seen before each."""

    def __init__(self, alpha: float) -> None:
        self._limit = math.log(1 / alpha)
        self._weights = self._weighted = self._w2 = self._w2x = self._w2x2 = 0.0
        self._count, self._mean, self._m2 = 0, 0.0, 0.0
        self._interval = (-math.inf, math.inf)

    def observe(self, value: float) -> None:
        spread = math.sqrt(self._m2 / self._count) if self._count > 1 else 0.0
        if spread > 0:
            weight = 1 / spread
            self._weights += weight
            self._weighted += weight * value
            self._w2 += weight**2
            self._w2x += weight**2 * value
            self._w2x2 += weight**2 * value**2
            low, high = self._interval
            self._interval = max(low, self._end(-1, spread)), min(high, self._end(1, spread))
        self._count += 1
        delta = value - self._mean
        self._mean += delta / self._count
        self._m2 += delta * (value - self._mean)

    def interval(self) -> tuple[float, float]:
        return self._interval

    def _wealth(self, mean: float) -> float:
        """Logarithm of what betting against `mean` has won."""
        total = self._weighted - self._weights * mean
        squares = max(self._w2x2 - 2 * mean * self._w2x + mean**2 * self._w2, 0.0) + _MIXTURE
        return (math.log(_MIXTURE / squares) + total**2 / squares) / 2

    def _end(self, side: int, spread: float) -> float:
        centre = self._weighted / self._weights
        # Far away the wealth of n observations tends to (n - log n) / 2 or so: too few of them exclude nothing.
        inside, outside = centre, centre + side * spread
        while self._wealth(outside) < self._limit:
            inside, outside = outside, centre + (outside - centre) * 2
            if abs(outside - centre) > spread * 1e6:
                return side * math.inf
        for _ in range(60):
            middle = (inside + outside) / 2
            inside, outside = (middle, outside) if self._wealth(middle) < self._limit else (inside, middle)
        return outside
