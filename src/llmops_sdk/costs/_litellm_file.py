"""The price file of an installed LiteLLM, read without importing LiteLLM."""

from __future__ import annotations

import importlib.util
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any

from llmops_sdk.costs._prices import AMOUNTS, Price

__all__ = ["PROVIDERS", "LiteLLMFile"]

PROVIDERS = {
    "aws.bedrock": "bedrock",
    "azure.ai.inference": "azure_ai",
    "azure.ai.openai": "azure",
    "azure_text": "azure",
    "bedrock_converse": "bedrock",
    "codestral": "mistral",
    "cohere_chat": "cohere",
    "gcp.gemini": "gemini",
    "gcp.vertex_ai": "vertex_ai",
    "ibm.watsonx.ai": "watsonx",
    "mistral_ai": "mistral",
    "text-completion-codestral": "mistral",
    "text-completion-openai": "openai",
    "x_ai": "xai",
}
"""Names of providers in traces, and LiteLLM's second names -> the name before the slash in LiteLLM's models."""

_FILE = "model_prices_and_context_window_backup.json"
_MODES = frozenset({"chat", "responses", "completion", "embedding", "realtime", "audio_transcription"})
_NAMES = {
    "input": "input_cost_per_token",
    "output": "output_cost_per_token",
    "cached_input": "cache_read_input_token_cost",
    "cache_write": "cache_creation_input_token_cost",
    "cache_write_1h": "cache_creation_input_token_cost_above_1hr",
    "audio_input": "input_cost_per_audio_token",
    "cached_audio": "cache_read_input_audio_token_cost",
    "reasoning": "output_cost_per_reasoning_token",
    "audio_output": "output_cost_per_audio_token",
}
_TIERS = {"batch": "_batches", "flex": "_flex", "priority": "_priority"}
_THRESHOLD = re.compile(r"input_cost_per_token(_above_(\d+)k_tokens)\Z")
_OTHERWISE = re.compile(r"per_(second|character|request|query)|output_cost_per_image_token\Z")
_OPTIONAL = ("search_context_", "google_maps_")  # only where a request asks for them
_KEPT = re.compile(r"cost|provider_specific_entry|tiered_pricing|litellm_provider\Z|mode\Z|range\Z|us\Z|fast\Z")


class LiteLLMFile:
    """LiteLLM's prices by provider and model. An entry becomes a `Price` when it is first asked for.

    What the file does not say in so many words is not taken for known. An entry that charges nothing at all is no
    price: the file has zeros for models that are free, that run at home, and whose price nobody has looked up. A class
    whose amount is zero beside others that are not is unknown, and so is one for which a tier or a long prompt has no
    amount of its own while the standard price has. An entry that charges by the second, the character or the request
    has no price.

    Args:
        path: The file.
        version: LiteLLM's version, which dates the prices: the file itself bears no date.
    """

    def __init__(self, path: Path, version: str) -> None:
        self.source = f"litellm {version} model_prices_and_context_window"
        self._entries: dict[str, Mapping[str, Any]] = {}
        self._by_provider: dict[tuple[str, str], str] = {}
        for name, entry in json.loads(path.read_bytes(), parse_float=str, object_hook=_kept).items():
            if entry.get("mode") not in _MODES:
                continue
            provider, model = _split(name, entry.get("litellm_provider") or "")
            self._entries[name] = entry
            if name != model or (provider, model) not in self._by_provider:  # the name with its provider is surer
                self._by_provider[provider, model] = name

    @classmethod
    def installed(cls) -> LiteLLMFile | None:
        """The file of the LiteLLM in this environment, `None` where there is none."""
        spec = importlib.util.find_spec("litellm")
        for folder in (spec.submodule_search_locations or ()) if spec is not None else ():
            path = Path(folder, _FILE)
            if path.is_file():
                from importlib.metadata import version  # noqa: PLC0415  (costs 20 ms, and only this needs it)

                return cls(path, version("litellm"))
        return None

    def price(self, provider: str | None, model: str) -> Price | None:
        """The price of `model` at `provider`; without one, of the entry with exactly this name."""
        name = model if provider is None else self._by_provider.get((provider, model))
        entry = self._entries.get(name) if name is not None else None
        return None if entry is None else _price(entry, self.source)

    def models(self) -> Iterator[str]:
        """Names of all that may have a price."""
        return iter(self._entries)


