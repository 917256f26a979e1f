"""How many tokens a request may take, by its letters: nobody has counted."""

from __future__ import annotations

from llmops_sdk.costs import estimated_tokens
from llmops_sdk.messages import Request, Usage

__all__ = ["fewest_tokens", "likely_usage"]

_LIKELY_ANSWER = 256


def fewest_tokens(request: Request) -> int:
    """Tokens that the messages of `request` have at the least: one for each word.

    Byte-pair and sentence-piece vocabularies cut a text at its spaces first, so no token holds two words. Text without
    spaces counts for next to nothing here.
    """
    return sum(len(message.text.split()) for message in request.messages)


def likely_usage(request: Request) -> Usage:
    """About what `request` takes, with `max_tokens` or 256 for each answer; good for comparing prices only."""
    return Usage(
        input_tokens=estimated_tokens(request),
        output_tokens=(request.max_tokens or _LIKELY_ANSWER) * request.n,
    )
