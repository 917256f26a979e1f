r"""Prompt files, `*.prompt.md`: YAML front matter between `---` lines, and a body with sections for the roles.

::

    ---
    description: Answers a customer's question.
    parameters: {temperature: 0, max_tokens: 48}
    variables:
      question: str
      tone: {type: str, trusted: true, default: friendly}
    ---
    [system]
    You are a {{ tone }} support agent.

    [user]
    {{ question }}

A line that is exactly `[system]`, `[user]` or `[assistant]` begins a message; text before the first one is a user
message. `\[user]` is such a line as text. docs/concepts/prompts/files.md has all of it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from llmops_sdk.prompts._content import Reference
from llmops_sdk.prompts._files.body import sections_of
from llmops_sdk.prompts._files.declarations import output_in, parameters_in, tools_in, variables_in
from llmops_sdk.prompts._files.examples import examples_in
from llmops_sdk.prompts._files.front_matter import Lines, front_matter, line_of
from llmops_sdk.prompts._files.place import Place, Reader, decoded, no_siblings
from llmops_sdk.prompts._prompt import Prompt
from llmops_sdk.prompts._variables import did_you_mean

__all__ = ["decode_prompt", "parse_prompt"]

_KEYS = ("name", "description", "parameters", "tools", "variables", "examples", "output")
_FENCE = re.compile(r"---[ \t]*")


def parse_prompt(
    data: bytes,
    /,
    *,
    name: str,
    where: str,
    version: str | None = None,
    commit: str | None = None,
    read: Reader = no_siblings,
) -> Prompt:
    """The prompt in a file.

    Args:
        data: The file: UTF-8, with or without a byte-order mark, any line ends.
        name: Name of the prompt.
        where: Path of the file, for errors.
        version: The version that was asked for.
        commit: The commit that holds the file.
        read: Reads what the file includes.

    Raises:
        PromptError: The file is broken; the message begins with `path:line:`.
    """
    place = Place(name, where, read)
    lines = decoded(data, place).split("\n")
    matter: dict[str, Any] = {}
    at: Lines = {}
    first = 0
    if _FENCE.fullmatch(lines[0]):
        end = next((number for number, line in enumerate(lines[1:], 1) if _FENCE.fullmatch(line)), None)
        if end is None:
            place.fail(1, "the front matter is not closed: end it with a line `---`")
        matter, at = front_matter("\n".join([*lines[1:end], ""]), place)
        first = end + 1
    _check_keys(matter, at, place)
    sections = list(sections_of(lines[first:], first + 1, place))
    if not sections:
        place.fail(len(lines), "the body is empty: write the message after the front matter")
    variables = variables_in(matter.get("variables"), at, place)
    parameters = parameters_in(matter.get("parameters"), at, place)
    output = output_in(matter.get("output"), at, place)
    references: dict[str, Reference] = {}
    tools = tools_in(matter.get("tools"), at, place)
    if tools is not None:
        if "tools" in parameters:
            place.fail(line_of(at, "tools"), "`tools` and `parameters.tools` say the same: keep `tools`")
        parameters["tools"] = tools
        references["tools"] = Reference(matter["tools"], tools)
    examples = examples_in(matter.get("examples"), at, place)
    if examples is not None:
        references["examples"] = Reference(matter["examples"], examples)
        if not any(section.kind == "examples" for section in sections):
            place.fail(line_of(at, "examples"), "nothing shows the examples: write `[examples]` into the body")
    if output is not None and "response_schema" in parameters:
        place.fail(line_of(at, "output"), "`output` and `parameters.response_schema` say the same: keep `output`")
    prompt = Prompt(
        sections,
        name=name,
        description=str(matter.get("description") or ""),
        variables=variables,
        parameters=parameters,
        output=output,
        examples=examples,
        references=references,
        version=version,
        commit=commit,
        where=where,
    )
    if "variables" in matter:
        for used in prompt.variables:
            if used not in variables:
                hint = did_you_mean(used, variables)
                problem = f"`variables` does not declare {used!r}, which the body uses.{hint}"
                place.fail(line_of(at, "variables"), problem, variable=used)
    return prompt


def decode_prompt(data: bytes, /, *, name: str, where: str) -> str:
    """The text of a prompt file as `parse_prompt` sees it: without a byte-order mark, with line feeds.

    Raises:
        PromptError: The file is too large, or not UTF-8; the message begins with `path:line:`.
    """
    return decoded(data, Place(name, where))


def _check_keys(matter: Mapping[str, Any], at: Lines, place: Place) -> None:
    for key in matter:
        if key not in _KEYS:
            hint = did_you_mean(str(key), _KEYS)
            place.fail(line_of(at, str(key)), f"unknown key {key!r}; there are {', '.join(_KEYS)}.{hint}")
    if matter.get("name", place.prompt) != place.prompt:
        place.fail(
            line_of(at, "name"), f"the name is {matter['name']!r}, but the file's place makes it {place.prompt!r}"
        )
