"""What metrics return, read as scores."""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from llmops_sdk.errors import ConfigurationError
from llmops_sdk.evaluation.metrics._metric import Metric, Score

__all__ = ["scores_of"]

_MOST = 100
"""Scores of one metric for one answer: each is compared, so more of them find nothing any more."""


def scores_of(one: Metric, said: Any) -> dict[str, Score]:
    """What a metric said, by name.

    Raises:
        ConfigurationError: It is no score, no finite number, or out of the metric's bounds.
    """
    if not isinstance(said, Mapping):
        return {one.name: _score(one, said)}
    if not 1 <= len(said) <= _MOST:
        raise ConfigurationError(
            f"the metric {one.name!r} gave a mapping of {len(said)}: it has 1 to {_MOST} scores, and `None` says that "
            "one does not apply"
        )
    for name in said:
        if not isinstance(name, str) or not name:
            raise ConfigurationError(f"the metric {one.name!r} gave a score named {name!r}, which is no text")
    return {f"{one.name}.{name}": _score(one, value) for name, value in said.items()}


def _score(one: Metric, said: Any) -> Score:
    if not isinstance(said, Score):
        return Score(value=None if said is None else _number(one, said))
    for text in (said.label, said.explanation):
        if not (text is None or isinstance(text, str)):
            raise ConfigurationError(f"the metric {one.name!r}: a label and an explanation are texts, not {text!r}")
    return dataclasses.replace(
        said,
        value=None if said.value is None else _number(one, said.value),
        details=_details(one, said.details),
        cost_usd=_dollars(one, said.cost_usd),
    )


def _number(one: Metric, said: Any) -> float:
    # Numbers of numpy, decimals and fractions know their `__float__`; texts have none.
    try:
        value = float(said) if hasattr(said, "__float__") else math.nan
    except (TypeError, ValueError, OverflowError):
        value = math.nan
    low, high = one.bounds
    if not math.isfinite(value) or not low <= value <= high:
        raise ConfigurationError(
            f"the metric {one.name!r} gave {repr(said)[:200]}, which is no finite number from {low} to {high}"
        )
    return value


def _details(one: Metric, given: Any) -> Mapping[str, Any]:
    if given == {}:
        return {}
    try:
        if isinstance(given, Mapping):
            kept: dict[str, Any] = json.loads(json.dumps(dict(given), allow_nan=False))
            return kept
    except (TypeError, ValueError, RecursionError):
        pass
    raise ConfigurationError(f"the metric {one.name!r} gave details that are no plain JSON: {repr(given)[:200]}")


def _dollars(one: Metric, given: Any) -> Decimal | None:
    if given is None or isinstance(given, bool):
        if given is None:
            return None
    elif isinstance(given, Decimal | int | float):
        amount = Decimal(str(given))
        if amount.is_finite() and amount >= 0:
            return amount
    raise ConfigurationError(f"the metric {one.name!r} gave the cost {given!r}, which is no amount of US dollars")
