"""OpenInference, which Phoenix and Arize read as their own, and MLflow where it finds nothing of its own.

Names by https://github.com/Arize-ai/openinference/blob/main/spec/semantic_conventions.md of August 2026 (commit
1fe497f), checked with Phoenix 20.26.1 and MLflow 3.17.2. `mlflow.*` is MLflow's: two attributes without which it shows
prompts without a kind, and costs of its own price table or none.

What has to be exactly so, since it is dropped without a word otherwise: span kinds in capitals, messages flattened
with an index each, JSON as texts.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from llmops_sdk.calls import AttemptEnded, Evaluated, GuardChecked, Rendered, ToolExecuted
from llmops_sdk.messages import Usage
from llmops_sdk.tracing._dialects import texts
from llmops_sdk.tracing._dialects.run import Attributes, Run
from llmops_sdk.tracing._text import MOST_CHARACTERS, name_of, shortened, valid

__all__ = ["attempt", "evaluation", "guard", "prompt", "tool", "workflow"]

KIND: Final = "openinference.span.kind"
INPUT: Final = "input"
OUTPUT: Final = "output"
TEMPLATE: Final = "llm.prompt_template.template"
TEMPLATE_VARIABLES: Final = "llm.prompt_template.variables"
TEMPLATE_VERSION: Final = "llm.prompt_template.version"

_PROVIDERS: Final = {
    "aws.bedrock": "aws",
    "azure.ai.inference": "azure",
    "azure.ai.openai": "azure",
    "gcp.gemini": "google",
    "gcp.vertex_ai": "google",
    "mistral_ai": "mistralai",
    "x_ai": "xai",
}
"""Where the name that the GenAI conventions give a provider is not the one here."""


def workflow(run: Run, /) -> Attributes:
    """Of the root, when the run has ended."""
    attributes: Attributes = {KIND: "CHAIN", **texts.of_whom(run)}
    given = {**texts.release(run), **texts.tags(run)}
    if given:
        attributes["metadata"] = run.once("metadata as JSON", lambda: texts.as_json(given))
    if run.content is not None:
        _text(attributes, INPUT, run.content.question)
        _text(attributes, OUTPUT, run.content.answer)
        _json(attributes, OUTPUT, texts.answer_json(run))
    return attributes


def prompt(event: Rendered, run: Run, /) -> Attributes:
    """Of the rendering of the prompt."""
    attributes: Attributes = {KIND: "PROMPT", "mlflow.spanType": "PROMPT", **texts.of_whom(run)}
    _add_template(attributes, event, run)
    if rollout := texts.rollout(event):
        attributes["metadata"] = texts.as_json(rollout)
    if run.content is not None:
        _json(attributes, INPUT, run.content.variables)
        _text(attributes, OUTPUT, texts.sent(run))
    return attributes


def guard(event: GuardChecked, run: Run, /) -> Attributes:
    """Of a guard that has read."""
    attributes: Attributes = {KIND: "GUARDRAIL", **texts.of_whom(run)}
    _json(attributes, OUTPUT, texts.verdict_json(event, run))
    if run.content is not None:
        _text(attributes, INPUT, run.content.guard(event).before)
    return attributes


def attempt(event: AttemptEnded, run: Run, /) -> Attributes:
    """Of an engine that was asked."""
    provider = name_of(event.provider)
    provider = _PROVIDERS.get(provider, provider)
    attributes: Attributes = {KIND: "LLM", "llm.system": provider, "llm.provider": provider, **texts.of_whom(run)}
    _add_model(attributes, event)
    parameters = texts.parameters_json(event, run)
    if parameters is not None:
        attributes["llm.invocation_parameters"] = parameters
    if event.usage is not None:
        _add_tokens(attributes, event.usage)
    _add_cost(attributes, event, run)
    rendering = texts.rendered(run)
    if rendering is not None:
        _add_template(attributes, rendering, run)
    shown = run.shown(event)
    if shown is not None:
        _add_tools(attributes, event.request.tools)
        _add_messages(attributes, "llm.input_messages", shown.input)
        _add_messages(attributes, "llm.output_messages", shown.output or ())
        _json(attributes, INPUT, texts.input_json(event, run))
        _json(attributes, OUTPUT, texts.output_json(event, run))
    return attributes


def tool(event: ToolExecuted, run: Run, /) -> Attributes:
    """Of a tool that was executed."""
    attributes: Attributes = {
        KIND: "TOOL",
        "tool.name": name_of(event.tool_call.name),
        "tool.id": shortened(event.tool_call.id, MOST_CHARACTERS),
        **texts.of_whom(run),
    }
    if run.content is not None:
        shown = run.content.tool(event)
        _json(attributes, INPUT, shown.arguments)
        _text(attributes, OUTPUT, shown.result)
    return attributes


def evaluation(event: Evaluated, run: Run, /) -> Attributes:
    """Of a judgement about the run."""
    of = "trace.evaluations.0.evaluation."
    attributes: Attributes = {
        KIND: "EVALUATOR",
        f"{of}name": name_of(event.name),
        f"{of}annotator_kind": event.by.upper(),
        **texts.of_whom(run),
    }
    if event.score is not None:
        attributes[f"{of}score"] = event.score
    if event.label is not None:
        attributes[f"{of}label"] = name_of(event.label)
    why = None if run.content is None else run.content.evaluation(event)
    if why is not None:
        attributes[f"{of}explanation"] = why
    _json(attributes, OUTPUT, texts.judgement_json(event, run))
    return attributes


def _text(attributes: Attributes, which: str, text: str | None) -> None:
    if text is not None:
        attributes[f"{which}.value"] = text
        attributes[f"{which}.mime_type"] = "text/plain"


def _json(attributes: Attributes, which: str, text: str | None) -> None:
    if text is not None:
        attributes[f"{which}.value"] = text
        attributes[f"{which}.mime_type"] = "application/json"


def _add_template(attributes: Attributes, event: Rendered, run: Run) -> None:
    ref = event.prompt
    if ref is not None:
        attributes["prompt.id"] = name_of(ref.name)
        version = ref.version or ref.commit
        if version is not None:
            attributes[TEMPLATE_VERSION] = name_of(version)
    written = texts.template(event, run)
    if written is not None:
        attributes[TEMPLATE] = written
    if run.content is not None and run.content.variables is not None:
        attributes[TEMPLATE_VARIABLES] = run.content.variables


def _add_model(attributes: Attributes, event: AttemptEnded) -> None:
    answered = None if event.response is None else event.response.model
    model = answered or event.model
    if model is not None:
        attributes["llm.model_name"] = name_of(model)
    if answered is not None and event.model is not None and answered != event.model:
        attributes["llm.request.model_name"] = name_of(event.model)
        attributes["llm.response.model_name"] = name_of(answered)
    if event.response is not None and event.response.finish_reason is not None:
        attributes["llm.finish_reason"] = event.response.finish_reason


def _add_tokens(attributes: Attributes, usage: Usage) -> None:
    attributes["llm.token_count.prompt"] = usage.input_tokens
    attributes["llm.token_count.completion"] = usage.output_tokens
    attributes["llm.token_count.total"] = usage.input_tokens + usage.output_tokens
    details = {
        "prompt_details.cache_read": usage.cached_input_tokens,
        "prompt_details.cache_write": usage.cache_write_tokens,
        "prompt_details.audio": usage.audio_input_tokens + usage.cached_audio_tokens,
        "completion_details.reasoning": usage.reasoning_tokens,
        "completion_details.audio": usage.audio_output_tokens,
    }
    attributes.update({f"llm.token_count.{name}": count for name, count in details.items() if count})


def _add_cost(attributes: Attributes, event: AttemptEnded, run: Run) -> None:
    cost = texts.money(event, run)
    if cost is None:
        return
    attributes["llm.cost.total"] = cost.total
    if cost.read is not None and cost.written is not None:
        attributes["llm.cost.prompt"], attributes["llm.cost.completion"] = cost.read, cost.written
    attributes["mlflow.llm.cost"] = texts.numbers_json(
        {"input_cost": cost.read, "output_cost": cost.written, "total_cost": cost.total}
    )


def _add_tools(attributes: Attributes, tools: Iterable[Mapping[str, Any]]) -> None:
    for number, one in enumerate(tools):
        attributes[f"llm.tools.{number}.tool.json_schema"] = texts.as_json(one)


def _add_messages(attributes: Attributes, of: str, messages: Sequence[Mapping[str, Any]]) -> None:
    for number, message in enumerate(messages):
        at = f"{of}.{number}.message"
        attributes[f"{at}.role"] = message["role"]
        parts = message["parts"]
        if len(parts) == 1 and parts[0]["type"] == "text":
            attributes[f"{at}.content"] = parts[0]["content"]
        else:
            _add_parts(attributes, at, parts)


def _add_parts(attributes: Attributes, at: str, parts: Iterable[Mapping[str, Any]]) -> None:
    contents = calls = 0
    for part in parts:
        kind = part["type"]
        if kind == "tool_call":
            _add_tool_call(attributes, f"{at}.tool_calls.{calls}.tool_call", part)
            calls += 1
        elif kind == "tool_call_response":
            attributes[f"{at}.tool_call_id"] = part["id"] or ""
            attributes[f"{at}.content"] = part["response"]
        else:
            content = f"{at}.contents.{contents}.message_content"
            contents += 1
            if kind == "uri":
                attributes[f"{content}.type"] = "image"
                attributes[f"{content}.image.image.url"] = part["uri"]
            else:
                attributes[f"{content}.type"] = kind
                attributes[f"{content}.text"] = part["content"]


def _add_tool_call(attributes: Attributes, at: str, part: Mapping[str, Any]) -> None:
    arguments = part["arguments"]
    attributes[f"{at}.id"] = part["id"]
    attributes[f"{at}.function.name"] = part["name"]
    attributes[f"{at}.function.arguments"] = (
        valid(arguments) if isinstance(arguments, str) else texts.as_json(arguments)
    )
