"""`Tokens`: how many tokens a text may have, with whatever counts them."""

from __future__ import annotations

from typing import Literal, Unpack

from llmops_sdk.costs import likely_text_tokens
from llmops_sdk.errors import ConfigurationError
from llmops_sdk.guards._guard import Guard, GuardOptions
from llmops_sdk.protocols import GuardContext
from llmops_sdk.tokens import TokenCounter, counter_of
from llmops_sdk.verdicts import ALLOW, Finding, Surface, Verdict

__all__ = ["Tokens"]


class Tokens(Guard):
    """Limits the number of tokens of a text.

    Nothing is ever downloaded. Without a `counter` it is tiktoken's `o200k_base` or `cl100k_base`, if tiktoken is
    installed and the vocabulary is in its cache; else an estimate, a token for four bytes of UTF-8, and the reason of
    the verdict says so. The estimate is about right for English, and off by half and more for other scripts and code.
    Counts of parts do not add up to the count of the whole, so in a stream the whole text is awaited.

    Names and arguments of tool calls, and reasoning, may be of any length: they are not read (`waived`).

    Args:
        most: The most tokens that are right.
        least: The least.
        counter: What counts: a function from a text to a number; an object with `encode`, such as a tokenizer of
            tokenizers, transformers or tiktoken; the path of a `tokenizer.json`; the name of a tiktoken encoding; or
            `"estimate"`.
        action: `"block"` (the default) or `"flag"`.
        options: See `GuardOptions`.

    Raises:
        ConfigurationError: There is no limit, the limits exclude every text, or the counter counts nothing.
        MissingDependencyError: The counter needs a library that is not installed.

    Example:
        >>> Tokens(most=3, counter="estimate").check("a dozen characters and more").reason
        'about 7 tokens (an estimate: bytes / 4), more than 3'
    """

    waived: frozenset[Surface] = frozenset({"tool_calls", "reasoning"})

    def __init__(
        self,
        *,
        most: int | None = None,
        least: int | None = None,
        counter: TokenCounter = None,
        action: Literal["block", "flag"] = "block",
        **options: Unpack[GuardOptions],
    ) -> None:
        super().__init__(**options)
        if action not in ("block", "flag"):
            raise ConfigurationError(f'action={action!r} is neither "block" nor "flag"; use Length to cut a text')
        if most is None and least is None:
            raise ConfigurationError("give a limit: Tokens(most=...), Tokens(least=...), or both")
        if (most is not None and most < 0) or (least or 0) < 0 or (most is not None and (least or 0) > most):
            raise ConfigurationError(f"no text has at least {least} and at most {most} tokens")
        self.most = most
        self.least = least or 0
        self.action = action
        counts = counter_of(counter, estimate=likely_text_tokens)
        self._count, self.counts_with = counts.fresh, counts.name
        self.estimates = not counts.exact
        self.blocking = not self.estimates

    def check(self, text: str, context: GuardContext | None = None, /) -> Verdict:
        """Decide about the whole text."""
        amount = self._count(text)
        said = f"about {amount} tokens (an estimate: bytes / 4)" if self.estimates else f"{amount} tokens"
        if self.most is not None and amount > self.most:
            return self._found("too_long", text, f"{said}, more than {self.most}")
        if amount < self.least:
            return self._found("too_short", text, f"{said}, fewer than {self.least}")
        return ALLOW

    def _found(self, kind: str, text: str, reason: str) -> Verdict:
        finding = Finding(kind=kind, start=0, end=len(text), score=0.5 if self.estimates else 1.0, rule="tokens")
        return Verdict(action=self.action, findings=(finding,), reason=reason)
