"""An alarm: what changed, when, from what to what, in words and figures."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any, Literal

from llmops_sdk.errors import ConfigurationError

__all__ = ["Alarm", "Told", "alarm_of", "figure"]

log = logging.getLogger("llmops_sdk")


@dataclass(frozen=True, slots=True, kw_only=True)
class Alarm:
    """A signal has changed, by a test with a stated rate of false alarms.

    Attributes:
        signal: Which one.
        at: When it was noticed, in seconds since the epoch.
        direction: Whether it rose or fell.
        before: The rate, or the median of the values, before the change.
        now: The same since the change.
        since: When the change most likely happened, in seconds since the epoch; known to about a quarter of the
            observations since then.
        evidence: How strongly the observations speak for a change, `>= 1`: the alarm is raised at 1. An e-value in
            units of the budget of false alarms, so 10 would also have been enough for a tenth of the rate.
        message: All of it in a sentence.
        observations: How many there were from `since` to `at`.
    """

    signal: str
    at: float
    direction: Literal["up", "down"]
    before: float
    now: float
    since: float
    evidence: float
    message: str
    observations: int = 0

    def __str__(self) -> str:
        return self.message

    def to_json(self) -> dict[str, Any]:
        """The attributes as a JSON object."""
        return asdict(self)


def figure(value: float, unit: str) -> str:
    """A value with its unit: `6.3 %`, `1.24 s`, `812`.

    >>> figure(0.063, "%"), figure(1.238, "s"), figure(812.0, "")
    ('6.3 %', '1.24 s', '812')
    """
    if unit == "%":
        value *= 100
    size = math.floor(math.log10(abs(value))) if value and math.isfinite(value) else 0
    digits = 0 if not value else 1 if unit == "%" and size >= 0 else min(max(0, (1 if unit == "%" else 2) - size), 12)
    return f"{value:,.{digits}f} {unit}".rstrip()


def alarm_of(
    *,
    signal: str,
    at: float,
    upwards: bool,
    before: float,
    now: float,
    since: float,
    observations: int,
    evidence: float,
    unit: str,
    false_alarms_per_day: float,
) -> Alarm:
    """An alarm with its sentence."""
    turned, noticed = (datetime.fromtimestamp(moment, UTC) for moment in (since, at))
    moment = f"{turned:%H:%M}" if turned.date() == noticed.date() else f"{turned:%Y-%m-%d %H:%M}"
    days = 1 / false_alarms_per_day
    return Alarm(
        signal=signal,
        at=at,
        direction="up" if upwards else "down",
        before=before,
        now=now,
        since=since,
        observations=observations,
        evidence=evidence,
        message=(
            f"{signal} {'rose' if upwards else 'fell'} from {figure(before, unit)} to {figure(now, unit)} "
            f"since {moment} UTC ({observations:,} observations); at most 1 false alarm in {days:,.4g} days"
        ),
    )


class Told:
    """Who is told of alarms, beside the log: one function, or several.

    Raises:
        ConfigurationError: `on_alarm` is something else.
    """

    def __init__(self, on_alarm: Callable[[Alarm], object] | Sequence[Callable[[Alarm], object]]) -> None:
        self._functions = tuple(on_alarm) if isinstance(on_alarm, Iterable) else (on_alarm,)
        if not all(map(callable, self._functions)):
            raise ConfigurationError(f"`on_alarm` is a function of an alarm, or a list of such, not {on_alarm!r}")

    def __call__(self, alarm: Alarm) -> int:
        """Tell `alarm`; gives how many have failed, which is logged."""
        log.warning("alarm: %s", alarm)
        failed = 0
        for tell in self._functions:
            try:
                tell(alarm)
            except Exception:
                failed += 1
                log.exception("`on_alarm` %r failed; the others are told", tell)
        return failed
