"""Files of SQLite that several processes open at the same time."""

from __future__ import annotations

import contextlib
import sqlite3
import threading

import pytest

from llmops_sdk.sqlite_file import SQLiteFile, SQLiteKind, _keep_log

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


def test_an_error_that_waiting_does_not_mend_is_raised_at_once(tmp_path):
    path = tmp_path / "file.db"
    with contextlib.closing(sqlite3.connect(path)) as made:
        made.execute("CREATE TABLE numbers (n)")
    with (
        contextlib.closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as db,
        pytest.raises(sqlite3.OperationalError, match="readonly"),
    ):
        _keep_log(db, 1e9)


def test_what_can_keep_no_log_goes_without():
    with contextlib.closing(sqlite3.connect(":memory:")) as db:
        _keep_log(db, 1e9)
        assert db.execute("PRAGMA journal_mode").fetchone() == ("memory",)
