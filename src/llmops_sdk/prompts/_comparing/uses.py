"""How a prompt's texts take its variables apart: whether what the old version rendered may fail in the new one.

`{{ x }}` renders every value; `{{ x.name }}`, a loop or a filter renders some. Which ones a template takes is not
worked out: where code that may fail is other than before, it could not be told.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from llmops_sdk.prompts._comparing.changes import PromptChange, changed, differ, shown
from llmops_sdk.prompts._comparing.wording import section_labels
from llmops_sdk.prompts._content import PromptContent
from llmops_sdk.prompts._templates import Opening, openings_of
from llmops_sdk.prompts._variables import NAME, Variable

__all__ = ["use_changes"]

_TEST = rf"(?:not\s+)?{NAME}(?:\s*[!=]=\s*(?:'[^'\n]*'|\"[^\"\n]*\"|\d+))?"
_CONDITION = re.compile(rf"\{{%[-+]?\s*(?:if|elif)\s+{_TEST}(?:\s+(?:and|or)\s+{_TEST})*\s*[-+]?%\}}")
_LOOP = re.compile(rf"\{{%[-+]?\s*for\s+{NAME}\s+in\s+({NAME})\s*[-+]?%\}}")
_FILTERED = re.compile(rf"\{{\{{[-+]?\s*{NAME}(?:\s*\|\s*(?:upper|lower|trim|capitalize|title))?\s*[-+]?\}}\}}")
_NEVER_FAIL = (
    "else",
    "endif",
    "endfor",
    "endset",
    "endwith",
    "endfilter",
    "endmacro",
    "endcall",
    "raw",
    "endraw",
    "include",
)
"""Words of statements that fail for no value; what is included is a text of its own."""

_PARTIALS = "partials."
_NAME = re.compile(NAME)


class _Piece(NamedTuple):
    """A piece of code in a text: `text` is all of it, with its braces."""

    opening: Opening
    text: str


def use_changes(old: PromptContent, new: PromptContent) -> Iterator[PromptChange]:
    """The texts whose code may fail for values that the old version rendered."""
    before = [[one.text for one in code] for code in _codes(old).values()]
    after = _codes(new)
    failing = {where: [one for one in code if _may_fail(one, new.variables)] for where, code in after.items()}
    partials_fail = any(found for where, found in failing.items() if where.startswith(_PARTIALS))
    for where, code in after.items():
        found = failing[where] + [one for one in code if partials_fail and one.opening.word == "include"]
        if found and [one.text for one in code] not in before:
            words = f"`{found[0].text}` may fail for values that were rendered before"
            yield changed("template-unclear", where, words, None, "\n".join(one.text for one in found))
    named = {name for found in failing.values() for one in found for name in _NAME.findall(one.text)}
    for name in new.variables:
        if name not in named or name not in old.variables:
            continue
        defaults = [content.variables[name].default for content in (old, new)]
        if differ(*defaults):
            words = f"the default of {name!r} is another, and the text takes it apart"
            yield changed("template-unclear", f"variables.{name}", words, *map(shown, defaults))


def _codes(content: PromptContent) -> dict[str, list[_Piece]]:
    """Where a text stands -> its code, without comments and what stands between."""
    labels = section_labels(content.sections)
    texts = {f"sections.{label}": one.text for label, one in zip(labels, content.sections, strict=True)}
    texts |= {_PARTIALS + path: text for path, text in content.partials.items()}
    return {where: list(_code(text, content.variables)) for where, text in texts.items()}


def _code(text: str, variables: Mapping[str, Variable]) -> Iterator[_Piece]:
    for opening in openings_of(text, variables):
        if not text.startswith("{#", opening.at):
            yield _Piece(opening, text[opening.at : opening.end])


def _may_fail(piece: _Piece, variables: Mapping[str, Variable]) -> bool:
    """Whether a piece of code fails for some value that its variables' declarations take."""
    path, word = piece.opening.path, piece.opening.word
    if path is not None:
        return not _is_there(path, variables)
    if word is None:
        return _FILTERED.fullmatch(piece.text) is None
    if word == "for":
        loop = _LOOP.fullmatch(piece.text)
        over = variables.get(loop[1]) if loop else None
        return over is None or over.type != "list" or over.optional
    return word not in _NEVER_FAIL and _CONDITION.fullmatch(piece.text) is None


def _is_there(path: str, variables: Mapping[str, Variable]) -> bool:
    """Whether the declarations say that every value has what the path names, and that it is not null."""
    name, *steps = path.split(".")
    if not steps:
        return True
    variable = variables.get(name)
    schema: Any = None if variable is None or variable.optional else variable.schema
    for step in steps:
        if not isinstance(schema, Mapping) or step not in schema.get("required", ()):
            return False
        schema = schema.get("properties", {}).get(step)
    return isinstance(schema, Mapping) and schema.get("type") in ("string", "integer", "number", "boolean")
