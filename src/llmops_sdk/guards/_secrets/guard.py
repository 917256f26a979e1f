"""`Secrets`: keys, tokens and passwords, by the forms in which services issue them and by the words before them."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, Unpack

from llmops_sdk.errors import ConfigurationError
from llmops_sdk.guards._guard import GuardOptions
from llmops_sdk.guards._patterns.guard import PatternAction, PatternGuard, Rule
from llmops_sdk.guards._secrets.rules import SECRET_RULES

__all__ = ["SECRET_RULES", "Secrets"]

SECRET_KINDS: frozenset[str] = frozenset(rule.kind for rule in SECRET_RULES)


class Secrets(PatternGuard):
    """Takes keys, tokens and passwords out of a text.

    A finding is replaced by `[SECRET:kind]`, for example `[SECRET:github_token]`; of `password = "..."` and of URLs
    only the password is. Texts that only look like secrets pass: UUIDs, hashes, digests, `${API_KEY}`, `<your key>`,
    `sk-...`, `xxxx`. A secret with neither a known form nor a telling name before it is not found.

    Args:
        action: `"rewrite"` (the default), `"block"`, or `"flag"`.
        kinds: Which kinds to look for; all of `SECRET_RULES` unless said otherwise.
        rules: Rules of your own, which come first.
        ignore: Texts and compiled patterns that are no findings.
        options: See `GuardOptions`.

    Example:
        >>> key = "gh" + "p_" + "0123456789abcdefghijABCDEFGHIJ567890"
        >>> Secrets().check(f"use {key} please").text
        'use [SECRET:github_token] please'
    """

    def __init__(
        self,
        *,
        action: PatternAction = "rewrite",
        kinds: Sequence[str] | None = None,
        rules: Sequence[Rule] = (),
        ignore: Sequence[str | re.Pattern[str]] = (),
        **options: Unpack[GuardOptions],
    ) -> None:
        chosen = SECRET_RULES
        if kinds is not None:
            unknown = set(kinds) - SECRET_KINDS
            if unknown or isinstance(kinds, str):
                raise ConfigurationError(
                    f"kinds={kinds!r}: Secrets knows {', '.join(sorted(SECRET_KINDS))}; write a list of some of them"
                )
            chosen = tuple(rule for rule in SECRET_RULES if rule.kind in kinds)
        super().__init__((*rules, *chosen), action=action, ignore=ignore, **options)

    def replace(self, rule: Rule, text: str, memory: Any, /, *, extends: bool) -> str | None:
        """`[SECRET:kind]`, once for findings that overlap."""
        return "" if extends else f"[SECRET:{rule.kind}]"
