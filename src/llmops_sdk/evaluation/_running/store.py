"""The file of experiments: cases, runs and scores (SQLite). What is written together is there together, or not."""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import json
import os
import shutil
import sqlite3
import tempfile
import time
import weakref
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any, NamedTuple

from llmops_sdk.errors import EvaluationError
from llmops_sdk.evaluation._cases import Case
from llmops_sdk.evaluation._datasets import Dataset
from llmops_sdk.evaluation._experiment.analysis import Analysis
from llmops_sdk.evaluation._running.plan import Plan
from llmops_sdk.evaluation._running.reading import KeptExperiment, Reading
from llmops_sdk.evaluation._running.tables import KIND
from llmops_sdk.sqlite_file import SQLiteFile, transaction
from llmops_sdk.usage import EXACT

__all__ = ["CellRow", "Ending", "KeptCase", "KeptRun", "RecordRow", "RunRow", "ScoreRow", "Store"]

_FORGET = """
DELETE FROM scores WHERE run IN (SELECT key FROM runs WHERE key = ? AND error IS NOT NULL)
"""
_RECORD = """
INSERT INTO records VALUES (?, ?) ON CONFLICT (run) DO UPDATE SET record = excluded.record
WHERE EXISTS (SELECT 1 FROM runs WHERE runs.key = excluded.run AND runs.error IS NOT NULL)
"""
_RUN = """
INSERT INTO runs VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT (key) DO UPDATE SET
    at = excluded.at, error = excluded.error, seconds = excluded.seconds, cost_usd = excluded.cost_usd,
    blocked = excluded.blocked
WHERE runs.error IS NOT NULL
"""

_TIMEOUT_S = 10.0
_NOTHING = Decimal(0)
_DAMAGED = "It is damaged: take a copy from before, or give another `store`"
_USABLE_LATER = "What had been written is kept, and the same call goes on from there once the file can be used again"
_MARKS = 1_000
"""Keys that one question to SQLite names."""
_CASES = 256
"""Cases that are read at once."""

CellRow = tuple[str, int, int, str, bytes]
"""As in the table `cells`."""
RunRow = tuple[bytes, float, str | None, float, str | None, bool]
"""As in the table `runs`."""
RecordRow = tuple[bytes, str]
"""As in the table `records`: apart from the runs, so that figures are read without the texts between them."""
ScoreRow = tuple[bytes, bytes, str, float | None, str | None, str | None, str | None, str | None, str | None]
"""As in the table `scores`."""


class KeptCase(NamedTuple):
    """A case with its place among the others, and its hash."""

    position: int
    place: bytes
    hash: str
    case: Case


class KeptRun(NamedTuple):
    """What is known of a run without reading its record."""

    failed: bool
    cost_usd: Decimal | None


class Ending(NamedTuple):
    """How an experiment has ended.

    Attributes:
        reason: `"complete"`; `"decided"`: a sequential one was clear; `"budget"`: the money was spent before.
        observed: Of a sequential one the cases that take part; `None`: all do.
    """

    reason: str
    observed: int | None = None


