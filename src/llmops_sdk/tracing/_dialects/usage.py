"""What an attempt took, as attributes of its span."""

from __future__ import annotations

from typing import Any

from llmops_sdk.calls import AttemptEnded
from llmops_sdk.messages import Usage
from llmops_sdk.tracing._dialects import names
from llmops_sdk.tracing._text import valid

__all__ = ["usage_attributes"]


def usage_attributes(event: AttemptEnded) -> dict[str, Any]:
    """Tokens by class, where there are some of it, and money."""
    attributes: dict[str, Any] = {} if event.usage is None else _tokens(event.usage)
    if event.cost_usd is not None:
        attributes[names.COST_USD] = float(event.cost_usd)
    elif event.estimated_usd is not None:
        attributes[names.ESTIMATED_USD] = float(event.estimated_usd)
    return attributes


def _tokens(usage: Usage) -> dict[str, Any]:
    parts = {
        names.USAGE_CACHE_READ_INPUT_TOKENS: usage.cached_input_tokens,
        names.USAGE_CACHE_WRITE_INPUT_TOKENS: usage.cache_write_tokens,
        names.USAGE_REASONING_OUTPUT_TOKENS: usage.reasoning_tokens,
        names.CACHE_WRITE_1H_TOKENS: usage.cache_write_1h_tokens,
        names.USAGE_AUDIO_INPUT_TOKENS: usage.audio_input_tokens + usage.cached_audio_tokens,
        names.USAGE_AUDIO_CACHE_READ_INPUT_TOKENS: usage.cached_audio_tokens,
        names.USAGE_AUDIO_OUTPUT_TOKENS: usage.audio_output_tokens,
        names.SERVICE_TIER: None if usage.service_tier is None else valid(usage.service_tier),
        names.ALSO_CHARGED: [valid(name) for name in usage.also_charged],
        names.USAGE_ESTIMATED: usage.estimated,
    }
    return {
        names.USAGE_INPUT_TOKENS: usage.input_tokens,
        names.USAGE_OUTPUT_TOKENS: usage.output_tokens,
        **{name: value for name, value in parts.items() if value},
    }
