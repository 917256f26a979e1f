"""Versions of a prompt compared and merged."""

from __future__ import annotations

from llmops_sdk.prompts._comparing.changes import CODES, PromptChange
from llmops_sdk.prompts._comparing.difference import PromptDiff, diff

__all__ = ["CODES", "PromptChange", "PromptDiff", "diff"]
