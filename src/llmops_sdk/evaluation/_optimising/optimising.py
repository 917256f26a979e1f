"""`optimise`: search for a better prompt on some cases, and judge the best one on cases that the search never saw."""

from __future__ import annotations

import contextlib
import shutil
import tempfile
import weakref
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from llmops_sdk import loops
from llmops_sdk.errors import ConfigurationError
from llmops_sdk.evaluation._cases import Case
from llmops_sdk.evaluation._datasets import Dataset
from llmops_sdk.evaluation._experiment import Experiment
from llmops_sdk.evaluation._optimising.committing import When, check_committable, committed
from llmops_sdk.evaluation._optimising.halving import Halving, halve
from llmops_sdk.evaluation._optimising.judging import Judgement, judge
from llmops_sdk.evaluation._optimising.making import Made, make_candidates
from llmops_sdk.evaluation._optimising.outcome import Optimisation
from llmops_sdk.evaluation._optimising.parts import Parts, parts_of
from llmops_sdk.evaluation._optimising.purse import Purse
from llmops_sdk.evaluation._optimising.trying import Trying
from llmops_sdk.evaluation.metrics import Metric, MetricLike, metrics_of
from llmops_sdk.pipelines import Pipeline
from llmops_sdk.prompts import Prompt
from llmops_sdk.protocols import EngineLike

if TYPE_CHECKING:
    from llmops_sdk.prompts import PromptRepository

__all__ = ["aoptimise", "optimise"]

Builder: TypeAlias = "Callable[[Prompt], Pipeline]"

_SHARES = (0.2, 0.3, 0.5)
_CANDIDATES = 9
_SHOTS = 4


def optimise(
    prompt: Prompt,
    dataset: Dataset | Iterable[Case],
    metric: MetricLike,
    /,
    engine: EngineLike | Builder,
    *,
    proposer: EngineLike | Builder | None = None,
    budget_usd: Decimal | float | str | None = None,
    candidates: int = _CANDIDATES,
    shots: int = _SHOTS,
    shares: Sequence[float] = _SHARES,
    store: str | Path | None = None,
    seed: int = 0,
    repository: PromptRepository | None = None,
    branch: str | None = None,
    commit: When = "better",
    who: str | None = None,
    concurrency: int | None = None,
    progress: bool = False,
) -> Optimisation:
    """Search for a better prompt, and say whether it is better, or noise.

    Candidates have other instructions, which an engine proposes, other examples, which come from the data, or both.
    They are tried by successive halving. The one that wins is compared with the original on cases that neither the
    search nor the proposer has seen: a winner of many looks better than it is on what it was chosen by.

    Args:
        prompt: The prompt that is there.
        dataset: The cases; their inputs are mappings of the prompt's variables.
        metric: The one number that counts.
        engine: The engine that answers; or a function that makes a pipeline of a prompt, so that guards, routers and
            options of the pipeline take part.
        proposer: The engine that writes instructions, or a function as for `engine`; by default the engine that
            answers.
        budget_usd: US dollars that all of it may cost: proposals, trials and the judgement, whose share is kept aside
            from the start. By default there is no limit.
        candidates: How many candidates are made, `>= 1`.
        shots: Most examples that a candidate shows; 0 leaves the examples as they are.
        shares: Shares of the cases that candidates are made from, that they are tried on, and that judge.
        store: The file that keeps runs and scores (SQLite): called again with the same file, what is there is not paid
            again. By default one that is deleted with the outcome.
        seed: Draws the examples and the order of the trials. It moves no case into another part.
        repository: Where the new prompt is committed; by default nowhere.
        branch: The branch, which has to be checked out nowhere; by default `optimise/<name>-<hash>`. Where it is not
            there it begins at the prompt's own commit, or at `HEAD`.
        commit: `"better"`: only what was judged better is committed; `"always"`: whatever won the search.
        who: Who commits, `"Ada Lovelace <ada@example.org>"`; the user of git's configuration by default.
        concurrency: How many runs are under way at once, as for `evaluate`.
        progress: Whether to show a progress bar for each step.

    Raises:
        ConfigurationError: An option makes no sense, or the prompt cannot be committed.
        DatasetError: There are too few cases, or one does not hold values of variables.
        EvaluationError: No training case has a score; or there is a budget, and nobody knows what a run has cost.
        PromptError: The branch cannot be moved.
        SyncOnLoopError: Called on the SDK's own event loop.
    """
    return loops.run_sync(
        lambda: aoptimise(
            prompt,
            dataset,
            metric,
            engine,
            proposer=proposer,
            budget_usd=budget_usd,
            candidates=candidates,
            shots=shots,
            shares=shares,
            store=store,
            seed=seed,
            repository=repository,
            branch=branch,
            commit=commit,
            who=who,
            concurrency=concurrency,
            progress=progress,
        ),
        method="optimise()",
    )


