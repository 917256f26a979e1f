"""Values of attributes that others choose: so many different ones, and no more."""

from __future__ import annotations

from collections.abc import Callable

from llmops_sdk.tracing._text import name_of
from llmops_sdk.tracing.opentelemetry._metrics import names

__all__ = ["Bounded"]


class Bounded:
    """The first `most` values of each attribute pass; every other one becomes `"other"`, and `folded` is told.

    A time series is kept for each value, in this process and in the backend, for ever. So what comes from tags, models
    and answers has to be bounded, or one careless tag (a user's id) fills the memory of both.
    """

    def __init__(self, most: int, folded: Callable[[str], object]) -> None:
        self._most = most
        self._folded = folded
        self._seen: dict[str, set[str]] = {}

    def value(self, attribute: str, given: object) -> str:
        """`given` as the value of `attribute`."""
        seen = self._seen.setdefault(attribute, set())
        value = name_of(str(given))
        if value in seen:
            return value
        if len(seen) >= self._most:
            self._folded(attribute)
            return names.OTHER
        seen.add(value)
        return value
