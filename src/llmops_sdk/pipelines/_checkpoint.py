"""The checkpoint of a map: JSON lines to which each finished row is added, and from which a killed map goes on.

The first line names the format and the pipeline, each other line is one row::

    {"llmops_sdk": "map checkpoint", "version": 1, "pipeline": "6f0c..."}
    {"row": 17, "key": "91ab...", "result": {"run": "...", "verdicts": [...], "response": {...}, "attempts": [...]}}

A line is appended with one write, so what has been written survives the death of the process at any moment (that of
the machine only after the file was closed, when it is synchronised). A last line that is not whole was being written
when the process died: it is cut off. A lock on the file keeps out a second process.
"""

from __future__ import annotations

import array
import asyncio
import contextlib
import fcntl
import json
import os
import time
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any, Self

from llmops_sdk import loops
from llmops_sdk.errors import CheckpointError
from llmops_sdk.pipelines._fingerprint import row_key
from llmops_sdk.pipelines._records import record_of, result_of
from llmops_sdk.pipelines._result import Result

__all__ = ["Checkpoint"]

_MARK = "map checkpoint"
_BEGINNING = b'{"llmops_sdk":"map checkpoint",'
_VERSION = 1
_LOCK_WAIT_S = 1.0
"""A map that was interrupted a moment ago may still hold the lock."""


class Checkpoint:
    """The rows that are done, in a file that is open for more within `async with`.

    Memory: 8 bytes for each row of the file; results are read again when their row comes.

    Args:
        path: The file; made if it is not there.
        fingerprint: That of the pipeline.
        tags: The tags of results from the file.

    Raises:
        CheckpointError: The file cannot be used: it is of another pipeline, no checkpoint at all, damaged, or in use.
    """

    def __init__(
        self, path: str | os.PathLike[str], fingerprint: str, *, tags: Mapping[str, Any] | None = None
    ) -> None:
        self._path = Path(path)
        self._fingerprint = fingerprint
        self._tags = tags
        self._offsets = array.array("q")
        self._file = -1

    async def _lock(self) -> None:
        until = time.monotonic() + _LOCK_WAIT_S
        while True:
            try:
                fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                if time.monotonic() > until:
                    raise self._error("is in use by another `map`; give each its own file") from None
                await asyncio.sleep(0.02)
            else:
                return

    def _load(self) -> bool:
        """Note the rows of the file; gives whether it has a header."""
        offset = 0
        with os.fdopen(os.dup(self._file), "rb") as file:
            for number, line in enumerate(file, 1):
                if number == 1:
                    self._check_header(line)
                if not line.endswith(b"\n"):
                    os.ftruncate(file.fileno(), offset)
                    break
                if number > 1:
                    self._note(line, offset, number)
                offset += len(line)
        return offset > 0

    def _check_header(self, line: bytes) -> None:
        if not line.endswith(b"\n") and line[: len(_BEGINNING)] == _BEGINNING[: len(line)]:
            return  # the process died in its first write
        try:
            header = json.loads(line)
            mark, version, pipeline = header["llmops_sdk"], header["version"], header["pipeline"]
        except (ValueError, LookupError, TypeError):
            mark = version = pipeline = None
        if mark != _MARK:
            raise self._error("is no checkpoint of a `map`; give a file that is not there yet")
        if version != _VERSION:
            raise self._error(
                f"has version {version} of the format, this llmops_sdk writes {_VERSION}; start a new one"
            )
        if pipeline != self._fingerprint:
            raise self._error(
                "was written by another pipeline (another prompt, model, or line of guards); give each its own file"
            )

    def _note(self, line: bytes, offset: int, number: int) -> None:
        try:
            plain = json.loads(line)
            row, failed = plain["row"], "error" in plain["result"]
            if not isinstance(row, int) or row < 0:
                raise ValueError(row)
        except (ValueError, LookupError, TypeError) as exc:
            raise self._error(f"is damaged in line {number}; remove that line to ask its row again") from exc
        if failed:
            return
        if row >= len(self._offsets):
            self._offsets.extend([-1] * (row + 1 - len(self._offsets)))
        self._offsets[row] = offset

    def find(self, index: int, row: Any) -> tuple[str, Result | None]:
        """The key of a row, and its result where the file has one.

        Raises:
            CheckpointError: The file has another row in that place.
            ConfigurationError: The row cannot be compared.
        """
        key = row_key(self._fingerprint, row)
        offset = self._offsets[index] if index < len(self._offsets) else -1
        if offset < 0:
            return key, None
        with os.fdopen(os.dup(self._file), "rb") as file:
            file.seek(offset)
            plain = json.loads(file.readline())
        if plain["key"] != key:
            raise self._error(
                f"has another row in place {index} than this data set; give each data set its own file, and rows in "
                "the same order"
            )
        try:
            return key, result_of(plain["result"], index=index, tags=self._tags, resumed=True)
        except (LookupError, TypeError, ValueError, AttributeError) as exc:
            raise self._error(f"has a damaged line for row {index}; remove it to ask the row again") from exc

    def keeping(self, ask: Callable[[int, Any], Awaitable[Result]]) -> Callable[[int, Any], Awaitable[Result]]:
        """`ask`, for those rows that the file does not have; what it gives is added."""

        async def asked(index: int, row: Any) -> Result:
            key, found = self.find(index, row)
            if found is None:
                found = await ask(index, row)
                self.add(key, found)
            return found

        return asked

    def add(self, key: str, result: Result) -> None:
        """Append a result; it is in the file when this returns.

        Raises:
            CheckpointError: It cannot be written.
        """
        self._append({"row": result.index, "key": key, "result": record_of(result)})

    def _append(self, plain: dict[str, Any]) -> None:
        # ASCII: lone surrogates and odd ends of lines survive as escapes.
        line = json.dumps(plain, separators=(",", ":")).encode("ascii") + b"\n"
        try:
            written = os.write(self._file, line)
            if written < len(line):
                raise OSError(f"{written} of {len(line)} bytes were written")
        except OSError as exc:
            raise self._error(f"cannot be written: {exc}") from exc

    def _error(self, what: str) -> CheckpointError:
        return CheckpointError(f"the checkpoint {str(self._path)!r} {what}", path=str(self._path))

    def _close(self) -> None:
        file, self._file = self._file, -1
        with contextlib.suppress(OSError):
            os.fsync(file)
        os.close(file)

    async def __aenter__(self) -> Self:
        try:
            self._file = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o644)
        except OSError as exc:
            raise self._error(f"cannot be opened: {exc}") from exc
        try:
            await self._lock()
            if not await loops.in_thread(self._load):  # it may be long
                self._append({"llmops_sdk": _MARK, "version": _VERSION, "pipeline": self._fingerprint})
        except BaseException:
            self._close()
            raise
        return self

    async def __aexit__(self, *exc: object) -> None:
        self._close()
