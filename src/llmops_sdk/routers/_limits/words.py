"""What a session and a shared store of limits say to each other, and by which names."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol, TypeAlias

from llmops_sdk.routers._limits.meters import CONCURRENT, REQUESTS, Demand

__all__ = [
    "Answer",
    "Arguments",
    "Ask",
    "Away",
    "Connection",
    "Report",
    "SessionOptions",
    "kind_of",
    "name_of",
    "piece_of",
]

_LONGEST_NAME = 200

Arguments: TypeAlias = list[Any]


class Away(Exception):  # noqa: N818  (not an error of ours: the store says what is to be done about it)
    """The store cannot be reached."""


class Connection(Protocol):
    """How a session speaks to the store."""

    async def run(self, commands: Sequence[tuple[str, int, Arguments]], /) -> list[Any]:
        """Run scripts in order, each given as text, number of keys, and arguments; gives their answers or errors."""
        ...

    async def aclose(self) -> None:
        """Let go of it."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionOptions:
    """What a session goes by; see `RedisLimits`."""

    prefix: str
    timeout_s: float
    lease_s: float


class Answer(NamedTuple):
    """What the store says of a reservation, in its own words: see `scripts.RESERVE`."""

    granted: bool
    number: int
    which: int
    at_ms: int
    sure_ms: int
    now_ms: int


@dataclass(slots=True, eq=False)
class Ask:
    number: int
    demands: Sequence[Demand]
    until: float
    future: asyncio.Future[Answer]


@dataclass(slots=True, eq=False)
class Report:
    """What is said once, and said again with the same number until the store has answered."""

    sequence: int
    words: Arguments
    ended: dict[int, tuple[Sequence[Demand], Sequence[int]]]


def name_of(demand: Demand) -> str:
    """What its counter is called. A tag may hold anything, also what is no UTF-8, and as much as it likes."""
    name = f"{demand.meter.name}:{demand.key}"
    if len(name) <= _LONGEST_NAME and name.isascii():
        return name
    return hashlib.blake2b(name.encode("utf-8", "surrogatepass"), digest_size=20).hexdigest()


def kind_of(demand: Demand) -> str:
    """How the scripts call its quantity."""
    quantity = demand.meter.quantity
    return "c" if quantity is CONCURRENT else "r" if quantity is REQUESTS else "t"


def piece_of(demand: Demand) -> tuple[int, int]:
    """How wide the pieces of the window are, in milliseconds, and how many make the window."""
    quantity = demand.meter.quantity
    if not quantity.window_s:
        return 0, 0
    return round(quantity.width_s * 1000), round(quantity.window_s / quantity.width_s)
