"""What servers say when they refuse: the numbers in it."""

from __future__ import annotations

import email.utils
import re
import time
from collections.abc import Mapping
from typing import Any

from llmops_sdk.engines._rate_limits import rate_limit_in

__all__ = ["come_back_s", "context_numbers", "retry_after_s"]

_TOO_MANY = 429
_NUMBER = r"([\d,]{1,15})"
_WINDOW = tuple(
    re.compile(pattern, re.IGNORECASE)
    for pattern in (
        rf"maximum (?:context|model) length (?:is|of) {_NUMBER}",  # OpenAI, vLLM, SGLang
        rf"context length \({_NUMBER} tokens\)",  # SGLang
        rf"(?:max_model_len|context (?:size|window|length))\W{{0,3}}(?:is |of )?{_NUMBER}",  # vLLM, llama.cpp
        rf"tokens > {_NUMBER} maximum",  # Anthropic
        rf"tokens exceed the configured limit of {_NUMBER}",  # OpenAI, Responses
    )
)
_TOKENS = tuple(
    re.compile(pattern, re.IGNORECASE)
    for pattern in (
        rf"(?:resulted in|contains|requested(?: a total of)?)(?: at least)? {_NUMBER} (?:input )?tokens",
        rf"\(length {_NUMBER}\)",  # vLLM
        rf"input \({_NUMBER} tokens\)",  # SGLang
        rf"too long: {_NUMBER} tokens",  # Anthropic
        rf"request \({_NUMBER} tokens\)",  # llama.cpp
    )
)


def context_numbers(message: str, said: Mapping[str, Any]) -> tuple[int | None, int | None]:
    """How many tokens were too many, and for what window, in a server's own words.

    Args:
        message: The message.
        said: The whole error; llama.cpp puts the numbers beside the message.

    Example:
        >>> context_numbers("This model's maximum context length is 2048 tokens. However, your prompt contains "
        ...                 "3005 input tokens.", {})
        (3005, 2048)
    """
    tokens, window = said.get("n_prompt_tokens"), said.get("n_ctx")
    if not isinstance(tokens, int):
        tokens = _first(_TOKENS, message)
    if not isinstance(window, int):
        window = _first(_WINDOW, message)
    return tokens, window


def _first(patterns: tuple[re.Pattern[str], ...], message: str) -> int | None:
    for pattern in patterns:
        if (found := pattern.search(message)) is not None and (digits := found[1].replace(",", "")):
            return int(digits)
    return None


def retry_after_s(headers: Mapping[str, str]) -> float | None:
    """`Retry-After` in seconds or as a date (RFC 9110, section 10.2.3), or OpenAI's `retry-after-ms`."""
    try:
        if "retry-after-ms" in headers:
            return max(0.0, float(headers["retry-after-ms"]) / 1000)
        value = headers.get("retry-after")
        if value is None:
            return None
        if value.replace(".", "", 1).isdigit():
            return float(value)
        moment = email.utils.parsedate_to_datetime(value)
        return max(0.0, moment.timestamp() - time.time())
    except (ValueError, OverflowError):
        return None


def come_back_s(headers: Mapping[str, str], status: int | None) -> float | None:
    """In how many seconds to come back: as `Retry-After` says, or else as long as a limit that was hit is exhausted."""
    said = retry_after_s(headers)
    if said is None and status == _TOO_MANY and (limit := rate_limit_in(headers)) is not None:
        return limit.exhausted_s
    return said
