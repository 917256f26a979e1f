"""What there is to know of a data set, found in one reading."""

from __future__ import annotations

import collections
import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from itertools import islice

from llmops_sdk.errors import DatasetError
from llmops_sdk.evaluation._cases import Case

__all__ = ["Summary", "survey"]

_MOST_TAGS = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Summary:
    """What is in a data set.

    Attributes:
        name: Its name.
        hash: SHA-256 (64 hexadecimal digits) of the cases, in whatever order: ids, inputs, what is expected, clusters.
        cases: How many there are, `>= 1`.
        expected: How many have an expected output.
        clusters: How many groups of cases there are that do not depend on each other: cases without a cluster are one
            each.
        tags: Tag -> number of cases, the most frequent first.
        variables: Variable of the prompt -> number of cases that have it; empty where inputs are no mappings.
        left_out: Why something of the source is no case -> how often.
    """

    name: str
    hash: str
    cases: int
    expected: int
    clusters: int
    tags: Mapping[str, int]
    variables: Mapping[str, int]
    left_out: Mapping[str, int] = field(default_factory=dict)

    def __str__(self) -> str:
        lines = [f"{self.name}: {self.cases:,} cases, {self.expected:,} with an expected output", f"hash {self.hash}"]
        if self.clusters != self.cases:
            lines.append(f"{self.clusters:,} clusters")
        for what, counts in (("input", self.variables), ("tags", self.tags), ("left out", self.left_out)):
            if counts:
                shown = ", ".join(f"{name} ({count:,})" for name, count in islice(counts.items(), _MOST_TAGS))
                more = f", and {len(counts) - _MOST_TAGS:,} more" if len(counts) > _MOST_TAGS else ""
                lines.append(f"{what}: {shown}{more}")
        return "\n".join(lines)


def survey(cases: Iterable[Case], name: str, left_out: Mapping[str, int]) -> Summary:
    """Read all cases once. Keeps 8 bytes of each id.

    Raises:
        DatasetError: There is no case, or two have the same id.
    """
    ids: set[int] = set()
    clusters: set[int] = set()
    tags: collections.Counter[str] = collections.Counter()
    variables: collections.Counter[str] = collections.Counter()
    total = expected = alone = number = 0
    for number, case in enumerate(cases, 1):
        size = len(ids)
        ids.add(_short(case.id))
        if len(ids) == size:
            raise _twice(cases, case, number, name)
        total += int.from_bytes(hashlib.sha256(_content(case)).digest())
        expected += case.expected is not None
        tags.update(case.tags)
        if isinstance(case.input, Mapping):
            variables.update(case.input.keys())
        if case.cluster is None:
            alone += 1
        else:
            clusters.add(_short(case.cluster))
    if not number:
        why = "; ".join(f"{count:,} left out: {reason}" for reason, count in left_out.items())
        raise DatasetError(f"{name!r} has no cases{f' ({why})' if why else ''}")
    return Summary(
        name=name,
        hash=f"{total % (1 << 256):064x}",
        cases=number,
        expected=expected,
        clusters=alone + len(clusters),
        tags=dict(tags.most_common()),
        variables=dict(variables),
        left_out=dict(left_out),
    )


def _content(case: Case) -> bytes:
    return f"{len(case.id)}:{case.id}{case.hash}{case.cluster or ''}".encode()


def _short(text: str) -> int:
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest())


def _twice(cases: Iterable[Case], second: Case, row: int, name: str) -> DatasetError:
    first, same = next((at, one) for at, one in enumerate(cases, 1) if _short(one.id) == _short(second.id))
    if second.id == second.hash[:16]:
        said = (
            f"the cases {first} and {row} of {name!r} ask and expect the same, and have no ids: the same evidence "
            "would count twice. Leave one out, or give each an `id`, and both one `cluster`"
        )
    else:
        said = f"the cases {first} and {row} of {name!r} both have the id {same.id!r}; give each its own"
    return DatasetError(said, row=row)
