"""A cache in front of any engine."""

from __future__ import annotations

import asyncio
import contextlib
import math
from collections.abc import AsyncGenerator, AsyncIterator, Iterator, Mapping, Sequence
from typing import Any, ClassVar, NamedTuple

from llmops_sdk.calls import CacheAnswered, Call
from llmops_sdk.costs import billed_by, hold_budget, price_in
from llmops_sdk.engines._cache.answers import Answers
from llmops_sdk.engines._cache.entries import Entry, Kept, now_s, settled, worth_keeping
from llmops_sdk.engines._cache.flights import Flight, Reader
from llmops_sdk.engines._cache.memory import MemoryStore
from llmops_sdk.engines._cache.semantic import Semantic
from llmops_sdk.engines._cache.stats import CacheStats, Counts
from llmops_sdk.engines._cache.stores import Shelf, Store
from llmops_sdk.engines._engine import Engine, chunks_of, response_of
from llmops_sdk.errors import CacheError, ClosedError, ConfigurationError
from llmops_sdk.messages import Chunk, Classification, Message, Request, Response
from llmops_sdk.protocols import Capabilities

__all__ = ["Cached"]

_WRITING_S = 1.0
"""Seconds to wait for answers that are being written down, before a store is cleared or closed."""


class _Place(NamedTuple):
    """Where a flight can be joined: tasks of several loops cannot wait for each other."""

    loop: asyncio.AbstractEventLoop
    key: str
    cleared: int
    """How often the cache had been cleared: who asks later does not join."""


