"""What the file of experiments says of one of them: row by row, so that memory does not grow with the cases."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, NamedTuple

from llmops_sdk.evaluation._cases import Case
from llmops_sdk.evaluation._running.plan import Plan, pair_key
from llmops_sdk.evaluation.metrics import Score
from llmops_sdk.sqlite_file import SQLiteFile

__all__ = ["Cell", "Failure", "KeptExperiment", "KeptScore", "Reading", "RunRow", "ScoreRow"]

_CACHE_KIB = 65_536
_AT_ONCE = 500
"""Cells whose scores are read together."""


@dataclass(frozen=True, slots=True, kw_only=True)
class KeptExperiment:
    """An experiment that a file has.

    Attributes:
        id: 32 hexadecimal digits.
        name: As `evaluate` was told.
        at: When it was begun, in seconds since the epoch.
        arms: Labels of its pipelines.
        metrics: Names of its metrics.
        cases: Number of its cases.
        cells: How many of its `cases * repeats * arms` runs are there.
    """

    id: str
    name: str
    at: float
    arms: tuple[str, ...]
    metrics: tuple[str, ...]
    cases: int
    cells: int


class RunRow(NamedTuple):
    """One run, in figures."""

    position: int
    repeat: int
    arm: str
    failed: bool
    blocked: bool
    seconds: float | None
    cost_usd: str | None


class ScoreRow(NamedTuple):
    """One score, in figures; `value` is `None` where the metric failed or does not apply."""

    position: int
    repeat: int
    arm: str
    metric: bytes
    name: str
    value: float | None
    failed: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class KeptScore:
    """A score of a cell; `error` is the traceback of a metric that raised."""

    name: str
    score: Score
    error: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """What one pipeline made of one case, once.

    Attributes:
        case: Id of the case.
        position: Its place in the data set, from 0.
        arm: Label of the pipeline.
        repeat: Which of its runs, from 0.
        record: What is known of the run, as JSON: `llmops_sdk.pipelines.result_of` makes a `Result` of it.
        error: Why the run failed; `None` where it did not.
        seconds: What it took.
        cost_usd: What it cost; `None` where that is not known.
        scores: What metrics said of it; those that compare two answers stand with the one that is not the base's.
    """

    case: str
    position: int
    arm: str
    repeat: int
    record: dict[str, Any]
    error: str | None
    seconds: float | None
    cost_usd: Decimal | None
    scores: tuple[KeptScore, ...]

    @property
    def text(self) -> str:
        """The answer, or the refusal of a blocked run; empty where the run failed."""
        response = self.record.get("response")
        if self.record.get("blocked") or response is None:
            return str(self.record.get("refusal", ""))
        return str(response["choices"][0].get("text") or "") if response.get("choices") else ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """A run or a metric that failed.

    Attributes:
        case: Id of the case.
        arm: Label of the pipeline.
        repeat: Which of its runs, from 0.
        metric: Name of the metric that raised; `None` where it was the run.
        error: The error of the run, or the traceback of the metric.
    """

    case: str
    arm: str
    repeat: int
    metric: str | None
    error: str


class Reading:
    """One experiment in the file. Each method has a connection of its own, so that a run may go on beside it."""

    def __init__(self, file: SQLiteFile, plan: Plan) -> None:
        self._file = file
        self._plan = plan
        single = [one.key for one in plan.metrics if not one.pairwise]
        pairs = [one.key for one in plan.metrics if one.pairwise]
        # `CROSS JOIN` holds SQLite to this order: an experiment is a small part of a file that many share.
        cells = "FROM cells CROSS JOIN scores ON scores.run = {} AND scores.metric IN ({}) WHERE cells.experiment = ?"
        before = (
            "FROM cells CROSS JOIN cells AS before ON before.experiment = cells.experiment"
            " AND before.position = cells.position AND before.repeat = cells.repeat AND before.arm = ?"
            " CROSS JOIN scores ON scores.run = pair_key(before.run, cells.run) AND scores.metric IN ({})"
            " WHERE cells.experiment = ? AND cells.arm != before.arm"
        )
        self._sources: list[tuple[str, tuple[Any, ...]]] = []
        if single:
            self._sources.append((cells.format("cells.run", _marks(single)), (*single, plan.id)))
        if pairs:
            self._sources.append((before.format(_marks(pairs)), (plan.base, *pairs, plan.id)))

    def cases(self) -> Iterator[tuple[int, str, str | None, tuple[str, ...]]]:
        """Position, id, cluster and tags of each case."""
        query = "SELECT position, id, cluster, tags FROM cases WHERE dataset = ? ORDER BY position"
        for position, case, cluster, tags in self._rows(query, (self._plan.dataset,)):
            yield position, case, cluster, () if tags == "[]" else tuple(json.loads(tags))

    def position(self, case: str) -> int | None:
        """Place of the case with this id."""
        for (position,) in self._rows(
            "SELECT position FROM cases WHERE dataset = ? AND id = ?", (self._plan.dataset, case)
        ):
            return int(position)
        return None

    def order(self, most: int) -> Iterator[int]:
        """Positions of the first cases in the order that has nothing to do with what is in them."""
        query = "SELECT position FROM cases WHERE dataset = ? ORDER BY place LIMIT ?"
        for (position,) in self._rows(query, (self._plan.dataset, most)):
            yield position

    def contents(self, positions: Sequence[int]) -> dict[int, Case]:
        """Position -> case, of some cases."""
        query = f"SELECT position, content FROM cases WHERE dataset = ? AND position IN ({_marks(positions)})"  # noqa: S608
        rows = self._rows(query, (self._plan.dataset, *positions))
        return {position: Case.from_json(json.loads(content)) for position, content in rows}

    def at(self) -> float:
        """When the experiment was begun, in seconds since the epoch."""
        for (at,) in self._rows("SELECT at FROM experiments WHERE id = ?", (self._plan.id,)):
            return float(at)
        return 0.0

    def data_name(self) -> str:
        """Name of the data set."""
        for (name,) in self._rows("SELECT name FROM datasets WHERE hash = ?", (self._plan.dataset,)):
            return str(name)
        return ""

    def runs(self) -> Iterator[RunRow]:
        """The runs; by position, repeat and arm."""
        query = (
            "SELECT cells.position, cells.repeat, cells.arm, runs.error IS NOT NULL, runs.blocked, runs.seconds,"
            " runs.cost_usd"
            " FROM cells CROSS JOIN runs ON runs.key = cells.run WHERE cells.experiment = ?"
            " ORDER BY cells.position, cells.repeat, cells.arm"
        )
        for row in self._rows(query, (self._plan.id,)):
            yield RunRow(*row)

    def scores(self) -> Iterator[ScoreRow]:
        """The scores; of each metric by position and repeat."""
        wanted = "cells.position, cells.repeat, cells.arm, scores.metric, scores.name, scores.value"
        for row in self._scored(f"{wanted}, scores.error IS NOT NULL", "ORDER BY cells.position, cells.repeat"):
            yield ScoreRow(*row)

    def said(self, name: str, arm: str) -> Iterator[Score]:
        """Label and details of the scores of one name by one pipeline; no numbers."""
        which = "AND scores.name = ? AND cells.arm = ? AND scores.error IS NULL"
        for label, details in self._scored("scores.label, scores.details", which, (name, arm)):
            yield Score(label=label, details=json.loads(details) if details else {})

    def classes(self) -> Iterator[tuple[str, str, str, str | None, int]]:
        """Of scores that say which class was expected: name, arm, that class, what was said, how often."""
        wanted = (
            "scores.name, cells.arm, json_extract(scores.details, '$.expected') AS expected,"
            " coalesce(json_extract(scores.details, '$.label'), scores.label) AS said, count(*)"
        )
        which = "AND scores.details IS NOT NULL AND expected IS NOT NULL GROUP BY 1, 2, 3, 4"
        for name, arm, expected, said, number in self._scored(wanted, which):
            yield name, arm, str(expected), None if said is None else str(said), number

    def judging(self) -> Iterator[tuple[bytes, str | None, int]]:
        """What asking metrics cost in US dollars: key of the metric, each sum, how often; `None` is not known.

        Those that failed are paid, too.
        """
        yield from self._scored("scores.metric, scores.cost_usd, count(*)", "GROUP BY 1, 2")

    def failures(self) -> Iterator[Failure]:
        """The runs that failed, then the metrics that did; each by position and repeat."""
        known = dict(self._names())
        query = (
            "SELECT cells.position, cells.arm, cells.repeat, runs.error FROM cells"
            " CROSS JOIN runs ON runs.key = cells.run WHERE cells.experiment = ? AND runs.error IS NOT NULL"
            " ORDER BY cells.position, cells.repeat"
        )
        for position, arm, repeat, error in self._rows(query, (self._plan.id,)):
            yield Failure(case=known[position], arm=arm, repeat=repeat, metric=None, error=error)
        wanted = "cells.position, cells.arm, cells.repeat, scores.name, scores.error"
        which = "AND scores.error IS NOT NULL ORDER BY cells.position, cells.repeat"
        for position, arm, repeat, metric, error in self._scored(wanted, which):
            yield Failure(case=known[position], arm=arm, repeat=repeat, metric=metric, error=error)

    def cells(self, positions: Sequence[int] | None = None) -> Iterator[Cell]:
        """All that is known of the cells, of some cases or of all; by position, repeat and arm."""
        if positions is None:
            query = "SELECT DISTINCT position FROM cells WHERE experiment = ?"
            positions = sorted(row[0] for row in self._rows(query, (self._plan.id,)))
        for start in range(0, len(positions), _AT_ONCE):
            yield from self._some(positions[start : start + _AT_ONCE])

    def _some(self, positions: Sequence[int]) -> Iterator[Cell]:
        marks = _marks(positions)
        scores: dict[tuple[int, int, str], list[KeptScore]] = {}
        wanted = (
            "cells.position, cells.repeat, cells.arm, scores.name, scores.value, scores.label, scores.explanation,"
            " scores.details, scores.cost_usd, scores.error"
        )
        for *place, name, value, label, explanation, details, cost, error in self._scored(
            wanted, f"AND cells.position IN ({marks})", positions
        ):
            score = Score(
                value=value,
                label=label,
                explanation=explanation,
                details=json.loads(details) if details else {},
                cost_usd=None if cost is None else Decimal(cost),
            )
            scores.setdefault((place[0], place[1], place[2]), []).append(KeptScore(name=name, score=score, error=error))
        query = (
            "SELECT cases.id, cells.position, cells.repeat, cells.arm, records.record, runs.error, runs.seconds,"  # noqa: S608
            " runs.cost_usd FROM cells CROSS JOIN runs ON runs.key = cells.run"
            " CROSS JOIN records ON records.run = cells.run"
            " CROSS JOIN cases ON cases.dataset = ? AND cases.position = cells.position"
            f" WHERE cells.experiment = ? AND cells.position IN ({marks})"
            " ORDER BY cells.position, cells.repeat, cells.arm"
        )
        given = (self._plan.dataset, self._plan.id, *positions)
        for case, position, repeat, arm, record, error, seconds, cost in self._rows(query, given):
            yield Cell(
                case=case,
                position=position,
                arm=arm,
                repeat=repeat,
                record=json.loads(record),
                error=error,
                seconds=seconds,
                cost_usd=None if cost is None else Decimal(cost),
                scores=tuple(scores.get((position, repeat, arm), ())),
            )

    def _names(self) -> Iterator[tuple[int, str]]:
        return self._rows("SELECT position, id FROM cases WHERE dataset = ?", (self._plan.dataset,))

    def _scored(self, wanted: str, which: str, given: Sequence[Any] = ()) -> Iterator[tuple[Any, ...]]:
        for source, arguments in self._sources:
            yield from self._rows(f"SELECT {wanted} {source} {which}", (*arguments, *given))

    def _rows(self, query: str, given: Sequence[Any]) -> Iterator[Any]:
        db = self._file.open()
        try:
            db.execute(f"PRAGMA cache_size = -{_CACHE_KIB}")
            db.create_function("pair_key", 2, pair_key, deterministic=True)
            yield from db.execute(query, given)
        finally:
            db.close()


def _marks(given: Sequence[Any]) -> str:
    return ", ".join("?" * len(given))
