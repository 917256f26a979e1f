"""What a prompt says about its variables."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import PurePath

from llmops_sdk.errors import ConfigurationError
from llmops_sdk.messages import ImagePart
from llmops_sdk.prompts._variables.hints import did_you_mean

__all__ = ["NAME", "Variable", "fits", "variable_of"]

NAME = r"[^\W\d_]\w*"
"""Regular expression of a name in a template: a Python identifier without a leading underscore."""

_TYPES: dict[str, tuple[type, ...]] = {
    "any": (object,),
    "str": (str,),
    "int": (int,),
    "float": (int, float),
    "bool": (bool,),
    "mapping": (Mapping,),
    "messages": (list, tuple),
    "image": (ImagePart, str, bytes, bytearray, memoryview, PurePath),
}
_KEYS = ("type", "trusted", "optional", "default", "description")


@dataclass(frozen=True, slots=True, kw_only=True)
class Variable:
    """One variable of a prompt.

    Attributes:
        name: Its name in the template.
        type: `"any"`, `"str"`, `"int"`, `"float"` (takes an int, too), `"bool"`, `"mapping"`, `"messages"` (a
            conversation) or `"image"` (an `ImagePart`, a URL, bytes, or the path of a file).
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
    if default is not None and not fits(default, kind):
        raise ConfigurationError(f"the variable {name!r} is of type {kind}, its default {default!r} is not")
    return Variable(
        name=name,
        type=kind,
        trusted=trusted,
        optional=optional,
        default=default,
        description=str(declared.get("description") or ""),
    )


def fits(value: object, kind: str) -> bool:
    """Whether `value` is of the type `kind`, one of those that `Variable.type` names."""
    if isinstance(value, bool) and kind in ("int", "float"):
        return False
    return isinstance(value, _TYPES[kind])
