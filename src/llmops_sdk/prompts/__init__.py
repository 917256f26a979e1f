"""Prompts: what an application says to a model, kept as files in its own git repository.

`Prompt.from_string` makes one in the code, `Prompt.load("folder/name@version")` reads `prompts/folder/name.prompt.md`
at a label, tag, branch or commit. The module without an underscore (`repository`) imports third-party libraries and
is loaded when it is first needed.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from llmops_sdk.prompts._content import PromptContent, Reference
from llmops_sdk.prompts._examples import Example, Examples
from llmops_sdk.prompts._prompt import Prompt
from llmops_sdk.prompts._sections import Section
from llmops_sdk.prompts._variables import Variable

if TYPE_CHECKING:
    from llmops_sdk.prompts._fitting import CachePrefix, EarlyVariable, FitReport, FittedPrompt
    from llmops_sdk.prompts.repository import LabelMove, PromptRepository, PromptVersion

__all__ = [
    "CachePrefix",
    "EarlyVariable",
    "Example",
    "Examples",
    "FitReport",
    "FittedPrompt",
    "LabelMove",
    "Prompt",
    "PromptContent",
    "PromptRepository",
    "PromptVersion",
    "Reference",
    "Section",
    "Variable",
]

_LATER = {
    **dict.fromkeys(("LabelMove", "PromptRepository", "PromptVersion"), "llmops_sdk.prompts.repository"),
    **dict.fromkeys(("CachePrefix", "EarlyVariable", "FitReport", "FittedPrompt"), "llmops_sdk.prompts._fitting"),
}
"""Name -> the module that is loaded when somebody first asks for it."""


def __getattr__(name: str) -> Any:
    if name in _LATER:
        return getattr(importlib.import_module(_LATER[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
