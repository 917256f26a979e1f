"""How many tokens a request may take, by its letters: nobody has counted."""

from __future__ import annotations

from llmops_sdk.messages import Request, Usage

__all__ = ["fewest_tokens", "fewest_usage", "likely_usage"]

_CHARACTERS_PER_TOKEN = 4
_LIKELY_ANSWER = 256


def fewest_tokens(request: Request) -> int:
    """Tokens that the messages of `request` have at the least: one for each word.

    Byte-pair and sentence-piece vocabularies cut a text at its spaces first, so no token holds two words. Text without
    spaces counts for next to nothing here.
    """
    return sum(len(message.text.split()) for message in request.messages)


def fewest_usage(request: Request) -> Usage:
    """What `request` takes at the least, a token for each answer among it."""
    return Usage(input_tokens=fewest_tokens(request), output_tokens=request.n)


def likely_usage(request: Request) -> Usage:
    """About what `request` takes: a token for four characters, and `max_tokens` or 256 for each answer.

    It is good for comparing prices, and not for bills.
    """
    characters = sum(len(message.text) for message in request.messages)
    return Usage(
        input_tokens=characters // _CHARACTERS_PER_TOKEN + 1,
        output_tokens=(request.max_tokens or _LIKELY_ANSWER) * request.n,
    )