class Cached(Engine):
    """An engine that answers a question that was asked before without asking again.

    Two requests are the same question when all that an engine sees of them is equal: messages, parameters, tools,
    schema, adapter, `extra` (the order in a mapping does not count); and when the engine is. The same question at the
    same time on one event loop is sent once. Streams are kept as chunks and come back as those chunks, without the
    pauses; `agenerate` finds what `astream` kept, and the other way round.

    Kept is a complete answer: one that failed, was filtered, broke or was broken off is not. A hit is booked with no
    tokens and no cost; `response.cached` says so, and `response.usage` says what the answer took when it was made.

    Args:
        engine: The engine, a router maybe. A cache around a router answers before limits and budgets are looked at.
        store: Where answers are kept: `MemoryStore()` (the default, 64 MiB), `SQLiteStore(path)`, `RedisStore(url)`, or
            any object with the methods of `Store`. Several caches may share one.
        ttl_s: Seconds after which an answer is too old, `> 0`; `None`: never.
        name: Name of the engine; by default that of the engine within.
        semantic: Also answer questions that mean nearly the same; see `Semantic` for what can go wrong.
        only_deterministic: Keep only what the engine would answer again: `temperature=0`, or a `seed`. Otherwise a
            request with a temperature gets the same answer each time, too.
        per: Names of tags of the run that take part: `per=("tenant",)` never gives one tenant's answers to another.
            Tags by which a router chooses its engines always do.
        identity: What the engine is, in place of what can be seen of it. Needed for the answers of an engine made
            with functions or objects to be found by another process; change it to make old answers unfindable.

    Raises:
        ConfigurationError: An argument makes no sense.

    Example:
        >>> from llmops_sdk.engines import Scripted
        >>> engine = Cached(Scripted("Hello", "Goodbye"))
        >>> [engine.generate("?").text for _ in range(3)]
        ['Hello', 'Hello', 'Hello']
        >>> engine.stats.hits
        2
    """

    transparent: ClassVar[bool] = True
    holds_budget: ClassVar[bool] = True  # what it has costs nothing, and nobody else knows whether it has it

    def configuration(self) -> dict[str, Any]:
        """See `Engine.configuration`. Where answers are kept is no part of it."""
        return {name: value for name, value in super().configuration().items() if name not in ("engine", "store")}

    def __init__(
        self,
        engine: Any,
        store: Store | None = None,
        *,
        ttl_s: float | None = None,
        name: str | None = None,
        semantic: Semantic | None = None,
        only_deterministic: bool = False,
        per: Sequence[str] = (),
        identity: str | None = None,
    ) -> None:
        _check(engine, ttl_s, semantic, per)
        self.engine = engine
        self.name = name or getattr(engine, "name", None) or type(engine).__name__.lower()
        self.model = getattr(engine, "model", None)
        self.provider = getattr(engine, "provider", "custom")
        self.in_process = bool(getattr(engine, "in_process", False))  # type: ignore[misc]  # that of the one within
        self.server = getattr(engine, "server", None)
        self.routes = bool(getattr(engine, "routes", False))
        self._answers = Answers(
            engine,
            Shelf(MemoryStore() if store is None else store, ttl_s),
            semantic,
            only_deterministic=only_deterministic,
            per=per,
            identity=identity,
        )
        self._flights: dict[_Place, Flight] = {}
        self._cleared = 0
        self._closed = False
        self._counts = Counts()

    @property
    def store(self) -> Store:
        """Where answers are kept."""
        return self._answers.shelf.store

    @property
    def stats(self) -> CacheStats:
        """What it has done so far."""
        return self._counts.stats(self.store, self._answers.errors)

    @property
    def concurrency(self) -> int:
        """That of the engine within."""
        return int(getattr(self.engine, "concurrency", None) or 64)

    @property
    def prices(self) -> Any:
        """Those of the engine within, if it is a router."""
        return getattr(self.engine, "prices", None)

    @property
    def capabilities(self) -> Capabilities:
        """Those of the engine within."""
        own: Capabilities = getattr(self.engine, "capabilities", None) or Capabilities()
        return own

    async def agenerate(self, request: Request, /) -> Response:
        """The answer from the store, or else from the engine; raises what the engine raises."""
        key = self._key(request)
        if key is None:
            with self._held(request.call, request, holder=object()):
                response: Response = await self.engine.agenerate(request)
            return response
        entry = self._at_hand(key, request.call)
        if entry is not None:
            return entry.response(self.name)
        async with contextlib.aclosing(self._flown(key, request, whole=True)) as chunks:
            return await response_of(chunks, self.name)

    async def astream(self, request: Request, /) -> AsyncIterator[Chunk]:
        """The chunks of the answer from the store, or else from the engine; raises what the engine raises."""
        key = self._key(request)
        entry = None if key is None else self._at_hand(key, request.call)
        if entry is not None:
            for chunk in entry.chunks:
                yield chunk
            return
        held: contextlib.AbstractContextManager[None]
        if key is not None:
            chunks, held = self._flown(key, request, whole=False), contextlib.nullcontext()
        else:
            chunks, held = self.engine.astream(request), self._held(request.call, request, holder=object())
        with held:
            async with _closing(chunks):
                async for chunk in chunks:
                    yield chunk

    async def aembed(self, texts: Sequence[str], /) -> list[list[float]]:
        """Asks the engine each time."""
        vectors: list[list[float]] = await self.engine.aembed(texts)
        return vectors

    async def aclassify(self, texts: Sequence[str], /) -> list[Classification]:
        """Asks the engine each time."""
        labels: list[Classification] = await self.engine.aclassify(texts)
        return labels

    async def forget(
        self, request: str | Message | Sequence[Message] | Request, /, *, tags: Mapping[str, Any] | None = None
    ) -> None:
        """Throw away the answer to `request`; `tags` are those of the run, where tags take part.

        Raises:
            CacheError: The store cannot be reached, or is damaged.
        """
        await self._keep_nothing_on_its_way()
        key = self._answers.key(Request.of(request), tags)
        if key is not None:
            await self._answers.forget(key)

    async def clear(self) -> None:
        """Throw away all that is in the store, whoever put it there; raises as `forget` does."""
        await self._keep_nothing_on_its_way()
        await self._answers.clear()

    async def _keep_nothing_on_its_way(self) -> None:
        self._cleared += 1
        here = asyncio.get_running_loop()
        await _until([one.task for place, one in list(self._flights.items()) if place.loop is here and one.ended])

    async def aclose(self) -> None:
        """Close the engine, the store and the embedder; idempotent. Whoever still waits gets `ClosedError`."""
        self._closed = True
        here = asyncio.get_running_loop()
        ending = []
        for place, flight in list(self._flights.items()):
            if place.loop is not here:
                with contextlib.suppress(RuntimeError):  # that loop has gone, and its tasks with it
                    place.loop.call_soon_threadsafe(flight.cancel)
                continue
            if not flight.ended:
                flight.cancel()
            ending.append(flight.task)
        await _until(ending)
        for one in (self.engine, self._answers):
            close = getattr(one, "aclose", None)
            if close is not None:
                await close()

    # The flow.

    def _key(self, request: Request) -> str | None:
        if self._closed:
            raise ClosedError(f"the cache {self.name!r} was closed")
        key = self._answers.key(request)
        if key is None:
            self._counts.add("passed")
        return key

    def _at_hand(self, key: str, call: Call | None) -> Entry | None:
        kept = self._answers.at_hand(key, call)
        if kept is None:
            return None
        self._hit(kept, call)
        return kept.entry

    async def _flown(self, key: str, request: Request, *, whole: bool) -> AsyncGenerator[Chunk, None]:
        while True:
            flight = self._flight(key, request, whole=whole)
            reader = flight.board(request.call)
            try:
                while (following := await reader.next()) is not None:
                    yield following
                self._shared(flight, reader)
                return
            except Exception:
                if reader.at > 0 or not flight.is_own_failure(reader):
                    raise
            finally:
                if flight.kept is not None:
                    self._hit(flight.kept, request.call)
                await flight.leave(reader)

    def _flight(self, key: str, request: Request, *, whole: bool) -> Flight:
        place = _Place(asyncio.get_running_loop(), key, self._cleared)
        flight = self._flights.get(place)
        if flight is None or not flight.open:
            made = Flight(request, lambda flight: self._fetch(flight, place, whole=whole))
            made.task.add_done_callback(lambda _: self._landed(place, made))
            flight = self._flights[place] = made
        return flight

    def _landed(self, place: _Place, flight: Flight) -> None:
        if self._flights.get(place) is flight:
            del self._flights[place]

    async def _fetch(self, flight: Flight, place: _Place, *, whole: bool) -> None:
        """The work of a flight: look, ask, keep."""
        request = flight.request
        kept, asked = await self._answers.find(place.key, request, asker=self.name)
        if kept is not None:
            flight.answer(kept)
            return
        self._counts.add("misses")
        try:
            with self._held(flight.paying, request, holder=flight):
                await self._ask(flight, whole=whole)
            keep = place.cleared == self._cleared and worth_keeping(flight.chunks)
        except BaseException:
            self._counts.add("not_kept")
            raise
        entry = Entry(now_s(request.call), settled(flight.chunks))
        call = request.call
        flight.end(worth=keep)  # nobody waits for the store
        if not keep or not await self._answers.keep(place.key, entry, asked, call):
            self._counts.add("not_kept")
        elif place.cleared != self._cleared:  # on another loop, while it was being written down
            with contextlib.suppress(CacheError):  # whoever has cleared it was told
                await self._answers.forget(place.key)

    @contextlib.contextmanager
    def _held(self, call: Call | None, request: Request, *, holder: object) -> Iterator[None]:
        """Hold of the run's budget what the engine within may cost, unless that does so itself.

        Raises:
            BudgetExceeded: It does not fit.
        """
        if call is None or call.budget_usd is None or self.routes or getattr(self.engine, "holds_budget", False):
            yield
            return
        price = price_in(call, self.model, billed_by(self))
        hold_budget(call, request, price, engine=self.name, holder=holder)
        try:
            yield
        finally:
            call.let_go(holder)

    async def _ask(self, flight: Flight, *, whole: bool) -> None:
        if whole:
            for chunk in chunks_of(await self.engine.agenerate(flight.request)):
                await flight.add(chunk)
            return
        chunks = self.engine.astream(flight.request)
        async with _closing(chunks):
            async for chunk in chunks:
                await flight.add(chunk)

    def _hit(self, kept: Kept, call: Call | None) -> None:
        self._counts.add(kept.how)
        if call is not None:
            age_s = max(now_s(call) - kept.entry.made_at, 0.0)
            call.record(CacheAnswered(call.clock(), self.name, kept.how, age_s, kept.similarity))

    def _shared(self, flight: Flight, reader: Reader) -> None:
        if flight.kept is not None or flight.payer is reader:
            return
        self._counts.add("shared")
        if reader.call is not None:
            reader.call.record(CacheAnswered(reader.call.clock(), self.name, "shared", 0.0))

    def __repr__(self) -> str:
        return f"<Cached {self.engine!r} in {self.store!r}>"


