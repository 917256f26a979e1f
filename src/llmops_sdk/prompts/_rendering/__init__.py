"""From the sections of a prompt to messages: templates are compiled once, and filled for each request."""

from __future__ import annotations

from llmops_sdk.prompts._rendering.compiling import compile_sections
from llmops_sdk.prompts._rendering.filling import CompiledSection, fill
from llmops_sdk.prompts._rendering.images import with_images

__all__ = ["CompiledSection", "compile_sections", "fill", "with_images"]
