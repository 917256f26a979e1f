"""Text in HTML and Markdown that a reader of the page does not see, and a model does.

What is found is only looked at: whether it says anything bad is for the rules to decide. They weigh it more than the
same words in plain sight, by how seldom honest pages hide text in that way.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator
from typing import NamedTuple

__all__ = ["Hidden", "hidden_stretches"]

_MOST = 500  # stretches of one text, so that a page full of comments stays cheap
_LONGEST = 4_000


class Hidden(NamedTuple):
    """A stretch that is not shown.

    Attributes:
        start: First code point of it.
        end: One past its last code point.
        how: What hides it: `"html comment"`, `"html style"`, `"html element"`,
            `"html attribute"`, `"markdown comment"`, `"markdown title"`.
        weight: How much more an instruction weighs here than in plain sight, `> 1`.
    """

    start: int
    end: int
    how: str
    weight: float


_INVISIBLE = (
    r"display\s{0,3}:\s{0,3}none|visibility\s{0,3}:\s{0,3}(?:hidden|collapse)"
    r"|font-size\s{0,3}:\s{0,3}(?:0|1px|0?\.\d)(?![\d.])|opacity\s{0,3}:\s{0,3}0?(?:\.0\d?)?(?![\d.])"
    r"|(?<![\w-])color\s{0,3}:\s{0,3}(?:#fff(?:fff)?|white|transparent"
    r"|rgba?\(\s{0,3}255\s{0,3},\s{0,3}255\s{0,3},\s{0,3}255)"
    r"|(?:left|top|text-indent)\s{0,3}:\s{0,3}-\d{3,5}|(?<![\w-])(?:max-)?(?:width|height)\s{0,3}:\s{0,3}0(?![\d.])"
    r"|clip\s{0,3}:\s{0,3}rect\(0"
)
_STYLED = re.compile(
    rf"<(?P<tag>[a-z][a-z0-9]{{0,15}})\b(?=[^<>]{{0,400}}?(?:{_INVISIBLE}|\s(?:hidden|aria-hidden)\b"
    r"|\scolor\s{0,3}=\s{0,3}[\"']?(?:white|#fff)|\btype\s{0,3}=\s{0,3}[\"']?hidden))[^<>]{0,1000}>",
    re.IGNORECASE,
)
_UNSHOWN_TAG = re.compile(r"<(?P<tag>template|noscript|script|style|title|details)\b[^<>]{0,300}>", re.IGNORECASE)
_ATTRIBUTE = re.compile(
    r"<[a-z][^<>]{0,600}?\s(?:alt|title|aria-label|aria-description|content|placeholder|value|summary|data-[a-z-]{1,20})"
    r"\s{0,3}=\s{0,3}(?:\"(?P<text>[^\"<>]{8,4000})\"|'(?P<text2>[^'<>]{8,4000})')",
    re.IGNORECASE,
)
_MARKDOWN = re.compile(
    r"^[ ]{0,3}\[(?://|comment|_|#)\]:\s{1,3}(?:#|<>)?\s{0,3}[(\"'](?P<comment>[^\n]{1,4000})[)\"']"
    r"|^[ ]{0,3}\[[^\]\n]{1,100}\]:\s{1,3}\S{1,500}\s{1,3}[(\"'](?P<definition>[^\n]{8,4000})[)\"']"
    r"|\]\([^()\s]{0,500}\s{1,3}[\"'](?P<title>[^\"'\n]{8,4000})[\"']\s{0,3}\)"
    r"|!\[(?P<alt>[^\]\n]{8,4000})\]\(",
    re.MULTILINE,
)


def hidden_stretches(text: str) -> Iterator[Hidden]:
    """Stretches of `text` that HTML or Markdown would not show."""
    return itertools.islice(_all(text), _MOST)


def _all(text: str) -> Iterator[Hidden]:
    if "<" in text:
        yield from _comments(text)
        lowered = text.lower()
        if len(lowered) != len(text):  # a few letters are longer in lower case
            lowered = text
        for pattern, how, weight in ((_STYLED, "html style", 1.6), (_UNSHOWN_TAG, "html element", 1.2)):
            for match in pattern.finditer(text):
                end = lowered.find(f"</{match['tag'].lower()}", match.end(), match.end() + _LONGEST)
                yield Hidden(match.end(), end if end >= 0 else min(len(text), match.end() + _LONGEST), how, weight)
        if "=" in text:
            for match in _ATTRIBUTE.finditer(text):
                yield Hidden(*match.span("text" if match["text"] else "text2"), "html attribute", 1.2)
    if "](" in text or "]:" in text:
        for match in _MARKDOWN.finditer(text):
            group = match.lastgroup or ""
            comment = group == "comment"
            how = "markdown comment" if comment else "markdown title"
            yield Hidden(*match.span(group), how, 1.5 if comment else 1.2)


def _comments(text: str) -> Iterator[Hidden]:
    start = text.find("<!--")
    while start >= 0:
        end = text.find("-->", start + 4)
        stop = len(text) if end < 0 else end
        yield Hidden(start + 4, min(stop, start + 4 + _LONGEST), "html comment", 1.5)
        start = text.find("<!--", stop)
