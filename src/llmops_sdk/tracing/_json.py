"""The record of a run as JSON: stable, versioned, without content unless it is asked for."""

from __future__ import annotations

import math
from collections.abc import Iterator
from decimal import Decimal
from typing import Any, TypeAlias

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
from llmops_sdk.errors import EngineError
from llmops_sdk.messages import PromptRef, Usage
from llmops_sdk.tracing._content import ContentPolicy, Shown, content_of, policy_of
from llmops_sdk.tracing._text import valid
from llmops_sdk.verdicts import Verdict

__all__ = ["VERSION", "to_json"]

VERSION = 1
"""Raised when a field changes its meaning or goes away; new fields may come without it."""


_Helping: TypeAlias = Hedged | Escalated | LimitWaited | LimitsDegraded | CacheAnswered
_Routing: TypeAlias = FirstChunk | Routed | Retried | StreamResumed | Ended | _Helping


def to_json(call: Call, *, content: bool | ContentPolicy = False) -> dict[str, Any]:
    """The record of a run as a dict that `json.dumps` takes.

    Times are seconds: `started_at` since the epoch, all others since the start of the run. Money is decimal text, so
    that nothing is lost; `None` where the price is not known. The messages of errors are left out, since they may
    quote what was sent.

    Args:
        call: The run; it may still be running.
        content: Add the messages of each attempt, as far as the guards let them pass (`input`, `output`); a
            `ContentPolicy` says which, and who redacts them: that may take time.

    Example:
        >>> from llmops_sdk.calls import Call, Started
        >>> call = Call()
        >>> call.record(Started(call.started, "support", streamed=False))
        >>> to_json(call)["events"]
        [{'event': 'started', 'at': 0.0, 'pipeline': 'support', 'streamed': False}]
    """
    events = list(call.events)
    ended = next((event for event in reversed(events) if isinstance(event, Ended)), None)
    started = next((event for event in events if isinstance(event, Started)), None)
    policy = policy_of(content)
    shown = iter(() if policy is None else content_of(call, policy).attempts)
    return {
        "version": VERSION,
        "id": call.id,
        "pipeline": None if started is None else valid(started.pipeline),
        "outcome": "running" if ended is None else valid(ended.outcome),
        "started_at": call.wall_time(call.started),
        "duration": None if ended is None else _since(call, ended.at),
        "deadline": _number(call.deadline_s),
        "budget_usd": _money(call.budget_usd),
        "spent_usd": _money(call.spent_usd),
        "estimated_usd": _money(call.estimated_usd),
        "tags": {valid(str(key)): _plain(value) for key, value in call.tags.items()},
        "events": [_event(call, event, shown) for event in events],
    }


def _event(call: Call, event: Event, shown: Iterator[Shown]) -> dict[str, Any]:
    at = _since(call, event.at)
    if isinstance(event, Started):
        return {"event": "started", "at": at, "pipeline": valid(event.pipeline), "streamed": event.streamed}
    if isinstance(event, Rendered):
        return {
            "event": "rendered",
            "started": _since(call, event.started),
            "at": at,
            "prompt": _prompt(event.prompt),
            "messages": len(event.request.messages),
        }
    if isinstance(event, GuardChecked):
        return {
            "event": "guard_checked",
            "started": _since(call, event.started),
            "at": at,
            "guard": valid(event.guard),
            "stage": event.stage,
            "busy": _number(event.busy_s),
            "verdict": _verdict(event.verdict),
        }
    if isinstance(event, AttemptEnded):
        return _attempt(call, event, next(shown, None))
    if isinstance(event, Aside):
        return {**_attempt(call, event.attempt, None), "event": "aside", "asker": valid(event.asker)}
    if isinstance(event, OutputValidated | ToolExecuted | Evaluated):
        return _about_the_answer(call, event, at)
    if isinstance(event, AttemptStarted):
        return {"event": "attempt_started", "at": at, "engine": valid(event.engine), "number": event.number}
    return _routing(call, event, at)


def _about_the_answer(
    call: Call, event: OutputValidated | ToolExecuted | Evaluated, at: float | None
) -> dict[str, Any]:
    """What was done with it."""
    if isinstance(event, OutputValidated):
        error = None if event.error is None else valid(event.error)
        return {"event": "output_validated", "started": _since(call, event.started), "at": at, "error": error}
    if isinstance(event, ToolExecuted):
        return {
            "event": "tool_executed",
            "started": _since(call, event.started),
            "at": at,
            "name": valid(event.tool_call.name),
            "id": valid(event.tool_call.id),
            "error": _error(event.error),
        }
    return {
        "event": "evaluated",
        "at": at,
        "name": valid(event.name),
        "score": _number(event.score),
        "label": None if event.label is None else valid(event.label),
        "by": event.by,
        "error": _error(event.error),
    }


def _routing(call: Call, event: _Routing, at: float | None) -> dict[str, Any]:
    if isinstance(event, Routed):
        return {
            "event": "routed",
            "at": at,
            "router": valid(event.router),
            "order": [valid(engine) for engine in event.order],
            "refused": [{"engine": valid(engine), "reason": valid(reason)} for engine, reason in event.refused],
        }
    if isinstance(event, FirstChunk):
        return {"event": "first_chunk", "at": at, "engine": valid(event.engine)}
    if isinstance(event, Retried):
        return {
            "event": "retried",
            "at": at,
            "engine": valid(event.engine),
            "delay": _number(event.delay_s),
            "error": _error(event.error),
        }
    if isinstance(event, StreamResumed):
        return {
            "event": "stream_resumed",
            "at": at,
            "engine": valid(event.engine),
            "how": valid(event.how),
            "emitted": event.emitted,
        }
    if isinstance(event, Ended):
        return {"event": "ended", "at": at, "outcome": valid(event.outcome), "error": _error(event.error)}
    return _helping(call, event, at)


