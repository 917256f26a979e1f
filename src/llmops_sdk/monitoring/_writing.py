"""One transaction of a monitor's store."""

from __future__ import annotations

import json
import sqlite3
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from decimal import Decimal
from typing import Any

from llmops_sdk.monitoring._alarms import Alarm
from llmops_sdk.monitoring._records import Kind, StoredRun, StoredScore, StoredSignal
from llmops_sdk.monitoring._schema import alarm_row, run_row, score_row, text_of
from llmops_sdk.usage import EXACT

__all__ = ["Writing"]

_PRUNED_AT_ONCE = 2_000


class Writing:
    """What is written together."""

    def __init__(self, db: sqlite3.Connection) -> None:
        self._db = db
        self._names: dict[str, int] = {}

    def run(self, run: StoredRun, signals: Iterable[StoredSignal] = ()) -> bool:
        """Add a run with its signals; `False` where the store has it already."""
        marks = ", ".join("?" * 20)
        sql = f"INSERT INTO runs VALUES ({marks}) ON CONFLICT (id) DO NOTHING"  # noqa: S608  (marks only)
        added = self._db.execute(sql, (None, *run_row(run)))
        if not added.rowcount:
            return False
        number = added.lastrowid
        rows = [(number, self._name(one.name, one.kind), one.value, one.label) for one in signals]
        self._db.executemany("INSERT INTO signals VALUES (?, ?, ?, ?)", rows)
        return True

    def _name(self, name: str, kind: Kind) -> int:
        number = self._names.get(name)
        if number is None:
            sql = "INSERT INTO names (name, kind) VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET kind = excluded.kind"
            self._db.execute(sql, (name, kind))
            found = self._db.execute("SELECT number FROM names WHERE name = ?", (name,)).fetchone()
            number = self._names[name] = int(found[0])
        return number

    def signal(self, run: str, name: str, kind: Kind, value: float) -> bool:
        """Add a signal that came later; `False` where the store does not have the run, or has the signal."""
        found = self._db.execute("SELECT number FROM runs WHERE id = ?", (run,)).fetchone()
        if found is None:
            return False
        sql = "INSERT INTO signals VALUES (?, ?, ?, NULL) ON CONFLICT DO NOTHING"
        return bool(self._db.execute(sql, (found[0], self._name(name, kind), value)).rowcount)

    def score(self, score: StoredScore) -> None:
        """Add what was said of a run, whether or not the store has the run."""
        self._db.execute("INSERT INTO scores VALUES (NULL, ?, ?, ?, ?, ?, ?, ?, ?, ?)", score_row(score))

    def alarm(self, alarm: Alarm) -> None:
        """Add an alarm."""
        self._db.execute("INSERT INTO alarms VALUES (NULL, ?, ?, ?)", alarm_row(alarm))

    def count(self, name: str, more: int = 1) -> None:
        """Let a counter go up."""
        sql = "INSERT INTO counters VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET value = value + excluded.value"
        self._db.execute(sql, (name, more))

    def detectors(self) -> Iterator[tuple[str, dict[str, Any]]]:
        """The states of all detectors by name, in the order in which they began."""
        references: defaultdict[str, dict[str, Any]] = defaultdict(dict)
        for name, place, state in self._db.execute("SELECT detector, place, state FROM places"):
            references[name][place] = json.loads(state)
        for name, state in self._db.execute("SELECT name, state FROM detectors ORDER BY number"):
            yield name, {**json.loads(state), "references": references[name]}

    def keep_detector(self, name: str, state: Mapping[str, Any], references: Mapping[str, Any]) -> None:
        """Replace the state of a detector, and those of its references that are given."""
        sql = (
            "INSERT INTO detectors (name, state) VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET state = excluded.state"
        )
        self._db.execute(sql, (name, text_of(state)))
        rows = [(name, place, text_of(one)) for place, one in references.items()]
        self._db.executemany("INSERT OR REPLACE INTO places VALUES (?, ?, ?)", rows)

    def forget_references(self, name: str) -> None:
        """Drop all references of a detector."""
        self._db.execute("DELETE FROM places WHERE detector = ?", (name,))

    def note(self, name: str, /) -> Any:
        """What was noted under this name; `None` where nothing was."""
        found = self._db.execute("SELECT value FROM notes WHERE name = ?", (name,)).fetchone()
        return None if found is None else json.loads(found[0])

    def keep_note(self, name: str, value: Any, /) -> None:
        """Note something, as JSON, in the place of what was noted before."""
        self._db.execute("INSERT OR REPLACE INTO notes VALUES (?, ?)", (name, text_of(value)))

    def spend(self, day: str, usd: Decimal, /) -> Decimal:
        """Add to what was spent on a day; gives the sum over all processes."""
        name = f"spent {day}"
        spent = EXACT.add(Decimal(self.note(name) or 0), usd)
        if usd:
            self.keep_note(name, format(spent, "f"))
        return spent

    def prune(self, before: float) -> bool:
        """Forget a share of what is older; `True` where more is left to forget."""
        sql = "SELECT number, id FROM runs WHERE at < ? ORDER BY at LIMIT ?"
        old = self._db.execute(sql, (before, _PRUNED_AT_ONCE)).fetchall()
        self._db.executemany("DELETE FROM signals WHERE run = ?", [(number,) for number, _ in old])
        self._db.executemany("DELETE FROM scores WHERE run = ?", [(id_,) for _, id_ in old])
        self._db.executemany("DELETE FROM runs WHERE number = ?", [(number,) for number, _ in old])
        if len(old) == _PRUNED_AT_ONCE:
            return True
        self._db.execute("DELETE FROM alarms WHERE at < ?", (before,))
        orphans = "DELETE FROM scores WHERE at < ? AND NOT EXISTS (SELECT 1 FROM runs WHERE runs.id = scores.run)"
        self._db.execute(orphans, (before,))
        return False
