"""The lock: what a release runs, written down, checked, and built again."""

from __future__ import annotations

from llmops_sdk.pipelines._locking.comparing import Difference
from llmops_sdk.pipelines._locking.lock import Lock

__all__ = ["Difference", "Lock"]
