"""Tokens as providers report them, as ours. Who counts a part into the total and who counts it beside is known here."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any

from llmops_sdk.usage import EXACT, Usage

__all__ = ["anthropic_usage", "money_of", "openai_usage", "usage_of"]

_NOTHING: Mapping[str, Any] = {}
_STANDARD = frozenset({"default", "standard", "on_demand", "auto", "global", "not_available"})
_BESIDE_TOKENS = ("web_search_requests", "num_search_queries", "num_sources_used", "prompt_audio_seconds")
"""What Anthropic, Perplexity, xAI and Mistral count that has a price of its own."""
_OF_RESPONSES = frozenset({"input_tokens_details", "input_token_details"})
_PLAIN = frozenset(
    {"prompt_tokens", "completion_tokens", "total_tokens", "prompt_tokens_details", "completion_tokens_details"}
)
_PLAIN_INPUT = frozenset({"cached_tokens", "audio_tokens"})
_PLAIN_OUTPUT = frozenset(
    {"reasoning_tokens", "audio_tokens", "accepted_prediction_tokens", "rejected_prediction_tokens"}
)
_OF_ANTHROPIC = frozenset({"cache_creation_input_tokens", "cache_read_input_tokens"})
_ALSO_TIERS = ("speed", "inference_geo")  # Anthropic's, which have prices of their own


def usage_of(said: Mapping[str, Any], /, *, service_tier: str | None = None) -> Usage | None:
    """The token counts of a provider's answer, whichever of these forms they have.

    For engines of your own. The form is told by the names in it: OpenAI's chat completions and all that follow them
    (Azure, DeepSeek, Groq, Mistral, xAI, Together, Fireworks, Perplexity, OpenRouter, vLLM, SGLang, LiteLLM, Gemini's
    compatible endpoint), OpenAI's Responses and Realtime, Anthropic, Gemini's own, Bedrock's Converse, Cohere and
    Ollama's own.

    Args:
        said: The object with the counts: `usage`, with Gemini's own API `usageMetadata`.
        service_tier: The answer's own `service_tier`, where it stands beside the counts.

    Returns:
        `None` where nothing was counted. Counts that contradict each other are `estimated`, and have no price.

    Raises:
        TypeError: A count is no whole number, or less than 0.
        ValueError: It is none of these forms.

    Example:
        >>> usage_of({"inputTokens": 3, "outputTokens": 5, "totalTokens": 8}).total_tokens
        8
    """
    if "promptTokenCount" in said or "totalTokenCount" in said:
        return _gemini(said, service_tier)
    if "inputTokens" in said:
        return _bedrock(said, service_tier)
    if "billed_units" in said or "tokens" in said:
        return _cohere(said)
    if "eval_count" in said:
        return _ollama(said)
    if "prompt_tokens" in said or not _OF_RESPONSES.isdisjoint(said):
        return openai_usage(said, service_tier=service_tier)
    if "input_tokens" in said and ("total_tokens" not in said or not _OF_ANTHROPIC.isdisjoint(said)):
        return anthropic_usage(said, service_tier=service_tier)
    if "input_tokens" in said:
        return openai_usage(said, service_tier=service_tier)
    if not said:
        return None
    raise ValueError(f"no provider known here counts tokens in this form: {sorted(said)[:10]}")


def openai_usage(said: Mapping[str, Any] | None, /, *, service_tier: str | None = None) -> Usage | None:
    """Chat completions and Responses: parts are in the totals, as far as the services agree.

    xAI and Gemini leave reasoning out of the output; their `total_tokens` shows it.
    """
    if not said:
        return None
    if service_tier is None and said.keys() <= _PLAIN and (usage := _plain(said)) is not None:
        return usage
    chat = "prompt_tokens" in said
    get = said.get
    if chat:
        asked, given = get("prompt_tokens_details"), get("completion_tokens_details")
    else:
        asked = get("input_tokens_details") or get("input_token_details")
        given = get("output_tokens_details") or get("output_token_details")
    asked, given = asked or _NOTHING, given or _NOTHING
    output = _count(get("completion_tokens" if chat else "output_tokens"))
    input_tokens = _count(get("prompt_tokens" if chat else "input_tokens"))
    total = _count(get("total_tokens"))
    reasoning = _count(given.get("reasoning_tokens") or get("reasoning_tokens"))
    beside = total - input_tokens - output if total else 0
    contradicts = beside != 0
    if beside > 0 and reasoning in (0, beside):
        output, reasoning, contradicts = output + beside, beside, False
    if "citation_tokens" in said:  # Perplexity's deep research, whose totals are of what it showed
        input_tokens, output = input_tokens + _count(said["citation_tokens"]), output + reasoning
    cached = asked.get("cached_tokens") or get("cache_read_input_tokens") or get("prompt_cache_hit_tokens")
    written = (
        asked.get("cache_write_tokens") or asked.get("cache_creation_tokens") or get("cache_creation_input_tokens")
    )
    by_age = asked.get("cache_creation_token_details") or get("cache_creation") or _NOTHING
    cached_audio = _count((asked.get("cached_tokens_details") or _NOTHING).get("audio_tokens"))
    return Usage(
        input_tokens=input_tokens,
        output_tokens=output,
        cached_input_tokens=_count(cached or get("num_cached_tokens") or get("cached_tokens")),
        cache_write_tokens=_count(written),
        reasoning_tokens=reasoning,
        estimated=contradicts,
        cache_write_1h_tokens=_count(by_age.get("ephemeral_1h_input_tokens")),
        audio_input_tokens=_beside(asked.get("audio_tokens"), cached_audio),
        cached_audio_tokens=cached_audio,
        audio_output_tokens=_count(given.get("audio_tokens")),
        service_tier=_tiers(said, service_tier),
        billed_usd=_billed(said),
        also_charged=_also_charged(said, asked, get("server_tool_use") or _NOTHING),
    )


def _plain(said: Mapping[str, Any]) -> Usage | None:
    """What nearly all answers of chat completions are: counts that add up, of parts that OpenAI names; else `None`.

    It is a shorter way to what `openai_usage` would say, for it is gone with every answer.
    """
    asked, given = said.get("prompt_tokens_details"), said.get("completion_tokens_details")
    if (asked and not asked.keys() <= _PLAIN_INPUT) or (given and not given.keys() <= _PLAIN_OUTPUT):
        return None
    input_tokens, output = _count(said.get("prompt_tokens")), _count(said.get("completion_tokens"))
    if said.get("total_tokens") != input_tokens + output:
        return None
    if not asked and not given:
        return Usage(input_tokens=input_tokens, output_tokens=output)
    asked, given = asked or _NOTHING, given or _NOTHING
    return Usage(
        input_tokens=input_tokens,
        output_tokens=output,
        cached_input_tokens=_count(asked.get("cached_tokens")),
        reasoning_tokens=_count(given.get("reasoning_tokens")),
        audio_input_tokens=_count(asked.get("audio_tokens")),
        audio_output_tokens=_count(given.get("audio_tokens")),
    )


def anthropic_usage(said: Mapping[str, Any] | None, /, *, service_tier: str | None = None) -> Usage | None:
    """What was read from the cache and written to it stands beside the other input; here it is counted in."""
    if not said:
        return None
    # What it took to shorten the conversation stands in a list, and in no total.
    beside = [one for one in said.get("iterations") or () if one.get("type") == "compaction"]
    counts = (said, *beside)
    read = _summed(counts, "cache_read_input_tokens")
    by_age = [one.get("cache_creation") or _NOTHING for one in counts]
    hour = _summed(by_age, "ephemeral_1h_input_tokens")
    minutes = _summed(by_age, "ephemeral_5m_input_tokens")
    written = _summed(counts, "cache_creation_input_tokens") or minutes + hour
    return Usage(
        input_tokens=_summed(counts, "input_tokens") + read + written,
        output_tokens=_summed(counts, "output_tokens"),
        cached_input_tokens=read,
        cache_write_tokens=written,
        reasoning_tokens=_count((said.get("output_tokens_details") or _NOTHING).get("thinking_tokens")),
        cache_write_1h_tokens=hour,
        service_tier=_tiers(said, service_tier),
        also_charged=_also_charged(said.get("server_tool_use") or _NOTHING),
    )


def _gemini(said: Mapping[str, Any], service_tier: str | None) -> Usage:
    """The cached part is in the prompt; thoughts stand beside the answer, what tools brought beside the prompt."""
    thought = _count(said.get("thoughtsTokenCount"))
    input_tokens = _count(said.get("promptTokenCount")) + _count(said.get("toolUsePromptTokenCount"))
    output = _count(said.get("candidatesTokenCount")) + thought
    total = _count(said.get("totalTokenCount"))
    cached_audio = _audio(said, "cacheTokensDetails")
    return Usage(
        input_tokens=input_tokens,
        output_tokens=output,
        cached_input_tokens=_count(said.get("cachedContentTokenCount")),
        reasoning_tokens=thought,
        estimated=bool(total) and total != input_tokens + output,
        audio_input_tokens=_beside(
            _audio(said, "promptTokensDetails") + _audio(said, "toolUsePromptTokensDetails"), cached_audio
        ),
        cached_audio_tokens=cached_audio,
        audio_output_tokens=_audio(said, "candidatesTokensDetails"),
        service_tier=_tier(service_tier or said.get("serviceTier") or said.get("trafficType")),
    )


def _bedrock(said: Mapping[str, Any], service_tier: str | None) -> Usage:
    """Converse: what was read from the cache and written to it stands beside the other input."""
    read, written = _count(said.get("cacheReadInputTokens")), _count(said.get("cacheWriteInputTokens"))
    details = said.get("cacheDetails") or ()
    return Usage(
        input_tokens=_count(said.get("inputTokens")) + read + written,
        output_tokens=_count(said.get("outputTokens")),
        cached_input_tokens=read,
        cache_write_tokens=written,
        cache_write_1h_tokens=sum(_count(one.get("inputTokens")) for one in details if one.get("ttl") == "1h"),
        service_tier=_tier(service_tier),
    )


def _cohere(said: Mapping[str, Any]) -> Usage:
    """What is billed is less than what the model read: Cohere's own additions to the prompt are free."""
    counts = said.get("billed_units") or said.get("tokens") or _NOTHING
    return Usage(
        input_tokens=_count(counts.get("input_tokens")),
        output_tokens=_count(counts.get("output_tokens")),
        cached_input_tokens=_count(said.get("cached_tokens")),
    )


