"""The lock: what a release runs, written down, checked, and built again."""

from __future__ import annotations

from llmops_sdk.pipelines._locking.comparing import Difference
from llmops_sdk.pipelines._locking.describing import configuration_hash
from llmops_sdk.pipelines._locking.lock import Lock
from llmops_sdk.pipelines._locking.taking import pins_of

__all__ = ["Difference", "Lock", "configuration_hash", "pins_of"]
