"""`explain(call)`: where the milliseconds and the money of a run went, as a tree.

It is made from the record alone, at any time, and never shows what was said: no message, no found text, no text of an
error (which may quote either).
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import TYPE_CHECKING

from llmops_sdk.calls import (
    AttemptEnded,
    AttemptStarted,
    Call,
    Ended,
    Event,
    GuardChecked,
    Rendered,
    Retried,
    Started,
)
from llmops_sdk.errors import EngineError
from llmops_sdk.messages import Usage
from llmops_sdk.tracing._explain import html, text
from llmops_sdk.tracing._explain.routing import routing_step
from llmops_sdk.tracing._explain.steps import SHORT, Step, Tone
from llmops_sdk.tracing._text import error_name, printable

if TYPE_CHECKING:
    from rich.console import Console, ConsoleOptions
    from rich.text import Text

__all__ = ["Explanation", "Step", "Tone", "explain"]

_MOST = 8
"""Kinds of findings that are listed."""

_MOST_DIGITS = 15
"""Of a cost, before or after the point."""

_TONES: dict[str, Tone] = {"rewrite": "rewritten", "flag": "rewritten", "block": "blocked"}


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Explanation:
    """A run, explained. Print it; in a notebook it shows itself, and rich prints it in colours.

    Attributes:
        pipeline: Name of the pipeline.
        outcome: `"ok"`, `"blocked"`, `"cancelled"`, `"running"`, or the class of the error.
        tone: How to read the outcome.
        total_ms: Milliseconds of the whole run, or until now.
        elsewhere_ms: Those of `total_ms` that belong to no step: waiting, queueing, the pipeline itself.
        input_tokens: Of all attempts, `None` when nobody counted.
        output_tokens: Of all attempts.
        cost_usd: Sum of the known prices.
        unpriced: Attempts with a cost that is not known.
        steps: The steps in the order of the record, so in which they ended; what still runs is last.
        facts: More about the run as a whole.
    """

    pipeline: str
    outcome: str
    tone: Tone
    total_ms: float
    elsewhere_ms: float
    input_tokens: int | None
    output_tokens: int | None
    cost_usd: Decimal
    unpriced: int
    steps: tuple[Step, ...]
    facts: tuple[str, ...]

    def __str__(self) -> str:
        lines = text.lines(self)
        return "\n".join("".join(piece for piece, _ in line).rstrip() for line in lines)

    __repr__ = __str__

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> Iterator[Text]:
        from rich.text import Text  # noqa: PLC0415  (rich calls this, so it is there; nobody else pays for it)

        for line in text.lines(self, options.max_width):
            yield Text.assemble(*line, no_wrap=True, overflow="ellipsis")

    def _repr_html_(self) -> str:
        return html.page(self)


def explain(call: Call) -> Explanation:
    """Explain a run, at any time: while it runs, too, and when it was cancelled.

    Example:
        >>> from llmops_sdk.calls import Call, Ended, Started
        >>> call = Call()
        >>> call.record(Started(call.started, "support", streamed=False))
        >>> call.record(Ended(call.started + 0.25, "ok", None))
        >>> explain(call).total_ms
        250.0
    """
    return _Reader(call).read()


class _Reader:
    """Reads one record."""

    __slots__ = ("_call", "_events", "_now", "_steps", "_zero")

    def __init__(self, call: Call) -> None:
        self._call = call
        self._events = list(call.events)
        started = next((event.at for event in self._events if isinstance(event, Started)), call.started)
        self._zero = started
        ended = next((event.at for event in reversed(self._events) if isinstance(event, Ended)), None)
        self._now = self._ms(call.clock() if ended is None else ended)
        self._steps: list[Step] = []

    def _ms(self, moment: float) -> float:
        """Milliseconds since the start of the run. A clock that makes no sense counts as the start."""
        ms = (moment - self._zero) * 1000
        return round(ms, 6) if math.isfinite(ms) else 0.0

    def read(self) -> Explanation:
        """The explanation."""
        attempts = [event for event in self._events if isinstance(event, AttemptEnded)]
        self._steps.extend(step for event in self._events for step in self._steps_of(event))
        self._steps.extend(self._running(attempts))
        outcome, tone = self._outcome()
        counted = [event.usage for event in attempts if event.usage is not None]
        prices = [cost for event in attempts if (cost := _known(event.cost_usd)) is not None]
        pipeline = next((event.pipeline for event in self._events if isinstance(event, Started)), "run")
        total_ms = max(self._now, 0.0)
        return Explanation(
            pipeline=printable(pipeline),
            outcome=outcome,
            tone=tone,
            total_ms=total_ms,
            elsewhere_ms=_uncovered(self._steps, total_ms),
            input_tokens=sum(usage.input_tokens for usage in counted) if counted else None,
            output_tokens=sum(usage.output_tokens for usage in counted) if counted else None,
            cost_usd=sum(prices, Decimal(0)),
            unpriced=sum(1 for step in self._steps if step.priced and step.cost_usd is None),
            steps=tuple(self._steps),
            facts=tuple(self._facts(attempts)),
        )

    def _outcome(self) -> tuple[str, Tone]:
        ended = next((event for event in reversed(self._events) if isinstance(event, Ended)), None)
        if ended is None:
            return "running", "running"
        outcome = printable(ended.outcome)
        tones: dict[str, Tone] = {"ok": "good", "blocked": "blocked", "cancelled": "plain"}
        if ended.error is not None and ended.outcome not in tones:
            outcome = error_name(ended.error)
        return outcome, tones.get(ended.outcome, "failed")

    def _facts(self, attempts: Sequence[AttemptEnded]) -> Iterable[str]:
        if any(isinstance(event, Started) and event.streamed for event in self._events):
            yield "streamed"
        failed = sum(1 for event in attempts if isinstance(event.error, Exception))
        if failed or len(attempts) > 1:
            count = f"{len(attempts)} attempt{'s' * (len(attempts) != 1)}"
            yield f"{count}, {failed} failed" if failed else count
        first = [event.first_chunk_at for event in attempts if event.first_chunk_at is not None]
        if first:
            yield f"first chunk after {text.ms(self._ms(min(first)))} ms"
        if self._call.deadline_s is not None:
            yield f"deadline {self._call.deadline_s:g} s"
        if self._call.budget_usd is not None:
            yield f"budget {self._call.budget_usd} USD"
        yield f"call {self._call.id[:8]}"

    def _steps_of(self, event: Event) -> Iterable[Step]:
        if isinstance(event, Rendered):
            yield self._prompt(event)
        elif isinstance(event, GuardChecked):
            yield self._guard(event)
        elif isinstance(event, AttemptEnded):
            yield self._attempt(event)
        elif isinstance(event, Retried):
            yield self._retry(event)
        elif (step := routing_step(event, self._ms)) is not None:
            yield step

    def _prompt(self, event: Rendered) -> Step:
        name = "prompt"
        notes: tuple[str, ...] = ()
        if event.prompt is not None:
            version = f"@{printable(event.prompt.version, 40)}" if event.prompt.version is not None else ""
            name = f"prompt {printable(event.prompt.name, 60)}{version}"
            if event.prompt.commit is not None:
                notes = (f"commit {printable(event.prompt.commit, 12)}",)
        messages = len(event.request.messages)
        return self._timed(
            Step(name=name, result=f"{messages} message{'s' * (messages != 1)}", notes=notes), event.started, event.at
        )

    def _guard(self, event: GuardChecked) -> Step:
        verdict = event.verdict
        name = f"guard {printable(event.guard, 60)} · {event.stage}"
        if verdict.skipped is not None:
            return Step(name=name, result=f"skipped: {printable(verdict.skipped)}", start_ms=self._ms(event.at))
        kinds = Counter(printable(finding.kind, 40) for finding in verdict.findings)
        found = ", ".join(kind if count == 1 else f"{kind} x{count}" for kind, count in kinds.most_common(_MOST))
        found += f", {len(kinds) - _MOST} more kinds" if len(kinds) > _MOST else ""
        result: str = verdict.action
        notes: list[str] = []
        if found and len(found) <= SHORT:
            result = f"{result}: {found}"
        elif found:
            notes.append(f"found {found}")
        if verdict.reason and verdict.error is None:
            notes.append(printable(verdict.reason, 100))
        tone = _TONES.get(verdict.action, "good")
        if verdict.error is not None:
            notes.append(f"the guard itself broke: {printable(verdict.error.partition(':')[0])}")
            tone = "blocked" if verdict.blocked else "failed"
        busy_ms = event.busy_s * 1000 if math.isfinite(event.busy_s) else 0.0
        step = Step(name=name, result=result, tone=tone, notes=tuple(notes))
        return self._timed(step, event.started, event.at, took_ms=busy_ms)

    def _retry(self, event: Retried) -> Step:
        name = f"wait → {printable(event.engine, 60)}"
        step = Step(name=name, result=f"after {type(event.error).__name__}", tone="failed")
        return self._timed(step, event.at, min(event.at + event.delay_s, self._went_on(event)))

    def _went_on(self, event: Retried) -> float:
        """When the wait was over: at the next attempt, or when the run ended in it."""
        behind = False
        for one in self._events:
            behind = behind or one is event
            if behind and isinstance(one, AttemptStarted | Ended):
                return one.at
        return self._call.clock()

    def _attempt(self, event: AttemptEnded) -> Step:
        notes: list[str] = []
        model = event.model or (event.response.model if event.response is not None else None)
        if model is not None and model != event.engine:
            notes.append(printable(model, 60))
        if event.first_chunk_at is not None:
            notes.append(f"first chunk after {text.ms(self._ms(event.first_chunk_at) - self._ms(event.started))} ms")
        if event.streamed:
            notes.append(f"{event.chunks} chunk{'s' * (event.chunks != 1)}")
        if isinstance(event.error, Exception):
            notes.extend(_failure(event.error))
        usage = event.usage
        if usage is not None:
            notes.extend(_parts(usage))
        estimated = _known(event.estimated_usd)
        if estimated is not None:
            notes.append(f"may have cost about {text.money(estimated)} USD")
        result, tone = self._answer(event)
        step = Step(
            name=f"attempt {event.number} · {printable(event.engine, 60)}",
            result=result,
            tone=tone,
            input_tokens=usage.input_tokens if usage is not None else None,
            output_tokens=usage.output_tokens if usage is not None else None,
            cost_usd=_known(event.cost_usd),
            priced=event.unpriced or event.cost_usd is not None,
            notes=(" · ".join(notes),) if notes else (),
        )
        return self._timed(step, event.started, event.at)

    def _answer(self, event: AttemptEnded) -> tuple[str, Tone]:
        if event.error is None:
            reasons = [choice.finish_reason or "ended" for choice in event.response.choices] if event.response else []
            return ", ".join(dict.fromkeys(reasons)) or "no answer", "good"
        if not isinstance(event.error, Exception):
            return "cancelled", "plain"
        return type(event.error).__name__, "failed"

    def _running(self, attempts: Sequence[AttemptEnded]) -> Iterable[Step]:
        """Attempts that have begun and not ended."""
        over = {(event.engine, event.number) for event in attempts}
        ended = any(isinstance(event, Ended) for event in self._events)
        for event in self._events:
            if isinstance(event, AttemptStarted) and (event.engine, event.number) not in over:
                name = f"attempt {event.number} · {printable(event.engine, 60)}"
                start_ms = self._ms(event.at)
                yield Step(
                    name=name,
                    result="never ended" if ended else "running",
                    tone="running",
                    start_ms=start_ms,
                    took_ms=max(self._now - start_ms, 0.0),
                    end_ms=max(self._now, start_ms),
                )

    def _timed(self, step: Step, started: float, at: float, *, took_ms: float | None = None) -> Step:
        start_ms = self._ms(started)
        end_ms = max(self._ms(at), start_ms)
        took_ms = round(end_ms - start_ms, 6) if took_ms is None else took_ms
        return replace(step, start_ms=start_ms, end_ms=end_ms, took_ms=took_ms)


def _known(cost_usd: Decimal | None) -> Decimal | None:
    """`cost_usd` where it is a sum of money; a price table can hold nonsense."""
    sane = cost_usd is not None and cost_usd.is_finite() and abs(cost_usd.adjusted()) <= _MOST_DIGITS
    return cost_usd if sane else None


def _parts(usage: Usage) -> Iterator[str]:
    """What is charged for otherwise than plain tokens."""
    parts = (
        (usage.cached_input_tokens, "cached"),
        (usage.cache_write_tokens - usage.cache_write_1h_tokens, "written to the cache"),
        (usage.cache_write_1h_tokens, "written to the cache for an hour"),
        (usage.audio_input_tokens + usage.cached_audio_tokens, "of sound in"),
        (usage.reasoning_tokens, "for reasoning"),
        (usage.audio_output_tokens, "of sound out"),
    )
    yield from (f"{tokens:,} tokens {what}" for tokens, what in parts if tokens > 0)
    if usage.service_tier is not None:
        yield f"tier {printable(usage.service_tier, 40)}"
    if usage.also_charged:
        yield f"beside the tokens: {printable(', '.join(usage.also_charged), 80)}"
    if usage.estimated:
        yield "tokens estimated"


def _failure(error: Exception) -> Iterator[str]:
    """What can be said about an error without its message."""
    if error.__cause__ is not None:
        yield f"by {type(error.__cause__).__name__}"
    if isinstance(error, EngineError):
        if error.status_code is not None:
            yield f"HTTP {error.status_code}"
        if error.retry_after_s is not None:
            yield f"asks for {error.retry_after_s:g} s of rest"
        if error.request_id is not None:
            yield f"request {printable(error.request_id, 60)}"


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
