"""A `Call` is one run of a pipeline: its deadline, its budget, and the record of all that happened.

The record is a list of typed events, always kept and cheap (a tuple each, and two clock reads). Everything that
people see of a run (`explain()`, traces, logs, metrics) is made from it, after the run and off the hot path.

All times in events are seconds of `time.perf_counter()`; `Call.wall_time()` turns one into seconds since the epoch.
"""

from __future__ import annotations

import logging
import random
import time
from collections.abc import Callable, Mapping
from contextvars import ContextVar
from decimal import Context, Decimal
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, TypeAlias

from llmops_sdk.errors import BudgetExceeded
from llmops_sdk.messages import PromptRef, Request, Response, Usage
from llmops_sdk.verdicts import Stage, Verdict

if TYPE_CHECKING:
    from llmops_sdk.protocols import Hook

__all__ = [
    "CLOCK",
    "EXACT",
    "AttemptEnded",
    "AttemptStarted",
    "CacheAnswered",
    "Call",
    "Ended",
    "Escalated",
    "Event",
    "FirstChunk",
    "GuardChecked",
    "Hedged",
    "LimitWaited",
    "LimitsDegraded",
    "Outcome",
    "Prices",
    "Rendered",
    "Retried",
    "Routed",
    "Started",
    "StreamResumed",
]

log = logging.getLogger("llmops_sdk")

EXACT = Context(prec=60)
"""For sums of money: wide enough that none is rounded, whatever the application's own decimal context is."""

CLOCK: ContextVar[Callable[[], float]] = ContextVar("llmops_sdk_clock", default=time.perf_counter)
"""What tells the time of new calls, in seconds; something else than the default where time is virtual."""


class Started(NamedTuple):
    """The run began. `streamed`: the caller asked for a stream."""

    at: float
    pipeline: str
    streamed: bool


class Rendered(NamedTuple):
    """The prompt became a request."""

    started: float
    at: float
    prompt: PromptRef | None
    request: Request


class GuardChecked(NamedTuple):
    """A guard gave its verdict on everything that it had to read at one stage (in a stream: when the stream ended)."""

    started: float
    at: float
    guard: str
    stage: Stage
    verdict: Verdict
    busy_s: float
    """Seconds that the guard itself worked; in a stream less than `at - started`."""


class Routed(NamedTuple):
    """A router decided in which order it would ask its engines; `refused` holds (engine, reason) pairs."""

    at: float
    router: str
    order: tuple[str, ...]
    refused: tuple[tuple[str, str], ...]


class AttemptStarted(NamedTuple):
    """An engine was asked."""

    at: float
    engine: str
    number: int
    """1 for the first attempt of the call."""


class FirstChunk(NamedTuple):
    """The first chunk of a stream came from the engine."""

    at: float
    engine: str


class AttemptEnded(NamedTuple):
    """An engine answered, or failed (`error`)."""

    started: float
    at: float
    engine: str
    provider: str
    number: int
    request: Request
    response: Response | None
    usage: Usage | None
    cost_usd: Decimal | None
    error: BaseException | None
    streamed: bool
    first_chunk_at: float | None
    chunks: int
    model: str | None = None
    """The model that was asked for; the one that answered is in `response`."""
    in_process: bool = False
    """Whether the model runs in this process."""
    cut_off: bool = False
    """Whether it ended before the engine could say what it took, which may have to be paid for all the same."""
    estimated_usd: Decimal | None = None
    """What it may have cost, where it is `unpriced` and there is a price to estimate by."""

    @property
    def unpriced(self) -> bool:
        """Whether it took tokens, or may have, and nobody knows what they cost."""
        return self.cost_usd is None and (self.cut_off or self.usage is not None or self.response is not None)


class Retried(NamedTuple):
    """After a failure the next attempt waits `delay_s` seconds; `engine` is the one that will be asked."""

    at: float
    engine: str
    delay_s: float
    error: BaseException


