"""What the stations of the line did, and the application with their answer, as steps of `explain()`."""

from __future__ import annotations

import math
from collections import Counter

from llmops_sdk.calls import Evaluated, Event, GuardChecked, OutputValidated, Rendered, ToolExecuted
from llmops_sdk.faults import error_name
from llmops_sdk.tracing._explain.steps import SHORT, Milliseconds, Step, Tone, timed
from llmops_sdk.tracing._text import printable

__all__ = ["station_step"]

_MOST = 8
"""Kinds of findings that are listed."""

_TONES: dict[str, Tone] = {"rewrite": "rewritten", "flag": "rewritten", "block": "blocked"}
_BY = {"code": "by a metric", "llm": "by a model", "human": "by a person"}


def station_step(event: Event, ms: Milliseconds) -> Step | None:
    """The step that `event` stands for, `None` when it stands for none of these."""
    if isinstance(event, Rendered):
        return _prompt(event, ms)
    if isinstance(event, GuardChecked):
        return _guard(event, ms)
    if isinstance(event, OutputValidated):
        result, tone = ("fits", "good") if event.error is None else (printable(event.error), "failed")
        step = Step(name="answer against its schema", result=result, tone=tone)  # type: ignore[arg-type]  # a Tone
        return timed(step, ms, event.started, event.at)
    if isinstance(event, ToolExecuted):
        return _tool(event, ms)
    if isinstance(event, Evaluated):
        return _evaluation(event, ms)
    return None


def _prompt(event: Rendered, ms: Milliseconds) -> Step:
    name = "prompt"
    notes: tuple[str, ...] = ()
    if event.prompt is not None:
        version = f"@{printable(event.prompt.version, 40)}" if event.prompt.version is not None else ""
        name = f"prompt {printable(event.prompt.name, 60)}{version}"
        if event.prompt.commit is not None:
            notes = (f"commit {printable(event.prompt.commit, 12)}",)
        if event.prompt.arm is not None:
            notes += (f"arm {printable(event.prompt.arm, 60)} of its split",)
    notes += tuple(
        f"{printable(cut.section, 40)}: {cut.before:,} to {cut.after:,} tokens, {printable(cut.how, 60)}"
        for cut in event.cuts[:_MOST]
    )
    messages = len(event.request.messages)
    step = Step(name=name, result=f"{messages} message{'s' * (messages != 1)}", notes=notes)
    return timed(step, ms, event.started, event.at)


def _guard(event: GuardChecked, ms: Milliseconds) -> Step:
    verdict = event.verdict
    name = f"guard {printable(event.guard, 60)} · {event.stage}"
    if verdict.skipped is not None:
        return Step(name=name, result=f"skipped: {printable(verdict.skipped)}", start_ms=ms(event.at))
    kinds = Counter(printable(finding.kind, 40) for finding in verdict.findings)
    found = ", ".join(kind if count == 1 else f"{kind} x{count}" for kind, count in kinds.most_common(_MOST))
    found += f", {len(kinds) - _MOST} more kinds" if len(kinds) > _MOST else ""
    result: str = verdict.action
    notes: list[str] = []
    if found and len(found) <= SHORT:
        result = f"{result}: {found}"
    elif found:
        notes.append(f"found {found}")
    if verdict.reason and verdict.error is None and verdict.reason != f"found {found}":
        notes.append(printable(verdict.reason, 100))
    tone = _TONES.get(verdict.action, "good")
    if verdict.error is not None:
        notes.append(f"the guard itself broke: {printable(verdict.error.partition(':')[0])}")
        tone = "blocked" if verdict.blocked else "failed"
    busy_ms = event.busy_s * 1000 if math.isfinite(event.busy_s) else 0.0
    step = Step(name=name, result=result, tone=tone, notes=tuple(notes))
    return timed(step, ms, event.started, event.at, took_ms=busy_ms)


def _tool(event: ToolExecuted, ms: Milliseconds) -> Step:
    name = f"tool {printable(event.tool_call.name, 60)}"
    if event.error is None:
        step = Step(name=name, result="returned", tone="good")
    elif isinstance(event.error, Exception):
        step = Step(name=name, result=printable(error_name(event.error)), tone="failed")
    else:
        step = Step(name=name, result="cancelled")
    return timed(step, ms, event.started, event.at)


def _evaluation(event: Evaluated, ms: Milliseconds) -> Step:
    said = [] if event.score is None else [f"{event.score:.4g}"]
    if event.label is not None:
        said.append(printable(event.label, SHORT))
    result, tone = " · ".join(said) or "in words", "plain"
    if event.error is not None:
        result, tone = printable(error_name(event.error)), "failed"
    notes = (_BY.get(event.by, ""),) if event.by in _BY else ()
    return Step(
        name=f"score {printable(event.name, 60)}" if event.name != "feedback" else "feedback",
        result=result,
        tone=tone,  # type: ignore[arg-type]  # a Tone
        start_ms=ms(event.at),
        notes=notes,
    )
