"""Langfuse's own attributes, which its OTLP endpoint prefers to every other convention.

Names by `OtelIngestionProcessor`, `ObservationTypeMapper` and `attributes` of Langfuse 4.16.0 (August 2026) and
`LangfuseOtelSpanAttributes` of its Python SDK 5.0.4. No Langfuse runs in our tests (it needs PostgreSQL, ClickHouse,
Redis and an object store): they hold the attributes against that source.

What its source demands:

* Classes of tokens are added up, so each token is in one of them (`usage_details`).
* A generation whose prompt has a name and no whole number as its version is refused as a whole, so other versions
  stand in the metadata.
* The keys `gen_ai.prompt.*`, which `gen_ai` writes, count as the messages of an older convention: without
  `langfuse.observation.input` the generation would show the prompt's name in place of what was asked.
* Session, user, trace name and tags are filtered by on each observation, so each span has them.
* Scores do not come over OTLP: an evaluation is an observation of the type `evaluator`.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Final

from llmops_sdk.calls import AttemptEnded, Evaluated, GuardChecked, Rendered, Started, ToolExecuted
from llmops_sdk.messages import PromptRef, Usage
from llmops_sdk.tracing._dialects import texts
from llmops_sdk.tracing._dialects.run import Attributes, Run
from llmops_sdk.tracing._text import name_of, shortened

__all__ = ["attempt", "evaluation", "guard", "prompt", "tool", "workflow"]

TYPE: Final = "langfuse.observation.type"
LEVEL: Final = "langfuse.observation.level"
STATUS: Final = "langfuse.observation.status_message"
METADATA: Final = "langfuse.observation.metadata."

_SETTINGS: Final = {
    "environment": "langfuse.environment",
    "release": "langfuse.release",
    "version": "langfuse.version",
}
"""Tags with a place of their own."""

_MOST_OF_A_TAG = 200
"""Characters; Langfuse drops what is longer."""

_CLASSES: Final = {
    "input": "input",
    "cached_input": "input_cached_tokens",
    "cache_write": "input_cache_creation",
    "cache_write_1h": "input_cache_creation_1h",
    "audio_input": "input_audio_tokens",
    "cached_audio": "input_cached_audio_tokens",
    "output": "output",
    "reasoning": "output_reasoning_tokens",
    "audio_output": "output_audio_tokens",
}
"""Our classes of tokens (`usage.TokenClasses`), each under Langfuse's name."""


def workflow(run: Run, /) -> Attributes:
    """Of the root, when the run has ended."""
    attributes: Attributes = {TYPE: "chain", **_everywhere(run)}
    for key, value in {**texts.release(run), **texts.tags(run)}.items():
        attributes[f"langfuse.trace.metadata.{key}"] = value
    if run.content is not None:
        answer = texts.answer_json(run) or run.content.answer
        for name, text in (("input", run.content.question), ("output", answer)):
            if text is not None:
                attributes[f"langfuse.trace.{name}"] = attributes[f"langfuse.observation.{name}"] = text
    if run.ended.outcome == "blocked":
        attributes[LEVEL] = "WARNING"
        attributes[STATUS] = f"blocked by {_blocker(run)}"
    return attributes


def prompt(event: Rendered, run: Run, /) -> Attributes:
    """Of the rendering of the prompt."""
    attributes: Attributes = {TYPE: "span", **_everywhere(run)}
    if event.prompt is not None:
        _add_reference(attributes, event.prompt)
    for key, value in texts.rollout(event).items():
        attributes[f"{METADATA}{key}"] = value
    if run.content is not None:
        _add(attributes, "metadata.template", texts.template(event, run))
        _add(attributes, "input", run.content.variables)
        _add(attributes, "output", texts.sent(run))
    return attributes


def guard(event: GuardChecked, run: Run, /) -> Attributes:
    """Of a guard that has read."""
    attributes: Attributes = {TYPE: "guardrail", **_everywhere(run)}
    _add(attributes, "output", texts.verdict_json(event, run))
    if run.content is not None:
        _add(attributes, "input", run.content.guard(event).before)
    if event.verdict.action in ("block", "flag"):
        attributes[LEVEL] = "WARNING"
        if event.verdict.reason:
            attributes[STATUS] = shortened(event.verdict.reason, _MOST_OF_A_TAG)
    return attributes