class Store:
    """The file. Several processes may read it while one writes.

    Args:
        path: The file; made when it is not there.

    Raises:
        ConfigurationError: The file belongs to another program, or cannot be read.
    """

    def __init__(self, path: Path | str) -> None:
        self._file = SQLiteFile(path, KIND, timeout_s=_TIMEOUT_S)
        self.path = self._file.path
        weakref.finalize(self, self._file.close)  # experiments that are read leave it open

    @classmethod
    def temporary(cls) -> Store:
        """One that is deleted with this object."""
        folder = tempfile.mkdtemp(prefix="llmops-")
        store = cls(Path(folder, "experiment.db"))
        weakref.finalize(store, _delete, folder, os.getpid())
        return store

    def close(self) -> None:
        """Let go of the file; it is opened again if it is used again."""
        self._file.close()

    @contextlib.contextmanager
    def _open(self) -> Iterator[sqlite3.Connection]:
        try:
            with self._file.connected() as db:
                yield db
        except sqlite3.Error as exc:
            # The lowest byte is the kind; what Python itself raises has none.
            damaged = getattr(exc, "sqlite_errorcode", 0) & 0xFF == sqlite3.SQLITE_CORRUPT
            raise EvaluationError(
                f"{self.path} cannot be used: {exc}. {_DAMAGED if damaged else _USABLE_LATER}", path=str(self.path)
            ) from exc

    # What is asked.

    def add_cases(self, dataset: Dataset) -> int:
        """Keep the cases, if they are not kept already; gives how many there are."""
        with self._open() as db:
            found = db.execute("SELECT cases FROM datasets WHERE hash = ?", (dataset.hash,)).fetchone()
            if found is not None:
                return int(found[0])
            with transaction(db):
                db.executemany(
                    "INSERT OR REPLACE INTO cases VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
                    (_case_row(dataset.hash, position, case) for position, case in enumerate(dataset)),
                )
                (number,) = db.execute("SELECT count(*) FROM cases WHERE dataset = ?", (dataset.hash,)).fetchone()
                db.execute("INSERT OR REPLACE INTO datasets VALUES (?, ?, ?)", (dataset.hash, dataset.name, number))
            return int(number)

    def cases(self, dataset: str, *, shuffled: bool = False) -> Iterator[list[KeptCase]]:
        """The cases, some at a time: in order, or in one that has nothing to do with what is in them.

        Shuffled, those of one cluster stand together.
        """
        order = "place" if shuffled else "position"
        query = (
            "SELECT position, place, hash, content FROM cases"  # noqa: S608  (one of two words)
            f" WHERE dataset = ? AND {order} > ? ORDER BY {order} LIMIT {_CASES}"
        )
        last: Any = b"" if shuffled else -1
        while True:
            with self._open() as db:
                rows = db.execute(query, (dataset, last)).fetchall()
            if not rows:
                return
            last = rows[-1][1 if shuffled else 0]
            yield [
                KeptCase(position, place, content, Case.from_json(json.loads(said)))
                for position, place, content, said in rows
            ]

    def case(self, dataset: str, position: int) -> Case:
        """One case."""
        with self._open() as db:
            (content,) = db.execute(
                "SELECT content FROM cases WHERE dataset = ? AND position = ?", (dataset, position)
            ).fetchone()
        return Case.from_json(json.loads(content))

    def begin(self, plan: Plan, name: str, analysis: Analysis) -> None:
        """Keep what the experiment is; one that was there goes on."""
        with self._open() as db:
            db.execute(
                "INSERT INTO experiments VALUES (?, ?, ?, ?, ?, NULL)"
                " ON CONFLICT (id) DO UPDATE SET name = excluded.name, plan = excluded.plan,"
                " analysis = excluded.analysis, ending = NULL",
                (plan.id, name, time.time(), plan.to_text(), json.dumps(dataclasses.asdict(analysis))),
            )

    def end(self, plan: Plan, ending: Ending) -> None:
        """Keep how the experiment has ended. Cells of cases that were not observed are no longer part of it.

        Their runs stay: an experiment that needs them does not ask for them again.
        """
        with self._open() as db, transaction(db):
            db.execute("UPDATE experiments SET ending = ? WHERE id = ?", (json.dumps(ending), plan.id))
            if ending.observed is not None:
                db.execute(
                    "DELETE FROM cells WHERE experiment = ? AND position IN"
                    " (SELECT position FROM cases WHERE dataset = ? ORDER BY place LIMIT -1 OFFSET ?)",
                    (plan.id, plan.dataset, ending.observed),
                )

    def ending(self, experiment: str) -> Ending | None:
        """How the experiment has ended; `None` while it runs, and where it was interrupted."""
        with self._open() as db:
            row = db.execute("SELECT ending FROM experiments WHERE id = ?", (experiment,)).fetchone()
        return None if row is None or row[0] is None else Ending(*json.loads(row[0]))

    def plan(self, experiment: str) -> Plan:
        """The plan of an experiment.

        Raises:
            EvaluationError: There is none with this id.
        """
        with self._open() as db:
            row = db.execute("SELECT plan FROM experiments WHERE id = ?", (experiment,)).fetchone()
        if row is None:
            raise EvaluationError(f"{self.path} has no experiment {experiment!r}", path=str(self.path))
        return Plan.from_text(row[0])

    # What was found.

    def record(self, run: bytes) -> dict[str, Any]:
        """The record of a run."""
        with self._open() as db:
            (record,) = db.execute("SELECT record FROM records WHERE run = ?", (run,)).fetchone()
        found: dict[str, Any] = json.loads(record)
        return found

    def runs(self, keys: Sequence[bytes]) -> dict[bytes, KeptRun]:
        """Those of the runs that are there."""
        query = "SELECT key, error IS NOT NULL, cost_usd FROM runs WHERE key IN ({})"
        return {key: KeptRun(bool(failed), _dollars(cost)) for key, failed, cost in self._of_keys(query, keys)}

    def scored(self, keys: Sequence[bytes]) -> dict[bytes, dict[bytes, dict[str, float | None] | None]]:
        """Run or pair -> metric -> its scores by name, `None` where the metric failed."""
        found: defaultdict[bytes, dict[bytes, dict[str, float | None] | None]] = defaultdict(dict)
        query = "SELECT run, metric, name, value, error IS NOT NULL FROM scores WHERE run IN ({})"
        for run, metric, name, value, failed in self._of_keys(query, keys):
            of_run = found[run]
            if failed:
                of_run[metric] = None
            elif metric not in of_run:
                of_run[metric] = {name: value}
            else:
                scores = of_run[metric]
                if scores is not None:
                    scores[name] = value
        return dict(found)

    def _of_keys(self, query: str, keys: Sequence[bytes]) -> Iterator[Any]:
        for begin in range(0, len(keys), _MARKS):
            some = keys[begin : begin + _MARKS]
            with self._open() as db:
                yield from db.execute(query.format(", ".join("?" * len(some))), some).fetchall()

    def add(
        self,
        *,
        cells: Iterable[CellRow] = (),
        runs: Sequence[RunRow] = (),
        records: Iterable[RecordRow] = (),
        scores: Iterable[ScoreRow] = (),
        anew: Iterable[tuple[bytes, bytes]] = (),
    ) -> None:
        """Keep all of this, in one transaction.

        Args:
            cells: Which runs are part of which experiment.
            runs: The runs, with new scores to come. One that is there is replaced where it had failed, and stays where
                it had not: another process was faster, and scores it.
            records: What is known of them beside the figures; as with the runs the first one stays.
            scores: What metrics said of them.
            anew: Run and metric of scores that are there, and failed: what they cost is counted on.
        """
        with self._open() as db, transaction(db):
            paid = {one: _paid(db, *one) for one in anew}
            db.executemany(_FORGET, ((row[0],) for row in runs))
            db.executemany(_RECORD, records)  # before their runs, which say whether they had failed
            db.executemany(_RUN, runs)
            db.executemany("INSERT OR REPLACE INTO cells VALUES (?, ?, ?, ?, ?)", cells)
            db.executemany("DELETE FROM scores WHERE run = ? AND metric = ?", paid)
            if any(one != 0 for one in paid.values()):
                scores = [_with(row, paid.pop((row[0], row[1]), _NOTHING)) for row in scores]
            db.executemany("INSERT OR REPLACE INTO scores VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)", scores)

    # What is read of it.

    def reading(self, plan: Plan) -> Reading:
        """What the file says of an experiment."""
        return Reading(self._file, plan)

    def analysis(self, experiment: str) -> Analysis:
        """How the experiment is analysed, as it was chosen before its scores were seen."""
        with self._open() as db:
            (said,) = db.execute("SELECT analysis FROM experiments WHERE id = ?", (experiment,)).fetchone()
        return Analysis(**json.loads(said))

    def experiments(self) -> list[KeptExperiment]:
        """What experiments there are, the latest first."""
        with self._open() as db:
            sizes = dict(db.execute("SELECT hash, cases FROM datasets"))
            rows = db.execute(
                "SELECT id, name, at, plan, (SELECT count(*) FROM cells WHERE experiment = experiments.id)"
                " FROM experiments ORDER BY at DESC, rowid DESC"
            ).fetchall()
        return [
            KeptExperiment(
                id=row[0],
                name=row[1],
                at=row[2],
                arms=tuple(plan.arms),
                metrics=tuple(one.name for one in plan.metrics),
                cases=sizes.get(plan.dataset, 0),
                cells=row[4],
            )
            for row in rows
            for plan in (Plan.from_text(row[3]),)
        ]


