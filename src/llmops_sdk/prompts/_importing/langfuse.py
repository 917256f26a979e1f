"""Langfuse's prompts, as its API and its exports give them (https://api.reference.langfuse.com, `Prompt`)."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

from llmops_sdk.prompts._importing.imported import Draft, Imported, Left, file_name
from llmops_sdk.prompts._templates.literals import literal

__all__ = ["from_langfuse", "is_langfuse"]

_VARIABLE = re.compile(r"\{\{\s*([^\W\d][\w.-]*)\s*\}\}")
_REFERENCE = re.compile(r"@@@langfusePrompt:.*?@@@")
_PARAMETERS = {
    **{name: name for name in ("temperature", "top_p", "max_tokens", "seed", "stop", "n", "tools", "tool_choice")},
    "max_completion_tokens": "max_tokens",
    "max_output_tokens": "max_tokens",
}
_SAYS_NOTHING = (
    *("name", "prompt", "type", "config", "labels", "version", "id", "projectId", "createdAt", "updatedAt"),
    *("createdBy", "isActive", "resolutionGraph", "commitMessage", "lastUpdatedAt"),
)


def is_langfuse(given: object) -> bool:
    """Whether a JSON value is a prompt of Langfuse's."""
    return (
        isinstance(given, Mapping)
        and isinstance(given.get("prompt"), str | list)
        and ("name" in given or given.get("type") in ("text", "chat"))
    )


def from_langfuse(given: Mapping[str, Any], path: str, stem: str, left: list[Left]) -> list[Imported]:
    """The prompt in a JSON value."""
    name = file_name(given.get("name"), stem)
    version = given.get("version")
    draft = Draft(name, path if version is None else f"{path} ({given.get('name', name)} version {version})", left)
    if isinstance(given.get("commitMessage"), str):
        draft.description = given["commitMessage"]
    _config(draft, given.get("config"))
    for label in given.get("labels") or ():
        if label != "latest":  # which Langfuse sets by itself
            draft.leave(f"the label {str(label)!r}", "labels are set in git, once the file is committed")
    for key, value in given.items():
        if key not in _SAYS_NOTHING and value not in (None, [], {}, ""):
            draft.leave(f"`{key}: {value}`"[:200], "there is no such thing here")
    prompt = _chat_in(given["prompt"]) if given.get("type") == "chat" else given["prompt"]
    for number, one in enumerate([{"role": "user", "content": prompt}] if isinstance(prompt, str) else prompt):
        _message(draft, one, f"message {number + 1}")
    file = draft.file()
    return [] if file is None else [file]


def _message(draft: Draft, one: Any, said: str) -> None:
    if not isinstance(one, Mapping):
        draft.leave(said, "it is no message")
    elif one.get("type") == "placeholder" or ("role" not in one and "name" in one):
        draft.history(str(one.get("name") or "history"))
        _others(draft, one, said, "type", "name")
    elif not isinstance(one.get("content"), str):
        draft.leave(f"the content of {said}", "it is no text")
    else:
        draft.message(str(one.get("role")), _converted(draft, one["content"]), said)
        _others(draft, one, said, "type", "role", "content")


def _others(draft: Draft, one: Mapping[str, Any], said: str, *known: str) -> None:
    for key, value in one.items():
        if key not in known and value not in (None, [], {}, ""):
            draft.leave(f"`{key}: {value}` of {said}"[:200], "there is no such thing here")


def _chat_in(prompt: str | list[Any]) -> str | list[Any]:
    """The messages of a chat, which an export of the database has as a text."""
    if isinstance(prompt, str):
        try:
            messages = json.loads(prompt)
        except (ValueError, RecursionError):
            return prompt
        return messages if isinstance(messages, list) else prompt
    return prompt


def _converted(draft: Draft, text: str) -> str:
    for reference in _REFERENCE.findall(text):
        draft.leave(f"`{reference}`", 'a prompt includes a file: write `{% include "shared/name.md" %}` in its place')
    made, last = [], 0
    for match in _VARIABLE.finditer(text):
        made += [literal(text[last : match.start()]), f"{{{{ {draft.variable(match[1])} }}}}"]
        last = match.end()
    return "".join([*made, literal(text[last:])])


def _config(draft: Draft, config: object) -> None:
    for name, value in config.items() if isinstance(config, Mapping) else ():
        schema = _schema_in(value) if name == "response_format" else None
        if schema is not None:
            draft.output(schema, "`config.response_format`")
        elif name in _PARAMETERS:
            draft.parameter(_PARAMETERS[name], value, f"`config.{name}`")
        elif name == "model":
            draft.leave(f"`config.model: {value}`", "a prompt names no model: the engine of the pipeline does")
        else:
            draft.leave(f"`config.{name}: {value}`"[:200], "it is no parameter of a request: put it into `extra`")
    if not isinstance(config, Mapping) and config:
        draft.leave("`config`", "it is no mapping")


def _schema_in(response_format: object) -> Any:
    if isinstance(response_format, Mapping) and response_format.get("type") == "json_schema":
        inner = response_format.get("json_schema")
        return inner.get("schema") if isinstance(inner, Mapping) else response_format.get("schema")
    return None
