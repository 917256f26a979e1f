"""When an engine is taken out for a while, and when it is tried again."""

from __future__ import annotations

import math
from dataclasses import dataclass

from llmops_sdk.errors import ConfigurationError
from llmops_sdk.given import is_number

__all__ = ["Breaker"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Breaker:
    """When an engine is taken out, and when it is tried again.

    The breaker opens, so that the engine is not asked, after `failures` in a row, or when the share of failures in the
    last `window_s` seconds reaches `failure_rate`. Failures are connections that fail, time-outs, HTTP 5xx, garbage, a
    wrong key, and requests that hang; what is wrong with one request (400, 404, a filter) is none, and a 429 rests the
    engine for just as long as its `Retry-After` says. After a time that doubles from one opening to the next, one
    request at a time is let through: if it is answered the breaker closes, and if not it opens for longer.

    The defaults take a dead engine out after 5 requests, as Envoy does, and by rate half of 20 or more have to fail. An
    engine that fails now and then stays: five in a row happen once in 100,000 requests to one that fails every tenth
    time, and one that failed more often than that in the window has to fail more often in a row, so that it is as
    unlikely for that one, too.

    Sources: Envoy's outlier detection (5 in a row; out for 30 s times the number of times, with jitter;
    https://www.envoyproxy.io/docs/envoy/latest/api-v3/config/cluster/v3/outlier_detection.proto), resilience4j (half
    of 100 calls, slow ones count; https://resilience4j.readme.io/docs/circuitbreaker) and Polly (30 s of sampling, out
    for 5 s; https://www.pollydocs.org/strategies/circuit-breaker.html).

    Attributes:
        failures: Failures in a row that open it, `>= 1`; more for an engine that failed every tenth time or more often.
        failure_rate: Share of failures in the window that opens it, `0 < failure_rate <= 1`.
        window_s: Length of the window, seconds.
        minimum_calls: From fewer answers and failures in the window no share is reckoned, `>= 1`.
        open_s: Seconds for which it is open the first time. Each opening doubles them, until it has stayed closed for
            `window_s`. Between a half and the whole of that is taken, by chance, so that many processes do not probe
            at once.
        most_open_s: The most seconds for which it is open.
        slow_factor: A request that has been under way for so many times the 95th percentile of the engine's answers
            counts as one of the failures in a row while it hangs, `>= 1`; `None`: requests under way are not watched.
            Any answer in between breaks the row, and closes a breaker that opened for this.

    Raises:
        ConfigurationError: A number makes no sense.
    """

    failures: int = 5
    failure_rate: float = 0.5
    window_s: float = 30.0
    minimum_calls: int = 20
    open_s: float = 5.0
    most_open_s: float = 60.0
    slow_factor: float | None = 1.5

    def __post_init__(self) -> None:
        for name in ("failures", "minimum_calls"):
            count = getattr(self, name)
            if not isinstance(count, int) or isinstance(count, bool) or count < 1:
                raise ConfigurationError(f"`{name}` of a breaker is a whole number, 1 or more, not {count!r}")
        for name in ("window_s", "open_s", "most_open_s", "failure_rate", "slow_factor"):
            given = getattr(self, name)
            if not is_number(given) and not (name == "slow_factor" and given is None):
                raise ConfigurationError(f"`{name}` of a breaker is a number, not {given!r}")
        for name in ("window_s", "open_s", "most_open_s"):
            if not 0 < getattr(self, name) < math.inf:
                raise ConfigurationError(f"`{name}` of a breaker is a time over 0 seconds, not {getattr(self, name)!r}")
        if not 0 < self.failure_rate <= 1:
            raise ConfigurationError(f"`failure_rate` of a breaker is over 0 and at most 1, not {self.failure_rate!r}")
        if self.slow_factor is not None and not 1 <= self.slow_factor < math.inf:
            raise ConfigurationError(f"`slow_factor` of a breaker is 1 or more, or None, not {self.slow_factor!r}")
        if self.most_open_s < self.open_s:
            raise ConfigurationError(
                f"`most_open_s` of a breaker is at least its `open_s` of {self.open_s} s, not {self.most_open_s!r}"
            )
