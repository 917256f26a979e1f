"""Fences: how a text that nobody vouches for is set off from the rest of a prompt.

Each takes the text, the name of the variable, and the id of the document that the text is of, if it is of one. It gives
what stands before the text, the text itself, and what stands after it. In the text that they give, nothing closes the
fence: whoever reads it back finds one block, and nothing of the text outside.
"""

from __future__ import annotations

import functools
import html
import json
import re
from collections.abc import Callable, Mapping
from typing import TypeAlias

__all__ = ["FENCES", "Fence", "needs_own_lines"]

Fence: TypeAlias = Callable[[str, str, str | None], tuple[str, str, str]]

_LINE_END = re.compile(r"\r\n|[\n\r\v\f\x1c-\x1e\x85\u2028\u2029]")
"""All that begins a line in the eyes of `str.splitlines`."""
_BACKTICKS = re.compile(r"`{3,}")
_ESCAPED = "&lt;"
_UNSEEN = (
    r"[\s\x00-\x1f\x7f-\x9f\xad\u034f\u061c\u180e\u200b-\u200f\u202a-\u202e\u2060-\u206f\ufe00-\ufe0f\ufeff"
    r"\U000e0000-\U000e0fff]*+"  # possessive: a tag of a million blanks takes linear time
)
"""White space, controls and signs that nobody sees: a model reads `< / question>` as a tag all the same."""


def _xml(text: str, name: str, document: str | None = None) -> tuple[str, str, str]:
    """`<name>`, and `</name>`; such a tag within the text loses its `<`."""
    attribute = "" if document is None else f' id="{_attribute(document)}"'
    return f"<{name}{attribute}>\n", _tag(name).sub(_ESCAPED, text), f"\n</{name}>"


def _markdown(text: str, name: str, document: str | None = None) -> tuple[str, str, str]:
    """A fence of more backticks than any within the text has."""
    ticks = "`" * (max(map(len, _BACKTICKS.findall(text)), default=2) + 1)
    attribute = "" if document is None else f' id="{_attribute(document)}"'
    return f"{ticks}{name}{attribute}\n", text, f"\n{ticks}"


def _quote(text: str, _name: str, document: str | None = None) -> tuple[str, str, str]:
    """`> ` before each line."""
    attribute = "" if document is None else f'> id="{_attribute(document)}"\n'
    return f"{attribute}> ", _LINE_END.sub(lambda end: end[0] + "> ", text), ""


def _json(text: str, _name: str, document: str | None = None) -> tuple[str, str, str]:
    """A JSON string; for a document an object with `id` and `text`."""
    inside = json.dumps(text, ensure_ascii=False)[1:-1]
    if document is None:
        return '"', inside, '"'
    return f'{{"id": {json.dumps(document, ensure_ascii=False)}, "text": "', inside, '"}'


FENCES: Mapping[str, Fence] = {"xml": _xml, "markdown": _markdown, "quote": _quote, "json": _json}
"""The fences by their names."""


def needs_own_lines(fence: str | None) -> bool:
    """Whether the fence holds only where it begins a line, and nothing follows it on its last."""
    return fence in ("markdown", "quote")


@functools.lru_cache(maxsize=256)
def _tag(name: str) -> re.Pattern[str]:
    """The `<` of a tag of this name, opening or closing, whatever its case, with signs between that nobody sees."""
    letters = _UNSEEN.join(re.escape(letter) for letter in name)
    return re.compile(rf"[<\ufe64\uff1c](?={_UNSEEN}[/\uff0f]?+{_UNSEEN}{letters})", re.IGNORECASE)


def _attribute(value: str) -> str:
    """`value` as the value of an attribute, on one line and without backticks."""
    escaped = html.escape(value, quote=True).replace("`", "&#96;")
    return _LINE_END.sub(lambda end: "".join(f"&#{ord(sign)};" for sign in end[0]), escaped)
