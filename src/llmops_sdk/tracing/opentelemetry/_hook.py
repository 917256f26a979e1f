"""The hook that begins a span with a run and with each attempt, and has the others written when the run has ended."""

from __future__ import annotations

from collections.abc import Sequence

from opentelemetry import trace
from opentelemetry._logs import LoggerProvider
from opentelemetry.trace import NonRecordingSpan, Span, TracerProvider

from llmops_sdk.calls import AttemptStarted, Call, Ended, Evaluated, Event, Started, ToolExecuted
from llmops_sdk.errors import ConfigurationError
from llmops_sdk.tracing._content import ContentPolicy, content_of, policy_of
from llmops_sdk.tracing._dialects import DIALECTS, Run, gen_ai, names
from llmops_sdk.tracing._later import LATER
from llmops_sdk.tracing._text import name_of
from llmops_sdk.tracing.opentelemetry._afterwards import write_afterwards
from llmops_sdk.tracing.opentelemetry._inside import Surround, parent_for
from llmops_sdk.tracing.opentelemetry._log_events import LogEvents
from llmops_sdk.tracing.opentelemetry._pen import FAULTS, Pen, context_of
from llmops_sdk.tracing.opentelemetry._w3c import root_of, traceparent_of
from llmops_sdk.tracing.opentelemetry._writer import Begun, Writer, attempt_name, kind_of

__all__ = ["OpenTelemetry"]


