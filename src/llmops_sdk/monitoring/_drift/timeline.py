"""What a signal was lately and long ago, in ever larger blocks, for the words of an alarm.

The newest observations are in blocks of 16. Of each size a few blocks are kept; then the two oldest of that size
become one of twice the size. So the memory grows with the logarithm of the number of observations, and a moment k
observations ago is known to within about k / 4.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

__all__ = ["Timeline", "Turn"]

_SMALLEST, _OF_A_SIZE, _LARGEST = 16, 5, 16 << 24


@dataclass(frozen=True, slots=True)
class _Block:
    """Some observations in a row.

    `at` is when the first of them was, `total` the sum of a rate's values; `sample` are up to 8 values, in order,
    evenly chosen.
    """

    at: float
    count: int
    total: float
    surprise: float
    sample: tuple[float, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Turn:
    """Where a signal turned.

    Attributes:
        since: When, in seconds since the epoch.
        observations: How many there were from then on.
        before: The mean (of a rate) or the median (of values) before.
        now: The same since then.
        hours: When the blocks since then began, and how many observations they hold.
    """

    since: float
    observations: int
    before: float
    now: float
    hours: tuple[tuple[float, int], ...]


class Timeline:
    """Blocks of observations, oldest first."""

    __slots__ = ("_blocks", "_is_rate", "_open")

    def __init__(self, *, is_rate: bool, state: dict[str, Any] | None = None) -> None:
        self._is_rate = is_rate
        self._blocks: list[_Block] = []
        self._open: list[tuple[float, float, float]] = []
        if state is not None:
            self._blocks = [
                _Block(at, count, total, surprise, tuple(sample))
                for at, count, total, surprise, sample in state["blocks"]
            ]
            self._open = [(at, value, surprise) for at, value, surprise in state["open"]]

    def add(self, at: float, value: float, surprise: float) -> None:
        """Take an observation; `surprise` is by how much it was larger than was to be expected, in any unit."""
        self._open.append((at, value, surprise))
        if len(self._open) == _SMALLEST:
            self._blocks.append(self._closed())
            self._open = []
            self._merge()

    def turn(self, *, upwards: bool) -> Turn:
        """Where the signal most likely turned, given that it did so in this direction."""
        blocks = [*self._blocks, self._closed()] if self._open else self._blocks
        sign = 1 if upwards else -1
        count, surprise = sum(block.count for block in blocks), sum(block.surprise for block in blocks)
        best, at = float("-inf"), len(blocks) - 1
        early, told = 0, 0.0
        for number, block in enumerate(blocks[:-1], start=1):
            early += block.count
            told += block.surprise
            late = count - early
            difference = sign * ((surprise - told) / late - told / early)
            # The statistic of the most likely place where a mean changes.
            weight = difference * abs(difference) * early * late
            if weight > best:
                best, at = weight, number
        after = blocks[at:]
        return Turn(
            since=after[0].at,
            observations=sum(block.count for block in after),
            before=self._level(blocks[:at]),
            now=self._level(after),
            hours=tuple((block.at, block.count) for block in after),
        )

    def state(self) -> dict[str, Any]:
        """As JSON."""
        return {
            "blocks": [[one.at, one.count, one.total, one.surprise, list(one.sample)] for one in self._blocks],
            "open": [list(one) for one in self._open],
        }

    def _closed(self) -> _Block:
        # Half of them, in six digits: they are for the words of an alarm, and states are written often.
        half = sorted(value for _, value, _ in self._open)[len(self._blocks) % 2 :: 2] or [self._open[0][1]]
        sample = () if self._is_rate else tuple(float(f"{value:.6g}") for value in half)
        return _Block(
            self._open[0][0],
            len(self._open),
            sum(value for _, value, _ in self._open) if self._is_rate else 0.0,
            sum(surprise for _, _, surprise in self._open),
            sample,
        )

    def _merge(self) -> None:
        size, blocks = _SMALLEST, self._blocks
        end = len(blocks)
        while True:
            start = end
            while start and blocks[start - 1].count == size:
                start -= 1
            if end - start <= _OF_A_SIZE:
                return
            if size >= _LARGEST:
                del blocks[start]
                return
            one, two = blocks[start], blocks[start + 1]
            blocks[start : start + 2] = [
                _Block(
                    one.at,
                    one.count + two.count,
                    one.total + two.total,
                    one.surprise + two.surprise,
                    # Which half stays changes with the size, so that the sample leans to neither side.
                    tuple(sorted((*one.sample, *two.sample))[size.bit_length() % 2 :: 2]),
                )
            ]
            end, size = start + 1, size * 2

    def _level(self, blocks: list[_Block]) -> float:
        if not blocks:
            return 0.0
        if self._is_rate:
            return sum(block.total for block in blocks) / sum(block.count for block in blocks)
        weighed = sorted((value, block.count / len(block.sample)) for block in blocks for value in block.sample)
        half, below = sum(weight for _, weight in weighed) / 2, 0.0
        for value, weight in weighed:
            below += weight
            if below >= half:
                return value
        return weighed[-1][0]
