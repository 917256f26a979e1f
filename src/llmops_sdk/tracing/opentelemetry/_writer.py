"""Writes the spans of one run that has ended."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, ClassVar

from opentelemetry._logs import SeverityNumber
from opentelemetry.context import Context
from opentelemetry.trace import Span, SpanKind, Status, StatusCode

from llmops_sdk.calls import Aside, AttemptEnded, Evaluated, GuardChecked, Rendered, Routed, ToolExecuted
from llmops_sdk.faults import error_name
from llmops_sdk.tracing._dialects import Attributes, Run, gen_ai, names
from llmops_sdk.tracing._dialects.moments import span_event
from llmops_sdk.tracing._text import name_of
from llmops_sdk.tracing.opentelemetry._afterwards import write_judgement, write_tool
from llmops_sdk.tracing.opentelemetry._pen import FAULTS, Pen, context_of

__all__ = ["Begun", "Writer", "attempt_name", "kind_of"]


def attempt_name(model: str | None, operation: str = names.CHAT) -> str:
    """Name of the span of an attempt."""
    return operation if model is None else f"{operation} {name_of(model)}"


def kind_of(in_process: bool) -> SpanKind:
    """Kind of the span of an attempt."""
    return SpanKind.INTERNAL if in_process else SpanKind.CLIENT


class Begun:
    """The spans of a run that are begun while it goes on.

    Attributes:
        root: The span of the run.
        context: The application's at the beginning, with the root as the parent: processors find its baggage there.
        start_ns: When the root began, in nanoseconds since the epoch.
        attempts: Of each attempt that was begun and has no end yet, by number: its span, when that began, its name
            and what it was begun with.
    """

    __slots__ = ("attempts", "context", "root", "start_ns")

    def __init__(self, root: Span, start_ns: int, context: Context) -> None:
        self.root = root
        self.context = context
        self.start_ns = start_ns
        self.attempts: dict[int, tuple[Span, int, str, Attributes]] = {}


class Writer:
    """Writes the spans of one run: its children, and the end of the root.

    What cannot be written is left out alone, and the root ends whatever happens.
    """

    def __init__(self, pen: Pen, begun: Begun, run: Run) -> None:
        self._pen = pen
        self._begun = begun
        self._root = begun.root
        self._run = run
        self._routed = False
        call = run.call
        self._zero = call.started
        self._zero_ns = int(call.wall_time(call.started) * 1e9)
        self._start_ns = begun.start_ns
        latest = max((start_ns for _, start_ns, *_ in begun.attempts.values()), default=begun.start_ns)
        self._end_ns = latest  # until `_inside` can be asked
        ended_at = run.ended.at
        if math.isfinite(ended_at):
            self._end_ns = max(self._zero_ns + int((ended_at - self._zero) * 1e9), latest)
        # What comes after the end is written when it comes.
        number = next((number for number, event in enumerate(call.events) if event is run.ended), None)
        self._events = call.events[:number]
        self._asides = [event for event in self._events if isinstance(event, Aside)]
        self._emits = pen.events.wanted

    def write(self) -> None:
        """Write it all."""
        try:
            for event in self._events:
                self._alone(self._take, event)
            for aside in self._asides:
                self._alone(self._aside, aside, self._begun.context, self._start_ns, self._end_ns)
            for span, *_ in self._begun.attempts.values():
                self._alone(self._unfinished, span)
            self._alone(self._finish)
        finally:
            self._root.end(self._end_ns)

    def _alone(self, write: Callable[..., None], *arguments: Any) -> None:
        try:
            write(*arguments)
        except Exception as exc:  # noqa: BLE001  (one odd event must not take the others away)
            self._run.call.hide_in_error(exc)
            about = f" of {type(arguments[0]).__name__}" if arguments else ""
            FAULTS.note(f"the span{about}", exc)

    def _take(self, event: Any) -> None:
        take = self._TAKES.get(type(event))
        if take is not None:
            take(self, event)
        elif (written := span_event(event)) is not None:
            name, attributes = written
            self._root.add_event(name, self._run.call.hidden_in(attributes), self._inside(event.at))

    def _inside(self, moment: float) -> int:
        """Nanoseconds since the epoch, inside the root span, whatever the clock had said."""
        if not math.isfinite(moment):
            return self._end_ns if moment > 0 else self._start_ns
        at_ns = self._zero_ns + int((moment - self._zero) * 1e9)
        return self._start_ns if at_ns < self._start_ns else min(at_ns, self._end_ns)

    def _prompt(self, event: Rendered) -> None:
        name = names.RENDER_PROMPT
        if event.prompt is not None:
            name = self._run.call.hidden_in(f"{name} {name_of(event.prompt.name)}")
        start_ns = self._inside(event.started)
        attributes = self._pen.attributes("prompt", event, self._run)
        span = self._pen.begin(name, self._begun.context, attributes, start_ns)
        self._pen.end(span, max(self._inside(event.at), start_ns))

    def _guard(self, event: GuardChecked) -> None:
        if event.verdict.skipped is not None:
            self._root.add_event(names.EVENT_GUARD_SKIPPED, gen_ai.skipped(event), self._inside(event.at))
            return
        pen, start_ns = self._pen, self._inside(event.started)
        end_ns = max(self._inside(event.at), start_ns)
        attributes = pen.attributes("guard", event, self._run)
        span = pen.begin(f"{names.APPLY_GUARDRAIL} {name_of(event.guard)}", self._begun.context, attributes, start_ns)
        try:
            asides = [
                aside for aside in self._asides if aside.asker == event.guard and event.started <= aside.at <= event.at
            ]
            if asides or self._emits:
                context = context_of(span, self._begun.context)
                for aside in asides:
                    self._asides.remove(aside)
                    self._alone(self._aside, aside, context, start_ns, end_ns)
                if self._emits:
                    said = self._run.call.hidden_in(gen_ai.guard(event, self._run))
                    pen.events.emit(names.EVENT_GUARDRAIL_RESULT, said, end_ns, context)
        finally:
            failure = attributes.get(names.ERROR_TYPE)
            pen.end(span, end_ns, None if failure is None else str(failure))

    def _attempt(self, event: AttemptEnded) -> None:
        attributes = self._pen.attributes("attempt", event, self._run)
        begun = self._begun.attempts.pop(event.number, None)
        name = self._run.call.hidden_in(attempt_name(event.model))
        if begun is None:
            start_ns = self._inside(event.started)
            span = self._pen.begin(name, self._begun.context, attributes, start_ns, kind_of(event.in_process))
        else:
            span, start_ns, named, known = begun
            # What it was begun with is not set again: each costs the SDK as much as the making of several.
            span.set_attributes({key: value for key, value in attributes.items() if known.get(key) != value})
            if name != named:
                span.update_name(name)
        self._end_attempt(event, span, max(self._inside(event.at), start_ns))

    def _aside(self, aside: Aside, context: Context, from_ns: int, until_ns: int) -> None:
        event = aside.attempt
        start_ns = min(max(self._inside(event.started), from_ns), until_ns)
        attributes = self._pen.attributes("attempt", event, self._run)
        attributes[names.OPERATION_NAME] = aside.operation
        attributes[names.ASKED_BY] = name_of(aside.asker)
        name = self._run.call.hidden_in(attempt_name(event.model, aside.operation))
        span = self._pen.begin(name, context, attributes, start_ns, kind_of(event.in_process))
        self._end_attempt(event, span, min(max(self._inside(event.at), start_ns), until_ns))

    def _end_attempt(self, event: AttemptEnded, span: Span, end_ns: int) -> None:
        failure = error_name(event.error) if isinstance(event.error, Exception) else None
        try:
            if failure is not None and self._emits:
                # Its message may quote what was sent.
                said: Attributes = {names.EXCEPTION_TYPE: type(event.error).__name__}
                context = context_of(span, self._begun.context)
                self._pen.events.emit(names.EVENT_OPERATION_EXCEPTION, said, end_ns, context, SeverityNumber.WARN)
        finally:
            self._pen.end(span, end_ns, failure)

    def _unfinished(self, span: Span) -> None:
        """End the span of an attempt that nobody has waited for."""
        span.set_attribute(names.CANCELLED, True)
        span.end(self._end_ns)

    def _routing(self, event: Routed) -> None:
        # A router among the engines of a router; the first one is told by the root itself: an attribute is a quarter
        # of the price of an event, and most runs are routed once.
        if self._routed:
            said = self._run.call.hidden_in(gen_ai.routed(event))
            self._root.add_event(names.EVENT_ROUTED, said, self._inside(event.at))
        self._routed = True

    def _tool(self, event: ToolExecuted) -> None:
        write_tool(self._pen, event, self._run, self._begun.context, self._inside)

    def _judgement(self, event: Evaluated) -> None:
        write_judgement(self._pen, event, self._run, self._begun.context, self._inside)

    def _finish(self) -> None:
        ended = self._run.ended
        if ended.outcome not in gen_ai.STOPPED:
            failure = error_name(ended.error) if ended.error is not None else None
            self._root.set_status(Status(StatusCode.ERROR, failure))
        attributes = self._pen.attributes("workflow", None, self._run)
        if self._run.call.found is not None:  # the tags are on the root since before the guards have read
            attributes.update(gen_ai.tags(self._run.tags))
        self._root.set_attributes(attributes)

    _TAKES: ClassVar[Mapping[type, Callable[[Writer, Any], None]]] = MappingProxyType(
        {
            Rendered: _prompt,
            GuardChecked: _guard,
            AttemptEnded: _attempt,
            Routed: _routing,
            ToolExecuted: _tool,
            Evaluated: _judgement,
        }
    )
