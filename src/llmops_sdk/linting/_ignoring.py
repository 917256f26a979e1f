"""Comments that switch rules off: `llmops: ignore[P102]`.

In the front matter a YAML comment: at the end of a line for that line, on a line of its own for the whole file and what
it includes. In the body, and in a partial, a template comment, `{# llmops: ignore[P202] #}`: at the end of a line for
that line, on a line of its own for the next.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from llmops_sdk.linting._problems import Found, Problem, Rule
from llmops_sdk.linting._subject import Subject

__all__ = ["without_ignored"]

_COMMENT = re.compile(r"(?P<sign>#|\{#)-?\s*llmops:\s*ignore\[(?P<codes>[^\]]*)\]")


class _Ignore(NamedTuple):
    path: str
    line: int
    column: int
    code: str
    about: int | None
    """The line that it is about; `None`: all of the prompt."""

    def covers(self, problem: Problem) -> bool:
        here = self.about is None or (self.path, self.about) == (problem.path, problem.line)
        return here and self.code == problem.code


def without_ignored(
    subject: Subject, problems: Iterable[Problem], rules: dict[str, Rule], looked_for: Iterable[str]
) -> Iterator[Found | Problem]:
    """The problems that no comment switches off, then place and message of each comment that switches off nothing.

    A comment in a partial may be needed by another prompt, so there only unknown codes are said.
    """
    ignores = list(_ignores(subject))
    used: set[_Ignore] = set()
    for problem in problems:
        by = [one for one in ignores if one.covers(problem)]
        used.update(by)
        if not by:
            yield problem
    active = frozenset(looked_for)
    for one in ignores:
        if one.code not in rules:
            message = f"there is no rule {one.code!r}; `llmops lint --list` names them"
            yield Found(one.line, one.column, message, one.path)
        elif one not in used and one.code in active and one.path == subject.path:
            message = f"nothing here is {one.code} ({rules[one.code].name}): delete the comment"
            yield Found(one.line, one.column, message)


def _ignores(subject: Subject) -> Iterator[_Ignore]:
    yield from _ignores_in(subject.path, subject.lines, subject.body_from)
    for path in subject.partials.values():
        yield from _ignores_in(path, subject.siblings[path].split("\n"), 1)


def _ignores_in(path: str, lines: Iterable[str], body_from: int) -> Iterator[_Ignore]:
    for number, line in enumerate(lines, 1):
        in_matter = number < body_from
        for match in _COMMENT.finditer(line):
            if in_matter != (match["sign"] == "#"):
                continue
            own_line = not line[: match.start()].strip()
            about = None if in_matter and own_line else number + 1 if own_line else number
            for code in match["codes"].split(","):
                yield _Ignore(path, number, match.start() + 1, code.strip(), about)
