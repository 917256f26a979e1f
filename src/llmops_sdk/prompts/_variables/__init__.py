"""Variables of prompts: how they are declared, how their text is set off, and the check of what is given for them."""

from __future__ import annotations

from llmops_sdk.prompts._hints import did_you_mean
from llmops_sdk.prompts._variables.checking import Check, check_types, checks_of, complete
from llmops_sdk.prompts._variables.declared import NAME, Variable, said_of, value_schema, variable_of
from llmops_sdk.prompts._variables.fences import FENCES, Fence, needs_own_lines

__all__ = [
    "FENCES",
    "NAME",
    "Check",
    "Fence",
    "Variable",
    "check_types",
    "checks_of",
    "complete",
    "did_you_mean",
    "needs_own_lines",
    "said_of",
    "value_schema",
    "variable_of",
]
