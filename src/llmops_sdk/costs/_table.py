"""Prices by model: the application's own, those of an installed LiteLLM, and a small dated table of the main models."""

from __future__ import annotations

import functools
import importlib.resources
import re
import threading
import tomllib
from collections.abc import Mapping
from dataclasses import replace
from decimal import Decimal
from typing import Any

from llmops_sdk.costs._litellm_file import PROVIDERS, LiteLLMFile
from llmops_sdk.costs._prices import Price, price_from
from llmops_sdk.messages import Usage

__all__ = ["BuiltIn", "PriceTable", "price_of"]

_DATED = re.compile(r"-(\d{4}-\d{2}-\d{2}|\d{8})\Z")
_ANYBODY = frozenset({"custom", "scripted"})  # engines that do not say who bills
_NOBODY = frozenset({"in_process", "openai_compatible", "tensorrt_llm", "vllm"})  # at home, or at an unknown host
_MOST_REMEMBERED = 10_000


class BuiltIn:
    """The prices that come with the library, or with LiteLLM where that is installed, which knows many more.

    Args:
        litellm: LiteLLM's prices; what they do not have is taken from the small table.
    """

    def __init__(self, litellm: LiteLLMFile | None) -> None:
        self._litellm = litellm
        text = importlib.resources.files("llmops_sdk.costs").joinpath("prices.toml").read_text("utf-8")
        data = tomllib.loads(text, parse_float=Decimal)
        self._small: dict[tuple[str | None, str], Price] = {}
        self.dated = f"{data['as_of']}" + (f", {litellm.source}" if litellm is not None else "")
        """The day of the small table, and LiteLLM's version."""
        for provider, models in data["models"].items():
            for model, given in models.items():
                price = replace(price_from(model, given), as_of=data["as_of"], source=data["source"])
                self._small[provider, model] = self._small[None, model] = price

    @staticmethod
    @functools.cache
    def loaded() -> BuiltIn:
        """Those of this environment, read once, when a price is first asked for."""
        return BuiltIn(LiteLLMFile.installed())

    def price(self, provider: str | None, model: str) -> Price | None:
        """The price of `model` at `provider`. Without a provider the name has to say it, or be nobody else's."""
        if provider is None:
            found = self._exact(None, model)
            head, slash, rest = model.partition("/")
            return found if found is not None or not slash else self._named(head, rest)
        return self._named(provider, model.removeprefix(f"{provider}/"))

    def _named(self, provider: str, model: str) -> Price | None:
        if provider == "bedrock":
            model = model.removeprefix("converse/").removeprefix("invoke/")
        if model.startswith("ft:"):  # ft:gpt-4o-mini-2024-07-18:organisation:name:id
            model = ":".join(model.split(":")[:2])
        return self._exact(provider, model)

    def _exact(self, provider: str | None, model: str) -> Price | None:
        found = self._litellm.price(provider, model) if self._litellm is not None else None
        return found if found is not None else self._small.get((provider, model))

    def models(self) -> tuple[str, ...]:
        """Names of all models that may have a price."""
        small = [f"{provider}/{model}" if provider else model for provider, model in self._small]
        return tuple(dict.fromkeys([*small, *(self._litellm.models() if self._litellm is not None else ())]))


