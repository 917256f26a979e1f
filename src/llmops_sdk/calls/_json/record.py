"""A record as JSON: one writer for each class of event."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable
from importlib import resources
from typing import TYPE_CHECKING, Any, TypeAlias

from llmops_sdk.calls._events import (
    Aside,
    AttemptEnded,
    AttemptStarted,
    CacheAnswered,
    Ended,
    Escalated,
    Evaluated,
    Event,
    FirstChunk,
    GuardChecked,
    Hedged,
    LimitsDegraded,
    LimitWaited,
    OutputValidated,
    Rendered,
    Retried,
    Routed,
    Started,
    StreamResumed,
    ToolExecuted,
)
from llmops_sdk.calls._json.values import error, money, number, plain, prompt, text, usage, verdict
from llmops_sdk.surrogates import valid

if TYPE_CHECKING:
    from llmops_sdk.calls._call import Call

__all__ = ["VERSION", "event_json", "record_json", "record_schema"]

VERSION = 1
"""Raised when a field changes its meaning or goes away; new fields and new events may come without it."""

_Fields: TypeAlias = dict[str, Any]
_Since: TypeAlias = "Callable[[float], float | None]"
"""Seconds since the start of the run, `None` for a moment that makes no sense."""


def record_json(call: Call) -> _Fields:
    """See `Call.to_json`."""
    events = list(call.events)
    ended = next((event for event in reversed(events) if isinstance(event, Ended)), None)
    started = next((event for event in events if isinstance(event, Started)), None)
    since = _since(call)
    return {
        "version": VERSION,
        "id": call.id,
        "pipeline": None if started is None else valid(started.pipeline),
        "outcome": "running" if ended is None else valid(ended.outcome),
        "started_at": call.wall_time(call.started),
        "duration": None if ended is None else since(ended.at),
        "deadline": number(call.deadline_s),
        "budget_usd": money(call.budget_usd),
        "spent_usd": money(call.spent_usd),
        "estimated_usd": money(call.estimated_usd),
        "tags": {valid(key): plain(value) for key, value in call.shown_tags.items()},
        "events": [_WRITERS[type(event)](event, since) for event in events],
    }


def event_json(call: Call, event: Event) -> _Fields:
    """One event as it stands in `record_json`."""
    written: _Fields = call.hidden_in(_WRITERS[type(event)](event, _since(call)))
    return written


def record_schema() -> _Fields:
    """The JSON Schema (draft 2020-12) that every record of version 1 satisfies."""
    file = resources.files("llmops_sdk.calls._json") / f"record-{VERSION}.schema.json"
    schema: _Fields = json.loads(file.read_text(encoding="utf-8"))
    return schema


def _since(call: Call) -> _Since:
    def since(moment: float) -> float | None:
        seconds = number(moment - call.started)
        return None if seconds is None else round(seconds, 9)

    return since


def _started(event: Started, since: _Since) -> _Fields:
    return {
        "event": "started",
        "at": since(event.at),
        "pipeline": valid(event.pipeline),
        "streamed": event.streamed,
        **({} if event.lock is None else {"lock": event.lock}),
    }


def _rendered(event: Rendered, since: _Since) -> _Fields:
    return {
        "event": "rendered",
        "started": since(event.started),
        "at": since(event.at),
        "prompt": prompt(event.prompt),
        "messages": len(event.request.messages),
        **({"cuts": [{**cut._asdict(), "section": valid(cut.section)} for cut in event.cuts]} if event.cuts else {}),
    }


def _guard_checked(event: GuardChecked, since: _Since) -> _Fields:
    return {
        "event": "guard_checked",
        "started": since(event.started),
        "at": since(event.at),
        "guard": valid(event.guard),
        "stage": event.stage,
        "busy": number(event.busy_s),
        "verdict": verdict(event.verdict),
    }


def _routed(event: Routed, since: _Since) -> _Fields:
    return {
        "event": "routed",
        "at": since(event.at),
        "router": valid(event.router),
        "order": [valid(engine) for engine in event.order],
        "refused": [{"engine": valid(engine), "reason": valid(reason)} for engine, reason in event.refused],
    }


def _attempt_started(event: AttemptStarted, since: _Since) -> _Fields:
    return {
        "event": "attempt_started",
        "at": since(event.at),
        "engine": valid(event.engine),
        "number": event.number,
    }


def _first_chunk(event: FirstChunk, since: _Since) -> _Fields:
    return {"event": "first_chunk", "at": since(event.at), "engine": valid(event.engine)}


def _attempt_ended(event: AttemptEnded, since: _Since) -> _Fields:
    response = event.response
    return {
        "event": "attempt_ended",
        "started": since(event.started),
        "at": since(event.at),
        "engine": valid(event.engine),
        "provider": valid(event.provider),
        "model": text(event.model),
        "in_process": event.in_process,
        "number": event.number,
        "streamed": event.streamed,
        "first_chunk_at": None if event.first_chunk_at is None else since(event.first_chunk_at),
        "chunks": event.chunks,
        "longest_pause": _longest_pause(event),
        "usage": usage(event.usage),
        "cost_usd": money(event.cost_usd),
        "estimated_usd": money(event.estimated_usd),
        "cut_off": event.cut_off,
        "error": error(event.error),
        "response": None
        if response is None
        else {
            "id": text(response.id),
            "model": text(response.model),
            "finish_reasons": [choice.finish_reason for choice in response.choices],
        },
    }


def _longest_pause(event: AttemptEnded) -> float | None:
    pauses = [number(later - sooner) for sooner, later in itertools.pairwise(event.chunk_times)]
    longest = max((pause for pause in pauses if pause is not None), default=None)
    return None if longest is None else round(longest, 9)


def _aside(event: Aside, since: _Since) -> _Fields:
    return {
        **_attempt_ended(event.attempt, since),
        "event": "aside",
        "asker": valid(event.asker),
        "operation": event.operation,
    }


def _retried(event: Retried, since: _Since) -> _Fields:
    return {
        "event": "retried",
        "at": since(event.at),
        "engine": valid(event.engine),
        "delay": number(event.delay_s),
        "error": error(event.error),
    }


def _hedged(event: Hedged, since: _Since) -> _Fields:
    return {
        "event": "hedged",
        "at": since(event.at),
        "engine": valid(event.engine),
        "after": number(event.after_s),
    }


def _escalated(event: Escalated, since: _Since) -> _Fields:
    return {
        "event": "escalated",
        "at": since(event.at),
        "engine": valid(event.engine),
        "reason": valid(event.reason),
    }


def _limit_waited(event: LimitWaited, since: _Since) -> _Fields:
    return {
        "event": "limit_waited",
        "started": since(event.started),
        "at": since(event.at),
        "limit": valid(event.limit),
    }


def _limits_degraded(event: LimitsDegraded, since: _Since) -> _Fields:
    return {
        "event": "limits_degraded",
        "at": since(event.at),
        "store": valid(event.store),
        "policy": valid(event.policy),
        "error": error(event.error),
    }


def _cache_answered(event: CacheAnswered, since: _Since) -> _Fields:
    return {
        "event": "cache_answered",
        "at": since(event.at),
        "engine": valid(event.engine),
        "how": valid(event.how),
        "age": number(event.age_s),
        "similarity": number(event.similarity),
    }


def _stream_resumed(event: StreamResumed, since: _Since) -> _Fields:
    return {
        "event": "stream_resumed",
        "at": since(event.at),
        "engine": valid(event.engine),
        "how": valid(event.how),
        "emitted": event.emitted,
    }


def _output_validated(event: OutputValidated, since: _Since) -> _Fields:
    fields: _Fields = {
        "event": "output_validated",
        "started": since(event.started),
        "at": since(event.at),
        "error": text(event.error),
    }
    return fields if event.repair is None else {**fields, "repair": text(event.repair)}


def _ended(event: Ended, since: _Since) -> _Fields:
    return {
        "event": "ended",
        "at": since(event.at),
        "outcome": valid(event.outcome),
        "error": error(event.error),
    }


def _tool_executed(event: ToolExecuted, since: _Since) -> _Fields:
    return {
        "event": "tool_executed",
        "started": since(event.started),
        "at": since(event.at),
        "name": valid(event.tool_call.name),
        "id": valid(event.tool_call.id),
        "error": error(event.error),
    }


def _evaluated(event: Evaluated, since: _Since) -> _Fields:
    return {
        "event": "evaluated",
        "at": since(event.at),
        "name": valid(event.name),
        "score": number(event.score),
        "label": text(event.label),
        "by": event.by,
        "error": error(event.error),
    }


_WRITERS: dict[type, Callable[[Any, _Since], _Fields]] = {
    Started: _started,
    Rendered: _rendered,
    GuardChecked: _guard_checked,
    Routed: _routed,
    AttemptStarted: _attempt_started,
    FirstChunk: _first_chunk,
    AttemptEnded: _attempt_ended,
    Aside: _aside,
    Retried: _retried,
    Hedged: _hedged,
    Escalated: _escalated,
    LimitWaited: _limit_waited,
    LimitsDegraded: _limits_degraded,
    CacheAnswered: _cache_answered,
    StreamResumed: _stream_resumed,
    OutputValidated: _output_validated,
    Ended: _ended,
    ToolExecuted: _tool_executed,
    Evaluated: _evaluated,
}
