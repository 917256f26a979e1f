"""The figures of an experiment, in arrays: one number for a score, however long the answer was."""

from __future__ import annotations

import functools
import math
from array import array
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
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
        blocked: How many a guard blocked.
        seconds: What those that did not fail took.
        known_usd: What is known of their cost.
        unpriced: Runs whose cost is not known.
    """

    cells: int = 0
    failed: set[int] = field(default_factory=set)
    blocked: int = 0
    seconds: array[float] = field(default_factory=lambda: array("d"))
    known_usd: Decimal = Decimal(0)
    unpriced: int = 0


class Scores:
    """The scores of one name by one pipeline.

    Attributes:
        cells: One number for each cell, at `position * repeats + repeat`; `nan` where there is no score.
    """

    __slots__ = ("_apart", "cells", "repeats")

    def __init__(self, cases: int, repeats: int) -> None:
        self.cells = array("d", [math.nan]) * (cases * repeats)
        self.repeats = repeats
        self._apart = bytearray()

    def leave_out(self, cell: int) -> None:
        """The metric does not apply to this cell."""
        if not self._apart:
            self._apart = bytearray(len(self.cells))
        self._apart[cell] = 1

    def inapplicable(self, positions: Iterable[int] | None = None) -> int:
        """Cells to which the metric does not apply, of all cases or of some."""
        if positions is None or not self._apart:
            return sum(self._apart)
        return sum(sum(self._apart[one * self.repeats : (one + 1) * self.repeats]) for one in positions)

    @property
    def shaped(self) -> memoryview[float]:
        """The same, of shape `(cases, repeats)`: numpy takes it as it is."""
        return memoryview(self.cells).cast("B").cast("d", (len(self.cells) // self.repeats, self.repeats))

    def has(self, cell: int) -> bool:
        """Whether the cell has a score."""
        return not math.isnan(self.cells[cell])

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
        self._unscored: dict[tuple[str, str], set[int]] = {}
        self._failed: defaultdict[tuple[str, str], set[int]] = defaultdict(set)
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
            runs.blocked += row.blocked
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
            metric, cell = metrics[row.metric].name, row.position * self._plan.repeats + row.repeat
            if row.failed:
                self._failed[metric, row.arm].add(cell)
                continue
            if row.name not in names[metric]:
                names[metric].append(row.name)
            scores = self._scores.get((row.name, row.arm))
            if scores is None:
                scores = self._scores[row.name, row.arm] = Scores(self.cases, self._plan.repeats)
            if row.value is None:
                scores.leave_out(cell)
            else:
                scores.cells[cell] = row.value
        # A metric that only ever failed has a name, too: it must not vanish.
        return {name: one for one in self._plan.metrics for name in sorted(names[one.name]) or [one.name]}

    def scores(self, name: str, arm: str) -> Scores:
        """The scores of one name by one pipeline."""
        return self._scores.get((name, arm)) or Scores(self.cases, self._plan.repeats)

    def failed(self, name: str, arm: str, positions: Sequence[int] | None = None) -> int:
        """Cells without this score because the run failed, or the metric did; of all cases or of some."""
        cells = self._unscored.get((name, arm))
        if cells is None:
            cells = self._unscored[name, arm] = self._failed_cells(name, arm)
        if positions is None:
            return len(cells)
        repeats = self._plan.repeats
        return sum(position * repeats + repeat in cells for position in positions for repeat in range(repeats))

    def _failed_cells(self, name: str, arm: str) -> set[int]:
        one, scores = self.names[name], self.scores(name, arm)
        failed = self.runs[arm].failed | self._failed[one.name, arm]
        if one.pairwise:
            failed |= self.runs[self._plan.base].failed
        return {cell for cell in failed if not scores.has(cell)}  # some metrics score a run that failed, too

    @property
    def planned(self) -> int:
        """Cells that one pipeline is to have."""
        return self.observed * self._plan.repeats

    def missing(self, name: str, arm: str, positions: Sequence[int] | None = None) -> int:
        """Cells of which this score is not there for no known reason: not run yet, or the metric gave none."""
        scores = self.scores(name, arm)
        planned = self.planned if positions is None else self._observed_of(positions) * self._plan.repeats
        scored = len(scores.values()) if positions is None else sum(map(len, scores.by_case(positions).values()))
        there = scored + scores.inapplicable(positions) + self.failed(name, arm, positions)
        return max(planned - there, 0)

    def _observed_of(self, positions: Sequence[int]) -> int:
        """How many of these cases take part."""
        if self.observed == self.cases:
            return len(positions)
        return sum(position in self._taken for position in positions)

    @functools.cached_property
    def _taken(self) -> frozenset[int]:
        return frozenset(self.order)

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
