"""What a detector says when a signal has changed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

__all__ = ["Alarm"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Alarm:
    """A signal has changed."""

    signal: str
    at: float
    direction: Literal["up", "down"]
    before: float
    now: float
    since: float
    evidence: float
    message: str
