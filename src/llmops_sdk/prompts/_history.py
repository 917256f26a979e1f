"""The messages of a conversation, as they stand in a prompt: what was said before, by whom nobody vouches for."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import NamedTuple, NoReturn

from llmops_sdk.errors import PromptError
from llmops_sdk.messages import ImagePart, Message, Origin, Part, TextPart, ToolCall

__all__ = ["History", "message_from"]


class History(NamedTuple):
    """The place of a conversation in a prompt.

    Attributes:
        name: The variable that holds the messages.
        trusted: Whether the application vouches for all that was said.
        last: How many messages are taken, from the end; `None` takes all.
        prompt: Name of the prompt, for errors.
    """

    name: str
    trusted: bool
    last: int | None
    prompt: str

    def messages(self, values: Mapping[str, object]) -> Sequence[Message]:
        """The messages for these values of the variables, with the origins of what they say.

        `None` is a conversation that has not begun. Where a limit cuts a tool's answer off from the call that it
        answers, the answer is left out as well: no provider takes it alone.

        Raises:
            PromptError: The value is no list of messages.
        """
        value = values[self.name]
        if value is None:
            return ()
        if not isinstance(value, Sequence) or isinstance(value, str | bytes):
            self._fail(f"got {type(value).__name__}")
        first = 0 if self.last is None else max(0, len(value) - self.last)
        said: list[Message] = []
        for number, one in enumerate(value[first:], first):
            try:
                message = message_from(one)
            except ValueError as exc:
                self._fail(f"number {number} of them {exc}")
            if said or not first or message.role != "tool":
                said.append(self._marked(message))
        return said

    def _marked(self, message: Message) -> Message:
        """The message with its origins; one that has none was all said by somebody else."""
        if message.origins or not message.text:
            return message
        of_tool = message.role == "tool" and (message.name or message.tool_call_id)
        source = f"tool:{of_tool}" if of_tool else f"variable:{self.name}"
        origin = Origin(start=0, end=len(message.text), source=source, trusted=self.trusted)
        return replace(message, origins=(origin,))

    def _fail(self, problem: str) -> NoReturn:
        raise PromptError(
            f"the prompt {self.prompt!r} takes {self.name!r} as a list of messages, and {problem}: write "
            "`Message.user('Hello')`, or mappings such as {'role': 'user', 'content': 'Hello'}",
            prompt=self.prompt,
            variable=self.name,
        )


def message_from(value: object) -> Message:
    """A message from what people have in hand: a `Message`, or a mapping in the form of the OpenAI API.

    Raises:
        ValueError: It is something else; the message says what, as in "number 3 of them has ...".

    Example:
        >>> message_from({"role": "assistant", "content": "Hello"}).role
        'assistant'
    """
    if isinstance(value, Message):
        return value
    if not isinstance(value, Mapping):
        raise ValueError(f"is {type(value).__name__}")
    role = value.get("role")
    if role not in ("system", "user", "assistant", "tool"):
        raise ValueError(f"has the role {role!r}, not system, user, assistant or tool")
    calls = tuple(_tool_calls(value.get("tool_calls") or ()))
    content = value.get("content")
    if isinstance(content, Sequence) and not isinstance(content, str | bytes):
        content = tuple(_part(part) for part in content)
    elif content is None and calls:
        content = ""
    elif not isinstance(content, str):
        raise ValueError(f"has {type(content).__name__} as its content, not a text or a list of parts")
    answers, name = (_text(value, key) for key in ("tool_call_id", "name"))
    return Message(role=role, content=content, tool_calls=calls, tool_call_id=answers, name=name)


def _text(value: Mapping[str, object], key: str) -> str | None:
    text = value.get(key)
    if text is not None and not isinstance(text, str):
        raise ValueError(f"has {type(text).__name__} as its {key!r}, not a text")
    return text


def _part(part: object) -> Part:
    if isinstance(part, TextPart | ImagePart):
        return part
    if isinstance(part, Mapping):
        if part.get("type") == "text" and isinstance(part.get("text"), str):
            return TextPart(text=part["text"])
        image = part.get("image_url")
        if part.get("type") == "image_url" and isinstance(image, Mapping) and isinstance(image.get("url"), str):
            return ImagePart(url=image["url"], detail=image.get("detail"))
    raise ValueError("has a part that is neither {'type': 'text', ...} nor {'type': 'image_url', ...}")


def _tool_calls(calls: object) -> Iterator[ToolCall]:
    if not isinstance(calls, Sequence):
        raise ValueError("has tool calls that are no list")
    for call in calls:
        if isinstance(call, ToolCall):
            yield call
            continue
        function = call.get("function") if isinstance(call, Mapping) else None
        if not isinstance(function, Mapping) or not isinstance(function.get("name"), str):
            raise ValueError("has a tool call without {'id': ..., 'function': {'name': ..., 'arguments': ...}}")
        arguments = function.get("arguments", "{}")
        text = arguments if isinstance(arguments, str) else json.dumps(arguments, ensure_ascii=False)
        yield ToolCall(id=str(call.get("id") or ""), name=function["name"], arguments=text)
