"""The file of experiments: cases, runs and scores, each kept in one transaction as soon as it is there (SQLite)."""

from __future__ import annotations

import dataclasses
import json
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

from llmops_sdk.errors import EvaluationError
from llmops_sdk.evaluation._cases import Case
from llmops_sdk.evaluation._datasets import Dataset
from llmops_sdk.evaluation._running.plan import MetricPlan, Plan
from llmops_sdk.evaluation.metrics import Score
from llmops_sdk.sqlite_file import SQLiteFile, SQLiteKind, transaction

__all__ = ["KeptScore", "Store"]

_SCHEMA = """
CREATE TABLE cases (
    dataset TEXT NOT NULL, position INTEGER NOT NULL, id TEXT NOT NULL, place BLOB NOT NULL, cluster TEXT,
    tags TEXT NOT NULL, content TEXT NOT NULL,
    PRIMARY KEY (dataset, position)
) WITHOUT ROWID;
CREATE TABLE datasets (hash TEXT PRIMARY KEY, name TEXT NOT NULL, cases INTEGER NOT NULL);
CREATE TABLE experiments (id TEXT PRIMARY KEY, name TEXT NOT NULL, at REAL NOT NULL, plan TEXT NOT NULL);
CREATE TABLE cells (
    experiment TEXT NOT NULL, position INTEGER NOT NULL, repeat INTEGER NOT NULL, arm TEXT NOT NULL, run BLOB NOT NULL,
    PRIMARY KEY (experiment, position, repeat, arm)
) WITHOUT ROWID;
CREATE TABLE runs (
    key BLOB PRIMARY KEY, at REAL NOT NULL, record TEXT NOT NULL, error TEXT, seconds REAL, cost_usd TEXT
) WITHOUT ROWID;
CREATE TABLE scores (
    run BLOB NOT NULL, metric BLOB NOT NULL, name TEXT NOT NULL, value REAL, label TEXT, explanation TEXT,
    details TEXT, cost_usd TEXT, error TEXT,
    PRIMARY KEY (run, metric, name)
) WITHOUT ROWID;
"""

_KIND = SQLiteKind(name="evaluation", application_id=0x6C6C6D65, format=1, schema=_SCHEMA)
_TIMEOUT_S = 10.0


@dataclass(frozen=True, slots=True, kw_only=True)
class KeptScore:
    """A score with what it belongs to; `error` is the traceback of a metric that raised."""

    case: str
    arm: str
    repeat: int
    name: str
    score: Score
    error: str | None


