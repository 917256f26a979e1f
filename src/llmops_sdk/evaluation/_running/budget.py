"""What an experiment may spend: each run is given its part of the money before it asks anybody."""

from __future__ import annotations

import asyncio
import collections
from decimal import Decimal

from llmops_sdk.errors import BudgetExceeded, EvaluationError
from llmops_sdk.usage import EXACT

__all__ = ["Budget"]

_NOTHING = Decimal(0)
_ROOM = 4
"""A run is given this many times what the dearest of its kind has cost."""
_LEAST_PART = 1024
"""And at least this fraction of the whole, so that runs that cost nothing, or next to it, are not kept waiting."""


class Budget:
    """A limit that holds whatever happens at once: what is handed out to runs never adds up to more than it.

    Nobody knows what the first run of a kind costs, so it is handed all that is left, and runs alone. Those after it
    are handed four times what the dearest of the kind has cost, and more where that was refused as too little.
    For one event loop.

    Args:
        limit_usd: US dollars, over 0; `None` for no limit.
    """

    def __init__(self, limit_usd: Decimal | None) -> None:
        self.limit_usd = limit_usd
        self.spent_usd = self.estimated_usd = self.held_usd = _NOTHING
        self.unpriced = 0
        """Runs whose cost nobody knows; only without a limit."""
        self._parts: dict[str, Decimal] = {}
        self._dearest: dict[str, Decimal] = {}
        self._waiting: collections.deque[tuple[str, asyncio.Future[Decimal]]] = collections.deque()
        self._unknown: str | None = None
        self._too_little = False

    @property
    def left_usd(self) -> Decimal | None:
        """What is neither spent nor handed out; `None` without a limit."""
        if self.limit_usd is None:
            return None
        taken = EXACT.add(EXACT.add(self.spent_usd, self.estimated_usd), self.held_usd)
        return EXACT.subtract(self.limit_usd, taken)

    def dearest_usd(self, kind: str) -> Decimal:
        """The most that one of this kind has cost, 0 where none was asked."""
        return self._dearest.get(kind, _NOTHING)

    async def reserve(self, kind: str = "", *, ahead: bool = False) -> Decimal | None:
        """What the next run may spend at most, for its `budget_usd`; `settle` takes it back.

        Waits while what is under way could use up the rest.

        Args:
            kind: Runs of one kind cost about the same: label of a pipeline, name of a judge.
            ahead: Whether it goes before those who wait: what has begun is finished before more is begun.

        Raises:
            BudgetExceeded: Nothing is left, or too little for a run.
            EvaluationError: Nobody knows what an earlier run has cost.
        """
        if self.limit_usd is None:
            return None
        granted: asyncio.Future[Decimal] = asyncio.get_running_loop().create_future()
        place = self._waiting.appendleft if ahead else self._waiting.append
        place((kind, granted))
        self._grant()
        try:
            return await granted
        except asyncio.CancelledError:
            handed = granted.done() and not granted.cancelled() and granted.exception() is None
            self._free(granted.result() if handed else _NOTHING)  # those behind it need not wait for it
            raise

    def settle(
        self,
        reserved: Decimal | None,
        cost: Decimal | None,
        estimated: Decimal | None = None,
        *,
        kind: str = "",
        refused: bool = False,
    ) -> bool:
        """A run has ended: book what it cost, and free what it was handed beside. Also for one that was cancelled.

        Args:
            reserved: What `reserve` gave for it.
            cost: What it has cost, and
            estimated: may have cost beside; both as `_costs.paid_for` says.
            kind: As for `reserve`.
            refused: Whether it ended with `BudgetExceeded`.

        Returns:
            Whether the run is worth another try: it was refused, and the next one of this kind is handed more.

        Raises:
            EvaluationError: There is a limit, and nobody knows what the run has cost.
        """
        had_all = reserved == self.held_usd and not self.left_usd
        self.spent_usd = EXACT.add(self.spent_usd, cost or _NOTHING)
        self.estimated_usd = EXACT.add(self.estimated_usd, estimated or _NOTHING)
        unknown = cost is None and estimated is None
        self.unpriced += unknown
        if self.limit_usd is None or reserved is None:
            return False
        if unknown:
            self._unknown = kind or "the pipeline"
        self._too_little = self._too_little or (refused and had_all)
        self._learn(kind, EXACT.add(cost or _NOTHING, estimated or _NOTHING), reserved if refused else None)
        self._free(reserved)
        if unknown:
            raise self._refusal()
        return refused and not self._too_little

    def _learn(self, kind: str, cost: Decimal, refused: Decimal | None) -> None:
        self._dearest[kind] = max(cost, self.dearest_usd(kind))
        least = EXACT.divide(self.limit_usd or _NOTHING, Decimal(_LEAST_PART))
        part = max(EXACT.multiply(cost, Decimal(_ROOM)), least)
        if refused is not None:
            part = max(part, EXACT.multiply(refused, Decimal(_ROOM)))
        self._parts[kind] = max(part, self._parts.get(kind, _NOTHING))

    def _free(self, reserved: Decimal) -> None:
        self.held_usd = EXACT.subtract(self.held_usd, reserved)
        self._grant()

    def _grant(self) -> None:
        """Hand out what there is, to those who wait longest."""
        while self._waiting:
            kind, granted = self._waiting[0]
            left = self.left_usd or _NOTHING
            part = self._parts.get(kind)
            if not granted.done():
                if self._unknown or self._too_little or (left <= 0 and not self.held_usd):
                    granted.set_exception(self._refusal())
                elif part is not None and part <= left:
                    self._hand(granted, part)
                elif not self.held_usd:  # nobody else is under way, and who is first may use all that is left
                    self._hand(granted, left)
                else:
                    return
            self._waiting.popleft()

    def _hand(self, granted: asyncio.Future[Decimal], amount: Decimal) -> None:
        self.held_usd = EXACT.add(self.held_usd, amount)
        granted.set_result(amount)

    def _refusal(self) -> EvaluationError | BudgetExceeded:
        if self._unknown is not None:
            return EvaluationError(
                f"a run of {self._unknown!r} has cost what nobody knows, so a budget of {self.limit_usd} USD cannot be "
                "kept: give the pipeline or its engine `prices`, or leave out `budget_usd`"
            )
        about = f", and about {self.estimated_usd} USD of what was cut off" if self.estimated_usd else ""
        rest = "what is left is too little for a run" if self._too_little else "nothing is left"
        return BudgetExceeded(
            f"the experiment's budget of {self.limit_usd} USD is used up ({self.spent_usd} USD{about}; {rest}); "
            "raise `budget_usd` and start it again with the same `store`: it goes on where it was",
            budget_usd=self.limit_usd,
            spent_usd=self.spent_usd,
        )