class Hedged(NamedTuple):
    """The engine that was asked had not begun to answer after `after_s` seconds: `engine` is asked beside it."""

    at: float
    engine: str
    after_s: float


class Escalated(NamedTuple):
    """`engine` answered, and the strategy was not content with it: the next one is asked. `reason` says why."""

    at: float
    engine: str
    reason: str


class LimitWaited(NamedTuple):
    """The run waited from `started` to `at` until `limit` let it through."""

    started: float
    at: float
    limit: str


class LimitsDegraded(NamedTuple):
    """The shared store of limits cannot be reached; `policy` is `"fail_open"` (the local share) or `"fail_closed"`."""

    at: float
    store: str
    policy: str
    error: BaseException


class CacheAnswered(NamedTuple):
    """A cache in front of `engine` answered; nothing was sent. `how` is `"exact"`, `"shared"` or `"semantic"`."""

    at: float
    engine: str
    how: str
    age_s: float
    similarity: float | None = None
    """Cosine of the two questions, where `how` is `"semantic"`."""


class StreamResumed(NamedTuple):
    """A stream broke and `engine` went on. `emitted` counts the characters that the caller had seen by then.

    `how`: `"resume"`, it continues the text so far; `"restart"`, it answers from the start, and what was emitted is not
    repeated; `"different"`, the answer from the start turned out to be another one, and takes the place of the first.
    """

    at: float
    engine: str
    how: str
    emitted: int


Outcome: TypeAlias = str
"""`"ok"`, `"blocked"`, `"cancelled"` or the name of an error class."""


class Ended(NamedTuple):
    """The run ended; nothing is recorded after this."""

    at: float
    outcome: Outcome
    error: BaseException | None


Event: TypeAlias = (
    Started
    | Rendered
    | GuardChecked
    | Routed
    | AttemptStarted
    | FirstChunk
    | AttemptEnded
    | Retried
    | Hedged
    | Escalated
    | LimitWaited
    | LimitsDegraded
    | CacheAnswered
    | StreamResumed
    | Ended
)


_NO_MONEY = Decimal(0)


class Prices(Protocol):
    """Knows what models cost, such as a `costs.PriceTable`. Keyword arguments as there."""

    def price(self, model: str | None, *, asked: str | None = None, provider: str | None = None) -> Any:
        """The price of a model, `None` where it is not known."""
        ...

    def cost(
        self, model: str | None, usage: Usage, *, asked: str | None = None, provider: str | None = None
    ) -> Decimal | None:
        """US dollars for `usage`, `None` where they are not known."""
        ...


