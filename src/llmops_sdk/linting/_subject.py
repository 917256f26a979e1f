"""A prompt file as the rules see it: its text, its lines, and the prompt in it."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property

from llmops_sdk.prompts import Prompt, Section

__all__ = ["Aims", "Subject"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Aims:
    """What the prompts are for.

    Attributes:
        provider: Whose rules for the order of roles count, as `lint` describes it; `None` checks what holds for all.
        window: Most tokens of a prompt and its answer together; `None` is not checked.
        count: Counts the tokens of a text.
        counts_with: What `count` is, in words; `"estimate"` where it only estimates.
    """

    provider: str | None = None
    window: int | None = None
    count: Callable[[str], int]
    counts_with: str


class Subject:
    """A prompt file that parses.

    Attributes:
        text: The file with plain line ends.
        prompt: What it holds.
        aims: What it is for.
    """

    def __init__(self, text: str, prompt: Prompt, aims: Aims) -> None:
        self.text = text
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

    def matter_line(self, *keys: str) -> int:
        """Line of the front matter on which the last of the nested `keys` stands; 1 where it is not found."""
        at = 1
        for key in keys:
            pattern = re.compile(rf"(?:^|[\s{{,])[\"']?{re.escape(key)}[\"']?\s*:")
            matter = range(at, self.body_from - 1)
            at = next((number for number in matter if pattern.search(self.lines[number - 1])), at)
        return at

    def declared_at(self, variable: str) -> int | None:
        """Line on which a variable is declared; `None` where it is not."""
        # A file that declares some and not all of its variables does not parse.
        has_some = self.matter_line("variables") > 1
        return self.matter_line("variables", variable) if has_some else None

    def section_lines(self, section: Section) -> Iterator[tuple[int, str]]:
        """The lines of a section's text, each with its number in the file."""
        yield from enumerate(section.text.split("\n"), section.line)

    def use_of(self, variable: str) -> tuple[int, int]:
        """Line and column of the first place in the body that names the variable; 1, 1 where it is in a partial."""
        pattern = re.compile(rf"\{{[{{%][^{{}}]*?\b({re.escape(variable)})\b")
        for number, line in enumerate(self.lines[self.body_from - 1 :], self.body_from):
            match = pattern.search(line)
            if match is not None:
                return number, match.start(1) + 1
        return 1, 1

    def place(self, offset: int) -> tuple[int, int]:
        """Line and column of an offset in `text`."""
        line = self.text.count("\n", 0, offset) + 1
        return line, offset - (self.text.rfind("\n", 0, offset) + 1) + 1
