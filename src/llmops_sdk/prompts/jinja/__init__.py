"""Templates with Jinja's syntax, in a sandbox; loaded only for the texts that need it. Imports jinja2."""

from __future__ import annotations

from llmops_sdk.prompts.jinja.least import least_text
from llmops_sdk.prompts.jinja.template import JinjaTemplate, compile_jinja

__all__ = ["JinjaTemplate", "compile_jinja", "least_text"]
