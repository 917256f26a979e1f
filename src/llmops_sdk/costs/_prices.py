"""What a model costs: an amount for each class of tokens, and the cost of one answer. Unknown is `None`."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from decimal import Decimal, InvalidOperation
from operator import mul
from typing import Any

from llmops_sdk.errors import ConfigurationError
from llmops_sdk.messages import TokenClasses, Usage
from llmops_sdk.usage import EXACT

__all__ = ["AMOUNTS", "Price", "price_from"]

AMOUNTS = TokenClasses._fields


@dataclass(frozen=True, slots=True, kw_only=True)
class Price:
    """What one model costs, in US dollars per million tokens.

    Amounts are `Decimal`; a float is refused (`0.1` is not a tenth). There is one for each class of `TokenClasses`.

    Attributes:
        input: A token of input that is neither read from a cache nor written to one, and no audio.
        output: A token of output.
        cached_input: A token of input that was read from the provider's cache; `None`: it costs what `input` costs.
        cache_write: A token of input that was written to it; `None`: it costs what `input` costs.
        cache_write_1h: One that is kept there for an hour; `None`: `input` where a write costs that, else not known.
        audio_input: A token of sound; `None`: it costs what `input` costs.
        cached_audio: A token of sound that was read from the cache; `None`: `cached_input` where sound costs what text
            costs, else not known.
        reasoning: A token that the model thought with; `None`: it costs what `output` costs.
        audio_output: A token of sound in the answer; `None`: it costs what `output` costs.
        unknown: Names of classes whose amount nobody knows: an answer with such tokens has no cost.
        up_to_input_tokens: The most tokens of input for which these amounts hold; `None`: for any number.
        beyond: The price of requests with more input than that, for all their tokens; `None`: not known.
        service_tiers: Prices in other tiers than the standard one, by the tier's name: `"batch"`, `"flex"`,
            `"priority"`. An answer from a tier that is not here has no cost.
        as_of: The day on which the price was looked up.
        source: Where it was looked up.

    Example:
        >>> Price(input=Decimal("0.25"), output=Decimal(2)).cost(Usage(input_tokens=1_000, output_tokens=100))
        Decimal('0.00045000')
    """

    input: Decimal
    output: Decimal
    cached_input: Decimal | None = None
    cache_write: Decimal | None = None
    cache_write_1h: Decimal | None = None
    audio_input: Decimal | None = None
    cached_audio: Decimal | None = None
    reasoning: Decimal | None = None
    audio_output: Decimal | None = None
    unknown: tuple[str, ...] = ()
    up_to_input_tokens: int | None = None
    beyond: Price | None = None
    service_tiers: Mapping[str, Price] = field(default_factory=dict, hash=False)
    as_of: dt.date | None = None
    source: str = ""
    _rates: tuple[int, ...] = field(init=False, repr=False, compare=False)
    """Whole multiples of 10 to the power of `_exponent` US dollars a token; 0 where it is not known."""
    _exponent: int = field(init=False, repr=False, compare=False)
    _unknown: tuple[int, ...] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        for name in AMOUNTS:
            given = getattr(self, name)
            if given is not None or name in ("input", "output"):
                object.__setattr__(self, name, _amount(name, given))
        for name in self.unknown:
            if name not in AMOUNTS:
                raise ConfigurationError(f"`unknown` holds {name!r}; the classes are {', '.join(AMOUNTS)}")
        cached = _or(self.cached_input, self.input)
        rates = {
            "input": self.input,
            "cached_input": cached,
            "cache_write": _or(self.cache_write, self.input),
            "cache_write_1h": _or(self.cache_write_1h, self.input if self.cache_write is None else None),
            "audio_input": _or(self.audio_input, self.input),
            "cached_audio": _or(self.cached_audio, cached if self.audio_input is None else None),
            "output": self.output,
            "reasoning": _or(self.reasoning, self.output),
            "audio_output": _or(self.audio_output, self.output),
        }
        known = [_ZERO if name in self.unknown else rates[name] or _ZERO for name in AMOUNTS]
        places = max(-int(rate.as_tuple().exponent) for rate in known)
        # A sum of whole numbers is exact, and costs a fifth of a sum of decimals.
        object.__setattr__(self, "_rates", tuple(int(EXACT.scaleb(rate, places)) for rate in known))
        object.__setattr__(self, "_exponent", -places - 6)
        unknown = (at for at, name in enumerate(AMOUNTS) if name in self.unknown or rates[name] is None)
        object.__setattr__(self, "_unknown", tuple(unknown))

    def cost(self, usage: Usage) -> Decimal | None:
        """US dollars for `usage`, exact.

        The tokens are taken apart into classes, which add up to the totals, and each is paid at its own rate. What is
        charged by the request, the second or the image is not in it.

        Returns:
            `None` where it cannot be known: the usage is an estimate, its parts are more than the whole, it has more
            input than the price holds for, it has tokens of a class or from a tier whose amount is not known, or
            something is charged beside the tokens.
        """
        return None if usage.estimated or usage.also_charged else self.estimate(usage)

    def estimate(self, usage: Usage) -> Decimal | None:
        """US dollars for `usage` as if somebody had counted it; otherwise as `cost`."""
        price: Price | None = self
        if self.up_to_input_tokens is not None or usage.service_tier is not None:
            price = self.at(usage.input_tokens, usage.service_tier)
        classes = usage.classes()
        if price is None or classes is None or (price._unknown and any(classes[at] for at in price._unknown)):
            return None
        return EXACT.scaleb(Decimal(sum(map(mul, classes, price._rates))), price._exponent)

    def at(self, input_tokens: int, service_tier: str | None = None) -> Price | None:
        """The price of requests with this much input in this tier; `None` where it is not known."""
        price: Price | None = self if service_tier is None else self.service_tiers.get(service_tier)
        while price is not None and price.up_to_input_tokens is not None and input_tokens > price.up_to_input_tokens:
            price = price.beyond
        return price

    def most_per_token(self) -> tuple[Decimal, Decimal]:
        """The most that a token of text can cost, in US dollars per million: of input, of output.

        Input may be written to the cache; it may not be kept for an hour, which has to be asked for.
        """
        return max(self.input, self.cache_write or _ZERO), max(self.output, self.reasoning or _ZERO)


_ZERO = Decimal(0)


def _or(amount: Decimal | None, other: Decimal | None) -> Decimal | None:
    return other if amount is None else amount


def _amount(name: str, given: object) -> Decimal:
    if isinstance(given, bool) or not isinstance(given, Decimal | str | int):
        raise ConfigurationError(
            f"`{name}` has to be exact money, not {given!r} ({type(given).__name__}): write Decimal('0.25') or '0.25'"
        )
    try:
        amount = Decimal(given)
    except InvalidOperation:
        raise ConfigurationError(f"`{name}` has to be a number, not {given!r}") from None
    if not amount.is_finite() or amount < 0:
        raise ConfigurationError(f"`{name}` has to be a number >= 0, not {given!r}")
    return amount


_FIELDS = [one.name for one in fields(Price) if one.init]


def price_from(model: str, given: Price | Mapping[str, Any]) -> Price:
    """A price as people write it down: a `Price`, or a mapping of its fields.

    Raises:
        ConfigurationError: It is neither.
    """
    if isinstance(given, Price):
        return given
    if not isinstance(given, Mapping) or not set(given) <= set(_FIELDS) or not {"input", "output"} <= set(given):
        raise ConfigurationError(
            f"the price of {model!r} has to be a `Price`, or a mapping with `input` and `output` (US dollars per "
            f"million tokens) and, if you like, {', '.join(_FIELDS[2:])}; not {given!r}"
        )
    beyond = given.get("beyond")
    tiers: Mapping[str, Any] = given.get("service_tiers") or {}
    price = Price(**{**given, "beyond": None if beyond is None else price_from(model, beyond), "service_tiers": {}})
    if not tiers:
        return price
    return replace(price, service_tiers={name: price_from(model, tier) for name, tier in tiers.items()})
