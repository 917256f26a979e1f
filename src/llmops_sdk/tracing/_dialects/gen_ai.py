"""The GenAI conventions of OpenTelemetry (`names.py` says which version), and what they have no name for."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from llmops_sdk.calls import (
    AttemptEnded,
    AttemptStarted,
    Call,
    Evaluated,
    GuardChecked,
    Rendered,
    Routed,
    Started,
    ToolExecuted,
)
from llmops_sdk.errors import EngineError
from llmops_sdk.messages import PromptRef, Request
from llmops_sdk.tracing._dialects import names, texts
from llmops_sdk.tracing._dialects.run import Attributes, Run
from llmops_sdk.tracing._dialects.usage import usage_attributes
from llmops_sdk.tracing._text import MOST_CHARACTERS, name_of, shortened, valid

__all__ = [
    "attempt",
    "attempt_started",
    "evaluation",
    "guard",
    "prompt",
    "routed",
    "skipped",
    "started",
    "tags",
    "tool",
    "workflow",
]

STOPPED = ("ok", "blocked", "cancelled")
"""Outcomes that are no errors: a block is a decision, and who cancels has not seen a failure."""

_TAGS = {"session_id": names.CONVERSATION_ID, "user_id": names.USER_ID}
"""Tags for which the conventions have a name."""

_EXTRA: Mapping[str, tuple[type, str]] = {
    "top_k": (int, names.REQUEST_TOP_K),
    "frequency_penalty": (float, names.REQUEST_FREQUENCY_PENALTY),
    "presence_penalty": (float, names.REQUEST_PRESENCE_PENALTY),
    "reasoning_effort": (str, names.REQUEST_REASONING_LEVEL),
}
"""Parameters of some engines only for which the conventions have a name, and their types."""

_READS_ALONG_S = 0.001
"""A guard whose span is longer than its work by more than this has waited, for the pieces of a stream mostly."""


def started(event: Started, call: Call) -> Attributes:
    """Of the root, when the run begins: what a sampler may decide by."""
    attributes: Attributes = {
        names.OPERATION_NAME: names.INVOKE_WORKFLOW,
        names.AGENT_NAME: name_of(event.pipeline),
        names.CALL_ID: call.id,
    }
    if event.streamed:
        attributes[names.CALL_STREAMED] = True
    if event.lock is not None:
        attributes[names.LOCK_HASH] = event.lock
    if call.tags:
        attributes.update(tags(call.shown_tags))
    return attributes


def tags(shown: Mapping[str, Any]) -> Attributes:
    """The tags of a run, as they may be shown by now."""
    attributes: Attributes = {}
    for key, value in shown.items():
        name = _TAGS.get(key)
        if name is not None:
            attributes[name] = shortened(str(value), MOST_CHARACTERS)
        elif isinstance(value, str):
            attributes[names.TAG_PREFIX + valid(str(key))] = shortened(value, MOST_CHARACTERS)
        elif isinstance(value, bool | int | float):
            fits = not isinstance(value, int) or abs(value) < 2**63  # else no exporter could write it
            attributes[names.TAG_PREFIX + valid(str(key))] = value if fits else str(value)
    return attributes


def workflow(run: Run, /) -> Attributes:
    """Of the root, when the run has ended."""
    attributes: Attributes = {names.CALL_OUTCOME: name_of(run.ended.outcome)}
    attempts = 0
    cost_usd: float | None = 0.0  # None: some of it is not known
    for event in run.call.events:
        if isinstance(event, AttemptEnded):
            attempts += 1
            if event.cost_usd is None:
                if event.response is not None:
                    cost_usd = None
            elif cost_usd is not None:
                cost_usd += float(event.cost_usd)
        elif isinstance(event, GuardChecked):
            if event.verdict.blocked:
                attributes.setdefault(names.CALL_BLOCKED_BY, name_of(event.guard))
        elif isinstance(event, Routed) and names.ROUTER not in attributes:
            attributes.update(routed(event))
    attributes[names.CALL_ATTEMPTS] = attempts
    if cost_usd is not None:
        attributes[names.CALL_COST_USD] = cost_usd
    if run.ended.outcome not in STOPPED:
        error = run.ended.error
        attributes[names.ERROR_TYPE] = type(error).__name__ if error is not None else name_of(run.ended.outcome)
    return attributes


def prompt(event: Rendered, _run: Run, /) -> Attributes:
    """Of the rendering of the prompt."""
    attributes: Attributes = {names.OPERATION_NAME: names.RENDER_PROMPT}
    ref = event.prompt
    if ref is not None:
        _add_prompt(attributes, ref)
        if ref.commit is not None:
            attributes[names.PROMPT_COMMIT] = ref.commit
        if ref.hash is not None:
            attributes[names.PROMPT_HASH] = ref.hash
    if event.cuts:
        attributes[names.PROMPT_CUT_TOKENS] = sum(cut.before - cut.after for cut in event.cuts)
    return attributes


def guard(event: GuardChecked, _run: Run, /) -> Attributes:
    """Of a guard that has read."""
    verdict = event.verdict
    attributes: Attributes = {
        names.OPERATION_NAME: names.APPLY_GUARDRAIL,
        names.GUARDRAIL_COMPONENT_NAME: name_of(event.guard),
        names.GUARDRAIL_SOURCE: event.stage,
        names.GUARDRAIL_RESULT_TYPE: "action",
        names.GUARDRAIL_RESULT_VALUE: verdict.action,
    }
    if event.at - event.started - event.busy_s > _READS_ALONG_S:
        attributes[names.GUARD_BUSY_S] = event.busy_s
    if verdict.reason:
        attributes[names.GUARDRAIL_RESULT_REASON] = shortened(verdict.reason, MOST_CHARACTERS)
    if verdict.findings:
        kinds = sorted({name_of(finding.kind) for finding in verdict.findings})
        attributes[names.GUARD_FINDINGS] = len(verdict.findings)
        attributes[names.GUARD_FINDING_KINDS] = kinds
        if len(kinds) == 1:
            attributes[names.GUARDRAIL_RISK_CATEGORY] = kinds[0]
    if verdict.error is not None:  # "type: message", and the message may quote the text
        attributes[names.ERROR_TYPE] = shortened(verdict.error.partition(":")[0], 80)
    return attributes


def skipped(event: GuardChecked) -> Attributes:
    """Of a guard that did not have to read."""
    return {
        names.GUARDRAIL_COMPONENT_NAME: name_of(event.guard),
        names.GUARDRAIL_SOURCE: event.stage,
        names.GUARD_SKIPPED: shortened(event.verdict.skipped or "", MOST_CHARACTERS),
    }


def attempt_started(event: AttemptStarted) -> Attributes:
    """Of an engine that is asked, when that begins: what a sampler may decide by."""
    attributes: Attributes = {
        names.OPERATION_NAME: names.CHAT,
        names.ENGINE: name_of(event.engine),
        names.ATTEMPT_NUMBER: event.number,
    }
    if event.provider is not None:
        attributes[names.PROVIDER_NAME] = name_of(event.provider)
    if event.model is not None:
        attributes[names.REQUEST_MODEL] = name_of(event.model)
    if event.server is not None:
        attributes[names.SERVER_ADDRESS], attributes[names.SERVER_PORT] = name_of(event.server[0]), event.server[1]
    return attributes


def attempt(event: AttemptEnded, run: Run, /) -> Attributes:
    """Of an engine that was asked."""
    attributes: Attributes = {
        names.OPERATION_NAME: names.CHAT,
        names.PROVIDER_NAME: name_of(event.provider),
        names.ENGINE: name_of(event.engine),
        names.ATTEMPT_NUMBER: event.number,
    }
    if event.model is not None:
        attributes[names.REQUEST_MODEL] = name_of(event.model)
    session = run.tags.get("session_id")
    if session is not None:
        attributes[names.CONVERSATION_ID] = shortened(str(session), MOST_CHARACTERS)
    _add_parameters(attributes, event)
    _add_asked(attributes, event.request)
    _add_response(attributes, event)
    if event.error is not None:
        _add_error(attributes, event.error)
    for name, messages in (
        (names.INPUT_MESSAGES, texts.input_json(event, run)),
        (names.OUTPUT_MESSAGES, texts.output_json(event, run)),
    ):
        if messages is not None:
            attributes[name] = messages
    return attributes


def tool(event: ToolExecuted, run: Run, /) -> Attributes:
    """Of a tool that was executed."""
    attributes: Attributes = {
        names.OPERATION_NAME: names.EXECUTE_TOOL,
        names.TOOL_NAME: name_of(event.tool_call.name),
        names.TOOL_CALL_ID: shortened(event.tool_call.id, MOST_CHARACTERS),
        names.TOOL_TYPE: "function",
    }
    if run.content is not None:
        shown = run.content.tool(event)
        if shown.arguments is not None:
            attributes[names.TOOL_CALL_ARGUMENTS] = shown.arguments
        if shown.result is not None:
            attributes[names.TOOL_CALL_RESULT] = shown.result
    if event.error is not None:
        attributes[names.ERROR_TYPE] = type(event.error).__name__
    return attributes


def evaluation(event: Evaluated, run: Run, /) -> Attributes:
    """Of a judgement about the run."""
    attributes: Attributes = {names.EVALUATION_NAME: name_of(event.name), names.EVALUATION_BY: name_of(event.by)}
    if event.score is not None:
        attributes[names.EVALUATION_SCORE_VALUE] = float(event.score)
    if event.label is not None:
        attributes[names.EVALUATION_SCORE_LABEL] = name_of(event.label)
    why = None if run.content is None else run.content.evaluation(event)
    if why is not None:
        attributes[names.EVALUATION_EXPLANATION] = why
    if event.error is not None:
        attributes[names.ERROR_TYPE] = type(event.error).__name__
    return attributes


def routed(event: Routed) -> Attributes:
    """Of a router's decision."""
    attributes: Attributes = {
        names.ROUTER: name_of(event.router),
        names.ROUTE_ORDER: [name_of(engine) for engine in event.order],
    }
    if event.refused:
        attributes[names.ROUTE_REFUSED] = [
            f"{name_of(engine)}: {shortened(why, MOST_CHARACTERS)}" for engine, why in event.refused
        ]
    return attributes


