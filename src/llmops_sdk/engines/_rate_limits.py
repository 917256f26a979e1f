"""What providers' headers say of their own limits."""

from __future__ import annotations

import datetime as dt
import re
import time
from collections.abc import Mapping

from llmops_sdk.messages import RateLimit

__all__ = ["MARK", "rate_limit_in"]

MARK = "ratelimit-"
"""What the names of all these headers hold."""

_SPAN = re.compile(r"(?:(\d+)d)?(?:(\d+)h)?(?:(\d+)m(?!s))?(?:(\d+(?:\.\d+)?)s)?(?:(\d+(?:\.\d+)?)ms)?")
_UNITS_S = (86_400.0, 3_600.0, 60.0, 1.0, 0.001)
_LONGEST_S = 7 * 86_400.0
"""What is said to last longer is not believed."""


def rate_limit_in(headers: Mapping[str, str]) -> RateLimit | None:
    """The limits in the headers of an answer, names in lower case; `None` where they say nothing that can be read.

    OpenAI's form, which most others took over, has spans of time (https://platform.openai.com/docs/guides/rate-limits):
    `x-ratelimit-remaining-tokens`, `x-ratelimit-reset-tokens: 6m0s`. Anthropic's has moments by RFC 3339
    (https://docs.claude.com/en/api/rate-limits): `anthropic-ratelimit-tokens-remaining`, `...-reset`.

    Example:
        >>> rate_limit_in({"x-ratelimit-remaining-requests": "0", "x-ratelimit-reset-requests": "1m2.5s"}).exhausted_s
        62.5
    """
    found = RateLimit(
        remaining_requests=_count(headers, "requests"),
        remaining_tokens=_count(headers, "tokens"),
        reset_requests_s=_reset(headers, "requests"),
        reset_tokens_s=_reset(headers, "tokens"),
    )
    return None if found == _NOTHING else found


_NOTHING = RateLimit()


def _said(headers: Mapping[str, str], what: str, of: str) -> str | None:
    return headers.get(f"x-ratelimit-{what}-{of}") or headers.get(f"anthropic-ratelimit-{of}-{what}")


def _count(headers: Mapping[str, str], of: str) -> int | None:
    said = _said(headers, "remaining", of)
    try:
        return None if said is None else max(int(float(said)), 0)
    except (ValueError, OverflowError):
        return None


def _reset(headers: Mapping[str, str], of: str) -> float | None:
    said = _said(headers, "reset", of)
    seconds = None if said is None else _seconds(said.strip())
    return seconds if seconds is not None and 0.0 <= seconds <= _LONGEST_S else None


def _seconds(said: str) -> float | None:
    """Seconds from now: of `"1m2.5s"`, of `"12"`, or of a moment."""
    try:
        if said.replace(".", "", 1).isdecimal():
            return float(said)
        span = _SPAN.fullmatch(said)
        if span is not None:
            return sum(float(number) * unit for number, unit in zip(span.groups(), _UNITS_S, strict=True) if number)
        moment = dt.datetime.fromisoformat(said)
        if moment.tzinfo is None:
            moment = moment.replace(tzinfo=dt.UTC)
        return max(moment.timestamp() - time.time(), 0.0)
    except (ValueError, OverflowError):
        return None
