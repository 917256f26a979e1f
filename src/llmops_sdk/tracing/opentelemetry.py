"""Spans of OpenTelemetry from the record of a call.

Importing this module needs `opentelemetry-api`. Whatever SDK, sampler and exporter the application has set up is used.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import TypeAlias

from llmops_sdk import environment
from llmops_sdk.calls import (
    AttemptEnded,
    Call,
    Ended,
    Event,
    GuardChecked,
    Rendered,
    Routed,
    Started,
)
from llmops_sdk.errors import EngineError, MissingDependencyError
from llmops_sdk.tracing import _semconv as names
from llmops_sdk.tracing._content import Shown, shown_content
from llmops_sdk.tracing._span_events import span_event
from llmops_sdk.tracing._span_usage import usage_attributes
from llmops_sdk.tracing._text import MOST_CHARACTERS, error_name, name_of, shortened, valid

try:
    from opentelemetry import trace
    from opentelemetry.context import Context
    from opentelemetry.trace import Span, SpanKind, Status, StatusCode, TracerProvider, set_span_in_context
except ImportError as exc:
    raise MissingDependencyError("tracing with OpenTelemetry", package="opentelemetry-api", extra="otlp") from exc

__all__ = ["OpenTelemetry"]

_Attributes: TypeAlias = "dict[str, str | bool | int | float | Sequence[str]]"
_Timed: TypeAlias = "Rendered | GuardChecked | AttemptEnded"

_READS_ALONG_S = 0.001
"""A guard whose span is longer than its work by more than this has waited, for the pieces of a stream mostly."""

_STOPPED = ("ok", "blocked", "cancelled")
"""Outcomes that are no errors: a block is a decision, and who cancels has not seen a failure."""


class OpenTelemetry:
    """A hook that writes one trace for each run, by the GenAI conventions (`_semconv.py` names their version).

    The root span `invoke_workflow PIPELINE` starts with the run: the span that is current in the application is its
    parent, and the sampler decides then. A run that is not sampled costs nothing more. The children are built from
    the record when the run has ended: `render_prompt`, `apply_guardrail GUARD`, and `chat MODEL` for each attempt.
    The root is not made the current span; engines send its context on as `call.traceparent`.

    A failed run and a failed attempt have `error.type` and the status ERROR, with the class of the error; its message
    is left out, since it may quote what was sent. A blocked or a cancelled run is no error: see `llmops.call.outcome`.
    The tags of a run that are texts, numbers or truth values become `llmops.tag.NAME`.

    Args:
        tracer_provider: Where spans go; the global provider by default.
        content: Whether the spans of attempts hold the messages, as far as the guards let them pass (`_content.py`
            has the rules). By default `OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT` decides, else they do not.

    Example:
        >>> from llmops_sdk.calls import Call, Started
        >>> tracing = OpenTelemetry()
        >>> call = Call(hooks=(tracing,))
        >>> call.record(Started(call.started, "support", streamed=False))
        >>> call.traceparent is None  # no SDK is set up here
        True
    """

    def __init__(self, tracer_provider: TracerProvider | None = None, *, content: bool | None = None) -> None:
        self._tracer = trace.get_tracer("llmops_sdk", tracer_provider=tracer_provider)
        self._content = environment.traces_content() if content is None else content

    def __call__(self, event: Event, call: Call, /) -> None:
        """Take the next event of a run."""
        if isinstance(event, Started):
            self._start(event, call)
        elif isinstance(event, Ended):
            kept = call.state.pop(self, None)
            if kept is not None:
                root, start_ns = kept
                _Writer(self._tracer, root, start_ns, call, event).write(content=self._content)

    def _start(self, event: Started, call: Call) -> None:
        pipeline = name_of(event.pipeline)
        attributes: _Attributes = {
            names.OPERATION_NAME: names.INVOKE_WORKFLOW,
            names.AGENT_NAME: pipeline,
            names.CALL_ID: call.id,
        }
        if event.streamed:
            attributes[names.CALL_STREAMED] = True
        for key, value in call.tags.items():
            if isinstance(value, str):
                attributes[names.TAG_PREFIX + valid(str(key))] = shortened(value, MOST_CHARACTERS)
            elif isinstance(value, bool | int | float):
                attributes[names.TAG_PREFIX + valid(str(key))] = value
        name = f"{names.INVOKE_WORKFLOW} {pipeline}"
        start_ns = _zero_ns(call) + int((event.at - call.started) * 1e9)
        root = self._tracer.start_span(name, attributes=attributes, start_time=start_ns)
        context = root.get_span_context()
        if context.is_valid:  # also when not sampled: what comes behind us has to know that it is not
            call.traceparent = f"00-{context.trace_id:032x}-{context.span_id:016x}-{context.trace_flags & 0x03:02x}"
        if root.is_recording():
            call.state[self] = (root, start_ns)


def _zero_ns(call: Call) -> int:
    """Nanoseconds since the epoch of `call.started`."""
    return int(call.wall_time(call.started) * 1e9)


class _Writer:
    """Writes the trace of one run that has ended."""

    def __init__(self, tracer: trace.Tracer, root: Span, start_ns: int, call: Call, ended: Ended) -> None:
        self._tracer = tracer
        self._root = root
        self._call = call
        self._ended = ended
        self._context: Context = set_span_in_context(root, Context())
        self._zero = call.started
        self._zero_ns = _zero_ns(call)
        self._start_ns = start_ns
        self._end_ns = max(self._zero_ns + int((ended.at - self._zero) * 1e9), start_ns)
        self._final: _Attributes = {}
        self._attempts = 0
        self._cost_usd: float | None = 0.0  # None: some of it is not known

    def write(self, *, content: bool) -> None:
        """Build the children, and end the root whatever happens."""
        try:
            shown = iter(shown_content(self._call) if content else ())
            for event in self._call.events:
                if isinstance(event, GuardChecked):
                    self._guard(event)
                elif isinstance(event, AttemptEnded):
                    self._attempt(event, next(shown, None))
                elif isinstance(event, Rendered):
                    self._prompt(event)
                elif isinstance(event, Routed):
                    self._route(event)
                elif (written := span_event(event)) is not None:
                    self._root.add_event(*written, self._inside(event.at))
            self._finish()
        finally:
            self._root.end(self._end_ns)

    def _finish(self) -> None:
        outcome, error = self._ended.outcome, self._ended.error
        self._final[names.CALL_OUTCOME] = name_of(outcome)
        self._final[names.CALL_ATTEMPTS] = self._attempts
        if self._cost_usd is not None:
            self._final[names.CALL_COST_USD] = self._cost_usd
        if outcome not in _STOPPED:
            self._final[names.ERROR_TYPE] = type(error).__name__ if error is not None else name_of(outcome)
            self._root.set_status(Status(StatusCode.ERROR, error_name(error) if error is not None else None))
        self._root.set_attributes(self._final)

    def _inside(self, moment: float) -> int:
        """Nanoseconds since the epoch, inside the root span."""
        at_ns = self._zero_ns + int((moment - self._zero) * 1e9)
        return self._start_ns if at_ns < self._start_ns else min(at_ns, self._end_ns)

    def _child(
        self,
        name: str,
        kind: SpanKind,
        attributes: _Attributes,
        event: _Timed,
        failure: str | None = None,
    ) -> None:
        start_ns = self._inside(event.started)
        span = self._tracer.start_span(
            name, context=self._context, kind=kind, attributes=attributes, start_time=start_ns
        )
        if failure is not None:
            span.set_status(Status(StatusCode.ERROR, failure))
        span.end(max(self._inside(event.at), start_ns))

    def _prompt(self, event: Rendered) -> None:
        attributes: _Attributes = {names.OPERATION_NAME: names.RENDER_PROMPT}
        name = names.RENDER_PROMPT
        prompt = event.prompt
        if prompt is not None:
            _add_prompt(attributes, prompt.name, prompt.version)
            name = f"{name} {name_of(prompt.name)}"
            if prompt.commit is not None:
                attributes[names.PROMPT_COMMIT] = prompt.commit
            if prompt.hash is not None:
                attributes[names.PROMPT_HASH] = prompt.hash
        self._child(name, SpanKind.INTERNAL, attributes, event)

    def _guard(self, event: GuardChecked) -> None:
        verdict = event.verdict
        guard = name_of(event.guard)
        if verdict.skipped is not None:
            skipped: _Attributes = {
                names.GUARDRAIL_COMPONENT_NAME: guard,
                names.GUARDRAIL_SOURCE: event.stage,
                names.GUARD_SKIPPED: shortened(verdict.skipped, MOST_CHARACTERS),
            }
            self._root.add_event(names.EVENT_GUARD_SKIPPED, skipped, self._inside(event.at))
            return
        attributes: _Attributes = {
            names.OPERATION_NAME: names.APPLY_GUARDRAIL,
            names.GUARDRAIL_COMPONENT_NAME: guard,
            names.GUARDRAIL_SOURCE: event.stage,
            names.GUARDRAIL_RESULT_TYPE: "action",
            names.GUARDRAIL_RESULT_VALUE: verdict.action,
        }
        if event.at - event.started - event.busy_s > _READS_ALONG_S:
            attributes[names.GUARD_BUSY_S] = event.busy_s
        if verdict.blocked:
            self._final.setdefault(names.CALL_BLOCKED_BY, guard)
        if verdict.reason:
            attributes[names.GUARDRAIL_RESULT_REASON] = shortened(verdict.reason, MOST_CHARACTERS)
        if verdict.findings:
            kinds = sorted({name_of(finding.kind) for finding in verdict.findings})
            attributes[names.GUARD_FINDINGS] = len(verdict.findings)
            attributes[names.GUARD_FINDING_KINDS] = kinds
            if len(kinds) == 1:
                attributes[names.GUARDRAIL_RISK_CATEGORY] = kinds[0]
        failure = None
        if verdict.error is not None:  # "type: message", and the message may quote the text
            failure = attributes[names.ERROR_TYPE] = shortened(verdict.error.partition(":")[0], 80)
        name = f"{names.APPLY_GUARDRAIL} {guard}"
        self._child(name, SpanKind.INTERNAL, attributes, event, failure)

    def _attempt(self, event: AttemptEnded, shown: Shown | None) -> None:
        attributes: _Attributes = {
            names.OPERATION_NAME: names.CHAT,
            names.PROVIDER_NAME: name_of(event.provider),
            names.ENGINE: name_of(event.engine),
            names.ATTEMPT_NUMBER: event.number,
        }
        name = names.CHAT
        if event.model is not None:
            attributes[names.REQUEST_MODEL] = model = name_of(event.model)
            name = f"{name} {model}"
        _add_parameters(attributes, event)
        _add_response(attributes, event)
        failure = _add_error(attributes, event.error) if event.error is not None else None
        if shown is not None:
            attributes[names.INPUT_MESSAGES] = _json(shown.input)
            if shown.output is not None:
                attributes[names.OUTPUT_MESSAGES] = _json(shown.output)
        self._attempts += 1
        if event.cost_usd is None:
            if event.response is not None:
                self._cost_usd = None
        elif self._cost_usd is not None:
            self._cost_usd += float(event.cost_usd)
        kind = SpanKind.INTERNAL if event.in_process else SpanKind.CLIENT
        self._child(name, kind, attributes, event, failure)

    def _route(self, event: Routed) -> None:
        attributes: _Attributes = {
            names.ROUTER: name_of(event.router),
            names.ROUTE_ORDER: [name_of(engine) for engine in event.order],
        }
        if event.refused:
            attributes[names.ROUTE_REFUSED] = [
                f"{name_of(engine)}: {shortened(why, MOST_CHARACTERS)}" for engine, why in event.refused
            ]
        if names.ROUTER in self._final:  # a router among the engines of a router
            self._root.add_event(names.EVENT_ROUTED, attributes, self._inside(event.at))
        else:  # an attribute is a quarter of the price of an event, and most runs are routed once
            self._final.update(attributes)


def _add_prompt(attributes: _Attributes, name: str, version: str | None) -> None:
    attributes[names.PROMPT_NAME] = name_of(name)
    if version is not None:
        attributes[names.PROMPT_VERSION] = name_of(version)


def _add_parameters(attributes: _Attributes, event: AttemptEnded) -> None:
    request = event.request
    if request.temperature is not None:
        attributes[names.REQUEST_TEMPERATURE] = request.temperature
    if request.top_p is not None:
        attributes[names.REQUEST_TOP_P] = request.top_p
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
    if request.response_schema is not None:
        attributes[names.OUTPUT_TYPE] = "json"
    if request.adapter is not None:
        attributes[names.ADAPTER] = name_of(request.adapter)
    if request.prompt is not None:
        _add_prompt(attributes, request.prompt.name, request.prompt.version)


def _add_response(attributes: _Attributes, event: AttemptEnded) -> None:
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


def _add_error(attributes: _Attributes, error: BaseException) -> str | None:
    """Say what went wrong; `None` for a cancelled attempt, which is no failure."""
    if not isinstance(error, Exception):  # cancelled by the caller or by a faster engine, or the stream was closed
        attributes[names.CANCELLED] = True
        return None
    attributes[names.ERROR_TYPE] = type(error).__name__
    if isinstance(error, EngineError):
        if error.status_code is not None:
            attributes[names.HTTP_STATUS_CODE] = error.status_code
        if error.request_id is not None:
            attributes[names.PROVIDER_REQUEST_ID] = shortened(error.request_id, MOST_CHARACTERS)
    return error_name(error)


def _json(messages: Sequence[object]) -> str:
    return valid(json.dumps(messages, ensure_ascii=False, separators=(",", ":")))
