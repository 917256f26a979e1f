"""The messages of a prompt: its sections compiled, filled with values, and put together."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import NamedTuple

from llmops_sdk.errors import PromptError
from llmops_sdk.messages import ImagePart, Message, Origin, Part, TextPart
from llmops_sdk.prompts._sections import Section
from llmops_sdk.prompts._templates import Filled, PartialReader, Template, compile_template
from llmops_sdk.prompts._variables import Variable

__all__ = ["CompiledSection", "compile_sections", "fill", "message_of"]

_BETWEEN_SECTIONS = "\n\n"


class CompiledSection(NamedTuple):
    """A section, ready to be filled.

    Attributes:
        section: As written.
        template: Its text, compiled; `None` for a history.
        fixed: The message itself, where it is this section alone and there is no variable in it.
        alone: Whether the message is this section alone.
    """

    section: Section
    template: Template | None
    fixed: Message | None
    alone: bool

    @property
    def variables(self) -> tuple[str, ...]:
        """Names of the variables that it uses."""
        return (self.section.name or "",) if self.template is None else self.template.variables


def compile_sections(
    sections: Sequence[Section],
    variables: Mapping[str, Variable],
    *,
    prompt: str,
    where: str | None,
    partials: PartialReader | None = None,
) -> tuple[CompiledSection, ...]:
    """The sections of the prompt called `prompt`, compiled.

    Raises:
        PromptError: A text is not a template, or a section continues a message that is not there.
    """
    compiled = []
    for number, section in enumerate(sections):
        text, line = section.text, section.line
        if section.kind == "more" and (number == 0 or sections[number - 1].kind == "history"):
            at = f"{where or prompt}:{line}"
            raise PromptError(f"{at}: `[+]` continues a message, and none stands before it", prompt=prompt)
        if section.kind == "history":
            compiled.append(CompiledSection(section, None, None, alone=True))
            continue
        template = compile_template(text, variables=variables, prompt=prompt, where=where, line=line, partials=partials)
        followed = number + 1 < len(sections) and sections[number + 1].kind == "more"
        alone = section.kind == "message" and not followed
        fixed = message_of(section, template.render({})) if alone and not template.variables else None
        compiled.append(CompiledSection(section, template, fixed, alone))
    return tuple(compiled)


def fill(sections: Sequence[CompiledSection], values: Mapping[str, object], prompt: str) -> list[Message]:
    """The messages that the sections make of the values of all their variables."""
    messages: list[Message] = []
    begun: list[Filled] = []  # sections of a message that has several
    for section, template, fixed, alone in sections:
        if fixed is not None:
            messages.append(fixed)
        elif template is None:
            messages += history_of(section.name or "", values[section.name or ""], prompt)
        elif alone:
            messages.append(message_of(section, template.render(values)))
        elif section.kind == "message":
            begun = [template.render(values)]
            messages.append(message_of(section, begun[0]))
        else:
            begun.append(template.render(values))
            messages[-1] = replace(message_of(section, joined(begun)), role=messages[-1].role)
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


def joined(parts: Sequence[Filled]) -> Filled:
    """The texts as one, with a blank line between."""
    position = 0
    texts: list[str] = []
    origins: list[Origin] = []
    images: list[tuple[int, ImagePart]] = []
    for text, of_text, in_text in parts:
        texts.append(text)
        origins += [replace(one, start=one.start + position, end=one.end + position) for one in of_text]
        images += [(at + position, image) for at, image in in_text]
        position += len(text) + len(_BETWEEN_SECTIONS)
    return _BETWEEN_SECTIONS.join(texts), tuple(origins), tuple(images)


def history_of(name: str, value: object, prompt: str) -> Sequence[Message]:
    """The messages of a conversation: `Message` objects, or mappings with `role` and `content`.

    Raises:
        PromptError: It is something else.
    """
    if isinstance(value, Sequence) and not isinstance(value, str):
        try:
            return [_message_from(one) for one in value]
        except (TypeError, ValueError):
            pass
    raise PromptError(
        f"the prompt {prompt!r} takes {name!r} as a list of messages: `Message.user('Hello')`, or mappings such as "
        "{'role': 'user', 'content': 'Hello'}",
        prompt=prompt,
        variable=name,
    )


def _message_from(value: object) -> Message:
    if isinstance(value, Message):
        return value
    if not isinstance(value, Mapping) or not isinstance(value.get("content"), str):
        raise TypeError
    role = value.get("role")
    if role not in ("system", "user", "assistant", "tool"):
        raise ValueError
    return Message(role=role, content=value["content"])
