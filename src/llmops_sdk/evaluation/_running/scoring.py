"""Calls metrics: whatever they raise, however long they take, the run goes on, and what went wrong is kept."""

from __future__ import annotations

import asyncio
import contextlib
import inspect
import traceback
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from decimal import Decimal
from typing import Any, NamedTuple

from llmops_sdk import loops
from llmops_sdk.evaluation._cases import Case
from llmops_sdk.evaluation._running.plan import MetricPlan
from llmops_sdk.evaluation.metrics import Metric, Score, scores_of
from llmops_sdk.given import dollars
from llmops_sdk.pipelines import Result

__all__ = ["Asked", "Outcome", "score"]


class Asked(NamedTuple):
    """A metric that is to be asked, with the key of its version."""

    metric: Metric
    key: bytes

    @classmethod
    def all(cls, metrics: Sequence[Metric], plans: Sequence[MetricPlan]) -> tuple[Asked, ...]:
        """All metrics of an experiment."""
        return tuple(cls(one, plan.key) for one, plan in zip(metrics, plans, strict=True))


class Outcome(NamedTuple):
    """What came of asking a metric: scores by name, or the traceback of what it raised."""

    asked: Asked
    scores: Mapping[str, Score]
    error: str | None


Keep = Callable[[Outcome], object]


async def score(
    asked: Iterable[Asked], case: Case, results: Sequence[Result], keep: Keep, *, deadline_s: float | None
) -> None:
    """Ask metrics about one answer, or about two.

    Args:
        asked: The metrics. Those that block are called in one thread, one after another; those that wait, at once.
        case: What was asked.
        results: The answer, or the base's and the other one.
        keep: Is told of each outcome as soon as it is there.
        deadline_s: Seconds for each metric; those that block share the sum of theirs.
    """
    waiting: list[Awaitable[None]] = []
    blocking: list[Asked] = []
    for one in asked:
        if one.metric.blocks:
            blocking.append(one)
            continue
        said, error = _called(one.metric, case, results)
        if error is None and inspect.isawaitable(said):
            waiting.append(_awaited(one, said, keep, deadline_s))
        else:
            keep(_outcome(one, said, error))
    if blocking:
        waiting.append(_in_thread(blocking, case, results, keep, deadline_s))
    if len(waiting) == 1:
        await waiting[0]
    elif waiting:
        await loops.gather(waiting)


async def _awaited(one: Asked, said: Awaitable[Any], keep: Keep, deadline_s: float | None) -> None:
    value: Any = None
    error: str | None = None
    clock = asyncio.timeout(deadline_s)
    try:
        async with clock:
            value = await said
    except asyncio.CancelledError as exc:
        task = asyncio.current_task()
        if task is None or task.cancelling():
            raise
        value, error = _failed(exc)  # something within the metric was cancelled, not this
    except (Exception, SystemExit) as exc:  # noqa: BLE001  (the cell is marked)
        value, error = _failed(exc)
        if clock.expired() and isinstance(exc, TimeoutError):
            error = _late(deadline_s)
    keep(_outcome(one, value, error))


async def _in_thread(
    blocking: list[Asked], case: Case, results: Sequence[Result], keep: Keep, deadline_s: float | None
) -> None:
    while blocking:
        hop = _Hop(blocking, case, results)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(None if deadline_s is None else deadline_s * len(blocking)):
                await loops.in_thread(hop)
        said, hop.left = list(hop.said), True
        for one, (value, error) in zip(blocking, said, strict=False):
            if error is None and inspect.isawaitable(value):
                await _awaited(one, value, keep, deadline_s)
            else:
                keep(_outcome(one, value, error))
        if len(said) < len(blocking):  # the thread cannot be stopped; what comes behind gets another one
            keep(_outcome(blocking[len(said)], None, _late(deadline_s)))
        blocking = blocking[len(said) + 1 :]


class _Hop:
    """Calls one metric after the other, until whoever waits has left."""

    def __init__(self, asked: Sequence[Asked], case: Case, results: Sequence[Result]) -> None:
        self._asked = asked
        self._case = case
        self._results = results
        self.said: list[tuple[Any, str | None]] = []
        self.left = False

    def __call__(self) -> None:
        for one in self._asked:
            found = _called(one.metric, self._case, self._results)
            if self.left:
                return
            self.said.append(found)


def _called(one: Metric, case: Case, results: Sequence[Result]) -> tuple[Any, str | None]:
    try:
        return one(case, *results), None
    except (Exception, SystemExit, asyncio.CancelledError) as exc:  # noqa: BLE001  (the cell is marked)
        return _failed(exc)


def _outcome(one: Asked, said: Any, error: str | None) -> Outcome:
    scores: Mapping[str, Score] = {}
    if error is None:
        try:
            scores = scores_of(one.metric, said)
        except Exception as exc:  # noqa: BLE001  (the cell is marked)
            said, error = _failed(exc, paid=said)
    if error is not None:
        scores = {one.metric.name: said if isinstance(said, Score) and said.value is None else Score()}
    return Outcome(one, scores, error)


def _failed(exc: BaseException, *, paid: object = None) -> tuple[Score, str]:
    """A judge that gave no grade is paid, too: its error, or what else it gave, says how much."""
    cost = getattr(exc if paid is None else paid, "cost_usd", Decimal(0))
    score = Score(cost_usd=None if cost is None else dollars(cost) or Decimal(0))
    return score, "".join(traceback.format_exception(exc))


def _late(deadline_s: float | None) -> str:
    return f"TimeoutError: the metric gave no score within {deadline_s:g} s (`metric_deadline_s`)\n"
