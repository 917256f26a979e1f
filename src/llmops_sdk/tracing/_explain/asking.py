"""What engines were asked, as steps of `explain()`: the attempts of the run, and the asides of its stations."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from decimal import Decimal

from llmops_sdk.calls import Aside, AttemptEnded, AttemptStarted
from llmops_sdk.errors import EngineError
from llmops_sdk.messages import Usage
from llmops_sdk.tracing._explain.numbers import money, ms_text
from llmops_sdk.tracing._explain.steps import Milliseconds, Step, Tone, timed
from llmops_sdk.tracing._text import printable

__all__ = ["aside_step", "attempt_step", "known", "running_step"]

_MOST_DIGITS = 15
"""Of a cost, before or after the point."""

_VERBS = {"chat": "asks", "embeddings": "embeds by", "moderation": "moderates by"}


def attempt_step(event: AttemptEnded, ms: Milliseconds) -> Step:
    """An attempt of the run itself."""
    return _asked(event, f"attempt {event.number} · {printable(event.engine, 60)}", ms)


def aside_step(event: Aside, ms: Milliseconds, *, named: bool) -> Step:
    """What a station had an engine do; `named`: say which station, since the step does not stand below it."""
    verb = _VERBS.get(event.operation, "asks")
    asker = f"{printable(event.asker, 60)} " if named else ""
    return _asked(event.attempt, f"{asker}{verb} {printable(event.attempt.engine, 60)}", ms)


def running_step(event: AttemptStarted, ms: Milliseconds, now_ms: float, *, ended: bool) -> Step:
    """An attempt that has begun and not ended; `ended`: though its run has."""
    start_ms = ms(event.at)
    return Step(
        name=f"attempt {event.number} · {printable(event.engine, 60)}",
        result="never ended" if ended else "running",
        tone="running",
        start_ms=start_ms,
        took_ms=max(now_ms - start_ms, 0.0),
        end_ms=max(now_ms, start_ms),
    )


def known(cost_usd: Decimal | None) -> Decimal | None:
    """`cost_usd` where it is a sum of money; a price table can hold nonsense."""
    sane = cost_usd is not None and cost_usd.is_finite() and abs(cost_usd.adjusted()) <= _MOST_DIGITS
    return cost_usd if sane else None


def _asked(event: AttemptEnded, name: str, ms: Milliseconds) -> Step:
    result, tone = _answer(event)
    usage = event.usage
    notes = " · ".join(_notes(event, ms))
    step = Step(
        name=name,
        result=result,
        tone=tone,
        input_tokens=usage.input_tokens if usage is not None else None,
        output_tokens=usage.output_tokens if usage is not None else None,
        cost_usd=known(event.cost_usd),
        priced=event.unpriced or event.cost_usd is not None,
        notes=(notes,) if notes else (),
    )
    return timed(step, ms, event.started, event.at)


def _answer(event: AttemptEnded) -> tuple[str, Tone]:
    if event.error is None:
        reasons = [choice.finish_reason or "ended" for choice in event.response.choices] if event.response else []
        return ", ".join(dict.fromkeys(reasons)) or ("done" if event.usage else "no answer"), "good"
    if not isinstance(event.error, Exception):
        return "cancelled", "plain"
    return type(event.error).__name__, "failed"


def _notes(event: AttemptEnded, ms: Milliseconds) -> Iterator[str]:
    model = event.model or (event.response.model if event.response is not None else None)
    if model is not None and model != event.engine:
        yield printable(model, 60)
    if event.first_chunk_at is not None:
        yield f"first chunk after {ms_text(ms(event.first_chunk_at) - ms(event.started))} ms"
    if event.streamed:
        yield f"{event.chunks} chunk{'s' * (event.chunks != 1)}"
    pauses = [later - sooner for sooner, later in itertools.pairwise(event.chunk_times)]
    longest_s = max((pause for pause in pauses if math.isfinite(pause)), default=None)
    if longest_s is not None:
        yield f"longest pause {ms_text(longest_s * 1000)} ms"
    if isinstance(event.error, Exception):
        yield from _failure(event.error)
    if event.usage is not None:
        yield from _parts(event.usage)
    estimated = known(event.estimated_usd)
    if estimated is not None:
        yield f"may have cost about {money(estimated)} USD"


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
