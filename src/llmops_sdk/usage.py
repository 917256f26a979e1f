"""How many tokens an answer took, by what is charged for them, and how many more the provider would take."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from decimal import Context, Decimal
from typing import Any, NamedTuple

__all__ = ["EXACT", "RateLimit", "TokenClasses", "Usage", "total"]

EXACT = Context(prec=60)
"""For sums of money: wide enough that none is rounded, whatever the application's own decimal context is."""


def total(costs: Iterable[Decimal | None]) -> Decimal | None:
    """The sum of costs in US dollars; `None` where one is not known."""
    known = Decimal(0)
    for cost in costs:
        if cost is None:
            return None
        known = EXACT.add(known, cost)
    return known


class TokenClasses(NamedTuple):
    """The tokens of an answer by what is charged for them: each token is in one class. The same names as in `Price`."""

    input: int
    """Neither read from a cache nor written to one, and no audio."""
    cached_input: int
    cache_write: int
    """Written to a cache that keeps it for minutes."""
    cache_write_1h: int
    audio_input: int
    cached_audio: int
    output: int
    """Neither reasoning nor audio."""
    reasoning: int
    audio_output: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    """Tokens as the engine counted them.

    The parts never add to the totals: they are in them. `classes()` takes them apart.

    Attributes:
        input_tokens: All tokens of input, whatever is charged for them.
        output_tokens: All tokens of output, reasoning included.
        cached_input_tokens: Those of the input that were read from the provider's cache.
        cache_write_tokens: Those of the input that were written to it.
        reasoning_tokens: Those of the output that the model thought with.
        cache_write_1h_tokens: Those of `cache_write_tokens` that are kept for an hour.
        audio_input_tokens: Those of the input that are sound, and were not read from the cache.
        cached_audio_tokens: Those of `cached_input_tokens` that are sound.
        audio_output_tokens: Those of the output that are sound.
        estimated: Nobody counted, or what was said contradicts itself (no engine of ours guesses in silence).
        service_tier: The tier that served the answer where that changes the price: `"flex"`, `"priority"`, `"batch"` or
            another name of the provider's own; `None` is the standard tier.
        billed_usd: US dollars that the provider itself says it charges for all of this, as OpenRouter, Perplexity and
            xAI do.
        also_charged: What it charges for beside the tokens, by its own names: `"web_search_requests"`. Prices by the
            token do not tell the cost then.
    """

    input_tokens: int = 0
    output_tokens: int = 0
    cached_input_tokens: int = 0
    cache_write_tokens: int = 0
    reasoning_tokens: int = 0
    estimated: bool = False
    cache_write_1h_tokens: int = 0
    audio_input_tokens: int = 0
    cached_audio_tokens: int = 0
    audio_output_tokens: int = 0
    service_tier: str | None = None
    billed_usd: Decimal | None = None
    also_charged: tuple[str, ...] = ()

    @classmethod
    def from_json(cls, plain: Mapping[str, Any], /) -> Usage:
        """The usage whose fields JSON holds: money as text, a tuple as an array; what has its default may be missing.

        Raises:
            TypeError, ValueError, decimal.InvalidOperation: It is none.
        """
        given = dict(plain)
        if given.get("billed_usd") is not None:
            given["billed_usd"] = Decimal(given["billed_usd"])
        if "also_charged" in given:
            given["also_charged"] = tuple(given["also_charged"])
        return cls(**given)

    @property
    def total_tokens(self) -> int:
        """Input and output together."""
        return self.input_tokens + self.output_tokens

    def classes(self) -> TokenClasses | None:
        """The tokens by what is charged for them; they add up to `total_tokens`.

        Returns:
            `None` where the parts are more than their whole, so that nobody can tell.

        Example:
            >>> Usage(input_tokens=10, cached_input_tokens=6, output_tokens=5, reasoning_tokens=3).classes()
            ... # doctest: +NORMALIZE_WHITESPACE
            TokenClasses(input=4, cached_input=6, cache_write=0, cache_write_1h=0, audio_input=0, cached_audio=0,
                         output=2, reasoning=3, audio_output=0)
        """
        cached, written = self.cached_input_tokens, self.cache_write_tokens
        classes = (
            self.input_tokens - cached - written - self.audio_input_tokens,
            cached - self.cached_audio_tokens,
            written - self.cache_write_1h_tokens,
            self.cache_write_1h_tokens,
            self.audio_input_tokens,
            self.cached_audio_tokens,
            self.output_tokens - self.reasoning_tokens - self.audio_output_tokens,
            self.reasoning_tokens,
            self.audio_output_tokens,
        )
        return TokenClasses._make(classes) if min(classes) >= 0 else None

    def __add__(self, other: Usage) -> Usage:
        return Usage(
            input_tokens=self.input_tokens + other.input_tokens,
            output_tokens=self.output_tokens + other.output_tokens,
            cached_input_tokens=self.cached_input_tokens + other.cached_input_tokens,
            cache_write_tokens=self.cache_write_tokens + other.cache_write_tokens,
            reasoning_tokens=self.reasoning_tokens + other.reasoning_tokens,
            estimated=self.estimated or other.estimated,
            cache_write_1h_tokens=self.cache_write_1h_tokens + other.cache_write_1h_tokens,
            audio_input_tokens=self.audio_input_tokens + other.audio_input_tokens,
            cached_audio_tokens=self.cached_audio_tokens + other.cached_audio_tokens,
            audio_output_tokens=self.audio_output_tokens + other.audio_output_tokens,
            service_tier=self._joint_tier(other),
            billed_usd=self._joint_bill(other),
            also_charged=tuple(dict.fromkeys((*self.also_charged, *other.also_charged))),
        )

    def _joint_tier(self, other: Usage) -> str | None:
        if self.service_tier == other.service_tier or not other.total_tokens:
            return self.service_tier
        return "mixed" if self.total_tokens else other.service_tier

    def _joint_bill(self, other: Usage) -> Decimal | None:
        mine, theirs = self.billed_usd, other.billed_usd
        if mine is None or theirs is None:  # the other half of a sum of which one half is known is not known
            return theirs if self == _NOTHING else mine if other == _NOTHING else None
        return EXACT.add(mine, theirs)


_NOTHING = Usage()


@dataclass(frozen=True, slots=True, kw_only=True)
class RateLimit:
    """What a provider's headers say of its own limits; `None` where they say nothing.

    Attributes:
        remaining_requests: Requests that it would still take.
        remaining_tokens: Tokens that it would still take.
        reset_requests_s: Seconds, from the answer on, until it takes all the requests that it ever takes.
        reset_tokens_s: The same for tokens.
    """

    remaining_requests: int | None = None
    remaining_tokens: int | None = None
    reset_requests_s: float | None = None
    reset_tokens_s: float | None = None

    @property
    def exhausted_s(self) -> float | None:
        """Seconds until a new request makes sense, `None` where one does now, or where nobody said when."""
        resets = [
            reset
            for remaining, reset in (
                (self.remaining_requests, self.reset_requests_s),
                (self.remaining_tokens, self.reset_tokens_s),
            )
            if remaining is not None and remaining <= 0 and reset is not None
        ]
        return max(resets, default=None)
