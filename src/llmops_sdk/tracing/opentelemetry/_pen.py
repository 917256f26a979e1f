"""How a span is written, whatever it is about."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from opentelemetry.context import Context
from opentelemetry.trace import Span, SpanKind, Status, StatusCode, Tracer, set_span_in_context

from llmops_sdk.faults import Faults
from llmops_sdk.tracing._dialects import Attributes, Dialect, Run
from llmops_sdk.tracing.opentelemetry._log_events import LogEvents

__all__ = ["FAULTS", "Pen", "context_of"]

FAULTS: Final = Faults()
"""What could not be written in this process: it is left out alone."""

_INT64 = 2**63


def context_of(span: Span, around: Context | None = None) -> Context:
    """`around` with `span` as the parent, and nothing of the thread that happens to write."""
    return set_span_in_context(span, Context() if around is None else around)


class Pen:
    """What all spans of a hook are written with.

    Args:
        tracer: Begins spans.
        dialects: Say what is in them.
        events: Takes the log events.
    """

    def __init__(self, tracer: Tracer, dialects: Sequence[Dialect], events: LogEvents) -> None:
        self.tracer = tracer
        self.events = events
        self._dialects = dialects

    def attributes(self, kind: str, event: Any, run: Run) -> Attributes:
        """What the dialects say of `event`; `kind` names their function. Where one fails, the others are heard."""
        attributes: Attributes = {}
        for dialect in self._dialects:
            try:
                say = getattr(dialect, kind)
                attributes.update(say(run) if event is None else say(event, run))
            except Exception as exc:  # noqa: BLE001  (one dialect must not take the words of the others away)
                run.call.hide_in_error(exc)
                FAULTS.note(f"{getattr(dialect, '__name__', type(dialect).__name__)}.{kind}", exc)
        attributes = run.call.hidden_in(attributes)
        for name, value in attributes.items():
            if type(value) is int and not -_INT64 <= value < _INT64:
                attributes[name] = str(value)  # no exporter can write it, and the whole batch would be lost
        return attributes

    def begin(
        self, name: str, context: Context, attributes: Attributes, start_ns: int, kind: SpanKind = SpanKind.INTERNAL
    ) -> Span:
        """Begin a span below the one in `context`."""
        return self.tracer.start_span(name, context=context, kind=kind, attributes=attributes, start_time=start_ns)

    @staticmethod
    def end(span: Span, end_ns: int, failure: str | None = None) -> None:
        """End `span`; `failure` makes it an error."""
        if failure is not None:
            span.set_status(Status(StatusCode.ERROR, failure))
        span.end(end_ns)
