"""Prompt files: from text to prompts."""

from __future__ import annotations

from llmops_sdk.prompts._files.parsing import MAX_BYTES, SUFFIX, decode_prompt, parse_prompt
from llmops_sdk.prompts._files.place import Reader

__all__ = ["MAX_BYTES", "SUFFIX", "Reader", "decode_prompt", "parse_prompt"]
