"""One run: its deadline, its budget, and the record of all that happened."""

from __future__ import annotations

import math
import random
import time
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from contextvars import ContextVar
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Protocol

from llmops_sdk.calls._events import Ended, Event, Rendered
from llmops_sdk.calls._executing import Execution, executing
from llmops_sdk.calls._found import Found
from llmops_sdk.calls._hook_failures import hook_failed, is_new
from llmops_sdk.calls._json import record_json, said
from llmops_sdk.errors import BudgetExceeded
from llmops_sdk.faults import is_for_the_process
from llmops_sdk.messages import PromptRef, ToolCall, Usage
from llmops_sdk.usage import EXACT
from llmops_sdk.verdicts import Verdict

if TYPE_CHECKING:
    from llmops_sdk.protocols import Hook

__all__ = ["ASKER", "CLOCK", "Call", "Prices"]

CLOCK: ContextVar[Callable[[], float]] = ContextVar("llmops_sdk_clock", default=time.perf_counter)
"""What tells the time of new calls, in seconds; something else than the default where time is virtual."""

ASKER: ContextVar[str] = ContextVar("llmops_sdk_asker", default="")
"""Name of the guard that is at work, as its pipeline calls it; set only for guards that take their time."""

_NO_MONEY = Decimal(0)
_NOTHING: AbstractContextManager[object] = nullcontext()
_OF_TAGS = (str, bool, int, float, type(None), dict, list, tuple)
"""What readers know to write; of any other value of a tag they get the text."""


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
        overdue: Whether whoever waits for the run has stopped it because its deadline was over.
        clock: What tells the time of this run, in seconds; `time.perf_counter` unless time is simulated.
        budget_usd: US dollars that the run may spend, `None` for no limit.
        spent_usd: US dollars spent so far on attempts with a known price.
        estimated_usd: US dollars that attempts have cost, as estimated, which ended before anybody had counted.
        prices: What tells the prices of models, `None` where none are known.
        attempts: How often an engine was asked so far.
        events: The record, oldest first.
        found: The very texts that guards found, so that nothing shows them; `None` while there are none.
        traceparent: W3C trace context of the run; a tracing hook sets it when it traces the run.
        tracestate: What goes with it, `None` for nothing.
        attempt_traceparent: That of the attempt which is beginning. A tracing hook sets it when it gets
            `AttemptStarted`, and who begins the attempt takes it at once; see `Request.trace_headers`.
        attempt_surround: Like `surround`, for the engine of that attempt; set and taken in the same way.
        surround: Makes what others' code runs in where the run calls it: guards, engines, tools. A tracing hook sets
            it, so that what is traced there hangs below the run; `None` for nothing. See `inside`.
        state: What stations keep for the length of the run, by station (a guard's vault, say); emptied at the end.
    """

    __slots__ = (
        "_guarded",
        "_held",
        "_hooks",
        "_started_wall",
        "_to_tell",
        "attempt_surround",
        "attempt_traceparent",
        "attempts",
        "budget_usd",
        "clock",
        "deadline",
        "deadline_s",
        "estimated_usd",
        "events",
        "found",
        "id",
        "overdue",
        "prices",
        "spent_usd",
        "started",
        "state",
        "surround",
        "tags",
        "traceparent",
        "tracestate",
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
        guarded: bool = False,
    ) -> None:
        self.id = f"{random.getrandbits(128):032x}"
        self.tags: Mapping[str, Any] = dict(tags) if tags else {}
        self.deadline_s = deadline_s
        self.budget_usd = budget_usd
        self.spent_usd = self.estimated_usd = _NO_MONEY
        self.attempts = 0
        self.events: list[Event] = []
        self.found: Found | None = None
        self.state: dict[Any, Any] = {}
        self.clock = clock or CLOCK.get()
        self.started = self.clock()
        self.deadline = None if deadline_s is None else self.started + deadline_s
        self.overdue = False
        self._started_wall = time.time()
        self.traceparent: str | None = None
        self.tracestate: str | None = None
        self.attempt_traceparent: str | None = None
        self.attempt_surround: Callable[[], AbstractContextManager[object]] | None = None
        self.surround: Callable[[], AbstractContextManager[object]] | None = None
        self._hooks = hooks
        self._guarded = guarded
        self._to_tell: list[tuple[Hook, BaseException]] | None = None
        self.prices = prices
        self._held: dict[object, Decimal] = {}

    def record(self, event: Event) -> None:
        """Add `event` to the record and hand it to the hooks. A hook that raises is logged once, and breaks nothing.

        `KeyboardInterrupt` and `SystemExit` in the main thread go on: they mean the process.
        """
        self.events.append(event)
        if self._hooks:
            for hook in self._hooks:
                try:
                    hook(event, self)
                except BaseException as exc:
                    if is_for_the_process(exc):
                        raise
                    if is_new(hook, exc):
                        self._hook_failed(hook, exc)
            if self._to_tell and type(event) is Ended:
                told, self._to_tell = self._to_tell, None
                for hook, error in told:
                    self._hook_failed(hook, error)

    def _hook_failed(self, hook: Hook, error: BaseException) -> None:
        """Tell it; but when the run has ended, since the error may quote what a guard has yet to find."""
        if self._guarded and not any(isinstance(event, Ended) for event in self.events):
            self._to_tell = [*(self._to_tell or ()), (hook, error)]
        else:
            self.hide_in_error(error)
            hook_failed(hook, error)

    @property
    def prompt(self) -> PromptRef | None:
        """Which prompt the run rendered, at which version, as which arm of a split; `None` for none."""
        return next((event.prompt for event in self.events if isinstance(event, Rendered)), None)

    def inside(self) -> AbstractContextManager[object]:
        """What others' code runs in that the run calls: pipelines that run there, and spans, belong to this run."""
        return _NOTHING if self.surround is None else self.surround()

    def dismiss(self, hook: Hook) -> None:
        """Hand no more events of this run to `hook`, which has seen enough of it."""
        self._hooks = tuple(one for one in self._hooks if one is not hook)

    def executing(self, tool_call: ToolCall) -> AbstractContextManager[Execution]:
        """Record that a tool is executed for the run: its times, its result, and the error if it raises, which goes on.

        The run has ended by then; its hooks are called all the same.

        Raises:
            ConfigurationError: It is no `ToolCall`.

        Example:
            >>> call = Call()
            >>> with call.executing(ToolCall(id="1", name="add", arguments='{"a": 1, "b": 2}')) as execution:
            ...     execution.result = 1 + 2
            >>> call.events[-1].result
            3
        """
        return executing(self, tool_call)

    def to_json(self) -> dict[str, Any]:
        """The record as a dict that `json.dumps` takes, at any time; stable, versioned, and without what was said.

        Times are seconds: `started_at` since the epoch, all others since the start of the run. Money is decimal text,
        so that nothing is lost; `None` where the price is not known. The messages of errors are left out, since they
        may quote what was sent. `calls.record_schema()` is its JSON Schema; `tracing.to_json` adds what was said.

        Example:
            >>> Call().to_json()["version"]
            1
        """
        written: dict[str, Any] = self.hidden_in(record_json(self))
        return written

    def apart(self, hook: Hook) -> Call:
        """A call for work that others may go on waiting for when this run has ended; `hook` gets its events."""
        apart = Call(budget_usd=self.budget_usd, tags=self.tags, hooks=(hook,), prices=self.prices, clock=self.clock)
        apart.id, apart.traceparent, apart.tracestate = self.id, self.traceparent, self.tracestate
        apart.deadline_s, apart.deadline = self.deadline_s, self.deadline
        apart.spent_usd, apart.estimated_usd, apart.attempts = self.spent_usd, self.estimated_usd, self.attempts
        apart._held = dict(self._held)
        apart.found = self.found
        return apart

    def note_found(self, text: str, verdict: Verdict) -> bool:
        """A guard decided so about `text`: what it found is shown nowhere from now on.

        Gives whether it said what that was. For one that did not, no free text of the run can be cleaned.
        """
        if self.found is None:
            self.found = Found()
        return self.found.note(text, verdict)

    def hidden(self, text: str) -> str:
        """`text` without what guards found in this run, for whatever leaves the process."""
        return text if self.found is None else self.found.hidden(text)

    @property
    def shown_tags(self) -> Mapping[str, Any]:
        """The tags without what guards found in this run, for whatever leaves the process; objects as texts."""
        tags = {said(key): value if isinstance(value, _OF_TAGS) else said(value) for key, value in self.tags.items()}
        found = self.found
        return tags if found is None else {found.hidden_in(key): found.hidden_tag(tag) for key, tag in tags.items()}

    def hidden_label(self, label: str) -> str:
        """The same for a label that somebody gave the run: like a tag it is a word of the application's own."""
        return label if self.found is None else str(self.found.hidden_tag(label))

    def hidden_in(self, value: Any) -> Any:
        """`hidden`, for all texts in dicts and lists."""
        return value if self.found is None else self.found.hidden_in(value)

    def hide_in_error(self, error: BaseException) -> None:
        """Take what guards found in this run out of the messages of `error`, in place."""
        if self.found is not None:
            self.found.hide_in_error(error)

    def remaining_s(self) -> float | None:
        """Seconds until the deadline (negative when it is over), `None` without one."""
        return None if self.deadline is None else self.deadline - self.clock()

    def wall_time(self, moment: float) -> float:
        """Seconds since the epoch of a `time.perf_counter()` moment of this run; of its start where that makes none."""
        since = moment - self.started
        return self._started_wall + (since if math.isfinite(since) else 0.0)

    def price(
        self, model: str | None, usage: Usage | None, *, asked: str | None = None, provider: str | None = None
    ) -> Decimal | None:
        """US dollars for `usage` of `model`; `None` where the price is not known: it is never guessed.

        `asked` is the model's name as it was asked for, `provider` the one who bills.
        """
        if usage is None:
            return None
        if self.prices is None:
            return usage.billed_usd
        return self.prices.cost(model, usage, asked=asked, provider=provider)

    def spend(self, cost_usd: Decimal | None, estimated_usd: Decimal | None = None) -> None:
        """Book the cost of an attempt, or what it may have cost."""
        if cost_usd is not None:
            self.spent_usd = EXACT.add(self.spent_usd, cost_usd)
        elif estimated_usd is not None:
            self.estimated_usd = EXACT.add(self.estimated_usd, estimated_usd)

    def hold(self, holder: object, most_usd: Decimal) -> None:
        """Keep this much of the budget for what is under way: for an attempt, say."""
        self._held[holder] = most_usd

    def let_go(self, holder: object) -> None:
        """It has ended: what was held for it is free again."""
        self._held.pop(holder, None)

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
                f"the run's budget of {self.budget_usd} USD is spent ({self.spent_usd} USD{self._and_about()}); "
                "raise `budget_usd` or allow fewer attempts",
                budget_usd=self.budget_usd,
                spent_usd=self.spent_usd,
            )

    def _and_about(self) -> str:
        held = sum(self._held.values(), _NO_MONEY)
        about = f", and about {self.estimated_usd} USD of what was cut off" if self.estimated_usd else ""
        return f"{about}, and {held} USD held for what is under way" if held else about

    def __repr__(self) -> str:
        return f"<Call {self.id[:8]} {len(self.events)} events>"
