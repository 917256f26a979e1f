"""The tables of the file of experiments."""

from __future__ import annotations

from llmops_sdk.sqlite_file import SQLiteKind

__all__ = ["KIND"]

_SCHEMA = """
CREATE TABLE cases (
    dataset TEXT NOT NULL, position INTEGER NOT NULL, id TEXT NOT NULL, place BLOB NOT NULL, cluster TEXT,
    tags TEXT NOT NULL, content TEXT NOT NULL, hash TEXT NOT NULL,
    PRIMARY KEY (dataset, position)
) WITHOUT ROWID;
CREATE INDEX cases_by_place ON cases (dataset, place);
CREATE TABLE datasets (hash TEXT PRIMARY KEY, name TEXT NOT NULL, cases INTEGER NOT NULL);
CREATE TABLE experiments (
    id TEXT PRIMARY KEY, name TEXT NOT NULL, at REAL NOT NULL, plan TEXT NOT NULL, analysis TEXT NOT NULL,
    ending TEXT
);
CREATE TABLE cells (
    experiment TEXT NOT NULL, position INTEGER NOT NULL, repeat INTEGER NOT NULL, arm TEXT NOT NULL, run BLOB NOT NULL,
    PRIMARY KEY (experiment, position, repeat, arm)
) WITHOUT ROWID;
CREATE TABLE runs (
    key BLOB PRIMARY KEY, at REAL NOT NULL, error TEXT, seconds REAL, cost_usd TEXT, blocked INTEGER NOT NULL
) WITHOUT ROWID;
CREATE TABLE records (run BLOB PRIMARY KEY, record TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE scores (
    run BLOB NOT NULL, metric BLOB NOT NULL, name TEXT NOT NULL, value REAL, label TEXT, explanation TEXT,
    details TEXT, cost_usd TEXT, error TEXT,
    PRIMARY KEY (run, metric, name)
) WITHOUT ROWID;
"""

KIND = SQLiteKind(name="evaluation", application_id=0x6C6C6D65, format=1, schema=_SCHEMA)
