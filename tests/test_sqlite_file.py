"""Files of SQLite that several processes open at the same time."""

from __future__ import annotations

import sqlite3
import threading

import pytest

from llmops_sdk.sqlite_file import SQLiteFile, SQLiteKind

KIND = SQLiteKind(name="test", application_id=77, format=1, schema="CREATE TABLE numbers (n);\n")


@pytest.fixture
def written_by_another(tmp_path):
    """A file that has just been made and keeps no log yet, while somebody writes to it."""
    path = tmp_path / "file.db"
    made = SQLiteFile(path, KIND, timeout_s=5.0).open()
    made.execute("PRAGMA journal_mode = DELETE")
    made.close()
    writing = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    writing.execute("BEGIN IMMEDIATE")
    yield path, writing
    writing.close()


def test_who_opens_a_file_that_another_writes_waits_until_it_can_keep_its_log(written_by_another):
    path, writing = written_by_another
    freeing = threading.Timer(0.2, lambda: writing.execute("COMMIT"))
    freeing.start()
    db = SQLiteFile(path, KIND, timeout_s=20.0).open()
    freeing.join()
    assert db.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    db.close()


def test_and_not_for_longer_than_it_may(written_by_another):
    path, _ = written_by_another
    with pytest.raises(sqlite3.OperationalError, match="locked"):
        SQLiteFile(path, KIND, timeout_s=0.1).open()
