"""Keywords that limit a value by a number, one at a time: what the facts of a case allow that the keyword refuses.

Each check gives words, or nothing where the keyword refuses nothing that the facts allow.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

from llmops_sdk.prompts._comparing._schemas.values import CannotTellError, listed
from llmops_sdk.prompts._types.keywords import JSON_TYPES

__all__ = ["CHECKS", "INSIDE", "IRRELEVANT_TO"]

_Check: TypeAlias = Callable[[Mapping[str, Any], Any], str]


def _low(facts: Mapping[str, Any]) -> tuple[float, bool]:
    """Least number, and whether it is excluded itself."""
    low = max(
        (facts.get("minimum", -math.inf), False),
        (facts.get("exclusiveMinimum", -math.inf), "exclusiveMinimum" in facts),
    )
    if facts["type"] == "integer" and math.isfinite(low[0]):
        return (math.floor(low[0]) + 1 if low[1] else math.ceil(low[0])), False
    return low


def _high(facts: Mapping[str, Any]) -> tuple[float, bool]:
    turned = {"minimum": "maximum", "exclusiveMinimum": "exclusiveMaximum"}
    low, excluded = _low({"type": facts["type"], **{name: -facts[key] for name, key in turned.items() if key in facts}})
    return -low, excluded


def _below(facts: Mapping[str, Any], least: float) -> str:
    return f"may be less than {least}" if _low(facts)[0] < least else ""


def _not_above(facts: Mapping[str, Any], least: float) -> str:
    return f"may be {least} or less" if _low(facts) < (least, True) else ""


def _above(facts: Mapping[str, Any], most: float) -> str:
    return f"may be more than {most}" if _high(facts)[0] > most else ""


def _not_below(facts: Mapping[str, Any], most: float) -> str:
    high, excluded = _high(facts)
    return f"may be {most} or more" if high > most or (high == most and not excluded) else ""


def _no_multiple(facts: Mapping[str, Any], of: float) -> str:
    if isinstance(of, bool) or not isinstance(of, int | float) or of <= 0:
        raise CannotTellError(f"`multipleOf: {of}` is no number above 0")
    step = facts.get("const", facts.get("multipleOf", 1 if facts["type"] == "integer" else None))
    # Of floats only what is the same is told: what a validator makes of 0.3 and 0.1 depends on its arithmetic.
    divides = step is not None and (step == of or (isinstance(step, int) and isinstance(of, int) and step % of == 0))
    return "" if divides else f"may be no multiple of {of}"


def _shorter(least_key: str, noun: str) -> _Check:
    def check(facts: Mapping[str, Any], least: float) -> str:
        low = facts.get(least_key, 0)
        if least_key == "minProperties":
            low = max(low, len(set(listed(facts, "required"))))
        return f"may have less than {least} {noun}" if low < least else ""

    return check


def _longer(most_key: str, noun: str) -> _Check:
    def check(facts: Mapping[str, Any], most: float) -> str:
        return f"may have more than {most} {noun}" if facts.get(most_key, math.inf) > most else ""

    return check


def _repeated(facts: Mapping[str, Any], unique: object) -> str:
    short = facts.get("maxItems", math.inf) <= 1
    return "may have an item twice" if unique and not facts.get("uniqueItems") and not short else ""


_NUMBERS: dict[str, _Check] = {
    "minimum": _below,
    "exclusiveMinimum": _not_above,
    "maximum": _above,
    "exclusiveMaximum": _not_below,
    "multipleOf": _no_multiple,
}
CHECKS: dict[str, dict[str, _Check]] = {
    "integer": _NUMBERS,
    "number": _NUMBERS,
    "string": {"minLength": _shorter("minLength", "characters"), "maxLength": _longer("maxLength", "characters")},
    "array": {
        "minItems": _shorter("minItems", "items"),
        "maxItems": _longer("maxItems", "items"),
        "uniqueItems": _repeated,
    },
    "object": {
        "minProperties": _shorter("minProperties", "properties"),
        "maxProperties": _longer("maxProperties", "properties"),
    },
}
"""Keywords that are compared, by the type that they are about."""

INSIDE = {
    "array": ("items", "prefixItems"),
    "object": ("properties", "required", "additionalProperties"),
}
"""Keywords that are compared with others, in `_items` and `_properties`."""

_ABOUT = {
    **{key: kind for kind in ("string", "array", "object") for key in (*CHECKS[kind], *INSIDE.get(kind, ()))},
    "pattern": "string",
    "contains": "array",
    "unevaluatedItems": "array",
    "patternProperties": "object",
    "propertyNames": "object",
    "dependentRequired": "object",
    "dependentSchemas": "object",
    "unevaluatedProperties": "object",
}
IRRELEVANT_TO = {
    kind: (
        *(key for key, about in _ABOUT.items() if about != kind),
        *(() if kind in ("integer", "number") else _NUMBERS),
        *(() if kind in ("integer", "number", "string") else ("format",)),
    )
    for kind in JSON_TYPES
}
"""Keywords that refuse no value of a type."""
