"""One event loop's conversation with a shared store of limits: batches, leases, and what happens when it is away.

All that is said goes over one connection, one batch at a time: the reservations that came together share a round trip,
and reports of what has ended ride along or go by themselves a little later. Whoever asks waits for `timeout_s` at most.
When the store does not answer, all that ask are told at once that it is away, and so is everybody from then on, until
the session itself, in the background and with growing pauses, has reached it again.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import math
import random
import secrets
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any

from llmops_sdk.routers._limits.meters import CONCURRENT, Demand
from llmops_sdk.routers._limits.scripts import REPORT, RESERVE
from llmops_sdk.routers._limits.words import (
    Answer,
    Arguments,
    Ask,
    Away,
    Connection,
    Report,
    SessionOptions,
    kind_of,
    name_of,
    piece_of,
)

__all__ = ["Session"]

log = logging.getLogger("llmops_sdk")

_BATCH = 256
_MOST_OWED = 10_000
_REPORT_AFTER_S = 0.01
_HELLO_S = 1.0
_PAUSE_S = 0.1
_LONGEST_PAUSE_S = 5.0


class Session:
    """See the module. Made and used on one event loop.

    Attributes:
        away: Why the store cannot be reached, `None` while it can.
        processes: How many processes it has seen lately, this one included.
    """

    def __init__(
        self, connect: Callable[[], Connection], options: SessionOptions, on_end: Callable[[], object]
    ) -> None:
        self._connect = connect
        self._options = options
        self._loop = asyncio.get_running_loop()
        self._process = secrets.token_hex(8)
        self._numbers = 0
        self._sequence = 0
        self._asks: deque[Ask] = deque()
        self._ended: dict[int, tuple[Sequence[Demand], Sequence[int]]] = {}
        self._granted: set[int] = set()
        self._owed: dict[str, list[int]] = {}
        self._report: Report | None = None
        self._offset_ms: float | None = None
        self._reported_at = 0.0
        self._work = asyncio.Event()
        self._urgent = asyncio.Event()
        self._closing = False
        self._lost = 0
        self.away: BaseException | None = None
        self.processes = 1
        self.retry_after_s = 0.0
        self._task = self._loop.create_task(self._run(), name="llmops_sdk limits")
        self._task.add_done_callback(lambda _: on_end())

    # What the store of limits says; none of it waits but `ask`.

    async def ask(self, demands: Sequence[Demand], within_s: float = math.inf) -> Answer:
        """Ask for room, and wait for `within_s` at most, or for `timeout_s` where that is shorter.

        Raises:
            Away: Nobody answered in time.
        """
        if self.away is not None or self._task.done():
            raise Away from self.away
        self._numbers += 1
        wait_s = max(min(within_s, self._options.timeout_s), 0.0)
        ask = Ask(self._numbers, demands, self._loop.time() + wait_s, self._loop.create_future())
        self._asks.append(ask)
        self._hurry()
        timer = self._loop.call_at(ask.until, _give_up, ask.future)
        try:
            answer = await ask.future
            if answer.granted:
                self._granted.add(ask.number)
            return answer
        except BaseException:
            # It may have been granted, or may still be: what is not known there is not given back twice.
            self.ended(ask.number, demands, [0] * len(demands))
            raise
        finally:
            timer.cancel()

    def ended(self, number: int, demands: Sequence[Demand], taken: Sequence[int]) -> None:
        """A reservation has ended."""
        self._granted.discard(number)
        if self._is_deaf():
            return
        self._ended[number] = (demands, taken)
        self._work.set()

    def owe(self, demands: Sequence[Demand], taken: Sequence[int]) -> None:
        """So much was used while the store was away; it is told when it is back."""
        if self._is_deaf():
            return
        for demand, amount in zip(demands, taken, strict=True):
            quantity = demand.meter.quantity
            if quantity is CONCURRENT or not amount:
                continue
            key = self._key(demand)
            owed = self._owed.get(key)
            if owed is not None:
                owed[0] += amount
            elif len(self._owed) < _MOST_OWED:
                self._owed[key] = [amount, *piece_of(demand)]
            else:
                self._lost += 1
        self._work.set()

    async def aclose(self) -> None:
        """Tell what is still to be told, for a second at most, and end.

        Where requests are still under way, by another router that shares the store perhaps, it ends after them.
        """
        self._closing = True
        if self._loop is not asyncio.get_running_loop():
            if not self._loop.is_closed():
                self._loop.call_soon_threadsafe(self._hurry)
            return
        self._hurry()
        patience_s = 5 * _REPORT_AFTER_S if self._granted else _HELLO_S
        done, _ = await asyncio.wait([self._task], timeout=patience_s)
        if not done and not self._granted:
            self._task.cancel()
            await asyncio.wait([self._task])

    # The conversation

    async def _run(self) -> None:
        connection = self._connect()
        pause = _PAUSE_S
        try:
            while True:
                try:
                    await self._exchange(connection)
                except Exception as exc:  # noqa: BLE001  (whatever the store's client raises)
                    self._gone(exc, pause)
                    if self._closing:
                        break
                    # Another connection may lead to another server: the one that took over from a dead one.
                    await _put_away(connection)
                    connection = self._connect()
                    await self._rest(self.retry_after_s)
                    pause = min(2 * pause, _LONGEST_PAUSE_S)
                    continue
                self._back()
                pause = _PAUSE_S
                if self._closing and not (self._asks or self._ended or self._owed or self._granted):
                    await self._exchange(connection, last=True)
                    break
                await self._idle()
        except Exception as exc:  # noqa: BLE001  (the last word was not heard: the lease says it later)
            log.debug("limits: the store did not hear that this process ends: %r", exc)
        finally:
            self._gone(ConnectionError("the session has ended"), 0.0)
            self._tell_what_is_lost()
            await _put_away(connection)

    async def _exchange(self, connection: Connection, *, last: bool = False) -> None:
        """Say one batch and hear the answers."""
        hello = self._offset_ms is None
        now = self._loop.time()
        due = now - self._reported_at >= self._options.lease_s / 3
        commands: list[tuple[str, int, Arguments]] = []
        report = self._report
        if hello or due or last or self._ended or self._owed or report is not None:
            if report is None:
                report = self._report = self._next_report(last=last)
            commands.append((REPORT, 2, self._said(report)))
        asks: list[Ask] = []
        while not hello and self._asks and len(asks) < _BATCH:
            ask = self._asks.popleft()
            if not ask.future.done():
                asks.append(ask)
                commands.append((RESERVE, 2 + len(ask.demands), self._asked(ask)))
        if not commands:
            return
        try:
            async with asyncio.timeout(_HELLO_S if hello else self._options.timeout_s):
                answers = await connection.run(commands)
            heard = self._loop.time() * 1000
            if report is not None:
                self._reported_at = now
                self._heard_report(report, answers.pop(0))
            for ask, answer in zip(asks, answers, strict=True):
                self._heard(ask, answer, heard)
        except BaseException as exc:
            for ask in asks:
                if not ask.future.done():
                    ask.future.set_exception(_away(exc))
            raise

    def _next_report(self, *, last: bool) -> Report:
        self._sequence += 1
        ended = {number: self._ended.pop(number) for number in list(self._ended)[:_BATCH]}
        words: Arguments = []
        for number, (_, taken) in ended.items():
            words += ("e", number, len(taken), *taken)
        for key in list(self._owed)[:_BATCH]:
            words += ("a", key, *self._owed.pop(key))
        if last:
            words.append("q")
        return Report(self._sequence, words, ended)

    def _said(self, report: Report) -> Arguments:
        lease_ms = int(self._options.lease_s * 1000)
        return [*self._own_keys(), self._process, report.sequence, lease_ms, self._options.prefix, *report.words]

    def _asked(self, ask: Ask) -> Arguments:
        """A reservation. After `latest` nobody here waits for it any more, so it may not be made any more.

        That moment is on the server's clock, as far as it is known here: its last answer was under way for a while, so
        it is rather too early than too late.
        """
        assert self._offset_ms is not None
        options = self._options
        latest = int(ask.until * 1000 + self._offset_ms)
        keys = [self._key(demand) for demand in ask.demands]
        words: Arguments = [*self._own_keys(), *keys]
        words += (self._process, ask.number, latest, int(options.lease_s * 1000), options.prefix)
        for demand in ask.demands:
            words += (kind_of(demand), demand.amount, demand.meter.amount, *piece_of(demand))
        return words

    def _heard_report(self, report: Report, answer: Any) -> None:
        if isinstance(answer, Exception):
            raise answer
        now_ms, self.processes, unknown = answer
        self._offset_ms = now_ms - self._loop.time() * 1000
        self._report = None
        for number in unknown:
            # Its lease had ended, so what was estimated has been given back: what it took has to be counted anew.
            demands, taken = report.ended[int(number)]
            again = [0 if kind_of(one) == "r" else amount for one, amount in zip(demands, taken, strict=True)]
            self.owe(demands, again)

    def _heard(self, ask: Ask, answer: Any, heard_ms: float) -> None:
        if isinstance(answer, Exception):
            raise answer
        code, now_ms, processes, which, at_ms, sure_ms = answer
        self._offset_ms = now_ms - heard_ms
        if ask.future.done():
            return  # cancelled or too late, and already given back
        if code < 0:
            ask.future.set_exception(Away("the store was too slow"))
            return
        self.processes = processes
        ask.future.set_result(Answer(code == 1, ask.number, which, at_ms, sure_ms, now_ms))

    def _gone(self, exc: BaseException, pause: float) -> None:
        self.retry_after_s = pause * (0.5 + random.random() / 2)
        if self.away is None and pause:
            log.warning("the store of limits cannot be reached: %s: %s", type(exc).__name__, exc)
        self.away = exc
        self._offset_ms = None
        while self._asks:
            ask = self._asks.popleft()
            if not ask.future.done():
                ask.future.set_exception(_away(exc))

    def _back(self) -> None:
        if self.away is not None:
            log.warning("the store of limits can be reached again")
            self.away = None
        self._tell_what_is_lost()

    def _tell_what_is_lost(self) -> None:
        if self._lost:
            log.warning("limits: the use of %d counters could not be told to the store, and is lost", self._lost)
            self._lost = 0

    async def _idle(self) -> None:
        """Until somebody asks, the lease has to be renewed, or what has ended has waited long enough."""
        if not self._asks and (self._granted or not self._closing):
            self._urgent.clear()
            if not (self._ended or self._owed):
                self._work.clear()
                await _within(self._reported_at + self._options.lease_s / 3 - self._loop.time(), self._work)
            await _within(_REPORT_AFTER_S, self._urgent)

    async def _rest(self, seconds: float) -> None:
        """A pause, which only the end makes shorter: nobody asks meanwhile."""
        if not self._closing:
            self._urgent.clear()
            await _within(seconds, self._urgent)

    def _is_deaf(self) -> bool:
        if self._task.done():
            log.warning("limits: a request ended after its router was closed; its room returns when the lease ends")
        return self._task.done()

    def _hurry(self) -> None:
        self._urgent.set()
        self._work.set()

    def _own_keys(self) -> tuple[str, str]:
        prefix = self._options.prefix
        return f"{prefix}p", f"{prefix}r:{self._process}"

    def _key(self, demand: Demand) -> str:
        return f"{self._options.prefix}n:{name_of(demand)}"


def _away(exc: BaseException) -> Away:
    away = Away(f"{type(exc).__name__}: {exc}")
    away.__cause__ = exc
    return away


async def _put_away(connection: Connection) -> None:
    with contextlib.suppress(Exception):
        async with asyncio.timeout(_HELLO_S):
            await connection.aclose()


def _give_up(future: asyncio.Future[Answer]) -> None:
    if not future.done():
        future.set_exception(Away("the store did not answer in time"))


async def _within(seconds: float, event: asyncio.Event) -> None:
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(max(seconds, 0.0)):
            await event.wait()
