"""How long an engine takes to answer: quantiles of its last answers, in bounded memory."""

from __future__ import annotations

import math

__all__ = ["Latencies", "Times"]

_PER_DOUBLING = 8
_SHORTEST_S = 0.001
_BUCKETS = 176  # 22 doublings of a millisecond: 70 minutes
_KEPT = 1024  # answers, after which all so far count half

OWN_ANSWERS = 20
"""Answers after which an engine's own times are believed: fewer say little about a 95th percentile."""
PEERS_ANSWERS = 5
"""Answers of all engines of a router together, after which their times stand in for those of one without its own."""


class Latencies:
    """A histogram of times with eight buckets for each doubling, from 1 ms to 70 minutes.

    Older answers count less: after every 1,024 all counts are halved. A quantile is the upper end of its bucket, so
    it is never below the true one of the counted times, and at most 9 % above it.

    Example:
        >>> times = Latencies()
        >>> for milliseconds in range(1, 101):
        ...     times.add(milliseconds / 1000)
        >>> 0.095 <= times.quantile(0.95) <= 0.095 * 1.1
        True
    """

    __slots__ = ("_counts", "_known", "_total", "_until_new")

    def __init__(self) -> None:
        self._counts = [0] * _BUCKETS
        self._total = 0
        self._known: dict[float, float] = {}
        self._until_new = 0

    def __len__(self) -> int:
        """How many answers are counted."""
        return self._total

    def add(self, seconds: float) -> None:
        """Count an answer that took `seconds`."""
        bucket = int(math.log2(seconds / _SHORTEST_S) * _PER_DOUBLING) + 1 if seconds > _SHORTEST_S else 0
        self._counts[bucket if bucket < _BUCKETS else _BUCKETS - 1] += 1
        self._total += 1
        self._until_new -= 1
        if self._until_new < 0:  # a quantile hardly moves from one answer to the next
            self._until_new = self._total >> 4
            self._known.clear()
            if self._total >= _KEPT:
                self._counts = [count >> 1 for count in self._counts]
                self._total = sum(self._counts)

    def quantile(self, q: float) -> float:
        """Seconds within which a share `q` of the answers came, `0 < q < 1`; 0.0 when there are none.

        It is computed anew when a sixteenth more answers have come.
        """
        known = self._known.get(q)
        if known is not None:
            return known
        if not self._total:
            return 0.0
        rank = math.ceil(q * self._total)
        bucket = -1
        while rank > 0:
            bucket += 1
            rank -= self._counts[bucket]
        seconds = _SHORTEST_S * math.pow(2.0, bucket / _PER_DOUBLING)
        self._known[q] = seconds
        return seconds


class Times:
    """How long the answers of one engine took.

    Attributes:
        whole: To the end of a whole answer.
        first: To the first chunk of a stream.
        peers: Those of all engines of the same router, to which it adds.
    """

    __slots__ = ("first", "peers", "whole")

    def __init__(self) -> None:
        self.whole = Latencies()
        self.first = Latencies()
        self.peers: Times | None = None

    def add(self, seconds: float, *, first_chunk: bool) -> None:
        """Count an answer, or a first chunk, that took `seconds`."""
        own = self.first if first_chunk else self.whole
        own.add(seconds)
        # The peers' times stand in for those of an engine without its own, for which some of them are enough.
        peers = self.peers
        if peers is not None and (own._total < OWN_ANSWERS or not own._total & 7):
            (peers.first if first_chunk else peers.whole).add(seconds)

    def usual_s(self, quantile: float, *, first_chunk: bool) -> float | None:
        """Seconds within which a share `quantile` of the answers comes, `None` while that is not known."""
        own = self.first if first_chunk else self.whole
        if own._total >= OWN_ANSWERS:
            return own.quantile(quantile)
        peers = self.peers
        if peers is not None:
            of_all = peers.first if first_chunk else peers.whole
            if of_all._total >= PEERS_ANSWERS:
                return of_all.quantile(quantile)
        return None
