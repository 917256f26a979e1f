"""Results as JSON: what a checkpoint keeps of them, and what travels between processes."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any

from llmops_sdk.calls import Aside, AttemptEnded, CacheAnswered, Call, Ended, GuardChecked, Rendered, Started
from llmops_sdk.errors import LlmopsError
from llmops_sdk.guards import JSONSchema
from llmops_sdk.messages import Choice, PromptRef, RateLimit, Request, Response, TokenLogprob, ToolCall, Usage
from llmops_sdk.pipelines._guarding import unquoting
from llmops_sdk.pipelines._result import Result
from llmops_sdk.verdicts import Finding, Verdict

__all__ = ["record_of", "result_of"]

_ANY_JSON = JSONSchema(True, strict=False, repair=True)
_RECORDS = (Choice, Finding, PromptRef, RateLimit, Response, TokenLogprob, ToolCall, Usage, Verdict)


def record_of(result: Result) -> dict[str, Any]:
    """What there is to know of `result`, as JSON: its answer, verdicts, attempts and error.

    What the engine had answered before the guards is not part of it, nor is what was asked, nor are the events of
    routers, limits and tools.
    """
    call = result.call
    ended = next((event for event in reversed(call.events) if isinstance(event, Ended)), None)
    started = next((event for event in call.events if isinstance(event, Started)), None)
    attempts = [event for event in call.events if isinstance(event, AttemptEnded)]
    asides = [event for event in call.events if isinstance(event, Aside)]
    record: dict[str, Any] = {
        "run": call.id,
        "pipeline": started.pipeline if started is not None else "",
        "at": call.wall_time(call.started),
        "seconds": (ended.at if ended is not None else call.clock()) - call.started,
        "outcome": ended.outcome if ended is not None else "ok",
        "verdicts": [_plain(unquoting(verdict, call)) for verdict in result.verdicts],
        "attempts": [_attempt(event, call) for event in attempts],
    }
    checks = [event for event in call.events if isinstance(event, GuardChecked)]
    if checks:
        record["checks"] = [_check(event, result.verdicts, call) for event in checks]
    if asides:
        record["asides"] = [
            {**_attempt(event.attempt, call), "asker": event.asker, "operation": event.operation} for event in asides
        ]
    hits = [event for event in call.events if isinstance(event, CacheAnswered)]
    if hits:
        record["cached"] = [[hit.at - call.started, *hit[1:]] for hit in hits]
    if result.blocked:
        record["blocked"] = True
        record["refusal"] = result.refusal
    if result.response is not None:
        record["response"] = _plain(result.response)
    if result.outputs:
        record["structured"] = [output is not None for output in result.outputs]
    if result.output_error is not None:
        record["output_error"] = result.output_error
    if call.prompt is not None:
        record["prompt"] = _plain(call.prompt)
    if result.error is not None:
        kind, _, message = _error(result.error).partition(": ")
        record["error"] = {"class": kind, "message": message}
    return record


def result_of(
    record: Mapping[str, Any],
    *,
    index: int | None = None,
    tags: Mapping[str, Any] | None = None,
    error: Exception | None = None,
    resumed: bool = False,
) -> Result:
    """The result that `record_of` wrote; `error` is the error itself where that has travelled, too.

    Raises:
        LookupError, TypeError, ValueError, AttributeError: It is no such record.
    """
    call = Call(tags=tags)
    call.id = record["run"]
    call._started_wall = record["at"]
    end = call.started + record["seconds"]
    verdicts = tuple(_verdict(one) for one in record["verdicts"])
    said = record.get("error")
    if error is None and said is not None:
        error = LlmopsError(f"{said['class']}: {said['message']}")
    call.record(Started(call.started, record["pipeline"], False))
    if "prompt" in record:
        prompt = PromptRef(**record["prompt"])
        call.record(Rendered(call.started, call.started, prompt, Request(messages=(), prompt=prompt)))
    for one in record["attempts"]:
        call.attempts += 1
        call.record(_attempt_ended(one, call, Request(messages=()), number=call.attempts))
    for one in record.get("asides", ()):
        aside = _attempt_ended(one, call, Request(messages=()), number=1)
        call.record(Aside(aside.at, one["asker"], aside, one["operation"]))
    for at, *hit in record.get("cached", ()):
        call.record(CacheAnswered(call.started + at, *hit))
    for one in record.get("checks", ()):
        call.record(_guard_checked(one, verdicts, call))
    call.record(Ended(end, record["outcome"], error))
    response = None if record.get("response") is None else _response(record["response"])
    return Result(
        blocked=bool(record.get("blocked", False)),
        verdicts=verdicts,
        response=response,
        call=call,
        outputs=() if response is None else _outputs(response, record.get("structured")),
        output_error=record.get("output_error"),
        refusal=record.get("refusal", ""),
        error=error,
        index=index,
        resumed=resumed,
    )


def _plain(value: Any) -> Any:
    """A record as JSON, without the fields that have their default values."""
    if isinstance(value, _RECORDS):
        kind: Any = type(value)  # mypy takes a class for no key
        return {name: _plain(held) for name, usual in _fields(kind) if (held := getattr(value, name)) != usual}
    if isinstance(value, Decimal):
        return str(value)
    return [_plain(one) for one in value] if isinstance(value, tuple) else value


@functools.cache
def _fields(kind: type) -> tuple[tuple[str, Any], ...]:
    """Names and default values of the fields of a record."""
    return tuple((one.name, one.default) for one in dataclasses.fields(kind))


def _error(error: BaseException) -> str:
    """Class and message; of an error that was read from a record what stood there: nothing else is a bare root."""
    return str(error) if type(error) is LlmopsError else f"{type(error).__name__}: {error}"


def _check(event: GuardChecked, verdicts: Sequence[Verdict], call: Call) -> list[Any]:
    """When a guard read, and the place of its verdict among those of the result; of an earlier one the verdict."""
    place = next((place for place, one in enumerate(verdicts) if one == event.verdict), None)
    said = _plain(unquoting(event.verdict, call)) if place is None else place
    times = (event.started - call.started, event.at - call.started, event.busy_s)
    return [said, event.guard, event.stage, *times, event.let_stay, event.untold]


def _guard_checked(plain: Sequence[Any], verdicts: Sequence[Verdict], call: Call) -> GuardChecked:
    said, guard, stage, started, at, busy_s, let_stay, untold = plain
    verdict = verdicts[said] if isinstance(said, int) else _verdict(said)
    at, started = call.started + at, call.started + started
    return GuardChecked(started, at, guard, stage, verdict, busy_s, let_stay, untold)


def _attempt(event: AttemptEnded, call: Call) -> dict[str, Any]:
    plain = {
        "engine": event.engine,
        "provider": event.provider,
        "model": event.model,
        "in_process": event.in_process,
        "started": event.started - call.started,
        "ended": event.at - call.started,
        "usage": None if event.usage is None else _plain(event.usage),
        "cost_usd": None if event.cost_usd is None else str(event.cost_usd),
        "error": None if event.error is None else _error(event.error),
        "unpriced": event.unpriced,
        "estimated_usd": None if event.estimated_usd is None else str(event.estimated_usd),
    }
    if event.streamed:
        first = event.first_chunk_at
        plain["stream"] = [None if first is None else first - call.started, event.chunks]
    return plain


def _attempt_ended(plain: Mapping[str, Any], call: Call, request: Request, *, number: int) -> AttemptEnded:
    cost = None if plain["cost_usd"] is None else Decimal(plain["cost_usd"])
    estimated = Decimal(said) if (said := plain.get("estimated_usd")) is not None else None
    first, chunks = plain.get("stream", (None, 0))
    call.spend(cost, estimated)
    return AttemptEnded(
        started=call.started + plain["started"],
        at=call.started + plain["ended"],
        engine=plain["engine"],
        provider=plain["provider"],
        number=number,
        request=request,
        response=None,
        usage=None if plain["usage"] is None else Usage.from_json(plain["usage"]),
        cost_usd=cost,
        error=None if plain["error"] is None else LlmopsError(plain["error"]),
        streamed="stream" in plain,
        first_chunk_at=None if first is None else call.started + first,
        chunks=chunks,
        model=plain["model"],
        in_process=plain["in_process"],
        cut_off=plain.get("unpriced", False),
        estimated_usd=estimated,
    )


def _verdict(plain: Mapping[str, Any]) -> Verdict:
    return Verdict(**{**plain, "findings": tuple(Finding(**one) for one in plain.get("findings", ()))})


def _response(plain: Mapping[str, Any]) -> Response:
    usage, cost, limit = plain.get("usage"), plain.get("cost_usd"), plain.get("rate_limit")
    return Response(
        **{
            **plain,
            "choices": tuple(_choice(one) for one in plain["choices"]),
            "usage": None if usage is None else Usage.from_json(usage),
            "cost_usd": None if cost is None else Decimal(cost),
            "rate_limit": None if limit is None else RateLimit(**limit),
        }
    )


def _outputs(response: Response, fitting: object) -> tuple[Any, ...]:
    """The JSON in the choices that were found to be right; what a prompt's `output` makes of it, its pipeline knows."""
    right = fitting if isinstance(fitting, list) else [bool(fitting)] * len(response.choices) if fitting else []
    choices = zip(response.choices, right, strict=False)
    return tuple(_ANY_JSON.read(choice.text).value if fits else None for choice, fits in choices)


def _choice(plain: Mapping[str, Any]) -> Choice:
    return Choice(
        **{
            **plain,
            "tool_calls": tuple(ToolCall(**one) for one in plain.get("tool_calls", ())),
            "logprobs": tuple(
                TokenLogprob(**{**one, "top": tuple((token, logprob) for token, logprob in one.get("top", ()))})
                for one in plain.get("logprobs", ())
            ),
            "token_ids": tuple(plain.get("token_ids", ())),
        }
    )
