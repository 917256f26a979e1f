"""What people give where a number belongs, before anybody computes with it."""

from __future__ import annotations

from typing import TypeGuard

__all__ = ["is_number"]


def is_number(given: object) -> TypeGuard[float]:
    """Whether it is one: `True` is none, though Python says so, and neither is text that looks like one."""
    return isinstance(given, int | float) and not isinstance(given, bool)
