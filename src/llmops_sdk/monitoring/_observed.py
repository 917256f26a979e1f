"""A run that has ended, as signals and evaluators read it."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, TypeVar

from llmops_sdk.calls import AttemptEnded, Call, Ended, Event, GuardChecked, Outcome, Rendered, Started
from llmops_sdk.messages import Document, PromptRef, Request, Response, Usage
from llmops_sdk.pipelines import Result

__all__ = ["Observed", "observed_of"]

_E = TypeVar("_E")
_YEAR_9000 = 221_845_392_000.0
_NO_VARIABLES: Mapping[str, Any] = {}


@dataclass(frozen=True, slots=True, kw_only=True)
class Observed:
    """A run that has ended.

    Attributes:
        id: The call's.
        at: When it began, in seconds since the epoch.
        seconds: From its start to its end.
        pipeline: Name of the pipeline.
        outcome: `"ok"`, `"blocked"`, `"cancelled"` or the name of an error class.
        question: The text of the last message that was sent, so after the guards of the input; `""` if nothing was.
        answer: What the caller got, after all guards, and with what they put back (`PII(restore=True)`); `""` where it
            got none.
        request: What the last engine was asked; where none was, what the prompt rendered; `None` if neither was.
        response: The answer with all its parts; `None` where the caller got none.
        variables: What the prompt was rendered with, as it was given: no guard has read it here.
        documents: Those among the variables.
        tags: The run's tags.
        prompt: Which prompt the request came from.
        blocked_by: Name of the guard that blocked it.
        usage: Tokens of all that the run had to pay for.
        cost_usd: US dollars for it; `None` where nobody knows.
        events: The record, up to now.
        call: The run itself.
    """

    id: str
    at: float
    seconds: float
    pipeline: str
    outcome: Outcome
    question: str
    answer: str
    request: Request | None
    response: Response | None
    variables: Mapping[str, Any]
    documents: tuple[Document, ...]
    tags: Mapping[str, Any]
    prompt: PromptRef | None
    blocked_by: str | None
    usage: Usage
    cost_usd: Decimal | None
    events: tuple[Event, ...]
    call: Call

    def events_of(self, kind: type[_E]) -> list[_E]:
        """The events of one kind, oldest first."""
        return [event for event in self.events if isinstance(event, kind)]


def observed_of(call: Call) -> Observed:
    """The run of a call that has ended."""
    events = tuple(call.events)
    ended = next(event for event in reversed(events) if isinstance(event, Ended))
    attempts = [event for event in events if isinstance(event, AttemptEnded)]
    rendered = next((event for event in events if isinstance(event, Rendered)), None)
    request = attempts[-1].request if attempts else None if rendered is None else rendered.request
    variables = _NO_VARIABLES if rendered is None or rendered.variables is None else rendered.variables
    blocked = ended.outcome == "blocked"
    result = Result(blocked=blocked, verdicts=(), response=ended.response, call=call)
    return Observed(
        id=call.id,
        at=_sane(call.wall_time(call.started)),
        seconds=ended.at - call.started,
        pipeline=next((event.pipeline for event in events if isinstance(event, Started)), ""),
        outcome=ended.outcome,
        question=request.messages[-1].text if request is not None else "",
        answer=ended.response.text if ended.response is not None else "",
        request=request,
        response=ended.response,
        variables=variables,
        documents=tuple(_documents(variables.values())),
        tags=call.tags,
        prompt=request.prompt if request is not None else None,
        blocked_by=_blocker(events) if blocked else None,
        usage=result.usage,
        cost_usd=result.cost_usd,
        events=events,
        call=call,
    )


def _sane(at: float) -> float:
    """A moment that calendars have; by a clock that is worse than wrong, now."""
    return at if 0 <= at < _YEAR_9000 else time.time()


def _documents(values: Any) -> Iterator[Document]:
    for value in values:
        if isinstance(value, Document):
            yield value
        elif isinstance(value, list | tuple):
            yield from (one for one in value if isinstance(one, Document))


def _blocker(events: tuple[Event, ...]) -> str | None:
    return next((one.guard for one in events if isinstance(one, GuardChecked) and one.verdict.blocked), None)
