"""How many tokens a request will take, before anybody has counted them."""

from __future__ import annotations

from llmops_sdk.costs import estimated_tokens
from llmops_sdk.messages import Request, Usage

__all__ = ["Estimates"]

_FIRST_ANSWER = 256
"""Tokens of an answer while an engine has given none."""

_WEIGHT = 0.05


class Estimates:
    """Estimates by what an engine's answers took so far."""

    __slots__ = ("_answer",)

    def __init__(self) -> None:
        self._answer = float(_FIRST_ANSWER)

    def usage(self, request: Request) -> Usage:
        """Input: see `estimated_tokens`. Output: `max_tokens`, or else the moving mean of answers; times `n`."""
        answer = request.max_tokens or int(self._answer) + 1
        return Usage(input_tokens=estimated_tokens(request), output_tokens=answer * request.n)

    def learn(self, usage: Usage, n: int) -> None:
        """An answer has come."""
        self._answer += _WEIGHT * (usage.output_tokens / max(n, 1) - self._answer)
