"""Signals from the record of a run: how it ended, how long it took, what it cost."""

from __future__ import annotations

from llmops_sdk.calls import AttemptEnded, CacheAnswered, FirstChunk, Retried
from llmops_sdk.monitoring._observed import Observed

__all__ = [
    "blocked",
    "cache_hit",
    "cost_usd",
    "failed",
    "failover",
    "first_chunk_s",
    "input_tokens",
    "latency_s",
    "output_tokens",
    "retries",
]


def failed(run: Observed) -> tuple[bool, str | None]:
    """Whether it ended in an error; the label is the error's class. Who cancels a run has reasons of their own."""
    error = run.outcome not in ("ok", "blocked", "cancelled")
    return error, run.outcome if error else None


def blocked(run: Observed) -> tuple[bool, str | None]:
    """Whether a guard blocked it; the label is the guard."""
    return run.outcome == "blocked", run.blocked_by


def latency_s(run: Observed) -> float | None:
    """Seconds from start to end of a run that was answered."""
    return run.seconds if run.outcome == "ok" else None


def first_chunk_s(run: Observed) -> float | None:
    """Seconds until the first chunk of a stream."""
    first = run.events_of(FirstChunk)
    return first[0].at - run.call.started if first else None


def cost_usd(run: Observed) -> float | None:
    """US dollars."""
    return None if run.cost_usd is None else float(run.cost_usd)


def input_tokens(run: Observed) -> float | None:
    """Tokens that were sent."""
    return float(run.usage.input_tokens) if _counted(run) else None


def output_tokens(run: Observed) -> float | None:
    """Tokens that came back."""
    return float(run.usage.output_tokens) if _counted(run) else None


def _counted(run: Observed) -> bool:
    return any(attempt.usage is not None for attempt in run.events_of(AttemptEnded))


def failover(run: Observed) -> tuple[bool, str | None] | None:
    """Whether the engine that answered was not the first that was asked; the label is the one that answered."""
    attempts = run.events_of(AttemptEnded)
    if not attempts:
        return None
    first = min(attempts, key=lambda attempt: attempt.number)
    last = next((attempt for attempt in reversed(attempts) if attempt.error is None), attempts[-1])
    return last.engine != first.engine, last.engine


def retries(run: Observed) -> float:
    """How often an engine was asked again after a failure."""
    return float(len(run.events_of(Retried)))


def cache_hit(run: Observed) -> tuple[bool, str | None]:
    """Whether a cache answered; the label says how."""
    hits = run.events_of(CacheAnswered)
    return bool(hits), hits[-1].how if hits else None