def _kept(entry: dict[str, Any]) -> dict[str, Any]:
    """Without what is no money, which is nine tenths of the file."""
    return {name: value for name, value in entry.items() if _KEPT.search(name) or isinstance(value, dict)}


def _split(name: str, said: str) -> tuple[str, str]:
    provider = PROVIDERS.get(said, said)
    for family in ("vertex_ai", "fireworks_ai"):
        if provider.startswith(f"{family}-"):
            provider = family
    return provider, name.removeprefix(f"{provider}/")


def _price(entry: Mapping[str, Any], source: str) -> Price | None:
    if any(_OTHERWISE.search(name) and not name.startswith(_OPTIONAL) for name in entry):
        return None
    if entry.get("litellm_provider") == "perplexity" and "search_context_cost_per_query" in entry:
        return None  # every request searches
    if entry.get("tiered_pricing"):
        return _by_ranges(entry["tiered_pricing"], source)
    thresholds = sorted((int(m[2]) * 1000, m[1]) for name in entry if (m := _THRESHOLD.match(name)))
    standard = _chain(entry, thresholds, "", None, source)
    if standard is None:
        return None
    tiers = {}
    for tier, suffix in _TIERS.items():
        price = _chain(entry, thresholds, suffix, standard, source)
        if price is not None:
            tiers[tier] = price
    multipliers = entry.get("provider_specific_entry") or {}
    for tier in ("fast", "us"):
        if tier in multipliers:
            tiers[tier] = _times(standard, Decimal(multipliers[tier]))
    return replace(standard, service_tiers=tiers)


def _chain(
    entry: Mapping[str, Any], thresholds: list[tuple[int, str]], suffix: str, like: Price | None, source: str
) -> Price | None:
    """The price of a tier, and behind it those of longer prompts."""
    first = _read(entry, suffix, like, source)
    if first is None:
        return None
    beyond: Price | None = None
    up_to: int | None = None
    for tokens, above in reversed(thresholds):
        longer = _read(entry, above + suffix, first, source)
        beyond = None if longer is None else replace(longer, up_to_input_tokens=up_to, beyond=beyond)
        up_to = tokens
    return first if up_to is None else replace(first, up_to_input_tokens=up_to, beyond=beyond)


def _read(entry: Mapping[str, Any], suffix: str, like: Price | None, source: str) -> Price | None:
    """The amounts whose names end with `suffix`; what only `like` has an amount for is unknown."""
    amounts: dict[str, Any] = {}
    unknown = []
    for name, said in _NAMES.items():
        amount = _million(entry.get(said + suffix))
        if amount is not None:
            amounts[name] = amount
    if entry.get("mode") == "embedding":
        amounts.setdefault("output", Decimal(0))
    if not amounts.get("input") or "output" not in amounts:
        return None
    if amounts.get("reasoning") == amounts["output"]:
        del amounts["reasoning"]
    for name in AMOUNTS[1:]:
        zero = name in amounts and not amounts[name] and entry.get("mode") != "embedding"
        if zero or (name not in amounts and like is not None and getattr(like, name) is not None):
            unknown.append(name)
    return Price(**amounts, unknown=tuple(unknown), source=source)


def _by_ranges(ranges: list[Mapping[str, Any]], source: str) -> Price | None:
    """Prices for prompts of up to so many tokens each, as Alibaba's are."""
    price: Price | None = None
    for step in reversed(ranges):
        own = _read(step, "", None, source) if "range" in step else None
        if own is None:
            return None
        last = price is None
        price = replace(own, up_to_input_tokens=None if last else int(Decimal(step["range"][1])), beyond=price)
    return price


def _million(said: Any) -> Decimal | None:
    return None if said is None else Decimal(said).scaleb(6)


def _times(price: Price, factor: Decimal) -> Price:
    amounts = {name: amount * factor for name in AMOUNTS if (amount := getattr(price, name)) is not None}
    return replace(price, **amounts, beyond=None if price.beyond is None else _times(price.beyond, factor))
