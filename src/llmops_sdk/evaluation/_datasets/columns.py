"""Which columns of a row are what of a case, and the case that is made of them."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias, TypedDict

from llmops_sdk.errors import ConfigurationError, DatasetError
from llmops_sdk.evaluation._cases import Case
from llmops_sdk.evaluation._datasets.typing_rows import Typed

__all__ = ["BLANK", "ColumnNames", "ColumnOptions", "Columns", "located"]

ColumnNames: TypeAlias = str | Sequence[str] | None
"""One column, whose value is meant; several, of which a mapping is made; or `None`: see `ColumnOptions`."""

_SEPARATORS = re.compile(r"[,;]")
_OWN = ("id", "expected", "tags", "cluster", "metadata")


class _Blank(str):
    __slots__ = ()


BLANK = _Blank()
"""An empty cell of a table of texts, where nobody can tell an empty text from none: missing, except in the input."""


class ColumnOptions(TypedDict, total=False):
    """What is in the columns of rows.

    Where an option is not given, the column of the same name is taken if there is one and no other option names it.
    Without `input` and a column of that name, all the columns that are nothing else are the variables of the prompt.
    What no option names and is no variable is kept as metadata, unless `metadata` says which columns are.

    Attributes:
        input: One column with the input itself, or several that are the variables of the prompt.
        expected: The column of the expected output, or several of which a mapping is made.
        id: The column of the ids, texts or whole numbers; by default also made of the content.
        tags: One column with a list, or with a text of tags with commas or semicolons between them; or several columns,
            each of which gives a tag `column:value`.
        cluster: The column of the clusters, texts or whole numbers.
        metadata: One column with a mapping, or several.
        input_type: What each input is validated as, by pydantic: a model, or any type that it knows.
        expected_type: The same for expected outputs.
    """

    input: ColumnNames
    expected: ColumnNames
    id: str | None
    tags: ColumnNames
    cluster: str | None
    metadata: ColumnNames
    input_type: Any
    expected_type: Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Columns:
    """The options, checked; the attributes are those of `ColumnOptions`."""

    input: ColumnNames = None
    expected: ColumnNames = None
    id: str | None = None
    tags: ColumnNames = None
    cluster: str | None = None
    metadata: ColumnNames = None
    input_type: Any = None
    expected_type: Any = None

    def __post_init__(self) -> None:
        self._types()  # what makes no sense is refused before a row is read
        for name in ("input", *_OWN):
            given = getattr(self, name)
            several = isinstance(given, Sequence) and name not in ("id", "cluster")
            if given is None or (isinstance(given, str) and given):
                continue
            if not several or not all(isinstance(one, str) and one for one in given) or (not given and name == "input"):
                kind = "the name of a column, or a list of names" if several else "the name of a column"
                raise ConfigurationError(f"`{name}` is {kind}, not {given!r}")
            object.__setattr__(self, name, tuple(given))

    def cases(self, rows: Iterable[tuple[int, Any]], *, path: str | None = None) -> Iterator[Case]:
        """The cases of `rows` (number from 1, mapping).

        Args:
            rows: The rows.
            path: Where they come from, for errors.

        Raises:
            DatasetError: A row cannot be used, or a column that an option names is in no row.
        """
        typed = self._types()
        unseen = {column for name in _OWN for column in _named(getattr(self, name))}
        seen: Any = ()
        number = 0
        for number, row in rows:
            try:
                if not isinstance(row, Mapping):
                    raise DatasetError(f"is a {type(row).__name__}, not a mapping of columns to values")
                unseen.difference_update(row)
                seen = row
                case = self._case(row, typed)
            except DatasetError as exc:
                raise located(exc, path, number) from exc
            yield case
        if unseen and number:
            names = ", ".join(map(repr, sorted(unseen)))
            raise located(
                DatasetError(f"like all others has no column {names}; it has {', '.join(seen)}"), path, number
            )

    def _types(self) -> tuple[Typed, Typed]:
        return Typed(self.input_type, "input"), Typed(self.expected_type, "expected")

    def _case(self, row: Mapping[str, Any], typed: tuple[Typed, Typed]) -> Case:
        taken = {column for name in ("input", *_OWN) for column in _named(getattr(self, name))}
        own = {name: self._of(row, name, taken) for name in _OWN}
        used = taken | {name for name in _OWN if getattr(self, name) is None}
        given, variables = self._input(row, used, typed[0])
        expected = own["expected"]
        metadata = own["metadata"] or {}
        if not isinstance(metadata, Mapping):
            raise DatasetError(f"has no mapping as metadata but a {type(metadata).__name__}")
        if self.metadata is None:
            left = {name: row[name] for name in row if name not in used and name not in variables}
            metadata = {**{name: one for name, one in left.items() if not _missing(one)}, **metadata}
        return Case(
            input=typed[0](given),
            expected=None if expected is None else typed[1](expected),
            id=_name(own["id"]) if own["id"] is not None else "",
            tags=_tags(own["tags"], several=isinstance(self.tags, tuple)),
            cluster=None if own["cluster"] is None else _name(own["cluster"]),
            metadata=metadata,
        )

    def _of(self, row: Mapping[str, Any], name: str, taken: set[str]) -> Any:
        """The value of an option's column or columns, `None` where it is missing."""
        column = getattr(self, name)
        if isinstance(column, tuple):
            found = {one: row[one] for one in column if not _missing(row.get(one))}
            return found or None
        if column is None:
            column = name if name not in taken else None
        elif name == "id" and column not in row:
            raise DatasetError(f"has no column {column!r}; it has {', '.join(row)}")
        value = None if column is None else row.get(column)
        return None if _missing(value) else value

    def _input(self, row: Mapping[str, Any], used: set[str], typed: Typed) -> tuple[Any, set[str]]:
        """The input, and the columns that it was made of."""
        column = self.input
        if column is None and "input" in row and "input" not in used:
            column = "input"
        if column is None:
            fields = typed.fields
            names = [name for name in row if name not in used and (not fields or name in fields)]
            if not names:
                raise DatasetError(f"has no column for the input; it has {', '.join(row) or 'none'}")
            return {name: row[name] for name in names}, set(names)
        missing = [name for name in _named(column) if name not in row]
        if missing:
            raise DatasetError(f"has no column {missing[0]!r} for the input; it has {', '.join(row)}")
        if isinstance(column, str):
            return row[column], {column}
        return {name: row[name] for name in column}, set(column)


def located(error: DatasetError, path: str | None, row: int) -> DatasetError:
    """The error, with where it was found."""
    said = str(error)
    of = "" if path is None else f" of {path!r}"
    joined = said if said.startswith(("is ", "has ", "like ")) else f": {said}"
    return DatasetError(f"row {row}{of}{'' if joined.startswith(':') else ' '}{joined}", path=path, row=row)


def _named(given: ColumnNames) -> tuple[str, ...]:
    return () if given is None else (given,) if isinstance(given, str) else tuple(given)


def _missing(value: Any) -> bool:
    return value is None or value is BLANK


def _name(value: Any) -> Any:
    """Whole numbers that became floating-point ones because one of their column is missing are whole again."""
    return int(value) if isinstance(value, float) and math.isfinite(value) and value.is_integer() else value


def _tags(value: Any, *, several: bool) -> Any:
    if value is None:
        return ()
    if several:
        return tuple(f"{column}:{_name(one)}" for column, one in value.items())
    if isinstance(value, str):
        return tuple(tag for part in _SEPARATORS.split(value) if (tag := part.strip()))
    return value
