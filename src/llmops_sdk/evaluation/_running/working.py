"""Runs cells: several at a time, in the order that was planned, each kept as soon as it is finished."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from llmops_sdk.errors import BudgetExceeded, LimitExceeded
from llmops_sdk.evaluation._costs import paid_for
from llmops_sdk.evaluation._running.budget import Budget
from llmops_sdk.evaluation._running.cells import Cell, Group, Planner, asked_of
from llmops_sdk.evaluation._running.feeding import Feed
from llmops_sdk.evaluation._running.progress import Progress
from llmops_sdk.evaluation._running.scoring import Asked, Outcome, score
from llmops_sdk.evaluation._running.store import Ending, Store
from llmops_sdk.evaluation._running.writing import Writer, score_rows
from llmops_sdk.pipelines import Result, concurrency_of, result_of
from llmops_sdk.protocols import Hook
from llmops_sdk.usage import total

__all__ = ["RunOptions", "Work"]

_GRACE_S = 0.5
"""How long runs may take to react to their cancellation; then they are left to themselves."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunOptions:
    """How each run is made, as `Pipeline.run` has it, and how long a metric may take."""

    deadline_s: float | None = None
    tags: Mapping[str, Any] | None = None
    hooks: Sequence[Hook] = ()
    metric_deadline_s: float | None = None
    concurrency: int | None = None


