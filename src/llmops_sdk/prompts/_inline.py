"""Prompts that stand in the code: what the arguments of `Prompt.from_string` become."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from llmops_sdk.errors import ConfigurationError
from llmops_sdk.prompts._examples import examples_from
from llmops_sdk.prompts._outputs import output_of
from llmops_sdk.prompts._parameters import parameter_of
from llmops_sdk.prompts._sections import Section
from llmops_sdk.prompts._templates import from_f_string, reader_of
from llmops_sdk.prompts._variables import variable_of

__all__ = ["parts_from_strings"]


def parts_from_strings(
    text: str,
    system: str | None,
    *,
    variables: Mapping[str, Any] | None,
    examples: Sequence[Mapping[str, Any]] | None,
    partials: Mapping[str, str] | None,
    output: Any,
    style: str,
    parameters: Mapping[str, Any],
) -> tuple[list[Section], dict[str, Any]]:
    """The sections of a prompt, and what else `Prompt()` takes.

    Raises:
        ConfigurationError: A parameter or a declaration is unknown or out of range, or the output is none.
    """
    for given in (text, system or ""):
        if not isinstance(given, str):
            raise ConfigurationError(f"a prompt is made of text, not of {type(given).__name__}")
    if style not in ("template", "f-string"):
        raise ConfigurationError(f'`style` is "template" or "f-string", not {style!r}')
    if style == "f-string":
        text, system = from_f_string(text), None if system is None else from_f_string(system)
    declared = {key: variable_of(key, value) for key, value in (variables or {}).items()}
    checked = {key: parameter_of(key, value) for key, value in parameters.items() if value is not None}
    answer = None if output is None else output_of(output)
    if answer is not None and "response_schema" in checked:
        raise ConfigurationError("`output` and `response_schema` say the same: keep `output`")
    shown = None if examples is None else examples_from(examples)
    sections = [
        *([] if system is None else [Section("system", system)]),
        *([] if shown is None else [Section("user", "", kind="examples")]),
        Section("user", text),
    ]
    others = {
        "variables": declared,
        "parameters": checked,
        "output": answer,
        "examples": shown,
        "partials": reader_of(partials) if partials else None,
    }
    return sections, others
