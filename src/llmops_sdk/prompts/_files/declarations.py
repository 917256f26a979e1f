"""What the keys of the front matter declare: variables, parameters, the output."""

from __future__ import annotations

from llmops_sdk.errors import ConfigurationError
from llmops_sdk.prompts._files.front_matter import Lines, line_of
from llmops_sdk.prompts._files.place import Place
from llmops_sdk.prompts._outputs import Output, output_of
from llmops_sdk.prompts._parameters import parameter_of
from llmops_sdk.prompts._variables import Variable, variable_of

__all__ = ["output_in", "parameters_in", "variables_in"]


def variables_in(declared: object, at: Lines, place: Place) -> dict[str, Variable]:
    """What `variables:` says."""
    if not isinstance(declared, dict | None):
        place.fail(line_of(at, "variables"), "`variables` is a mapping: `question: str`")
    variables = {}
    for name, declaration in (declared or {}).items():
        try:
            variables[name] = variable_of(name, declaration)
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
