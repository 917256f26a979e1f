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
from llmops_sdk.prompts._files import SUFFIX, Reader, no_siblings, parse_prompt
from llmops_sdk.prompts._prompt import Prompt
from llmops_sdk.prompts._sections import Section
from llmops_sdk.prompts._variables import Variable

if TYPE_CHECKING:
    from llmops_sdk.prompts._stubs import type_stub
    from llmops_sdk.prompts.repository import LabelMove, PromptRepository, PromptVersion

__all__ = [
    "SUFFIX",
    "Example",
    "Examples",
    "LabelMove",
    "Prompt",
    "PromptContent",
    "PromptRepository",
    "PromptVersion",
    "Reader",
    "Reference",
    "Section",
    "Variable",
    "no_siblings",
    "parse_prompt",
    "type_stub",
]


def __getattr__(name: str) -> Any:
    if name in ("LabelMove", "PromptRepository", "PromptVersion"):
        return getattr(importlib.import_module("llmops_sdk.prompts.repository"), name)
    if name == "type_stub":  # for the command line, not for applications at work
        return importlib.import_module("llmops_sdk.prompts._stubs").type_stub
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
