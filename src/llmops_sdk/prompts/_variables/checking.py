"""The check of what a caller gives for the variables of a prompt."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from llmops_sdk.errors import PromptError
from llmops_sdk.prompts._hints import did_you_mean
from llmops_sdk.prompts._variables.declared import Variable
from llmops_sdk.prompts._variables.deep import DeepCheck, Misfit, deep_check_of
from llmops_sdk.prompts._variables.kinds import exact_type, fits

__all__ = ["Check", "check_types", "checks_of", "complete"]


class Check:
    """The check of one variable's values. What needs pydantic is made at the first value.

    Attributes:
        name: Name of the variable.
        exact: The class whose instances are right without another look; `None` where there is no such class.
        variable: The variable.
    """

    __slots__ = ("_deep", "exact", "name", "variable")

    def __init__(self, variable: Variable) -> None:
        self.variable = variable
        self.name = variable.name
        is_deep = variable.schema is not None or variable.annotation is not None
        self.exact = None if is_deep else exact_type(variable.type)
        self._deep: DeepCheck | None = None

    def misfit(self, value: object) -> Misfit | None:
        """What is wrong with a value; `None`: nothing."""
        variable = self.variable
        if value is None and variable.optional:
            return None
        if variable.annotation is None and not fits(value, variable.type):
            return Misfit((), "", type(value).__name__)
        if variable.schema is None:
            return None
        if self._deep is None:
            self._deep = deep_check_of(variable.schema, variable.annotation)
        return self._deep(value)

    def __reduce__(self) -> tuple[Any, ...]:
        return Check, (self.variable,)  # pydantic's validators stay in their process


def checks_of(variables: Iterable[Variable]) -> tuple[Check, ...]:
    """The checks of those variables that not everything is right for."""
    return tuple(Check(one) for one in variables if one.type != "any" or one.schema is not None)


def check_types(values: Mapping[str, object], checks: Iterable[Check], prompt: str, where: str | None = None) -> None:
    """Refuse a value that is not of its variable's type.

    Args:
        values: A value for each variable.
        checks: What to check.
        prompt: Name of the prompt.
        where: The file that declares the variables.

    Raises:
        PromptError: It names the file and the line, the variable (and the place within its value), what it has to be,
            and the class that came; never the value, which may be private.
    """
    for check in checks:
        value = values[check.name]
        if value.__class__ is check.exact:
            continue
        misfit = check.misfit(value)
        if misfit is not None:
            raise _misfit_error(check.variable, misfit, prompt, where)


def _misfit_error(variable: Variable, misfit: Misfit, prompt: str, where: str | None) -> PromptError:
    place = _dotted(variable.name, misfit.path)
    if not misfit.problem:
        problem = f"the prompt {prompt!r} takes {place!r} as {variable.type}, and got {misfit.got}"
    elif misfit.missing:
        problem = f"the prompt {prompt!r} misses {place!r}: {misfit.problem}"
    else:
        problem = f"the prompt {prompt!r} does not take this {place!r} (of class {misfit.got}): {misfit.problem}"
    return PromptError(f"{_at(where, variable.line)}{problem}", prompt=prompt, variable=variable.name)


def _dotted(name: str, path: Iterable[str | int]) -> str:
    """`customer.orders[2].zip`."""
    return name + "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in path)


def _at(where: str | None, line: int | None) -> str:
    return "" if where is None else f"{where}:{line or 1}: "


def complete(
    values: Mapping[str, object], variables: Mapping[str, Variable], prompt: str, where: str | None = None
) -> dict[str, object]:
    """The values of all variables: what was given, and the defaults of the optional ones that were not.

    Args:
        values: What was given.
        variables: The prompt's variables.
        prompt: Name of the prompt.
        where: The file that declares them.

    Raises:
        PromptError: A variable is missing, or one was given that the prompt does not have. It names the file, and the
            line that declares what is missing, or the first variable of those that there are.
    """
    takes = f"it takes {', '.join(variables)}" if variables else "it takes none: a variable is written `{{ name }}`"
    for name in values:
        if name not in variables:
            first = next((one.line for one in variables.values()), None)
            problem = f"the prompt {prompt!r} has no variable {name!r}: {takes}." + did_you_mean(str(name), variables)
            raise PromptError(_at(where, first) + problem, prompt=prompt, variable=str(name))
    completed: dict[str, object] = {}
    for name, variable in variables.items():
        if name in values:
            completed[name] = values[name]
        elif variable.optional:
            completed[name] = variable.default
        else:
            problem = f"the prompt {prompt!r} misses the variable {name!r}: {takes}"
            raise PromptError(_at(where, variable.line) + problem, prompt=prompt, variable=name)
    return completed
