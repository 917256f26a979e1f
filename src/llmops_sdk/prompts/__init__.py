"""Prompts: what an application says to a model, kept as files in its own git repository.

`Prompt.from_string` makes one in the code, `Prompt.load("folder/name@version")` reads `prompts/folder/name.prompt.md`
at a label, tag, branch or commit. The packages without an underscore (`git`, `jinja`) and `repository` import
third-party libraries, and are loaded when they are first needed.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from llmops_sdk.prompts._content import PromptContent, Reference
from llmops_sdk.prompts._examples import Example, Examples
from llmops_sdk.prompts._outputs import DEFAULT_REPAIRS, Output, repairs_of
from llmops_sdk.prompts._prompt import Prompt
from llmops_sdk.prompts._sections import Section
from llmops_sdk.prompts._stand_in import PromptSource, prompts_from
from llmops_sdk.prompts._variables import Variable

if TYPE_CHECKING:
    from llmops_sdk.prompts._comparing import MergeConflict, MergeResult, PromptChange, PromptDiff, diff
    from llmops_sdk.prompts._files import SUFFIX, Reader, is_inside, no_siblings, parse_prompt
    from llmops_sdk.prompts._fitting import CachePrefix, EarlyVariable, FitReport, FittedPrompt
    from llmops_sdk.prompts._importing import FORMATS, Imported, Left, import_prompts
    from llmops_sdk.prompts._rendering.reading import Use
    from llmops_sdk.prompts._split import Arm, Split
    from llmops_sdk.prompts._stubs import type_stub
    from llmops_sdk.prompts.repository import LabelMove, PromptLine, PromptRepository, PromptVersion

__all__ = [
    "DEFAULT_REPAIRS",
    "FORMATS",
    "SUFFIX",
    "Arm",
    "CachePrefix",
    "EarlyVariable",
    "Example",
    "Examples",
    "FitReport",
    "FittedPrompt",
    "Imported",
    "LabelMove",
    "Left",
    "MergeConflict",
    "MergeResult",
    "Output",
    "Prompt",
    "PromptChange",
    "PromptContent",
    "PromptDiff",
    "PromptLine",
    "PromptRepository",
    "PromptSource",
    "PromptVersion",
    "Reader",
    "Reference",
    "Section",
    "Split",
    "Use",
    "Variable",
    "diff",
    "import_prompts",
    "is_inside",
    "no_siblings",
    "parse_prompt",
    "prompts_from",
    "repairs_of",
    "type_stub",
]

_LATER = {
    "llmops_sdk.prompts._comparing": ("MergeConflict", "MergeResult", "PromptChange", "PromptDiff", "diff"),
    "llmops_sdk.prompts._fitting": ("CachePrefix", "EarlyVariable", "FitReport", "FittedPrompt"),
    "llmops_sdk.prompts._files": ("SUFFIX", "Reader", "is_inside", "no_siblings", "parse_prompt"),
    "llmops_sdk.prompts._importing": ("FORMATS", "Imported", "Left", "import_prompts"),
    "llmops_sdk.prompts._split": ("Arm", "Split"),
    "llmops_sdk.prompts._rendering.reading": ("Use",),
    "llmops_sdk.prompts._stubs": ("type_stub",),
    "llmops_sdk.prompts.repository": ("LabelMove", "PromptLine", "PromptRepository", "PromptVersion"),
}
"""Modules that are loaded when somebody first asks for one of these names: most programs need none of it."""


def __getattr__(name: str) -> Any:
    for module, names in _LATER.items():
        if name in names:
            return getattr(importlib.import_module(module), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
