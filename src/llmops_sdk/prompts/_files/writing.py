"""Prompt files, written: one form for all prompts that are the same."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from llmops_sdk.errors import ConfigurationError
from llmops_sdk.prompts._content import PromptContent
from llmops_sdk.prompts._examples import Examples
from llmops_sdk.prompts._files.escapes import lines_of
from llmops_sdk.prompts._outputs import declaration_of
from llmops_sdk.prompts._sections import Section, heading_line
from llmops_sdk.prompts._variables import Variable, said_of, variable_of

__all__ = ["body_text", "write_prompt"]

_NEVER = 1 << 30
_UNSEEN = re.compile("[\x00-\x09\x0b-\x1f\x7f-\x9f\u2028\u2029\ufeff]")
"""Control characters, and what YAML takes for the end of a line: only double quotes keep them."""


def write_prompt(content: PromptContent, *, description: str = "", repairs: int | None = None) -> str:
    """The file of a prompt. Parsed, beside the same other files, it has the hash of `content`.

    What parses to the same prompt is written in the same way: with all variables declared, a heading for each section,
    and one blank line between them.

    Args:
        content: All that it renders from.
        description: What it is for.
        repairs: How often an answer that does not fit its output is asked for again, see `Output.repairs`.

    Raises:
        ConfigurationError: It holds what no file can.
    """
    matter = _matter(content, description, repairs)
    text = body_text(content.sections)
    if matter:
        text = f"---\n{_yaml(matter)}---\n{text}"
    for character, name in (("\r", "a carriage return"), ("\0", "a NUL character")):
        if character in text:
            raise ConfigurationError(f"{name} stands in a text of the prompt, and no file holds one: take it out")
    try:
        text.encode()
    except UnicodeEncodeError as exc:
        found = text[exc.start]
        raise ConfigurationError(f"the lone surrogate {found!r} stands in a text of the prompt: take it out") from None
    return text


def body_text(sections: Sequence[Section]) -> str:
    """The body of a file: a heading for each section, one blank line between them.

    Raises:
        ConfigurationError: No heading says what a section is.
    """
    return "\n\n".join(_sections(sections)) + "\n"


def _sections(sections: Sequence[Section]) -> Iterator[str]:
    for number, section in enumerate(sections):
        heading = heading_line(section, sections[number - 1] if number else None)
        if section.kind == "history" or (section.kind == "examples" and not section.text):
            yield heading
        else:
            yield "\n".join([heading, *lines_of(section.text)])


def _matter(content: PromptContent, description: str, repairs: int | None) -> dict[str, object]:
    parameters = dict(content.parameters)
    tools = parameters.pop("tools", None)
    matter: dict[str, object] = {
        "description": description or None,
        "parameters": parameters or None,
        "tools": tools,
        "variables": {name: _declaration(one) for name, one in content.variables.items()} or None,
        "examples": content.examples,
        "output": content.output,
    }
    for key, (written, became) in content.references.items():
        if matter.get(key) is not None and matter[key] == became:
            matter[key] = written
    if matter["output"] is not None:
        matter["output"] = declaration_of(matter["output"], repairs)
    if isinstance(matter["examples"], Examples):
        matter["examples"] = _examples(matter["examples"])
    return {key: _plain(value, key) for key, value in matter.items() if value is not None}


def _declaration(variable: Variable) -> object:
    said = said_of(variable)
    if variable.schema is not None:  # it says the type, too
        said = {**said.pop("schema"), **{key: value for key, value in said.items() if key != "type"}}
    if "default" in said:
        said.pop("optional", None)
    if variable.annotation is not None:
        try:
            variable_of(variable.name, said)
        except ConfigurationError as exc:
            raise ConfigurationError(f"no file can say what Python type a variable is of: {exc}") from None
    return variable.type if said.keys() <= {"type"} else said


def _examples(examples: Examples) -> object:
    if not isinstance(examples.select, str):
        raise ConfigurationError(
            "a function chooses the examples, and no file holds one: `with_examples(select='first')`"
        )
    plain = examples.plain()
    cases = plain.pop("cases")
    return {"cases": cases, **plain} if plain else cases


def _plain(value: object, key: str) -> object:
    """`value` in the types of JSON."""
    if value is None or isinstance(value, bool):
        return value
    for kind in (str, int, float):
        if isinstance(value, kind):
            return kind(value) if kind is not str else str.__str__(value)
    if isinstance(value, Mapping):
        return {_plain(name, key): _plain(one, key) for name, one in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, bytes | bytearray | memoryview):
        return [_plain(one, key) for one in value]
    raise ConfigurationError(f"`{key}` holds a {type(value).__name__}, and no file holds one")


def _yaml(matter: Mapping[str, Any]) -> str:
    import yaml  # noqa: PLC0415  (third-party: whoever has no prompt files needs none)

    class Dumper(yaml.SafeDumper):
        pass

    def text(dumper: yaml.SafeDumper, value: str) -> yaml.ScalarNode:
        style = '"' if _UNSEEN.search(value) else "|" if "\n" in value else None
        return dumper.represent_scalar("tag:yaml.org,2002:str", value, style=style)

    Dumper.add_representer(str, text)
    dumped: str = yaml.dump(matter, Dumper=Dumper, sort_keys=False, allow_unicode=True, width=_NEVER)
    return dumped
