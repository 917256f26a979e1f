"""What a prompt says about its variables."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any

from llmops_sdk.errors import ConfigurationError
from llmops_sdk.prompts._hints import did_you_mean
from llmops_sdk.prompts._types.keywords import KEYWORDS, WORDS_FOR_PEOPLE
from llmops_sdk.prompts._types.spelling import spelled_out
from llmops_sdk.prompts._types.words import OWN_KINDS, WORDS
from llmops_sdk.prompts._variables.deep import deep_check_of
from llmops_sdk.prompts._variables.fences import FENCES
from llmops_sdk.prompts._variables.kinds import fits, kind_of
from llmops_sdk.prompts._variables.python_types import is_type, plain_value, types_meant
from llmops_sdk.prompts._variables.schemas import normal_schema

__all__ = ["NAME", "Variable", "said_of", "value_schema", "variable_of"]

NAME = r"[^\W\d_]\w*"
"""Regular expression of a name in a template: a Python identifier without a leading underscore."""

_KEYS = ("type", "trusted", "optional", "default", "description", "fence")


@dataclass(frozen=True, slots=True, kw_only=True)
class Variable:
    """One variable of a prompt.

    Attributes:
        name: Its name in the template.
        type: `"any"`, `"str"`, `"int"`, `"float"` (takes an int, too), `"bool"`, `"list"`, `"mapping"`, `"date"`,
            `"datetime"`, `"document"`, `"documents"`, `"messages"` or `"image"`.
        trusted: Whether the application vouches for its text. Guards look hardest at what is not trusted.
        optional: Whether it may be left out or be `None`; it renders as `default` then.
        default: What it is when it is left out; `None` renders as an empty text.
        description: What it is for, in words.
        schema: The JSON Schema of its values, where that says more than `type`.
        fence: How its text is set off from the rest, one of `FENCES`; `None` where it is not.
        line: The line of the file that declares it, or of the first section that uses it; for errors only.
        annotation: The Python type that code declared, which pydantic checks; `None` where `type` and `schema` say all.
    """

    name: str
    type: str = "any"
    trusted: bool = False
    optional: bool = False
    default: object = None
    description: str = ""
    schema: Mapping[str, Any] | None = field(default=None, hash=False)
    fence: str | None = None
    line: int | None = field(default=None, compare=False)
    annotation: Any = field(default=None, compare=False, repr=False)


def said_of(variable: Variable) -> dict[str, Any]:
    """What is said of a variable beside its name: all that is not as it is where nothing is declared.

    Example:
        >>> said_of(Variable(name="question", trusted=True))
        {'trusted': True}
    """
    plain = Variable(name=variable.name)
    said = {one.name: getattr(variable, one.name) for one in fields(variable) if one.compare}
    return {key: value for key, value in said.items() if value != getattr(plain, key)}


def value_schema(variable: Variable) -> Mapping[str, Any] | None:
    """The JSON Schema of what the variable takes; `None` where that is nothing that JSON has: an image, documents."""
    return WORDS.get(variable.type) if variable.schema is None else variable.schema


def variable_of(name: object, declared: object) -> Variable:
    """The variable that a declaration describes.

    Args:
        name: Its name.
        declared: A type in words (`"list[str]"`, `"low | high"`), a Python type, the fields of an object
            (`{"name": "str"}`), or a mapping with `type`, `trusted`, `optional`, `default`, `description`, `fence` and
            keywords of JSON Schema.

    Raises:
        ConfigurationError: The declaration is wrong.

    Example:
        >>> variable_of("question", "str").trusted
        False
        >>> variable_of("tone", "warm | cool").schema
        {'type': 'string', 'enum': ['warm', 'cool']}
    """
    if not isinstance(name, str) or not re.fullmatch(NAME, name):
        raise ConfigurationError(f"{name!r} cannot be a variable: write a plain name, such as `question`")
    if declared is None:
        return Variable(name=name)
    if isinstance(declared, str) or is_type(declared) or _is_fields(declared):
        declared = {"type": declared}
    if isinstance(declared, list):
        declared = _spelled(name, declared)
    if not isinstance(declared, Mapping):
        raise ConfigurationError(
            f"the variable {name!r}: write a type (`{name}: str`) or a mapping of {list(_KEYS)} and of keywords of"
            " JSON Schema"
        )
    own = {key: value for key, value in declared.items() if key in _KEYS and key != "type"}
    says = {key: value for key, value in declared.items() if key not in own}
    for key in says:
        if key != "type" and key not in KEYWORDS and did_you_mean(str(key), _KEYS):
            raise ConfigurationError(
                f"the variable {name!r} has no property {key!r}; there are {', '.join(_KEYS)}."
                + did_you_mean(str(key), _KEYS)
            )
    try:
        variable = _typed(name, says)
    except ConfigurationError as exc:
        raise ConfigurationError(f"the variable {name!r}: {exc}") from exc
    return _checked(variable, own)


def _spelled(name: str, declared: list[Any]) -> Mapping[str, Any]:
    try:
        return spelled_out(declared, (), OWN_KINDS)
    except ConfigurationError as exc:
        raise ConfigurationError(f"the variable {name!r}: {exc}") from exc


def _is_fields(declared: object) -> bool:
    """Whether a mapping holds the fields of an object, and none of our own words or those of JSON Schema."""
    if not isinstance(declared, Mapping) or not declared or declared.keys() & {*_KEYS, *KEYWORDS, *WORDS_FOR_PEOPLE}:
        return False
    return all(isinstance(one, str | list | Mapping | None) for one in declared.values())


def _typed(name: str, says: Mapping[str, object]) -> Variable:
    """A variable of the type that a declaration names: in Python, in words of our own, or as JSON Schema."""
    given = says.get("type")
    optional = False
    if is_type(given):
        meant = types_meant(given)
        if meant.annotation is not None:
            if len(says) > 1:
                raise ConfigurationError(f"a Python type says all: keywords such as {list(says)[1]!r} go into it")
            return Variable(
                name=name,
                type=kind_of(meant.schema)[0],
                optional=meant.optional,
                schema=meant.schema,
                annotation=meant.annotation,
            )
        given, optional = meant.word, meant.optional
        says = {**says, "type": given} if given is not None else {**meant.schema, **_without_type(says)}
    if isinstance(given, str) and given.strip().removesuffix("?") in OWN_KINDS:
        if len(says) > 1:
            raise ConfigurationError(f"the type {given!r} takes no keywords of JSON Schema")
        kind = given.strip()
        return Variable(name=name, type=kind.removesuffix("?"), optional=optional or kind.endswith("?"))
    if isinstance(given, Mapping):  # fields
        fields = spelled_out(given, (), OWN_KINDS)
        if twice := sorted(fields.keys() & _without_type(says)):
            raise ConfigurationError(f"the type says `{twice[0]}` already")
        says = {**fields, **_without_type(says)}
    schema = normal_schema(says)
    alternatives = schema.get("anyOf", ())
    if alternatives and alternatives[-1] == {"type": "null"}:
        optional = True
        kept = alternatives[:-1]
        schema = {key: value for key, value in schema.items() if key != "anyOf"}
        schema |= kept[0] if len(kept) == 1 else {"anyOf": kept}
    kind, more = kind_of(schema)
    return Variable(name=name, type=kind, optional=optional, schema=more)


def _without_type(says: Mapping[str, object]) -> dict[str, object]:
    return {key: value for key, value in says.items() if key != "type"}


def _checked(variable: Variable, own: Mapping[str, Any]) -> Variable:
    name = variable.name
    trusted = own.get("trusted", False)
    optional = own.get("optional", variable.optional or "default" in own)
    if not isinstance(trusted, bool) or not isinstance(optional, bool):
        raise ConfigurationError(f"the variable {name!r}: `trusted` and `optional` are `true` or `false`")
    default = own.get("default")
    if default is not None and not optional:
        raise ConfigurationError(f"the variable {name!r} has a default, so it cannot be `optional: false`")
    if default is not None:
        _check_default(variable, default)
    return replace(
        variable,
        trusted=trusted,
        optional=optional,
        default=default,
        schema=_with_default(variable, default),
        description=str(own.get("description") or ""),
        fence=_fence(variable, own.get("fence", "none")),
    )


def _check_default(variable: Variable, default: object) -> None:
    named = f"the variable {variable.name!r} is of type {variable.type}, its default {default!r} is not"
    if variable.annotation is None and not fits(default, variable.type):
        raise ConfigurationError(named)
    if variable.schema is None or (isinstance(default, str) and default in variable.schema.get("enum", ())):
        return  # checking words needs no pydantic
    misfit = deep_check_of(variable.schema, variable.annotation)(default)
    if misfit is not None:
        raise ConfigurationError(
            f"the variable {variable.name!r} cannot have the default {default!r}: {misfit.problem}"
        )


def _with_default(variable: Variable, default: object) -> Mapping[str, Any] | None:
    """The schema, with the default as JSON where it is an object of the application's: the prompt's hash needs it."""
    if variable.annotation is None or default is None:
        return variable.schema
    return {**(variable.schema or {}), "default": plain_value(variable.annotation, default)}


def _fence(variable: Variable, fence: object) -> str | None:
    if fence == "none":
        return None
    if not isinstance(fence, str) or fence not in FENCES:
        known = (*FENCES, "none")
        raise ConfigurationError(
            f"the variable {variable.name!r} has the unknown fence {fence!r}; there are {', '.join(known)}."
            + did_you_mean(str(fence), known)
        )
    if variable.type in ("messages", "image"):
        raise ConfigurationError(f"the variable {variable.name!r} is of type {variable.type}, which takes no fence")
    return fence