def _ollama(said: Mapping[str, Any]) -> Usage:
    """The whole answer: its counts stand beside the text."""
    return Usage(input_tokens=_count(said.get("prompt_eval_count")), output_tokens=_count(said["eval_count"]))


def money_of(dollars: Any) -> Decimal | None:
    """A provider's number as money: 12 digits, which is where sums of floats begin to be noise; `None`: it is none.

    Example:
        >>> money_of(0.00015 + 5.9999999999999995e-05)
        Decimal('0.00021')
    """
    if isinstance(dollars, bool) or not isinstance(dollars, int | float) or not 0 <= dollars < math.inf:
        return None
    return Decimal(f"{dollars:.12g}")


def _billed(said: Mapping[str, Any]) -> Decimal | None:
    """What the provider says that it charges: OpenRouter (and its proxies), Perplexity, xAI."""
    cost = said.get("cost")
    if cost is None:
        ticks = said.get("cost_in_usd_ticks")  # of which a dollar has 10^10
        return None if ticks is None else EXACT.scaleb(_count(ticks), -10)
    if isinstance(cost, Mapping):
        return money_of(cost.get("total_cost"))
    if said.get("is_byok"):  # the fee alone; the model's own provider sends another bill
        upstream = money_of((said.get("cost_details") or _NOTHING).get("upstream_inference_cost"))
        fee = money_of(cost)
        return None if upstream is None or fee is None else EXACT.add(fee, upstream)
    return money_of(cost)


