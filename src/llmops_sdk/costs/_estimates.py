"""How many tokens something will be, before anybody has counted them.

There are two estimates, since too many and too few do not cost the same. What has to have room (a budget, a limit for
each minute, a prompt that is fitted) is estimated rather too high: too few, and the provider refuses the request. A
limit of what callers may send (`guards.Tokens`) is held against what is likely: too many, and it refuses what is right.
"""

from __future__ import annotations

import math

from llmops_sdk.messages import ImagePart, Request, TextPart

__all__ = ["TOKENS_PER_IMAGE", "estimated_text_tokens", "estimated_tokens", "likely_text_tokens"]

TOKENS_PER_IMAGE = 1_600
"""Of a full-size image with Claude; with others it is less unless it is huge."""

_BYTES_PER_TOKEN = 3
_LIKELY_BYTES_PER_TOKEN = 4
_PER_MESSAGE = 4  # the role and the marks around a message


def estimated_tokens(request: Request, /) -> int:
    """Tokens of input that `request` will be, rather too many than too few.

    A token for every three bytes of UTF-8, which is a third more than English text takes (about four characters a
    token), and a token for a Chinese character; four for each message, 1,600 for each image. Dense code and
    digits take a little more than that, random letters, such as keys in base64, up to twice as much. It costs a
    microsecond or so: nothing is encoded that is ASCII.

    Example:
        >>> estimated_tokens(Request.of("Where is my parcel?"))
        11
    """
    tokens = 0
    for message in request.messages:
        content = message.content
        if isinstance(content, str):
            tokens += _PER_MESSAGE + estimated_text_tokens(content)
        else:
            tokens += _PER_MESSAGE
            for part in content:
                if isinstance(part, TextPart):
                    tokens += estimated_text_tokens(part.text)
                elif isinstance(part, ImagePart):
                    tokens += TOKENS_PER_IMAGE
        for call in message.tool_calls:
            tokens += _PER_MESSAGE + estimated_text_tokens(call.name) + estimated_text_tokens(call.arguments)
    if request.tools:
        tokens += estimated_text_tokens(repr(request.tools))
    if request.response_schema is not None:
        tokens += estimated_text_tokens(repr(request.response_schema))
    return tokens


def estimated_text_tokens(text: str, /) -> int:
    """Tokens that `text` will be, as `estimated_tokens` counts them."""
    return math.ceil(_size(text) / _BYTES_PER_TOKEN)


def likely_text_tokens(text: str, /) -> int:
    """Tokens that `text` will be if it is English: one for four bytes of UTF-8. Other scripts and code take more."""
    return math.ceil(_size(text) / _LIKELY_BYTES_PER_TOKEN)


def _size(text: str) -> int:
    return len(text) if text.isascii() else len(text.encode("utf-8", "surrogatepass"))
