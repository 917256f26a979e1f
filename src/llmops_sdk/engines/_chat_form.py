"""Messages in the form of the OpenAI API, which endpoints and chat templates read alike."""

from __future__ import annotations

from typing import Any

from llmops_sdk.messages import ImagePart, Message, Part

__all__ = ["chat_messages"]


def chat_messages(messages: tuple[Message, ...]) -> list[dict[str, Any]]:
    """The conversation in the OpenAI form, which endpoints and vLLM's renderer read.

    Example:
        >>> chat_messages((Message.user("Hello"),))
        [{'role': 'user', 'content': 'Hello'}]
    """
    return [_chat_message(message) for message in messages]


def _chat_message(message: Message) -> dict[str, Any]:
    content = message.content if isinstance(message.content, str) else [_chat_part(part) for part in message.content]
    chat: dict[str, Any] = {"role": message.role, "content": content}
    if message.tool_calls:
        chat["tool_calls"] = [
            {"id": call.id, "type": "function", "function": {"name": call.name, "arguments": call.arguments}}
            for call in message.tool_calls
        ]
    if message.tool_call_id is not None:
        chat["tool_call_id"] = message.tool_call_id
    if message.name is not None:
        chat["name"] = message.name
    return chat


def _chat_part(part: Part) -> dict[str, Any]:
    if isinstance(part, ImagePart):
        image = {"url": part.url} if part.detail is None else {"url": part.url, "detail": part.detail}
        return {"type": "image_url", "image_url": image}
    return {"type": "text", "text": part.text}
