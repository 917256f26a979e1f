"""JSON schemas: whether one takes all that another allows."""

from __future__ import annotations

from llmops_sdk.prompts._comparing._schemas.inclusion import Gap, gaps
from llmops_sdk.prompts._comparing._schemas.naming import properties_of
from llmops_sdk.prompts._comparing._schemas.values import CannotTellError

__all__ = ["CannotTellError", "Gap", "gaps", "properties_of"]
