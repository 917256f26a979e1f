"""Answers of a form: asked for in words where an engine cannot be held to it, checked, and mended by asking again."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, NamedTuple

from llmops_sdk.calls import Call, OutputValidated
from llmops_sdk.errors import AllEnginesFailed, BudgetExceeded, EngineError, LimitExceeded, UnsupportedError
from llmops_sdk.messages import Message, PromptRef, Request, Response, TextPart
from llmops_sdk.pipelines._result import Result
from llmops_sdk.pipelines._turns import Turn, Turns
from llmops_sdk.pipelines._validating import Checked, checked, demands
from llmops_sdk.prompts import DEFAULT_REPAIRS, Output
from llmops_sdk.verdicts import Verdict

__all__ = ["Answered", "answered", "as_it_is", "instructed", "revived"]

_INSTRUCTION = (
    "Answer with one JSON value that satisfies this JSON schema, and with nothing else: no Markdown, no explanation.\n"
)
_REPAIR = "This answer does not satisfy the JSON schema:\n{demands}\nAnswer again, with the corrected JSON alone."
_STREAMED = "no: a stream has been shown"
_CUT_OFF = "no: the answer was cut off at max_tokens"
_TOO_LONG = "no: the answer is too long to be shown again"
_NONE_LEFT = "no: none is left"
_ASKED = "asked again"
_MOST_SHOWN = 100_000
"""Characters of an answer that are shown to the engine again."""


class Answered(NamedTuple):
    """The last turn, with what its answer holds.

    Attributes:
        turn: The turn; its verdicts are those of all turns.
        outputs: What each choice holds; see `Result.outputs`.
        error: What is wrong with the first choice that is wrong, in the end.
    """

    turn: Turn
    outputs: tuple[Any, ...]
    error: str | None


def instructed(request: Request, schema: Mapping[str, Any]) -> Request:
    """The same request for an engine that takes no schema: the schema stands in its words instead.

    It stands at the end of the system's message, where the application speaks; without one, at the end of the last
    message of the user: what a tool has said, or an answer has begun with, is not added to.
    """
    messages = list(request.messages)
    systems = [place for place, one in enumerate(messages) if one.role == "system"]
    users = [place for place, one in enumerate(messages) if one.role == "user"]
    place = systems[0] if systems else users[-1] if users else len(messages) - 1
    text = _INSTRUCTION + json.dumps(schema, ensure_ascii=False, separators=(",", ":"))
    message = messages[place]
    if isinstance(message.content, str):
        messages[place] = replace(message, content=f"{message.content}\n\n{text}")
    else:
        messages[place] = replace(message, content=(*message.content, TextPart(text=f"\n\n{text}")))
    return replace(request, messages=tuple(messages), response_schema=None)


async def answered(
    request: Request,
    output: Output,
    call: Call,
    turns: Turns,
    *,
    repairs: int | None,
) -> Answered:
    """Ask for an answer of a form, check it, and ask again as often as is allowed while it does not fit.

    Args:
        request: What is asked.
        output: The form.
        call: The run.
        turns: Put questions to the engine, past all guards.
        repairs: How often to ask again, for each choice; `None` leaves it to the prompt.
    """
    turn = await _first(request, output, call, turns)
    failure = ""
    left = next(one for one in (repairs, output.repairs, DEFAULT_REPAIRS) if one is not None)
    while turn.response is not None:
        started = call.clock()
        found = await checked(output, turn.response)
        if found is None:
            break
        wrong, why = _decided(found, turn.response, left, failure)
        call.record(OutputValidated(started, call.clock(), found.error, why))
        if not wrong:
            return Answered(turn, found.outputs, _told(found.error, failure))
        before = turn.response
        turn, failure = await _mended(turn, found, output, wrong, call, turns)
        if failure and turn.response is before:
            return Answered(turn, found.outputs, _told(found.error, failure))
        left -= 1
    return Answered(turn, (), None)


def _told(error: str | None, failure: str) -> str | None:
    return f"{error}; the repair: {failure}" if error and failure else error


async def as_it_is(
    output: Output | None, request: Request, response: Response, call: Call
) -> tuple[tuple[Any, ...], str | None]:
    """What the choices of an answer hold that is not asked for again, and what is wrong with them.

    Args:
        output: The form that the prompt asks for; `None` leaves the bare schema of the request, if there is one.
        request: What was asked.
        response: The answer.
        call: The run.
    """
    if output is None and request.response_schema is None:
        return (), None
    started = call.clock()
    form = Output(schema=request.response_schema or {}) if output is None else output
    found = await checked(form, response, whole=output is None)
    if found is None:
        return (), None
    why = None if output is None or found.error is None else _STREAMED
    call.record(OutputValidated(started, call.clock(), found.error, why))
    return found.outputs, found.error


async def revived(result: Result, output_for: Callable[[PromptRef | None], Output | None]) -> Result:
    """A result that was written down, as of a checkpoint, with what its answer holds by the prompt's `output`."""
    response = result.response
    if response is None:
        return result
    output = output_for(result.call.prompt)
    found = None if output is None else await checked(output, response)
    return result if found is None else replace(result, outputs=found.outputs, output_error=found.error)


