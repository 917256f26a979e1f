"""The hook that begins a span with a run, and has the others written when the run has ended."""

from __future__ import annotations

from collections.abc import Sequence

from opentelemetry import trace
from opentelemetry.trace import TracerProvider

from llmops_sdk.calls import Call, Ended, Event, Started
from llmops_sdk.errors import ConfigurationError
from llmops_sdk.tracing._content import ContentPolicy, content_of, policy_of
from llmops_sdk.tracing._dialects import DIALECTS, Run, gen_ai, names
from llmops_sdk.tracing._text import name_of
from llmops_sdk.tracing.opentelemetry._writer import Writer

__all__ = ["OpenTelemetry"]


class OpenTelemetry:
    """A hook that writes one trace for each run, by the GenAI conventions (`_dialects/names.py` says which version).

    The root span `invoke_workflow PIPELINE` starts with the run: the span that is current in the application is its
    parent, and the sampler decides then. A run that is not sampled costs nothing more. The children are built from
    the record when the run has ended: `render_prompt`, `apply_guardrail GUARD`, and `chat MODEL` for each attempt.
    The root is not made the current span; engines send its context on as `call.traceparent`.

    A failed run and a failed attempt have `error.type` and the status ERROR, with the class of the error; its message
    is left out, since it may quote what was sent. A blocked or a cancelled run is no error: see `llmops.call.outcome`.
    The tags of a run that are texts, numbers or truth values become `llmops.tag.NAME`.

    Args:
        tracer_provider: Where spans go; the global provider by default.
        dialects: In which words the spans speak, beside `"gen_ai"`, which is always spoken.
        content: Whether the spans hold texts, as far as the guards let them pass, or a `tracing.ContentPolicy` that
            says which, and who redacts them. By default
            `OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT` decides, else they do not.

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
    ) -> None:
        unknown = [name for name in dialects if name not in DIALECTS]
        if unknown or not dialects:
            raise ConfigurationError(f"`dialects` is {dialects!r}; there are: {', '.join(DIALECTS)}")
        self._dialects = tuple(DIALECTS[name]() for name in dict.fromkeys(("gen_ai", *dialects)))
        self._tracer = trace.get_tracer("llmops_sdk", tracer_provider=tracer_provider)
        self._content = policy_of(content)

    def __call__(self, event: Event, call: Call, /) -> None:
        """Take the next event of a run."""
        if isinstance(event, Started):
            self._start(event, call)
        elif isinstance(event, Ended):
            kept = call.state.pop(self, None)
            if kept is not None:
                root, start_ns = kept
                run = Run(call, event, content_of(call, self._content) if self._content is not None else None)
                Writer(self._tracer, self._dialects, root, start_ns, run).write()

    def _start(self, event: Started, call: Call) -> None:
        start_ns = int(call.wall_time(event.at) * 1e9)
        root = self._tracer.start_span(
            f"{names.INVOKE_WORKFLOW} {name_of(event.pipeline)}",
            attributes=gen_ai.started(event, call),
            start_time=start_ns,
        )
        context = root.get_span_context()
        if context.is_valid:  # also when not sampled: what comes behind us has to know that it is not
            call.traceparent = f"00-{context.trace_id:032x}-{context.span_id:016x}-{context.trace_flags & 0x03:02x}"
        if root.is_recording():
            call.state[self] = (root, start_ns)
