"""Prompts: what an application says to a model, kept as files in its own git repository.

`Prompt.from_string` makes one in the code, `Prompt.load("folder/name@version")` reads `prompts/folder/name.prompt.md`
at a label, tag, branch or commit. The module without an underscore (`repository`) imports third-party libraries and
is loaded when it is first needed.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from llmops_sdk.prompts._content import PromptContent
from llmops_sdk.prompts._prompt import Prompt
from llmops_sdk.prompts._sections import Section
from llmops_sdk.prompts._variables import Variable

if TYPE_CHECKING:
    from llmops_sdk.prompts._comparing import MergeConflict, MergeResult, PromptChange, PromptDiff, diff
    from llmops_sdk.prompts.repository import LabelMove, PromptLine, PromptRepository, PromptVersion

__all__ = [
    "LabelMove",
    "MergeConflict",
    "MergeResult",
    "Prompt",
    "PromptChange",
    "PromptContent",
    "PromptDiff",
    "PromptLine",
    "PromptRepository",
    "PromptVersion",
    "Section",
    "Variable",
    "diff",
]

_COMPARING = ("MergeConflict", "MergeResult", "PromptChange", "PromptDiff", "diff")


def __getattr__(name: str) -> Any:
    if name in ("LabelMove", "PromptLine", "PromptRepository", "PromptVersion"):
        return getattr(importlib.import_module("llmops_sdk.prompts.repository"), name)
    if name in _COMPARING:  # most programs compare nothing
        return getattr(importlib.import_module("llmops_sdk.prompts._comparing"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
