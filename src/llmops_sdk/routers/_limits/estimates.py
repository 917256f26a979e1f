"""How many tokens a request will take, before anybody has counted them."""

from __future__ import annotations

from llmops_sdk.messages import Request, TextPart, Usage

__all__ = ["Estimates"]

_FIRST_ANSWER = 256
"""Tokens of an answer while an engine has given none."""

_AN_IMAGE = 1_000
_A_MESSAGE = 4
_WEIGHT = 0.05


class Estimates:
    """Estimates by what an engine's answers took so far."""

    __slots__ = ("_answer",)

    def __init__(self) -> None:
        self._answer = float(_FIRST_ANSWER)

    def usage(self, request: Request) -> Usage:
        """Input: a third of its UTF-8 bytes. Output: `max_tokens`, or else the moving mean of answers; times `n`."""
        answer = request.max_tokens or int(self._answer) + 1
        return Usage(input_tokens=_input_tokens(request), output_tokens=answer * request.n)

    def learn(self, usage: Usage, n: int) -> None:
        """An answer has come."""
        self._answer += _WEIGHT * (usage.output_tokens / max(n, 1) - self._answer)


def _input_tokens(request: Request) -> int:
    size = 0
    tokens = 1
    for message in request.messages:
        tokens += _A_MESSAGE
        content = message.content
        if isinstance(content, str):
            size += _bytes(content)
        else:
            for part in content:
                if isinstance(part, TextPart):
                    size += _bytes(part.text)
                else:
                    tokens += _AN_IMAGE
        for tool_call in message.tool_calls:
            size += _bytes(tool_call.arguments)
    if request.tools:
        size += len(str(request.tools))
    if request.response_schema is not None:
        size += len(str(request.response_schema))
    return tokens + size // 3


def _bytes(text: str) -> int:
    return len(text) if text.isascii() else len(text.encode("utf-8", "replace"))