async def aoptimise(
    prompt: Prompt,
    dataset: Dataset | Iterable[Case],
    metric: MetricLike,
    /,
    engine: EngineLike | Builder,
    *,
    proposer: EngineLike | Builder | None = None,
    budget_usd: Decimal | float | str | None = None,
    candidates: int = _CANDIDATES,
    shots: int = _SHOTS,
    shares: Sequence[float] = _SHARES,
    store: str | Path | None = None,
    seed: int = 0,
    repository: PromptRepository | None = None,
    branch: str | None = None,
    commit: When = "better",
    who: str | None = None,
    concurrency: int | None = None,
    progress: bool = False,
) -> Optimisation:
    """`optimise`, for the event loop."""
    if not isinstance(prompt, Prompt):
        raise ConfigurationError(f"`optimise` takes a `Prompt`, not {type(prompt).__name__}: `Prompt.from_string(...)`")
    _check_counts(candidates, shots)
    check_committable(prompt, repository, branch, commit)
    one = _metric(metric)
    data = dataset if isinstance(dataset, Dataset) else Dataset(dataset)
    parts = await loops.in_thread(lambda: parts_of(data, prompt, shares=shares, seed=seed))
    build = _builder(engine, "engine")
    write = _builder(build(prompt).engine if proposer is None else proposer, "proposer")
    purse = Purse(budget_usd, judged=len(parts.test))
    asked = _Asked(prompt=prompt, candidates=candidates, shots=shots, seed=seed, parts=parts)
    with _kept(store) as (path, keep):
        trying = Trying(build, one, path, purse, data=data.name, concurrency=concurrency, progress=progress)
        found = await _search(asked, trying, write)
        keep(found.experiment)
    winner = next((each.prompt for each in found.candidates if each.label == found.winner), None)
    if repository is None or winner is None or (commit == "better" and found.verdict != "better"):
        return found
    return await committed(found, winner, repository, branch=branch, who=who)


@contextlib.contextmanager
def _kept(store: str | Path | None) -> Iterator[tuple[Path, Callable[[Experiment | None], None]]]:
    """The file, and what is told which experiment is still read from it; one that nobody named goes with that."""
    if store is not None:
        yield Path(store), lambda _: None
        return
    folder = tempfile.mkdtemp(prefix="llmops-")
    read: list[Experiment] = []

    def keep(experiment: Experiment | None) -> None:
        if experiment is not None:
            read.append(experiment)
            weakref.finalize(experiment, shutil.rmtree, folder, ignore_errors=True)

    try:
        yield Path(folder, "optimise.db"), keep
    finally:
        if not read:
            shutil.rmtree(folder, ignore_errors=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Asked:
    """What is optimised, on what, and how thoroughly."""

    prompt: Prompt
    candidates: int
    shots: int
    seed: int
    parts: Parts


async def _search(asked: _Asked, trying: Trying, write: Builder) -> Optimisation:
    """Candidates, trials, judgement."""
    prompt, parts = asked.prompt, asked.parts
    made = await make_candidates(
        prompt, parts.train, trying, write, count=asked.candidates, shots=asked.shots, seed=asked.seed
    )
    tried = {each.label: each.prompt for each in made.candidates if each.prompt is not None}
    halving = Halving(standings={}, order=(), rungs=(), ended=None)
    if tried:
        halving = await halve(trying, prompt, tried, parts.trials)
    judgement = await judge(prompt, tried, halving, trying, parts.test)
    return _outcome(asked, trying, made, halving, judgement)


def _outcome(asked: _Asked, trying: Trying, made: Made, halving: Halving, judgement: Judgement) -> Optimisation:
    standings = dict(halving.standings)
    if judgement.winner is not None:
        standings[judgement.winner] = replace(standings[judgement.winner], fate="won the search")
    candidates = tuple(replace(each, standing=standings.get(each.label)) for each in made.candidates)
    winner = next((each.prompt for each in candidates if each.label == judgement.winner), None)
    purse, parts = trying.purse, asked.parts
    short = [each for each in (made.ended, halving.ended, judgement.ended) if each is not None]
    return Optimisation(
        original=asked.prompt,
        prompt=winner if winner is not None and judgement.verdict == "better" else asked.prompt,
        verdict=judgement.verdict,
        why=judgement.why,
        winner=judgement.winner,
        contrast=judgement.contrast,
        candidates=candidates,
        experiment=judgement.experiment,
        metric=trying.metric.name,
        train=len(parts.train),
        trials=len(parts.trials),
        test=len(parts.test),
        left_out=parts.left_out,
        split=Dataset(parts.test).hash,
        rungs=halving.rungs,
        cost_usd=purse.spent,
        budget_usd=purse.limit,
        unpriced=purse.unpriced,
        exhausted="; ".join(short) or None,
        seed=asked.seed,
    )


def _metric(given: MetricLike) -> Metric:
    (one,) = metrics_of([given])
    if one.pairwise:
        raise ConfigurationError(
            f"the metric {one.name!r} compares two answers, and trials need a score for each: give one of a single "
            "answer, and compare the outcome with `evaluate` in pairs"
        )
    return one


def _builder(engine: Any, option: str) -> Builder:
    if hasattr(engine, "agenerate"):
        return lambda prompt: Pipeline(prompt, engine)
    if not callable(engine):
        raise ConfigurationError(
            f"`{option}` is an engine, or a function that makes a pipeline of a prompt, not {type(engine).__name__}: "
            f"`{option}=lambda prompt: prompt | guard | engine`"
        )

    def build(prompt: Prompt) -> Pipeline:
        made = engine(prompt)
        if not isinstance(made, Pipeline) or made.prompt is None or made.prompt.hash != prompt.hash:
            raise ConfigurationError(
                f"`{option}` has to make a pipeline of the prompt that it is given: `lambda prompt: prompt | engine`"
            )
        return made

    return build


def _check_counts(candidates: int, shots: int) -> None:
    for name, given, least in (("candidates", candidates, 1), ("shots", shots, 0)):
        if isinstance(given, bool) or not isinstance(given, int) or given < least:
            raise ConfigurationError(f"`{name}` is a whole number >= {least}, not {given!r}")
