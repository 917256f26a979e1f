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

from collections.abc import Iterator, Mapping
from typing import Any

from llmops_sdk.prompts._content import Reference
from llmops_sdk.prompts._files.body import sections_of
from llmops_sdk.prompts._files.declarations import output_in, parameters_in, tools_in, variables_in
from llmops_sdk.prompts._files.examples import examples_in
from llmops_sdk.prompts._files.front_matter import Lines, front_matter, front_matter_end, line_of
from llmops_sdk.prompts._files.place import Place, Reader, decoded, no_siblings, resolved
from llmops_sdk.prompts._parameters import misplaced_parameter
from llmops_sdk.prompts._prompt import Prompt
from llmops_sdk.prompts._sections import Section
from llmops_sdk.prompts._variables import did_you_mean

__all__ = ["KEYS", "body_sections", "decode_prompt", "parse_prompt"]

KEYS = ("name", "description", "parameters", "tools", "variables", "examples", "output")
"""Keys of the front matter."""


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
    lines = resolved(data, place).split("\n")
    matter, at, body = _parts(lines, place)
    sections = list(body)
    if not sections:
        place.fail(len(lines), "the body is empty: write the message after the front matter")
    declared = _declared(matter, at, place)
    if declared["examples"] is not None and all(section.kind != "examples" for section in sections):
        place.fail(line_of(at, "examples"), "nothing shows the examples: write `[examples]` into the body")
    prompt = Prompt(
        sections,
        name=name,
        description=str(matter.get("description") or ""),
        version=version,
        commit=commit,
        where=where,
        **declared,
        partials=read,
    )
    variables = declared["variables"]
    for used in prompt.variables if "variables" in matter else ():
        if used not in variables:
            hint = did_you_mean(used, variables)
            problem = f"`variables` does not declare {used!r}, which the body uses.{hint}"
            place.fail(line_of(at, "variables"), problem, variable=used)
    return prompt


def body_sections(text: str, name: str) -> tuple[Section, ...]:
    """The sections of a body that stands in no file.

    Args:
        text: It, any line ends.
        name: Name of its prompt, for errors.

    Raises:
        PromptError: It is empty, or broken; the message begins with `<body>:line:`.
    """
    place = Place(name, "<body>")
    sections = tuple(sections_of(resolved(text.encode("utf-8", "surrogatepass"), place).split("\n"), 1, place))
    if not sections:
        place.fail(1, "the body is empty: write a message")
    return sections


def _parts(lines: list[str], place: Place) -> tuple[dict[str, Any], Lines, Iterator[Section]]:
    """The front matter of a file, the lines of its keys, and its body."""
    end = front_matter_end(lines)
    if end is None:
        return {}, {}, sections_of(lines, 1, place)
    if not end:
        place.fail(1, "the front matter is not closed: end it with a line `---`")
    matter, at = front_matter("\n".join([*lines[1:end], ""]), place)
    _check_keys(matter, at, place)
    return matter, at, sections_of(lines[end + 1 :], end + 2, place)


def _declared(matter: Mapping[str, Any], at: Lines, place: Place) -> dict[str, Any]:
    """What the front matter says of a prompt, as `Prompt` takes it."""
    variables = variables_in(matter.get("variables"), at, place)
    parameters = parameters_in(matter.get("parameters"), at, place)
    output = output_in(matter.get("output"), at, place)
    tools = tools_in(matter.get("tools"), at, place)
    examples = examples_in(matter.get("examples"), at, place)
    for key, given, parameter in (("output", output, "response_schema"), ("tools", tools, "tools")):
        if given is not None and parameter in parameters:
            place.fail(line_of(at, key), f"`{key}` and `parameters.{parameter}` say the same: keep `{key}`")
    if tools is not None:
        parameters["tools"] = tools
    became = {"tools": tools, "examples": examples, "output": None if output is None else output.schema}
    return {
        "variables": variables,
        "parameters": parameters,
        "output": output,
        "examples": examples,
        "references": {key: Reference(matter[key], one) for key, one in became.items() if one is not None},
    }


def decode_prompt(data: bytes, /, *, name: str, where: str) -> str:
    """The text of a prompt file as `parse_prompt` sees it: without a byte-order mark, with line feeds.

    Raises:
        PromptError: The file is too large, or not UTF-8; the message begins with `path:line:`.
    """
    return decoded(data, Place(name, where))


def _check_keys(matter: Mapping[str, Any], at: Lines, place: Place) -> None:
    for key in matter:
        if key not in KEYS:
            hint = misplaced_parameter(str(key)) or did_you_mean(str(key), KEYS)
            place.fail(line_of(at, str(key)), f"unknown key {key!r}; there are {', '.join(KEYS)}.{hint}")
    if matter.get("name", place.prompt) != place.prompt:
        problem = f"the name is {matter['name']!r}, but the file's place makes it {place.prompt!r}: delete `name`"
        place.fail(line_of(at, "name"), problem)
