"""Prompt files, `*.prompt.md`: YAML front matter between `---` lines, and a body with sections for the roles.

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
message. A space before the bracket makes such a line text.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from llmops_sdk.prompts._files.body import sections_of
from llmops_sdk.prompts._files.conflicts import first_conflict
from llmops_sdk.prompts._files.declarations import output_in, parameters_in, variables_in
from llmops_sdk.prompts._files.front_matter import Lines, front_matter, front_matter_end, line_of
from llmops_sdk.prompts._files.place import Place, Reader, no_siblings
from llmops_sdk.prompts._prompt import Prompt
from llmops_sdk.prompts._variables import did_you_mean

__all__ = ["MAX_BYTES", "SUFFIX", "decode_prompt", "parse_prompt"]

SUFFIX = ".prompt.md"
MAX_BYTES = 1_000_000
"""Largest prompt file that is read."""

_KEYS = ("name", "description", "parameters", "variables", "output")


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
    lines = _decode(data, place).split("\n")
    matter: dict[str, Any] = {}
    at: Lines = {}
    first = 0
    conflict = first_conflict(lines)
    if conflict is not None:
        place.fail(
            conflict + 1, "a conflict of a merge is not resolved: write what shall stand here, without the markers"
        )
    end = front_matter_end(lines)
    if end is not None:
        if not end:
            place.fail(1, "the front matter is not closed: end it with a line `---`")
        matter, at = front_matter("\n".join(lines[1:end]), place)
        first = end + 1
    _check_keys(matter, at, place)
    sections = list(sections_of(lines[first:], first + 1, place))
    if not sections:
        place.fail(len(lines), "the body is empty: write the message after the front matter")
    variables = variables_in(matter.get("variables"), at, place)
    parameters = parameters_in(matter.get("parameters"), at, place)
    output = output_in(matter.get("output"), at, place)
    if output is not None and "response_schema" in parameters:
        place.fail(line_of(at, "output"), "`output` and `parameters.response_schema` say the same: keep `output`")
    prompt = Prompt(
        sections,
        name=name,
        description=str(matter.get("description") or ""),
        variables=variables,
        parameters=parameters,
        output=output,
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
    return _decode(data, Place(name, where))


def _decode(data: bytes, place: Place) -> str:
    if len(data) > MAX_BYTES:
        place.fail(1, f"the file has {len(data):,} bytes, more than the {MAX_BYTES:,} that are read")
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as exc:
        line = data.count(b"\n", 0, exc.start) + 1
        place.fail(line, f"this is not UTF-8 (byte {exc.start} is {data[exc.start]:#04x}); save the file as UTF-8")
    return text.replace("\r\n", "\n").replace("\r", "\n")


def _check_keys(matter: Mapping[str, Any], at: Lines, place: Place) -> None:
    for key in matter:
        if key not in _KEYS:
            hint = did_you_mean(str(key), _KEYS)
            place.fail(line_of(at, str(key)), f"unknown key {key!r}; there are {', '.join(_KEYS)}.{hint}")
    if matter.get("name", place.prompt) != place.prompt:
        place.fail(
            line_of(at, "name"), f"the name is {matter['name']!r}, but the file's place makes it {place.prompt!r}"
        )
