"""A prompt file as the rules see it: its text, the files that it includes, and the prompt in it."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, NamedTuple

from llmops_sdk.prompts import Prompt, Section
from llmops_sdk.tokens import Counter

if TYPE_CHECKING:
    from llmops_sdk.prompts import Use

__all__ = ["Aims", "Line", "Subject"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Aims:
    """What the prompts are for.

    Attributes:
        provider: Whose rules for the order of roles count, as `lint` describes it; `None` checks what holds for all.
        window: Most tokens of a prompt and its answer together; `None` is not checked.
        counter: Counts tokens.
    """

    provider: str | None
    window: int | None
    counter: Counter


class Line(NamedTuple):
    """A line that a model reads: its file (`None`: the prompt's), its number from 1, its text without the line end."""

    path: str | None
    number: int
    text: str


class Subject:
    """A prompt file that parses.

    Attributes:
        path: Where it stands.
        text: The file with plain line ends.
        siblings: Texts of the files that it has read, by where they stand.
        partials: Those of them that are part of its texts, by the name under which it includes them.
        prompt: What it holds.
        aims: What it is for.
    """

    def __init__(
        self,
        path: str,
        text: str,
        *,
        siblings: Mapping[str, str],
        partials: Mapping[str, str],
        prompt: Prompt,
        aims: Aims,
    ) -> None:
        self.path = path
        self.text = text
        self.siblings = siblings
        self.partials = partials
        self.prompt = prompt
        self.aims = aims

    @cached_property
    def lines(self) -> list[str]:
        """The lines of the file."""
        return self.text.split("\n")

    @cached_property
    def body_from(self) -> int:
        """Line of the file on which its body begins."""
        if not re.fullmatch(r"---[ \t]*", self.lines[0]):
            return 1
        return next(at for at, line in enumerate(self.lines[1:], 2) if re.fullmatch(r"---[ \t]*", line)) + 1

    @cached_property
    def uses(self) -> list[Use]:
        """Where variables are used, in order of the lines."""
        return sorted(self.prompt.uses(), key=lambda use: (use.section.line, use.partial or "", use.line))

    def declared_at(self, variable: str) -> int | None:
        """Line on which a variable is declared; `None` where it is not."""
        line = self.prompt.content.variables[variable].line
        return line if line is not None and line < self.body_from else None

    def section_lines(self, section: Section) -> Iterator[Line]:
        """The lines of a section's text."""
        for number, line in enumerate(section.text.split("\n"), section.line):
            yield Line(None, number, line)

    @cached_property
    def spoken_lines(self) -> list[Line]:
        """The lines of all sections, then those of the partials."""
        own = [line for section in self.prompt.sections for line in self.section_lines(section)]
        for path in self.partials.values():
            text = self.siblings[path].removesuffix("\n")
            own += [Line(path, number, line) for number, line in enumerate(text.split("\n"), 1)]
        return own

    def place_of(self, use: Use) -> tuple[int, int]:
        """Line and column, in the prompt's own file, of a use; of the statement that includes it for a partial's."""
        if use.partial is None:
            named = re.compile(rf"(?<![\w.]){re.escape(use.variable)}\b")
            opening = max(self.lines[use.line - 1].find("{"), 0)
            match = named.search(self.lines[use.line - 1], opening)
            return use.line, 1 if match is None else match.start() + 1
        including = re.compile(r"\{%[-+]?\s*(?:include|import|from)\b")
        lines = [line for line in self.section_lines(use.section) if including.search(line.text)]
        named_there = [line for line in lines if use.partial in line.text]
        for line in named_there or lines:
            column = including.search(line.text)
            return line.number, 1 if column is None else column.start() + 1
        return use.section.line, 1
