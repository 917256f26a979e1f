"""What people give where a number belongs."""

from __future__ import annotations

__all__ = ["is_number"]


def is_number(given: object) -> bool:
    """Whether it is one: `True` is none, though Python says so, and neither is text that looks like one."""
    return isinstance(given, int | float) and not isinstance(given, bool)
