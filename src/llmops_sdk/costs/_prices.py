"""What models cost: a dated table of prices, and the cost of one answer. Nothing is guessed: unknown is `None`."""

from __future__ import annotations

import datetime as dt
import functools
import importlib.resources
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from decimal import Context, Decimal, InvalidOperation
from typing import Any

from llmops_sdk.errors import ConfigurationError
from llmops_sdk.messages import Usage

__all__ = ["Price", "PriceTable", "price_of"]

# Wide enough for any count of tokens at any price of up to 30 decimals: no cost is rounded, whatever the
# application's own decimal context is.
_EXACT = Context(prec=60)

_DATED = re.compile(r"-(\d{4}-\d{2}-\d{2}|\d{8})\Z")
_AMOUNTS = ("input", "output", "cached_input", "cache_write")


@dataclass(frozen=True, slots=True, kw_only=True)
class Price:
    """What one model costs, in US dollars per million tokens.

    Amounts are `Decimal`; a float is refused (`0.1` is not a tenth).

    Attributes:
        input: A token of input that is neither read from a cache nor written to one.
        output: A token of output; reasoning tokens are output.
        cached_input: A token of input that was read from the provider's cache; `None`: it costs what `input` costs.
        cache_write: A token of input that was written to it; `None`: it costs what `input` costs.
        up_to_input_tokens: The most tokens of input for which these amounts hold; `None`: for any number.
        beyond: The price of requests with more input than that, for all their tokens; `None`: not known.
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
    up_to_input_tokens: int | None = None
    beyond: Price | None = None
    as_of: dt.date | None = None
    source: str = ""

    def __post_init__(self) -> None:
        for name in _AMOUNTS:
            given = getattr(self, name)
            if given is not None or name in ("input", "output"):
                object.__setattr__(self, name, _amount(name, given))

    def cost(self, usage: Usage) -> Decimal | None:
        """US dollars for `usage`, exact.

        The tokens are a partition: plain input + cached input + cache writes = `input_tokens`, and each part is paid
        at its own rate; `reasoning_tokens` are a part of `output_tokens` and cost nothing on top.

        Returns:
            `None` where it cannot be known: the usage is an estimate, its parts are more than the whole, or it
            has more input than the price holds for.
        """
        if self.up_to_input_tokens is not None and usage.input_tokens > self.up_to_input_tokens:
            return None if self.beyond is None else self.beyond.cost(usage)
        plain = usage.input_tokens - usage.cached_input_tokens - usage.cache_write_tokens
        if usage.estimated or plain < 0:
            return None
        total = Decimal(0)
        for tokens, amount in (
            (plain, self.input),
            (usage.cached_input_tokens, self.input if self.cached_input is None else self.cached_input),
            (usage.cache_write_tokens, self.input if self.cache_write is None else self.cache_write),
            (usage.output_tokens, self.output),
        ):
            if tokens:
                total = _EXACT.fma(tokens, amount, total)
        return _EXACT.scaleb(total, -6)


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


class PriceTable:
    """Prices by model. Immutable.

    A model is looked up by its exact name, then without the date at its end (`gpt-5-mini-2025-08-07` is `gpt-5-mini`).
    The built-in prices are also found by provider, as `openai/gpt-5-mini`. A model that is not in the table, such as
    one that runs in this process, has no price until the application gives it one.

    Example:
        >>> table = PriceTable.default().with_prices({"my-model": {"input": "0.10", "output": "0.40"}})
        >>> table.cost("my-model", Usage(input_tokens=10, output_tokens=5))
        Decimal('0.00000300')
        >>> table.cost("another-model", Usage(input_tokens=10)) is None
        True
    """

    __slots__ = ("_prices",)

    def __init__(self, prices: Mapping[str, Price | Mapping[str, Any]], /) -> None:
        """A table of `prices`, by model name.

        Args:
            prices: For each model a `Price`, or a mapping of its fields, amounts as `Decimal`, text or integer.

        Raises:
            ConfigurationError: A price is not exact money, or has unknown fields.
        """
        self._prices = {model: _price(model, given) for model, given in prices.items()}

    @staticmethod
    @functools.cache
    def default() -> PriceTable:
        """The built-in table: the main models of the main providers, each price with its day and source.

        It holds the prices of text tokens in the standard tier, and of the five-minute prompt cache. What else
        providers charge (batches, priority, audio, searches) it does not know.
        """
        text = importlib.resources.files("llmops_sdk.costs").joinpath("prices.toml").read_text("utf-8")
        data = tomllib.loads(text, parse_float=Decimal)
        prices: dict[str, Price] = {}
        for provider, models in data["models"].items():
            for model, given in models.items():
                price = replace(_price(model, given), as_of=data["as_of"], source=data["source"])
                prices[model] = prices[f"{provider}/{model}"] = price
        return PriceTable(prices)

    def with_prices(self, prices: Mapping[str, Price | Mapping[str, Any]], /) -> PriceTable:
        """A table that also holds `prices`; they take the place of those with the same name."""
        return PriceTable({**self._prices, **prices})

    def price(self, model: str) -> Price | None:
        """The price of a model, `None` where it is not known."""
        found = self._prices.get(model)
        if found is None and (dated := _DATED.search(model)) is not None:
            found = self._prices.get(model[: dated.start()])
        return found

    def cost(self, model: str, usage: Usage) -> Decimal | None:
        """US dollars for `usage` of `model`, exact; `None` where they are not known."""
        price = self.price(model)
        return None if price is None else price.cost(usage)

    def models(self) -> tuple[str, ...]:
        """Names of the models in the table."""
        return tuple(self._prices)

    def __repr__(self) -> str:
        days = [price.as_of for price in self._prices.values() if price.as_of is not None]
        return f"<PriceTable {len(self._prices)} names{f', as of {min(days)}' if days else ''}>"


def _price(model: str, given: Price | Mapping[str, Any]) -> Price:
    if isinstance(given, Price):
        return given
    known = [field.name for field in fields(Price)]
    if not isinstance(given, Mapping) or not set(given) <= set(known) or not {"input", "output"} <= set(given):
        raise ConfigurationError(
            f"the price of {model!r} has to be a `Price`, or a mapping with `input` and `output` (US dollars per "
            f"million tokens) and, if you like, {', '.join(known[2:])}; not {given!r}"
        )
    beyond = given.get("beyond")
    return Price(**{**given, "beyond": None if beyond is None else _price(model, beyond)})


def price_of(model: str, usage: Usage) -> Decimal | None:
    """US dollars for `usage` of `model` by the built-in table; `None` where they are not known."""
    return PriceTable.default().cost(model, usage)