def _add_prompt(attributes: Attributes, ref: PromptRef) -> None:
    attributes[names.PROMPT_NAME] = name_of(ref.name)
    if ref.version is not None:
        attributes[names.PROMPT_VERSION] = name_of(ref.version)
    if ref.arm is not None:
        attributes[names.PROMPT_ARM] = name_of(ref.arm)
    if ref.split is not None:
        attributes[names.PROMPT_SPLIT] = name_of(ref.split)


def _add_parameters(attributes: Attributes, event: AttemptEnded) -> None:
    request = event.request
    if request.temperature is not None:
        attributes[names.REQUEST_TEMPERATURE] = float(request.temperature)
    if request.top_p is not None:
        attributes[names.REQUEST_TOP_P] = float(request.top_p)
    if request.max_tokens is not None:
        attributes[names.REQUEST_MAX_TOKENS] = request.max_tokens
    if request.stop:
        attributes[names.REQUEST_STOP_SEQUENCES] = [shortened(stop, MOST_CHARACTERS) for stop in request.stop]
    if request.seed is not None:
        attributes[names.REQUEST_SEED] = request.seed
    if request.n != 1:
        attributes[names.REQUEST_CHOICE_COUNT] = request.n
    if event.streamed:
        attributes[names.REQUEST_STREAM] = True
        attributes[names.CHUNKS] = event.chunks
    if event.first_chunk_at is not None:
        attributes[names.RESPONSE_TIME_TO_FIRST_CHUNK] = event.first_chunk_at - event.started


