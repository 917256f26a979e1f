"""`Dataset`: cases that can be read again and again."""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Callable, Iterable, Iterator

from llmops_sdk.errors import DatasetError
from llmops_sdk.evaluation._cases import Case

__all__ = ["Dataset"]


class Dataset:
    """Cases, in order. Each `for` reads them from the start; a file is read as it goes, never whole.

    Args:
        cases: The cases, or a function that begins to read them.
        name: Shown in reports.

    Example:
        >>> Dataset([Case(input={"question": "1 + 1?"}, expected="2")]).hash[:8]
        '7ee1b7c2'
    """

    def __init__(self, cases: Iterable[Case] | Callable[[], Iterator[Case]], /, *, name: str = "data") -> None:
        self._open: Callable[[], Iterator[Case]]
        if callable(cases):
            self._open = cases
        else:
            kept = tuple(cases)
            self._open = lambda: iter(kept)
        self.name = name

    def __iter__(self) -> Iterator[Case]:
        return self._open()

    @functools.cached_property
    def hash(self) -> str:
        """SHA-256 (64 hexadecimal digits) of the cases, in whatever order: ids, inputs, what is expected, clusters.

        Raises:
            DatasetError: There is no case, or two have the same id.
        """
        seen: dict[bytes, int] = {}
        total = 0
        for row, case in enumerate(self, 1):
            key = hashlib.blake2b(case.id.encode(), digest_size=12).digest()
            if key in seen:
                raise DatasetError(
                    f"the cases {seen[key]} and {row} of {self.name!r} both have the id {case.id!r}; give each its "
                    "own, or leave the ids out where the cases differ",
                    row=row,
                )
            seen[key] = row
            content = f"{case.id}\0{case.hash}\0{case.cluster or ''}"
            total = (total + int.from_bytes(hashlib.sha256(content.encode()).digest())) % (1 << 256)
        if not seen:
            raise DatasetError(f"{self.name!r} has no cases")
        return f"{total:064x}"