class Work:
    """All cells of an experiment.

    Args:
        planner: Tells what is to be done.
        store: Where runs are that are scored anew.
        writer: Keeps what is found.
        budget: What may be spent.
        progress: Is told of each cell.
        options: How runs are made.
        feed: Tells when it is clear; `None` where all cases are asked.
        made: Keys of runs that this call has made already.
    """

    def __init__(
        self,
        planner: Planner,
        store: Store,
        writer: Writer,
        *,
        budget: Budget,
        progress: Progress,
        options: RunOptions,
        feed: Feed | None,
        made: AbstractSet[bytes],
    ) -> None:
        self._planner = planner
        self._store = store
        self._writer = writer
        self._budget = budget
        self._progress = progress
        self._options = options
        self._feed = feed
        self._made = made
        self._exhausted = False
        self._costly: set[bytes] = set()
        self._limits, most = _limits(planner, options.concurrency)
        # While an answer is scored another one is asked for.
        self._workers = 2 * most
        self.reused: dict[str, int] = {}

    async def run(self) -> Ending:
        """Do all that is to be done.

        Raises:
            EvaluationError: What was found could not be kept.
        """
        todo = self._todo()
        tasks = {asyncio.get_running_loop().create_task(self._work(todo)) for _ in range(self._workers)}
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_EXCEPTION)
            for task in done:
                task.result()
        finally:
            left = [task for task in tasks if task.cancel()]
            if left:
                await asyncio.wait(left, timeout=_GRACE_S)
        if self._feed is not None and not self._exhausted:
            self._feed.end()
        return self._ending()

    def _ending(self) -> Ending:
        if self._feed is not None and self._feed.decided:
            return Ending("decided", self._feed.observed)
        if self._exhausted:
            return Ending("budget", None if self._feed is None else self._feed.observed)
        return Ending("complete")

    @property
    def _over(self) -> bool:
        return self._exhausted or (self._feed is not None and self._feed.decided)

    def _todo(self) -> Iterator[tuple[Group, Cell] | None]:
        """What is to be done; `None` now and then, where others should have their turn."""
        turn = 0
        for groups in self._planner.groups():
            for group in groups:
                if self._over:
                    return
                self._begin(group)
                turn += 1
                for number in range(len(group.cells)):
                    # In turns, so that none is always asked first.
                    cell = group.cells[(turn + number) % len(group.cells)]
                    if not cell.done:
                        yield group, cell
            yield None

    def _begin(self, group: Group) -> None:
        for cell in group.cells:
            if cell.kept is not None and cell.key not in self._made:
                self._writer.add_cell(cell.row)
                self.reused[cell.arm.label] = self.reused.get(cell.arm.label, 0) + 1
                self._progress.kept()
        if self._feed is not None:
            self._feed.expect(group)
            self._feed.advance()

    async def _work(self, todo: Iterator[tuple[Group, Cell] | None]) -> None:
        for one in todo:
            self._writer.check()
            if one is None:
                await asyncio.sleep(0)
            elif self._over:
                return
            else:
                await self._do(*one)

    async def _do(self, group: Group, cell: Cell) -> None:
        if cell.kept is None and not await self._run(group, cell):
            return
        if cell.asked or cell.read:
            result, label = await self._answer(cell), cell.arm.label
            asked = asked_of(cell.asked, failed=result.error is not None)
            if asked and not await self._scored(group, cell.key, asked, cell.again, (result,), group.scores[label]):
                return
            if cell.read and result.error is None:
                group.results[label] = result
        if group.left > 1:
            group.left -= 1
            return
        base = group.results.get(self._planner.base)
        for pair in group.pairs:
            other, scores = group.results.get(pair.label), group.scores[pair.label]
            if base is None or other is None:
                continue
            if not await self._scored(group, pair.key, pair.asked, pair.again, (base, other), scores):
                return
        group.left -= 1
        group.results.clear()
        if self._feed is not None:
            self._feed.advance()

    async def _answer(self, cell: Cell) -> Result:
        """The answer as the file has it: of one that has just come metrics say what they will say of it later."""
        record = self._store.record(cell.key)
        return await cell.arm.pipeline.arevived(result_of(record, tags=self._options.tags))

    async def _run(self, group: Group, cell: Cell) -> bool:
        """Ask for the answer; gives whether it is kept now: it is not where the experiment was over before."""
        async with self._limits[id(cell.arm.pipeline.engine)]:
            while not self._over:
                if await self._asked(group, cell):
                    break
            else:
                return False
        await asyncio.sleep(0)  # the writer has its turn
        self._writer.check()
        return True

    async def _asked(self, group: Group, cell: Cell) -> bool:
        """Ask once; gives whether somebody was asked: a run that was refused before is to be tried again."""
        label = cell.arm.label
        try:
            reserved = await self._budget.reserve(label)
        except BudgetExceeded:
            self._exhausted = True
            return False
        result = await cell.arm.pipeline.aresult(
            group.case.case.input,
            deadline_s=self._options.deadline_s,
            budget_usd=reserved,
            tags=self._options.tags,
            hooks=self._options.hooks,
        )
        error, (cost, estimated) = result.error, paid_for(result)
        free = cost == 0 and not estimated
        refused = reserved is not None and isinstance(error, BudgetExceeded)
        wait_s = error.retry_after_s if isinstance(error, LimitExceeded) and free else None
        again = wait_s is not None or (refused and free)
        if not again:
            paid = None if estimated else cost
            self._writer.add_run(cell.row, result, paid, before=cell.before)
            self._progress.cell(result)
        self._budget.settle(reserved, cost, estimated, kind=label, refused=refused)
        if wait_s is not None:  # the limit has no room before the run's deadline, and the experiment has time
            await asyncio.sleep(wait_s)
        return not again

    async def _scored(
        self,
        group: Group,
        key: bytes,
        asked: list[Asked],
        again: set[bytes],
        results: tuple[Result, ...],
        values: dict[str, float],
    ) -> bool:
        """Ask the metrics, and keep what they say; gives whether the money was enough for all of them."""
        costs: list[Decimal | None] = []

        def keep(outcome: Outcome) -> None:
            one, scores, error = outcome
            rows = score_rows(key, one.key, scores, error)
            self._writer.add_scores(key, one.key, rows, anew=one.key in again)
            for name, said in scores.items():
                if said.value is not None:
                    values[name] = said.value
                cost = said.cost_usd
                if cost is None or cost:
                    self._costly.add(one.key)
                    self._progress.judged(cost)
                    costs.append(cost)
            if error is not None:
                self._progress.unscored(one.metric.name)

        limited = self._budget.limit_usd is not None
        costly = [one for one in asked if limited and (one.metric.may_cost or one.key in self._costly)]
        free = [one for one in asked if one not in costly]
        for part in filter(None, (free, costly)):
            kind = ", ".join(one.metric.name for one in part)
            reserved = await self._set_aside(kind) if part is costly else Decimal(0)
            if reserved is None:
                self._exhausted = True
                return False
            try:
                await score(part, group.case.case, results, keep, deadline_s=self._options.metric_deadline_s)
            finally:
                self._budget.settle(reserved, total(costs), kind=kind)
                costs.clear()
        return True

    async def _set_aside(self, kind: str) -> Decimal | None:
        """Money for metrics, which cannot be told to keep to it; `None` where less is left than one has cost."""
        try:
            reserved = await self._budget.reserve(kind, ahead=True)
        except BudgetExceeded:
            return None
        if reserved is not None and reserved < self._budget.dearest_usd(kind):
            self._budget.settle(reserved, Decimal(0), kind=kind)
            return None
        return reserved


def _limits(planner: Planner, concurrency: int | None) -> tuple[dict[int, asyncio.Semaphore], int]:
    """What holds the runs of each engine to their number, and that number for all together."""
    engines = {id(arm.pipeline.engine): arm.pipeline.engine for arm in planner.arms}
    numbers = {key: concurrency_of(concurrency, engine) for key, engine in engines.items()}
    if concurrency is not None:
        together = asyncio.Semaphore(concurrency)
        return dict.fromkeys(engines, together), concurrency
    return {key: asyncio.Semaphore(number) for key, number in numbers.items()}, sum(numbers.values())
