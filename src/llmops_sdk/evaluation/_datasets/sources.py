"""Where cases come from: read again from the start each time."""

from __future__ import annotations

import json
import os
import tempfile
import weakref
from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import islice
from pathlib import Path
from typing import Any

from llmops_sdk.errors import ConfigurationError, DatasetError
from llmops_sdk.evaluation._cases import Case
from llmops_sdk.evaluation._datasets.columns import BLANK, Columns, located
from llmops_sdk.evaluation._datasets.files import TABLES, RowFile
from llmops_sdk.evaluation._values import read

__all__ = ["Chosen", "FileCases", "Kept", "RowCases", "source_of"]

_JSON = ":json"
"""At the end of a column's name in a table: its cells are JSON."""


class Kept:
    """Cases that can be read only once, kept in a file that goes away with this."""

    def __init__(self, cases: Iterable[Case]) -> None:
        handle, self._path = tempfile.mkstemp(prefix="llmops-", suffix=".jsonl")
        self._gone = weakref.finalize(self, os.unlink, self._path)
        self._number = 0
        with open(handle, "w", encoding="utf-8") as file:  # noqa: PTH123  (a descriptor)
            for case in cases:
                file.write(json.dumps(case.to_json()) + "\n")
                self._number += 1

    def __iter__(self) -> Iterator[Case]:
        with Path(self._path).open(encoding="utf-8") as file:
            for line in file:
                yield Case.from_json(json.loads(line))

    def __len__(self) -> int:
        return self._number


class RowCases:
    """The cases of rows (mappings) that can be read again and again."""

    def __init__(self, rows: Iterable[Any], columns: Columns) -> None:
        self._rows, self._columns = rows, columns

    def __iter__(self) -> Iterator[Case]:
        return self._columns.cases(enumerate(self._rows, 1))


class FileCases:
    """The cases of a file of rows."""

    def __init__(self, file: RowFile, columns: Columns) -> None:
        self._file, self._columns = file, columns

    def __iter__(self) -> Iterator[Case]:
        rows = _from_tables(self._file) if self._file.suffix in TABLES else _from_json(self._file)
        return self._columns.cases(rows, path=str(self._file.path))


def _from_json(file: RowFile) -> Iterator[tuple[int, Any]]:
    for number, row in file:
        try:
            values = {name: read(one, name) for name, one in row.items()} if isinstance(row, dict) else row
        except DatasetError as exc:
            raise located(exc, str(file.path), number) from exc
        yield number, values


def _from_tables(file: RowFile) -> Iterator[tuple[int, Any]]:
    for number, row in file:
        yield number, {name.removesuffix(_JSON): _cell(file, number, name, one) for name, one in row.items()}


def _cell(file: RowFile, number: int, name: str, cell: Any) -> Any:
    if not name.endswith(_JSON):
        return BLANK if cell == "" and file.suffix != ".parquet" else cell
    try:
        return None if cell is None or cell == "" else read(json.loads(cell), name.removesuffix(_JSON))
    except (RecursionError, TypeError, ValueError) as exc:
        path = str(file.path)
        raise DatasetError(
            f"row {number} of {path!r} has no JSON in the column {name!r}: {exc}", path=path, row=number
        ) from exc


class Chosen:
    """Some cases of others.

    Args:
        cases: The others.
        wanted: Makes the question whether a case is wanted, whenever they are read.
        most: How many are read at most.
    """

    def __init__(
        self,
        cases: Iterable[Case],
        wanted: Callable[[], Callable[[Case], object]] | None = None,
        most: int | None = None,
    ) -> None:
        self._cases, self._wanted, self._most = cases, wanted, most

    def __iter__(self) -> Iterator[Case]:
        if self._wanted is None:
            return islice(self._cases, self._most)
        return filter(self._wanted(), self._cases)


def source_of(given: Any) -> Iterable[Case]:
    """What gives the cases of `given`, from the start each time.

    Raises:
        ConfigurationError: It is nothing that can be iterated, or a mapping or text.
        DatasetError: Something of it is no case.
    """
    if callable(given) and not isinstance(given, Iterable):
        return _Opened(given)
    if isinstance(given, str | bytes | Mapping | os.PathLike) or not isinstance(given, Iterable):
        raise ConfigurationError(
            f"a data set is made of cases, not of a {type(given).__name__}: `Dataset([Case(input=...), ...])`, "
            "`Dataset.load(path)` or `Dataset.from_rows(rows)`"
        )
    if isinstance(given, Iterator):
        return Kept(_checked(given))
    if isinstance(given, list | tuple | set | frozenset):
        return tuple(_checked(given))
    return _Opened(given.__iter__)


class _Opened:
    def __init__(self, begin: Callable[[], Iterator[Case]]) -> None:
        self._begin = begin

    def __iter__(self) -> Iterator[Case]:
        return _checked(self._begin())


def _checked(cases: Iterable[Any]) -> Iterator[Case]:
    for row, case in enumerate(cases, 1):
        if not isinstance(case, Case):
            raise DatasetError(
                f"row {row} is a {type(case).__name__}, not a case: write `Case(input=...)`, or make the data set by "
                "`Dataset.from_rows(rows)`",
                row=row,
            )
        yield case
