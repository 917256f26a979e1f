"""Where a file stands, for its errors; and how its siblings are read."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple, NoReturn, TypeAlias

from llmops_sdk.errors import PromptError

__all__ = ["Place", "Reader", "no_siblings"]

Reader: TypeAlias = Callable[[str], bytes | None]
"""Gives what the file holds whose path is relative to the folder of the prompts, at the same version; `None`: none.

What a prompt includes (partials, examples) is read by it, so that a commit holds all that a prompt renders from.
"""


def no_siblings(_path: str) -> bytes | None:
    """A `Reader` for a file that stands alone."""
    return None


class Place(NamedTuple):
    """Where a file stands."""

    prompt: str
    where: str
    read: Reader = no_siblings

    def fail(self, line: int, problem: str, *, variable: str | None = None) -> NoReturn:
        """Raise a `PromptError` that begins with `path:line:`."""
        raise PromptError(f"{self.where}:{line}: {problem}", prompt=self.prompt, variable=variable)
