"""Files of rows: read as they go, again and again, and never whole."""

from __future__ import annotations

import contextlib
import csv
import gzip
import io
import json
import os
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeAlias

from llmops_sdk.errors import DatasetError
from llmops_sdk.evaluation._datasets.json_lists import elements
from llmops_sdk.evaluation._datasets.libraries import arrow, parquet

__all__ = ["TABLES", "RowFile", "suffix_of"]

Row: TypeAlias = tuple[int, Any]
"""Number of a row, from 1, and the row."""

_TEXTS = (".csv", ".json", ".jsonl", ".ndjson", ".tsv")
TABLES = (".csv", ".parquet", ".tsv")
"""Suffixes of files with columns."""
_LARGEST_CELL = 1 << 26
"""Characters. A quotation mark that is never closed must not swallow a file of many gigabytes."""
_BATCH = 256
_NEEDING = "a .parquet file"


def suffix_of(path: Path) -> str:
    """The suffix that says what is in the file, without `.gz`.

    Raises:
        DatasetError: Nothing can read or write such a file.
    """
    name = path.name.lower()
    zipped = name.endswith(".gz")
    suffix = Path(name.removesuffix(".gz")).suffix
    if suffix in _TEXTS or (suffix == ".parquet" and not zipped):
        return suffix
    raise DatasetError(
        f"{str(path)!r} is none of {', '.join(_TEXTS)} (each also with .gz) and .parquet: its suffix says what it is",
        path=str(path),
    )


class RowFile:
    """A file of rows, as it was when this was made.

    Args:
        path: The file; its suffix says how it is read.
        encoding: Of texts. A byte order mark at the beginning is no part of the text.

    Raises:
        DatasetError: There is no such file, or nothing can read it.
    """

    def __init__(self, path: str | os.PathLike[str], *, encoding: str = "utf-8") -> None:
        self.path = Path(path).expanduser()
        self.suffix = suffix_of(self.path)
        self._encoding = "utf-8-sig" if encoding.lower().replace("_", "-") in ("utf-8", "utf8") else encoding
        if self.path.is_dir():
            raise DatasetError(f"{str(self.path)!r} is a folder; give one of its files", path=str(self.path))
        try:
            self._stamp = _stamp(self.path.stat())
        except OSError as exc:
            raise DatasetError(f"{str(self.path)!r} cannot be read: {exc.strerror}", path=str(self.path)) from exc

    def __iter__(self) -> Iterator[Row]:
        """The rows, with their numbers.

        Raises:
            DatasetError: A row is broken, or the file has changed since this was made.
        """
        row = 0
        try:
            for row, one in _READERS[self.suffix](self):
                yield row, one
        except DatasetError as exc:
            if exc.path is not None:
                raise
            raise DatasetError(
                f"row {exc.row or row + 1} of {str(self.path)!r} {exc}", **self._at(exc.row or row + 1)
            ) from exc
        except UnicodeError as exc:
            raise DatasetError(
                f"after row {row} {str(self.path)!r} is no {self._encoding.removesuffix('-sig')}: {exc}; say what it "
                "is: `Dataset.load(path, encoding='cp1252')`",
                **self._at(row + 1),
            ) from exc
        except (EOFError, OSError, zlib.error, csv.Error) as exc:
            raise DatasetError(
                f"after row {row} {str(self.path)!r} cannot be read: {exc}", **self._at(row + 1)
            ) from exc

    def _at(self, row: int) -> dict[str, Any]:
        return {"path": str(self.path), "row": row}

    @contextlib.contextmanager
    def text(self) -> Iterator[io.TextIOBase]:
        """The file as text."""
        with self.bytes() as raw, contextlib.ExitStack() as stack:
            source: Any = raw
            if self.path.name.lower().endswith(".gz"):
                source = stack.enter_context(gzip.open(raw, "rb"))
            yield stack.enter_context(io.TextIOWrapper(source, encoding=self._encoding, newline=""))

    @contextlib.contextmanager
    def bytes(self) -> Iterator[io.BufferedReader]:
        """The file, checked before the first byte and after the last."""
        with self.path.open("rb") as raw:
            self._check(raw)
            yield raw
            if not raw.closed:
                self._check(raw)
        self._check(None)

    def _check(self, raw: io.BufferedReader | None) -> None:
        found = os.fstat(raw.fileno()) if raw is not None else self.path.stat()
        if _stamp(found) != self._stamp:
            raise DatasetError(
                f"{str(self.path)!r} has changed since it was loaded, so that its cases would be others from one "
                "reading to the next: load it again, or give each experiment a copy",
                path=str(self.path),
            )


def _stamp(found: os.stat_result) -> tuple[int, int, int, int]:
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns


def _json_lines(file: RowFile) -> Iterator[Row]:
    with file.text() as lines:
        row = 0
        for number, line in enumerate(lines, 1):
            if line.isspace():
                continue
            row += 1
            try:
                one = json.loads(line)
            except (ValueError, RecursionError) as exc:
                raise DatasetError(f"(line {number}) is no JSON: {exc}", row=row) from exc
            yield row, one


def _json_list(file: RowFile) -> Iterator[Row]:
    with file.text() as text:
        yield from enumerate(elements(text), 1)


def _separated(file: RowFile) -> Iterator[Row]:
    if csv.field_size_limit() < _LARGEST_CELL:  # Python's own is 128 KiB, less than many a document
        csv.field_size_limit(_LARGEST_CELL)
    with file.text() as text:
        reader = csv.reader(text, delimiter="\t" if file.suffix == ".tsv" else ",", strict=True)
        header = next(reader, None)
        if header is None:
            return
        names = [name.strip() for name in header]
        if not all(names) or len(set(names)) < len(names):
            raise DatasetError(
                f"{str(file.path)!r} has {'two columns of one name' if all(names) else 'a column without a name'} in "
                f"its first line: {', '.join(names)}",
                path=str(file.path),
            )
        row = 0
        for cells in reader:
            if not cells:  # an empty line
                continue
            row += 1
            if len(cells) != len(names):
                raise DatasetError(
                    f"(line {reader.line_num}) has {len(cells)} cells, and there are {len(names)} columns: "
                    f"{', '.join(names)}",
                    row=row,
                )
            yield row, dict(zip(names, cells, strict=True))


def _parquet(file: RowFile) -> Iterator[Row]:
    library, broken = parquet(_NEEDING), arrow(_NEEDING).ArrowException
    row = 0
    with file.bytes() as raw:
        try:
            for batch in library.ParquetFile(raw).iter_batches(batch_size=_BATCH):
                for one in batch.to_pylist():
                    row += 1
                    yield row, one
        except broken as exc:
            raise DatasetError(f"cannot be read: {exc}", row=row + 1) from exc


_READERS: dict[str, Callable[[RowFile], Iterator[Row]]] = {
    ".csv": _separated,
    ".json": _json_list,
    ".jsonl": _json_lines,
    ".ndjson": _json_lines,
    ".parquet": _parquet,
    ".tsv": _separated,
}
