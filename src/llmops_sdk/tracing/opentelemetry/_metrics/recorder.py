"""Records the metrics of a run from its record, when it has ended."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import pairwise
from typing import Any, Final

from llmops_sdk.calls import (
    Aside,
    AttemptEnded,
    AttemptStarted,
    CacheAnswered,
    Call,
    Ended,
    Escalated,
    Evaluated,
    Event,
    GuardChecked,
    Hedged,
    LimitsDegraded,
    LimitWaited,
    OutputValidated,
    Retried,
    Started,
    StreamResumed,
    ToolExecuted,
)
from llmops_sdk.errors import BudgetExceeded
from llmops_sdk.tracing._dialects import gen_ai
from llmops_sdk.tracing._dialects import names as attributes
from llmops_sdk.tracing._text import name_of
from llmops_sdk.tracing.opentelemetry._metrics import names
from llmops_sdk.tracing.opentelemetry._metrics.bounded import Bounded
from llmops_sdk.tracing.opentelemetry._metrics.conventions import Attributes, Generation
from llmops_sdk.tracing.opentelemetry._metrics.instruments import Instruments

__all__ = ["MOST_INTERVALS", "Recorder"]

MOST_INTERVALS: Final = 64
"""Intervals of one stream that are recorded. One costs OpenTelemetry 5 to 10 µs, which a stream of a thousand chunks
should not cost a thousand times; so of a longer one every second is recorded, or every third, and so on."""


class Recorder:
    """Turns events into metrics.

    Args:
        instruments: Of our own metrics.
        generations: Of the metrics of attempts.
        bounded: Keeps the values of attributes to so many.
        tags: The tags of a run that its counts and its costs are told by.
    """

    def __init__(
        self, instruments: Instruments, generations: Sequence[Generation], bounded: Bounded, tags: Sequence[str]
    ) -> None:
        self._to = instruments
        self._generations = generations
        self._bounded = bounded
        self._tags = tuple((tag, attributes.TAG_PREFIX + name_of(tag)) for tag in tags)
        self._taken: Mapping[type[Any], Callable[[Any, Call], None]] = {
            Ended: self._ended,
            AttemptEnded: self.attempt,
            Aside: self._aside,
            GuardChecked: self._guard,
            Retried: self._retried,
            Hedged: self._hedged,
            Escalated: self._escalated,
            StreamResumed: self._resumed,
            LimitWaited: self._waited,
            LimitsDegraded: self._degraded,
            CacheAnswered: self._cached,
            OutputValidated: self._validated,
        }

    def run(self, events: int, call: Call) -> None:
        """A run that has ended: the first `events` of its record, so the last of them is its end."""
        record = call.events[:events]
        for event in record:
            take = self._taken.get(type(event))
            if take is not None:
                take(event, call)
        for failed, started in _failovers(record):
            self._to.failovers.add(
                1,
                {
                    **self._pipeline(call),
                    attributes.ENGINE: name_of(failed.engine),
                    names.FAILED_OVER_TO: name_of(started.engine),
                    attributes.ERROR_TYPE: type(failed.error).__name__,
                },
            )

    def attempt(self, event: AttemptEnded, call: Call) -> None:
        """An engine that was asked; not one that a cache has kept from being asked."""
        self._attempt(event, call, {})

    def tool(self, event: ToolExecuted, call: Call) -> None:
        """A tool that was executed."""
        told: Attributes = {attributes.TOOL_NAME: self._value(attributes.TOOL_NAME, event.tool_call.name, call)}
        if event.error is not None:
            told[attributes.ERROR_TYPE] = type(event.error).__name__
        self._to.tool_duration.record(max(event.at - event.started, 0.0), told)

    def evaluation(self, event: Evaluated, call: Call) -> None:
        """Somebody judged the run."""
        told = self._pipeline(call)
        told[attributes.EVALUATION_NAME] = self._value(attributes.EVALUATION_NAME, event.name, call)
        told[attributes.EVALUATION_BY] = event.by
        if event.score is not None and math.isfinite(event.score):  # one NaN would make the sum one for ever
            self._to.evaluation_score.record(event.score, told)
        if event.label is not None:
            told[attributes.EVALUATION_SCORE_LABEL] = self._value(attributes.EVALUATION_SCORE_LABEL, event.label, call)
        if event.error is not None:
            told[attributes.ERROR_TYPE] = type(event.error).__name__
        self._to.evaluations.add(1, told)

    def _value(self, attribute: str, given: object, call: Call) -> str:
        """`given` as the value of `attribute`, without what guards found in the run: a time series is for ever."""
        return self._bounded.value(attribute, call.hidden_in(name_of(str(given))))

    def _pipeline(self, call: Call) -> Attributes:
        first = call.events[0] if call.events else None
        return {attributes.AGENT_NAME: name_of(first.pipeline)} if isinstance(first, Started) else {}

    def _tagged(self, call: Call) -> Attributes:
        told: Attributes = {}
        shown = call.shown_tags if self._tags else {}
        for tag, attribute in self._tags:
            given = shown.get(tag)
            if given is not None:
                told[attribute] = self._value(attribute, given, call)
        return told

    def _ended(self, event: Ended, call: Call) -> None:
        told = self._pipeline(call)
        outcome = name_of(event.outcome)
        self._to.runs.add(1, {**told, attributes.CALL_OUTCOME: outcome, **self._tagged(call)})
        if outcome not in gen_ai.STOPPED:
            told[attributes.ERROR_TYPE] = outcome
        self._to.run_duration.record(max(event.at - call.started, 0.0), told)

    def _aside(self, event: Aside, call: Call) -> None:
        self._attempt(event.attempt, call, {names.ASKER: name_of(event.asker)})

    def _attempt(self, event: AttemptEnded, call: Call, asker: Attributes) -> None:
        if _unsent(event):
            return
        told: Attributes = {
            attributes.OPERATION_NAME: attributes.CHAT,
            attributes.PROVIDER_NAME: name_of(event.provider),
        }
        if event.model is not None:
            told[attributes.REQUEST_MODEL] = name_of(event.model)
        if event.response is not None and event.response.model is not None:
            told[attributes.RESPONSE_MODEL] = self._value(attributes.RESPONSE_MODEL, event.response.model, call)
        told = call.hidden_in(told)
        self._money(event, call, {**told, **asker})
        self._by_conventions(event, told)

    def _by_conventions(self, event: AttemptEnded, told: Attributes) -> None:
        ended = told
        if isinstance(event.error, Exception):
            ended = {**told, attributes.ERROR_TYPE: type(event.error).__name__}
        elif event.error is not None:  # by the caller or for a faster engine: no failure, and no answer's time either
            ended = {**told, attributes.CANCELLED: True}
        intervals = _intervals(event.chunk_times)
        for generation in self._generations:
            generation.duration(max(event.at - event.started, 0.0), ended)
            if event.usage is not None and not event.usage.estimated:
                generation.tokens(event.usage, told)
            if event.first_chunk_at is not None:
                generation.first_chunk(max(event.first_chunk_at - event.started, 0.0), told)
            generation.chunks(_spread(intervals), told)
        if intervals:
            self._to.longest_gap.record(max(intervals), told)

    def _money(self, event: AttemptEnded, call: Call, told: Attributes) -> None:
        told = {**told, **self._pipeline(call), **self._tagged(call)}
        del told[attributes.OPERATION_NAME]
        if event.cost_usd is not None:
            self._to.spent_usd.add(float(event.cost_usd), told)
        elif event.unpriced:
            self._to.unpriced.add(1, told)
            if event.estimated_usd is not None:
                self._to.estimated_usd.add(float(event.estimated_usd), told)

    def _guard(self, event: GuardChecked, call: Call) -> None:
        told = self._pipeline(call)
        told[attributes.GUARDRAIL_COMPONENT_NAME] = name_of(event.guard)
        told[attributes.GUARDRAIL_SOURCE] = event.stage
        verdict = event.verdict
        if verdict.skipped is None:
            self._to.guard_duration.record(max(event.busy_s, 0.0), dict(told))
        told[attributes.GUARDRAIL_RESULT_VALUE] = verdict.action if verdict.skipped is None else "skipped"
        if verdict.error is not None:  # "type: message"
            told[attributes.ERROR_TYPE] = name_of(verdict.error.partition(":")[0])
        self._to.guard_verdicts.add(1, told)

    def _retried(self, event: Retried, call: Call) -> None:
        told = {attributes.ENGINE: name_of(event.engine), attributes.ERROR_TYPE: type(event.error).__name__}
        self._to.retries.add(1, {**self._pipeline(call), **told})

    def _hedged(self, event: Hedged, call: Call) -> None:
        self._to.hedges.add(1, {**self._pipeline(call), attributes.ENGINE: name_of(event.engine)})

    def _escalated(self, event: Escalated, call: Call) -> None:
        self._to.escalations.add(1, {**self._pipeline(call), attributes.ENGINE: name_of(event.engine)})

    def _resumed(self, event: StreamResumed, call: Call) -> None:
        told = {attributes.ENGINE: name_of(event.engine), attributes.RESUME_HOW: name_of(event.how)}
        self._to.streams_resumed.add(1, {**self._pipeline(call), **told})

    def _waited(self, event: LimitWaited, call: Call) -> None:
        told = {names.LIMIT_KIND: self._value(names.LIMIT_KIND, _kind(event.limit), call)}
        self._to.limit_wait.record(max(event.at - event.started, 0.0), {**self._pipeline(call), **told})

    def _degraded(self, event: LimitsDegraded, call: Call) -> None:
        told = {attributes.LIMIT_STORE: name_of(event.store), attributes.LIMIT_POLICY: name_of(event.policy)}
        self._to.limits_degraded.add(1, {**self._pipeline(call), **told})

    def _cached(self, event: CacheAnswered, call: Call) -> None:
        told = {attributes.ENGINE: name_of(event.engine), attributes.CACHE_HOW: name_of(event.how)}
        self._to.cache_answers.add(1, {**self._pipeline(call), **told})

    def _validated(self, event: OutputValidated, call: Call) -> None:
        self._to.output_validations.add(1, {**self._pipeline(call), names.OUTPUT_VALID: event.error is None})


def _unsent(event: AttemptEnded) -> bool:
    """Whether nothing was sent: a cache has answered, the payer of a shared answer has failed, or money was missing."""
    if event.response is not None:
        return event.response.cached
    return isinstance(event.error, BudgetExceeded) or bool(getattr(event.error, "shared", False))


def _kind(limit: str) -> str:
    """`"tokens per minute"` of `"9,000 tokens per minute of user ada"`: numbers may adapt, and tags are not for all."""
    return limit.partition(" of ")[0].lstrip("0123456789,.e+- ") or limit


def _failovers(record: Sequence[Event]) -> Iterator[tuple[AttemptEnded, AttemptStarted]]:
    """Attempts that failed, each with the next one where that asked another engine."""
    failed: AttemptEnded | None = None
    for event in record:
        if isinstance(event, AttemptEnded):
            if isinstance(event.error, Exception):
                failed = event
        elif isinstance(event, AttemptStarted):
            if failed is not None and failed.engine != event.engine:
                yield failed, event
            failed = None


def _intervals(times: Sequence[float]) -> list[float]:
    return [max(after - before, 0.0) for before, after in pairwise(times)]


def _spread(intervals: Sequence[float]) -> Sequence[float]:
    """At most `MOST_INTERVALS` of them, at equal distances."""
    return intervals[:: -(-len(intervals) // MOST_INTERVALS) or 1]
