"""What a monitor has seen, in one SQLite file that several processes may write and read at once."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

from llmops_sdk.errors import ConfigurationError
from llmops_sdk.monitoring._alarms import Alarm
from llmops_sdk.monitoring._records import StoredRun, StoredScore, StoredSignal
from llmops_sdk.monitoring._schema import KIND, run_of, score_of, signal_of
from llmops_sdk.monitoring._writing import Writing
from llmops_sdk.sqlite_file import SQLiteFile, transaction

__all__ = ["Store", "opened_store"]

_T = TypeVar("_T")
_URL = "sqlite:///"


class Store:
    """Runs, their signals and scores, alarms, counters and the states of detectors.

    Reading is done over a connection of its own, so it sees one state of the file and holds up no writer. Times are
    seconds since the epoch; `since` is in, `until` is not, `None` is no limit.

    Args:
        path: The file; it is made when it is not there.
        timeout_s: Seconds to wait for another process that writes.

    Raises:
        ConfigurationError: The file belongs to another program or version, or its folder is not there.
    """

    def __init__(self, path: str | os.PathLike[str], *, timeout_s: float = 5.0) -> None:
        self._file = SQLiteFile(path, KIND, timeout_s=timeout_s)
        self.path: Path = self._file.path
        if not self.path.parent.is_dir():
            raise ConfigurationError(
                f"there is no folder {str(self.path.parent)!r} for the monitor's file; make it, or give another path"
            )
        self._seen_by_others = -1

    @contextlib.contextmanager
    def writing(self) -> Iterator[Writing]:
        """One transaction: all that is written in it is kept, or nothing.

        Raises:
            sqlite3.Error: The file is locked, full, or damaged: nothing was written.
        """
        with self._file.connected() as db, transaction(db):
            yield Writing(db)

    def changed_by_others(self) -> bool:
        """Whether another process (or a new connection) may have written since this was asked last, while writing."""
        with self._file.connected() as db:
            seen = db.execute("PRAGMA data_version").fetchone()[0]
        changed = seen != self._seen_by_others
        self._seen_by_others = seen
        return bool(changed)

    def run(self, id: str, /) -> StoredRun | None:  # noqa: A002  (the id of a call is called so everywhere)
        """The run of this call, `None` where it is not known."""
        return next(self._read("SELECT * FROM runs WHERE id = ?", (id,), run_of), None)

    def runs(self, since: float | None = None, until: float | None = None) -> Iterator[StoredRun]:
        """The runs that began in this time, oldest first."""
        where, limits = _between("at", since, until)
        return self._read("SELECT * FROM runs WHERE {} ORDER BY at", limits, run_of, where)

    def names(self) -> dict[str, str]:
        """The signals that there are, by name, and whether each is a `"rate"` or a `"value"`."""
        return dict(self._read("SELECT name, kind FROM names ORDER BY name", (), tuple))

    def signals(
        self, name: str | None = None, since: float | None = None, until: float | None = None
    ) -> Iterator[StoredSignal]:
        """One signal, or all, of the runs that began in this time, oldest first."""
        where, limits = _between("runs.at", since, until)
        if name is not None:
            where, limits = f"{where} AND names.name = ?", (*limits, name)
        return self._read(
            "SELECT runs.id, runs.at, names.name, names.kind, signals.value, signals.label FROM runs "
            "CROSS JOIN names CROSS JOIN signals ON signals.run = runs.number AND signals.name = names.number "
            "WHERE {} ORDER BY runs.at",
            limits,
            signal_of,
            where,
        )

    def scores(
        self,
        name: str | None = None,
        since: float | None = None,
        until: float | None = None,
        *,
        run: str | None = None,
    ) -> Iterator[StoredScore]:
        """What was said in this time (by `name`, of the call `run`), oldest first."""
        where, limits = _between("at", since, until)
        for column, wanted in (("name", name), ("run", run)):
            if wanted is not None:
                where, limits = f"{where} AND {column} = ?", (*limits, wanted)
        return self._read("SELECT * FROM scores WHERE {} ORDER BY at, number", limits, score_of, where)

    def runs_in_full(
        self, since: float | None = None, until: float | None = None
    ) -> Iterator[tuple[StoredRun, tuple[StoredSignal, ...], tuple[StoredScore, ...]]]:
        """The runs that began in this time with their signals and scores, the newest first."""
        where, limits = _between("at", since, until)
        sql = "SELECT * FROM runs WHERE {} ORDER BY at DESC"
        of_run = (
            "SELECT ?, ?, names.name, names.kind, signals.value, signals.label FROM signals "
            "JOIN names ON names.number = signals.name WHERE signals.run = ?"
        )
        with contextlib.closing(self._file.open()) as db:
            for row in db.execute(sql.format(where), limits):
                run = run_of(row)
                signals = db.execute(of_run, (run.id, run.at, row[0]))
                scores = db.execute("SELECT * FROM scores WHERE run = ? ORDER BY at, number", (run.id,))
                yield run, tuple(map(signal_of, signals)), tuple(map(score_of, scores))

    def alarms(self, since: float | None = None, until: float | None = None) -> Iterator[Alarm]:
        """The alarms that were raised in this time, oldest first."""
        where, limits = _between("at", since, until)
        sql = "SELECT alarm FROM alarms WHERE {} ORDER BY at, number"
        return self._read(sql, limits, lambda row: Alarm(**json.loads(row[0])), where)

    def counters(self) -> dict[str, int]:
        """How often what happened, over all processes, such as `"observed"` and `"skipped.queue_full"`."""
        return dict(self._read("SELECT name, value FROM counters ORDER BY name", (), tuple))

    def close(self) -> None:
        """Let go of the file; it is opened again if the store is used again."""
        self._file.close()

    def _read(
        self, sql: str, values: tuple[Any, ...], make: Callable[[tuple[Any, ...]], _T], where: str = ""
    ) -> Iterator[_T]:
        with contextlib.closing(self._file.open()) as db:
            for row in db.execute(sql.format(where), values):
                yield make(row)

    def __repr__(self) -> str:
        return f"Store({str(self.path)!r})"


def opened_store(given: Store | str | os.PathLike[str]) -> Store:
    """A store from `"sqlite:///path"`, a path, or a store.

    Raises:
        ConfigurationError: It is none of these.
    """
    if isinstance(given, Store):
        return given
    if isinstance(given, os.PathLike):
        return Store(given)
    if not isinstance(given, str) or not given.strip():
        raise ConfigurationError(f"`store` is a path or a text such as 'sqlite:///monitor.db', not {given!r}")
    path = given.removeprefix(_URL)
    if not path or "://" in path or path.startswith(("sqlite:", ":memory:")):
        raise ConfigurationError(
            f"the store {given!r} is no file; write 'sqlite:///monitor.db' (four slashes before an absolute path)"
        )
    return Store(path)


def _between(column: str, since: float | None, until: float | None) -> tuple[str, tuple[Any, ...]]:
    limits = [(f"{column} >= ?", since), (f"{column} < ?", until)]
    given = [(condition, limit) for condition, limit in limits if limit is not None]
    return " AND ".join(condition for condition, _ in given) or "TRUE", tuple(limit for _, limit in given)
