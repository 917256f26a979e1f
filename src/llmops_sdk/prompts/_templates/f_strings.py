"""f-strings: texts with `{name}` in them, written in the syntax of templates."""

from __future__ import annotations

import re
import string
from collections.abc import Callable

from llmops_sdk.errors import ConfigurationError
from llmops_sdk.prompts._templates.literals import literal
from llmops_sdk.prompts._variables import NAME

__all__ = ["from_f_string", "with_fields"]

_PATH = re.compile(rf"{NAME}(\.{NAME})*")


def from_f_string(text: str) -> str:
    """The template that says what an f-string says.

    Args:
        text: `{name}` and `{name.attribute}` are variables, `{{` and `}}` are braces, as in Python.

    Raises:
        ConfigurationError: It is no f-string, or formats a value: the application does that.

    Example:
        >>> from_f_string('Say {{"hello": 1}} to {name}.')
        'Say {"hello": 1} to {{ name }}.'
    """
    return with_fields(text, _variable)


def with_fields(text: str, variable_of: Callable[[str, str], str | None]) -> str:
    """The template of an f-string whose fields mean what somebody says.

    Args:
        text: The f-string.
        variable_of: Given the name of a field and all that is written in its braces, the path of the variable that
            stands there; `None`: the field is text.

    Raises:
        ConfigurationError: It is no f-string.
    """
    try:
        pieces = list(string.Formatter().parse(text))
    except ValueError as exc:
        raise ConfigurationError(
            f"this is no f-string ({exc}): a brace that is text is written twice, `{{{{`"
        ) from None
    made: list[str] = []
    plain = ""
    for before, name, form, conversion in pieces:
        plain += before
        if name is None:
            continue
        written = name + (f"!{conversion}" if conversion else "") + (f":{form}" if form else "")
        path = variable_of(name, written)
        if path is None:
            plain += f"{{{written}}}"
        else:
            made += [literal(plain), f"{{{{ {path} }}}}"]
            plain = ""
    return "".join([*made, literal(plain)])


def _variable(name: str, written: str) -> str:
    if name != written or not _PATH.fullmatch(name):
        raise ConfigurationError(
            f"`{{{written}}}` is no variable: there are `{{name}}` and `{{name.attribute}}`, and values are put in as "
            "they are; a brace that is text is written twice"
        )
    return name
