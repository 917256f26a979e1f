"""What a prompt says about its variables, and the check of what a caller gives for them."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from llmops_sdk.errors import ConfigurationError, PromptError

__all__ = ["NAME", "Variable", "check_types", "complete", "did_you_mean", "variable_of"]

NAME = r"[^\W\d_]\w*"
"""Regular expression of a name in a template: a Python identifier without a leading underscore."""

_TYPES: dict[str, tuple[type, ...]] = {
    "any": (object,),
    "str": (str,),
    "int": (int,),
    "float": (int, float),
    "bool": (bool,),
    "mapping": (Mapping,),
}
_KEYS = ("type", "trusted", "optional", "default", "description")


@dataclass(frozen=True, slots=True, kw_only=True)
class Variable:
    """One variable of a prompt.

    Attributes:
        name: Its name in the template.
        type: `"any"`, `"str"`, `"int"`, `"float"` (takes an int, too), `"bool"` or `"mapping"`.
        trusted: Whether the application vouches for its text. Guards look hardest at what is not trusted.
        optional: Whether it may be left out or be `None`; it renders as `default` then.
        default: What it is when it is left out; `None` renders as an empty text.
        description: What it is for, in words.
    """

    name: str
    type: str = "any"
    trusted: bool = False
    optional: bool = False
    default: object = None
    description: str = ""


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """` Did you mean 'x'?`, or nothing when no known word is close to `word`."""
    near = difflib.get_close_matches(word, list(known), n=3, cutoff=0.6)
    return f" Did you mean {' or '.join(map(repr, near))}?" if near else ""


def variable_of(name: object, declared: object) -> Variable:
    """The variable that a declaration describes: a type name, or a mapping with `type`, `trusted`, `optional`, ...

    Raises:
        ConfigurationError: The declaration is wrong.

    Example:
        >>> variable_of("question", "str").trusted
        False
    """
    if not isinstance(name, str) or not re.fullmatch(NAME, name):
        raise ConfigurationError(f"{name!r} cannot be a variable: write a plain name, such as `question`")
    if declared is None:
        return Variable(name=name)
    if isinstance(declared, str):
        declared = {"type": declared}
    if not isinstance(declared, Mapping):
        raise ConfigurationError(f"the variable {name!r}: write a type (`{name}: str`) or a mapping of {list(_KEYS)}")
    for key in declared:
        if key not in _KEYS:
            raise ConfigurationError(
                f"the variable {name!r} has no property {key!r}; there are {list(_KEYS)}."
                + did_you_mean(str(key), _KEYS)
            )
    return _checked(name, declared)


def _checked(name: str, declared: Mapping[str, object]) -> Variable:
    kind = declared.get("type", "any")
    if not isinstance(kind, str) or kind not in _TYPES:
        raise ConfigurationError(
            f"the variable {name!r} has the unknown type {kind!r}; there are {list(_TYPES)}."
            + did_you_mean(str(kind), _TYPES)
        )
    trusted = declared.get("trusted", False)
    optional = declared.get("optional", "default" in declared)
    if not isinstance(trusted, bool) or not isinstance(optional, bool):
        raise ConfigurationError(f"the variable {name!r}: `trusted` and `optional` are `true` or `false`")
    default = declared.get("default")
    if default is not None and not optional:
        raise ConfigurationError(f"the variable {name!r} has a default, so it cannot be `optional: false`")
    if default is not None and not _fits(default, kind):
        raise ConfigurationError(f"the variable {name!r} is of type {kind}, its default {default!r} is not")
    return Variable(
        name=name,
        type=kind,
        trusted=trusted,
        optional=optional,
        default=default,
        description=str(declared.get("description") or ""),
    )


def _fits(value: object, kind: str) -> bool:
    if isinstance(value, bool) and kind in ("int", "float"):
        return False
    return isinstance(value, _TYPES[kind])


def check_types(values: Mapping[str, object], variables: Iterable[Variable], prompt: str) -> None:
    """Refuse a value that is not of its variable's type.

    Raises:
        PromptError: It names the variable, the type that it has to be, and the type that came.
    """
    for variable in variables:
        value = values[variable.name]
        if value is None and variable.optional:
            continue
        if not _fits(value, variable.type):
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
