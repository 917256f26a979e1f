"""What is told of the versions of prompts."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from typing import NamedTuple

__all__ = ["PromptLine", "PromptVersion", "listed"]

_MOST_LISTED = 20


class PromptVersion(NamedTuple):
    """A commit that changed a prompt."""

    commit: str
    when: dt.datetime
    who: str
    subject: str
    hash: str | None
    """`Prompt.hash` at this commit; `None` where its file was broken."""


class PromptLine(NamedTuple):
    """A line of a prompt's file, and the commit that brought it."""

    number: int
    """From 1."""
    text: str
    commit: str
    when: dt.datetime
    who: str
    subject: str


def listed(names: Sequence[str]) -> str:
    """Names for an error, the first 20."""
    more = f" and {len(names) - _MOST_LISTED} more" if len(names) > _MOST_LISTED else ""
    return (", ".join(names[:_MOST_LISTED]) or "none") + more