class PriceTable:
    """Prices by model. Immutable.

    A model is looked up by the name by which it answered, then by the name by which it was asked for; by its exact
    name, then without the date at its end (`gpt-5-mini-2025-08-07` is `gpt-5-mini`). Prices that the application gives
    come first, whoever the provider is. The built-in ones belong to a provider: the same open model costs something
    else elsewhere. Without a provider they are found as `openai/gpt-5-mini`, or by a name that only one provider has.
    A model that runs in this process, or at an endpoint of which only the address is known, has no price until the
    application gives it one.

    Example:
        >>> table = PriceTable.default().with_prices({"my-model": {"input": "0.10", "output": "0.40"}})
        >>> table.cost("my-model", Usage(input_tokens=10, output_tokens=5))
        Decimal('0.00000300')
        >>> table.cost("another-model", Usage(input_tokens=10)) is None
        True
    """

    __slots__ = ("_built_in", "_found", "_own")

    def __init__(self, prices: Mapping[str, Price | Mapping[str, Any]], /) -> None:
        """A table of `prices`, by model name.

        Args:
            prices: For each model a `Price`, or a mapping of its fields, amounts as `Decimal`, text or integer.

        Raises:
            ConfigurationError: A price is not exact money, or has unknown fields.
        """
        self._own = {model: price_from(model, given) for model, given in prices.items()}
        self._built_in = False
        self._found: dict[tuple[str | None, str | None, str | None], Price | None] = {}

    @staticmethod
    @functools.cache
    def default() -> PriceTable:
        """The built-in table: LiteLLM's own where LiteLLM is installed, and a small one of the main models.

        Each price says its source and, if that has one, its day. The small table holds the prices of the standard tier
        only. The table is read when a price is first asked for.
        """
        table = PriceTable({})
        table._built_in = True
        return table

    def __reduce__(self) -> tuple[Any, ...]:
        # The built-in prices are where the table is going, too.
        return _table_again, (self._own, self._built_in)

    def with_prices(self, prices: Mapping[str, Price | Mapping[str, Any]], /) -> PriceTable:
        """A table that also holds `prices`; they take the place of those with the same name."""
        table = PriceTable({**self._own, **prices})
        table._built_in = self._built_in
        return table

    def price(self, model: str | None, *, asked: str | None = None, provider: str | None = None) -> Price | None:
        """The price of a model, `None` where it is not known.

        Args:
            model: The model as it names itself.
            asked: The model as it was asked for, where that is another name.
            provider: Who bills: `"openai"`, `"aws.bedrock"`, as an engine's `provider` says; `"in_process"`: nobody.
        """
        key = (model, asked, provider)
        try:
            return self._found[key]
        except KeyError:
            found = self._look_up(_names(model, asked), provider)
        if len(self._found) >= _MOST_REMEMBERED:  # names come from outside
            self._found.clear()
        self._found[key] = found
        return found

    def cost(
        self, model: str | None, usage: Usage, *, asked: str | None = None, provider: str | None = None
    ) -> Decimal | None:
        """US dollars for `usage` of `model`, exact; `None` where they are not known.

        What the provider itself says that it charges comes before the built-in prices, not before the application's.
        """
        if usage.billed_usd is not None and self._own_price(_names(model, asked), provider) is None:
            return usage.billed_usd
        price = self.price(model, asked=asked, provider=provider)
        return None if price is None else price.cost(usage)

    def configuration(self) -> dict[str, Any]:
        """What tells it from other tables: `built_in`, what dates its built-in prices, and `own`, the others."""
        dated = {"built_in": _loaded().dated} if self._built_in else {}
        return dated | ({"own": dict(self._own)} if self._own else {})

    def models(self) -> tuple[str, ...]:
        """Names of the models in the table."""
        return tuple(dict.fromkeys([*self._own, *(_loaded().models() if self._built_in else ())]))

    def _look_up(self, names: list[str], provider: str | None) -> Price | None:
        own = self._own_price(names, provider)
        provider = PROVIDERS.get(provider, provider) if provider is not None else None
        if own is not None or not self._built_in or provider in _NOBODY:
            return own
        built_in = _loaded()
        billed_by = None if provider in _ANYBODY else provider
        return next((price for name in names if (price := built_in.price(billed_by, name)) is not None), None)

    def _own_price(self, names: list[str], provider: str | None) -> Price | None:
        provider = PROVIDERS.get(provider, provider) if provider is not None else None
        for name in names:
            for own in (f"{provider}/{name}", name):
                if own in self._own:
                    return self._own[own]
        return None

    def __repr__(self) -> str:
        return f"<PriceTable of {len(self._own)} own names{' and the built-in ones' if self._built_in else ''}>"


def _names(model: str | None, asked: str | None) -> list[str]:
    """What to look for, the surest name first."""
    names = [name for name in (model, asked) if name]
    return names + [name[: dated.start()] for name in names if (dated := _DATED.search(name)) is not None]


_loading = threading.Lock()


def _loaded() -> BuiltIn:
    with _loading:  # two threads would read a file of megabytes twice
        return BuiltIn.loaded()


def _table_again(own: dict[str, Price], built_in: bool) -> PriceTable:
    if not built_in:
        return PriceTable(own)
    return PriceTable.default().with_prices(own) if own else PriceTable.default()


def price_of(model: str, usage: Usage) -> Decimal | None:
    """US dollars for `usage` of `model` by the built-in table; `None` where they are not known."""
    return PriceTable.default().cost(model, usage)
