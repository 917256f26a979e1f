"""Prompts tried on cases: through the runner of experiments, so that nothing is paid twice."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path

from llmops_sdk.errors import ConfigurationError, EvaluationError
from llmops_sdk.evaluation._cases import Case
from llmops_sdk.evaluation._datasets import Dataset
from llmops_sdk.evaluation._experiment import Experiment
from llmops_sdk.evaluation._optimising.purse import Purse
from llmops_sdk.evaluation._running import aevaluate
from llmops_sdk.evaluation._running.plan import arms_of
from llmops_sdk.evaluation.metrics import Metric, Score
from llmops_sdk.pipelines import Pipeline, Result, configuration_hash, result_of
from llmops_sdk.prompts import Prompt

__all__ = ["ORIGINAL", "Tried", "Trying"]

ORIGINAL = "original"
"""Label of the prompt that is there."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Tried:
    """What pipelines scored on the same cases.

    Attributes:
        experiment: All of it.
        complete: Whether each pipeline was run on each case; else the budget did not reach so far.
        scores: Label -> id of a case -> its score, without runs and metrics that failed.
        errors: Label -> id of a case -> why its run or its metric failed.
        unscored: Label -> number of cases that were run and have no number: the run failed, or the metric did, or that
            does not apply.
    """

    experiment: Experiment
    complete: bool
    scores: Mapping[str, Mapping[str, Score]]
    errors: Mapping[str, Mapping[str, str]]
    unscored: Mapping[str, int]

    def values(self, label: str) -> dict[str, float]:
        """Id of a case -> the number that it scored."""
        return {case: one.value for case, one in self.scores[label].items() if one.value is not None}

    def results(self, label: str) -> dict[str, Result]:
        """Id of a case -> what came back, without what failed; read from the file each time."""
        cells = (one for one in self.experiment.cells() if one.arm == label and one.error is None)
        return {one.case: result_of(one.record, resumed=True) for one in cells}


class Trying:
    """Runs pipelines on cases and reads what came out.

    Args:
        build: Makes a pipeline of a prompt.
        metric: What answers are scored by.
        store: The file that keeps runs and scores.
        purse: What may be spent.
        data: Name of the data set.
        concurrency: How many runs are under way at once.
        progress: Whether to show a bar for each step.
    """

    def __init__(
        self,
        build: Callable[[Prompt], Pipeline],
        metric: Metric,
        store: Path,
        purse: Purse,
        *,
        data: str,
        concurrency: int | None,
        progress: bool,
    ) -> None:
        self.build = build
        self.metric = metric
        self.purse = purse
        self._path = store
        self._data = data
        self._concurrency = concurrency
        self._progress = progress

    async def on(
        self,
        prompts: Mapping[str, Prompt],
        cases: Sequence[Case],
        *,
        what: str,
        reserved: bool = False,
        share: Decimal = Decimal(1),
    ) -> Tried:
        """Run prompts on cases; what the store has is not run again.

        Args:
            prompts: Label -> prompt.
            cases: The cases.
            what: What this is for, in reports.
            reserved: Whether it may use what is reserved for the judgement.
            share: How much it may use of what may be spent now.

        Raises:
            BudgetExceeded: Nothing may be spent on it.
            ConfigurationError: The metric gives several numbers.
        """
        pipelines = {label: self.build(prompt) for label, prompt in prompts.items()}
        return await self.run(pipelines, cases, self.metric, what=what, reserved=reserved, share=share)

    async def run(
        self,
        pipelines: Mapping[str, Pipeline],
        cases: Sequence[Case],
        metric: Metric,
        *,
        what: str,
        reserved: bool = False,
        share: Decimal = Decimal(1),
    ) -> Tried:
        """`on`, for pipelines and another metric."""
        name = f"{what} {self._told_apart(pipelines, cases, metric)}"
        self._count_what_is_there(name)
        found = await aevaluate(
            pipelines,
            Dataset(cases, name=f"{self._data}: {what}"),
            [metric],
            store=self._path,
            name=name,
            concurrency=self._concurrency,
            progress=self._progress,
            budget_usd=self.purse.limit_now(reserved=reserved, share=share),
        )
        return self._read(found, tuple(pipelines), metric, len(cases))

    def _told_apart(self, pipelines: Mapping[str, Pipeline], cases: Sequence[Case], metric: Metric) -> str:
        """Eight digits for what is run, so that what another process has paid of it is found."""
        asked = {one.label: one.fingerprint for one in arms_of(pipelines, versions=None, tags=None)}
        return configuration_hash([asked, [[case.id, case.hash] for case in cases], metric.version])[:8]

    def _count_what_is_there(self, name: str) -> None:
        if self.purse.limit is None or not self._path.exists():
            return
        with contextlib.suppress(EvaluationError):  # nobody has begun with it
            for cell in Experiment.load(self._path, name).cells():
                self.purse.count(cell)

    def _read(self, found: Experiment, labels: Sequence[str], metric: Metric, cases: int) -> Tried:
        scores: dict[str, dict[str, Score]] = {label: {} for label in labels}
        errors: dict[str, dict[str, str]] = {label: {} for label in labels}
        ran = dict.fromkeys(labels, 0)
        for cell in found.cells():
            ran[cell.arm] += 1
            self.purse.count(cell)
            if cell.error is not None:
                errors[cell.arm][cell.case] = cell.error
            for one in cell.scores:
                if one.name != metric.name:
                    raise ConfigurationError(
                        f"the metric {metric.name!r} gives several numbers ({one.name!r}), and a prompt is optimised "
                        "for one: give a function that returns the one that counts"
                    )
                if one.error is None:
                    scores[cell.arm][cell.case] = one.score
                else:
                    errors[cell.arm][cell.case] = one.error.strip().rpartition("\n")[2]
        numbers = {label: sum(one.value is not None for one in of_arm.values()) for label, of_arm in scores.items()}
        return Tried(
            experiment=found,
            complete=all(number == cases for number in ran.values()),
            scores=scores,
            errors=errors,
            unscored={label: ran[label] - numbers[label] for label in labels},
        )
