"""What is counted, what one attempt takes of it, and what a store of counters has to be able to do."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from llmops_sdk.calls import Call

__all__ = ["CONCURRENT", "REQUESTS", "TOKENS", "USD", "Blocked", "Demand", "Hold", "LimitStore", "Meter", "Quantity"]


class Quantity(NamedTuple):
    """A kind of thing to count. `window_s` is 0.0 where it counts only while a request is under way."""

    name: str
    unit: str
    window_s: float
    width_s: float
    """A window is counted in pieces as wide as this."""


REQUESTS = Quantity("requests", "requests per minute", 60.0, 1.0)
TOKENS = Quantity("tokens", "tokens per minute", 60.0, 1.0)
USD = Quantity("usd", "USD per day", 86_400.0, 900.0)
CONCURRENT = Quantity("concurrent", "requests at once", 0.0, 0.0)


@dataclass(slots=True, eq=False, kw_only=True)
class Meter:
    """One quantity of one limit.

    Attributes:
        name: Which counters it has; the same for meters that count together.
        quantity: What it counts.
        amount: The most, `>= 1`; money in nano-dollars. An adaptive limit changes it.
        of: Whose it is, for people.
        by_tag: Whether `of` is a tag, and its value the key.
    """

    name: str
    quantity: Quantity
    amount: int
    of: str
    by_tag: bool = False

    def text(self, key: str) -> str:
        """What people read: `"60 requests per minute of engine x"`."""
        return f"{self.shown(self.amount)} {self.quantity.unit} of {self._whose(key)}"

    def _whose(self, key: str) -> str:
        if not self.by_tag:
            return self.of
        return f"{self.of} {key}" if key else f"runs without the tag {self.of}"

    def shown(self, amount: int) -> str:
        """So much of the quantity, as people read it."""
        return f"{amount / 1e9:g}" if self.quantity is USD else f"{amount:,}"


class Demand(NamedTuple):
    """How much of a counter one attempt takes. The counter is `key` of the meter; `""` where it has only one."""

    meter: Meter
    key: str
    amount: int


class Blocked(NamedTuple):
    """There is no room: `demand` is in want of it.

    `at`: when there may be, on the clock of the run, if nothing is given back; `None`: nobody knows. `sure`: there is
    none before that moment, whatever is given back; `-inf` where nothing is sure, `inf` where there will never be any.
    """

    demand: Demand
    at: float | None
    sure: float = -math.inf


class Hold(Protocol):
    """Room in a store."""

    def end(self, taken: Sequence[int], now: float, /) -> None:
        """The attempt has ended. `taken`: how much it took of each demand, 0 of everything where it was never sent."""
        ...


class LimitStore(Protocol):
    """Counts. Reserves for all demands together or for none, in one step that nothing comes between."""

    async def reserve(self, demands: Sequence[Demand], call: Call, /) -> Hold | Blocked:
        """Set room aside.

        Raises:
            LimitExceeded: The store cannot be reached, and may then let nobody through.
        """
        ...

    def peek(self, demands: Sequence[Demand], now: float, /) -> Blocked | None:
        """What `reserve` would say as far as this process knows, `None` where there is room."""
        ...

    async def aclose(self) -> None:
        """Tell what is still to be told; idempotent."""
        ...
