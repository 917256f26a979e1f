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
from llmops_sdk.prompts._outputs import DEFAULT_REPAIRS, Output, repairs_of
from llmops_sdk.prompts._prompt import Prompt
from llmops_sdk.prompts._sections import Section
from llmops_sdk.prompts._split import Arm, Split
from llmops_sdk.prompts._variables import Variable

if TYPE_CHECKING:
    from llmops_sdk.prompts._comparing import MergeConflict, MergeResult, PromptChange, PromptDiff, diff
    from llmops_sdk.prompts._importing import FORMATS, Imported, Left, import_prompts
    from llmops_sdk.prompts._stubs import type_stub
    from llmops_sdk.prompts.repository import LabelMove, PromptLine, PromptRepository, PromptVersion

__all__ = [
    "DEFAULT_REPAIRS",
    "FORMATS",
    "SUFFIX",
    "Arm",
    "Example",
    "Examples",
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
    "PromptVersion",
    "Reader",
    "Reference",
    "Section",
    "Split",
    "Variable",
    "diff",
    "import_prompts",
    "no_siblings",
    "parse_prompt",
    "repairs_of",
    "type_stub",
]

_LATER = {
    **dict.fromkeys(("FORMATS", "Imported", "Left", "import_prompts"), "llmops_sdk.prompts._importing"),
    **dict.fromkeys(
        ("MergeConflict", "MergeResult", "PromptChange", "PromptDiff", "diff"), "llmops_sdk.prompts._comparing"
    ),
    **dict.fromkeys(("LabelMove", "PromptLine", "PromptRepository", "PromptVersion"), "llmops_sdk.prompts.repository"),
    "type_stub": "llmops_sdk.prompts._stubs",
}
"""Name -> the module that is loaded when somebody first asks for it."""


def __getattr__(name: str) -> Any:
    if name in _LATER:
        return getattr(importlib.import_module(_LATER[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
