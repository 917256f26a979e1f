"""Tokens: what counts them, by the model's own tokenizer wherever one is at hand. Nothing is ever downloaded.

`counter_of` makes a `Counter` of whatever people have: an engine, a tokenizer, its file, the name of a model or of a
tiktoken encoding, a function. Where there is no tokenizer the count is an estimate, and the counter says so.
"""

from __future__ import annotations

from llmops_sdk.tokens._choosing import TokenCounter, counter_of
from llmops_sdk.tokens._counter import Counted, Counter

__all__ = ["Counted", "Counter", "TokenCounter", "counter_of"]
