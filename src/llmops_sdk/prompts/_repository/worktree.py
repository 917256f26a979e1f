"""Prompts of the working tree, read anew when a file changes: the file itself, and all that it includes.

Each `get` asks the file system for the state of each file that the prompt was made of (`stat`, some microseconds each),
and for that of files which were asked for and not there. A state is time of change, size and number of the file, and
the time of the change of these, which no program can set back; editors that write in place and editors that replace the
file are both seen. Two writes within one tick of the clock could leave the same state: so a file that was read less
than a tenth of a second after its last change is read again the next time, and compared.

What is broken, half-written, or gone leaves the last good version in use, and says so once.
"""

from __future__ import annotations

import logging
import os
import stat
import threading
import time
from pathlib import Path
from typing import NamedTuple, TypeAlias

from llmops_sdk.errors import PromptError
from llmops_sdk.prompts._files import MAX_BYTES, SUFFIX, is_inside, parse_prompt
from llmops_sdk.prompts._prompt import Prompt

__all__ = ["WorkingTree"]

log = logging.getLogger("llmops_sdk")

_SETTLED_NS = 100_000_000
"""How old a change has to be before the state of a file is believed; clocks of file systems tick every 1 to 10 ms."""

_MOST_TRIES = 5
"""Reads of a file that changes while it is read."""

State: TypeAlias = tuple[int, int, int, int]


class _Seen(NamedTuple):
    """A file as it was read."""

    state: State | None
    """`None`: there is none."""
    data: bytes | None
    settled: bool
    """Whether an equal state means an equal file."""
    problem: str | None = None
    """Why it cannot be read."""


class _Loaded(NamedTuple):
    """What became of a prompt's files."""

    files: dict[str, _Seen]
    prompt: Prompt | None
    """The last good version."""
    problem: PromptError | None
    """Why the files as they are give none."""


class WorkingTree:
    """The folder of prompts as it lies there. Its methods may be called from any thread.

    Args:
        top: The folder.
        where: Its path as errors show it, relative to the repository, with a slash at its end.
        version: What prompts from here say as their version.
    """

    def __init__(self, top: Path, where: str, version: str | None) -> None:
        self._top = str(top)
        self._where = where
        self._version = version
        self._loaded: dict[str, _Loaded] = {}
        self._loading = threading.Lock()

    def names(self) -> tuple[str, ...]:
        """Names of all prompts."""
        top = Path(self._top)
        paths = (path.relative_to(top).as_posix() for path in sorted(top.rglob(f"*{SUFFIX}")))
        return tuple(path.removesuffix(SUFFIX) for path in paths)

    def read(self, path: str) -> bytes | None:
        """What a file of the folder holds; `None` where there is none. A `Reader`.

        Raises:
            PromptError: It cannot be read.
        """
        return _data(self._see(path)) if is_inside(path) else None

    def get(self, name: str) -> Prompt | None:
        """The prompt of that name, or the last good version where its files are broken now; `None` where it never was.

        Raises:
            PromptError: It is broken, and no good version was seen before.
        """
        found = self._loaded.get(name)
        if found is None or not self._unchanged(found.files):
            with self._loading:
                found = self._loaded.get(name)
                if found is None or not self._unchanged(found.files):
                    found = self._load(name, found)
        if found is None:
            return None
        if found.prompt is None and found.problem is not None:
            raise found.problem.with_traceback(None)
        return found.prompt

    def _load(self, name: str, last: _Loaded | None) -> _Loaded | None:
        files: dict[str, _Seen] = {}

        def read(path: str) -> bytes | None:
            if not is_inside(path):
                return None
            if path not in files:
                files[path] = self._see(path)
            return _data(files[path])

        good = None if last is None else last.prompt
        where = f"{self._where}{name}{SUFFIX}"
        try:
            data = read(name + SUFFIX)
            if data is None and good is None:
                return None
            if data is None:
                raise PromptError(f"{where} is gone", prompt=name)
            loaded = _Loaded(files, parse_prompt(data, name=name, where=where, version=self._version, read=read), None)
        except PromptError as exc:
            loaded = _Loaded(files, good, exc)
            told = last is not None and last.problem is not None and str(last.problem) == str(exc)
            if good is not None and not told:
                log.warning("%s; the last good version of %r stays in use", exc, name)
        self._loaded[name] = loaded
        return loaded

    def _unchanged(self, files: dict[str, _Seen]) -> bool:
        for path, seen in files.items():
            if self._state(path) != seen.state:
                return False
            if not seen.settled:
                again = self._see(path)
                if again.data != seen.data or again.problem != seen.problem:
                    return False
                files[path] = again
        return True

    def _state(self, path: str) -> State | None:
        try:
            found = os.stat(f"{self._top}/{path}")  # noqa: PTH116  (each `get` does this: a `Path` costs more)
        except OSError:
            return None
        if not stat.S_ISREG(found.st_mode):
            return None
        return (found.st_mtime_ns, found.st_ctime_ns, found.st_size, found.st_ino)

    def _see(self, path: str) -> _Seen:
        file = f"{self._top}/{path}"
        seen = _Seen(None, None, settled=False)
        for _ in range(_MOST_TRIES):
            state = self._state(path)
            if state is None:
                return _Seen(None, None, settled=True)
            settled = time.time_ns() - max(state[:2]) > _SETTLED_NS
            try:
                with Path(file).open("rb") as opened:
                    data = opened.read(MAX_BYTES + 1)
            except FileNotFoundError:
                continue
            except OSError as exc:
                return _Seen(state, None, settled, f"{file} cannot be read: {exc}")
            seen = _Seen(state, data, settled)
            if state == self._state(path):
                break
        return seen


def _data(seen: _Seen) -> bytes | None:
    if seen.problem is not None:
        raise PromptError(seen.problem)
    return seen.data
