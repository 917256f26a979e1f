"""Intervals that hold at every moment, so that a run may stop when the answer is clear.

For scores within bounds by betting: Waudby-Smith and Ramdas, Estimating means of bounded random variables by betting,
JRSS B 86 (2024), section 4.3 (hedged capital, predictable plug-in bets). For scores without bounds by Robbins' mixture
of the self-normalised process of de la Pena, Annals of Probability 27 (1999): exact for differences that are symmetric
about their mean, as they are where the two pipelines do the same.

What a bet against "the mean is 0" has won says more than the interval: by Ville's inequality, 1 / (most that it was
ever worth) is a p-value that holds at every moment, too.
"""

from __future__ import annotations

import math

import numpy as np

from llmops_sdk.errors import ConfigurationError

__all__ = ["MIXTURE", "ConfidenceSequence"]

_GRID = 1_001
MIXTURE = 15.0
"""Precision of the mixture: tightest after some 150 observations."""
_SIDES = np.array([[1.0], [-1.0]])
_STEPS = 60
_FAR = 1e6
"""Spreads from the mean beyond which an end counts as infinite."""


class ConfidenceSequence:
    """An interval of a mean that covers it at every moment, with the probability `level` for all moments together.

    Args:
        level: That probability, `0 < level < 1`.
        low: Smallest value that an observation can have; `-inf` where there is none.
        high: Largest value; both are finite, or neither is.

    Observations come in random order, one for each independent unit: the difference of a case, or the mean difference
    of a cluster. An observation takes some 20 microseconds, and nothing of it is kept.

    Attributes:
        count: Observations so far.

    Example:
        >>> sequence = ConfidenceSequence(low=-1, high=1)
        >>> for _ in range(60):
        ...     sequence.observe(0.5)
        >>> sequence.excludes(0.0), sequence.excludes(0.5), sequence.p_value() < 0.001
        (True, False, True)
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

    def p_value(self) -> float:
        """P-value of "the mean is 0", `0 < p <= 1`, valid at every moment; it never rises."""
        return math.exp(-max(min(self._method.evidence, 700.0), 0.0))


class _Betting:
    """Bets against every mean of a grid; whoever would have won too much is no mean, and is looked at no more."""

    def __init__(self, alpha: float, low: float, high: float) -> None:
        self._low, self._width = low, high - low
        self._limit = math.log(2 / alpha)
        self._grid = _grid(low, high)
        self._first, self._last = 0, _GRID - 1  # of the means that are left
        # The last column is "the mean is 0", which goes on for the p-value.
        means = np.append((self._grid - low) / self._width, min(max(-low / self._width, 0.0), 1.0))
        self._means = np.clip(means, 0.0, 1.0)
        self._wealth = np.zeros((2, _GRID + 1))  # logarithms of the capital of bets that it is more, and less
        with np.errstate(divide="ignore"):
            # At most half of what can be lost; at the ends of the grid nothing can be.
            self._most = 0.5 / np.stack([self._means, 1 - self._means])
        self.evidence = 0.0
        self._count, self._sum, self._squares = 0, 0.5, 0.05

    def observe(self, value: float) -> None:
        x = (value - self._low) / self._width
        self._count += 1
        n = self._count
        bet = math.sqrt(2 * self._limit / (self._squares * math.log(1 + n)))  # their variance is squares / n
        self._wealth += np.log1p(np.minimum(bet, self._most) * _SIDES * (x - self._means))
        most = self._wealth.max(axis=0)
        self.evidence = max(self.evidence, float(most[-1]) - math.log(2))
        if len(most) > 1 and max(most[0], most[-2]) >= self._limit:
            self._forget(np.flatnonzero(most[:-1] < self._limit))
        self._sum += x
        self._squares += (x - self._sum / (n + 1)) ** 2

    def _forget(self, alive: np.ndarray) -> None:
        if alive.size == 0:  # what is left lies between two points of the grid
            middle = self._first + int(np.argmin(self._wealth[:, :-1].max(axis=0)))
            first, last, kept = middle, middle, np.array([-1])
        else:
            first, last = self._first + int(alive[0]), self._first + int(alive[-1])
            kept = np.append(np.arange(alive[0], alive[-1] + 1), -1)
        self._first, self._last = first, last
        self._means, self._wealth, self._most = self._means[kept], self._wealth[:, kept], self._most[:, kept]

    def interval(self) -> tuple[float, float]:
        # The true end may lie anywhere up to the first point that is excluded.
        return float(self._grid[max(self._first - 1, 0)]), float(self._grid[min(self._last + 1, _GRID - 1)])


def _grid(low: float, high: float) -> np.ndarray:
    """Points that are the closer together the nearer they are to 0, so that small differences are seen, too."""
    if not low < 0 < high:
        return np.linspace(low, high, _GRID)
    steps = np.linspace(-1, 1, _GRID)
    return np.where(steps < 0, -low, high) * steps**3


class _Mixture:
    """Observations in units of the spread that was seen before each."""

    def __init__(self, alpha: float) -> None:
        self._limit = math.log(1 / alpha)
        self.evidence = 0.0
        self._weights = self._weighted = self._w2 = self._w2x = self._w2x2 = 0.0
        self._count, self._mean, self._m2 = 0, 0.0, 0.0
        self._low, self._high = -math.inf, math.inf
        self._first: float | None = None

    def observe(self, value: float) -> None:
        if self._first is None:
            self._first = value
        value -= self._first  # so that little is lost to rounding where the mean is far from 0
        spread = math.sqrt(self._m2 / self._count) if self._count > 1 else 0.0
        if spread > 0:
            weight = 1 / spread
            self._weights += weight
            self._weighted += weight * value
            self._w2 += weight**2
            self._w2x += weight**2 * value
            self._w2x2 += (weight * value) ** 2
            self.evidence = max(self.evidence, self._wealth(-self._first))
            self._narrow(spread)
        self._count += 1
        delta = value - self._mean
        self._mean += delta / self._count
        self._m2 += delta * (value - self._mean)

    def interval(self) -> tuple[float, float]:
        first = self._first or 0.0
        return first + self._low, first + self._high

    def _narrow(self, spread: float) -> None:
        centre = self._weighted / self._weights
        if not math.isfinite(self._low) or self._wealth(self._low) >= self._limit:
            self._low = max(self._low, self._end(centre, -1, spread))
        if not math.isfinite(self._high) or self._wealth(self._high) >= self._limit:
            self._high = min(self._high, self._end(centre, 1, spread))

    def _wealth(self, mean: float) -> float:
        """Logarithm of what betting against `mean` has won."""
        total = self._weighted - self._weights * mean
        squares = max(self._w2x2 - 2 * mean * self._w2x + mean**2 * self._w2, 0.0) + MIXTURE
        return (math.log(MIXTURE / squares) + total**2 / squares) / 2

    def _end(self, centre: float, side: int, spread: float) -> float:
        # Far away the wealth of n observations tends to (n - log n) / 2 or so: too few of them exclude nothing.
        inside, outside = centre, centre + side * spread
        while self._wealth(outside) < self._limit:
            inside, outside = outside, centre + (outside - centre) * 2
            if abs(outside - centre) > spread * _FAR:
                return side * math.inf
        for _ in range(_STEPS):
            middle = (inside + outside) / 2
            if middle in (inside, outside):
                break
            inside, outside = (middle, outside) if self._wealth(middle) < self._limit else (inside, middle)
        return outside
