"""Whether an engine is fit to be asked, by what became of the requests before. Time is passed in, never read."""

from __future__ import annotations

import math
import random
from collections import OrderedDict, deque
from typing import Literal

from llmops_sdk.errors import (
    BadRequestError,
    BudgetExceeded,
    ContentFilteredError,
    LimitExceeded,
    NotFoundError,
    PermissionDeniedError,
    RateLimitError,
)
from llmops_sdk.routers._legs.breaker import Breaker

__all__ = ["Circuit", "at_fault"]

_SLOTS = 10  # pieces of the rolling window
_ASKED_LAST_S = 1.0
_RESTS_S = 1.0  # after a 429 that does not say for how long
_MOST_S = 30.0
_LOOK_AGAIN_S = 0.05
_EVERY_TENTH = 0.1
_MISSED = 4
_NEVER = -math.inf
_OF_THE_REQUEST = (
    BadRequestError,
    BudgetExceeded,
    ContentFilteredError,
    LimitExceeded,
    NotFoundError,
    PermissionDeniedError,
)
"""Errors that say nothing of the engine: another request may be answered. (A wrong key fails them all.)"""


def at_fault(error: BaseException) -> bool:
    """Whether it was the engine's fault; it was not when it is full, the request was wrong, or nobody waited."""
    return isinstance(error, Exception) and not isinstance(error, (RateLimitError, *_OF_THE_REQUEST))


