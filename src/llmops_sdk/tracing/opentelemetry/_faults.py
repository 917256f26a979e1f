"""What fails in tracing."""

from __future__ import annotations

from typing import Final

from llmops_sdk.faults import Faults

__all__ = ["FAULTS"]

FAULTS: Final = Faults()
"""The failures of this process."""
