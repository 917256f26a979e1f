"""The limit of concurrent requests that finds itself; see `Adaptive`."""

from __future__ import annotations

from llmops_sdk.errors import RateLimitError
from llmops_sdk.messages import RateLimit
from llmops_sdk.routers._limits.declared import Adaptive
from llmops_sdk.routers._limits.meters import Meter

__all__ = ["Adapting"]


class Adapting:
    """Moves the amount of a meter by what became of requests. Time is passed in, never read."""

    __slots__ = ("_exact", "_fell_at", "declared", "meter")

    def __init__(self, declared: Adaptive, meter: Meter) -> None:
        self.declared = declared
        self.meter = meter
        self._exact = float(declared.initial)
        self._fell_at = float("-inf")
        meter.amount = declared.initial

    def ended(
        self, started: float, now: float, used: int, error: BaseException | None, rate_limit: RateLimit | None
    ) -> None:
        """A request that was sent at `started` has ended; `used` were under way then, itself included."""
        if isinstance(error, RateLimitError):
            # Requests that were under way when it fell met the old limit: their refusals say nothing of the new one.
            if started >= self._fell_at:
                self._exact = max(float(self.declared.least), self._exact * self.declared.backoff)
                self._fell_at = now
        elif error is None and 2 * used >= self.meter.amount and not _scarce(rate_limit, used):
            self._exact = min(float(self.declared.most), self._exact + 1.0 / self._exact)
        self.meter.amount = max(1, int(self._exact + 1e-9))


def _scarce(rate_limit: RateLimit | None, used: int) -> bool:
    remaining = None if rate_limit is None else rate_limit.remaining_requests
    return remaining is not None and remaining < used
