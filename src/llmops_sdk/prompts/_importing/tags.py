"""Handlebars and mustache: a text cut into its literals and its tags."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple

__all__ = ["Tag", "pieces_of", "statement"]

_TAG = re.compile(
    r"\{\{~?!--.*?--~?\}\}|\{\{~?!.*?\}\}|\{\{\{[^{}]*\}\}\}"
    r"|\{\{~?\s*(?:\"[^\"]*\"|'[^']*'|[^{}\"'])*?~?\}\}",
    re.DOTALL,
)


class Tag(NamedTuple):
    """One tag.

    Attributes:
        source: As written.
        kind: `""` for a value, else its first sign: `#`, `/`, `^`, `>`, `!`, `&` or `{`.
        words: What it holds, cut at blanks that are not in quotes.
        left: Whether it takes the blanks before it away (`{{~`).
        right: Whether it takes the blanks behind it away (`~}}`).
        alone: Whether it is alone on its line, which then is not part of the text.
    """

    source: str
    kind: str
    words: tuple[str, ...]
    left: bool = False
    right: bool = False
    alone: bool = False


def pieces_of(text: str) -> Iterator[str | Tag]:
    """The literals and the tags, in order."""
    last = 0
    for match in _TAG.finditer(text):
        if match.start() > last:
            yield text[last : match.start()]
        yield _tag(match[0], text, match.start(), match.end())
        last = match.end()
    if last < len(text):
        yield text[last:]


def _tag(source: str, text: str, start: int, end: int) -> Tag:
    if source.startswith("{{{"):
        return Tag(source, "{", _words(source[3:-3]))
    inner = source[2:-2]
    left, right = inner.startswith("~"), inner.endswith("~")
    inner = inner[left : len(inner) - right].strip()
    kind = inner[0] if inner[:1] in ("#", "/", "^", ">", "!", "&") else ""
    words = _words(inner[len(kind) :]) if kind != "!" else (inner[1:].strip("-").strip(),)
    return Tag(source, kind, words, left, right, _alone(text, start, end))


def _words(inner: str) -> tuple[str, ...]:
    return tuple(re.findall(r"(?:[^\s\"'=]+=)?(?:\"[^\"]*\"|'[^']*'|[^\s\"']+)", inner))


def _alone(text: str, start: int, end: int) -> bool:
    before = text[text.rfind("\n", 0, start) + 1 : start]
    line_end = text.find("\n", end)
    behind = text[end : len(text) if line_end < 0 else line_end]
    return not before.strip() and not behind.strip()


def statement(inner: str, tag: Tag) -> str:
    """The statement `inner` of ours in the place of `tag`, that takes away what the tag takes, and nothing else."""
    begin = "{%-" if tag.left else "{%" if tag.alone else "{%+"
    end = "-%}" if tag.right else "%}" if tag.alone else "+%}"
    return f"{begin} {inner} {end}"