def attempt(event: AttemptEnded, run: Run, /) -> Attributes:
    """Of an engine that was asked."""
    attributes: Attributes = {TYPE: "generation", **_everywhere(run)}
    model = event.model if event.response is None else event.response.model or event.model
    if model is not None:
        attributes["langfuse.observation.model.name"] = name_of(model)
    _add(attributes, "model.parameters", texts.parameters_json(event, run))
    if event.usage is not None:
        attributes["langfuse.observation.usage_details"] = texts.numbers_json(_classes(event.usage))
    cost = texts.money(event, run)
    if cost is not None:
        attributes["langfuse.observation.cost_details"] = texts.numbers_json(
            {"input": cost.read, "output": cost.written, "total": cost.total}
        )
    if event.first_chunk_at is not None:
        attributes["langfuse.observation.completion_start_time"] = _iso(run.call.wall_time(event.first_chunk_at))
    if event.request.prompt is not None:
        _add_reference(attributes, event.request.prompt)
    _add(attributes, "input", texts.input_json(event, run))
    _add(attributes, "output", texts.output_json(event, run))
    return attributes


def tool(event: ToolExecuted, run: Run, /) -> Attributes:
    """Of a tool that was executed."""
    attributes: Attributes = {TYPE: "tool", **_everywhere(run)}
    if run.content is not None:
        shown = run.content.tool(event)
        _add(attributes, "input", shown.arguments)
        _add(attributes, "output", shown.result)
    return attributes


def evaluation(event: Evaluated, run: Run, /) -> Attributes:
    """Of a judgement about the run."""
    attributes: Attributes = {TYPE: "evaluator", **_everywhere(run)}
    _add(attributes, "output", texts.judgement_json(event, run))
    return attributes


def _everywhere(run: Run) -> Attributes:
    return run.once("langfuse everywhere", lambda: _trace(run))


def _trace(run: Run) -> Attributes:
    attributes: Attributes = dict(texts.of_whom(run))
    started = run.call.events[0]
    if isinstance(started, Started):
        attributes["langfuse.trace.name"] = name_of(started.pipeline)
    given = texts.tags(run)
    tags = [f"{key}:{value}" for key, value in given.items() if isinstance(value, str) and key not in _SETTINGS]
    tags = [tag for tag in tags if len(tag) <= _MOST_OF_A_TAG]
    if tags:
        attributes["langfuse.trace.tags"] = tags
    for key, name in _SETTINGS.items():
        if isinstance(value := given.get(key), str):
            attributes[name] = value
    return attributes


def _add(attributes: Attributes, name: str, text: str | None) -> None:
    if text is not None:
        attributes[f"langfuse.observation.{name}"] = text


def _add_reference(attributes: Attributes, ref: PromptRef) -> None:
    attributes[f"{METADATA}prompt_name"] = name_of(ref.name)
    version = ref.version or ref.commit
    if version is None:
        return
    attributes[f"{METADATA}prompt_version"] = name_of(version)
    if version.isascii() and version.isdigit() and int(version) > 0:
        attributes["langfuse.observation.prompt.name"] = name_of(ref.name)
        attributes["langfuse.observation.prompt.version"] = int(version)


def _classes(usage: Usage) -> dict[str, int]:
    """Tokens by class, each in one class only; the two sums where the parts contradict their whole."""
    classes = usage.classes()
    if classes is None:
        return {"input": usage.input_tokens, "output": usage.output_tokens}
    return {_CLASSES[name]: count for name, count in classes._asdict().items() if count or name in ("input", "output")}


def _blocker(run: Run) -> str:
    guards = (one for one in run.call.events if isinstance(one, GuardChecked) and one.verdict.blocked)
    return next((name_of(one.guard) for one in guards), "a guard")


def _iso(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
