"""What is counted while a simulation runs: sums and sketches, so that its memory does not grow with the requests."""

from __future__ import annotations

import math
from collections import Counter
from decimal import Decimal

from llmops_sdk.calls import Call, Hedged

__all__ = ["Quantiles", "Tally"]

_GAMMA = math.log(1.01)


class Quantiles:
    """Quantiles of positive numbers, each within 0.5 % of the true one.

    Numbers are counted in buckets, each 1 % wider than the one before (DDSketch, https://arxiv.org/abs/1908.10693).
    Memory: a counter for each bucket that is in use, a few hundred in all.
    """

    __slots__ = ("_buckets", "_zeros", "count", "total")

    def __init__(self) -> None:
        self._buckets: dict[int, int] = {}
        self._zeros = 0
        self.count = 0
        self.total = 0.0

    def add(self, value: float) -> None:
        """Count a number; what is under a nanosecond counts as nothing."""
        self.count += 1
        self.total += value
        if value < 1e-9:
            self._zeros += 1
            return
        bucket = math.floor(math.log(value) / _GAMMA)
        self._buckets[bucket] = self._buckets.get(bucket, 0) + 1

    @property
    def mean(self) -> float:
        """Their mean, exact; not a number without any."""
        return self.total / self.count if self.count else math.nan

    def at(self, share: float) -> float:
        """The number below which `share` of them lie; not a number without any."""
        if not self.count:
            return math.nan
        rank = share * (self.count - 1)
        if rank < self._zeros:
            return 0.0
        seen = self._zeros
        for bucket in sorted(self._buckets):
            seen += self._buckets[bucket]
            if seen > rank:
                break
        return math.exp((bucket + 0.5) * _GAMMA)


class Tally:
    """What became of the requests of one policy."""

    __slots__ = ("attempts", "cost_usd", "failures", "first_token", "hedges", "latency", "sent")

    def __init__(self) -> None:
        self.sent = 0
        self.attempts = 0
        self.hedges = 0
        self.failures: Counter[str] = Counter()
        self.latency = Quantiles()
        self.first_token = Quantiles()
        self.cost_usd = Decimal(0)

    def answered(self, call: Call, first_at: float, now: float) -> None:
        """Count an answer."""
        self.latency.add(now - call.started)
        self.first_token.add(first_at - call.started)
        self._count(call)

    def failed(self, call: Call, error: BaseException) -> None:
        """Count a request that was not answered."""
        self.failures[type(error).__name__] += 1
        self._count(call)

    def _count(self, call: Call) -> None:
        self.attempts += call.attempts
        if call.spent_usd:
            self.cost_usd += call.spent_usd
        if call.attempts > 1:
            self.hedges += sum(isinstance(event, Hedged) for event in call.events)
