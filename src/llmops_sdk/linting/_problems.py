"""What a linter says: a problem with its place, and the rule that found it."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, NamedTuple, TypeAlias

if TYPE_CHECKING:
    from llmops_sdk.linting._subject import Subject

__all__ = ["Check", "Found", "Problem", "Rule", "Severity"]

Severity: TypeAlias = Literal["error", "warning"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """Something that is wrong with a prompt file, or with a file that it includes.

    Attributes:
        path: The file.
        line: Where it is, from 1.
        column: Where in the line, from 1, in code points.
        code: Code of the rule, `"P102"`.
        message: What is wrong, and what to do.
        severity: `"error"`: it cannot work, or leaks; `"warning"`: it is likely a mistake.
    """

    path: str
    line: int
    column: int = 1
    code: str
    message: str
    severity: Severity = "warning"

    def __str__(self) -> str:
        return f"{self.path}:{self.line}:{self.column}: {self.code} {self.message}"


class Found(NamedTuple):
    """A problem as its rule finds it: line and column from 1, what is wrong, and the file (`None`: the prompt's)."""

    line: int
    column: int
    message: str
    path: str | None = None


Check: TypeAlias = "Callable[[Subject], Iterable[Found]]"


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """One thing that is looked for.

    Attributes:
        code: `"P102"`; the first digit is the group.
        name: In words, `"unused-variable"`.
        severity: Of its problems.
        title: What it finds, in one sentence.
        check: Finds it; `None` for what is found before there is a prompt to check.
    """

    code: str
    name: str
    severity: Severity
    title: str
    check: Check | None = None
