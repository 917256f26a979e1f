"""What must never be written to a cassette."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

__all__ = ["SCRUBBED", "scrub_keys", "scrub_value"]

SCRUBBED = "[scrubbed]"

_KEYS = re.compile(
    r"\b(?:"
    r"sk-[A-Za-z0-9_-]{16,}"  # OpenAI, Anthropic and those who copied them
    r"|gh[pousr]_[A-Za-z0-9]{20,}|github_pat_[A-Za-z0-9_]{20,}|glpat-[A-Za-z0-9_-]{16,}"
    r"|(?:AKIA|ASIA)[A-Z0-9]{16}"  # AWS
    r"|AIza[A-Za-z0-9_-]{30,}"  # Google
    r"|xox[abeoprs]-[A-Za-z0-9-]{10,}"  # Slack
    r"|hf_[A-Za-z0-9]{20,}|gsk_[A-Za-z0-9]{20,}|[rs]k_(?:live|test)_[A-Za-z0-9]{16,}"
    r"|eyJ[A-Za-z0-9_-]{8,}\.eyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{8,}"  # JSON web tokens
    r")"
    r"|(?i:\bbearer\s+)[A-Za-z0-9._~+/-]{16,}=*"
    r"|-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(?:-----END [A-Z ]*PRIVATE KEY-----|\Z)",
    re.DOTALL,
)

_SECRET_NAMES = re.compile(
    r"(?i)^(?:(?:extra_|default_|http_)?headers?|cookies?|authorization|(?:proxy|x)-.*authorization"
    r"|.*(?:api[_-]?key|secret|password|credential)s?|(?:.*[_-])?(?:access|auth|refresh|bearer|id|hf)?[_-]?token)$"
)


def scrub_keys(text: str, /) -> str:
    """Replace what looks like a key or a token by `[scrubbed]`.

    Example:
        >>> scrub_keys("use sk" + "-" + "a1" * 12 + ", please")
        'use [scrubbed], please'
    """
    return _KEYS.sub(SCRUBBED, text)


def scrub_value(value: Any, scrub: Callable[[str], str], /) -> Any:
    """Scrub every text in a JSON value; what stands under a name such as `api_key` or `headers` goes as a whole."""
    if isinstance(value, str):
        return scrub(value)
    if isinstance(value, dict):
        return {
            scrub(name): SCRUBBED if _SECRET_NAMES.match(name) and one is not None else scrub_value(one, scrub)
            for name, one in value.items()
        }
    if isinstance(value, list):
        return [scrub_value(one, scrub) for one in value]
    return value
