"""The file of a cassette: reading it, finding what was recorded, appending to it."""

from __future__ import annotations

import difflib
import json
import tempfile
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from llmops_sdk.errors import CassetteError
from llmops_sdk.testing._recording import Recording, lines_of, scrub_answer, scrub_stream
from llmops_sdk.testing._scrubbing import scrub_value

__all__ = ["Tape"]

_VERSION = 1
_HEADER = b'{"llmops_cassette":%d}\n' % _VERSION
_DIFF_LINES = 60
_AGAIN = "record it again with `Cassette(path, mode='record')`, or `pytest --llmops-record` for the fixture"


class Tape:
    """The recordings of one file."""

    def __init__(self, path: Path, *, recording: bool, scrub: Callable[[str], str]) -> None:
        self.path = path
        self._scrub = scrub
        self._lock = threading.Lock()
        self._begun = False
        self._recordings: dict[str, list[Recording]] = {}
        self._played: dict[str, int] = {}
        if not recording:
            self._read()

    def _read(self) -> None:
        try:
            lines = self.path.read_bytes().splitlines()
        except FileNotFoundError as exc:
            raise CassetteError(
                f"there is no cassette {str(self.path)!r}; record it with `Cassette(path, mode='record')`, "
                "or with `pytest --llmops-record` for the fixture"
            ) from exc
        self._check_version(lines[0] if lines else b"")
        for number, line in enumerate(lines[1:], start=2):
            try:
                recording = Recording.from_line(line)
            except (ValueError, TypeError, LookupError, AttributeError) as exc:
                raise CassetteError(
                    f"{self.path}, line {number}: no recording ({type(exc).__name__}: {exc}); "
                    "delete the line, or record the cassette again"
                ) from exc
            self._recordings.setdefault(recording.key, []).append(recording)

    def _check_version(self, line: bytes) -> None:
        try:
            version = json.loads(line)["llmops_cassette"]
        except (ValueError, TypeError, KeyError) as exc:
            raise CassetteError(f"{self.path}, line 1: no cassette; the first line has to be {_HEADER!r}") from exc
        if version != _VERSION:
            raise CassetteError(
                f"{self.path} has version {version} of the format, this llmops_sdk reads {_VERSION}; record it again"
            )

    def find(self, kind: str, asked: dict[str, Any]) -> Recording:
        """The next recording for a request.

        Raises:
            CassetteError: There is none; the message shows the difference to the nearest one.
        """
        key = Recording(kind=kind, asked=asked).key
        with self._lock:
            recordings = self._recordings.get(key)
            if recordings is not None:
                turn = self._played.get(key, 0)
                self._played[key] = turn + 1
                return recordings[min(turn, len(recordings) - 1)]
        raise CassetteError(self._miss(kind, asked))

    def _miss(self, kind: str, asked: dict[str, Any]) -> str:
        recorded = [recordings[0] for recordings in self._recordings.values()]
        if not recorded:
            return f"the cassette {str(self.path)!r} is empty; {_AGAIN}"
        lines = lines_of(asked)
        matcher = difflib.SequenceMatcher(a=lines, autojunk=False)

        def nearness(recording: Recording) -> float:
            matcher.set_seq2(lines_of(recording.asked))
            return matcher.ratio() + (recording.kind == kind) / 1000

        nearest = max(recorded, key=nearness)
        names = f"recorded ({nearest.kind})", f"asked ({kind})"
        diff = list(difflib.unified_diff(lines_of(nearest.asked), lines, *names, lineterm=""))
        if not diff:
            diff = [f"The same request was recorded as a {nearest.kind}, and is now asked for as a {kind}."]
        if len(diff) > _DIFF_LINES:
            diff = [*diff[:_DIFF_LINES], f"... {len(diff) - _DIFF_LINES} more lines"]
        shown = "\n".join(diff)
        return (
            f"the cassette {str(self.path)!r} holds no answer to this request; the nearest of its {len(recorded)} "
            f"requests differs so:\n{shown}\nIf the change is meant, {_AGAIN}."
        )

    def write(self, recording: Recording) -> None:
        """Scrub and append a recording; the first one replaces the file."""
        recording.answer = scrub_answer(recording.answer, self._scrub)
        recording.error = scrub_value(recording.error, self._scrub)
        recording.chunks = scrub_stream(recording.chunks, self._scrub)
        line = recording.to_line()
        with self._lock:
            if not self._begun:
                self._replace(_HEADER + line)
                self._begun = True
                return
            # One write in append mode: lines of several threads and processes do not mix.
            with self.path.open("ab", buffering=0) as file:
                file.write(line)

    def _replace(self, content: bytes) -> None:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=self.path.parent, prefix=self.path.name, delete=False) as new:
            new.write(content)
        try:
            Path(new.name).chmod(0o644)  # temporary files are private; a cassette is committed
            Path(new.name).replace(self.path)
        except BaseException:
            Path(new.name).unlink(missing_ok=True)
            raise
