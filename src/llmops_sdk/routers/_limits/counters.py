"""Counters in this process. Time is passed in, never read, so the same counters run in simulations."""

from __future__ import annotations

import math
import threading
from collections import OrderedDict
from collections.abc import Callable, Sequence

from llmops_sdk.calls import Call
from llmops_sdk.routers._limits.forked import anew_in_child
from llmops_sdk.routers._limits.meters import Blocked, Demand, Hold, Meter, Quantity

__all__ = ["LocalLimits"]


class _Window:
    """A sliding window in pieces: what falls into a piece counts until the whole piece is older than the window.

    So nothing leaves too early: it counts for `window_s` to `window_s + width_s`. Memory: one number for each piece
    (61 for a minute, 97 for a day) at most, however much is counted.
    """

    __slots__ = ("pending", "pieces", "span", "used", "width_s")

    def __init__(self, quantity: Quantity) -> None:
        self.width_s = quantity.width_s
        self.span = round(quantity.window_s / quantity.width_s)
        self.pieces: dict[int, int] = {}  # oldest first
        self.used = 0
        self.pending = 0
        """How much of `used` is reserved and not settled: so much may be given back."""

    def _forget(self, piece: int) -> None:
        pieces = self.pieces
        while pieces:
            old = next(iter(pieces))
            if old >= piece - self.span:
                return
            self.used -= pieces.pop(old)

    def blocked(self, demand: Demand, most: int, now: float) -> Blocked | None:
        self._forget(int(now // self.width_s))
        lacking = self.used + demand.amount - most
        if lacking <= 0:
            return None
        if demand.amount > most:
            return Blocked(demand, None, math.inf)
        return Blocked(demand, self._free_at(lacking), self._free_at(lacking - self.pending))

    def _free_at(self, lacking: int) -> float:
        if lacking <= 0:
            return -math.inf
        for piece, amount in self.pieces.items():
            lacking -= amount
            if lacking <= 0:
                return (piece + self.span + 1) * self.width_s
        return -math.inf

    def take(self, amount: int, now: float) -> int:
        piece = int(now // self.width_s)
        self.pieces[piece] = self.pieces.get(piece, 0) + amount
        self.used += amount
        self.pending += amount
        return piece

    def end(self, piece: int, reserved: int, taken: int, now: float) -> None:
        self.pending -= reserved
        more = taken - reserved
        if more > 0:  # it counts from now on: in the past nobody could heed it
            self.take(more, now)
            self.pending -= more
        elif more < 0 and piece in self.pieces:
            self.pieces[piece] += more
            self.used += more

    def idle(self, now: float) -> bool:
        self._forget(int(now // self.width_s))
        return not self.pieces and not self.pending


class _Places:
    """How many are under way at once."""

    __slots__ = ("used",)

    def __init__(self, _: Quantity) -> None:
        self.used = 0

    def blocked(self, demand: Demand, most: int, now: float) -> Blocked | None:
        return Blocked(demand, None) if self.used + demand.amount > most else None

    def take(self, amount: int, now: float) -> int:
        self.used += amount
        return 0

    def end(self, piece: int, reserved: int, taken: int, now: float) -> None:
        self.used -= reserved

    def idle(self, now: float) -> bool:
        return not self.used


_Counter = _Window | _Places


class _Held:
    """See `Hold`."""

    __slots__ = ("_parts", "_store")

    def __init__(self, store: LocalLimits, parts: list[tuple[_Counter, int, int]]) -> None:
        self._store = store
        self._parts = parts

    def end(self, taken: Sequence[int], now: float, /) -> None:
        with self._store._lock:
            for (counter, piece, reserved), amount in zip(self._parts, taken, strict=True):
                counter.end(piece, reserved, amount, now)


class LocalLimits:
    """Counters of this process: a reservation takes a few microseconds, however much has been counted.

    Counters that count nothing any more are dropped while new ones are made, so a limit for each of millions of users
    keeps those of the last window only.

    Threads may share it.

    Args:
        most: How much of a meter may be used, by default all of its amount.
    """

    def __init__(self, most: Callable[[Meter], int] | None = None) -> None:
        self._most = most
        self.start_anew()
        anew_in_child(self)

    def start_anew(self) -> None:
        """Forget all: in a forked child nothing is under way."""
        self._counters: dict[str, OrderedDict[str, _Counter]] = {}
        self._lock = threading.Lock()

    async def reserve(self, demands: Sequence[Demand], call: Call, /) -> Hold | Blocked:
        """See `LimitStore.reserve`."""
        return self.reserve_at(demands, call.clock())

    def reserve_at(self, demands: Sequence[Demand], now: float, /, *, force: bool = False) -> Hold | Blocked:
        """Set room aside for all demands or for none. `force`: count them even where there is none."""
        worst: Blocked | None = None
        counters = []
        most = self._most
        with self._lock:
            for demand in demands:
                meter, key, amount = demand
                of_meter = self._counters.get(meter.name)
                counter = None if of_meter is None else of_meter.get(key)
                if counter is None:
                    counter = self._new_counter(demand, now)
                counters.append((counter, amount))
                blocked = counter.blocked(demand, meter.amount if most is None else most(meter), now)
                if blocked is not None and (worst is None or _later(blocked, worst)):
                    worst = blocked
            if worst is not None and not force:
                return worst
            return _Held(self, [(counter, counter.take(amount, now), amount) for counter, amount in counters])

    def peek(self, demands: Sequence[Demand], now: float, /) -> Blocked | None:
        """See `LimitStore.peek`."""
        with self._lock:
            for demand in demands:
                counter = self._found(demand)
                if counter is not None:
                    blocked = counter.blocked(demand, self._amount(demand.meter), now)
                    if blocked is not None:
                        return blocked
        return None

    async def aclose(self) -> None:
        """See `LimitStore.aclose`; there is nothing to tell."""

    def used(self, demand: Demand, now: float, /) -> int:
        """How much of a demand's counter is in use."""
        with self._lock:
            counter = self._found(demand)
            if counter is None or counter.idle(now):
                return 0
            return counter.used

    def __len__(self) -> int:
        return sum(map(len, self._counters.values()))

    def _amount(self, meter: Meter) -> int:
        return meter.amount if self._most is None else self._most(meter)

    def _found(self, demand: Demand) -> _Counter | None:
        of_meter = self._counters.get(demand.meter.name)
        return None if of_meter is None else of_meter.get(demand.key)

    def _new_counter(self, demand: Demand, now: float) -> _Counter:
        of_meter = self._counters.get(demand.meter.name)
        if of_meter is None:
            of_meter = self._counters[demand.meter.name] = OrderedDict()
        # Two old ones are looked at for each new one, so what is idle goes faster than new ones come.
        for _ in range(min(2, len(of_meter))):
            key, old = of_meter.popitem(last=False)
            if not old.idle(now):
                of_meter[key] = old  # to the end: its turn comes again
        quantity = demand.meter.quantity
        counter: _Counter = _Window(quantity) if quantity.window_s else _Places(quantity)
        of_meter[demand.key] = counter
        return counter


def _later(one: Blocked, other: Blocked) -> bool:
    """Whether `one` keeps a request longer than `other`, as far as anybody knows."""
    return (one.sure, one.at or 0.0) > (other.sure, other.at or 0.0)
