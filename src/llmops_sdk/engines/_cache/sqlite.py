"""Answers in one SQLite file, for all processes of one machine."""

from __future__ import annotations

import contextlib
import math
import os
import sqlite3
from collections.abc import Callable
from typing import Any, TypeVar

from llmops_sdk import loops
from llmops_sdk.engines._cache.entries import now_s
from llmops_sdk.engines._cache.memory import checked_bytes
from llmops_sdk.errors import CacheError, ConfigurationError
from llmops_sdk.given import is_number
from llmops_sdk.sqlite_file import SQLiteFile, SQLiteKind, transaction

__all__ = ["SQLiteStore"]

_T = TypeVar("_T")

_OVERHEAD = 150
"""Bytes that a row takes in the file besides its key and value: record headers, the two indexes, page slack."""
_TOUCH_S = 60.0
"""What was used is written down once in so many seconds: a hit is a read, and hardly ever a write."""
_BATCH = 64

_SCHEMA = """
CREATE TABLE entries (
    key TEXT PRIMARY KEY, value BLOB NOT NULL, size INTEGER NOT NULL, used_at REAL NOT NULL, expires_at REAL
) WITHOUT ROWID;
CREATE INDEX by_use ON entries (used_at, size);
CREATE INDEX by_expiry ON entries (expires_at) WHERE expires_at IS NOT NULL;
CREATE TABLE total (entries INTEGER NOT NULL, bytes INTEGER NOT NULL);
INSERT INTO total VALUES (0, 0);
CREATE TRIGGER added AFTER INSERT ON entries BEGIN
    UPDATE total SET entries = entries + 1, bytes = bytes + new.size;
END;
CREATE TRIGGER dropped AFTER DELETE ON entries BEGIN
    UPDATE total SET entries = entries - 1, bytes = bytes - old.size;
END;
"""
_KIND = SQLiteKind(name="cache", application_id=0x4C4C4D43, format=1, schema=_SCHEMA)
"""The application id is "LLMC"."""


class SQLiteStore:
    """Keeps answers in a file, which any number of processes on this machine may share; no network file systems.

    The file is worked on in threads, so that no event loop waits for it. A process that is killed leaves a good file
    behind; power that fails may cost the last answers.

    Args:
        path: The file; it is made when it is not there. Beside it lie its log and its index, `-wal` and `-shm`.
        max_bytes: Most bytes of answers, `>= 1`. What was not used for longest goes first, to the nearest minute. The
            file may be a tenth larger, and its log 4 MiB.
        timeout_s: Seconds to wait for another process that writes; then the engine is asked.

    Attributes:
        entries: How many answers it held when this process last wrote.
        size_bytes: What they took.

    Raises:
        ConfigurationError: The file cannot be opened, belongs to another program, or is damaged; or a number makes no
            sense.
    """

    def __init__(
        self, path: str | os.PathLike[str], max_bytes: int = 1024 * 1024 * 1024, *, timeout_s: float = 0.5
    ) -> None:
        self.max_bytes = checked_bytes(max_bytes)
        if not (is_number(timeout_s) and 0 <= timeout_s < math.inf):
            raise ConfigurationError(f"`timeout_s` is a time of 0 seconds or more, not {timeout_s!r}")
        self.timeout_s = timeout_s
        self.entries: int | None = None
        self.size_bytes: int | None = None
        self._file = SQLiteFile(path, _KIND, timeout_s=timeout_s)
        self.path = self._file.path
        try:
            with self._file.connected() as db:
                self._note(db)
        except (sqlite3.Error, OSError, ValueError) as exc:
            raise ConfigurationError(
                f"the file {str(self.path)!r} cannot hold a cache ({exc}); delete it, or give another path"
            ) from exc
        finally:
            self._file.close()

    def __reduce__(self) -> tuple[Any, ...]:
        return _again, (str(self.path), self.max_bytes, self.timeout_s)

    async def get(self, key: str, /) -> bytes | None:
        """See `Store.get`."""
        now = now_s(None)
        return await self._work(lambda db: _get(db, key, now))

    async def put(self, key: str, value: bytes, ttl_s: float | None, /) -> None:
        """See `Store.put`."""
        now = now_s(None)
        size = len(key) + len(value) + _OVERHEAD
        row = key, value, size, now, None if ttl_s is None else now + ttl_s

        def put(db: sqlite3.Connection) -> None:
            with transaction(db):
                db.execute("DELETE FROM entries WHERE key = ? OR expires_at <= ?", (key, now))
                if size <= self.max_bytes:
                    _make_room(db, self.max_bytes - size)
                    db.execute("INSERT INTO entries VALUES (?, ?, ?, ?, ?)", row)
            self._note(db)

        await self._work(put)

    async def forget(self, key: str, /) -> None:
        """See `Store.forget`."""

        def forget(db: sqlite3.Connection) -> None:
            with transaction(db):
                db.execute("DELETE FROM entries WHERE key = ?", (key,))
            self._note(db)

        await self._work(forget)

    async def clear(self) -> None:
        """See `Store.clear`."""

        def clear(db: sqlite3.Connection) -> None:
            with transaction(db):
                db.execute("DELETE FROM entries")
            self._note(db)

        await self._work(clear)

    async def aclose(self) -> None:
        """Let go of the file; it is opened again if the store is used again."""
        await loops.in_thread(self._file.close)

    async def _work(self, work: Callable[[sqlite3.Connection], _T]) -> _T:
        def locked() -> _T:
            with self._file.connected() as db:
                return work(db)

        try:
            return await loops.in_thread(locked)
        except (sqlite3.Error, OSError) as exc:
            raise CacheError(
                f"the cache file {str(self.path)!r}: {type(exc).__name__}: {exc}; if it is damaged, delete it"
            ) from exc

    def _note(self, db: sqlite3.Connection) -> None:
        self.entries, self.size_bytes = db.execute("SELECT entries, bytes FROM total").fetchone()

    def __repr__(self) -> str:
        return f"SQLiteStore({str(self.path)!r})"


def _again(path: str, max_bytes: int, timeout_s: float) -> SQLiteStore:
    return SQLiteStore(path, max_bytes, timeout_s=timeout_s)


def _get(db: sqlite3.Connection, key: str, now: float) -> bytes | None:
    row = db.execute("SELECT value, used_at, expires_at FROM entries WHERE key = ?", (key,)).fetchone()
    if row is None or (row[2] is not None and row[2] <= now):
        return None
    if now - row[1] > _TOUCH_S:
        with contextlib.suppress(sqlite3.OperationalError):  # another process writes: it matters little
            db.execute("UPDATE entries SET used_at = ? WHERE key = ?", (now, key))
    value: bytes = row[0]
    return value


def _make_room(db: sqlite3.Connection, room: int) -> None:
    """Throw away what was not used for longest until no more than `room` bytes are held."""
    held = db.execute("SELECT bytes FROM total").fetchone()[0]
    while held > room:
        rows = db.execute("SELECT key, size FROM entries ORDER BY used_at LIMIT ?", (_BATCH,)).fetchall()
        for key, size in rows:
            if held <= room:
                break
            db.execute("DELETE FROM entries WHERE key = ?", (key,))
            held -= size
