"""The figures of an experiment, in arrays: one number for a score, however long the answer was."""

from __future__ import annotations

import math
from array import array
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from decimal import Decimal
from typing import TYPE_CHECKING

from llmops_sdk.usage import EXACT

if TYPE_CHECKING:
    from llmops_sdk.evaluation._running.plan import MetricPlan, Plan
    from llmops_sdk.evaluation._running.reading import Reading

__all__ = ["Columns", "Runs", "Scores", "total_usd"]


@dataclass(slots=True)
class Runs:
    """The runs of one pipeline.

    Attributes:
        cells: How many there are.
        failed: Those that failed, each as `position * repeats + repeat`.
        seconds: What those that did not fail took.
        known_usd: What is known of their cost.
        unpriced: Runs whose cost is not known.
    """

    cells: int = 0
    failed: set[int] = field(default_factory=set)
    seconds: array[float] = field(default_factory=lambda: array("d"))
    known_usd: Decimal = Decimal(0)
    unpriced: int = 0


class Scores:
    """The scores of one name by one pipeline.

    Attributes:
        cells: One number for each cell, at `position * repeats + repeat`; `nan` where there is no score.
        inapplicable: Cells to which the metric does not apply.
    """

    __slots__ = ("cells", "inapplicable", "repeats")

    def __init__(self, cases: int, repeats: int) -> None:
        self.cells = array("d", [math.nan]) * (cases * repeats)
        self.repeats = repeats
        self.inapplicable = 0

    @property
    def shaped(self) -> memoryview[float]:
        """The same, of shape `(cases, repeats)`: numpy takes it as it is."""
        return memoryview(self.cells).cast("B").cast("d", (len(self.cells) // self.repeats, self.repeats))

    def values(self) -> array[float]:
        """Those that there are; by position and repeat."""
        return array("d", (one for one in self.cells if one == one))  # noqa: PLR0124  (`nan` is not)

    def by_case(self, positions: Iterable[int] | None = None) -> dict[int, list[float]]:
        """Position -> its scores, for cases that have one; of some cases, or of all."""
        found = {}
        for position in range(len(self.cells) // self.repeats) if positions is None else positions:
            start = position * self.repeats
            values = [one for one in self.cells[start : start + self.repeats] if one == one]  # noqa: PLR0124
            if values:
                found[position] = values
        return found

    def of_zeros(self) -> Scores:
        """As many zeros: what a difference is compared with."""
        zeros = Scores(len(self.cells) // self.repeats, self.repeats)
        zeros.cells = array("d", (one * 0.0 for one in self.cells))
        return zeros

    def shares_a_case_with(self, other: Scores) -> bool:
        """Whether a case has a score of both."""
        starts = range(0, len(self.cells), self.repeats)
        return any(self._has(start) and other._has(start) for start in starts)

    def _has(self, start: int) -> bool:
        return any(one == one for one in self.cells[start : start + self.repeats])  # noqa: PLR0124

    def means(self) -> dict[int, float]:
        """Position -> the mean of its scores."""
        return {position: math.fsum(values) / len(values) for position, values in self.by_case().items()}


class Columns:
    """The figures of an experiment.

    Attributes:
        names: Name of a score -> its metric, in the order in which the metrics were given.
        runs: Label -> its runs.
        cases: Number of the cases.
        observed: Cases that take part: fewer where a sequential experiment stopped early.
        clusters: Number of the cluster of each position; `None` where no case has one.
        cluster_names: What those numbers stand for; `None` for a case that stands alone.
        tags: Tag -> positions of the cases that have it.
        order: Positions in the order in which a sequential experiment looked at them; others take no part.
    """

    def __init__(self, reading: Reading, plan: Plan, *, observed: int | None = None) -> None:
        self._plan = plan
        self.runs = {label: Runs() for label in plan.arms}
        self._scores: dict[tuple[str, str], Scores] = {}
        self._failed: Counter[tuple[str, str]] = Counter()
        self.tags: dict[str, array[int]] = {}
        self._read_cases(reading)
        self.observed = self.cases if observed is None else observed
        self.order = array("q", reading.order(self.observed) if plan.sequential else ())
        self._read_runs(reading)
        self.names = self._read_scores(reading)

    def _read_cases(self, reading: Reading) -> None:
        self.cases, numbers, alone = 0, dict[str, int](), True
        self.cluster_names: list[str | None] = []
        clusters = array("q")
        for position, _, cluster, tags in reading.cases():
            self.cases += 1
            for tag in tags:
                self.tags.setdefault(tag, array("q")).append(position)
            alone = alone and cluster is None
            if cluster is not None and cluster in numbers:
                clusters.append(numbers[cluster])
                continue
            if cluster is not None:
                numbers[cluster] = len(self.cluster_names)
            clusters.append(len(self.cluster_names))
            self.cluster_names.append(cluster)
        self.clusters = None if alone else clusters

    def _read_runs(self, reading: Reading) -> None:
        repeats = self._plan.repeats
        for row in reading.runs():
            runs = self.runs[row.arm]
            runs.cells += 1
            if row.failed:
                runs.failed.add(row.position * repeats + row.repeat)
            elif row.seconds is not None:
                runs.seconds.append(row.seconds)
            if row.cost_usd is None:
                runs.unpriced += 1
            else:
                runs.known_usd = EXACT.add(runs.known_usd, Decimal(row.cost_usd))

    def _read_scores(self, reading: Reading) -> dict[str, MetricPlan]:
        metrics = {one.key: one for one in self._plan.metrics}
        names: dict[str, list[str]] = {one.name: [] for one in self._plan.metrics}
        for row in reading.scores():
            metric = metrics[row.metric].name
            if row.failed:
                self._failed[metric, row.arm] += 1
                continue
            if row.name not in names[metric]:
                names[metric].append(row.name)
            scores = self._scores.get((row.name, row.arm))
            if scores is None:
                scores = self._scores[row.name, row.arm] = Scores(self.cases, self._plan.repeats)
            if row.value is None:
                scores.inapplicable += 1
            else:
                scores.cells[row.position * self._plan.repeats + row.repeat] = row.value
        # A metric that only ever failed has a name, too: it must not vanish.
        return {name: one for one in self._plan.metrics for name in sorted(names[one.name]) or [one.name]}

    def scores(self, name: str, arm: str) -> Scores:
        """The scores of one name by one pipeline."""
        return self._scores.get((name, arm)) or Scores(self.cases, self._plan.repeats)

    def failed(self, name: str, arm: str) -> int:
        """Cells without this score because the run failed, or the metric did."""
        one = self.names[name]
        runs = self.runs[arm].failed
        if one.pairwise:
            runs = runs | self.runs[self._plan.base].failed
        return len(runs) + self._failed[one.name, arm]

    @property
    def planned(self) -> int:
        """Cells that one pipeline is to have."""
        return self.observed * self._plan.repeats

    def missing(self, name: str, arm: str) -> int:
        """Cells of which this score is not there for no known reason: not run yet, or the metric gave none."""
        scores = self.scores(name, arm)
        return max(self.planned - len(scores.values()) - scores.inapplicable - self.failed(name, arm), 0)

    def groups(self, by: str) -> Iterator[tuple[str, set[int]]]:
        """Name and positions of each group of cases: by `"tag"`, or by `"cluster"`."""
        if by == "tag":
            yield from ((tag, set(positions)) for tag, positions in sorted(self.tags.items()))
        elif self.clusters is not None:
            found: dict[int, set[int]] = {}
            for position, number in enumerate(self.clusters):
                if self.cluster_names[number] is not None:
                    found.setdefault(number, set()).add(position)
            yield from ((str(self.cluster_names[number]), positions) for number, positions in found.items())


def total_usd(known: Decimal, unpriced: int) -> Decimal | None:
    """The sum; `None` where a part of it is not known."""
    return None if unpriced else known
