"""What people give, before anybody works with it: numbers, names of keys, the arguments of an object."""

from __future__ import annotations

import inspect
import re
from collections.abc import Mapping
from decimal import Decimal, InvalidOperation
from typing import Any, TypeGuard

__all__ = ["arguments_of", "dollars", "is_number", "named_like_a_key"]

_NAMED_LIKE_A_KEY = re.compile(
    r"(?i)(?:.*[_-])?(?:(?:access|api|auth|private|secret)[_-]?key|authorization|cookie|credentials?|password|secret|token)"
)


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


def named_like_a_key(name: str) -> bool:
    """Whether what stands under `name` is a key.

    Example:
        >>> [name for name in ("api_key", "x-api-key", "api_key_env", "max_tokens") if named_like_a_key(name)]
        ['api_key', 'x-api-key']
    """
    return _NAMED_LIKE_A_KEY.fullmatch(name) is not None


def arguments_of(kind: type, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments with which `kind(*args, **kwargs)` is made, by name; those that are as by default are left out.

    Example:
        >>> class Guard:
        ...     def __init__(self, *words, most=3, **options): ...
        >>> arguments_of(Guard, ("a", "b"), {"most": 3, "name": "words"})
        {'words': ('a', 'b'), 'name': 'words'}
    """
    signature = inspect.signature(kind.__init__)  # type: ignore[misc]  # of this very class
    bound = signature.bind(None, *args, **kwargs).arguments
    given: dict[str, Any] = {}
    for name, value in list(bound.items())[1:]:
        parameter = signature.parameters[name]
        if parameter.kind is parameter.VAR_KEYWORD:
            given.update(value)
        elif not _same(value, parameter.default):
            given[name] = value
    return given


def _same(value: object, default: object) -> bool:
    # Arrays and the like have no `==` that is true or false.
    return value is default or (
        type(value) is type(default) and isinstance(value, str | int | float | tuple) and value == default
    )
