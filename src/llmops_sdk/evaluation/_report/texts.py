"""Texts of a report: nothing that others wrote can become markup, or steer how the rest is shown."""

from __future__ import annotations

import html
import json
import re
from collections.abc import Mapping
from typing import Any

__all__ = ["as_text", "cut", "escape", "script_json", "visible"]

MOST_CHARACTERS = 20_000
"""Of one text in a report."""

_HIDDEN = re.compile(
    r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u061c\u200b\u200e\u200f\u2028-\u202e\u2060\u2066-\u2069\ufeff\ud800-\udfff"
    r"\U000e0000-\U000e007f]"
)
_IN_SCRIPT = {ord(one): f"\\u{ord(one):04x}" for one in "<>&\u2028\u2029"}


def visible(text: str) -> str:
    r"""With control characters, and those that turn the direction or are not seen at all, as their names.

    >>> visible("a\u202eb")
    'a⟨U+202E⟩b'
    """
    return _HIDDEN.sub(lambda found: f"⟨U+{ord(found[0]):04X}⟩", text.replace("\r\n", "\n"))


def cut(text: str, most: int = MOST_CHARACTERS) -> str:
    """Made visible, and at most so long; what is left out is said."""
    left_out = len(text) - most
    return visible(text if left_out <= 0 else f"{text[:most]}\n[… {left_out:,} characters more]")


def escape(text: str) -> str:
    """For HTML."""
    return html.escape(visible(text))


def as_text(value: Any) -> str:
    r"""A text as it is, texts by name and messages in lines, everything else as indented JSON.

    >>> as_text({"name": "Ada", "question": "1 + 1?"})
    'name: Ada\nquestion: 1 + 1?'
    """
    if isinstance(value, str):
        return value
    if isinstance(value, Mapping) and value and all(isinstance(one, str) for one in value.values()):
        return "\n".join(f"{name}: {text}" for name, text in value.items())
    if isinstance(value, list) and value and all(_is_message(one) for one in value):
        return "\n\n".join(f"{one['role']}: {one['content']}" for one in value)
    return json.dumps(value, ensure_ascii=False, indent=1, default=str)


def _is_message(value: Any) -> bool:
    return isinstance(value, Mapping) and value.keys() == {"role", "content"} and isinstance(value["content"], str)


def script_json(value: Any) -> str:
    """For a `<script type="application/json">`: no text can end it, and JavaScript of any age can read it."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False).translate(_IN_SCRIPT)
