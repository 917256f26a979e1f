"""What a router or a cache did in a run, as steps of `explain()`."""

from __future__ import annotations

from dataclasses import replace

from llmops_sdk.calls import (
    CacheAnswered,
    Escalated,
    Event,
    Hedged,
    LimitsDegraded,
    LimitWaited,
    Retried,
    Routed,
    StreamResumed,
)
from llmops_sdk.tracing._explain.steps import SHORT, Milliseconds, Step, timed
from llmops_sdk.tracing._text import printable

__all__ = ["retry_step", "routing_step"]

_MOST = 8
"""Engines of a route that are listed."""

_RESUMED = {
    "resume": "goes on where it broke",
    "restart": "starts again, what was emitted is left out",
    "different": "starts again with another answer",
}
_CACHED = {"exact": "the same was asked before", "shared": "was being asked", "semantic": "nearly the same was asked"}


def routing_step(event: Event, ms: Milliseconds) -> Step | None:
    """The step that `event` stands for, `None` when it stands for none; `ms` tells milliseconds since the start."""
    if isinstance(event, Routed):
        return _route(event, ms)
    if isinstance(event, StreamResumed):
        return Step(
            name=f"resume → {printable(event.engine, 60)}",
            result=_RESUMED.get(event.how, printable(event.how)),
            tone="failed",
            start_ms=ms(event.at),
            notes=(f"{event.emitted} characters were emitted before it broke",),
        )
    if isinstance(event, Hedged):
        result = f"no answer for {event.after_s:.3g} s"
        return Step(name=f"hedge → {printable(event.engine, 60)}", result=result, start_ms=ms(event.at))
    if isinstance(event, Escalated):
        return _with_reason(
            Step(name=f"escalate from {printable(event.engine, 60)}", start_ms=ms(event.at)), event.reason
        )
    if isinstance(event, LimitWaited):
        return _with_reason(timed(Step(name="wait for a limit"), ms, event.started, event.at), event.limit)
    if isinstance(event, LimitsDegraded):
        result = "each process for itself" if event.policy == "fail_open" else "refused"
        notes = (f"by {type(event.error).__name__}",)
        name = f"limits of {printable(event.store, 60)} away"
        return Step(name=name, result=result, tone="failed", start_ms=ms(event.at), notes=notes)
    if isinstance(event, CacheAnswered):
        return Step(
            name=f"cache · {printable(event.engine, 60)}",
            result=_CACHED.get(event.how, printable(event.how)),
            tone="good",
            start_ms=ms(event.at),
            notes=(f"{event.age_s:.3g} s old",),
        )
    return None


def retry_step(event: Retried, ms: Milliseconds, went_on: float) -> Step:
    """The wait before the next attempt; `went_on`: when something else happened."""
    name = f"wait → {printable(event.engine, 60)}"
    step = Step(name=name, result=f"after {type(event.error).__name__}", tone="failed")
    return timed(step, ms, event.at, min(event.at + event.delay_s, went_on))


def _route(event: Routed, ms: Milliseconds) -> Step:
    order = " → ".join(printable(engine, 40) for engine in event.order[:_MOST]) or "nowhere"
    order += f" → {len(event.order) - _MOST} more" if len(event.order) > _MOST else ""
    notes: list[str] = []
    if len(order) > SHORT:
        notes.append(order)
        order = f"{len(event.order)} engines"
    notes.extend(f"not {printable(engine, 40)}: {printable(why)}" for engine, why in event.refused)
    name = f"route {printable(event.router, 60)}"
    return Step(name=name, result=order, start_ms=ms(event.at), notes=tuple(notes))


def _with_reason(step: Step, reason: str) -> Step:
    reason = printable(reason)
    return replace(step, result=reason) if len(reason) <= SHORT else replace(step, notes=(reason,))
