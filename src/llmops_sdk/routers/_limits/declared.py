"""Limits as people declare them."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal, InvalidOperation

from llmops_sdk.errors import ConfigurationError

__all__ = ["Adaptive", "Limit"]

_SCOPES = ("engine", "key", "router")
_MOST = 2**50
"""Amounts stay exact in a Redis script, whose numbers are doubles, with room to add some."""

_MOST_USD = 1_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Limit:
    """The most that may be asked of something; give several where several things are limited.

    Room is reserved before a request is sent, and settled when it has ended: tokens are estimated first (input as a
    third of its UTF-8 bytes, output as `max_tokens`, or else the mean of the engine's answers so far), and money by the
    price table of the run. What was reserved too much is free again at once; what was reserved too little counts from
    then on. An attempt that was refused (a status of 400 or more) or never reached its engine took no tokens; of one
    that broke in another way, what was estimated counts.

    Bounds, for a window that lies anywhere, with this process's own counters as well as with shared ones:

    * requests: no 60 seconds see more than `requests_per_minute` begin. A request counts for 60 to 61 seconds, so a
      steady flow reaches at least 60/61 of the limit.
    * tokens: the requests begun within any 60 seconds take at most `tokens_per_minute`, plus what those that were still
      under way when the last of them began take above their estimates: nothing where `max_tokens` is given and the
      input is not underestimated.
    * money: the same over 24 hours, with `usd_per_day`. A request counts for 24 hours to 24 hours 15 minutes. A request
      whose price is not known is let through as long as anything is left, as with `budget_usd`, and counts once the
      engine itself (or a router among the engines) says what it cost. That is logged once an engine, and
      `ledger.unpriced` counts those of which it was never known.
    * concurrent: never more than that at once.

    Attributes:
        requests_per_minute: Requests begun within 60 seconds, a whole number of 1 or more.
        tokens_per_minute: Tokens, in and out, of the requests begun within 60 seconds, a whole number of 1 or more.
        concurrent: Requests under way at once, 1 or more.
        usd_per_day: US dollars spent on the requests begun within 24 hours, over 0 and at most 1,000,000; `Decimal`,
            text or a whole number.
        per: What is counted apart: `"engine"`; `"key"`, all engines with the same API key together (an engine without
            one counts by itself); `"tag:NAME"`, each value of a run's tag (runs without the tag count together);
            `"router"`, all together.

    Raises:
        ConfigurationError: A number is out of its range, or nothing is limited.

    Example:
        >>> Limit(requests_per_minute=60, usd_per_day="2.50", per="tag:user").usd_per_day
        Decimal('2.50')
    """

    requests_per_minute: int | None = None
    tokens_per_minute: int | None = None
    concurrent: int | None = None
    usd_per_day: Decimal | str | int | None = None
    per: str = "engine"

    def __post_init__(self) -> None:
        names = ("requests_per_minute", "tokens_per_minute", "concurrent")
        for name in names:
            object.__setattr__(self, name, _whole(name, getattr(self, name)))
        object.__setattr__(self, "usd_per_day", _money(self.usd_per_day))
        if all(getattr(self, name) is None for name in (*names, "usd_per_day")):
            raise ConfigurationError(f"a limit limits something: give it one of {', '.join(names)}, usd_per_day")
        if not isinstance(self.per, str) or not (
            self.per in _SCOPES or (self.per.startswith("tag:") and len(self.per) > 4)
        ):
            raise ConfigurationError(f"`per` is 'engine', 'key', 'tag:NAME' or 'router', not {self.per!r}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Adaptive:
    """A limit of concurrent requests that finds itself: for a leg whose real limit nobody knows.

    Additive increase and multiplicative decrease, as in TCP's congestion avoidance (RFC 5681, section 3.1) and
    Netflix's concurrency-limits (https://github.com/Netflix/concurrency-limits). While at least half of it is in use,
    the limit grows by one for as many answers as it is high (a "window"). When the engine says 429 it falls to
    `backoff` times itself, once for all requests that were under way by then. It does not grow while the engine's
    rate-limit headers say that fewer requests remain than are under way. Each process has its own; like TCP's senders
    they share what there is.

    Attributes:
        initial: Where it begins, `least <= initial <= most`.
        least: It never falls below this, `>= 1`.
        most: It never grows over this.
        backoff: What is left of it after a 429, `0 < backoff < 1`.

    Raises:
        ConfigurationError: A number is out of its range.
    """

    initial: int = 16
    least: int = 1
    most: int = 1_000
    backoff: float = 0.5

    def __post_init__(self) -> None:
        for name in ("initial", "least", "most"):
            if _whole(name, getattr(self, name)) is None:
                raise ConfigurationError(f"`{name}` is a whole number of 1 or more, not None")
        if not self.least <= self.initial <= self.most:
            raise ConfigurationError(
                f"`Adaptive` needs least <= initial <= most, not {self.least}, {self.initial}, {self.most}"
            )
        if not isinstance(self.backoff, float) or not 0 < self.backoff < 1:
            raise ConfigurationError(f"`backoff` is between 0 and 1, not {self.backoff!r}")


def _whole(name: str, given: object) -> int | None:
    if given is None:
        return None
    if (
        isinstance(given, bool)
        or not isinstance(given, int | float)
        or not 1 <= given <= _MOST  # and so neither infinite nor NaN
        or given != int(given)
    ):
        raise ConfigurationError(f"`{name}` is a whole number of 1 or more, up to {_MOST:,}, not {given!r}")
    return int(given)


def _money(given: object) -> Decimal | None:
    if given is None:
        return None
    if isinstance(given, bool) or not isinstance(given, Decimal | str | int):
        raise ConfigurationError(f"`usd_per_day` has to be exact money, not {given!r}: write Decimal('2.50') or '2.50'")
    try:
        amount = Decimal(given)
    except InvalidOperation:
        raise ConfigurationError(f"`usd_per_day` is a number, not {given!r}") from None
    if not amount.is_finite() or not Decimal("1e-9") <= amount <= _MOST_USD:
        raise ConfigurationError(f"`usd_per_day` is over 0 and at most {_MOST_USD:,}, not {given!r}")
    return amount