async def _until(tasks: list[asyncio.Task[None]]) -> None:
    """Wait for what is being written down, for a while."""
    if tasks:
        await asyncio.wait(tasks, timeout=_WRITING_S)


@contextlib.asynccontextmanager
async def _closing(chunks: AsyncIterator[Chunk]) -> AsyncGenerator[None, None]:
    """Closes the stream of an engine, which may be an iterator that has nothing to close."""
    try:
        yield
    finally:
        close = getattr(chunks, "aclose", None)
        if close is not None:
            await close()


def _check(engine: Any, ttl_s: float | None, semantic: object, per: object) -> None:
    if isinstance(engine, type) or getattr(engine, "incomplete", False):
        raise ConfigurationError(f"{engine!r} cannot answer; write `Cached(Engine.open(...))`")
    if not callable(getattr(engine, "agenerate", None)) or not callable(getattr(engine, "astream", None)):
        raise ConfigurationError(f"{engine!r} is no engine: it has no `agenerate` and `astream`")
    if ttl_s is not None and (
        isinstance(ttl_s, bool) or not isinstance(ttl_s, int | float) or not 0 < ttl_s < math.inf
    ):
        raise ConfigurationError(f"`ttl_s` is a time over 0 seconds, or None for ever, not {ttl_s!r}")
    if semantic is not None and not isinstance(semantic, Semantic):
        raise ConfigurationError(
            f"`semantic` is `Semantic(embedder=..., threshold=...)`, not {semantic!r}; there is no safe default"
        )
    if isinstance(per, str) or not isinstance(per, Sequence) or not all(isinstance(one, str) for one in per):
        raise ConfigurationError(f"`per` holds names of tags: `per=('tenant',)`, not {per!r}")
