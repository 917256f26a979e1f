"""`Dataset`: cases that can be read again and again."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import chain, islice
from pathlib import Path
from typing import Any, Self, Unpack

from llmops_sdk.errors import ConfigurationError
from llmops_sdk.evaluation._cases import Case
from llmops_sdk.evaluation._datasets.columns import ColumnOptions, Columns
from llmops_sdk.evaluation._datasets.files import RowFile
from llmops_sdk.evaluation._datasets.frames import FrameRows, HubRows
from llmops_sdk.evaluation._datasets.parts import in_sample, place, shares
from llmops_sdk.evaluation._datasets.production import Expected, ProductionCases, Redacting
from llmops_sdk.evaluation._datasets.saving import save
from llmops_sdk.evaluation._datasets.showing import as_html, as_text
from llmops_sdk.evaluation._datasets.sources import Chosen, FileCases, Kept, RowCases, source_of
from llmops_sdk.evaluation._datasets.survey import Summary, survey

__all__ = ["Dataset"]

_SHOWN = 5


class Dataset:
    """Cases, in order. Each `for` reads them from the start; a file is read as it goes, never whole.

    Args:
        cases: The cases, or a function that begins to read them. What can be read only once, such as a generator, is
            read now, and kept in a temporary file.
        name: Shown in reports.

    Attributes:
        left_out: Why something of the source is no case -> how often; empty where all of it is.

    Raises:
        ConfigurationError: `cases` is nothing that has cases.
        DatasetError: Something of it is no case.

    Example:
        >>> data = Dataset([Case(input={"question": "1 + 1?"}, expected="2")])
        >>> print(data)
        data: 1 case
        id                question  expected
        3e93ed19746e65d3  1 + 1?    2
    """

    def __init__(self, cases: Iterable[Case] | Callable[[], Iterator[Case]], /, *, name: str = "data") -> None:
        self._source = source_of(cases)
        self.name = name
        self.left_out: Mapping[str, int] = {}

    # Where it comes from.

    @classmethod
    def load(
        cls,
        path: str | os.PathLike[str],
        /,
        *,
        name: str | None = None,
        encoding: str = "utf-8",
        **columns: Unpack[ColumnOptions],
    ) -> Self:
        """The rows of a file, read as they are needed.

        Args:
            path: A file `.jsonl`, `.ndjson`, `.json` (a list), `.csv` or `.tsv` (with a line of names; cells are
                texts), each also with `.gz`; or `.parquet`.
            name: By default that of the file.
            encoding: Of texts.
            columns: Which columns are the `input`, `expected`, `id`, `tags`, `cluster` and `metadata` of a case, and
                what pydantic validates, `input_type` and `expected_type`; see `ColumnOptions`.

        Raises:
            DatasetError: There is no such file, or nobody can read it. While it is read: a row is broken or does not
                fit its type, or the file has changed since.
            ConfigurationError: An option makes no sense.
            MissingDependencyError: `.parquet` needs the extra `parquet`.
        """
        file = RowFile(path, encoding=encoding)
        return cls._of(FileCases(file, Columns(**columns)), name or file.path.name.partition(".")[0] or "data")

    @classmethod
    def from_rows(
        cls,
        rows: Iterable[Mapping[str, Any]],
        /,
        *,
        name: str = "data",
        **columns: Unpack[ColumnOptions],
    ) -> Self:
        """Mappings, with the options of `load`. A generator is read now, and its cases kept in a temporary file.

        Raises:
            DatasetError: As for `load`.
            ConfigurationError: An option makes no sense.
        """
        if isinstance(rows, str | bytes | Mapping) or not isinstance(rows, Iterable):
            raise ConfigurationError(f"`from_rows` takes mappings, one for each row, not a {type(rows).__name__}")
        cases: Iterable[Case] = RowCases(list(rows) if isinstance(rows, list) else rows, Columns(**columns))
        return cls._of(Kept(cases) if isinstance(rows, Iterator) else cases, name)

    @classmethod
    def from_pandas(cls, frame: Any, /, *, name: str = "data", **columns: Unpack[ColumnOptions]) -> Self:
        """The rows of a `pandas.DataFrame`, as it is now, with the options of `from_rows`.

        What is missing (`NaN`, `NaT`, `NA`) is `None`. The index is no column: `frame.reset_index()` makes it one.

        Raises:
            DatasetError: As for `load`.
            ConfigurationError: It is no frame, or an option makes no sense.
        """
        return cls.from_rows(FrameRows(frame), name=name, **columns)

    @classmethod
    def from_huggingface(cls, data: Any, /, *, name: str = "data", **columns: Unpack[ColumnOptions]) -> Self:
        """The rows of a `datasets.Dataset` or `IterableDataset`, with the options of `from_rows`.

        Classes (`ClassLabel`) are given by their names.

        Raises:
            DatasetError: As for `load`.
            ConfigurationError: It is neither, or an option makes no sense.
        """
        return cls.from_rows(HubRows(data), name=name, **columns)

    @classmethod
    def from_feedback(
        cls,
        source: Any,
        /,
        *,
        redact: Redacting = (),
        expected: Expected = "correction",
        cluster: str | None = None,
        name: str = "feedback",
    ) -> Self:
        """Runs of production that somebody should look at, as a monitor has found them. They are read now.

        The id of a case is that of its run, its tags are the reasons for which it was exported.

        Args:
            source: The file that `monitor.export_cases(path)` wrote, or what `monitor.cases()` gives.
            redact: Guards that read every text first, or a pipeline whose guards do: what they rewrite is kept as they
                leave it. A case whose question they find something else in is left out.
            expected: The right answer. `"correction"`: the comment (or label) of the last feedback of people with the
                name `"correction"`; `"answer"`: what was answered; `None`: nothing.
            cluster: The tag of the runs whose value is the cluster, such as `"session"`.
            name: Shown in reports.

        Raises:
            DatasetError: A line is no case of a monitor.
            ConfigurationError: An option makes no sense.
        """
        cases = ProductionCases(source, redact=redact, expected=expected, cluster=cluster)
        made = cls._of(Kept(cases), name)
        made.left_out = dict(cases.left_out)
        return made

    @classmethod
    def from_traces(
        cls,
        source: Any,
        /,
        *,
        redact: Redacting = (),
        expected: Expected = None,
        cluster: str | None = None,
        name: str = "traces",
    ) -> Self:
        """The runs of `tracing.memory()`, or of a list of calls or results; else as `from_feedback`.

        Only texts that the guards of the run let pass, or have made clean, become part of a case.

        Args:
            source: The runs; a file of `monitor.export_cases` will do, too.
            redact: As for `from_feedback`.
            expected: As for `from_feedback`; with `"answer"` what was answered once has to be answered again.
            cluster: As for `from_feedback`.
            name: Shown in reports.

        Raises:
            DatasetError: One of them is no run.
            ConfigurationError: An option makes no sense.
        """
        return cls.from_feedback(source, redact=redact, expected=expected, cluster=cluster, name=name)

    @classmethod
    def _of(cls, source: Iterable[Case], name: str) -> Self:
        made = cls.__new__(cls)
        made._source, made.name, made.left_out = source, name, {}
        return made

    # Parts of it, which read it in their turn.

    def split(self, parts: Mapping[str, float], /, *, seed: str = "") -> dict[str, Dataset]:
        """Parts by hash: `train, test = data.split({"train": 0.8, "test": 0.2}).values()`.

        Which part a case is in depends on its cluster (or its id, where it has none), the shares and the seed, and on
        no other case: when the data set grows, no case wanders. Parts are about as large as their shares say.

        Args:
            parts: Name -> share, over 0; together 1.
            seed: Another one is another split.

        Raises:
            ConfigurationError: They do not add up to 1.
        """

        def within(begin: float, end: float) -> Callable[[], Callable[[Case], bool]]:
            return lambda: lambda case: begin <= place(case, seed) < end

        return {
            name: Dataset._of(Chosen(self, within(begin, end)), f"{self.name}/{name}")
            for name, (begin, end) in shares(parts).items()
        }

    def filter(self, *, tags: str | Iterable[str] = (), where: Callable[[Case], object] | None = None) -> Dataset:
        """The cases that have all of `tags`, and of which `where` is true."""
        wanted = frozenset([tags] if isinstance(tags, str) else tags)
        if where is not None and not callable(where):
            raise ConfigurationError(f"`where` is a function of a case, not {where!r}")
        return Dataset._of(
            Chosen(self, lambda: lambda case: wanted.issubset(case.tags) and (where is None or where(case))), self.name
        )

    def sample(self, n: int, /, *, seed: str = "") -> Dataset:
        """`n` cases by chance, in their order; the same ones for the same seed, whatever the order.

        Raises:
            ConfigurationError: `n` is no number over 0.
            DatasetError: When it is read: there are fewer cases.
        """
        _check_number(n)
        return Dataset._of(Chosen(self, lambda: in_sample(self, n, seed, self.name)), self.name)

    def head(self, n: int = _SHOWN, /) -> Dataset:
        """The first `n` cases, or as many as there are.

        Raises:
            ConfigurationError: `n` is no number over 0.
        """
        _check_number(n)
        return Dataset._of(Chosen(self, most=n), self.name)

    def __add__(self, other: Dataset) -> Dataset:
        if not isinstance(other, Dataset):
            return NotImplemented
        made = Dataset._of(_Joined((self, other)), f"{self.name} + {other.name}")
        counts = {**self.left_out}
        for reason, count in other.left_out.items():
            counts[reason] = counts.get(reason, 0) + count
        made.left_out = counts
        return made

    # What is in it.

    def __iter__(self) -> Iterator[Case]:
        return iter(self._source)

    def __len__(self) -> int:
        return self._size

    def __bool__(self) -> bool:
        return next(iter(self), None) is not None

    @functools.cached_property
    def _size(self) -> int:
        source: Any = self._source
        return len(source) if hasattr(source, "__len__") else sum(1 for _ in self)

    @functools.cached_property
    def _summary(self) -> Summary:
        return survey(self, self.name, self.left_out)

    def describe(self) -> Summary:
        """How many cases, tags and clusters there are, and more; reads all of it once.

        Raises:
            DatasetError: There is no case, or two have the same id.
        """
        return self._summary

    @property
    def hash(self) -> str:
        """SHA-256 (64 hexadecimal digits) of the cases, in whatever order and from whatever kind of file.

        Of ids, inputs, what is expected, and clusters; tags and metadata may be corrected without a new hash.

        Raises:
            DatasetError: There is no case, or two have the same id.
        """
        return self._summary.hash

    @property
    def tags(self) -> Mapping[str, int]:
        """Tag -> number of cases, the most frequent first; raises as `describe` does."""
        return self._summary.tags

    def save(self, path: str | os.PathLike[str], /) -> int:
        """Write it to a file that `load` reads without options, and gives how many cases there were.

        In tables (`.csv`, `.tsv`, `.parquet`) a column whose name ends in `:json` holds JSON: where not every cell is
        a text. The file is put in its place when all of it is written.

        Args:
            path: As for `load`.

        Raises:
            DatasetError: The file cannot be written.
            MissingDependencyError: `.parquet` needs the extra `parquet`.
        """
        return save(self, Path(path).expanduser())

    def __str__(self) -> str:
        return as_text(*self._first())

    def _repr_html_(self) -> str:
        return as_html(*self._first())

    def _first(self) -> tuple[list[Case], str, bool]:
        cases = list(islice(self, _SHOWN + 1))
        known = (
            f": {self._size:,} case{'s' * (self._size != 1)}" if "_size" in vars(self) or len(cases) <= _SHOWN else ""
        )
        return cases[:_SHOWN], f"{self.name}{known}", len(cases) > _SHOWN

    def __repr__(self) -> str:
        return f"<Dataset {self.name!r}>"


class _Joined:
    def __init__(self, parts: tuple[Dataset, ...]) -> None:
        self._parts = parts

    def __iter__(self) -> Iterator[Case]:
        return chain.from_iterable(self._parts)


def _check_number(n: object) -> None:
    if not isinstance(n, int) or isinstance(n, bool) or n < 1:
        raise ConfigurationError(f"`n` is a number of cases, 1 or more, not {n!r}")
