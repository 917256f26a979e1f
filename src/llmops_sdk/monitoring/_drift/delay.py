"""How long a detector takes to notice a change, worked out instead of tried."""

from __future__ import annotations

import math
from itertools import pairwise
from statistics import NormalDist

from llmops_sdk.errors import ConfigurationError
from llmops_sdk.given import is_number
from llmops_sdk.monitoring._drift.bets import bets_for
from llmops_sdk.monitoring._drift.detector import Direction, Kind

__all__ = ["expected_delay"]


def expected_delay(
    *,
    false_alarms_per_day: float = 0.01,
    observations_per_day: float,
    kind: Kind = "rate",
    before: float = 0.0,
    after: float,
    direction: Direction = "both",
) -> float:
    """About how many observations after a change a `Detector` raises its alarm; infinite if it never would.

    The evidence that is needed is the logarithm of (observations in a day / false alarms in a day), and a little for
    the number of bets; each observation brings what the best bet gains from it on average. For a long reference: one
    of few observations is known less well, and the delay is longer.

    Args:
        false_alarms_per_day: As of the detector.
        observations_per_day: How many it gets, `> 0`.
        kind: `"rate"`: `before` and `after` are rates between 0 and 1. `"value"`: they are means, in standard
            deviations of a normal distribution (of logarithms, for latencies: twice the latency with a log-normal
            spread of 0.6 is `after=math.log(2) / 0.6`).
        before: The rate or mean before the change.
        after: The rate or mean after it.
        direction: As of the detector.

    Example:
        >>> round(expected_delay(observations_per_day=10_000, before=0.02, after=0.04))
        2389
        >>> round(expected_delay(observations_per_day=10_000, kind="value", after=1.0))
        31
    """
    for name, given in (("false_alarms_per_day", false_alarms_per_day), ("observations_per_day", observations_per_day)):
        if not is_number(given) or not 0 < given < math.inf:
            raise ConfigurationError(f"{name}={given!r}: write a number over 0")
    if kind == "rate" and not (0 < before < 1 and 0 <= after <= 1):
        raise ConfigurationError(f"before={before!r}, after={after!r}: rates lie between 0 and 1, and before inside")
    bets = bets_for(kind, direction)
    masses = [
        _mass_of_rates(low, high, before, after) if kind == "rate" else _mass_of_values(low, high, after - before)
        for low, high in pairwise((0.0, *bets.edges, 1.0))
    ]
    gain = max(
        sum(mass * math.log(factors[bet]) for mass, factors in zip(masses, bets.factors, strict=True))
        for bet in range(len(bets.upwards))
    )
    if gain <= 0:
        return math.inf
    # The stakes of the last 1 / gain observations before the change grow with it, and count together.
    stakes = max(1.0, 1 / gain) * false_alarms_per_day / observations_per_day / len(bets.upwards)
    return max(0.0, -math.log(stakes)) / gain


def _mass_of_rates(low: float, high: float, before: float, after: float) -> float:
    """How often the p-value lies between the two: ones lie in the top `before` of (0, 1)."""
    ones = max(0.0, high - max(low, 1 - before))
    zeros = high - low - ones
    return ones * after / before + zeros * (1 - after) / (1 - before)


def _mass_of_values(low: float, high: float, shift: float) -> float:
    normal = NormalDist()
    ends = [
        -math.inf if share == 0 else math.inf if share == 1 else normal.inv_cdf(share) - shift for share in (low, high)
    ]
    return normal.cdf(ends[1]) - normal.cdf(ends[0])
