"""How a run ends: once, with its outcome, and without what it kept for its length."""

from __future__ import annotations

import asyncio

from llmops_sdk.calls import Aside, AttemptEnded, Call, Ended, Rendered, made_of
from llmops_sdk.messages import Response
from llmops_sdk.pipelines._streams import deadline_error

__all__ = ["end", "end_failed", "has_ended", "show_only"]


def end(
    call: Call,
    outcome: str,
    error: BaseException | None = None,
    response: Response | None = None,
    unrestored: Response | None = None,
) -> None:
    """Record the end of the run, and let go of all that it kept."""
    if call.overdue and has_ended(call):  # this work would not be stopped, and nobody waits for it any more
        return
    call.record(Ended(call.clock(), outcome, error, response, unrestored))
    call.state.clear()  # vaults are wiped with the run
    for event in call.events:
        if isinstance(event, (Rendered, AttemptEnded)):
            event.request.unbind()
        elif isinstance(event, Aside):
            event.attempt.request.unbind()


def end_failed(call: Call, exc: BaseException, pipeline: str) -> None:
    """The end of a run of the pipeline of that name which `exc` has stopped."""
    if isinstance(exc, (asyncio.CancelledError, GeneratorExit)):
        # A loop's timer may be a hair early, so that the clock alone does not tell.
        late = call.overdue or (call.deadline is not None and call.clock() >= call.deadline)
        end(call, "DeadlineExceeded" if late else "cancelled", deadline_error(call) if late else exc)
    else:
        call.hide_in_error(exc)
        exc.add_note(f"in the run {call.id} of the pipeline {pipeline!r}")
        end(call, type(exc).__name__, exc)


def has_ended(call: Call) -> bool:
    """Whether the end of the run is recorded."""
    return any(isinstance(event, Ended) for event in call.events)


def show_only(emitted: str, exc: BaseException) -> None:
    """Let an error hold no other text of an answer than what the guards had let pass."""
    for one in made_of(exc):
        if getattr(one, "partial_text", ""):
            one.partial_text = emitted  # type: ignore[attr-defined]
