"""Writes what has been found: all that the loop finishes in one turn goes into one transaction."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Mapping
from decimal import Decimal

from llmops_sdk.evaluation._running.store import CellRow, RecordRow, RunRow, ScoreRow, Store
from llmops_sdk.evaluation.metrics import Score
from llmops_sdk.pipelines import Result, record_of
from llmops_sdk.usage import EXACT

__all__ = ["Writer", "score_rows"]

_MOST_ROWS = 500
"""That wait to be written."""
_MOST_CHARACTERS = 20_000
"""Of an error's text."""


class Writer:
    """Takes rows, and writes them before the loop waits again.

    A run is under way for longer than a turn of the loop lasts, and a transaction costs more than a row: so a process
    that is killed loses what it has under way, and of what was finished no more than the last turn.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self._cells: list[CellRow] = []
        self._runs: list[RunRow] = []
        self._records: list[RecordRow] = []
        self._scores: list[ScoreRow] = []
        self._anew: list[tuple[bytes, bytes]] = []
        self._due: asyncio.Handle | None = None
        self._error: Exception | None = None

    def add_run(self, cell: CellRow, result: Result, cost_usd: Decimal | None, *, before: Decimal | None) -> None:
        """A run, and that it is part of an experiment; `before` is what earlier tries that failed have cost."""
        record = record_of(result)
        error = None if result.error is None else _bounded(f"{type(result.error).__name__}: {result.error}")
        paid = None if cost_usd is None or before is None else str(EXACT.add(cost_usd, before))
        self._runs.append((cell[4], time.time(), error, record["seconds"], paid, bool(record.get("blocked"))))
        self._records.append((cell[4], json.dumps(record)))
        self.add_cell(cell)

    def add_cell(self, cell: CellRow) -> None:
        """That a run is part of an experiment."""
        self._cells.append(cell)
        self._soon()

    def add_scores(self, run: bytes, metric: bytes, rows: list[ScoreRow], *, anew: bool) -> None:
        """What a metric said of a run; `anew` where it had said something that is no longer right."""
        if anew:
            self._anew.append((run, metric))
        self._scores += rows
        self._soon()

    def flush(self) -> None:
        """Write what waits.

        Raises:
            EvaluationError: The file cannot be written, now or before.
        """
        if self._due is not None:
            self._due.cancel()
            self._write()
        if self._error is not None:
            raise self._error

    def check(self) -> None:
        """Raise what an earlier write raised: nobody should pay for what cannot be kept."""
        if self._error is not None:
            raise self._error

    def _soon(self) -> None:
        if len(self._runs) + len(self._scores) + len(self._cells) >= _MOST_ROWS:  # engines that never wait end no turn
            if self._due is not None:
                self._due.cancel()
            self._write()
        elif self._due is None:
            self._due = asyncio.get_running_loop().call_soon(self._write)

    def _write(self) -> None:
        self._due = None
        try:
            self._store.add(
                cells=self._cells, runs=self._runs, records=self._records, scores=self._scores, anew=self._anew
            )
        except Exception as exc:  # noqa: BLE001  (raised where somebody waits)
            self._error = self._error or exc
        for rows in (self._cells, self._runs, self._records, self._scores, self._anew):
            rows.clear()


def score_rows(run: bytes, metric: bytes, scores: Mapping[str, Score], error: str | None = None) -> list[ScoreRow]:
    """What a metric said of a run, as it is kept; `error` is the traceback of what it raised."""
    return [
        (
            run,
            metric,
            _writable(name),
            one.value,
            None if one.label is None else _writable(str(one.label)),
            None if one.explanation is None else _writable(str(one.explanation)),
            json.dumps(dict(one.details), allow_nan=False) if one.details else None,
            None if one.cost_usd is None else str(one.cost_usd),
            None if error is None else _bounded(error),
        )
        for name, one in scores.items()
    ]


def _bounded(text: str) -> str:
    return _writable(text if len(text) <= _MOST_CHARACTERS else f"(cut) ...{text[-_MOST_CHARACTERS:]}")


def _writable(text: str) -> str:
    """SQLite takes no half of a surrogate pair."""
    return text.encode("utf-8", "backslashreplace").decode()
