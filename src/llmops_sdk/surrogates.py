"""Lone surrogates: Python's texts can hold them, and nothing outside of it can."""

from __future__ import annotations

__all__ = ["valid"]


def valid(text: str) -> str:
    """`text` without lone surrogates, which nothing can encode; a pair of them becomes its character.

    Example:
        >>> valid("a" + chr(0xD800) + "b") == "a" + chr(0xFFFD) + "b"
        True
    """
    if text.isascii():
        return text
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
    return text
