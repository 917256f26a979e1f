r"""Text that looks like the syntax of a body: how it is written, and how it is read.

A line that would be a heading, or the first marker of a conflict, is text with a `\` before it. Blank lines before a
section's text and empty lines after it are layout and not part of it; where its first or last line is to be blank,
that line has a `\`. Reading takes one `\` away, so a line that begins with one and goes on like this has one more.
Every other `\` is text.
"""

from __future__ import annotations

import re

from llmops_sdk.prompts._conflicts import begins_conflict
from llmops_sdk.prompts._sections import is_heading

__all__ = ["lines_of", "text_of"]

_BLANK = re.compile(r"\\+\s*")


def text_of(lines: list[str]) -> tuple[str | None, int]:
    """The text that a section's lines hold, `None` if they hold none; and how many blank lines stand before it."""
    first, end = 0, len(lines)
    while first < end and not lines[first].strip():
        first += 1
    while end > first and not lines[end - 1]:
        end -= 1
    if first == end:
        return None, 0
    text = [line[1:] if line.startswith("\\") and _is_syntax(line) else line for line in lines[first:end]]
    for edge in {0, len(text) - 1}:
        if _BLANK.fullmatch(text[edge]):
            text[edge] = text[edge][1:]
    return "\n".join(text), first


def lines_of(text: str) -> list[str]:
    r"""The lines from which `text_of` reads `text`.

    Example:
        >>> lines_of("[user]\n")
        ['\\[user]', '\\']
    """
    lines = ["\\" + line if _is_syntax(line) else line for line in text.split("\n")]
    for edge in {0, len(lines) - 1}:
        if not lines[edge].strip() or _BLANK.fullmatch(lines[edge]):
            lines[edge] = "\\" + lines[edge]
    return lines


def _is_syntax(line: str) -> bool:
    r"""Whether a line means something, or would without the `\` before it."""
    bare = line.lstrip("\\")
    return is_heading(bare) or begins_conflict(bare)
