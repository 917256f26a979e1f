"""f-strings: texts with `{name}` in them, written in the syntax of templates."""

from __future__ import annotations

import re
import string

from llmops_sdk.errors import ConfigurationError
from llmops_sdk.prompts._templates.literals import literal
from llmops_sdk.prompts._variables import NAME

__all__ = ["from_f_string"]

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
    made: list[str] = []
    plain = ""
    try:
        pieces = list(string.Formatter().parse(text))
    except ValueError as exc:
        raise ConfigurationError(
            f"this is no f-string ({exc}): a brace that is text is written twice, `{{{{`"
        ) from None
    for before, name, form, conversion in pieces:
        plain += before
        if name is None:
            continue
        if form or conversion or not _PATH.fullmatch(name):
            said = name + (f"!{conversion}" if conversion else "") + (f":{form}" if form else "")
            raise ConfigurationError(
                f"`{{{said}}}` is no variable: there are `{{name}}` and `{{name.attribute}}`, and values are put in as "
                "they are; a brace that is text is written twice"
            )
        made += [literal(plain), f"{{{{ {name} }}}}"]
        plain = ""
    return "".join([*made, literal(plain)])
