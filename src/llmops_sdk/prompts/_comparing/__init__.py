"""Versions of a prompt compared and merged."""

from __future__ import annotations

from llmops_sdk.prompts._comparing._merging import MergeConflict, MergeResult, Side, merge_texts
from llmops_sdk.prompts._comparing.changes import CODES, PromptChange
from llmops_sdk.prompts._comparing.difference import PromptDiff, diff

__all__ = ["CODES", "MergeConflict", "MergeResult", "PromptChange", "PromptDiff", "Side", "diff", "merge_texts"]
