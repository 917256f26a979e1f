"""The spans of what was done with the answer of a run: tools that were executed, judgements that were passed."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

from opentelemetry.context import Context

from llmops_sdk.calls import Evaluated, ToolExecuted
from llmops_sdk.faults import error_name
from llmops_sdk.tracing._dialects import Run, gen_ai, names
from llmops_sdk.tracing._text import MOST_CHARACTERS, name_of, shortened
from llmops_sdk.tracing.opentelemetry._pen import Pen

__all__ = ["write_afterwards", "write_judgement", "write_tool"]

Place: TypeAlias = "Callable[[float], int]"
"""From a moment of the run to nanoseconds since the epoch."""


def write_afterwards(pen: Pen, event: ToolExecuted | Evaluated, run: Run, context: Context) -> None:
    """Write the span of something that was done after the run had ended; the root of the run is in `context`."""
    call = run.call
    end_ns = int(call.wall_time(run.ended.at) * 1e9)

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
    span = pen.begin(
        run.call.hidden_in(f"{names.EXECUTE_TOOL} {name_of(event.tool_call.name)}"), context, attributes, start_ns
    )
    failure = error_name(event.error) if event.error is not None else None
    pen.end(span, max(place(event.at), start_ns), failure)


def write_judgement(pen: Pen, event: Evaluated, run: Run, context: Context, place: Place) -> None:
    """Write the span of a judgement, and its event: on the span, where backends keep it, and as a log event."""
    attributes = pen.attributes("evaluation", event, run)
    at_ns = place(event.at)
    span = pen.begin(
        run.call.hidden_in(f"{names.EVALUATE} {name_of(event.name)}"),
        context,
        {names.OPERATION_NAME: names.EVALUATE, **attributes},
        at_ns,
    )
    said = gen_ai.evaluation(event, run)  # of the event, the conventions alone tell the names
    response = run.ended.response
    if response is not None and response.id is not None:
        said[names.RESPONSE_ID] = shortened(response.id, MOST_CHARACTERS)
    said = run.call.hidden_in(said)
    span.add_event(names.EVENT_EVALUATION_RESULT, said, at_ns)
    if pen.events.wanted:
        pen.events.emit(names.EVENT_EVALUATION_RESULT, said, at_ns, context)
    pen.end(span, at_ns, error_name(event.error) if event.error is not None else None)
