"""The check of what a caller gives for the variables of a prompt."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from llmops_sdk.errors import PromptError
from llmops_sdk.prompts._variables.declared import Variable, fits
from llmops_sdk.prompts._variables.hints import did_you_mean

__all__ = ["check_types", "complete"]


def check_types(values: Mapping[str, object], variables: Iterable[Variable], prompt: str) -> None:
    """Refuse a value that is not of its variable's type.

    Raises:
        PromptError: It names the variable, the type that it has to be, and the type that came.
    """
    for variable in variables:
        value = values[variable.name]
        if value is None and variable.optional:
            continue
        if not fits(value, variable.type):
            raise PromptError(
                f"the prompt {prompt!r} takes {variable.name!r} as {variable.type}, and got {type(value).__name__}",
                prompt=prompt,
                variable=variable.name,
            )


def complete(values: Mapping[str, object], variables: Mapping[str, Variable], prompt: str) -> dict[str, object]:
    """The values of all variables: what was given, and the defaults of the optional ones that were not.

    Raises:
        PromptError: A variable is missing, or one was given that the prompt does not have.
    """
    takes = f"it takes {', '.join(variables)}" if variables else "it takes no variables"
    for name in values:
        if name not in variables:
            raise PromptError(
                f"the prompt {prompt!r} has no variable {name!r}: {takes}." + did_you_mean(str(name), variables),
                prompt=prompt,
                variable=str(name),
            )
    completed: dict[str, object] = {}
    for name, variable in variables.items():
        if name in values:
            completed[name] = values[name]
        elif variable.optional:
            completed[name] = variable.default
        else:
            problem = f"the prompt {prompt!r} misses the variable {name!r}: {takes}"
            raise PromptError(problem, prompt=prompt, variable=name)
    return completed
