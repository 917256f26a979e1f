"""What the keys of the front matter declare: variables, parameters, tools, the output."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from llmops_sdk.errors import ConfigurationError
from llmops_sdk.prompts._files.front_matter import Lines, line_of
from llmops_sdk.prompts._files.place import Place
from llmops_sdk.prompts._outputs import Output, output_of
from llmops_sdk.prompts._parameters import parameter_of
from llmops_sdk.prompts._tools import tools_of
from llmops_sdk.prompts._variables import Variable, variable_of

__all__ = ["output_in", "parameters_in", "tools_in", "variables_in"]


def variables_in(declared: object, at: Lines, place: Place) -> dict[str, Variable]:
    """What `variables:` says."""
    if not isinstance(declared, dict | None):
        place.fail(line_of(at, "variables"), "`variables` is a mapping: `question: str`")
    variables = {}
    for name, declaration in (declared or {}).items():
        try:
            variables[name] = replace(variable_of(name, declaration), line=line_of(at, "variables", str(name)))
        except ConfigurationError as exc:
            place.fail(line_of(at, "variables", str(name)), str(exc), variable=str(name))
    return variables


def parameters_in(given: object, at: Lines, place: Place) -> dict[str, object]:
    """What `parameters:` says."""
    if not isinstance(given, dict | None):
        place.fail(line_of(at, "parameters"), "`parameters` is a mapping: `temperature: 0`")
    parameters = {}
    for name, value in (given or {}).items():
        try:
            parameters[name] = parameter_of(name, value)
        except ConfigurationError as exc:
            place.fail(line_of(at, "parameters", str(name)), str(exc))
    return parameters


def output_in(given: object, at: Lines, place: Place) -> Output | None:
    """What `output:` says."""
    if given is None:
        return None
    try:
        return output_of(given, place.read)
    except ConfigurationError as exc:
        place.fail(line_of(at, "output"), str(exc))


def tools_in(given: object, at: Lines, place: Place) -> tuple[Mapping[str, Any], ...] | None:
    """What `tools:` says: definitions, and names of JSON files that hold one or a list of them."""
    if given is None:
        return None
    line = line_of(at, "tools")
    if not isinstance(given, list):
        place.fail(line, "`tools` is a list of definitions and names of files: `[tools/search.json]`")
    tools: list[object] = []
    for number, one in enumerate(given):
        held = _json_in(one, at.get(("tools", str(number)), line), place) if isinstance(one, str) else one
        tools += held if isinstance(held, list) else [held]
    try:
        return tools_of(tools)
    except ConfigurationError as exc:
        place.fail(line, str(exc))


def _json_in(path: str, line: int, place: Place) -> object:
    text = place.text_of(path, line)
    try:
        return json.loads(text)
    except json.JSONDecodeError as exc:
        place.beside(path).fail(exc.lineno, f"this is not JSON: {exc.msg} at column {exc.colno}")
    except (RecursionError, ValueError) as exc:
        place.beside(path).fail(1, f"this is not JSON: {exc}")
