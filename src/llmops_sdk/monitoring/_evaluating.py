"""Evaluators at work: on the SDK's loop, bounded in number, time and money; what is left out is counted."""

from __future__ import annotations

import asyncio
import inspect
import logging
import threading
import time
import weakref
from collections.abc import Callable, Sequence
from contextvars import ContextVar
from dataclasses import dataclass
from decimal import Decimal
from functools import partial
from typing import Any

from llmops_sdk import loops
from llmops_sdk.calls import Evaluated
from llmops_sdk.faults import Faults, error_name
from llmops_sdk.monitoring._budget import DayBudget
from llmops_sdk.monitoring._counts import Counts
from llmops_sdk.monitoring._evaluators import Evaluator, Vector, scores_of
from llmops_sdk.monitoring._observed import Observed
from llmops_sdk.monitoring._records import Score, StoredScore

__all__ = ["EVALUATING", "Evaluations", "Said"]

log = logging.getLogger("llmops_sdk")

EVALUATING: ContextVar[object] = ContextVar("llmops_sdk_evaluating", default=None)
"""The monitor whose evaluator is at work: what it runs is not observed, or it would be evaluated in its turn."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Said:
    """What an evaluator, or a person, said of one run.

    Attributes:
        scores: As they are kept.
        spent_usd: What it cost to say so.
        vector: Where it is the embedding of the answer, instead of scores; of the run `run`, which ended at `at`.
    """

    scores: tuple[StoredScore, ...] = ()
    spent_usd: Decimal = Decimal(0)
    vector: Vector | None = None
    run: str = ""
    at: float = 0.0


class Evaluations:
    """The evaluators of one monitor.

    Args:
        owner: The monitor.
        evaluators: What they are.
        concurrency: How many work at once.
        waiting: How many may wait for that.
        timeout_s: Seconds for each.
        budget: What they may spend.
        counts: Where it is counted what is left out.
        tell: Called with what one said.
    """

    def __init__(
        self,
        owner: object,
        evaluators: Sequence[Evaluator],
        *,
        concurrency: int,
        waiting: int,
        timeout_s: float,
        budget: DayBudget,
        counts: Counts,
        tell: Callable[[Said], object],
    ) -> None:
        self._owner = weakref.ref(owner)
        self._evaluators = evaluators
        self._concurrency = concurrency
        self._most = waiting + concurrency
        self._timeout_s = timeout_s
        self._budget = budget
        self._counts = counts
        self._tell = tell
        self._faults = Faults()
        self.begin_anew()

    def begin_anew(self) -> None:
        """In a forked child: what was under way is the parent's."""
        self._places: asyncio.Semaphore | None = None
        self._pending = 0
        self._idle = threading.Condition()

    def begin(self, run: Observed) -> None:
        """Have every evaluator judge this run, some time soon."""
        for evaluator in self._evaluators:
            if not self._budget.left(time.time()):
                self._counts.add("skipped.budget")
            elif not self._room():
                self._counts.add("skipped.evaluations_full")
            else:
                asyncio.run_coroutine_threadsafe(self._evaluate(evaluator, run), loops.sdk_loop())

    def _room(self) -> bool:
        with self._idle:
            if self._pending >= self._most:
                return False
            self._pending += 1
            return True

    def wait(self, timeout_s: float) -> bool:
        """Wait until none is under way; `False` when that took longer."""
        with self._idle:
            return self._idle.wait_for(lambda: self._pending == 0, max(timeout_s, 0.0))

    def give_up(self) -> None:
        """The monitor closes: what is still under way is left out, and counted."""
        with self._idle:
            if self._pending:
                self._counts.add("skipped.closed", self._pending)

    async def _evaluate(self, evaluator: Evaluator, run: Observed) -> None:
        EVALUATING.set(self._owner())
        if self._places is None:
            self._places = asyncio.Semaphore(self._concurrency)
        places = self._places
        said: Any = None
        error: Exception | None = None
        try:
            await places.acquire()
            work = asyncio.ensure_future(_asked(evaluator, run))
            # A thread that hangs keeps its place: others may not pile up behind it.
            work.add_done_callback(partial(_ended, places))
            try:
                done, _ = await asyncio.wait({work}, timeout=self._timeout_s)
                if not done:
                    if not evaluator.blocks:
                        work.cancel()
                    raise TimeoutError(f"it took longer than {self._timeout_s:g} s")
                said = work.result()
                scores = {} if isinstance(said, Vector) else scores_of(evaluator.name, said)
            except Exception as exc:  # noqa: BLE001  (it is kept with the run)
                error, scores = exc, {evaluator.name: Score()}
            self._keep(evaluator, run, scores, said if isinstance(said, Vector) else None, error)
        finally:
            with self._idle:
                self._pending -= 1
                self._idle.notify_all()

    def _keep(
        self,
        evaluator: Evaluator,
        run: Observed,
        scores: dict[str, Score],
        vector: Vector | None,
        error: Exception | None,
    ) -> None:
        at = time.time()
        spent = sum((one.cost_usd for one in scores.values() if one.cost_usd is not None), Decimal(0))
        self._budget.spend(at, spent)
        if error is not None:
            self._counts.add("evaluations.failed")
            if self._faults.is_new(evaluator.name, error):
                name = error_name(error)
                log.warning(
                    "the evaluator %r failed: %s; the like is counted, and not logged again", evaluator.name, name
                )
        elif not scores and vector is None:
            self._counts.add("evaluations.not_applicable")
        else:
            self._counts.add("evaluations")
            if evaluator.by == "llm" and any(one.cost_usd is None for one in scores.values()):
                self._counts.add("evaluations.unpriced")
        failure = None if error is None else error_name(error)
        kept = []
        call = run.call
        for given, one in scores.items():
            name = call.hidden_label(given)
            label = None if one.label is None else call.hidden_label(one.label)
            why = None if one.explanation is None else call.hidden(one.explanation)
            kept.append(
                StoredScore(
                    run=run.id, at=at, name=name, score=one.score, label=label, explanation=why,
                    by=evaluator.by, error=failure, cost_usd=one.cost_usd,
                )
            )  # fmt: skip
            call.record(Evaluated(call.clock(), name, one.score, label, one.explanation, evaluator.by, error))
        self._tell(Said(scores=tuple(kept), spent_usd=spent, vector=vector, run=run.id, at=run.at + run.seconds))


async def _asked(evaluator: Evaluator, run: Observed) -> Any:
    """What it says; in a thread of its own if it blocks."""
    said = await loops.in_thread(lambda: _not_ending(evaluator, run)) if evaluator.blocks else evaluator.ask(run)
    try:
        return await said if inspect.isawaitable(said) else said
    except (SystemExit, KeyboardInterrupt) as exc:
        raise _left(exc) from exc


def _not_ending(evaluator: Evaluator, run: Observed) -> Any:
    try:
        return evaluator.ask(run)
    except (SystemExit, KeyboardInterrupt) as exc:
        raise _left(exc) from exc


def _left(error: BaseException) -> RuntimeError:
    """In the place of what would end the loop on which all runs of the process wait."""
    return RuntimeError(f"an evaluator raised {type(error).__name__}")


def _ended(places: asyncio.Semaphore, work: asyncio.Future[Any]) -> None:
    places.release()
    if not work.cancelled():
        work.exception()  # of one that was given up, nobody else asks for it
