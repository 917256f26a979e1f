"""Conversations and tools in the form of Anthropic's Messages API.

Wire format: https://platform.claude.com/docs/en/api/messages.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

from llmops_sdk.errors import BadRequestError, UnsupportedError
from llmops_sdk.messages import ImagePart, Message, Part, ToolCall

__all__ = ["conversation", "tool_choice_form", "tool_form"]

_DATA_URL = re.compile(r"data:([^;,]+);base64,", re.IGNORECASE)
_CHOICES = {"auto": "auto", "required": "any", "none": "none"}


def conversation(messages: Sequence[Message]) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """The blocks of the system prompt, and the turns.

    System messages at the beginning are the system prompt; later ones stay where they are. The results of tools are
    blocks of a user's turn, those in a row of one and the same, as the API wants the results of parallel calls.

    Raises:
        BadRequestError: A message holds what this API has no form for.

    Example:
        >>> conversation((Message.system("Be kind."), Message.user("Hello")))
        ([{'type': 'text', 'text': 'Be kind.'}], [{'role': 'user', 'content': 'Hello'}])
    """
    system: list[dict[str, Any]] = []
    turns: list[dict[str, Any]] = []
    results: list[dict[str, Any]] | None = None
    for message in messages:
        if message.role == "tool":
            if results is None:
                results = []
                turns.append({"role": "user", "content": results})
            results.append(_result(message))
            continue
        results = None
        if message.name is not None:
            raise UnsupportedError(
                f"the Messages API has no names of speakers, and this one is {message.name!r}; write it into the text"
            )
        if message.role == "system" and not turns:
            system += _blocks(message.content)
        else:
            turns.append({"role": message.role, "content": _content(message)})
    return system, turns


def tool_form(tool: Mapping[str, Any]) -> dict[str, Any]:
    """A tool definition; one that is not in the OpenAI form (a server tool of Anthropic's) stays as it is.

    Example:
        >>> tool_form({"type": "function", "function": {"name": "now", "parameters": {"type": "object"}}})
        {'name': 'now', 'input_schema': {'type': 'object'}}
    """
    function = tool.get("function")
    if not isinstance(function, Mapping):
        return dict(tool)
    form = {name: function[name] for name in ("name", "description", "strict") if function.get(name) is not None}
    return {**form, "input_schema": function.get("parameters") or {"type": "object", "properties": {}}}


def tool_choice_form(choice: str | Mapping[str, Any]) -> dict[str, Any]:
    """A choice of tools; an object that is not in the OpenAI form stays as it is.

    Raises:
        BadRequestError: There is no such choice.

    Example:
        >>> tool_choice_form("required"), tool_choice_form({"type": "function", "function": {"name": "now"}})
        ({'type': 'any'}, {'type': 'tool', 'name': 'now'})
    """
    if isinstance(choice, str):
        if choice not in _CHOICES:
            raise BadRequestError(
                f"`tool_choice` is {choice!r}; write one of {', '.join(map(repr, _CHOICES))}, or a tool"
            )
        return {"type": _CHOICES[choice]}
    function = choice.get("function")
    return {"type": "tool", "name": function.get("name")} if isinstance(function, Mapping) else dict(choice)


def _content(message: Message) -> str | list[dict[str, Any]]:
    if isinstance(message.content, str) and not message.tool_calls:
        return message.content
    calls = [
        {"type": "tool_use", "id": call.id, "name": call.name, "input": _input(call)} for call in message.tool_calls
    ]
    return _blocks(message.content) + calls


def _blocks(content: str | tuple[Part, ...]) -> list[dict[str, Any]]:
    if isinstance(content, str):
        return [{"type": "text", "text": content}] if content else []  # the API refuses blocks without text
    return [_block(part) for part in content if isinstance(part, ImagePart) or part.text]


def _block(part: Part) -> dict[str, Any]:
    if not isinstance(part, ImagePart):
        return {"type": "text", "text": part.text}
    data = _DATA_URL.match(part.url)
    if data is not None:
        source = {"type": "base64", "media_type": data[1].lower(), "data": part.url[data.end() :]}
    elif part.url.startswith(("https://", "http://")):
        source = {"type": "url", "url": part.url}
    else:
        raise BadRequestError(
            f"an image has the URL {part.url[:40]!r}; write `https://...` or `data:image/png;base64,...`"
        )
    return {"type": "image", "source": source}


def _result(message: Message) -> dict[str, Any]:
    if message.tool_call_id is None:
        raise BadRequestError("a tool message does not say which call it answers; give it its `tool_call_id`")
    content = message.content if isinstance(message.content, str) else _blocks(message.content)
    return {"type": "tool_result", "tool_use_id": message.tool_call_id, "content": content}


def _input(call: ToolCall) -> dict[str, Any]:
    try:
        arguments = json.loads(call.arguments or "{}")
    except (ValueError, RecursionError) as exc:
        raise BadRequestError(f"the arguments of the call {call.id!r} of {call.name!r} are no JSON: {exc}") from exc
    if not isinstance(arguments, dict):
        raise BadRequestError(f"the arguments of the call {call.id!r} of {call.name!r} are no JSON object")
    return arguments
