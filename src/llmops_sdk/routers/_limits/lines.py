"""Who waits for what: for each counter without room a line, first come first served.

Only the head of a line tries to get room, and tells the next one when it has left, so what is given back wakes one
waiter and not all. Nobody overtakes the head at the counter that it waits for, however much room it wants. A waiter
stands in one line for each engine that it would take; where its next obstacle is another counter it goes to that
counter's line, by its age.
"""

from __future__ import annotations

import asyncio
import contextlib
import heapq
import itertools
import threading
from collections.abc import Iterable, Iterator, Sequence
from typing import TypeAlias

from llmops_sdk.routers._limits.forked import anew_in_child
from llmops_sdk.routers._limits.meters import REQUESTS, Blocked, Demand

__all__ = ["Line", "Lines", "Waiter"]

_Counter: TypeAlias = tuple[str, str]


class Waiter:
    """One request that waits, on its own event loop.

    Attributes:
        places: For each engine that it would take, by name: the line in which it stands.
        dismissed: Nobody will get room any more.
    """

    __slots__ = ("_future", "_loop", "_woken", "dismissed", "places", "ticket")

    def __init__(self, ticket: int) -> None:
        self.ticket = ticket
        self.places: dict[str, Line] = {}
        self.dismissed = False
        self._loop = asyncio.get_running_loop()
        self._future: asyncio.Future[None] | None = None
        self._woken = False

    def wake(self) -> None:
        """Let it try again. Any thread may say so."""
        try:
            here = asyncio.get_running_loop() is self._loop
        except RuntimeError:
            here = False
        if here:
            self._wake()
        else:
            with contextlib.suppress(RuntimeError):  # its loop has been closed, so nothing waits any more
                self._loop.call_soon_threadsafe(self._wake)

    def _wake(self) -> None:
        self._woken = True
        if self._future is not None and not self._future.done():
            self._future.set_result(None)

    async def sleep(self, seconds: float) -> None:
        """Until somebody wakes it, or for so long."""
        if not self._woken:
            self._future = self._loop.create_future()
            timer = self._loop.call_later(max(seconds, 0.0), self._wake)
            try:
                await self._future
            finally:
                timer.cancel()
                self._future = None
        self._woken = False


class Line:
    """Those that wait for one counter, the longest-waiting first.

    Attributes:
        owed: How much of the counter all of them want together.
        last: Why its head had to wait when it last tried.
    """

    __slots__ = ("_heap", "_members", "counter", "last", "owed")

    def __init__(self, counter: _Counter) -> None:
        self.counter = counter
        self._heap: list[tuple[int, Waiter]] = []
        self._members: dict[Waiter, int] = {}
        self.owed = 0
        self.last: Blocked | None = None

    def __len__(self) -> int:
        return len(self._members)

    def __iter__(self) -> Iterator[Waiter]:
        return iter(self._members)

    @property
    def head(self) -> Waiter | None:
        """Whose turn it is."""
        heap = self._heap
        while heap and heap[0][1] not in self._members:
            heapq.heappop(heap)
        return heap[0][1] if heap else None

    def join(self, waiter: Waiter, amount: int) -> None:
        """Stand in the line, by age."""
        if waiter not in self._members:
            heapq.heappush(self._heap, (waiter.ticket, waiter))
            self._members[waiter] = amount
            self.owed += amount

    def leave(self, waiter: Waiter) -> None:
        """Go away at once; the heap keeps the empty place until it reaches the front, or until half are empty."""
        amount = self._members.pop(waiter, None)
        if amount is not None:
            self.owed -= amount
        if len(self._heap) > 2 * len(self._members) + 16:
            self._heap = [(member.ticket, member) for member in self._members]
            heapq.heapify(self._heap)

    def blocked(self, demand: Demand) -> Blocked:
        """Why there is no room for one more, if those that wait now stay."""
        last = self.last
        if last is None or last.at is None:
            return Blocked(demand, None)
        meter = last.demand.meter
        later_s = 0.0
        if meter.quantity is REQUESTS:  # of tokens and money those before it may take less than they have asked for
            later_s = (self.owed - last.demand.amount) // meter.amount * meter.quantity.window_s
        return Blocked(demand, last.at + later_s, last.sure + later_s)


class Lines:
    """All lines of a router. Threads may share it.

    Attributes:
        freed_last: Changes whenever something is given back.
    """

    def __init__(self) -> None:
        self._tickets = itertools.count()
        self._frees = itertools.count()
        self.freed_last = -1
        self.start_anew()
        anew_in_child(self)

    def start_anew(self) -> None:
        """Forget who waits: in a forked child nobody does."""
        self._lines: dict[_Counter, Line] = {}
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return len(self._lines)

    def waiter(self) -> Waiter:
        """A new one, younger than all others."""
        return Waiter(next(self._tickets))

    def before(self, demands: Iterable[Demand], waiter: Waiter | None = None) -> tuple[Line, Demand] | None:
        """A line of one of these counters in which somebody older than `waiter` stands."""
        if not self._lines:
            return None
        with self._lock:
            for demand in demands:
                line = self._lines.get((demand.meter.name, demand.key))
                if line is None:
                    continue
                head = line.head
                if head is not None and (waiter is None or head.ticket < waiter.ticket):
                    return line, demand
        return None

    def stand(self, waiter: Waiter, engine: str, demand: Demand, last: Blocked | None) -> bool:
        """Stand in the line of a counter for an engine, and in no other one for that engine; whether it is another."""
        counter = (demand.meter.name, demand.key)
        with self._lock:
            line = self._lines.get(counter)
            if line is None:
                line = self._lines[counter] = Line(counter)
            line.join(waiter, demand.amount)
            if last is not None:
                line.last = last
            before, waiter.places[engine] = waiter.places.get(engine), line
            if before is not None and before is not line:
                self._leave(waiter, before)
            return before is not line

    def is_head(self, waiter: Waiter, engine: str) -> bool:
        """Whether it is the waiter's turn in the line in which it stands for an engine."""
        with self._lock:
            line = waiter.places.get(engine)
            return line is not None and line.head is waiter

    def leave(self, waiter: Waiter) -> None:
        """Leave every line."""
        with self._lock:
            places = set(waiter.places.values())
            waiter.places.clear()
            for line in places:
                self._leave(waiter, line)

    def _leave(self, waiter: Waiter, line: Line) -> None:
        if line in waiter.places.values():
            return
        was_head = line.head is waiter
        line.leave(waiter)
        if not line:
            self._lines.pop(line.counter, None)
        elif was_head:
            line.last = None  # that was of another request; the next one finds out for itself
            self._wake(line)

    def wake_all(self) -> None:
        """Something has changed that they wait for."""
        with self._lock:
            for line in self._lines.values():
                self._wake(line)

    def dismiss_all(self) -> None:
        """Nobody will get room any more."""
        with self._lock:
            for waiter in {waiter for line in self._lines.values() for waiter in line}:
                waiter.dismissed = True
                waiter.wake()

    def freed(self, demands: Sequence[Demand]) -> None:
        """Something was given back."""
        self.freed_last = next(self._frees)
        if not self._lines:
            return
        with self._lock:
            for demand in demands:
                line = self._lines.get((demand.meter.name, demand.key))
                if line is not None:
                    self._wake(line)

    @staticmethod
    def _wake(line: Line) -> None:
        head = line.head
        if head is not None:
            head.wake()
