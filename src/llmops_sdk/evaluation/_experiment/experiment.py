"""`Experiment`: what was found, from the file that keeps it."""

from __future__ import annotations

import functools
import os
import weakref
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from llmops_sdk.errors import EvaluationError, MissingDependencyError
from llmops_sdk.evaluation._experiment.analysis import Analysis
from llmops_sdk.evaluation._experiment.columns import Columns, total_usd
from llmops_sdk.evaluation._experiment.contrasts import Contrast, contrasts
from llmops_sdk.evaluation._experiment.frames import frame
from llmops_sdk.evaluation._experiment.judges import judges
from llmops_sdk.evaluation._experiment.opening import opened
from llmops_sdk.evaluation._experiment.showing import fragment, renderables, text
from llmops_sdk.evaluation._experiment.summaries import (
    ArmSummary,
    ScoreTable,
    Together,
    arm_summaries,
    score_table,
    summed,
)
from llmops_sdk.evaluation._experiment.words import counted
from llmops_sdk.evaluation._report import write_report
from llmops_sdk.usage import EXACT

if TYPE_CHECKING:
    from rich.console import Console, ConsoleOptions, RenderableType

    from llmops_sdk.evaluation._cases import Case
    from llmops_sdk.evaluation._running.plan import Plan
    from llmops_sdk.evaluation._running.reading import Cell, Failure, Reading
    from llmops_sdk.evaluation._running.store import Ending, Store

