"""The spans of what was done with the answer of a run: tools that were executed, judgements that were passed."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

from opentelemetry.context import Context

from llmops_sdk.calls import Call, Ended, Evaluated, ToolExecuted
from llmops_sdk.tracing._content import content_of
from llmops_sdk.tracing._dialects import Run, names
from llmops_sdk.tracing._text import MOST_CHARACTERS, error_name, name_of, shortened
from llmops_sdk.tracing.opentelemetry._pen import Pen

__all__ = ["write_afterwards", "write_judgement", "write_tool"]

Place: TypeAlias = "Callable[[float], int]"
"""From a moment of the run to nanoseconds since the epoch."""


def write_afterwards(
    pen: Pen, event: ToolExecuted | Evaluated, call: Call, ended: Ended, context: Context, *, content: bool
) -> None:
    """Write the span of something that was done after the run had ended; the root of the run is in `context`."""
    run = Run(call, ended, content_of(call) if content else None)
    end_ns = int(call.wall_time(ended.at) * 1e9)

    def place(moment: float) -> int:
        try:
            return max(int(call.wall_time(moment) * 1e9), end_ns)
        except (ValueError, OverflowError):  # no number, or an infinite one
            return end_ns

    if isinstance(event, ToolExecuted):
        write_tool(pen, event, run, context, place)
    else:
        write_judgement(pen, event, run, context, place)


def write_tool(pen: Pen, event: ToolExecuted, run: Run, context: Context, place: Place) -> None:
    """Write the span of a tool that was executed."""
    attributes = pen.attributes("tool", event, run)
    start_ns = place(event.started)
    span = pen.begin(f"{names.EXECUTE_TOOL} {name_of(event.tool_call.name)}", context, attributes, start_ns)
    failure = error_name(event.error) if event.error is not None else None
    pen.end(span, max(place(event.at), start_ns), failure)


def write_judgement(pen: Pen, event: Evaluated, run: Run, context: Context, place: Place) -> None:
    """Write the span of a judgement, and its event: on the span, where backends keep it, and as a log event."""
    attributes = pen.attributes("evaluation", event, run)
    at_ns = place(event.at)
    span = pen.begin(
        f"{names.EVALUATE} {name_of(event.name)}",
        context,
        {names.OPERATION_NAME: names.EVALUATE, **attributes},
        at_ns,
    )
    response = run.ended.response
    if response is not None and response.id is not None:
        attributes[names.RESPONSE_ID] = shortened(response.id, MOST_CHARACTERS)
    span.add_event(names.EVENT_EVALUATION_RESULT, attributes, at_ns)
    if pen.events.wanted:
        pen.events.emit(names.EVENT_EVALUATION_RESULT, attributes, at_ns, context)
    pen.end(span, at_ns, error_name(event.error) if event.error is not None else None)
