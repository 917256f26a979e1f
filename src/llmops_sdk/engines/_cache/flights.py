"""One answer on its way for all who ask the same: equal questions at the same time are sent once.

The work is done in a task of its own, and belongs to those who wait for it. Whoever leaves early cuts nobody else off;
when the last one leaves, the work is stopped at once. One of those who wait pays: its run has the events and the
costs. When it leaves early, the next one pays.
"""

from __future__ import annotations

import asyncio
import contextlib
import copy
from collections.abc import Awaitable, Callable
from dataclasses import replace

from llmops_sdk.calls import Aside, AttemptEnded, AttemptStarted, Call, Event
from llmops_sdk.engines._cache.entries import Kept
from llmops_sdk.errors import AllEnginesFailed, BudgetExceeded, ClosedError, LimitExceeded, LlmopsError
from llmops_sdk.messages import Chunk, Request

__all__ = ["Flight", "Reader"]

_AHEAD = 256
"""Chunks that the work may be ahead of its fastest reader."""


class Flight:
    """One answer on its way. All on one event loop.

    Memory: the answer, once, however many follow it.

    Attributes:
        request: The question, as part of a run that outlives whoever leaves early.
        chunks: The answer so far.
        ended: Whether it is complete, or has failed.
        error: Why it failed.
        kept: The answer as it was found, if no engine was asked.
        first: Who asked first: with the budget and the deadline of that run the work began.
        payer: Whose run has the events and the costs.
    """

    def __init__(self, request: Request, work: Callable[[Flight], Awaitable[None]]) -> None:
        self.chunks: list[Chunk] = []
        self.ended = False
        self.error: BaseException | None = None
        self._stopped = self._worth = False
        self.kept: Kept | None = None
        self.first: Reader | None = None
        self.payer: Reader | None = None
        self._readers: list[Reader] = []
        self._room: asyncio.Future[None] | None = None
        first = request.call
        self._call = None if first is None else first.apart(self._recorded)
        self.request = request if self._call is None else request.bound_to(self._call)
        self._first_deadline = None if first is None else first.deadline
        self.task = asyncio.get_running_loop().create_task(self._run(work))

    @property
    def paying(self) -> Call | None:
        """The run that has the events and the costs."""
        return None if self.payer is None else self.payer.call

    async def _run(self, work: Callable[[Flight], Awaitable[None]]) -> None:
        try:
            await work(self)
        except Exception as exc:  # noqa: BLE001  (raised by each reader)
            self.error = exc
        except BaseException:
            self.error = self.error or ClosedError("the cache was closed while the answer was on its way")
            raise
        finally:
            self.end()
            if self._call is not None:
                self.request.unbind()  # the record holds it: the cycle would be work for the garbage collector

    async def add(self, chunk: Chunk) -> None:
        """The next chunk has come; waits when it is far ahead of all readers."""
        self.chunks.append(chunk)
        self._wake()
        while self._far_ahead():
            self._room = asyncio.get_running_loop().create_future()
            await self._room

    def answer(self, kept: Kept) -> None:
        """A store had the answer."""
        self.kept = kept
        self.chunks.extend(kept.entry.chunks)

    def end(self, *, worth: bool = False) -> None:
        """Nothing more will come; `worth`: it is a good answer, for those who ask until it is kept, too."""
        self.ended, self._worth = True, worth
        self._wake()

    def cancel(self) -> None:
        """Stop the work."""
        self._stopped = True
        self.task.cancel()

    @property
    def open(self) -> bool:
        """Whether one can still join."""
        return not self._stopped and (self._worth or not self.ended)

    def board(self, call: Call | None) -> Reader:
        """Join those who wait."""
        reader = Reader(self, call)
        self._readers.append(reader)
        if self.first is None:
            self.first = self.payer = reader
        elif self._call is not None and self._call.deadline is not None:
            deadline = None if call is None else call.deadline
            self._call.deadline = None if deadline is None else max(deadline, self._call.deadline)
        return reader

    async def leave(self, reader: Reader) -> None:
        """Leave; the last one who does stops the work, and waits until it has stopped."""
        self._readers.remove(reader)
        if self._readers:
            if self.payer is reader and not reader.at_end:
                self.payer = next((one for one in self._readers if not one.at_end), reader)
        elif not self.ended:
            self.cancel()
            await asyncio.wait({self.task})

    def is_own_failure(self, reader: Reader) -> bool:
        """Whether the error is about the budget or the deadline of the one who asked first, not about the question."""
        if self.error is None or self.first is reader:
            return False
        if isinstance(self.error, BudgetExceeded):
            return True
        timed = isinstance(self.error, TimeoutError | AllEnginesFailed | LimitExceeded)
        deadline = None if reader.call is None else reader.call.deadline
        first = self._first_deadline
        return timed and first is not None and (deadline is None or deadline > first)

    def _recorded(self, event: Event, call: Call) -> None:
        payer = self.paying
        if payer is None:
            return
        if isinstance(event, AttemptStarted):
            payer.attempts += 1
        elif isinstance(event, AttemptEnded | Aside):
            paid = event if isinstance(event, AttemptEnded) else event.attempt
            payer.spend(paid.cost_usd, paid.estimated_usd)
        payer.record(event)
        call.attempt_traceparent, payer.attempt_traceparent = payer.attempt_traceparent, None
        call.attempt_surround, payer.attempt_surround = payer.attempt_surround, None

    # Waiting for each other.

    def _wake(self) -> None:
        for reader in self._readers:
            _settle(reader.wake)

    def _far_ahead(self) -> bool:
        return len(self.chunks) >= _AHEAD + max((one.at for one in self._readers), default=0)

    def make_room(self) -> None:
        """A reader has read on."""
        _settle(self._room)


class Reader:
    """One of those who wait for an answer.

    Attributes:
        call: Its run.
        at: How many chunks it has read.
        wake: Resolved when there is more to read.
    """

    __slots__ = ("_flight", "at", "call", "wake")

    def __init__(self, flight: Flight, call: Call | None) -> None:
        self._flight = flight
        self.call = call
        self.at = 0
        self.wake: asyncio.Future[None] | None = None

    @property
    def at_end(self) -> bool:
        """Whether it has read all that there will be."""
        return self._flight.ended and self.at >= len(self._flight.chunks)

    async def next(self) -> Chunk | None:
        """The next chunk, `None` at the end; raises what the work has raised."""
        flight = self._flight
        while self.at >= len(flight.chunks):
            if flight.error is not None:
                raise flight.error if flight.payer is self else _another(flight.error)
            if flight.ended:
                return None
            self.wake = asyncio.get_running_loop().create_future()
            await self.wake
        chunk = flight.chunks[self.at]
        self.at += 1
        flight.make_room()
        return chunk if chunk.cached or flight.payer is self else replace(chunk, cached=True)


def _settle(future: asyncio.Future[None] | None) -> None:
    if future is not None and not future.done():
        future.set_result(None)


def _another(error: BaseException) -> BaseException:
    """The same error for another task: one object raised in several would gather all their tracebacks."""
    with contextlib.suppress(Exception):
        again = copy.copy(error)
        again.__cause__ = error.__cause__
        if isinstance(again, LlmopsError):
            again.shared = True  # an engine that failed once is not to be counted as failing for each who waited
        return again
    return error
