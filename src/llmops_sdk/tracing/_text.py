"""Texts that can leave the process: valid Unicode, of bounded length, without control characters where people read."""

from __future__ import annotations

import functools

from llmops_sdk.surrogates import valid

__all__ = ["MOST_CHARACTERS", "name_of", "printable", "shortened", "valid"]

MOST_CHARACTERS = 256
"""Of a name or a reason in an attribute."""


def shortened(text: str, most: int) -> str:
    """`text`, valid, with at most `most` characters."""
    return valid(text if len(text) <= most else text[: most - 1] + "…")


def printable(text: str, most: int = 80) -> str:
    """`text` for one line of a terminal: control characters (line ends, escape codes, surrogates) become U+FFFD."""
    text = shortened(text, most)
    return text if text.isprintable() else "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in text)


@functools.lru_cache(maxsize=1024)
def name_of(text: str) -> str:
    """A name of something, as an attribute may hold it. The same few come again in every run."""
    return shortened(text, MOST_CHARACTERS)