class Circuit:
    """The breaker of one engine. Every request that is sent begins with `begin`, and ends with `ended`.

    Memory is bounded by the requests under way.

    Attributes:
        policy: When it opens and closes.
        failures: Failures in a row.
        trouble: False as long as nothing but answers came; nobody has to look any further then.
        look_at: When the requests under way are to be looked at next.
    """

    __slots__ = (
        "_asked_last_until",
        "_bad",
        "_closed_at",
        "_good",
        "_heard_at",
        "_last_before_opening",
        "_late",
        "_open_until",
        "_opened",
        "_past",
        "_probe",
        "_rest_until",
        "_rests",
        "_slot_ends",
        "_suspected",
        "_ticket",
        "_under_way",
        "_why",
        "failures",
        "look_at",
        "policy",
        "trouble",
    )

    def __init__(self, policy: Breaker) -> None:
        self.policy = policy
        self.failures = 0
        self.trouble = False
        self.look_at = _NEVER if policy.slow_factor is not None else math.inf
        self._ticket = 0
        self._under_way: OrderedDict[int, float] = OrderedDict()
        self._late: set[int] = set()  # under way, and counted as failures already
        self._heard_at = _NEVER
        self._good = self._bad = 0  # in the slot that ends at:
        self._slot_ends = _NEVER
        self._past: deque[tuple[float, int, int]] = deque()
        self._open_until: float | None = None  # None: closed; in the past: half open
        self._opened = 0
        self._closed_at = _NEVER
        self._last_before_opening = 0
        self._suspected = False  # opened by requests that hang, which may still be answered
        self._probe: int | None = None
        self._rest_until = _NEVER
        self._rests = 0
        self._asked_last_until = _NEVER
        self._why = ""

    # What the engine may be asked

    @property
    def state(self) -> Literal["closed", "open"]:
        """`"open"` also while it is half open: see `refusal` for what that means at a given time."""
        return "closed" if self._open_until is None else "open"

    def refusal(self, now: float) -> str | None:
        """Why the engine is not to be asked now, `None` when it may be."""
        if not self.trouble:
            return None
        if self._rest_until > now:
            return f"it asked to be left alone, for another {self._rest_until - now:.1f} s"
        if self._open_until is None:
            self.trouble = self.failures > 0
            return None
        if self._open_until > now:
            return f"its breaker is open after {self._why}, the next probe is in {self._open_until - now:.1f} s"
        return None if self._probe is None else "its breaker is half open, and a probe is under way"

    def ready_at(self, now: float) -> tuple[float, bool]:
        """Sorts engines by when they may be asked: at what time, and whether a probe is under way."""
        return max(self._rest_until, self._open_until or _NEVER, now), self._probe is not None

    def rest_s(self, now: float) -> float:
        """Seconds for which the engine still wants to be left alone, 0.0 if it does not."""
        return max(self._rest_until - now, 0.0)

    def resting(self, now: float) -> bool:
        """Whether the last that was heard of the engine, a moment ago, was a failure; it is then asked last."""
        return self.failures > 0 and self._asked_last_until > now

    def quiet(self, now: float, half_s: float) -> bool:
        """Whether nothing came although a request is under way for longer than half of the answers take, `half_s`."""
        if self._late:
            return self._heard_at <= now - half_s
        oldest = next(iter(self._under_way.values()), now)
        return now - oldest > half_s and self._heard_at <= oldest

    def silent(self, now: float, half_s: float) -> bool:
        """Whether nothing came in the time of half of the answers, `half_s`, although several should have come.

        Of requests that are under way for so long every second one is late for no reason; four at once are a sign, when
        nothing else came meanwhile either.
        """
        if self._heard_at > now - half_s:
            return False
        missed = len(self._late)
        for began in self._under_way.values():
            if missed >= _MISSED or now - began < half_s:
                break
            missed += 1
        return missed >= _MISSED

    def remark(self, now: float) -> str:
        """What a person who reads a route has to know of an engine that is not refused."""
        if self._open_until is not None and self._open_until <= now:
            return ", a probe: its breaker is half open"
        if self.refusal(now) is not None:
            return f", though {self.refusal(now)}: nobody else can be asked"
        return ", failed a moment ago" if self.resting(now) else ""

    # What becomes of the requests

    def begin(self, now: float) -> int:
        """A request is sent; gives the ticket by which its end is told."""
        self._ticket = ticket = self._ticket + 1
        self._under_way[ticket] = now
        if self._open_until is not None and self._probe is None and self._open_until <= now:
            self._probe = ticket
        return ticket

    def ended(self, ticket: int, now: float, error: BaseException | None) -> None:
        """The request ended: with an answer, if there is no `error`."""
        if error is None:
            self.succeeded(ticket, now)
            return
        retry_after_s = getattr(error, "retry_after_s", None)
        if isinstance(error, RateLimitError):
            self.rested(now, retry_after_s, ticket)
        elif at_fault(error):
            self.failed(ticket, now, type(error).__name__)
            if retry_after_s is not None:
                self.rested(now, retry_after_s)
        else:
            self.dropped(ticket)

    def heard(self, ticket: int, now: float) -> None:
        """A stream has begun: it does not hang, however long it takes from here."""
        self._under_way.pop(ticket, None)
        self._heard_at = now
        if self._probe == ticket:  # a long stream keeps nobody from trying, too; whether it closes shows at its end
            self._probe = None

    def succeeded(self, ticket: int, now: float) -> None:
        """An answer came."""
        if self._under_way.pop(ticket, None) is None:  # it was late, or has been heard before
            self._late.discard(ticket)
        self._heard_at = now
        if now >= self._slot_ends:
            self._turn(now)
        self._good += 1
        if self.trouble:
            self._rests = 0
            self._alive(ticket, now)

    def failed(self, ticket: int, now: float, why: str) -> None:
        """No answer came, and that was the engine's fault. `why` is a word or two."""
        self._under_way.pop(ticket, None)
        if ticket in self._late:  # it counted in the row when it became late
            self._late.discard(ticket)
            self._count_in_window(now)
        else:
            self._count_in_window(now)
            self._count_in_row(ticket, now, why)

    def rested(self, now: float, seconds: float | None, ticket: int | None = None) -> None:
        """The engine asks to be left alone for so many seconds; `None`: it did not say, so 1 s, 2 s, 4 s, ... 30 s.

        `ticket` is that of a request that was refused for that reason alone (HTTP 429), which says that it lives.
        """
        if seconds is None or not seconds >= 0:
            seconds = min(_RESTS_S * 2.0 ** min(self._rests, 10), _MOST_S)
            self._rests += 1
        self._rest_until = max(self._rest_until, now + seconds)
        if ticket is not None:
            self._under_way.pop(ticket, None)
            self._late.discard(ticket)
            self._alive(ticket, now)
        self.trouble = True

    def dropped(self, ticket: int) -> None:
        """The request ended, and says nothing of the engine: it was cancelled, or was itself wrong."""
        self._under_way.pop(ticket, None)
        self._late.discard(ticket)
        if self._probe == ticket:
            self._probe = None

    def overtaken(self, now: float) -> None:
        """The engine lost a race that began when it was late; its request has been `dropped`."""
        self._count_in_window(now)
        self._count_in_row(self._ticket, now, "being too slow", suspected=True)

    def watch(self, now: float, usual_s: float | None) -> None:
        """Count the requests that hang. `usual_s`: what the engine takes for 95 of 100 answers, where it is known."""
        factor = self.policy.slow_factor
        if factor is None:
            return
        if usual_s is None:
            self.look_at = now + _LOOK_AGAIN_S
            return
        limit = usual_s * factor
        oldest = now
        while self._under_way:
            ticket, oldest = next(iter(self._under_way.items()))
            if now - oldest < limit:
                break
            del self._under_way[ticket]
            self._late.add(ticket)
            self._count_in_row(ticket, now, "a request that hangs", suspected=True)
            oldest = now
        self.look_at = oldest + limit

    def _alive(self, ticket: int, now: float) -> None:
        """An answer closes it, unless the request was sent before it opened: then the engine may have died since."""
        self.failures = 0
        if self._open_until is not None and (self._suspected or ticket > self._last_before_opening):
            self._open_until = self._probe = None
            self._closed_at = now
            self._opened -= self._suspected  # it was slow for a moment: no reason to be out for longer the next time
            self._good = self._bad = 0
            self._past.clear()
        self.trouble = self._open_until is not None or self._rest_until > now

    def _count_in_window(self, now: float) -> None:
        if now >= self._slot_ends:
            self._turn(now)
        self._bad += 1

    def _count_in_row(self, ticket: int, now: float, why: str, *, suspected: bool = False) -> None:
        self.failures += 1
        self.trouble = True
        if not suspected:  # to have been slow once is no reason to be asked last
            self._asked_last_until = now + min(_ASKED_LAST_S * 2.0 ** min(self.failures - 1, 10), _MOST_S)
        if self._open_until is not None:
            # One that was sent before says nothing new, and one that was sent because nobody was left changes nothing.
            if self._open_until <= now and ticket > self._last_before_opening and self._probe in (None, ticket):
                self._open(now, why, suspected=suspected)
            return
        policy = self.policy
        good = self._good + sum(good for _, good, _ in self._past)
        bad = self._bad + sum(bad for _, _, bad in self._past)
        before = max(bad - self.failures, 0)
        rate = before / (before + good) if before + good >= policy.minimum_calls else 0.0
        if self.failures >= policy.failures and rate**self.failures <= _EVERY_TENTH**policy.failures:
            many = "s" if self.failures > 1 else ""
            self._open(now, f"{self.failures} failure{many} in a row, the last one {why}", suspected=suspected)
        elif good + bad >= policy.minimum_calls and bad >= policy.failure_rate * (good + bad):
            self._open(now, f"{bad} failures of {good + bad}, the last one {why}", suspected=suspected)

    def _open(self, now: float, why: str, *, suspected: bool) -> None:
        policy = self.policy
        if self._open_until is None and now - self._closed_at >= policy.window_s:
            self._opened = 0
        length = min(policy.open_s * 2.0 ** min(self._opened, 30), policy.most_open_s)
        self._opened += 1
        self._open_until = now + length * (1.0 + random.random()) / 2.0
        self._last_before_opening = self._ticket
        self._suspected = suspected
        self._probe = None
        self._why = why

    def _turn(self, now: float) -> None:
        """Begin another slot of the window; drop those that have left it."""
        length = self.policy.window_s / _SLOTS
        if self._good or self._bad:
            self._past.append((self._slot_ends, self._good, self._bad))
        while self._past and self._past[0][0] <= now - self.policy.window_s:
            self._past.popleft()
        self._good = self._bad = 0
        self._slot_ends = now + length
