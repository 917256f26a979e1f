"""What can be read in a prompt without rendering it: where variables are used, and what is always said."""

from __future__ import annotations

import importlib
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import NamedTuple

from llmops_sdk.messages import Message
from llmops_sdk.prompts._content import PromptContent
from llmops_sdk.prompts._examples import ShownExamples
from llmops_sdk.prompts._rendering.filling import CompiledSection
from llmops_sdk.prompts._sections import Section
from llmops_sdk.prompts._templates import openings_of, reader_of

__all__ = ["Use", "least_messages", "uses_of"]


class Use(NamedTuple):
    """One place at which a template names a variable.

    Attributes:
        variable: Its name.
        section: The section.
        partial: Path of the partial that it stands in; `None` for the section's own text.
        line: Line of the prompt's file, or of the partial.
        shown: Whether text of it may come out there, whatever it went through; else it only decides something.
    """

    variable: str
    section: Section
    partial: str | None
    line: int
    shown: bool


def uses_of(sections: Sequence[CompiledSection]) -> Iterator[Use]:
    """Each use of a variable in the sections, in order; once for a line."""
    for section, template, *_ in sections:
        if section.kind == "history":
            yield Use(section.name or "", section, None, section.line, shown=True)
        for name, partial, line, shown in template.uses():
            yield Use(name, section, partial, line + (section.line - 1 if partial is None else 0), shown)


def least_messages(sections: Sequence[CompiledSection], content: PromptContent) -> list[Message]:
    """Messages of the words that are in every request.

    A section with a priority may be left out when a prompt is fitted, and a conversation may be empty.
    """
    messages: list[Message] = []
    begun = False  # whether the last message is that of the section before
    for section, _, fixed, _, placed in sections:
        if section.priority is not None or section.kind == "history":
            begun = begun and section.kind == "more"
        elif isinstance(placed, ShownExamples):
            messages += placed.shortest
            begun = False
        else:
            message = fixed or Message(role=section.role, content=_least_text(section.text, content))
            if section.kind == "more" and begun:
                message = replace(message, content=f"{messages.pop().text}\n\n{message.text}")
            messages.append(message)
            begun = True
    return messages


def _least_text(text: str, content: PromptContent) -> str:
    openings = list(openings_of(text, content.variables))
    if all(one.path is not None for one in openings):
        begins = [0, *(one.end for one in openings)]
        return "".join(text[a:b] for a, b in zip(begins, [*(one.at for one in openings), len(text)], strict=True))
    jinja = importlib.import_module("llmops_sdk.prompts.jinja")  # by name: it imports a third-party library
    least: str = jinja.least_text(text, content.variables, reader_of(content.partials))
    return least
