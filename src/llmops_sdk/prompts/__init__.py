"""Prompts: what an application says to a model, kept as files in its own git repository.

`Prompt.from_string` makes one in the code, `Prompt.load("folder/name@version")` reads `prompts/folder/name.prompt.md`
at a label, tag, branch or commit. The module without an underscore (`repository`) imports third-party libraries and
is loaded when it is first needed.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from llmops_sdk.prompts._content import PromptContent
from llmops_sdk.prompts._outputs import DEFAULT_REPAIRS, Output, repairs_of
from llmops_sdk.prompts._prompt import Prompt
from llmops_sdk.prompts._sections import Section
from llmops_sdk.prompts._split import Arm, Split
from llmops_sdk.prompts._variables import Variable

if TYPE_CHECKING:
    from llmops_sdk.prompts._importing import FORMATS, Imported, Left, import_prompts
    from llmops_sdk.prompts.repository import LabelMove, PromptRepository, PromptVersion

__all__ = [
    "DEFAULT_REPAIRS",
    "FORMATS",
    "Arm",
    "Imported",
    "LabelMove",
    "Left",
    "Output",
    "Prompt",
    "PromptContent",
    "PromptRepository",
    "PromptVersion",
    "Section",
    "Split",
    "Variable",
    "import_prompts",
    "repairs_of",
]


_IMPORTING = ("FORMATS", "Imported", "Left", "import_prompts")


def __getattr__(name: str) -> Any:
    if name in _IMPORTING:
        return getattr(importlib.import_module("llmops_sdk.prompts._importing"), name)
    if name in ("LabelMove", "PromptRepository", "PromptVersion"):
        return getattr(importlib.import_module("llmops_sdk.prompts.repository"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
