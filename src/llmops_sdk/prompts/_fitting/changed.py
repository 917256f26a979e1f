"""A prompt with some of its sections changed or left out."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import cast

from llmops_sdk.messages import Message, Origin
from llmops_sdk.prompts._fitting.texts import Kept
from llmops_sdk.prompts._history import History
from llmops_sdk.prompts._rendering import CompiledSection
from llmops_sdk.prompts._templates import Filled, Template
from llmops_sdk.prompts._templates.values import documents_in

__all__ = ["Change", "changed_sections"]


@dataclass(slots=True)
class Change:
    """What is done to one section.

    Attributes:
        dropped: It is left out.
        values: Values of its variables instead of those given.
        kept: What is left of texts that were cut, to tell the marks in them from the variables' own text.
        text: What is left of a section without variables.
        messages: What is left of a history, or of examples.
    """

    dropped: bool = False
    values: dict[str, object] = field(default_factory=dict)
    kept: dict[str, Kept] = field(default_factory=dict)
    text: Kept | None = None
    messages: Sequence[Message] | None = None


def changed_sections(compiled: Sequence[CompiledSection], changes: Mapping[int, Change]) -> list[CompiledSection]:
    """The sections, changed; what follows one that was left out begins the message instead."""
    left = [(number, one) for number, one in enumerate(compiled) if not _is_dropped(changes.get(number))]
    of_message = _message_numbers(compiled)
    sections = []
    for place, (number, one) in enumerate(left):
        before = left[place - 1][0] if place else None
        after = left[place + 1][0] if place + 1 < len(left) else None
        section = one.section
        if section.kind == "more" and (before is None or of_message[before] != of_message[number]):
            section = section._replace(kind="message")
        followed = after is not None and of_message[after] == of_message[number]
        one = one._replace(section=section, alone=section.kind != "more" and not followed)  # noqa: PLW2901
        change = changes.get(number)
        if change is not None and one.placed is not None:
            one = one._replace(placed=cast("History", _Messages(change.messages or ())))  # noqa: PLW2901
        elif change is not None:
            one = one._replace(fixed=None, template=cast("Template", _Changed(one.template, change)))  # noqa: PLW2901
        sections.append(one)
    return sections


def _is_dropped(change: Change | None) -> bool:
    return change is not None and change.dropped


def _message_numbers(compiled: Sequence[CompiledSection]) -> list[int]:
    numbers: list[int] = []
    for number, one in enumerate(compiled):
        numbers.append(numbers[-1] if one.section.kind == "more" else number)
    return numbers


class _Messages:
    """Messages in the place of a history or of examples."""

    __slots__ = ("_messages",)

    def __init__(self, messages: Sequence[Message]) -> None:
        self._messages = messages

    def messages(self, values: Mapping[str, object]) -> Sequence[Message]:
        """The messages."""
        return self._messages


class _Changed:
    """A template that renders with other values of some of its variables."""

    __slots__ = ("_change", "_template", "variables")

    def __init__(self, template: Template, change: Change) -> None:
        self._template = template
        self._change = change
        self.variables = template.variables

    def render(self, values: Mapping[str, object]) -> Filled:
        """The text, where it came from, and its images."""
        text, origins, images = self._template.render({**values, **self._change.values})
        if self._change.text is not None:
            return self._change.text.text, origins, images
        return text, tuple(_without_marks(text, origins, self._change)) if self._change.kept else origins, images


def _without_marks(text: str, origins: Sequence[Origin], change: Change) -> Iterator[Origin]:
    """The origins, without the marks of cuts: those are the application's own words."""
    for origin in origins:
        cut = next((one for name, one in change.kept.items() if _is_of(origin, name, change.values[name])), None)
        mark = None if cut is None else cut.mark_in(text[origin.start : origin.end])
        if mark is None:
            yield origin
            continue
        end, start = origin.start + mark[0], origin.start + mark[1]
        if end > origin.start:
            yield replace(origin, end=end)
        if start < origin.end:
            yield replace(origin, start=start)


def _is_of(origin: Origin, name: str, value: object) -> bool:
    """Whether a text came from this variable."""
    kind, _, said = origin.source.partition(":")
    if kind == "document":
        return any(document.id == said for document in documents_in(value) or ())
    return name in said.split(",")
