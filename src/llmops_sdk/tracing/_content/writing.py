"""Texts and messages as they are shown: redacted, without what guards found, cut or stored elsewhere when long.

Their form is that of `gen_ai.input.messages` and `gen_ai.output.messages`: objects with `role` and `parts`.
"""

from __future__ import annotations

import base64
import binascii
import json
import math
import urllib.parse
from collections.abc import Mapping, Sequence
from typing import Any

from llmops_sdk.calls import Call
from llmops_sdk.messages import Choice, Document, ImagePart, Message, Response, TextPart, ToolCall
from llmops_sdk.tracing._content.policy import ContentPolicy
from llmops_sdk.tracing._text import valid
from llmops_sdk.verdicts import Stage

__all__ = ["WITHHELD", "Writing"]

WITHHELD = "[withheld: a guard found something in it]"
_DEEPEST = 20


class Writing:
    """Writes the texts of one run."""

    def __init__(self, call: Call, policy: ContentPolicy) -> None:
        self._call = call
        self._policy = policy
        self._show = policy.show
        self._redact = policy.redactor()
        self._clean: dict[tuple[str, str], str | None] = {}

    def clean(self, text: str, origin: str) -> str | None:
        """`text`, valid, redacted and without what guards found; `None` where it is withheld."""
        key = (text, origin)
        if key not in self._clean:
            stage: Stage = "output" if origin.startswith(("output", "reasoning", "tool_call:")) else "input"
            redacted = text if self._redact is None else self._redact(text, origin, stage)
            self._clean[key] = None if redacted is None else valid(self._call.hidden(redacted))
        return self._clean[key]

    def plain(self, text: str, origin: str) -> str | None:
        """A text that stands alone; `None` where it is withheld."""
        cleaned = self.clean(text, origin)
        return None if cleaned is None else _Allowance(self._policy).take(cleaned)

    def value(self, value: object, origin: str) -> str | None:
        """What a tool gave back: a text, or JSON."""
        if isinstance(value, str):
            return self.plain(value, origin)
        return _Allowance(self._policy).take(self._json(self._leaf(value, origin)))

    def values(self, variables: Mapping[str, Any]) -> str:
        """Variables as JSON text."""
        written = {self._key(key): self._leaf(value, f"variable:{key}") for key, value in variables.items()}
        return _Allowance(self._policy).take(self._json(written))

    @staticmethod
    def _json(value: object) -> str:
        return json.dumps(value, ensure_ascii=False)

    def _key(self, key: object) -> str:
        return self.clean(str(key), "user") or WITHHELD

    def _leaf(self, value: object, origin: str, depth: int = 0) -> Any:
        if isinstance(value, str):
            cleaned = self.clean(value, origin)
            return WITHHELD if cleaned is None else cleaned
        if isinstance(value, float):
            return value if math.isfinite(value) else None
        if value is None or isinstance(value, bool):
            return value
        if isinstance(value, int):  # an account's number may be one
            written = self.clean(str(value), origin)
            return value if written == str(value) else written
        if depth < _DEEPEST:
            if isinstance(value, Mapping):
                return {self._key(key): self._leaf(one, origin, depth + 1) for key, one in value.items()}
            if isinstance(value, list | tuple | set | frozenset):
                return [self._leaf(one, origin, depth + 1) for one in value]
            if isinstance(value, Document):
                return {"id": self._key(value.id), "text": self._leaf(value.text, f"document:{value.id}")}
            if isinstance(value, Message):
                return {"role": value.role, "text": self._leaf(value.text, value.role)}
        return f"<{type(value).__name__}>"  # what its `str` would say nobody knows

    def messages(self, messages: Sequence[Message], *, hidden: bool = False) -> list[dict[str, Any]]:
        """Messages that are sent."""
        if hidden:
            return [{"role": message.role, "parts": [_text(WITHHELD)]} for message in messages]
        left = _Allowance(self._policy)
        return [{"role": message.role, "parts": self._message(message, left)} for message in messages]

    def answers(self, response: Response) -> list[dict[str, Any]]:
        """The choices of an answer."""
        left = _Allowance(self._policy)
        # The conventions deprecate `finish_reason` here; Phoenix drops the whole list without it.
        return [
            {
                "role": "assistant",
                "parts": self._choice(choice, left),
                "finish_reason": choice.finish_reason or "unknown",
            }
            for choice in response.choices
        ]

    def _message(self, message: Message, left: _Allowance) -> list[dict[str, Any]]:
        if message.role == "tool":
            origin = f"tool:{message.name or message.tool_call_id}"
            said = self._part(message.text, origin, left) if "tools" in self._show else _text(WITHHELD)
            response = said["content"] if said["type"] == "text" else said
            return [{"type": "tool_call_response", "id": self._id(message.tool_call_id), "response": response}]
        parts: list[dict[str, Any]] = []
        pieces = (TextPart(text=message.content),) if isinstance(message.content, str) else message.content
        for piece in pieces:
            if isinstance(piece, TextPart):
                if piece.text or not message.tool_calls:
                    parts.append(self._part(piece.text, message.role, left))
            elif "images" in self._show:
                parts.append(self._image(piece))
        return parts + self._tool_calls(message.tool_calls, left)

    def _choice(self, choice: Choice, left: _Allowance) -> list[dict[str, Any]]:
        parts: list[dict[str, Any]] = []
        if choice.reasoning and "reasoning" in self._show:
            parts.append(self._part(choice.reasoning, "reasoning", left, kind="reasoning"))
        if choice.text or not (choice.tool_calls or choice.reasoning):
            parts.append(self._part(choice.text, "output", left))
        return parts + self._tool_calls(choice.tool_calls, left)

    def _part(self, text: str, origin: str, left: _Allowance, *, kind: str = "text") -> dict[str, Any]:
        cleaned = self.clean(text, origin)
        if cleaned is None:
            return _text(WITHHELD, kind)
        uri = self._policy.stored(cleaned)
        if uri is not None:
            return {"type": "uri", "modality": "text", "mime_type": "text/plain", "uri": uri}
        return _text(left.take(cleaned), kind)

    def _image(self, part: ImagePart) -> dict[str, Any]:
        if not part.url.startswith("data:"):
            return {"type": "uri", "modality": "image", "uri": self.plain(part.url, "user") or WITHHELD}
        mime_type = valid(part.url[5:45].partition(",")[0].partition(";")[0])
        uri = None
        if self._redact is None and self._policy.stores:  # guards read texts: nobody could redact an image
            uri = self._policy.stored_bytes(_data_of(part.url))
        if uri is None:
            return {
                "type": "uri",
                "modality": "image",
                "uri": f"{valid(part.url[:40].partition(',')[0])},[{len(part.url)} characters]",
            }
        return {"type": "uri", "modality": "image", "mime_type": mime_type, "uri": uri}

    def _tool_calls(self, calls: Sequence[ToolCall], left: _Allowance) -> list[dict[str, Any]]:
        return [
            {
                "type": "tool_call",
                "id": self._id(call.id),
                "name": self.clean(call.name, "tool_name") or WITHHELD,
                "arguments": self._arguments(call, left),
            }
            for call in calls
        ]

    def _arguments(self, call: ToolCall, left: _Allowance) -> Any:
        cleaned = self.clean(call.arguments, f"tool_call:{call.name}") if "tools" in self._show else None
        if cleaned is None:
            return WITHHELD
        written = left.take(cleaned)
        try:
            arguments = json.loads(written)
        except (ValueError, RecursionError):  # the model wrote no JSON, or it was cut
            return written
        return arguments if isinstance(arguments, dict) else written

    def _id(self, name: str | None) -> str | None:
        return None if name is None else valid(self._call.hidden(name))


class _Allowance:
    """Characters that one list of messages may still hold."""

    __slots__ = ("_policy", "left")

    def __init__(self, policy: ContentPolicy) -> None:
        self._policy = policy
        self.left = policy.max_characters

    def take(self, text: str) -> str:
        taken = text[: self.left]
        self.left -= len(taken)
        more = len(text) - len(taken)
        if not more:
            return taken
        self._policy.count("cut")
        return f"{valid(taken)}… [{more} more characters]"


def _text(content: str, kind: str = "text") -> dict[str, Any]:
    return {"type": kind, "content": content}


def _data_of(url: str) -> bytes:
    head, _, data = url.partition(",")
    if not head.endswith(";base64"):
        return urllib.parse.unquote_to_bytes(data)
    try:
        return base64.b64decode(data)
    except (binascii.Error, ValueError):
        return data.encode("utf-8", "surrogatepass")
