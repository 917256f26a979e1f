"""Whether an engine is fit to be asked, by what became of the requests before. Time is passed in, never read."""

from __future__ import annotations

__all__ = ["Breaker"]

_COOLDOWN_S = 1.0
_COOLDOWN_MAX_S = 30.0


class Breaker:
    """Counts failures in a row, and rests an engine after them.

    Attributes:
        failures: Failures in a row.
    """

    __slots__ = ("_rest_until", "failures")

    def __init__(self) -> None:
        self.failures = 0
        self._rest_until = 0.0

    def resting(self, now: float) -> bool:
        """Whether the engine failed a moment ago; it is then asked last, and not first."""
        return self._rest_until > now

    def remark(self, now: float) -> str:
        """What a person who reads a route has to know of it."""
        return ", failed a moment ago" if self.resting(now) else ""

    def succeeded(self) -> None:
        """An answer came."""
        self.failures = 0
        self._rest_until = 0.0

    def failed(self, now: float, retry_after_s: float | None) -> None:
        """No answer came, and that was the engine's fault; it said (or did not say) when to come back."""
        self.failures += 1
        pause = min(_COOLDOWN_S * 2.0 ** (self.failures - 1), _COOLDOWN_MAX_S)
        self._rest_until = now + (pause if retry_after_s is None else max(retry_after_s, 0.0))
