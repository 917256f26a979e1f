"""Parts of a data set by hash: a case is in the same part whatever else is in the data set."""

from __future__ import annotations

import hashlib
import heapq
import math
from collections.abc import Callable, Iterable, Mapping

from llmops_sdk.errors import ConfigurationError, DatasetError
from llmops_sdk.evaluation._cases import Case
from llmops_sdk.given import is_number

__all__ = ["in_sample", "place", "shares"]


def place(case: Case, seed: str) -> float:
    """Where a case stands in [0, 1): by the hash of its cluster, or of its id where it has none."""
    key = f"id\0{case.id}" if case.cluster is None else f"cluster\0{case.cluster}"
    return _number(f"{seed}\0{key}") / 2**64


def _number(text: str) -> int:
    return int.from_bytes(hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).digest())


def shares(parts: Mapping[str, float]) -> dict[str, tuple[float, float]]:
    """Name -> from where and up to where in [0, 1] a part goes.

    Raises:
        ConfigurationError: They are no shares that add up to 1.
    """
    fine = isinstance(parts, Mapping) and len(parts) > 0
    fine = fine and all(isinstance(name, str) and is_number(one) and one > 0 for name, one in parts.items())
    if not fine or not math.isclose(math.fsum(parts.values()), 1, abs_tol=1e-9):
        raise ConfigurationError(
            f'the parts of a split are shares over 0 that add up to 1: `{{"train": 0.8, "test": 0.2}}`, not {parts!r}'
        )
    ends, total = {}, 0.0
    for number, (name, share) in enumerate(parts.items(), 1):
        begin, total = total, total + share
        ends[name] = begin, 1.0 if number == len(parts) else total
    return ends


def in_sample(cases: Iterable[Case], number: int, seed: str, name: str) -> Callable[[Case], bool]:
    """Whether a case is among the `number` whose ids have the smallest hashes.

    Raises:
        DatasetError: There are fewer.
    """
    last = heapq.nsmallest(number, (_number(f"{seed}\0{case.id}") for case in cases))
    if len(last) < number:
        raise DatasetError(f"{name!r} has {len(last):,} cases, so that there is no sample of {number:,}")
    return lambda case: _number(f"{seed}\0{case.id}") <= last[-1]
