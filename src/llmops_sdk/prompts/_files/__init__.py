"""Prompt files: from text to prompts."""

from __future__ import annotations

from llmops_sdk.prompts._files.parsing import MAX_BYTES, SUFFIX, parse_prompt
from llmops_sdk.prompts._files.place import Reader, no_siblings

__all__ = ["MAX_BYTES", "SUFFIX", "Reader", "no_siblings", "parse_prompt"]