__all__ = ["Answers", "Experiment"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Answers:
    """One case, and what the pipelines made of it.

    Attributes:
        case: The case.
        cells: Label -> its runs of this case, in the order of the repeats.
    """

    case: Case
    cells: Mapping[str, tuple[Cell, ...]]


class Experiment:
    """What `evaluate` found. `print` it for the verdicts, `report` it for all there is to see.

    Figures are read when they are first asked for, and stay in memory as arrays; texts are read each time.
    """

    def __init__(self, store: Store, plan: Plan, *, name: str, analysis: Analysis) -> None:
        self._store = store
        self._plan = plan
        self.name = name
        self.analysis = analysis
        weakref.finalize(self, store.close)

    @classmethod
    def load(
        cls, path: str | os.PathLike[str], id_or_name: str | None = None, *, analysis: Analysis | None = None
    ) -> Self:
        """Open an experiment that a file keeps.

        Args:
            path: The `store` that `evaluate` was given.
            id_or_name: Which one: its id, or its name, of which the latest is taken. By default the latest of all.
            analysis: How to compare; by default as it was chosen when it was run.

        Raises:
            EvaluationError: There is no such file, or no such experiment in it.
            ConfigurationError: The file belongs to another program.
        """
        store = opened(path)
        there = store.experiments()
        for one in there:
            if id_or_name in (None, one.id, one.name):
                chosen = store.analysis(one.id) if analysis is None else analysis
                return cls(store, store.plan(one.id), name=one.name, analysis=chosen)
        store.close()
        names = ", ".join(sorted({repr(one.name) for one in there})) or "none"
        wanted = "no experiment" if id_or_name is None else f"no experiment {id_or_name!r}"
        raise EvaluationError(f"{str(path)!r} has {wanted}; there is: {names}", path=str(path))

    @property
    def id(self) -> str:
        """32 hexadecimal digits: of the pipelines, metrics, cases and repeats."""
        return self._plan.id

    @property
    def base(self) -> str:
        """Label of the pipeline that the others are compared with."""
        return self._plan.base

    @property
    def cases(self) -> int:
        """Number of the cases."""
        return self._columns.cases

    @property
    def title(self) -> str:
        """What was evaluated, in a line."""
        cases, repeats = counted(self._columns.cases, "case"), self._plan.repeats
        data = self._reading.data_name()
        pipelines = counted(len(self._plan.arms), "pipeline")
        return f"{self.name}: {pipelines} on {cases} of {data}" + (f", {repeats:,} times each" if repeats > 1 else "")

    @property
    def score_names(self) -> tuple[str, ...]:
        """Names of the scores, in the order in which the metrics were given."""
        return tuple(self._columns.names)

    def scale(self, score: str) -> tuple[tuple[float, float], str]:
        """Bounds and unit of a score."""
        metric = self._columns.names[self._known(score)]
        return metric.bounds, metric.unit

    def higher_is_better(self, score: str) -> bool:
        """What a comparison by this score takes for better."""
        return self._columns.names[self._known(score)].higher_is_better

    @functools.cached_property
    def at(self) -> float:
        """When it was begun, in seconds since the epoch."""
        return self._reading.at()

    @property
    def ending(self) -> Ending | None:
        """How it has ended; `None` while it is under way, and where it was interrupted."""
        return self._store.ending(self.id)

    # What was found.

    @functools.cached_property
    def contrasts(self) -> tuple[Contrast, ...]:
        """Each pipeline against the base, by each score; p-values are corrected for their number."""
        return contrasts(self._columns, self._plan, self.analysis)

    def contrast(self, score: str, new: str | None = None) -> Contrast:
        """One pipeline against the base, by one score.

        Args:
            score: Name of the score.
            new: Label of the pipeline; may be left out where there is only one beside the base.

        Raises:
            EvaluationError: There is no such score or pipeline, or several and `new` does not say which.
        """
        self._known(score)
        others = [label for label in self._plan.arms if label != self.base]
        if new is None and len(others) == 1:
            new = others[0]
        for one in self.contrasts:
            if one.score == score and one.new == new:
                return one
        listed = ", ".join(map(repr, others)) or "none: an experiment with one pipeline compares nothing"
        raise EvaluationError(f"`new` is the label of a pipeline beside the base, not {new!r}; there is {listed}")

    def scores(self, score: str, *, by: str | None = None) -> ScoreTable:
        """What each pipeline scored, by itself: a sequence of summaries that shows itself as a table.

        Args:
            score: Name of the score.
            by: `"tag"` or `"cluster"`: a row for each group of cases. By default one for all.

        Raises:
            EvaluationError: There is no such score.
            ConfigurationError: `by` is something else.
        """
        try:
            together = self.summaries(score) if by is None else {}
        except MissingDependencyError:
            together = {}  # whoever has the file alone reads all else in it
        return score_table(self._columns, self._plan, self.analysis, score, by, together)

    def summaries(self, score: str) -> Mapping[str, Together]:
        """What the scores of each pipeline say together beside their mean, by label; see `metrics.summary_of`.

        A `ConfusionMatrix` of a `Classification`, the BLEU of the corpus of a `BLEU`; empty for other metrics. Each
        repeat counts as an answer.

        Raises:
            EvaluationError: There is no such score.
            MissingDependencyError: It needs the library of the metric, which is not installed.
        """
        return summed(self._reading, self._plan, self._columns.names[self._known(score)], score)

    @functools.cached_property
    def arms(self) -> tuple[ArmSummary, ...]:
        """What the runs of each pipeline took: cells, failures, money, seconds."""
        return arm_summaries(self._columns)

    @property
    def failures(self) -> Iterator[Failure]:
        """The runs and the metrics that failed, with their errors; read as they are asked for."""
        return self._reading.failures()

    def cells(self) -> Iterator[Cell]:
        """All cells, by case, repeat and pipeline; read as they are asked for."""
        return self._reading.cells()

    def case(self, id: str) -> Answers:  # noqa: A002  (what a case calls it)
        """One case, and what the pipelines made of it.

        Raises:
            EvaluationError: There is no case with this id.
        """
        position = self._reading.position(id)
        if position is None:
            raise EvaluationError(f"{self.name!r} has no case {id!r}", path=str(self._store.path))
        case = self._reading.contents([position])[position]
        cells = list(self._reading.cells([position]))
        return Answers(
            case=case, cells={label: tuple(one for one in cells if one.arm == label) for label in self._plan.arms}
        )

    # What it took.

    @property
    def cost_usd(self) -> Decimal | None:
        """What the runs of all pipelines cost; `None` where the cost of one is not known: `arms` has what is known."""
        known = Decimal(0)
        for one in self.arms:
            known = EXACT.add(known, one.known_usd)
        return total_usd(known, sum(one.unpriced for one in self.arms))

    @functools.cached_property
    def judging_cost_usd(self) -> Decimal | None:
        """What the metrics cost, such as judges; `None` where a part of it is not known."""
        known, unpriced = Decimal(0), 0
        for _, cost, number in self._reading.judging():
            if cost is None:
                unpriced += number
            else:
                known = EXACT.add(known, EXACT.multiply(Decimal(cost), Decimal(number)))
        return total_usd(known, unpriced)

    @functools.cached_property
    def judges(self) -> tuple[str, ...]:
        """A line for each judge: its model, its prompt, its version, what its judgements cost."""
        return judges(self._reading, self._plan)

    @property
    def unpinned(self) -> Mapping[str, tuple[str, ...]]:
        """Label -> what of the pipeline has no form that another process could compare: its answers are not reused."""
        return {label: tuple(reasons) for label, reasons in self._plan.unpinned.items() if reasons}

    @property
    def warnings(self) -> list[str]:
        """What a reader of the verdicts must know: failures by their kind, cells that are missing, unpinned parts."""
        said = []
        ending, there = self.ending, self._columns
        if ending is None:
            said.append("it has not ended: it is under way, or was interrupted; the same call of `evaluate` goes on")
        elif ending.reason == "budget":
            said.append("the budget was spent before all cases were asked")
        elif ending.reason == "decided":
            said.append(f"it stopped when it was clear: after {there.observed:,} of {counted(there.cases, 'case')}")
        for one in self.arms:
            if one.failed:
                said.append(f"{one.arm}: {one.failed:,} of {counted(one.cells, 'run')} failed")
            if one.cells < one.planned:
                said.append(f"{one.arm}: {one.planned - one.cells:,} of {counted(one.planned, 'cell')} were not run")
        said += [f"{label}: {reason}" for label, reasons in self.unpinned.items() for reason in reasons]
        return said

    # To take it elsewhere.

    def to_pandas(self) -> Any:
        """A `pandas.DataFrame` with one row for each cell and score.

        Columns: case, cluster, tags, arm, repeat, outcome (`ok`, `blocked`, `failed`), seconds, cost_usd, score, value,
        label, explanation, state (`scored`, `not applicable`, `failed`, `missing`), error, judging_usd. What is not
        known is NaN. A run that failed has one row without a score.

        Raises:
            MissingDependencyError: pandas is not installed.
        """
        return frame(self._reading, self._plan)

    def report(self, path: str | os.PathLike[str], *, cases: int = 2_000) -> Path:
        """Write all there is to see as one HTML file, which loads nothing and opens from a disk.

        Args:
            path: The file; it is replaced as a whole if it is there.
            cases: How many cases are shown one by one, `>= 0`. Of more there are those that failed or changed most, and
                a sample of the others; figures are of all. Texts are cut at 20,000 characters and 24 MB altogether.

        Returns:
            The path.

        Raises:
            ConfigurationError: The folder is not there, or `cases` is no number of cases.
        """
        return write_report(self, self._reading, self._columns, self._plan, path, cases=cases)

    def __str__(self) -> str:
        return text(self)

    def __repr__(self) -> str:
        return f"<Experiment {self.name!r}: {', '.join(self._plan.arms)}>"

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> Iterator[RenderableType]:
        yield from renderables(self)

    def _repr_html_(self) -> str:
        return fragment(self)

    def _known(self, score: str) -> str:
        if score not in self._columns.names:
            raise EvaluationError(f"there is no score {score!r}; there is {', '.join(map(repr, self._columns.names))}")
        return score

    @functools.cached_property
    def _reading(self) -> Reading:
        return self._store.reading(self._plan)

    @functools.cached_property
    def _columns(self) -> Columns:
        ending = self.ending
        return Columns(self._reading, self._plan, observed=None if ending is None else ending.observed)
