"""Prompts of other tools, as prompt files: dotprompt, LangChain, Langfuse. What does not carry over is listed."""

from __future__ import annotations

from llmops_sdk.prompts._importing.imported import Imported, Left
from llmops_sdk.prompts._importing.importing import FORMATS, import_prompts

__all__ = ["FORMATS", "Imported", "Left", "import_prompts"]
