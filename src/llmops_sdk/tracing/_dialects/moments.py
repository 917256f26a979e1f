"""What a router, a cache or a check of the answer did in a run, as events of the root span."""

from __future__ import annotations

from collections.abc import Mapping

from llmops_sdk.calls import (
    CacheAnswered,
    Escalated,
    Event,
    Hedged,
    LimitsDegraded,
    LimitWaited,
    OutputValidated,
    Retried,
    StreamResumed,
)
from llmops_sdk.tracing._dialects import names
from llmops_sdk.tracing._text import MOST_CHARACTERS, name_of, shortened

__all__ = ["span_event"]


def span_event(event: Event) -> tuple[str, Mapping[str, str | float | int]] | None:
    """Name and attributes of the span event that `event` becomes, `None` when it becomes none."""
    if isinstance(event, Retried):
        return names.EVENT_RETRIED, {
            names.ENGINE: name_of(event.engine),
            names.RETRY_DELAY_S: event.delay_s,
            names.ERROR_TYPE: type(event.error).__name__,
        }
    if isinstance(event, StreamResumed):
        return names.EVENT_STREAM_RESUMED, {
            names.ENGINE: name_of(event.engine),
            names.RESUME_HOW: name_of(event.how),
            names.RESUME_EMITTED: event.emitted,
        }
    if isinstance(event, Hedged):
        return names.EVENT_HEDGED, {names.ENGINE: name_of(event.engine), names.HEDGE_AFTER_S: event.after_s}
    if isinstance(event, Escalated):
        return names.EVENT_ESCALATED, {
            names.ENGINE: name_of(event.engine),
            names.ESCALATION_REASON: name_of(event.reason),
        }
    if isinstance(event, LimitWaited):
        return names.EVENT_LIMIT_WAITED, {
            names.LIMIT: name_of(event.limit),
            names.LIMIT_WAITED_S: event.at - event.started,
        }
    if isinstance(event, LimitsDegraded):
        return names.EVENT_LIMITS_DEGRADED, {
            names.LIMIT_STORE: name_of(event.store),
            names.LIMIT_POLICY: name_of(event.policy),
            names.ERROR_TYPE: type(event.error).__name__,
        }
    if isinstance(event, CacheAnswered):
        return names.EVENT_CACHE_ANSWERED, {
            names.ENGINE: name_of(event.engine),
            names.CACHE_HOW: name_of(event.how),
            names.CACHE_AGE_S: event.age_s,
        }
    if isinstance(event, OutputValidated):
        wrong = {} if event.error is None else {names.OUTPUT_ERROR: shortened(event.error, MOST_CHARACTERS)}
        return names.EVENT_OUTPUT_VALIDATED, wrong
    return None