async def _first(request: Request, output: Output, call: Call, turns: Turns) -> Turn:
    if not turns.constrained:
        return await turns.ask(instructed(request, output.schema), call)
    try:
        return await turns.ask(request, call)
    except (UnsupportedError, AllEnginesFailed) as exc:
        tried = [exc] if isinstance(exc, UnsupportedError) else exc.exceptions
        if not all(isinstance(one, UnsupportedError) for one in tried):
            raise
        return await turns.ask(instructed(request, output.schema), call)


def _decided(found: Checked, response: Response, left: int, failure: str) -> tuple[list[int], str | None]:
    """The choices that are asked for again, and what is recorded of that; nothing where no choice is wrong."""
    wrong = [index for index, error in enumerate(found.errors) if error is not None]
    if not wrong:
        return [], None
    if failure:
        return [], f"no: {failure}"
    if not left:
        return [], _NONE_LEFT
    whole = [index for index in wrong if response.choices[index].finish_reason != "length"]
    again = [index for index in whole if len(response.choices[index].text) <= _MOST_SHOWN]
    if again:
        return again, _ASKED
    return [], _TOO_LONG if whole == wrong else _CUT_OFF  # what was cut off would be cut off again


async def _mended(
    turn: Turn, found: Checked, output: Output, wrong: list[int], call: Call, turns: Turns
) -> tuple[Turn, str]:
    """The turn with those choices asked for again, each by itself; blocked if a guard blocks one of them.

    What goes wrong in asking ends it, and is told by name: the answer that is there has been paid for, and is kept.
    """
    response = turn.response
    assert response is not None
    shown = turn.unrestored or response  # true values that were put back do not go out again
    hidden = found if shown is response else await checked(output, shown)
    verdicts = turn.verdicts
    failure = ""
    for index in wrong:
        reading = None if hidden is None else hidden.readings[index]
        # Where the answer fits before true values are put back, only rule and place are told, since a type's own words
        # may quote what does not.
        problem = found.errors[index] if reading is None or reading.problem is None else demands(reading, output)
        try:
            asked = _repair_request(turn.request, shown.choices[index].text, problem)
            again = await turns.ask(asked, call, again=True)
        except (EngineError, AllEnginesFailed, BudgetExceeded, LimitExceeded) as exc:
            failure = type(exc).__name__
            break
        verdicts = _worst_of(verdicts, again.verdicts)
        if again.response is None:
            return again._replace(verdicts=verdicts), ""
        unrestored = again.unrestored or again.response
        if len(response.choices) == 1:
            response, shown = again.response, unrestored
        else:
            response, shown = _with_choice(response, index, again.response), _with_choice(shown, index, unrestored)
    return Turn(turn.request, response, None if shown == response else shown, verdicts), failure


def _repair_request(request: Request, answer: str, problem: str | None) -> Request:
    said = (Message.assistant(answer),) if answer.strip() else ()  # providers refuse messages without text
    asked = Message.user(_REPAIR.format(demands=problem))
    return replace(request, messages=(*request.messages, *said, asked), n=1, continues=False)


def _with_choice(response: Response, index: int, other: Response) -> Response:
    choices = (*response.choices[:index], other.choices[0], *response.choices[index + 1 :])
    return replace(response, choices=choices)


def _worst_of(before: list[Verdict], later: list[Verdict]) -> list[Verdict]:
    """One verdict for each guard that has read several times: the worst, of equal ones the later."""
    merged = {verdict.guard: verdict for verdict in before}
    for verdict in later:
        known = merged.get(verdict.guard)
        if known is None or verdict.severity >= known.severity:
            merged[verdict.guard] = verdict
    return list(merged.values())
