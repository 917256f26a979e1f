"""`Regex`: patterns of the application's own."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from typing import Any, Unpack

from llmops_sdk.errors import ConfigurationError
from llmops_sdk.guards._guard import GuardOptions
from llmops_sdk.guards._patterns.guard import PatternAction, PatternGuard, Rule
from llmops_sdk.guards._patterns.prefixes import Unstreamable, read_shape

__all__ = ["Regex"]

# Ways to match at one position up to which a pattern surely takes microseconds, not seconds.
_CHEAP = 10_000
# And up to which some 10,000 characters that are all beginnings take no more than milliseconds.
_QUICK = 64
_LONGEST = 4_096


class Regex(PatternGuard):
    r"""Finds what patterns of your own match.

    Patterns whose repeats all have a limit (`\d{1,12}`, not `\d+`), which look ahead by one character at most and
    refer to no group, are followed in streams, where at most `window` characters are held back. With any other pattern
    `window` is `None`: in a stream the whole text is awaited. Such patterns, and those with so many ways to match
    that `re` might take more than milliseconds over a hostile text, run in a thread (`blocking`). No thread can stop
    `re`, though: do not write patterns such as `(a+)+$`.

    Args:
        patterns: Regular expressions, as texts or compiled (`re.compile(..., re.I)`); or a mapping from the kind that
            findings shall carry to a pattern. Texts are compiled without flags. Matches of no characters do not count.
        action: `"block"` (the default), `"rewrite"`, or `"flag"`.
        replacement: What stands in place of a match when rewriting; used as it is.
        ignore: Texts and compiled patterns that are no findings.
        options: See `GuardOptions`.

    Raises:
        ConfigurationError: There is no pattern, or one is not a regular expression.

    Example:
        >>> Regex([r"ticket-\d{4,8}"], action="rewrite", replacement="[TICKET]").check("see ticket-12345").text
        'see [TICKET]'
    """

    def __init__(
        self,
        patterns: Sequence[str | re.Pattern[str]] | Mapping[str, str | re.Pattern[str]],
        *,
        action: PatternAction = "block",
        replacement: str = "[REMOVED]",
        ignore: Sequence[str | re.Pattern[str]] = (),
        **options: Unpack[GuardOptions],
    ) -> None:
        if isinstance(patterns, str | re.Pattern) or not patterns:
            raise ConfigurationError(f'Regex takes a list of patterns: Regex(["..."]), not {patterns!r}')
        named = patterns.items() if isinstance(patterns, Mapping) else (("regex", pattern) for pattern in patterns)
        rules = tuple(_rule(kind, pattern) for kind, pattern in named)
        super().__init__(rules, action=action, ignore=ignore, **options)
        self._replacement = replacement
        costs = [_cost(rule) for rule in rules]
        self.blocking = sum(costs) > _QUICK
        if max(costs) > _CHEAP:
            self.window = None

    def replace(self, rule: Rule, text: str, memory: Any, /, *, extends: bool) -> str | None:
        """The replacement, once for matches that overlap."""
        return "" if extends else self._replacement


def _rule(kind: str, pattern: str | re.Pattern[str]) -> Rule:
    if isinstance(pattern, re.Pattern):
        if not isinstance(pattern.pattern, str):
            raise ConfigurationError(f"the pattern {pattern.pattern!r} matches bytes; guards read text")
        return Rule(kind=kind, pattern=pattern.pattern, flags=pattern.flags)
    if not isinstance(pattern, str):
        raise ConfigurationError(f"a pattern is a text or a compiled regular expression, not {pattern!r}")
    try:
        flags = re.compile(pattern).flags
    except (re.error, RecursionError, OverflowError) as error:
        raise ConfigurationError(f"not a regular expression: {pattern!r}: {error}") from error
    # Flags within the pattern, such as `(?i)`, have to be known to what is derived from it.
    return Rule(kind=kind, pattern=pattern, flags=flags)


def _cost(rule: Rule) -> float:
    """Ways to match at one position; infinite where that says nothing, as the pattern has no limit."""
    try:
        shape = read_shape(rule.pattern, rule.flags)
    except Unstreamable:
        return math.inf
    return shape.cost if shape.longest is not None and shape.longest <= _LONGEST else math.inf
