"""Handlebars and mustache: a text cut into its literals and its tags."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple

__all__ = ["Tag", "pieces_of", "statement"]

_TAG = re.compile(
    r"\\\\(?=\{\{)|\\\{\{.*?\}\}|\{\{\{\{(?=\s*[\w#]).*?\{\{\{\{/.*?\}\}\}\}"
    r"|\{\{~?!--.*?--~?\}\}|\{\{~?!.*?\}\}|\{\{\{[^{}]*\}\}\}"
    r"|\{\{~?\s*(?:\"[^\"]*\"|'[^']*'|[^{}\"'])*?~?\}\}",
    re.DOTALL,
)


class Tag(NamedTuple):
    """One tag.

    Attributes:
        source: As written.
        kind: `""` for a value, else its first sign: `#`, `/`, `^`, `>`, `!`, `&` or `{`; `"raw"` for a raw block.
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


def pieces_of(text: str, *, escapes: bool = False) -> Iterator[str | Tag]:
    r"""The literals and the tags, in order.

    Args:
        text: The text.
        escapes: Whether `\{{x}}` is a tag as text, and `\\{{x}}` a tag behind a `\`, as Handlebars has it.
    """
    last = 0
    for match in _TAG.finditer(text):
        if match.start() > last:
            yield text[last : match.start()]
        yield _literal(match[0], escapes=escapes) or _tag(match[0], text, match.start(), match.end())
        last = match.end()
    if last < len(text):
        yield text[last:]


def _literal(source: str, *, escapes: bool) -> str | None:
    """What an escape stands for; `None` where it is none."""
    if source == "\\\\":
        return "\\" if escapes else source
    return source[escapes:] if source.startswith("\\") else None


def _tag(source: str, text: str, start: int, end: int) -> Tag:
    if source.startswith("{{{{"):
        return Tag(source, "raw", ())
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
