"""`evaluate`: run every pipeline on every case, score the answers, and give the experiment."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from decimal import Decimal
from os import PathLike
from pathlib import Path
from typing import Any, Literal

from llmops_sdk import loops
from llmops_sdk.errors import ConfigurationError
from llmops_sdk.evaluation._cases import Case
from llmops_sdk.evaluation._costs import allowed
from llmops_sdk.evaluation._datasets import Dataset
from llmops_sdk.evaluation._experiment import Analysis, Experiment
from llmops_sdk.evaluation._running.budget import Budget
from llmops_sdk.evaluation._running.cells import Planner
from llmops_sdk.evaluation._running.elsewhere import run_elsewhere
from llmops_sdk.evaluation._running.feeding import Feed
from llmops_sdk.evaluation._running.locking import locked
from llmops_sdk.evaluation._running.plan import Arm, Plan, arms_of, plans_of
from llmops_sdk.evaluation._running.progress import Progress
from llmops_sdk.evaluation._running.scoring import Asked
from llmops_sdk.evaluation._running.stopping import Stopping
from llmops_sdk.evaluation._running.store import Ending, Store
from llmops_sdk.evaluation._running.working import RunOptions, Work
from llmops_sdk.evaluation._running.writing import Writer
from llmops_sdk.evaluation.metrics import MetricLike, metrics_of
from llmops_sdk.given import is_number
from llmops_sdk.pipelines import Executor, Pipeline, concurrency_of
from llmops_sdk.protocols import Hook

__all__ = ["aevaluate", "evaluate"]

log = logging.getLogger("llmops_sdk")
_METRIC_DEADLINE_S = 600.0


def evaluate(
    pipelines: Mapping[str, Pipeline],
    dataset: Dataset | Iterable[Case],
    /,
    metrics: Sequence[MetricLike],
    *,
    base: str | None = None,
    repeats: int = 1,
    store: str | PathLike[str] | None = None,
    name: str = "experiment",
    concurrency: int | None = None,
    executor: Literal["ray"] | Executor | None = None,
    progress: bool = True,
    budget_usd: Decimal | float | str | None = None,
    stop_when: Literal["significant"] | None = None,
    retry_failed: bool = True,
    versions: Mapping[str, str] | None = None,
    level: float = 0.95,
    power: float = 0.8,
    margins: Mapping[str, float] | None = None,
    correction: Literal["holm", "benjamini-hochberg"] | None = "holm",
    primary: Sequence[str] = (),
    deadline_s: float | None = None,
    metric_deadline_s: float | None = _METRIC_DEADLINE_S,
    tags: Mapping[str, Any] | None = None,
    hooks: Sequence[Hook] = (),
) -> Experiment:
    """Run every pipeline on every case, score the answers, and say what is better and what is noise.

    Args:
        pipelines: Label -> pipeline.
        dataset: The cases.
        metrics: What to score answers by.
        base: The pipeline that the others are compared with; by default the first.
        repeats: Runs of each case by each pipeline, `>= 1`.
        store: The file that keeps runs and scores (SQLite): what it has is not run again, so the same call goes on
            where it was interrupted. By default one that is deleted with the experiment.
        name: Shown in reports.
        concurrency: How many runs are under way at once, `>= 1`. By default as many as each engine says
            (`engine.concurrency`), or 64.
        executor: Where to run: `"ray"` for Ray on this machine or a cluster, see `llmops_sdk.pipelines.ray`.
        progress: Whether to show a progress bar, where there is a terminal or a notebook, and a line at the end.
        budget_usd: US dollars that this call may spend on runs and on metrics, over 0. When they are spent the
            experiment ends early, says so, and can be gone on with.
        stop_when: `"significant"`: cases are asked in a random order, and no more of them once the answer is clear.
        retry_failed: Whether runs and metrics that had failed are tried again.
        versions: Label -> a text that you change when the pipeline changes in a way that its configuration does not
            show, such as the weights behind an endpoint.
        level: Probability of an interval to cover the true difference, see `Analysis`.
        power: Probability with which a detectable difference is found.
        margins: Score -> size up to which a difference does not matter, `> 0`.
        correction: For many comparisons; `None` corrects nothing.
        primary: Scores that decide when to stop; by default the first metric.
        deadline_s: Seconds for each run. Waiting for room in a router's limits is not among them.
        metric_deadline_s: Seconds for each metric and answer, `None` for no limit. One that takes longer has failed.
        tags: For every run.
        hooks: For every run.

    Raises:
        ConfigurationError: An option makes no sense.
        DatasetError: There is no case, or two have the same id.
        EvaluationError: Another process runs this experiment, or the store cannot be written.
        MissingDependencyError: A library is not installed.
    """
    with _resumable(store):
        return loops.run_sync(
            lambda: aevaluate(
                pipelines,
                dataset,
                metrics,
                base=base,
                repeats=repeats,
                store=store,
                name=name,
                concurrency=concurrency,
                executor=executor,
                progress=progress,
                budget_usd=budget_usd,
                stop_when=stop_when,
                retry_failed=retry_failed,
                versions=versions,
                level=level,
                power=power,
                margins=margins,
                correction=correction,
                primary=primary,
                deadline_s=deadline_s,
                metric_deadline_s=metric_deadline_s,
                tags=tags,
                hooks=hooks,
            ),
            method="evaluate()",
        )


async def aevaluate(
    pipelines: Mapping[str, Pipeline],
    dataset: Dataset | Iterable[Case],
    /,
    metrics: Sequence[MetricLike],
    *,
    base: str | None = None,
    repeats: int = 1,
    store: str | PathLike[str] | None = None,
    name: str = "experiment",
    concurrency: int | None = None,
    executor: Literal["ray"] | Executor | None = None,
    progress: bool = True,
    budget_usd: Decimal | float | str | None = None,
    stop_when: Literal["significant"] | None = None,
    retry_failed: bool = True,
    versions: Mapping[str, str] | None = None,
    level: float = 0.95,
    power: float = 0.8,
    margins: Mapping[str, float] | None = None,
    correction: Literal["holm", "benjamini-hochberg"] | None = "holm",
    primary: Sequence[str] = (),
    deadline_s: float | None = None,
    metric_deadline_s: float | None = _METRIC_DEADLINE_S,
    tags: Mapping[str, Any] | None = None,
    hooks: Sequence[Hook] = (),
) -> Experiment:
    """Run every pipeline on every case, and score the answers. See `evaluate`."""
    arms, judges = arms_of(pipelines, versions=versions, tags=tags), metrics_of(metrics)
    data = dataset if isinstance(dataset, Dataset) else Dataset(dataset)
    base = arms[0].label if base is None else base
    if base not in pipelines:
        raise ConfigurationError(f"`base` is one of {', '.join(map(repr, pipelines))}, not {base!r}")
    limit = allowed(budget_usd)
    _check(repeats, stop_when, deadline_s, metric_deadline_s)
    if executor is not None and (limit is not None or stop_when is not None):
        raise ConfigurationError("an `executor` is given all rows at once: leave `budget_usd` and `stop_when` out")
    for arm in arms:
        concurrency_of(concurrency, arm.pipeline.engine)
    sequential = stop_when is not None
    analysis = Analysis(
        level=level,
        power=power,
        margins=margins or {},
        correction=correction,
        primary=_names(primary),
        sequential=sequential,
    )
    plan = Plan(
        base=base,
        arms={one.label: one.fingerprint for one in arms},
        metrics=plans_of(judges, kept=store is not None),
        repeats=repeats,
        dataset=await loops.in_thread(lambda: data.hash),
        sequential=sequential,
        unpinned={one.label: one.unpinned for one in arms if one.unpinned},
    )
    feed = Feed(Stopping(plan, analysis)) if sequential else None
    kept = Store.temporary() if store is None else Store(Path(store))
    options = RunOptions(
        deadline_s=deadline_s, tags=tags, hooks=hooks, metric_deadline_s=metric_deadline_s, concurrency=concurrency
    )
    async with locked(kept.path, plan.id):
        cases = await loops.in_thread(lambda: kept.add_cases(data))
        kept.begin(plan, name, analysis)
        asked = Asked.all(judges, plan.metrics)
        writer = Writer(kept)
        with (
            _resumable(store),
            contextlib.closing(kept),
            _flushed(writer),
            Progress(cases * repeats * len(arms), show=progress) as shown,
        ):
            planning = functools.partial(Planner, plan, arms, asked, kept, retry_scores=retry_failed)
            planner, made = planning(retry_runs=retry_failed), set[bytes]()
            if executor is not None:
                made = await run_elsewhere(executor, planner, writer, shown, options)
                planner = planning(retry_runs=False)  # they have just been tried
            work = Work(
                planner, kept, writer, budget=Budget(limit), progress=shown, options=options, feed=feed, made=made
            )
            ending = await work.run()
            writer.flush()
            kept.end(plan, ending)
    _tell(arms, work.reused, ending, store)
    return Experiment(kept, plan, name=name, analysis=analysis)


def _names(primary: Sequence[str]) -> tuple[str, ...]:
    if isinstance(primary, str):
        raise ConfigurationError(f"`primary` is a list of names: write [{primary!r}]")
    return tuple(primary)


def _check(repeats: Any, stop_when: Any, deadline_s: Any, metric_deadline_s: Any) -> None:
    if isinstance(repeats, bool) or not isinstance(repeats, int) or repeats < 1:
        raise ConfigurationError(f"`repeats` is a number of runs, 1 or more, not {repeats!r}")
    if stop_when not in (None, "significant"):
        raise ConfigurationError(f"`stop_when` is 'significant' or None, not {stop_when!r}")
    for name, given in (("deadline_s", deadline_s), ("metric_deadline_s", metric_deadline_s)):
        if given is not None and not (is_number(given) and given > 0):
            raise ConfigurationError(f"`{name}` is a time over 0 seconds, not {given!r}")


@contextlib.contextmanager
def _flushed(writer: Writer) -> Iterator[None]:
    """What is finished is written, whatever ends the run."""
    try:
        yield
    except BaseException:
        with contextlib.suppress(Exception):  # what ends the run is what is raised
            writer.flush()
        raise


@contextlib.contextmanager
def _resumable(store: str | PathLike[str] | None) -> Iterator[None]:
    """Tells whoever interrupts a run how to go on."""
    try:
        yield
    except (asyncio.CancelledError, KeyboardInterrupt) as exc:
        exc.add_note(_how_to_go_on(store))
        raise


def _how_to_go_on(store: str | PathLike[str] | None) -> str:
    if store is None:
        return "What was finished is lost: give `store='experiments.db'`, and the same call goes on where it was."
    return f"What was finished is kept in {store}: the same call goes on from there, and asks for nothing twice."


def _tell(arms: Sequence[Arm], reused: Mapping[str, int], ending: Ending, store: str | PathLike[str] | None) -> None:
    if ending.reason == "budget":
        log.warning("`budget_usd` is spent before all cases were asked. %s", _how_to_go_on(store))
    for arm in arms:
        if arm.unpinned and reused.get(arm.label):
            log.warning(
                "%d runs of %r are those of an earlier call, though parts of the pipeline cannot be compared with what "
                "they were then: %s. If they may have changed, give `versions={%r: '2'}`, and they are made anew.",
                reused[arm.label],
                arm.label,
                "; ".join(arm.unpinned),
                arm.label,
            )
