"""How long an engine takes to its first sign of an answer. Time is passed in, never read."""

from __future__ import annotations

import math

__all__ = ["Pace"]

_DECAY_S = 10.0
_FORGET_S = 30.0


class Pace:
    """A moving average that believes bad news at once and good news slowly, and counts those that still wait.

    Peak EWMA, as in Finagle
    (https://github.com/twitter/finagle/blob/develop/finagle-core/src/main/scala/com/twitter/finagle/loadbalancer/PeakEwma.scala)
    and Linkerd's proxy. Both learn only from answers, so an engine that hangs looks as quick as it was; here the mean
    age of the requests without a sign counts, too. It needs no list of them: a sum of the moments at which they began.

    Attributes:
        average_s: Seconds; 0.0 while unknown.
        waiting: Requests that have no sign of an answer yet.
    """

    __slots__ = ("_at", "_begun", "average_s", "waiting")

    def __init__(self) -> None:
        self.average_s = 0.0
        self.waiting = 0
        self._at = 0.0
        self._begun = 0.0

    # Runs may bring clocks of their own, so time may also go back: nothing is forgotten then.

    def began(self, now: float) -> None:
        """A request was sent."""
        self.waiting += 1
        self._begun += now

    def answered(self, started: float, now: float) -> None:
        """The first sign came for a request that was sent at `started`."""
        self._no_longer(started)
        took = now - started
        if took > self.average_s:
            self.average_s = took
        else:
            kept = math.exp(min(self._at - now, 0.0) / _DECAY_S)
            self.average_s = self.average_s * kept + took * (1 - kept)
        self._at = now

    def gave_up(self, started: float, now: float) -> None:
        """None came before the request failed or was cancelled: it would have taken longer than this.

        A quick failure is no good news.
        """
        self._no_longer(started)
        took = now - started
        if took > self.average_s:
            self.average_s = took
            self._at = now

    def expected_s(self, now: float) -> float:
        """Seconds that the next one will take at least, as far as one can tell; 0.0 while nothing is known.

        What was learnt is forgotten while nobody asks, so that an engine that was slow is tried again.
        """
        average = self.average_s
        if average:
            average *= math.exp(min(self._at - now, 0.0) / _FORGET_S)
        if self.waiting:
            age = now - self._begun / self.waiting
            if age > average:
                return age
        return average

    def _no_longer(self, started: float) -> None:
        self.waiting -= 1
        # Sums of floats drift; each time that nobody waits is a new start.
        self._begun = self._begun - started if self.waiting else 0.0
