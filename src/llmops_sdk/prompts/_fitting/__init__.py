"""Fitting prompts into so many tokens: what is cut, in which order, and what was cut."""

from __future__ import annotations

from llmops_sdk.prompts._fitting.fitted import FittedPrompt, Source
from llmops_sdk.prompts._fitting.prefixes import CachePrefix, EarlyVariable, cache_prefix
from llmops_sdk.prompts._fitting.reports import FitReport
from llmops_sdk.prompts._fitting.shrinking import Parts

__all__ = ["CachePrefix", "EarlyVariable", "FitReport", "FittedPrompt", "Parts", "Source", "cache_prefix"]
