"""What a detector bets on: densities of the p-value that it would see after a change.

Without a change the p-values are independent and uniform, so a density is a fair bet: the mean of its factor is 1.
Each bet is a density that is flat on each of a few stretches of (0, 1), so that its factors are looked up.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cache
from itertools import pairwise
from statistics import NormalDist

__all__ = ["Bets", "bets_for"]

_NORMAL = NormalDist()
# Steps of the ends of (0, 1): a rate of 0.2 % lies within a factor of two of one of them.
_TAILS = tuple(2.0**-power for power in range(1, 11))
_TOP = (1.5, 3.0, 0.6, 0.25)
# The bottom end is for rates above a half; those above 98 % are seen as the ones that miss.
_BOTTOM = (1.6, 3.0, 0.5)
# Shifts in standard deviations, and how the top of a distribution may swell while its middle stays.
_SHIFTS = (0.25, 0.5, 1.0, 2.0)
_SWELLING = ((1 / 16, 3.0), (1 / 64, 4.0))


@dataclass(frozen=True, slots=True, kw_only=True)
class Bets:
    """Some bets at once.

    Attributes:
        edges: Where the stretches of (0, 1) meet, ascending; one fewer than there are stretches.
        factors: For each stretch the factor of each bet.
        upwards: For each bet whether it is for larger values than before.
    """

    edges: tuple[float, ...]
    factors: tuple[tuple[float, ...], ...]
    upwards: tuple[bool, ...]


@cache
def bets_for(kind: str, direction: str) -> Bets:
    """The bets of a kind of signal (`"rate"`, `"value"`), for one direction or `"both"`."""
    edges, bets = _of_rates() if kind == "rate" else _of_values()
    wanted = [(factors, up) for factors, up in bets if direction == "both" or up == (direction == "up")]
    return Bets(
        edges=edges,
        factors=tuple(zip(*(factors for factors, _ in wanted), strict=True)),
        upwards=tuple(up for _, up in wanted),
    )


_Bet = tuple[tuple[float, ...], bool]


def _of_rates() -> tuple[tuple[float, ...], list[_Bet]]:
    """The share at one end of (0, 1) grows or shrinks: the ones are at the top end, the zeros at the bottom."""
    edges = tuple(sorted({*_TAILS, *(1 - share for share in _TAILS)}))
    bets: list[_Bet] = []
    for share in _TAILS:
        bets += [(_step(edges, share, lift, top=True), lift > 1) for lift in _TOP if share * lift < 1]
        if share > 1 / 100:
            bets += [(_step(edges, share, lift, top=False), lift < 1) for lift in _BOTTOM if share * lift < 1 / 2]
    return edges, bets


def _of_values() -> tuple[tuple[float, ...], list[_Bet]]:
    """The values move as normal ones would by a number of standard deviations; ranks make every shape normal."""
    steps = [number / 4 for number in range(-13, 14)]
    shares = [1 - share for share, _ in _SWELLING]
    edges = tuple(sorted({*(_NORMAL.cdf(step) for step in steps), *shares}))
    bets: list[_Bet] = [(_shift(edges, sign * by), sign > 0) for by in _SHIFTS for sign in (1, -1)]
    bets += [(_step(edges, share, lift, top=True), True) for share, lift in _SWELLING]
    return edges, bets


def _step(edges: tuple[float, ...], share: float, lift: float, *, top: bool) -> tuple[float, ...]:
    """`lift` on the `share` at one end, and what is left of the whole on the rest."""
    rest = (1 - lift * share) / (1 - share)
    middles = [(low + high) / 2 for low, high in pairwise((0.0, *edges, 1.0))]
    return tuple(lift if (middle > 1 - share if top else middle < share) else rest for middle in middles)


def _shift(edges: tuple[float, ...], by: float) -> tuple[float, ...]:
    """The mean over each stretch of the density of a normal value's p-value after a shift."""
    ends = (-math.inf, *(_NORMAL.inv_cdf(edge) for edge in edges), math.inf)
    return tuple(
        (_NORMAL.cdf(high - by) - _NORMAL.cdf(low - by)) / (_NORMAL.cdf(high) - _NORMAL.cdf(low))
        for low, high in pairwise(ends)
    )