class OpenTelemetry:
    """A hook that writes one trace for each run, by the GenAI conventions (`_dialects/names.py` says which version).

    The root span `invoke_workflow PIPELINE` starts with the run: the span that is current in the application is its
    parent, and the sampler decides then. A run that is not sampled costs nothing more. Of the others only `chat MODEL`,
    the span of an attempt, starts when it happens: its context goes to the engine, whose own spans hang below it. A
    thread writes all the rest from the record when the run has ended. `docs/concepts/tracing/spans.md` shows the tree.

    A failed run and a failed attempt have `error.type` and the status ERROR, with the class of the error; its message
    is left out, since it may quote what was sent. A blocked or a cancelled run is no error: see `llmops.call.outcome`.
    The tags of a run that are texts, numbers or truth values become `llmops.tag.NAME`, but for two that the conventions
    know: `session_id` is `gen_ai.conversation.id`, and `user_id` is `user.id`.

    Where a run has two such hooks, what engines get and what is done after the run belong to the later one.

    Args:
        tracer_provider: Where spans go; the global provider by default.
        dialects: In which words the spans speak, beside `"gen_ai"`, which is always spoken.
        content: Whether the spans hold texts, as far as the guards let them pass, or a `tracing.ContentPolicy` that
            says which, and who redacts them. By default
            `OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT` decides, else they do not.
        logger_provider: Where the log events of the conventions go; the global provider by default.

    Example:
        >>> from llmops_sdk.calls import Call, Started
        >>> tracing = OpenTelemetry()
        >>> call = Call(hooks=(tracing,))
        >>> call.record(Started(call.started, "support", streamed=False))
        >>> call.traceparent is None  # no SDK is set up here
        True
    """

    def __init__(
        self,
        tracer_provider: TracerProvider | None = None,
        *,
        dialects: Sequence[str] = ("gen_ai",),
        content: bool | ContentPolicy | None = None,
        logger_provider: LoggerProvider | None = None,
    ) -> None:
        for name, given, wanted in (
            ("tracer_provider", tracer_provider, TracerProvider),
            ("logger_provider", logger_provider, LoggerProvider),
        ):
            if given is not None and not isinstance(given, wanted):
                raise ConfigurationError(f"`{name}` is {given!r}; write a `{wanted.__name__}` of OpenTelemetry")
        if isinstance(dialects, str) or not isinstance(dialects, Sequence):
            raise ConfigurationError(f"`dialects` is {dialects!r}; write a list of names: {', '.join(DIALECTS)}")
        unknown = [name for name in dialects if name not in DIALECTS]
        if unknown or not dialects:
            raise ConfigurationError(f"`dialects` is {dialects!r}; there are: {', '.join(DIALECTS)}")
        spoken = tuple(DIALECTS[name]() for name in dict.fromkeys(("gen_ai", *dialects)))
        self._provider = tracer_provider
        self._tracer = trace.get_tracer("llmops_sdk", tracer_provider=tracer_provider)
        self._pen = Pen(self._tracer, spoken, LogEvents(logger_provider))
        self._content = policy_of(content)
        self._takes = {
            Started: self._start,
            AttemptStarted: self._attempt,
            Ended: self._end,
            ToolExecuted: self._afterwards,
            Evaluated: self._afterwards,
        }
        self._recorded = False

    def __call__(self, event: Event, call: Call, /) -> None:
        """Take the next event of a run."""
        take = self._takes.get(type(event))
        if take is not None:
            take(event, call)  # type: ignore[operator]  # each takes its own kind

    def flush(self, timeout_s: float = 5.0) -> bool:
        """Write the spans of all runs that have ended; `False` when that took longer than `timeout_s`. Blocks.

        Sending them is up to the provider: its `force_flush()` comes after this.
        """
        return LATER.flush(timeout_s)

    def _start(self, event: Started, call: Call) -> None:
        start_ns = int(call.wall_time(event.at) * 1e9)
        root = self._tracer.start_span(
            f"{names.INVOKE_WORKFLOW} {name_of(event.pipeline)}",
            context=parent_for(self._provider),
            attributes=gen_ai.started(event, call),
            start_time=start_ns,
        )
        context = root.get_span_context()
        if context.is_valid:  # also when not sampled: what comes behind us has to know that it is not
            call.traceparent = traceparent_of(context)
            call.surround = Surround(self._provider, root, call.surround)
            if context.trace_state:
                call.tracestate = context.trace_state.to_header()
        if not root.is_recording():
            call.dismiss(self)
            return
        call.state[self] = Begun(root, start_ns, trace.set_span_in_context(root))
        if not self._recorded:
            self._recorded = True
            LATER.empty_first_at_exit()  # the provider is there by now

    def _attempt(self, event: AttemptStarted, call: Call) -> None:
        begun: Begun | None = call.state.get(self)
        if begun is None:
            return
        name = call.hidden_in(attempt_name(event.model))
        attributes = call.hidden_in(gen_ai.attempt_started(event))
        start_ns = max(int(call.wall_time(event.at) * 1e9), begun.start_ns)
        span = self._pen.begin(name, begun.context, attributes, start_ns, kind_of(event.in_process))
        begun.attempts[event.number] = (span, start_ns, name, attributes)
        call.attempt_traceparent = traceparent_of(span.get_span_context())
        call.attempt_surround = Surround(self._provider, span, call.attempt_surround)

    def _end(self, event: Ended, call: Call) -> None:
        begun: Begun | None = call.state.pop(self, None)
        if begun is not None:
            # What runs inside from now on, such as a tool, cannot write to the root any more.
            ended = NonRecordingSpan(begun.root.get_span_context())
            call.surround = Surround(self._provider, ended, call.surround)
            LATER.do(self._write, begun, event, call)

    def _write(self, begun: Begun, ended: Ended, call: Call) -> None:
        Writer(self._pen, begun, self._run(call, ended)).write()

    def _run(self, call: Call, ended: Ended) -> Run:
        content = None
        if self._content is not None:
            try:
                content = content_of(call, self._content)
            except Exception as exc:  # noqa: BLE001  (then nothing of it is shown, and the spans are written)
                call.hide_in_error(exc)
                FAULTS.note("what may be shown of a run", exc)
        return Run(call, ended, content)

    def _afterwards(self, event: ToolExecuted | Evaluated, call: Call) -> None:
        if self in call.state or call.traceparent is None:
            return  # the run goes on: it is written with the rest; or it was not traced
        root = root_of(call)
        ended = next((event for event in reversed(call.events) if isinstance(event, Ended)), None)
        if root is not None and ended is not None:
            LATER.do(self._write_afterwards, event, ended, call, root)

    def _write_afterwards(self, event: ToolExecuted | Evaluated, ended: Ended, call: Call, root: Span) -> None:
        write_afterwards(self._pen, event, self._run(call, ended), context_of(root))
