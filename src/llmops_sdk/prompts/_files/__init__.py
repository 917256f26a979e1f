"""Prompt files: from text to prompts."""

from __future__ import annotations

from llmops_sdk.prompts._files.front_matter import front_matter_end
from llmops_sdk.prompts._files.parsing import decode_prompt, parse_prompt
from llmops_sdk.prompts._files.place import MAX_BYTES, SUFFIX, Reader, is_inside, no_siblings
from llmops_sdk.prompts._files.writing import write_prompt

__all__ = [
    "MAX_BYTES",
    "SUFFIX",
    "Reader",
    "decode_prompt",
    "front_matter_end",
    "is_inside",
    "no_siblings",
    "parse_prompt",
    "write_prompt",
]
