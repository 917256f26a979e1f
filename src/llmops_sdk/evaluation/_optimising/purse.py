"""What optimising may spend: a share for the judgement first, the rest for the search."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from decimal import Decimal
from typing import TYPE_CHECKING

from llmops_sdk.errors import BudgetExceeded
from llmops_sdk.evaluation._cases import Case
from llmops_sdk.evaluation._costs import allowed

if TYPE_CHECKING:
    from llmops_sdk.evaluation._running.reading import Cell

__all__ = ["WRITER", "Purse"]

WRITER = "proposer"
"""Label of the engine that proposes: what it costs says nothing of prompts."""

_NOTHING = Decimal(0)
_LARGEST_SHARE = Decimal("0.5")
"""Of the budget, for the judgement, until it is known what runs cost."""
_MARGIN = Decimal("1.25")
"""What runs are taken to cost, in terms of what earlier ones did: other cases are longer."""
_LONGER = 2
"""And those of candidates, before one was run: they show examples."""


class Purse:
    """Counts what an optimisation has cost, whichever process paid for it, and says what is left.

    Args:
        limit: US dollars for all of it; `None` for no limit.
        judged: Cases of the judgement, each of which two prompts are run on.

    Raises:
        ConfigurationError: The limit is no amount over 0.
    """

    def __init__(self, limit: Decimal | float | str | None, *, judged: int) -> None:
        self.limit = allowed(limit)
        self.unpriced = False
        self._judged = judged
        self._costs: dict[str, dict[str, Decimal]] = {}

    def count(self, cell: Cell) -> None:
        """Count what a run and its scores have cost; one that was counted before is not counted again."""
        costs = [cell.cost_usd, *(one.score.cost_usd for one in cell.scores)]
        known = [cost for cost in costs if cost is not None]
        self.unpriced = self.unpriced or (cell.error is None and len(known) < len(costs))
        self._costs.setdefault(cell.arm, {})[cell.case] = sum(known, _NOTHING)

    @property
    def spent(self) -> Decimal:
        """US dollars for all runs and scores so far."""
        return sum((cost for of_arm in self._costs.values() for cost in of_arm.values()), _NOTHING)

    @property
    def reserved(self) -> Decimal:
        """What is kept for the judgement."""
        if self.limit is None:
            return _NOTHING
        most, means = self.limit * _LARGEST_SHARE, self._means()
        if not means:
            return most
        of_run = max(means.values()) * (_LONGER if len(means) == 1 else 1)
        return min(most, 2 * self._judged * of_run * _MARGIN)

    def affordable(
        self, cases: Sequence[Case], labels: Iterable[str], *, reserved: bool = False, share: Decimal = Decimal(1)
    ) -> int:
        """On how many of the cases, the first ones, prompts can be run; all where no cost is known yet.

        Args:
            cases: The cases; what was run on them already is paid.
            labels: The prompts.
            reserved: Whether what is kept for the judgement may be used.
            share: Of what is left.
        """
        left, means = self.left(reserved=reserved), self._means()
        if left is None or not means:
            return len(cases)
        dearest = max(means.values())
        of_run = {label: means.get(label, dearest) * _MARGIN for label in labels}
        total = _NOTHING
        for number, case in enumerate(cases):
            total += sum(
                (cost for label, cost in of_run.items() if case.id not in self._costs.get(label, ())), _NOTHING
            )
            if total > left * share:
                return number
        return len(cases)

    def _means(self) -> dict[str, Decimal]:
        """Label of a prompt -> what a run of it costs on average."""
        costs = {label: of_arm for label, of_arm in self._costs.items() if label != WRITER}
        return {label: sum(of_arm.values(), _NOTHING) / len(of_arm) for label, of_arm in costs.items()}

    def left(self, *, reserved: bool) -> Decimal | None:
        """What may be spent now; `None` without a limit.

        Args:
            reserved: Whether what is kept for the judgement may be used.
        """
        return None if self.limit is None else self.limit - self.spent - (_NOTHING if reserved else self.reserved)

    def limit_now(self, *, reserved: bool, share: Decimal = Decimal(1)) -> Decimal | None:
        """`left`, or a share of it, for an experiment that begins.

        Raises:
            BudgetExceeded: Nothing is left.
        """
        left = self.left(reserved=reserved)
        if left is not None and left <= 0:
            raise BudgetExceeded(
                f"of the budget of {self.limit} USD nothing is left", budget_usd=self.limit, spent_usd=self.spent
            )
        return None if left is None else left * share
