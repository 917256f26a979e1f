"""A git repository, read straight from its object store with dulwich: no checkout, no subprocess, no network."""

from __future__ import annotations

from llmops_sdk.prompts.git.history import Blamed, Change
from llmops_sdk.prompts.git.locking import RefLocks
from llmops_sdk.prompts.git.repository import GitRepository

__all__ = ["Blamed", "Change", "GitRepository", "RefLocks"]
