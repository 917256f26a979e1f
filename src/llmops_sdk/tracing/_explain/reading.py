"""`explain(call)`: reads a record, and makes of it the tree of where the milliseconds and the money went."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from decimal import Decimal

from llmops_sdk.calls import (
    Aside,
    AttemptEnded,
    AttemptStarted,
    CacheAnswered,
    Call,
    Ended,
    Escalated,
    Event,
    GuardChecked,
    Hedged,
    Retried,
    Routed,
    Started,
    StreamResumed,
)
from llmops_sdk.errors import ConfigurationError
from llmops_sdk.faults import error_name
from llmops_sdk.tracing._explain.asking import aside_step, attempt_step, known, running_step
from llmops_sdk.tracing._explain.explanation import Explanation
from llmops_sdk.tracing._explain.numbers import money, ms_text
from llmops_sdk.tracing._explain.routing import retry_step, routing_step
from llmops_sdk.tracing._explain.stations import station_step
from llmops_sdk.tracing._explain.steps import Step, Tone, every
from llmops_sdk.tracing._text import printable

__all__ = ["explain"]

_OF_A_ROUTE = (AttemptStarted, AttemptEnded, Retried, Hedged, Escalated, StreamResumed, CacheAnswered)


def explain(call: Call) -> Explanation:
    """Explain a run, at any time: while it runs, too, and when it was cancelled.

    Raises:
        ConfigurationError: It is no call.

    Example:
        >>> from llmops_sdk.calls import Call, Ended, Started
        >>> call = Call()
        >>> call.record(Started(call.started, "support", streamed=False))
        >>> call.record(Ended(call.started + 0.25, "ok", None))
        >>> explain(call).total_ms
        250.0
    """
    if not isinstance(call, Call):
        raise ConfigurationError(f"`explain` takes a call, such as `result.call`, not a {type(call).__name__}")
    return _Reader(call).read()


class _Node:
    """A step that may still get steps within it; `engines` are those that a router may ask."""

    __slots__ = ("engines", "inner", "name", "step")

    def __init__(self, step: Step, name: str = "", engines: Sequence[str] = ()) -> None:
        self.step = step
        self.name = name
        self.engines = engines
        self.inner: list[_Node] = []

    def frozen(self) -> Step:
        """The step with what has come to stand within it."""
        return replace(self.step, inner=tuple(node.frozen() for node in self.inner)) if self.inner else self.step


class _Reader:
    """Reads one record."""

    __slots__ = ("_asides", "_call", "_ended", "_events", "_now", "_routes", "_top", "_waited_until", "_zero")

    def __init__(self, call: Call) -> None:
        self._call = call
        self._events = list(call.events)
        self._zero = next((event.at for event in self._events if isinstance(event, Started)), call.started)
        self._ended = next((event for event in self._events if isinstance(event, Ended)), None)
        self._now = self._ms(call.clock() if self._ended is None else self._ended.at)
        self._top: list[_Node] = []
        self._routes: list[_Node] = []
        self._asides: list[Aside] = []
        self._waited_until = self._waits()

    def _ms(self, moment: float) -> float:
        """Milliseconds since the start of the run. A clock that makes no sense counts as the start."""
        ms = (moment - self._zero) * 1000
        return round(ms, 6) if math.isfinite(ms) else 0.0

    def _frozen(self) -> tuple[Step, ...]:
        steps = tuple(node.frozen() for node in self._top)
        return steps if self._call.found is None else tuple(self._clean(step) for step in steps)

    def _clean(self, step: Step) -> Step:
        """`step` without what guards found, whoever has given it as the name of something."""
        hidden_in = self._call.hidden_in
        inner = tuple(self._clean(one) for one in step.inner)
        said = {"name": step.name, "result": step.result, "notes": step.notes}
        return replace(step, inner=inner, **hidden_in(said))

    def read(self) -> Explanation:
        """The explanation."""
        until = next((at for at, event in enumerate(self._events) if event is self._ended), len(self._events))
        self._place_all(self._events[:until])
        steps = self._frozen()
        self._top = []
        self._place_all(self._events[until:])
        afterwards = self._frozen()
        outcome, tone = self._outcome()
        asked = [e.attempt if isinstance(e, Aside) else e for e in self._events if isinstance(e, AttemptEnded | Aside)]
        counted = [event.usage for event in asked if event.usage is not None]
        pipeline = next((event.pipeline for event in self._events if isinstance(event, Started)), "run")
        total_ms = max(self._now, 0.0)
        return Explanation(
            pipeline=printable(pipeline),
            outcome=outcome,
            tone=tone,
            total_ms=total_ms,
            elsewhere_ms=_uncovered(every(steps), total_ms),
            input_tokens=sum(usage.input_tokens for usage in counted) if counted else None,
            output_tokens=sum(usage.output_tokens for usage in counted) if counted else None,
            cost_usd=sum((cost for event in asked if (cost := known(event.cost_usd)) is not None), Decimal(0)),
            unpriced=sum(1 for step in every((*steps, *afterwards)) if step.priced and step.cost_usd is None),
            steps=steps,
            afterwards=afterwards,
            facts=tuple(self._facts()),
        )

    # The tree.

    def _place_all(self, events: Sequence[Event]) -> None:
        for event in events:
            self._place(event)
        self._place_asides()
        over = {(event.engine, event.number) for event in self._events if isinstance(event, AttemptEnded)}
        for event in events:
            if isinstance(event, AttemptStarted) and (event.engine, event.number) not in over:
                step = running_step(event, self._ms, self._now, ended=self._ended is not None)
                self._among(event.engine).append(_Node(step))

    def _place(self, event: Event) -> None:
        """Put what `event` stands for where it belongs: below its router, its guard or its cache."""
        if isinstance(event, Aside):
            self._asides.append(event)
            return
        node = self._node(event)
        if node is None:
            return
        if isinstance(event, Routed):
            self._among(event.router).append(node)
            self._routes.append(node)
        elif isinstance(event, _OF_A_ROUTE):
            self._among(event.engine).append(node)
        else:
            self._top.append(node)
        if isinstance(event, GuardChecked):
            self._adopt(node, lambda aside: aside.asker == event.guard)
        elif isinstance(event, CacheAnswered | AttemptEnded):
            self._adopt(node, lambda aside: aside.asker == event.engine)

    def _place_asides(self) -> None:
        """Those that stand below nothing: of a cache that had no answer, of a guard that was cancelled or goes on."""
        for aside in self._asides:
            node = _Node(aside_step(aside, self._ms, named=True))
            begun = node.step.start_ms or 0.0
            later = (at for at, other in enumerate(self._top) if (other.step.start_ms or 0.0) > begun)
            self._top.insert(next(later, len(self._top)), node)
        self._asides = []

    def _node(self, event: Event) -> _Node | None:
        if isinstance(event, Routed):
            step = routing_step(event, self._ms)
            return None if step is None else _Node(step, event.router, event.order)
        if isinstance(event, AttemptEnded):
            return _Node(attempt_step(event, self._ms))
        if isinstance(event, Retried):
            return _Node(retry_step(event, self._ms, self._waited_until[id(event)]))
        step = station_step(event, self._ms) or routing_step(event, self._ms)
        return None if step is None else _Node(step)

    def _among(self, engine: str) -> list[_Node]:
        """Where the steps of an engine (or of a router among the engines) stand: below the newest route to it."""
        for route in reversed(self._routes):
            if engine in route.engines and route.name != engine:
                return route.inner
        return self._top

    def _adopt(self, node: _Node, is_its: Callable[[Aside], bool]) -> None:
        node.inner.extend(_Node(aside_step(aside, self._ms, named=False)) for aside in self._asides if is_its(aside))
        self._asides = [aside for aside in self._asides if not is_its(aside)]

    def _waits(self) -> dict[int, float]:
        """When each wait was over: at the next attempt, or when the run ended in it."""
        over, at = {}, self._call.clock()
        for one in reversed(self._events):
            if isinstance(one, AttemptStarted | Ended):
                at = one.at
            elif isinstance(one, Retried):
                over[id(one)] = at
        return over

    # The run as a whole.

    def _outcome(self) -> tuple[str, Tone]:
        ended = self._ended
        if ended is None:
            return "running", "running"
        outcome = printable(ended.outcome)
        tones: dict[str, Tone] = {"ok": "good", "blocked": "blocked", "cancelled": "plain"}
        if ended.error is not None and ended.outcome not in tones:
            outcome = error_name(ended.error)
        return outcome, tones.get(ended.outcome, "failed")

    def _facts(self) -> Iterator[str]:
        attempts = [event for event in self._events if isinstance(event, AttemptEnded)]
        if any(isinstance(event, Started) and event.streamed for event in self._events):
            yield "streamed"
        failed = sum(1 for event in attempts if isinstance(event.error, Exception))
        if failed or len(attempts) > 1:
            count = f"{len(attempts)} attempt{'s' * (len(attempts) != 1)}"
            yield f"{count}, {failed} failed" if failed else count
        first = [event.first_chunk_at for event in attempts if event.first_chunk_at is not None]
        if first:
            yield f"first chunk after {ms_text(self._ms(min(first)))} ms"
        aside = [known(event.attempt.cost_usd) for event in self._events if isinstance(event, Aside)]
        beside = sum((cost for cost in aside if cost is not None), Decimal(0))
        if beside:
            yield f"{money(beside)} USD of it beside the answer"
        if self._call.deadline_s is not None:
            yield f"deadline {self._call.deadline_s:g} s"
        if self._call.budget_usd is not None:
            yield f"budget {self._call.budget_usd} USD"
        lock = next((event.lock for event in self._events if isinstance(event, Started)), None)
        if lock is not None:
            yield f"lock {printable(lock[:8])}"
        yield f"call {self._call.id[:8]}"


def _uncovered(steps: Iterable[Step], total_ms: float) -> float:
    """Milliseconds of the run in which no step was under way."""
    covered = reached = 0.0
    for step in sorted(steps, key=lambda step: step.start_ms or 0.0):
        if step.start_ms is None or step.end_ms is None or step.reads_along:
            continue
        start, end = max(step.start_ms, reached), min(step.end_ms, total_ms)
        if end > start:
            covered += end - start
            reached = end
    return max(total_ms - covered, 0.0)
