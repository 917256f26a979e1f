"""One line of a ledger: sums that grow with every attempt, and the record of them that people get."""

from __future__ import annotations

from dataclasses import dataclass, fields
from decimal import Decimal
from typing import Any, Literal

from llmops_sdk.messages import Usage
from llmops_sdk.usage import EXACT

__all__ = ["LedgerRow", "Sums"]


@dataclass(frozen=True, slots=True, kw_only=True)
class LedgerRow:
    """Sums of attempts.

    Attributes:
        name: What they have in common: an engine, a model, a prompt, a value of a tag.
        calls: Attempts.
        failed: Those among them that gave no whole answer.
        unpriced: Those that took tokens, or may have, without anybody knowing what they cost.
        estimated: Those among `unpriced` that are in `estimated_usd`.
        input_tokens: As in `Usage`, like the other counts of tokens: parts are in the totals. Sound that was read from
            the cache is both in `cached_input_tokens` and in `audio_input_tokens`.
        cost_usd: US dollars of all that is known, exact.
        estimated_usd: US dollars, estimated, of answers that were cut off or came without a count, such as the slower
            one of two that were asked beside each other. Not part of `cost_usd`.
    """

    name: str
    calls: int
    failed: int
    unpriced: int
    estimated: int
    input_tokens: int
    output_tokens: int
    cached_input_tokens: int
    cache_write_tokens: int
    reasoning_tokens: int
    audio_input_tokens: int
    audio_output_tokens: int
    cost_usd: Decimal
    estimated_usd: Decimal


_COUNTS = tuple(one.name for one in fields(LedgerRow))[1:-2]


class Sums:
    """A `LedgerRow` that grows."""

    __slots__ = (*_COUNTS, "cost_usd", "estimated_usd")
    calls: int
    failed: int
    unpriced: int
    estimated: int
    input_tokens: int
    output_tokens: int
    cached_input_tokens: int
    cache_write_tokens: int
    reasoning_tokens: int
    audio_input_tokens: int
    audio_output_tokens: int

    def __init__(self) -> None:
        for name in _COUNTS:
            setattr(self, name, 0)
        self.cost_usd = self.estimated_usd = Decimal(0)

    def add(
        self,
        usage: Usage | None,
        cost_usd: Decimal | None,
        failed: bool,
        unpriced: bool,
        estimated_usd: Decimal | None,
    ) -> None:
        """Count an attempt."""
        self.calls += 1
        if cost_usd is not None:
            self.cost_usd = EXACT.add(self.cost_usd, cost_usd)
        if failed:
            self.failed += 1
        if unpriced:
            self.unpriced += 1
        if estimated_usd is not None:
            self.estimated += 1
            self.estimated_usd = EXACT.add(self.estimated_usd, estimated_usd)
        if usage is None:
            return
        self.input_tokens += usage.input_tokens
        self.output_tokens += usage.output_tokens
        if usage.cached_input_tokens:
            self.cached_input_tokens += usage.cached_input_tokens
        if usage.cache_write_tokens:
            self.cache_write_tokens += usage.cache_write_tokens
        if usage.reasoning_tokens:
            self.reasoning_tokens += usage.reasoning_tokens
        if usage.audio_input_tokens or usage.cached_audio_tokens:
            self.audio_input_tokens += usage.audio_input_tokens + usage.cached_audio_tokens
        if usage.audio_output_tokens:
            self.audio_output_tokens += usage.audio_output_tokens

    def merge(self, other: Sums, *, sign: Literal[1, -1] = 1) -> None:
        """Add other sums, or take them away."""
        for name in _COUNTS:
            setattr(self, name, getattr(self, name) + sign * getattr(other, name))
        self.cost_usd = EXACT.fma(other.cost_usd, sign, self.cost_usd)
        self.estimated_usd = EXACT.fma(other.estimated_usd, sign, self.estimated_usd)

    def copy(self) -> Sums:
        """The same sums, which no longer grow with these."""
        copied = Sums()
        copied.merge(self)
        return copied

    def as_dict(self) -> dict[str, Any]:
        """The sums by the names of `LedgerRow`."""
        return {name: getattr(self, name) for name in self.__slots__}

    def row(self, name: str) -> LedgerRow:
        """The sums as they are now."""
        return LedgerRow(name=name, **self.as_dict())
