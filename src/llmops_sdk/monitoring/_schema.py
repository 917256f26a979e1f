"""The tables of a monitor's file, and the words between their rows and the records."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any

from llmops_sdk.monitoring._alarms import Alarm
from llmops_sdk.monitoring._records import StoredRun, StoredScore, StoredSignal
from llmops_sdk.sqlite_file import SQLiteKind
from llmops_sdk.surrogates import valid

__all__ = ["KIND", "alarm_row", "run_of", "run_row", "score_of", "score_row", "signal_of", "text_of"]

# Rows of signals are by far the most. They stand in the order in which they come, beside their run (no index to keep
# up), under a small number instead of the call's id; and one signal of a stretch of time is found through `runs_by_at`.
# What a detector compares with has a row for each hour of its season (`places`), as a batch changes one or two of them.
KIND = SQLiteKind(
    name="monitor",
    application_id=0x4C4C4D4D,  # "LLMM"
    format=1,
    schema="""
CREATE TABLE runs (
    number INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, at REAL NOT NULL, pipeline TEXT NOT NULL,
    outcome TEXT NOT NULL, tags TEXT NOT NULL, seconds REAL NOT NULL, cost_usd TEXT, input_tokens INTEGER,
    output_tokens INTEGER, model TEXT, engine TEXT, prompt TEXT, prompt_version TEXT, prompt_commit TEXT,
    blocked_by TEXT, sampled INTEGER NOT NULL, question TEXT, answer TEXT, variables TEXT
);
CREATE INDEX runs_by_at ON runs (at);
CREATE TABLE names (number INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE, kind TEXT NOT NULL);
CREATE TABLE signals (
    run INTEGER NOT NULL, name INTEGER NOT NULL, value REAL NOT NULL, label TEXT, PRIMARY KEY (run, name)
) WITHOUT ROWID;
CREATE TABLE scores (
    number INTEGER PRIMARY KEY, run TEXT NOT NULL, at REAL NOT NULL, name TEXT NOT NULL, score REAL, label TEXT,
    explanation TEXT, by TEXT NOT NULL, error TEXT, cost_usd TEXT
);
CREATE INDEX scores_by_run ON scores (run);
CREATE INDEX scores_by_at ON scores (at);
CREATE TABLE alarms (number INTEGER PRIMARY KEY, at REAL NOT NULL, signal TEXT NOT NULL, alarm TEXT NOT NULL);
CREATE INDEX alarms_by_at ON alarms (at);
CREATE TABLE counters (name TEXT PRIMARY KEY, value INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE notes (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE detectors (number INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE, state TEXT NOT NULL);
CREATE TABLE places (
    detector TEXT NOT NULL, place TEXT NOT NULL, state TEXT NOT NULL, PRIMARY KEY (detector, place)
) WITHOUT ROWID;
""",
)


def text_of(value: Any) -> str:
    """As JSON; what JSON does not know is its text. In ASCII, so that SQLite can take every text."""
    return json.dumps(value, default=str)


def run_row(run: StoredRun) -> tuple[Any, ...]:
    """The columns of `runs` behind `number`."""
    return (
        run.id, run.at, _valid(run.pipeline), run.outcome, text_of(dict(run.tags)), run.seconds, _money(run.cost_usd),
        run.input_tokens, run.output_tokens, _valid(run.model), _valid(run.engine), _valid(run.prompt),
        _valid(run.prompt_version), run.prompt_commit, _valid(run.blocked_by), run.sampled, _valid(run.question),
        _valid(run.answer),
        None if run.variables is None else text_of(dict(run.variables)),
    )  # fmt: skip


def run_of(row: tuple[Any, ...]) -> StoredRun:
    """The run of a whole row of `runs`."""
    (_, id_, at, pipeline, outcome, tags, seconds, cost, input_tokens, output_tokens, model, engine, prompt, version,
     commit, blocked_by, sampled, question, answer, variables) = row  # fmt: skip
    return StoredRun(
        id=id_,
        at=at,
        pipeline=pipeline,
        outcome=outcome,
        tags=json.loads(tags),
        seconds=seconds,
        cost_usd=_decimal(cost),
        input_tokens=input_tokens,
        output_tokens=output_tokens,
        model=model,
        engine=engine,
        prompt=prompt,
        prompt_version=version,
        prompt_commit=commit,
        blocked_by=blocked_by,
        sampled=bool(sampled),
        question=question,
        answer=answer,
        variables=None if variables is None else json.loads(variables),
    )


def signal_of(row: tuple[Any, ...]) -> StoredSignal:
    """Of the call's id, its time, the name, the kind, the value and the label."""
    run, at, name, kind, value, label = row
    return StoredSignal(run=run, at=at, name=name, kind=kind, value=value, label=label)


def score_row(score: StoredScore) -> tuple[Any, ...]:
    """The columns of `scores` behind `number`."""
    return (
        score.run, score.at, _valid(score.name), score.score, _valid(score.label), _valid(score.explanation), score.by,
        score.error, _money(score.cost_usd),
    )  # fmt: skip


def score_of(row: tuple[Any, ...]) -> StoredScore:
    """The score of a whole row of `scores`."""
    _, run, at, name, score, label, explanation, by, error, cost = row
    return StoredScore(
        run=run,
        at=at,
        name=name,
        score=score,
        label=label,
        explanation=explanation,
        by=by,
        error=error,
        cost_usd=_decimal(cost),
    )


def alarm_row(alarm: Alarm) -> tuple[Any, ...]:
    """The columns of `alarms` behind `number`."""
    return alarm.at, alarm.signal, text_of(alarm.to_json())


def _valid(text: str | None) -> str | None:
    return None if text is None else valid(text)


def _money(cost_usd: Decimal | None) -> str | None:
    return None if cost_usd is None else format(cost_usd, "f")


def _decimal(text: str | None) -> Decimal | None:
    return None if text is None else Decimal(text)
