"""The messages of a prompt: its compiled sections filled with values, and put together."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import NamedTuple

from llmops_sdk.messages import ImagePart, Message, Part, TextPart
from llmops_sdk.prompts._examples import ShownExamples
from llmops_sdk.prompts._history import History
from llmops_sdk.prompts._sections import Section
from llmops_sdk.prompts._templates import Filled, Template

__all__ = ["CompiledSection", "fill", "message_of"]

_BETWEEN_SECTIONS = "\n\n"


class CompiledSection(NamedTuple):
    """A section, ready to be filled.

    Attributes:
        section: As written.
        template: Its text, compiled.
        fixed: The message itself, where it is this section alone and there is no variable in it.
        alone: Whether the message is this section alone.
        placed: Whatever has messages that stand here, instead of a text.
    """

    section: Section
    template: Template
    fixed: Message | None
    alone: bool
    placed: History | ShownExamples | None = None

    @property
    def variables(self) -> tuple[str, ...]:
        """Names of the variables that it uses."""
        return (self.section.name or "",) if self.section.kind == "history" else self.template.variables


def fill(sections: Sequence[CompiledSection], values: Mapping[str, object]) -> list[Message]:
    """The messages that the sections make of the values of all their variables."""
    messages: list[Message] = []
    begun: Filled = ("", (), ())  # so far, of a message that has several sections
    for section, template, fixed, alone, placed in sections:
        if fixed is not None:
            messages.append(fixed)
        elif placed is not None:
            messages += placed.messages(values)
        elif alone:
            messages.append(message_of(section, template.render(values)))
        elif section.kind == "message":
            begun = template.render(values)
            messages.append(message_of(section, begun))
        else:
            begun = _joined(begun, template.render(values))
            messages[-1] = replace(message_of(section, begun), role=messages[-1].role)
    return messages


def message_of(section: Section, filled: Filled) -> Message:
    """The message of a section, with its images where they belong."""
    text, origins, images = filled
    return Message.rendered(section.role, tuple(_parts(text, images)) if images else text, origins)


def _parts(text: str, images: Sequence[tuple[int, ImagePart]]) -> Iterator[Part]:
    position = 0
    for at, image in images:
        if at > position:
            yield TextPart(text=text[position:at])
        yield image
        position = at
    if position < len(text):
        yield TextPart(text=text[position:])


def _joined(begun: Filled, more: Filled) -> Filled:
    """The texts as one, with a blank line between."""
    text, origins, images = more
    by = len(begun[0]) + len(_BETWEEN_SECTIONS)
    return (
        f"{begun[0]}{_BETWEEN_SECTIONS}{text}",
        (*begun[1], *(replace(one, start=one.start + by, end=one.end + by) for one in origins)),
        (*begun[2], *((at + by, image) for at, image in images)),
    )
