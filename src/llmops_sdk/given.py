"""What people give where a number belongs, before anybody computes with it."""

from __future__ import annotations

from decimal import Decimal, InvalidOperation
from typing import TypeGuard

__all__ = ["dollars", "is_number"]


def is_number(given: object) -> TypeGuard[float]:
    """Whether it is one: `True` is none, though Python says so, and neither is text that looks like one."""
    return isinstance(given, int | float) and not isinstance(given, bool)


def dollars(given: object) -> Decimal | None:
    """US dollars over 0, from a number or a text; `None` where it is no such amount.

    Example:
        >>> dollars("0.05"), dollars(True), dollars(0)
        (Decimal('0.05'), None, None)
    """
    try:
        amount = Decimal(str(given))
    except InvalidOperation:
        return None
    return None if isinstance(given, bool) or not amount.is_finite() or amount <= 0 else amount
