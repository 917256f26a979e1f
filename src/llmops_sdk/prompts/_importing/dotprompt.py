"""dotprompt files, `.prompt` (https://google.github.io/dotprompt/reference): YAML front matter and Handlebars."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import PurePath
from typing import Any

from llmops_sdk.errors import ConfigurationError, PromptError
from llmops_sdk.prompts._files.front_matter import front_matter
from llmops_sdk.prompts._files.place import Place, Reader, no_siblings
from llmops_sdk.prompts._importing.handlebars import Handlebars
from llmops_sdk.prompts._importing.imported import Draft, Imported, Left, file_name
from llmops_sdk.prompts._importing.picoschema import json_schema
from llmops_sdk.prompts._variables import variable_of

__all__ = ["from_dotprompt"]

SUFFIX = ".prompt"
_CONFIG = {
    "temperature": "temperature",
    "topP": "top_p",
    "maxOutputTokens": "max_tokens",
    "stopSequences": "stop",
    "seed": "seed",
}
_DONE = ("name", "description", "config", "input", "output")


def from_dotprompt(text: str, path: str, left: list[Left], read: Reader = no_siblings) -> list[Imported]:
    """The prompt in a dotprompt file; a partial (`_name.prompt`) becomes a file that templates include.

    Args:
        text: The file.
        path: Its path.
        left: Where to note what does not carry over.
        read: Reads the partials that have been made.

    Raises:
        PromptError: The front matter is not YAML.
    """
    stem = PurePath(path).name.removesuffix(SUFFIX)
    matter, body = _parts(text, path)
    draft = Draft(file_name(matter.get("name"), stem), path, left)
    if stem.startswith("_"):
        for key in matter:
            draft.leave(f"`{key}`", "a partial is a text, and has no front matter")
        made = Handlebars(draft).convert(body.strip())
        return [Imported(path=f"{stem}.md", text=made + "\n", source=path)]
    draft.description = str(matter.get("description") or "")
    _config(draft, matter.get("config"))
    _input(draft, matter.get("input"))
    _output(draft, matter.get("output"))
    for key in matter:
        if key not in _DONE:
            draft.leave(f"`{key}: {matter[key]}`"[:200], _why(key))
    _messages(draft, body.strip())
    file = draft.file(read)
    return [] if file is None else [file]


def _parts(text: str, path: str) -> tuple[dict[str, Any], str]:
    lines = text.removeprefix("\ufeff").replace("\r\n", "\n").split("\n")
    first = next((number for number, line in enumerate(lines) if line.strip() and not line.startswith("#")), 0)
    if lines[first].rstrip() != "---":
        return {}, "\n".join(lines)
    end = next((number for number, line in enumerate(lines[first + 1 :], first + 1) if line.rstrip() == "---"), None)
    if end is None:
        raise PromptError(f"{path}:{first + 1}: the front matter is not closed", prompt=path)
    return front_matter("\n".join(lines[first + 1 : end]), Place(path, path))[0], "\n".join(lines[end + 1 :])


def _why(key: str) -> str:
    if key == "model":
        return "a prompt names no model: the engine of the pipeline does"
    if key in ("tools", "toolDefs"):
        return "definitions of tools are not in the file: put them into `parameters: {tools: [...]}`"
    return "there is no such key here"


def _config(draft: Draft, given: object) -> None:
    for name, value in given.items() if isinstance(given, Mapping) else ():
        if name in _CONFIG:
            draft.parameter(_CONFIG[name], value, f"`config.{name}`")
        else:
            draft.leave(f"`config.{name}: {value}`"[:200], "a parameter of one provider: put it into `extra`")


def _input(draft: Draft, given: object) -> None:
    if not isinstance(given, Mapping):
        return
    defaults = given.get("default")
    defaults = defaults if isinstance(defaults, Mapping) else {}
    try:
        schema = json_schema(given["schema"]) if "schema" in given else {}
    except ConfigurationError as exc:
        draft.leave("`input.schema`", str(exc))
        schema = {}
    properties = schema.get("properties") or {}
    for name, one in properties.items():
        optional = {} if name in schema.get("required", ()) else {"optional": True}
        try:
            variable_of("value", one)
            draft.variable(name, **one, **optional)
        except ConfigurationError as exc:
            draft.leave(f"the type of the variable {name!r}", f"it takes any value here: {exc}")
            draft.variable(name, **optional)
    for name, default in defaults.items():
        draft.variable(str(name), default=default, optional=True)
    for key in given:
        if key not in ("schema", "default"):
            draft.leave(f"`input.{key}`", "there is no such key here")


def _output(draft: Draft, given: object) -> None:
    if not isinstance(given, Mapping):
        return
    if "schema" in given:
        try:
            draft.output(json_schema(given["schema"]), "`output.schema`")
        except ConfigurationError as exc:
            draft.leave("`output.schema`", str(exc))
    for key, value in given.items():
        if key == "schema" or (key == "format" and (value == "text" or "schema" in given)):
            continue
        draft.leave(f"`output.{key}: {value}`"[:200], "an output is told by its schema here")


def _messages(draft: Draft, body: str) -> None:
    role = "user"

    def begins(text: str, next_role: str) -> None:
        nonlocal role
        if text.strip():
            draft.message(role, text.strip("\n"))
        role = next_role

    def history(text: str) -> None:
        begins(text, "model")  # what follows a history is the model's, as dotprompt has it
        draft.history("history")
        draft.variable("history", optional=True)

    rest = Handlebars(draft, begins, history).convert(body)
    if rest.strip():
        draft.message(role, rest.strip("\n"))
