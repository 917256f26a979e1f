"""What was spent, summed by whatever one asks for."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from llmops_sdk.messages import PromptRef, Usage

__all__ = ["Ledger"]


class Ledger:
    """Sums of all attempts: calls, tokens and money.

    Attributes:
        calls: Attempts that were booked.
        unpriced: Those among them whose price is not known.
        cost_usd: US dollars of all others, exact.
    """

    __slots__ = ("calls", "cost_usd", "unpriced")

    def __init__(self) -> None:
        self.calls = 0
        self.unpriced = 0
        self.cost_usd = Decimal(0)

    def book(
        self,
        engine: str,
        model: str | None,
        usage: Usage | None,
        cost_usd: Decimal | None,
        *,
        prompt: PromptRef | None = None,
        tags: Mapping[str, Any] | None = None,
    ) -> None:
        """Add one attempt."""
        self.calls += 1
        if cost_usd is None:
            self.unpriced += 1
        else:
            self.cost_usd += cost_usd
