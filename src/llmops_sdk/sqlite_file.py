"""One SQLite file that several processes of a machine share: opened with care, and told apart from files of others.

A process that is killed leaves a good file behind: each change is one transaction in a write-ahead log. Power that
fails may cost the last changes. Network file systems will not do.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from llmops_sdk.errors import ConfigurationError

__all__ = ["SQLiteFile", "SQLiteKind", "transaction"]

_MAGIC = b"SQLite format 3\x00"
_LOG_BYTES = 4 * 1024 * 1024
_PAUSE_S = 0.01
_PRIMARY = 0xFF
"""The bits of an error's code that say its kind; the others say more of it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SQLiteKind:
    """What a file is for.

    Attributes:
        name: As messages call it: `"cache"`.
        application_id: Tells the file from those of other programs: bytes 68 to 71 of it, see
            <https://www.sqlite.org/fileformat.html>.
        format: Number of the schema; bytes 60 to 63.
        schema: The statements that make the tables.
    """

    name: str
    application_id: int
    format: int
    schema: str


class SQLiteFile:
    """One connection to the file, which is made when it is first needed, and made anew in a forked child.

    Args:
        path: The file; it is made when it is not there. Beside it lie its log and its index, `-wal` and `-shm`.
        kind: What it is for.
        timeout_s: Seconds to wait for another process that writes.

    Raises:
        ConfigurationError: The file belongs to another program or to another version, or cannot be read.
    """

    def __init__(self, path: str | os.PathLike[str], kind: SQLiteKind, *, timeout_s: float) -> None:
        self.path = Path(path).absolute()
        self.kind = kind
        self.timeout_s = timeout_s
        self._lock = threading.RLock()
        self._held = False
        self._db: sqlite3.Connection | None = None
        _check_header(self.path, kind)
        _files.add(self)

    @contextlib.contextmanager
    def connected(self) -> Iterator[sqlite3.Connection]:
        """The connection, for one thread at a time.

        Raises:
            sqlite3.Error: The file cannot be opened; or whatever the work raises.
        """
        with self._lock:
            if self._db is None:
                self._db = self.open()
            try:
                yield self._db
            except sqlite3.DatabaseError:  # the file may have been damaged or replaced
                self.close()
                raise

    def open(self) -> sqlite3.Connection:
        """A connection of the caller's own.

        Raises:
            sqlite3.Error: The file cannot be opened.
        """
        return _opened(self.path, self.kind, self.timeout_s)

    def close(self) -> None:
        """Let go of the connection; it is made again if the file is used again."""
        with self._lock:
            db, self._db = self._db, None
            if db is not None:
                db.close()

    def _before_fork(self) -> None:
        # SQLite remembers for each file which locks this process holds, and a child would inherit that memory without
        # the locks: it would write into a log that the parent deletes. So nothing is open while the process forks.
        self._held = self._lock.acquire(timeout=_FORK_S)
        if self._held:
            self.close()

    def _after_fork(self) -> None:
        if self._held:
            self._lock.release()

    def _in_child(self) -> None:
        if self._db is not None:  # it was at work for too long; to close it here would end the parent's locks
            _inherited.append(self._db)
        self._db, self._lock = None, threading.RLock()


_files: weakref.WeakSet[SQLiteFile] = weakref.WeakSet()
_inherited: list[sqlite3.Connection] = []
_FORK_S = 1.0
"""A fork waits for so long for work on the file to end."""


def _each(what: Callable[[SQLiteFile], None]) -> None:
    for file in list(_files):
        what(file)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(
        before=lambda: _each(SQLiteFile._before_fork),
        after_in_parent=lambda: _each(SQLiteFile._after_fork),
        after_in_child=lambda: _each(SQLiteFile._in_child),
    )


@contextlib.contextmanager
def transaction(db: sqlite3.Connection) -> Iterator[None]:
    """All of it is written, or nothing."""
    db.execute("BEGIN IMMEDIATE")
    try:
        yield
    except BaseException:
        with contextlib.suppress(sqlite3.Error):
            db.execute("ROLLBACK")
        raise
    db.execute("COMMIT")


def _check_header(path: Path, kind: SQLiteKind) -> None:
    """Refuse a file of somebody else before SQLite touches it."""
    try:
        with path.open("rb") as file:
            header = file.read(100)
    except FileNotFoundError:
        return
    except OSError as exc:
        raise ConfigurationError(f"the {kind.name} file {str(path)!r} cannot be read: {exc}") from exc
    if not header:
        return
    if header[:16] != _MAGIC:
        raise ConfigurationError(
            f"{str(path)!r} is no SQLite file; give the {kind.name} a file of its own, or delete this one"
        )
    if int.from_bytes(header[68:72]) != kind.application_id:
        raise ConfigurationError(
            f"{str(path)!r} is the SQLite file of another program; give the {kind.name} a file of its own"
        )
    if int.from_bytes(header[60:64]) != kind.format:
        raise ConfigurationError(
            f"{str(path)!r} was written by another version of llmops_sdk; delete it, or give another path"
        )


def _opened(path: Path, kind: SQLiteKind, timeout_s: float) -> sqlite3.Connection:
    db = sqlite3.connect(path, timeout=timeout_s, isolation_level=None, check_same_thread=False)
    try:
        # The header is written before the log begins, so that it stands in the file itself, where it is looked for.
        if db.execute("PRAGMA application_id").fetchone()[0] != kind.application_id:
            with transaction(db):
                if db.execute("PRAGMA application_id").fetchone()[0] != kind.application_id:
                    if db.execute("SELECT count(*) FROM sqlite_schema").fetchone()[0]:
                        raise sqlite3.DatabaseError("it is the file of another program")
                    _make(db, kind)
        _keep_log(db, timeout_s)
        db.execute("PRAGMA synchronous = NORMAL")
        db.execute(f"PRAGMA journal_size_limit = {_LOG_BYTES}")
        db.execute("SELECT count(*) FROM sqlite_schema")
    except BaseException:
        db.close()
        raise
    return db


def _keep_log(db: sqlite3.Connection, timeout_s: float) -> None:
    """Have the file keep a write-ahead log, where its file system can have one.

    SQLite's own waiting does not cover this change, so what is busy is asked again here. Every other error is no matter
    of time.
    """
    until = time.monotonic() + timeout_s
    while True:
        try:
            db.execute("PRAGMA journal_mode = WAL")
            return
        except sqlite3.OperationalError as exc:
            if exc.sqlite_errorcode & _PRIMARY != sqlite3.SQLITE_BUSY or time.monotonic() > until:
                raise
        time.sleep(_PAUSE_S)


def _make(db: sqlite3.Connection, kind: SQLiteKind) -> None:
    statement = ""
    for line in kind.schema.splitlines():  # `executescript` would end the transaction
        statement += line + "\n"
        if sqlite3.complete_statement(statement):
            db.execute(statement)
            statement = ""
    db.execute(f"PRAGMA application_id = {kind.application_id}")
    db.execute(f"PRAGMA user_version = {kind.format}")