def _delete(folder: str, process: int) -> None:
    if os.getpid() == process:  # a forked child has the object, too
        shutil.rmtree(folder, ignore_errors=True)


def _paid(db: sqlite3.Connection, run: bytes, metric: bytes) -> Decimal | None:
    """What the scores of a run by a metric have cost; `None` where that is not known."""
    total = _NOTHING
    for (cost,) in db.execute("SELECT cost_usd FROM scores WHERE run = ? AND metric = ?", (run, metric)):
        if cost is None:
            return None
        total = EXACT.add(total, Decimal(cost))
    return total


def _with(row: ScoreRow, paid: Decimal | None) -> ScoreRow:
    """A score that has cost so much more."""
    cost = row[7]
    known = None if cost is None or paid is None else str(EXACT.add(Decimal(cost), paid))
    return (*row[:7], known, row[8])


def _dollars(kept: str | None) -> Decimal | None:
    return None if kept is None else Decimal(kept)


def _case_row(dataset: str, position: int, case: Case) -> tuple[Any, ...]:
    try:
        content = json.dumps(case.to_json())
    except (TypeError, ValueError) as exc:
        raise EvaluationError(f"the case {case.id!r} holds what JSON has no form for: {exc}") from exc
    together = case.hash if case.cluster is None else f"cluster {case.cluster}"
    place = hashlib.blake2b(together.encode("utf-8", "surrogatepass"), digest_size=8).digest() + position.to_bytes(4)
    return dataset, position, case.id, place, case.cluster, json.dumps(case.tags), content, case.hash
