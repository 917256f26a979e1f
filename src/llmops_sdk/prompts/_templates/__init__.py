"""Templates: texts with places for variables."""

from __future__ import annotations

from llmops_sdk.prompts._templates.compiling import MAX_CHARS, Filled, Template, compile_template
from llmops_sdk.prompts._templates.f_strings import from_f_string
from llmops_sdk.prompts._templates.openings import Opening, openings_of
from llmops_sdk.prompts._templates.partials import PartialReader, reader_of

__all__ = [
    "MAX_CHARS",
    "Filled",
    "Opening",
    "PartialReader",
    "Template",
    "compile_template",
    "from_f_string",
    "openings_of",
    "reader_of",
]
