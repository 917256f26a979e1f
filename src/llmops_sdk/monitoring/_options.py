"""The options of a monitor, checked: what makes no sense is a `ConfigurationError` that says what to write."""

from __future__ import annotations

import math
import zlib
from collections.abc import Callable, Mapping
from decimal import Decimal
from typing import Any

from llmops_sdk.calls import Call
from llmops_sdk.errors import ConfigurationError
from llmops_sdk.given import dollars, is_number

__all__ = ["check_numbers", "money", "sampling"]


def sampling(sample: float | Callable[[Call], object]) -> Callable[[Call], bool]:
    """Whether a run is drawn, from a share or a function."""
    if callable(sample):
        return lambda call: bool(sample(call))
    if not is_number(sample) or not 0 <= sample <= 1:
        raise ConfigurationError(
            f"`sample` is a share from 0 to 1, such as 0.05, or a function of a call, not {sample!r}"
        )
    limit = sample * 2**32
    return lambda call: zlib.crc32(call.id.encode()) < limit


def money(budget_usd: Decimal | float | str | None) -> Decimal | None:
    """An amount of US dollars above 0; `None` for no limit."""
    if budget_usd is None:
        return None
    amount = dollars(budget_usd)
    if amount is None:
        raise ConfigurationError(f"`budget_usd` is a number of US dollars over 0, such as '5.00', not {budget_usd!r}")
    return amount


def check_numbers(*, above_zero: Mapping[str, Any], whole: Mapping[str, tuple[Any, int]]) -> None:
    """Times and rates above 0, and whole numbers from a least one on; `keep_days` may be `None`."""
    for name, given in above_zero.items():
        if given is None and name == "keep_days":
            continue
        if not is_number(given) or not 0 < given < math.inf:
            raise ConfigurationError(f"`{name}` is a number above 0, not {given!r}")
    for name, (given, least) in whole.items():
        if isinstance(given, bool) or not isinstance(given, int) or given < least:
            raise ConfigurationError(f"`{name}` is a whole number from {least}, not {given!r}")
