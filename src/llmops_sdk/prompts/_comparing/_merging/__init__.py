"""The three-way merge of two versions of a prompt file."""

from __future__ import annotations

from llmops_sdk.prompts._comparing._merging.merging import Side, merge_texts
from llmops_sdk.prompts._comparing._merging.results import MergeConflict, MergeResult

__all__ = ["MergeConflict", "MergeResult", "Side", "merge_texts"]
