"""The body of a prompt file, cut into its sections."""

from __future__ import annotations

from collections.abc import Iterator

from llmops_sdk.errors import ConfigurationError
from llmops_sdk.prompts._files.escapes import text_of
from llmops_sdk.prompts._files.place import Place
from llmops_sdk.prompts._sections import Heading, Section, heading_of, is_heading

__all__ = ["sections_of"]

_FIRST = Heading("user", "message")
"""What text before the first heading is."""


def sections_of(lines: list[str], first_line: int, place: Place) -> Iterator[Section]:
    """The sections in the lines of a body, the first of which is line `first_line` of the file.

    Raises:
        PromptError: A heading is wrong, or its section is empty.
    """
    heading, begun = _FIRST, 0  # 0: text before the first heading
    texts: list[str] = []
    from_line = first_line
    role = heading.role
    for number, line in enumerate([*lines, None], first_line):
        if line is not None and not is_heading(line):
            texts.append(line)
            continue
        role = heading.role or role
        text, begins = text_of(texts)
        if heading.kind == "history" and text is not None:
            place.fail(from_line + begins, "`[history]` has no text of its own: begin the next message with `[user]`")
        if text is not None or heading.kind in ("history", "examples"):
            yield Section(role or "user", text or "", from_line + begins, *heading[1:])
        elif begun:
            problem = f"the section `{lines[begun - first_line].strip()}` is empty: write its text, or delete it"
            place.fail(begun, problem)
        if line is not None:
            try:
                heading = heading_of(line)
            except ConfigurationError as exc:
                place.fail(number, str(exc))
            begun, texts, from_line = number, [], number + 1