class Call:
    """One run, carried from station to station.

    Attributes:
        id: 32 hexadecimal digits, unique to the run.
        tags: Whatever the caller wants to find the run by.
        deadline_s: Seconds that the caller gave the run, `None` for no limit.
        clock: What tells the time of this run, in seconds; `time.perf_counter` unless time is simulated.
        budget_usd: US dollars that the run may spend, `None` for no limit.
        spent_usd: US dollars spent so far on attempts with a known price.
        estimated_usd: US dollars that attempts have cost, as estimated, which ended before anybody had counted.
        prices: What tells the prices of models, `None` where none are known.
        attempts: How often an engine was asked so far.
        events: The record, oldest first.
        traceparent: W3C trace context of the run, which engines send on; a tracing hook sets it when it traces the run.
        state: What stations keep for the length of the run, by station (a guard's vault, say); emptied at the end.
    """

    __slots__ = (
        "_held",
        "_hooks",
        "_started_wall",
        "attempts",
        "budget_usd",
        "clock",
        "deadline",
        "deadline_s",
        "estimated_usd",
        "events",
        "id",
        "prices",
        "spent_usd",
        "started",
        "state",
        "tags",
        "traceparent",
    )

    def __init__(
        self,
        *,
        deadline_s: float | None = None,
        budget_usd: Decimal | None = None,
        tags: Mapping[str, Any] | None = None,
        hooks: tuple[Hook, ...] = (),
        prices: Prices | None = None,
        clock: Callable[[], float] | None = None,
    ) -> None:
        self.id = f"{random.getrandbits(128):032x}"
        self.tags: Mapping[str, Any] = tags or {}
        self.deadline_s = deadline_s
        self.budget_usd = budget_usd
        self.spent_usd = self.estimated_usd = _NO_MONEY
        self.attempts = 0
        self.events: list[Event] = []
        self.state: dict[Any, Any] = {}
        self.clock = clock or CLOCK.get()
        self.started = self.clock()
        self.deadline = None if deadline_s is None else self.started + deadline_s
        self._started_wall = time.time()
        self.traceparent: str | None = None
        self._hooks = hooks
        self.prices = prices
        self._held: dict[int, Decimal] = {}

    def record(self, event: Event) -> None:
        """Add `event` to the record and hand it to the hooks. A hook that raises is logged, and breaks nothing."""
        self.events.append(event)
        if self._hooks:
            for hook in self._hooks:
                try:
                    hook(event, self)
                except Exception:
                    log.exception("hook %r failed on %s; the call goes on", hook, type(event).__name__)

    def apart(self, hook: Hook) -> Call:
        """A call for work that others may go on waiting for when this run has ended; `hook` gets its events."""
        apart = Call(budget_usd=self.budget_usd, tags=self.tags, hooks=(hook,), prices=self.prices, clock=self.clock)
        apart.id, apart.traceparent = self.id, self.traceparent
        apart.deadline_s, apart.deadline = self.deadline_s, self.deadline
        apart.spent_usd, apart.attempts = self.spent_usd, self.attempts
        return apart

    def remaining_s(self) -> float | None:
        """Seconds until the deadline (negative when it is over), `None` without one."""
        return None if self.deadline is None else self.deadline - self.clock()

    def wall_time(self, moment: float) -> float:
        """Seconds since the epoch of a `time.perf_counter()` moment of this run."""
        return self._started_wall + (moment - self.started)

    def price(
        self, model: str | None, usage: Usage | None, *, asked: str | None = None, provider: str | None = None
    ) -> Decimal | None:
        """US dollars for `usage` of `model`; `None` where the price is not known: it is never guessed.

        `asked` is the model's name as it was asked for, `provider` the one who bills.
        """
        if self.prices is None or usage is None:
            return None
        return self.prices.cost(model, usage, asked=asked, provider=provider)

    def spend(self, cost_usd: Decimal | None, estimated_usd: Decimal | None = None) -> None:
        """Book the cost of an attempt, or what it may have cost."""
        if cost_usd is not None:
            self.spent_usd = EXACT.add(self.spent_usd, cost_usd)
        elif estimated_usd is not None:
            self.estimated_usd = EXACT.add(self.estimated_usd, estimated_usd)

    def hold(self, attempt: int, most_usd: Decimal) -> None:
        """Keep this much of the budget for an attempt under way."""
        self._held[attempt] = most_usd

    def let_go(self, attempt: int) -> None:
        """An attempt has ended: what was held for it is free again."""
        self._held.pop(attempt, None)

    @property
    def left_usd(self) -> Decimal | None:
        """What is left of the budget beside the attempts under way; may be negative; `None` without a budget."""
        if self.budget_usd is None:
            return None
        left = EXACT.subtract(EXACT.subtract(self.budget_usd, self.spent_usd), self.estimated_usd)
        for held in self._held.values():
            left = EXACT.subtract(left, held)
        return left

    def check_budget(self) -> None:
        """Refuse to go on when the budget is spent.

        Raises:
            BudgetExceeded: Nothing is left of `budget_usd`.
        """
        left = self.left_usd
        if left is not None and left <= 0:
            raise BudgetExceeded(
                f"the run's budget of {self.budget_usd} USD is spent ({self.spent_usd} USD); "
                "raise `budget_usd` or allow fewer attempts",
                budget_usd=self.budget_usd,
                spent_usd=self.spent_usd,
            )

    def __repr__(self) -> str:
        return f"<Call {self.id[:8]} {len(self.events)} events>"
