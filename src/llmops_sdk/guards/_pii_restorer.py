"""Putting true values back where a model has written their placeholders."""

from __future__ import annotations

import json
import urllib.parse
from typing import Any

from llmops_sdk.guards._patterns import PatternGuard, Rule
from llmops_sdk.guards._vault import Vault
from llmops_sdk.protocols import GuardContext

__all__ = ["PLACEHOLDER", "Restorer"]

_LABEL = r"[A-Za-z][A-Za-z0-9]{0,23}(?:\\?_[A-Za-z0-9]{1,23}){0,3}"
_NUMBER = r"[0-9A-Fa-f]{1,64}"
_NUMBERED = rf"{_LABEL}(?:\\?_{_NUMBER}|[ \-][0-9][0-9A-Fa-f]{{0,63}})"

# What a model may make of a placeholder: another case, other brackets, none, a backslash from Markdown, a space, the
# percent signs of a URL, an ending of its language.
PLACEHOLDER = Rule(
    kind="placeholder",
    pattern=rf"\\\[{_NUMBERED}\\\]|[\[<({{\u3010] ?{_NUMBERED} ?[\]>)}}\u3011]|%5[Bb]{_LABEL}_{_NUMBER}%5[Dd]"
    rf"|[A-Za-z](?<![A-Za-z0-9_].)[A-Za-z0-9]{{0,23}}(?:\\?_[A-Za-z0-9]{{1,23}}){{0,3}}\\?_[0-9A-Fa-f]{{1,64}}"
    r"[a-z]{0,3}(?![0-9A-Za-z_])",
    hint=r"[_ \-][0-9A-Fa-f]",
)


class Restorer(PatternGuard):
    """Writes the values of one vault where their placeholders stand; those that it does not know stay.

    In the arguments of a tool call, which are JSON, values are escaped; between percent signs, percent-encoded.
    """

    name = "pii_restorer"

    def __init__(self, vault: Vault) -> None:
        super().__init__((PLACEHOLDER,))
        self._vault = vault

    def remember(self, context: GuardContext | None, /) -> Any:
        """Whether the text is JSON."""
        return context is not None and context.origin.startswith("tool_call:")

    def replace(self, rule: Rule, text: str, memory: Any, /, *, extends: bool) -> str | None:
        """The value; `None` leaves the text as it is."""
        value = self._vault.reveal(text)
        if value is None:
            return None
        if text.startswith("%"):
            return urllib.parse.quote(value, safe="", errors="surrogatepass")
        return json.dumps(value, ensure_ascii=False)[1:-1] if memory else value
