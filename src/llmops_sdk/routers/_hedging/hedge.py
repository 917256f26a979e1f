"""When a second engine is asked beside a slow one."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from llmops_sdk.errors import ConfigurationError
from llmops_sdk.given import is_number
from llmops_sdk.routers._legs.leg import Leg

__all__ = ["Hedge", "HedgeBudget", "hedge_of"]

_HALF = 0.5
_A_HAIR_LATER = 1.01  # so that requests that were sent together are all seen to be late


@dataclass(frozen=True, slots=True, kw_only=True)
class Hedge:
    """Ask a second engine when the first one is slow; the first answer wins, and the other request is cancelled.

    Hedging trades requests for latency ("The Tail at Scale", https://research.google/pubs/the-tail-at-scale), so it has
    a budget: over time at most `share` of the requests are asked twice, and at most `burst` of them at once. An engine
    whose breaker is open costs nothing of it, since there the second request is the one that would follow anyway.

    An engine that has fallen silent, or has never said a word, while four requests wait for longer than half of the
    answers take (the quickest way to notice one that hangs), is not waited for any longer than that.

    Until an engine has given 20 answers, its usual time is that of all engines of the router together; until these
    have given 5, nobody knows what is slow, and nothing is hedged.

    Attributes:
        after_s: Seconds to wait for the first engine, `> 0`; `None`: as long as `quantile` of its answers took.
        quantile: `0 < quantile < 1`. Its estimate is at most 9 % too long, and never too short.
        share: Most of the requests that are asked twice, `0 < share <= 1`.
        burst: Requests that may be asked twice at once when there was no need for it before, `>= 1`.

    Raises:
        ConfigurationError: A number makes no sense.
    """

    after_s: float | None = None
    quantile: float = 0.95
    share: float = 0.1
    burst: int = 32

    def __post_init__(self) -> None:
        if self.after_s is not None and not (is_number(self.after_s) and 0 < self.after_s < math.inf):
            raise ConfigurationError(f"`hedge` is a time over 0 seconds, not {self.after_s!r}")
        if not (is_number(self.quantile) and 0 < self.quantile < 1):
            raise ConfigurationError(
                f"`quantile` of a hedge is between 0 and 1, 0.95 for example, not {self.quantile!r}"
            )
        if not (is_number(self.share) and 0 < self.share <= 1):
            raise ConfigurationError(f"`share` of a hedge is over 0 and at most 1, not {self.share!r}")
        if not isinstance(self.burst, int) or isinstance(self.burst, bool) or self.burst < 1:
            raise ConfigurationError(f"`burst` of a hedge is a whole number, 1 or more, not {self.burst!r}")

    def look_after(self, leg: Leg, *, first_chunk: bool = False) -> float | None:
        """Seconds after which it is worth asking `after` for the first time, `None` while nobody knows."""
        if self.after_s is not None:
            return self.after_s
        usual_s = leg.usual_s(min(_HALF, self.quantile), first_chunk=first_chunk)
        return None if usual_s is None else usual_s * _A_HAIR_LATER

    def after(self, leg: Leg, now: float, *, first_chunk: bool = False) -> float | None:
        """Seconds after which an answer of `leg` (its first chunk) is late, `None` while nobody knows."""
        if self.after_s is not None:
            return self.after_s
        half_s = leg.usual_s(_HALF, first_chunk=first_chunk)
        quantile = _HALF if half_s is not None and leg.breaker.silent(now, half_s) else self.quantile
        return leg.usual_s(min(quantile, self.quantile), first_chunk=first_chunk)


class HedgeBudget:
    """How many requests of a router may still be asked twice: a bucket of tokens.

    Each request brings `share` of a token, `burst` of them fit in, and a hedge takes one.
    """

    __slots__ = ("_burst", "_share", "_tokens")

    def __init__(self, hedge: Hedge) -> None:
        self._share = hedge.share
        self._burst = self._tokens = float(hedge.burst)

    def earn(self) -> None:
        """A request is sent that may be hedged."""
        if self._tokens < self._burst:
            self._tokens += self._share

    def take(self) -> bool:
        """Whether there is room for a hedge; it is taken then."""
        if self._tokens < 1.0:
            return False
        self._tokens -= 1.0
        return True


def hedge_of(given: Any) -> Hedge | None:
    """`hedge=` of a router.

    Raises:
        ConfigurationError: It is none of the things that it may be.
    """
    if given is None or isinstance(given, Hedge):
        return given
    if given == "p95":
        return Hedge()
    if isinstance(given, int | float) and not isinstance(given, bool):
        return Hedge(after_s=float(given))
    raise ConfigurationError(f"`hedge` is None, 'p95', a time in seconds or a `Hedge`, not {given!r}")
