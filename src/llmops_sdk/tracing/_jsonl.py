"""`JSONL`: a hook that appends each run to a file, and `read_jsonl`, which reads such a file."""

from __future__ import annotations

import contextlib
import json
import os
import threading
from collections.abc import Iterator
from itertools import takewhile
from pathlib import Path
from typing import Any, ClassVar

from llmops_sdk.calls import Call, Ended, Evaluated, Event, ToolExecuted, event_json
from llmops_sdk.errors import ConfigurationError
from llmops_sdk.faults import Faults
from llmops_sdk.tracing._json import to_json
from llmops_sdk.tracing._later import LATER

try:  # there is none on Windows; one process may write to a file there
    import fcntl
except ImportError:  # pragma: no cover
    fcntl = None  # type: ignore[assignment]

__all__ = ["JSONL", "read_jsonl"]


class JSONL:
    """A hook that appends a line for each run that has ended to a file, as `tracing.to_json` writes it.

    What is done with an answer later (tools, evaluations, feedback) is a line of its own: the event, with the id of its
    run as `run`. A thread writes, soon after; several processes may write to one file, and it may be moved away and
    made anew at any time (logrotate needs no `copytruncate`). A line that cannot be written (the disk is full, say)
    leaves nothing of itself behind, is counted, and logged once.

    Args:
        path: The file; its folder exists. It holds what people have said only with `content`.
        content: Add the messages of each attempt, as far as the guards let them pass.

    Raises:
        ConfigurationError: The folder is not there, or `path` is a folder.

    Example:
        >>> import tempfile
        >>> from llmops_sdk import Pipeline, Scripted
        >>> path = f"{tempfile.mkdtemp()}/runs.jsonl"
        >>> written = JSONL(path)
        >>> _ = Pipeline("Hello", Scripted("Hi!"), hooks=[written]).run()
        >>> written.flush()
        True
        >>> [run["outcome"] for run in read_jsonl(path)]
        ['ok']
    """

    _turn: ClassVar = threading.Lock()
    """One thread of the process writes at a time; between processes there is a lock on the file."""

    def __init__(self, path: str | os.PathLike[str], *, content: bool = False) -> None:
        self._path = Path(path).absolute()
        if self._path.is_dir():
            raise ConfigurationError(f"`path` is the folder {str(path)!r}; write the name of a file")
        if not self._path.parent.is_dir():
            raise ConfigurationError(f"there is no folder {str(self._path.parent)!r} for {self._path.name!r}; make it")
        self._content = content
        self._faults = Faults()

    def __call__(self, event: Event, call: Call, /) -> None:
        """Have `event` written, if it ends the run or comes after its end."""
        if isinstance(event, Ended):
            LATER.do(self._write_run, call)
        elif isinstance(event, ToolExecuted | Evaluated) and any(isinstance(one, Ended) for one in call.events):
            LATER.do(self._write_event, call, event)

    @property
    def lost(self) -> int:
        """Lines that could not be written."""
        return self._faults.count

    def flush(self, timeout_s: float = 10.0) -> bool:
        """Wait until all is written so far; `False` when that took longer than `timeout_s`."""
        return LATER.flush(timeout_s)

    def _write_run(self, call: Call) -> None:
        record = to_json(call, content=self._content)
        until_end = takewhile(lambda event: event["event"] != "ended", record["events"])
        end = next(event for event in record["events"] if event["event"] == "ended")
        self._write({**record, "events": [*until_end, end]})

    def _write_event(self, call: Call, event: Event) -> None:
        self._write({"run": call.id, **event_json(call, event)})

    def _write(self, record: dict[str, Any]) -> None:
        line = json.dumps(record, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode() + b"\n"
        try:
            with self._turn:
                _append(self._path, line)
        except OSError as exc:
            self._faults.note(f"writing a run to {self._path}", exc)

    def __repr__(self) -> str:
        return f"<JSONL {str(self._path)!r}: {self.lost} lines lost>"


def _in_child() -> None:
    JSONL._turn = threading.Lock()  # another thread of the parent may have held it


if hasattr(os, "register_at_fork"):  # not on Windows
    os.register_at_fork(after_in_child=_in_child)


def _append(path: Path, line: bytes) -> None:
    """Append all of `line`, or nothing; opened each time, so it follows a file that is moved away."""
    file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o640)
    try:
        if fcntl is not None:
            fcntl.lockf(file, fcntl.LOCK_EX)  # a lock of `flock` would be held by whoever is forked in the meantime
        before = os.fstat(file).st_size
        left = memoryview(line)
        try:
            while left:
                left = left[os.write(file, left) :]
        except OSError:
            with contextlib.suppress(OSError):
                os.ftruncate(file, before)
            raise
    finally:
        os.close(file)


def read_jsonl(path: str | os.PathLike[str]) -> Iterator[dict[str, Any]]:
    """The lines of a file that `JSONL` wrote, oldest first: runs have an `id`, what came later has the `run`.

    A last line that somebody is about to write is left out.

    Raises:
        OSError: The file cannot be read.
        ConfigurationError: A line is no JSON object; the message says which.
    """
    with Path(path).open(encoding="utf-8", newline="\n") as file:
        for number, line in enumerate(file, start=1):
            if not line.endswith("\n"):
                return
            try:
                record = json.loads(line)
            except ValueError:
                record = None
            if not isinstance(record, dict):
                raise ConfigurationError(f"line {number} of {os.fspath(path)!r} is no record of a run")
            yield record