class Store:
    """The file. Several processes may read it while one writes.

    Args:
        path: The file; made when it is not there.

    Raises:
        ConfigurationError: The file belongs to another program, or cannot be read.
    """

    def __init__(self, path: Path | str) -> None:
        self._file = SQLiteFile(path, _KIND, timeout_s=_TIMEOUT_S)
        self.path = self._file.path

    def close(self) -> None:
        """Let go of the file; it is opened again if it is used again."""
        self._file.close()

    # What is asked.

    def add_cases(self, dataset: Dataset) -> int:
        """Keep the cases, if they are not kept already; gives how many there are."""
        with self._file.connected() as db:
            found = db.execute("SELECT cases FROM datasets WHERE hash = ?", (dataset.hash,)).fetchone()
            if found is not None:
                return int(found[0])
            with transaction(db):
                db.executemany(
                    "INSERT OR REPLACE INTO cases VALUES (?, ?, ?, ?, ?, ?, ?)",
                    (_case_row(dataset.hash, position, case) for position, case in enumerate(dataset)),
                )
                (number,) = db.execute("SELECT count(*) FROM cases WHERE dataset = ?", (dataset.hash,)).fetchone()
                db.execute("INSERT OR REPLACE INTO datasets VALUES (?, ?, ?)", (dataset.hash, dataset.name, number))
            return int(number)

    def cases(self, dataset: str, *, shuffled: bool = False) -> Iterator[tuple[int, Case]]:
        """Position and case, in order, or in an order that has nothing to do with what is in them."""
        order = "place" if shuffled else "position"
        query = f"SELECT position FROM cases WHERE dataset = ? ORDER BY {order}"  # noqa: S608  (one of two words)
        with self._file.connected() as db:
            positions = [row[0] for row in db.execute(query, (dataset,))]
        for position in positions:
            with self._file.connected() as db:
                row = db.execute(
                    "SELECT content FROM cases WHERE dataset = ? AND position = ?", (dataset, position)
                ).fetchone()
            yield position, Case.from_json(json.loads(row[0]))

    def begin(self, plan: Plan, name: str) -> None:
        """Keep what the experiment is."""
        with self._file.connected() as db:
            db.execute(
                "INSERT INTO experiments VALUES (?, ?, ?, ?) ON CONFLICT (id) DO UPDATE SET plan = excluded.plan",
                (plan.id, name, time.time(), json.dumps(dataclasses.asdict(plan))),
            )

    def plan(self, experiment: str) -> Plan:
        """The plan of an experiment.

        Raises:
            EvaluationError: There is none with this id.
        """
        with self._file.connected() as db:
            row = db.execute("SELECT plan FROM experiments WHERE id = ?", (experiment,)).fetchone()
        if row is None:
            raise EvaluationError(f"{self.path} has no experiment {experiment!r}", path=str(self.path))
        said = json.loads(row[0])
        metrics = tuple(MetricPlan(**{**one, "bounds": tuple(one["bounds"])}) for one in said["metrics"])
        return Plan(**{**said, "metrics": metrics})

    # What was found.

    def run(self, key: bytes) -> dict[str, Any] | None:
        """The record of a run that did not fail."""
        with self._file.connected() as db:
            row = db.execute("SELECT record FROM runs WHERE key = ? AND error IS NULL", (key,)).fetchone()
        return None if row is None else json.loads(row[0])

    def scored(self, run: bytes) -> set[bytes]:
        """Keys of the metrics that have scored a run."""
        with self._file.connected() as db:
            return {row[0] for row in db.execute("SELECT metric FROM scores WHERE run = ? AND error IS NULL", (run,))}

    def add_run(
        self,
        key: bytes,
        record: Mapping[str, Any],
        *,
        error: str | None,
        seconds: float | None,
        cost_usd: Decimal | None,
    ) -> None:
        """Keep a run."""
        cost = None if cost_usd is None else str(cost_usd)
        row = (key, time.time(), json.dumps(record, ensure_ascii=False), error, seconds, cost)
        with self._file.connected() as db:
            db.execute("INSERT OR REPLACE INTO runs VALUES (?, ?, ?, ?, ?, ?)", row)

    def add_cell(self, experiment: str, position: int, repeat: int, arm: str, run: bytes) -> None:
        """Say that a run is part of an experiment."""
        with self._file.connected() as db:
            db.execute("INSERT OR REPLACE INTO cells VALUES (?, ?, ?, ?, ?)", (experiment, position, repeat, arm, run))

    def add_scores(self, run: bytes, metric: bytes, scores: Mapping[str, Score], error: str | None = None) -> None:
        """Keep what a metric said of a run; with `error` the traceback of what it raised."""
        rows = [
            (
                run,
                metric,
                name,
                one.value,
                one.label,
                one.explanation,
                json.dumps(one.details, ensure_ascii=False) if one.details else None,
                None if one.cost_usd is None else str(one.cost_usd),
                error,
            )
            for name, one in scores.items()
        ]
        with self._file.connected() as db, transaction(db):
            db.executemany("INSERT OR REPLACE INTO scores VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)", rows)

    def scores(self, experiment: str, metrics: Sequence[MetricPlan]) -> Iterator[KeptScore]:
        """The scores of an experiment by metrics that look at one answer; by position, repeat and arm."""
        marks = ", ".join("?" * len(metrics))
        with self._file.connected() as db:
            rows = db.execute(
                "SELECT cases.id, cells.arm, cells.repeat, scores.name, scores.value, scores.label, scores.explanation,"  # noqa: S608
                " scores.details, scores.cost_usd, scores.error"
                " FROM cells JOIN scores ON scores.run = cells.run"
                " JOIN experiments ON experiments.id = cells.experiment"
                " JOIN cases ON cases.dataset = json_extract(experiments.plan, '$.dataset')"
                "  AND cases.position = cells.position"
                f" WHERE cells.experiment = ? AND scores.metric IN ({marks})"
                " ORDER BY cells.position, cells.repeat, cells.arm",
                (experiment, *(one.key for one in metrics)),
            ).fetchall()
        for case, arm, repeat, name, value, label, explanation, details, cost, error in rows:
            score = Score(
                value=value,
                label=label,
                explanation=explanation,
                details=json.loads(details) if details else {},
                cost_usd=None if cost is None else Decimal(cost),
            )
            yield KeptScore(case=case, arm=arm, repeat=repeat, name=name, score=score, error=error)


def _case_row(dataset: str, position: int, case: Case) -> tuple[Any, ...]:
    try:
        content = json.dumps(case.to_json(), ensure_ascii=False)
    except (TypeError, ValueError) as exc:
        raise EvaluationError(f"the case {case.id!r} holds what JSON has no form for: {exc}") from exc
    place = bytes.fromhex(case.hash)[:8] + position.to_bytes(4)
    return dataset, position, case.id, place, case.cluster, json.dumps(case.tags), content