def _helping(call: Call, event: _Helping, at: float | None) -> dict[str, Any]:
    """What a router or a cache did to help itself."""
    if isinstance(event, Hedged):
        return {"event": "hedged", "at": at, "engine": valid(event.engine), "after": _number(event.after_s)}
    if isinstance(event, Escalated):
        return {"event": "escalated", "at": at, "engine": valid(event.engine), "reason": valid(event.reason)}
    if isinstance(event, LimitWaited):
        return {
            "event": "limit_waited",
            "started": _since(call, event.started),
            "at": at,
            "limit": valid(event.limit),
        }
    if isinstance(event, LimitsDegraded):
        return {
            "event": "limits_degraded",
            "at": at,
            "store": valid(event.store),
            "policy": valid(event.policy),
            "error": _error(event.error),
        }
    return {
        "event": "cache_answered",
        "at": at,
        "engine": valid(event.engine),
        "how": valid(event.how),
        "age": _number(event.age_s),
    }


def _attempt(call: Call, event: AttemptEnded, shown: Shown | None) -> dict[str, Any]:
    response = event.response
    written: dict[str, Any] = {
        "event": "attempt_ended",
        "started": _since(call, event.started),
        "at": _since(call, event.at),
        "engine": valid(event.engine),
        "provider": valid(event.provider),
        "model": None if event.model is None else valid(event.model),
        "in_process": event.in_process,
        "number": event.number,
        "streamed": event.streamed,
        "first_chunk_at": None if event.first_chunk_at is None else _since(call, event.first_chunk_at),
        "chunks": event.chunks,
        "usage": _usage(event.usage),
        "cost_usd": _money(event.cost_usd),
        "estimated_usd": _money(event.estimated_usd),
        "cut_off": event.cut_off,
        "error": _error(event.error),
        "response": None
        if response is None
        else {
            "id": None if response.id is None else valid(response.id),
            "model": None if response.model is None else valid(response.model),
            "finish_reasons": [choice.finish_reason for choice in response.choices],
        },
    }
    if shown is not None:
        written["input"] = shown.input
        written["output"] = shown.output
    return written


def _verdict(verdict: Verdict) -> dict[str, Any]:
    return {
        "action": verdict.action,
        "reason": valid(verdict.reason),
        "skipped": None if verdict.skipped is None else valid(verdict.skipped),
        "error": None if verdict.error is None else valid(verdict.error.partition(":")[0]),
        "findings": [
            {
                "kind": valid(finding.kind),
                "start": finding.start,
                "end": finding.end,
                "score": _number(finding.score),
                "rule": valid(finding.rule),
                "origin": valid(finding.origin),
            }
            for finding in verdict.findings
        ],
    }


def _prompt(prompt: PromptRef | None) -> dict[str, Any] | None:
    if prompt is None:
        return None
    return {
        "name": valid(prompt.name),
        "version": None if prompt.version is None else valid(prompt.version),
        "commit": prompt.commit,
        "hash": prompt.hash,
    }


def _usage(usage: Usage | None) -> dict[str, Any] | None:
    if usage is None:
        return None
    return {
        "input_tokens": usage.input_tokens,
        "output_tokens": usage.output_tokens,
        "cached_input_tokens": usage.cached_input_tokens,
        "cache_write_tokens": usage.cache_write_tokens,
        "reasoning_tokens": usage.reasoning_tokens,
        "cache_write_1h_tokens": usage.cache_write_1h_tokens,
        "audio_input_tokens": usage.audio_input_tokens,
        "cached_audio_tokens": usage.cached_audio_tokens,
        "audio_output_tokens": usage.audio_output_tokens,
        "estimated": usage.estimated,
        "service_tier": None if usage.service_tier is None else valid(usage.service_tier),
        "billed_usd": _money(usage.billed_usd),
        "also_charged": [valid(name) for name in usage.also_charged],
    }


def _error(error: BaseException | None) -> dict[str, Any] | None:
    if error is None:
        return None
    written: dict[str, Any] = {"type": type(error).__name__}
    if error.__cause__ is not None:
        written["cause"] = type(error.__cause__).__name__
    if isinstance(error, EngineError):
        written["status_code"] = error.status_code
        written["request_id"] = None if error.request_id is None else valid(error.request_id)
        written["retryable"] = error.retryable
    return written


def _since(call: Call, moment: float) -> float | None:
    seconds = _number(moment - call.started)
    return None if seconds is None else round(seconds, 9)


def _number(value: float | None) -> float | None:
    """JSON has no infinity and no NaN."""
    return value if value is not None and math.isfinite(value) else None


def _money(value: Decimal | None) -> str | None:
    return None if value is None else str(value)


def _plain(value: object) -> object:
    if isinstance(value, str):
        return valid(value)
    if isinstance(value, float):
        return _number(value)
    if value is None or isinstance(value, bool | int):
        return value
    return valid(str(value))
