"""Milliseconds, tokens and money as people read them."""

from __future__ import annotations

from collections.abc import Iterable
from decimal import Decimal
from typing import TYPE_CHECKING

from llmops_sdk.tracing._explain.steps import Step, every

if TYPE_CHECKING:
    from llmops_sdk.tracing._explain.explanation import Explanation

__all__ = ["Purse", "column_ms", "money", "ms_text", "tokens", "total_money", "total_tokens"]


def ms_text(value: float) -> str:
    """Milliseconds, with one digit after the point, two where it is less than 1."""
    return f"{value:,.2f}" if 0 < value < 1 else f"{value:,.1f}"


def column_ms(value: float | None) -> str:
    """Milliseconds in a column: two digits after the point, so that the points stand below each other."""
    return "" if value is None else f"{value:,.2f}"


def tokens(counted: Step | Explanation) -> tuple[str, str]:
    """Tokens in and out in their columns."""
    if counted.input_tokens is None or counted.output_tokens is None:
        return "", ""
    return f"{counted.input_tokens:,}", f"{counted.output_tokens:,}"


def total_tokens(explanation: Explanation) -> str:
    """The tokens of the run in words."""
    if explanation.input_tokens is None:
        return "tokens not counted"
    return f"{explanation.input_tokens:,} tokens in, {explanation.output_tokens:,} out"


def money(value: Decimal) -> str:
    """US dollars with four digits after the point, more where the sum is so small that they are needed.

    Example:
        >>> money(Decimal("12.5")), money(Decimal("0.00021325"))
        ('12.5000', '0.000213')
    """
    return f"{value:,.{_digits(value)}f}"


def total_money(explanation: Explanation) -> str:
    """The cost of the run in words: what is not known is never counted as nothing."""
    unknown = explanation.unpriced
    if not unknown:
        return f"{money(explanation.cost_usd)} USD"
    if not explanation.cost_usd:
        return "price unknown"
    return f"{money(explanation.cost_usd)} USD + {unknown} attempt{'s' * (unknown != 1)} of unknown price"


class Purse:
    """The column of costs: all with as many digits as the smallest needs, so that one can add them up."""

    def __init__(self, explanation: Explanation) -> None:
        self._explanation = explanation
        steps = every((*explanation.steps, *explanation.afterwards))
        self._most = max(map(_digits, _costs(steps)), default=_digits(explanation.cost_usd))

    def of(self, step: Step) -> str:
        """The cost of a step."""
        if not step.priced:
            return ""
        return "unknown" if step.cost_usd is None else f"{step.cost_usd:,.{self._most}f}"

    def total(self) -> str:
        """The cost of the run."""
        cost_usd = self._explanation.cost_usd
        if self._explanation.unpriced:
            return f"≥ {cost_usd:,.{self._most}f}" if cost_usd else "unknown"
        return f"{cost_usd:,.{self._most}f}"


def _costs(steps: Iterable[Step]) -> Iterable[Decimal]:
    return (step.cost_usd for step in steps if step.priced and step.cost_usd is not None)


def _digits(value: Decimal) -> int:
    return 4 if value == 0 else min(max(4, 2 - value.adjusted()), 12)