def _also_charged(*places: Mapping[str, Any]) -> tuple[str, ...]:
    return tuple(name for name in _BESIDE_TOKENS if any(place.get(name) for place in places))


def _count(said: Any) -> int:
    if said is None:
        return 0
    if type(said) is float and said.is_integer():  # Cohere's and some proxies' JSON
        said = int(said)
    if type(said) is not int or said < 0:
        raise TypeError(f"a number of tokens is {str(said)[:50]!r}")
    return said


def _summed(counts: Sequence[Mapping[str, Any]], name: str) -> int:
    return sum(_count(one.get(name)) for one in counts)


def _beside(audio: Any, cached: int) -> int:
    """Audio that was not read from the cache, where the whole of it and the cached part of it were counted."""
    return max(_count(audio) - cached, 0)


def _audio(said: Mapping[str, Any], name: str) -> int:
    details: Sequence[Mapping[str, Any]] = said.get(name) or ()
    return sum(_count(one.get("tokenCount")) for one in details if str(one.get("modality")).upper() == "AUDIO")


def _tiers(said: Mapping[str, Any], service_tier: str | None) -> str | None:
    """All that changes the price of a token, in Anthropic's form and in what LiteLLM makes of it."""
    named = (service_tier or said.get("service_tier"), *map(said.get, _ALSO_TIERS))
    return "+".join(filter(None, map(_tier, named))) or None


def _tier(said: Any) -> str | None:
    """The name of a tier, if it is not the standard one. Batches are priced apart, too."""
    if not isinstance(said, str):
        return None
    name = said.lower().removeprefix("on_demand_")  # Vertex: ON_DEMAND_FLEX
    return None if name in _STANDARD else name