def _add_asked(attributes: Attributes, request: Request) -> None:
    if request.response_schema is not None:
        attributes[names.OUTPUT_TYPE] = "json"
    if request.adapter is not None:
        attributes[names.ADAPTER] = name_of(request.adapter)
    if request.prompt is not None:
        _add_prompt(attributes, request.prompt)
    if request.extra:
        _add_extra(attributes, request.extra)


def _add_extra(attributes: Attributes, extra: Mapping[str, Any]) -> None:
    for key, (kind, name) in _EXTRA.items():
        value = extra.get(key)
        if isinstance(value, str) and kind is str:
            attributes[name] = shortened(value, MOST_CHARACTERS)
        elif isinstance(value, int | float) and kind is float:
            attributes[name] = float(value)
        elif isinstance(value, int) and kind is int:
            attributes[name] = value


def _add_response(attributes: Attributes, event: AttemptEnded) -> None:
    response = event.response
    if response is not None:
        if response.id is not None:
            attributes[names.RESPONSE_ID] = shortened(response.id, MOST_CHARACTERS)
        if response.model is not None:
            attributes[names.RESPONSE_MODEL] = name_of(response.model)
        reasons = [choice.finish_reason for choice in response.choices if choice.finish_reason is not None]
        if reasons:
            attributes[names.RESPONSE_FINISH_REASONS] = reasons
    attributes.update(usage_attributes(event))


def _add_error(attributes: Attributes, error: BaseException) -> None:
    """Say what went wrong; a cancelled attempt is no failure."""
    if not isinstance(error, Exception):  # cancelled by the caller or by a faster engine, or the stream was closed
        attributes[names.CANCELLED] = True
        return
    attributes[names.ERROR_TYPE] = type(error).__name__
    if isinstance(error, EngineError):
        if error.status_code is not None:
            attributes[names.HTTP_STATUS_CODE] = error.status_code
        if error.request_id is not None:
            attributes[names.PROVIDER_REQUEST_ID] = shortened(error.request_id, MOST_CHARACTERS)
