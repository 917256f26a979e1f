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
from llmops_sdk.prompts._source import PromptSource, prompts_from
from llmops_sdk.prompts._variables import Variable

if TYPE_CHECKING:
    from llmops_sdk.prompts._files import SUFFIX, Reader, parse_prompt
    from llmops_sdk.prompts.repository import LabelMove, PromptRepository, PromptVersion

__all__ = [
    "SUFFIX",
    "LabelMove",
    "Prompt",
    "PromptContent",
    "PromptRepository",
    "PromptSource",
    "PromptVersion",
    "Reader",
    "Section",
    "Variable",
    "parse_prompt",
    "prompts_from",
]


def __getattr__(name: str) -> Any:
    if name in ("LabelMove", "PromptRepository", "PromptVersion"):
        return getattr(importlib.import_module("llmops_sdk.prompts.repository"), name)
    if name in ("SUFFIX", "Reader", "parse_prompt"):
        return getattr(importlib.import_module("llmops_sdk.prompts._files"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
