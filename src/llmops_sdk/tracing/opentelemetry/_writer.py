"""Writes the spans of one run that has ended."""

from __future__ import annotations

from collections.abc import Sequence

from opentelemetry.context import Context
from opentelemetry.trace import Span, SpanKind, Status, StatusCode, Tracer, set_span_in_context

from llmops_sdk.calls import AttemptEnded, GuardChecked, Rendered, Routed
from llmops_sdk.tracing._dialects import Attributes, Dialect, Run, gen_ai, names
from llmops_sdk.tracing._dialects.moments import span_event
from llmops_sdk.tracing._text import error_name, name_of

__all__ = ["Writer", "zero_ns"]


def zero_ns(run: Run) -> int:
    """Nanoseconds since the epoch of the start of the call."""
    return int(run.call.wall_time(run.call.started) * 1e9)


class Writer:
    """Writes the spans of one run: the children, and the end of the root."""

    def __init__(self, tracer: Tracer, dialects: Sequence[Dialect], root: Span, start_ns: int, run: Run) -> None:
        self._tracer = tracer
        self._dialects = dialects
        self._root = root
        self._run = run
        self._context: Context = set_span_in_context(root, Context())
        self._zero = run.call.started
        self._zero_ns = zero_ns(run)
        self._start_ns = start_ns
        self._end_ns = max(self._zero_ns + int((run.ended.at - self._zero) * 1e9), start_ns)

    def write(self) -> None:
        """Build the children, and end the root whatever happens."""
        try:
            routed = False
            for event in self._run.call.events:
                if isinstance(event, GuardChecked):
                    self._guard(event)
                elif isinstance(event, AttemptEnded):
                    self._attempt(event)
                elif isinstance(event, Rendered):
                    self._prompt(event)
                elif isinstance(event, Routed):
                    if routed:  # a router among the engines of a router; the first one is told by the root itself:
                        # an attribute is a quarter of the price of an event, and most runs are routed once
                        self._root.add_event(names.EVENT_ROUTED, gen_ai.routed(event), self._inside(event.at))
                    routed = True
                elif (written := span_event(event)) is not None:
                    self._root.add_event(*written, self._inside(event.at))
            self._finish()
        finally:
            self._root.end(self._end_ns)

    def _finish(self) -> None:
        ended = self._run.ended
        if ended.outcome not in gen_ai.STOPPED:
            self._root.set_status(
                Status(StatusCode.ERROR, error_name(ended.error) if ended.error is not None else None)
            )
        for dialect in self._dialects:
            self._root.set_attributes(dialect.workflow(self._run))

    def _inside(self, moment: float) -> int:
        """Nanoseconds since the epoch, inside the root span."""
        at_ns = self._zero_ns + int((moment - self._zero) * 1e9)
        return self._start_ns if at_ns < self._start_ns else min(at_ns, self._end_ns)

    def _child(
        self,
        name: str,
        attributes: Attributes,
        event: Rendered | GuardChecked | AttemptEnded,
        *,
        kind: SpanKind = SpanKind.INTERNAL,
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
        attributes: Attributes = {}
        for dialect in self._dialects:
            attributes.update(dialect.prompt(event, self._run))
        name = names.RENDER_PROMPT
        if event.prompt is not None:
            name = f"{name} {name_of(event.prompt.name)}"
        self._child(name, attributes, event)

    def _guard(self, event: GuardChecked) -> None:
        if event.verdict.skipped is not None:
            self._root.add_event(names.EVENT_GUARD_SKIPPED, gen_ai.skipped(event), self._inside(event.at))
            return
        attributes: Attributes = {}
        for dialect in self._dialects:
            attributes.update(dialect.guard(event, self._run))
        failure = attributes.get(names.ERROR_TYPE)
        name = f"{names.APPLY_GUARDRAIL} {name_of(event.guard)}"
        self._child(name, attributes, event, failure=str(failure) if failure is not None else None)

    def _attempt(self, event: AttemptEnded) -> None:
        attributes: Attributes = {}
        for dialect in self._dialects:
            attributes.update(dialect.attempt(event, self._run))
        name = names.CHAT if event.model is None else f"{names.CHAT} {name_of(event.model)}"
        kind = SpanKind.INTERNAL if event.in_process else SpanKind.CLIENT
        failure = error_name(event.error) if isinstance(event.error, Exception) else None
        self._child(name, attributes, event, kind=kind, failure=failure)
