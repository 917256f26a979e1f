"""Ignore lists: what an application knows to be harmless is no finding."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from llmops_sdk.errors import ConfigurationError

__all__ = ["Ignored", "ignored"]


@dataclass(frozen=True, slots=True)
class Ignored:
    """Texts, and patterns of texts, that are no findings. Equal lists are one key of a cache."""

    texts: frozenset[str]
    patterns: tuple[re.Pattern[str], ...]

    def holds(self, found: str) -> bool:
        """Whether `found` is one of the texts, or a pattern matches all of it."""
        return found in self.texts or any(pattern.fullmatch(found) for pattern in self.patterns)


def ignored(entries: Sequence[str | re.Pattern[str]]) -> Ignored | None:
    """The list of `entries`, `None` where it is empty.

    Raises:
        ConfigurationError: It is a single text, or an entry is neither a text nor a compiled pattern of texts.
    """
    if isinstance(entries, str | re.Pattern):
        raise ConfigurationError(f"ignore={entries!r}: write a list of texts and compiled patterns")
    for entry in entries:
        if not isinstance(entry, str) and not (isinstance(entry, re.Pattern) and isinstance(entry.pattern, str)):
            raise ConfigurationError(f"ignore: {entry!r} is neither a text nor a compiled pattern of texts")
    if not entries:
        return None
    texts = frozenset(entry for entry in entries if isinstance(entry, str))
    return Ignored(texts, tuple(entry for entry in entries if isinstance(entry, re.Pattern)))
