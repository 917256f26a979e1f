"""Prompt files: from text to prompts."""

from __future__ import annotations

from llmops_sdk.prompts._files.conflicts import conflict_text
from llmops_sdk.prompts._files.front_matter import front_matter_end
from llmops_sdk.prompts._files.parsing import MAX_BYTES, SUFFIX, decode_prompt, parse_prompt
from llmops_sdk.prompts._files.place import Reader

__all__ = [
    "MAX_BYTES",
    "SUFFIX",
    "Reader",
    "conflict_text",
    "decode_prompt",
    "front_matter_end",
    "parse_prompt",
]
