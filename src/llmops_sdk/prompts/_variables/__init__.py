"""Variables of prompts: how they are declared, and the check of what is given for them."""

from __future__ import annotations

from llmops_sdk.prompts._variables.checking import check_types, complete
from llmops_sdk.prompts._variables.declared import NAME, Variable, variable_of
from llmops_sdk.prompts._variables.hints import did_you_mean

__all__ = ["NAME", "Variable", "check_types", "complete", "did_you_mean", "variable_of"]
