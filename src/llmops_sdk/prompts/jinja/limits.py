"""Limits of one rendering: how much work it may do, however its template is written."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextvars import ContextVar
from typing import Final

from llmops_sdk.prompts._variables import Variable

__all__ = ["MAX_DEPTH", "MAX_RANGE", "MAX_STEPS", "LimitError", "Rendering", "metered", "running", "weight_of"]

MAX_STEPS: Final = 1_000_000
"""Most steps of a rendering: a part of the template that is evaluated, an item, or 64 characters that are looked at."""

MAX_RANGE: Final = 100_000
"""Most numbers in one `range(...)`."""

MAX_DEPTH: Final = 50
"""Most calls of macros inside each other."""

_CHARS_A_STEP = 6  # as a shift: 64 characters


class LimitError(Exception):
    """A rendering does too much; the message says what."""


class Rendering:
    """One rendering while it runs.

    Attributes:
        max_chars: Most characters that it may build, at once and at any place.
        variables: What is known of the variables.
        depth: How many calls of macros are open.
    """

    __slots__ = ("_left", "depth", "max_chars", "variables")

    def __init__(self, max_chars: int, variables: Mapping[str, Variable]) -> None:
        self._left = MAX_STEPS
        self.max_chars = max_chars
        self.variables = variables
        self.depth = 0

    def spend(self, steps: int) -> None:
        """Note work before it is done.

        Raises:
            LimitError: It is more than a rendering may do.
        """
        self._left -= steps
        if self._left < 0:
            raise LimitError(f"this takes more than the {MAX_STEPS:,} steps that rendering may take: loop over less")

    def allow(self, chars: int) -> None:
        """Note that a text of so many characters will be built.

        Raises:
            LimitError: It would be too long.
        """
        if chars > self.max_chars:
            raise LimitError(f"this would make {chars:,} characters, more than the {self.max_chars:,} that are allowed")
        self.spend(chars >> _CHARS_A_STEP)


running: ContextVar[Rendering] = ContextVar("llmops_sdk_rendering")
"""The rendering that is under way."""


def weight_of(*values: object) -> int:
    """How many steps it takes to look at the values and at all that is in them; no more than a rendering has, and one.

    Lists within lists that share their parts (`a = [a, a]`, forty times) are as heavy as they would be written out.
    """
    waiting = list(values)
    steps = 0
    while waiting:
        value = waiting.pop()
        steps += 1
        if isinstance(value, str):
            steps += len(value) >> _CHARS_A_STEP
        elif isinstance(value, int):
            steps += value.bit_length() >> _CHARS_A_STEP
        elif isinstance(value, list | tuple | set | frozenset | Mapping):
            steps += len(value)
            if steps <= MAX_STEPS:
                waiting.extend(value)
                if isinstance(value, Mapping):
                    waiting.extend(value.values())
        if steps > MAX_STEPS:
            break
    return steps


def metered(items: Iterable[object], cost: int) -> Iterator[object]:
    """The items, each of which is `cost` steps."""
    spend = running.get().spend
    for item in items:
        spend(cost)
        yield item
