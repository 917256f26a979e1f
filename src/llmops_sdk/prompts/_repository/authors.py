"""Who makes a commit, as git writes it: `Ada Lovelace <ada@example.org>`."""

from __future__ import annotations

import re

__all__ = ["as_author", "is_author"]

_AUTHOR = re.compile(r"[^<>\n\0]+ <[^<>\n\0]*>")


def is_author(who: str) -> bool:
    """Whether git takes `who` as it is."""
    return _AUTHOR.fullmatch(who) is not None


def as_author(who: str) -> str:
    """`who` as git takes it.

    Example:
        >>> as_author("Ada <ada@example.org>"), as_author("deploy bot")
        ('Ada <ada@example.org>', 'deploy bot <>')
    """
    if is_author(who):
        return who
    return (re.sub(r"[<>\n\0]", " ", who).strip() or "unknown") + " <>"
