"""Linting: what is likely wrong with prompt files, before a model reads them.

`lint("prompts")` checks files, `lint_text(text)` one text; each problem has the code of its rule, and `RULES` says
what there is. It stands in a room of its own since it needs guards (secrets), costs (tokens) and prompts, which do not
know each other.
"""

from __future__ import annotations

from llmops_sdk.linting._linting import LintOptions, lint, lint_text
from llmops_sdk.linting._problems import Problem, Rule
from llmops_sdk.linting._rules import PROVIDERS, RULES
from llmops_sdk.linting._sarif import sarif
from llmops_sdk.linting._settings import lint_settings

__all__ = ["PROVIDERS", "RULES", "LintOptions", "Problem", "Rule", "lint", "lint_settings", "lint_text", "sarif"]
