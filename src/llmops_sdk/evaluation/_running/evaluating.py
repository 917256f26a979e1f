"""`evaluate`: run every pipeline on every case, score the answers, and give the experiment."""

from __future__ import annotations

import asyncio
import inspect
import tempfile
import traceback
from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any

from llmops_sdk import loops
from llmops_sdk.errors import ConfigurationError
from llmops_sdk.evaluation._cases import Case
from llmops_sdk.evaluation._datasets import Dataset
from llmops_sdk.evaluation._experiment import Experiment
from llmops_sdk.evaluation._running.plan import Arm, MetricPlan, Plan, arms_of, pair_key, run_key
from llmops_sdk.evaluation._running.store import Store
from llmops_sdk.evaluation.metrics import Metric, MetricLike, Score, metrics_of, scores_of
from llmops_sdk.pipelines import Pipeline, Result, record_of, result_of

__all__ = ["aevaluate", "evaluate"]

_CONCURRENCY = 64


def evaluate(
    pipelines: Mapping[str, Pipeline],
    dataset: Dataset | Iterable[Case],
    /,
    metrics: Sequence[MetricLike],
    **options: Any,
) -> Experiment:
    """`aevaluate`, for code without an event loop."""
    return loops.run_sync(lambda: aevaluate(pipelines, dataset, metrics, **options), method="evaluate()")


async def aevaluate(
    pipelines: Mapping[str, Pipeline],
    dataset: Dataset | Iterable[Case],
    /,
    metrics: Sequence[MetricLike],
    *,
    base: str | None = None,
    repeats: int = 1,
    store: str | Path | None = None,
    concurrency: int | None = None,
    name: str = "experiment",
) -> Experiment:
    """Run every pipeline on every case, and score the answers.

    Args:
        pipelines: Label -> pipeline.
        dataset: The cases.
        metrics: What to score answers by.
        base: The pipeline that the others are compared with; by default the first.
        repeats: Runs of each case by each pipeline, `>= 1`.
        store: The file that keeps runs and scores (SQLite): what it has is not run again. By default one that is
            deleted with the experiment.
        concurrency: How many runs are under way at once, `>= 1`; by default 64, or fewer where an engine says so.
        name: Shown in reports.

    Raises:
        ConfigurationError: An option makes no sense.
        DatasetError: There is no case, or two have the same id.
    """
    arms, judges = arms_of(pipelines), metrics_of(metrics)
    data = dataset if isinstance(dataset, Dataset) else Dataset(dataset)
    base = arms[0].label if base is None else base
    if base not in pipelines:
        raise ConfigurationError(f"`base` is one of {', '.join(map(repr, pipelines))}, not {base!r}")
    plans = tuple(map(MetricPlan.of, judges))
    fingerprints = {one.label: one.fingerprint for one in arms}
    plan = Plan(base=base, arms=fingerprints, metrics=plans, repeats=repeats, dataset=data.hash)
    folder = tempfile.TemporaryDirectory(prefix="llmops-") if store is None else None
    kept = Store(Path(folder.name, "experiment.db") if folder is not None else Path(store or ""))
    kept.add_cases(data)
    kept.begin(plan, name)
    await _Work(plan, arms, judges, plans, kept, concurrency or _CONCURRENCY).run()
    return Experiment(kept, plan, name=name, folder=folder)


class _Work:
    """The cells that are under way."""

    def __init__(
        self,
        plan: Plan,
        arms: Sequence[Arm],
        metrics: Sequence[Metric],
        plans: Sequence[MetricPlan],
        store: Store,
        concurrency: int,
    ) -> None:
        self._plan = plan
        self._arms = arms
        self._single = [(one, said) for one, said in zip(metrics, plans, strict=True) if not one.pairwise]
        self._pairwise = [(one, said) for one, said in zip(metrics, plans, strict=True) if one.pairwise]
        self._store = store
        self._concurrency = concurrency

    async def run(self) -> None:
        """All of them."""
        cells = (
            (position, case, repeat)
            for position, case in self._store.cases(self._plan.dataset)
            for repeat in range(self._plan.repeats)
        )

        async def work() -> None:
            for position, case, repeat in cells:
                await self._case(position, case, repeat)

        await loops.gather(work() for _ in range(max(self._concurrency // len(self._arms), 1)))

    async def _case(self, position: int, case: Case, repeat: int) -> None:
        keys = {arm.label: run_key(arm, case, repeat) for arm in self._arms}
        found = await asyncio.gather(*(self._cell(position, case, repeat, arm, keys[arm.label]) for arm in self._arms))
        results = dict(zip(keys, found, strict=True))
        base = self._plan.base
        for label, result in results.items():
            before = results[base]
            if self._pairwise and label != base and result is not None and before is not None:
                for one, said in self._pairwise:
                    await self._score(pair_key(keys[base], keys[label]), one, said, case, before, result)

    async def _cell(self, position: int, case: Case, repeat: int, arm: Arm, key: bytes) -> Result | None:
        record = self._store.run(key)
        if record is None:
            result = await _asked(arm.pipeline, case)
            record = record_of(result)
            failed = None if result.error is None else f"{type(result.error).__name__}: {result.error}"
            self._store.add_run(key, record, error=failed, seconds=record["seconds"], cost_usd=result.cost_usd)
        else:
            result = result_of(record, resumed=True)
        self._store.add_cell(self._plan.id, position, repeat, arm.label, key)
        if result.error is not None:
            return None
        done = self._store.scored(key)
        for one, said in self._single:
            if said.key not in done:
                await self._score(key, one, said, case, result)
        return result

    async def _score(self, key: bytes, one: Metric, said: MetricPlan, case: Case, *results: Result) -> None:
        try:
            scores = scores_of(one, await _called(one, case, *results))
        except Exception as exc:  # noqa: BLE001  (the cell is marked as failed)
            paid = getattr(exc, "cost_usd", Decimal(0))  # judges that gave no grade are paid, too
            self._store.add_scores(key, said.key, {one.name: Score(cost_usd=paid)}, traceback.format_exc())
        else:
            self._store.add_scores(key, said.key, scores)


async def _asked(pipeline: Pipeline, case: Case) -> Result:
    (result,) = await pipeline.amap([case.input])
    return result


async def _called(one: Metric, case: Case, *results: Result) -> Any:
    said = await loops.in_thread(lambda: one(case, *results)) if one.blocks else one(case, *results)
    return await said if inspect.isawaitable(said) else said
