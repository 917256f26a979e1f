"""What a repository of prompts is made of: labels and their audit, branches, versions, and the working tree.

`repository.py` puts these together, and `git/` reads and writes git itself.
"""

from __future__ import annotations

from llmops_sdk.prompts._repository.branches import Branches, Version
from llmops_sdk.prompts._repository.files import WORKTREE, VersionedFiles, name_and_version
from llmops_sdk.prompts._repository.labels import AUDIT, LABELS, LabelMove, Labels
from llmops_sdk.prompts._repository.versions import PromptLine, PromptVersion, listed
from llmops_sdk.prompts._repository.worktree import WorkingTree

__all__ = [
    "AUDIT",
    "LABELS",
    "WORKTREE",
    "Branches",
    "LabelMove",
    "Labels",
    "PromptLine",
    "PromptVersion",
    "Version",
    "VersionedFiles",
    "WorkingTree",
    "listed",
    "name_and_version",
]
