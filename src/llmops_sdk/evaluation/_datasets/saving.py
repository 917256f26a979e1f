"""Data sets as files, which `Dataset.load` reads again as they were."""

from __future__ import annotations

import contextlib
import csv
import gzip
import json
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any, TextIO

from llmops_sdk.errors import DatasetError
from llmops_sdk.evaluation._cases import Case
from llmops_sdk.evaluation._datasets.files import TABLES, suffix_of
from llmops_sdk.evaluation._datasets.libraries import arrow, parquet
from llmops_sdk.evaluation._values import encoded
from llmops_sdk.whole_file import replacing

__all__ = ["save"]

_OWN = frozenset({"id", "input", "expected", "tags", "cluster", "metadata"})
_BATCH = 1024


def save(cases: Iterable[Case], path: Path) -> int:
    """Write the cases, and put the file in its place when all of it is there; gives how many.

    Raises:
        DatasetError: The suffix says nothing that can be written, or the folder is not there.
    """
    suffix = suffix_of(path)
    zipped = path.name.lower().endswith(".gz")
    try:
        with replacing(path) as new:
            if suffix in TABLES:
                return _table(cases, new, suffix, zipped)
            with _text(new, zipped) as file:
                return (_json_list if suffix == ".json" else _json_lines)(cases, file)
    except OSError as exc:
        raise DatasetError(f"{str(path)!r} cannot be written: {exc.strerror or exc}", path=str(path)) from exc


@contextlib.contextmanager
def _text(path: Path, zipped: bool) -> Iterator[TextIO]:
    with (
        gzip.open(path, "wt", encoding="utf-8", newline="") if zipped else path.open("w", encoding="utf-8", newline="")
    ) as file:
        yield file


def _json_lines(cases: Iterable[Case], file: TextIO) -> int:
    number = 0
    for case in cases:
        file.write(json.dumps(case.to_json(), ensure_ascii=False) + "\n")
        number += 1
    return number


def _json_list(cases: Iterable[Case], file: TextIO) -> int:
    number = 0
    file.write("[")
    for number, case in enumerate(cases, 1):
        file.write(("\n" if number == 1 else ",\n") + json.dumps(case.to_json(), ensure_ascii=False))
    file.write("\n]\n")
    return number


def _table(cases: Iterable[Case], path: Path, suffix: str, zipped: bool) -> int:
    columns = _columns(cases)
    rows = ([cell(case) for cell in columns.values()] for case in cases)
    if suffix == ".parquet":
        return _parquet(rows, list(columns), path)
    number = 0
    with _text(path, zipped) as file:
        writer = csv.writer(file, delimiter="\t" if suffix == ".tsv" else ",", lineterminator="\r\n")
        writer.writerow(columns)
        for row in rows:
            writer.writerow(row)
            number += 1
    return number


def _parquet(rows: Iterator[list[str | None]], names: list[str], path: Path) -> int:
    library = arrow("a .parquet file")
    schema = library.schema([(name, library.string()) for name in names])
    number = 0
    with parquet("a .parquet file").ParquetWriter(path, schema) as writer:
        while batch := list(islice(rows, _BATCH)):
            number += len(batch)
            writer.write_table(library.table([list(cells) for cells in zip(*batch, strict=True)], schema=schema))
    return number


def _columns(cases: Iterable[Case]) -> dict[str, Callable[[Case], str | None]]:
    """Name -> the cell of a case. A column of which not every cell is a text is JSON, and its name says so."""
    variables: set[str] | None = None
    flat = True
    texts: dict[str, bool] = {"id": True}
    for case in cases:
        if flat:
            flat = isinstance(case.input, dict) and variables in (None, set(case.input))
            flat = flat and all(map(_is_column, case.input)) and len(case.input) > 0
            variables = set(case.input) if flat else variables
        values = [("input", case.input), *_own(case).items(), *(_variables(case).items() if flat else ())]
        for name, value in values:
            texts[name] = texts.get(name, True) and isinstance(value, str) and (value != "" or name not in _OWN)
    asked = [name for name in texts if name not in _OWN and name in (variables or ())] if flat else ["input"]
    names = ["id", *asked, *(name for name in ("expected", "tags", "cluster", "metadata") if name in texts)]
    return {
        name if texts.get(name, False) else f"{name}:json": _cell_of(name, not texts.get(name, False)) for name in names
    }


def _cell_of(name: str, as_json: bool) -> Callable[[Case], str | None]:
    def cell(case: Case) -> str | None:
        own = {"input": case.input, **_own(case)}
        if name not in own and name not in _variables(case):
            return None
        value = own[name] if name in own else case.input[name]
        if not as_json:
            return str(value)
        return json.dumps(encoded(list(case.tags) if name == "tags" else value), ensure_ascii=False)

    return cell


def _own(case: Case) -> dict[str, Any]:
    """What there is of a case beside its input; tags as one text where that can be taken apart again."""
    tags = ";".join(case.tags) if all(map(_is_tag, case.tags)) else list(case.tags)
    said = {"expected": case.expected, "tags": tags or None, "cluster": case.cluster, "metadata": case.metadata or None}
    return {"id": case.id, **{name: value for name, value in said.items() if value is not None}}


def _variables(case: Case) -> dict[str, Any]:
    return case.input if isinstance(case.input, dict) else {}


def _is_column(name: str) -> bool:
    return name == name.strip() and name != "" and name not in _OWN and not name.endswith(":json")


def _is_tag(tag: str) -> bool:
    return tag == tag.strip() and "," not in tag and ";" not in tag
