"""What is worked out once for a set of legs."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from typing import Any, Generic, TypeVar

from llmops_sdk.routers._legs.leg import Leg

__all__ = ["PerLegs"]

_T = TypeVar("_T")
_MOST = 64


class PerLegs(Generic[_T]):
    """`make(legs)`, made once for each tuple of legs. The 64 newest are kept; a pickle holds none, a copy has its own.

    A router hands over the same tuple for the same legs, so that looking whose it is costs a look at its `id`.
    """

    __slots__ = ("_kept", "_make")

    def __init__(self, make: Callable[[Sequence[Leg]], _T]) -> None:
        self._make = make
        self._kept: dict[int, tuple[Sequence[Leg], _T]] = {}

    def __reduce__(self) -> tuple[Any, ...]:
        return PerLegs, (self._make,)

    def __copy__(self) -> PerLegs[_T]:
        twin = PerLegs(self._make)
        twin._kept = {number: (legs, copy.copy(made)) for number, (legs, made) in self._kept.items()}
        return twin

    def __getitem__(self, legs: Sequence[Leg]) -> _T:
        kept = self._kept.get(id(legs))
        if kept is None:
            if len(self._kept) >= _MOST:
                del self._kept[next(iter(self._kept))]
            # The legs are kept, too, so that their `id` stays theirs.
            kept = self._kept[id(legs)] = legs, self._make(legs)
        return kept[1]
