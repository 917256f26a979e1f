"""Templates: texts with places for variables."""

from __future__ import annotations

from llmops_sdk.prompts._templates.plain import MAX_CHARS, Filled, Template, compile_template

__all__ = ["MAX_CHARS", "Filled", "Template", "compile_template"]
