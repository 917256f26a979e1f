"""An engine as a router asks it: one attempt timed, recorded and booked, with errors made typed."""

from __future__ import annotations

import asyncio
import contextlib
import math
from collections.abc import AsyncGenerator, AsyncIterator, Iterator, Mapping
from typing import Any

from llmops_sdk.calls import AttemptEnded, AttemptStarted, Call, FirstChunk
from llmops_sdk.costs import Ledger
from llmops_sdk.errors import (
    BudgetExceeded,
    ConfigurationError,
    EngineConnectionError,
    EngineError,
    EngineTimeout,
    LlmopsError,
    StreamInterrupted,
)
from llmops_sdk.messages import Chunk, ChunkJoiner, Request, Response
from llmops_sdk.protocols import Capabilities
from llmops_sdk.routers._breaker import Breaker
from llmops_sdk.routers._circuit import Circuit
from llmops_sdk.routers._latencies import Times
from llmops_sdk.routers._limits import Limit, Reservation

__all__ = ["Leg"]

_EWMA_DECAY_S = 10.0
_UNKNOWN = Capabilities()
_DEFAULT_BREAKER = Breaker()
_LATE_QUANTILE = 0.95


class Leg:
    """An engine as a router (or a pipeline without one) asks it, with what was learnt about it.

    A router makes one of each engine that it is given; make it yourself where an engine needs more than its name. A leg
    belongs to one router.

    Args:
        engine: The engine.
        weight: Its share of the requests beside the other legs' weights, for the strategies that go by it, `> 0`.
        tags: What it is for, `{"region": "eu"}`: it takes no run whose tag of the same name has another value. A set,
            list or tuple gives several values.
        limits: How much it may be asked; see `Limit`.
        capabilities: What it can do, in place of what it says of itself.
        breaker: When it is taken out, in place of what its router says.

    Attributes:
        engine: The engine.
        name: Its name.
        model: The model that it asks for by default.
        provider: Whose service it is, as the engine says.
        in_flight: Requests that it is answering for us now.
        latency_s: Peak-sensitive moving average of seconds to the first sign of an answer; 0.0 while unknown.
        breaker: Whether it is fit to be asked.
        times: How long its answers took.
        ledger: Where its attempts are booked besides the run; its router sets it.

    Raises:
        ConfigurationError: It is no engine, or an option makes no sense.
    """

    __slots__ = (
        "_at",
        "_capabilities",
        "_in_process",
        "_own_breaker",
        "_routes",
        "breaker",
        "engine",
        "in_flight",
        "latency_s",
        "ledger",
        "limits",
        "model",
        "name",
        "provider",
        "tags",
        "times",
        "weight",
    )

    def __init__(
        self,
        engine: Any,
        /,
        *,
        weight: float = 1.0,
        tags: Mapping[str, Any] | None = None,
        limits: Limit | tuple[Limit, ...] = (),
        capabilities: Capabilities | None = None,
        breaker: Breaker | None = None,
    ) -> None:
        _require_engine(engine)
        self.engine = engine
        self.name: str = getattr(engine, "name", None) or type(engine).__name__.lower()
        self.model: str | None = getattr(engine, "model", None)
        if not isinstance(weight, int | float) or isinstance(weight, bool) or not 0 < weight < math.inf:
            raise ConfigurationError(f"the weight of {self.name!r} is a number over 0, not {weight!r}")
        self.weight = float(weight)
        self.tags: Mapping[str, Any] = dict(tags or {})
        self.limits = (limits,) if isinstance(limits, Limit) else tuple(limits)
        self.in_flight = 0
        self.latency_s = 0.0
        self._own_breaker = breaker
        self.breaker = Circuit(breaker or _DEFAULT_BREAKER)
        self.times = Times()
        self.ledger: Ledger | None = None
        self._at = 0.0
        self._capabilities = capabilities
        self._routes = bool(getattr(engine, "routes", False))
        self.provider: str = getattr(engine, "provider", "custom")
        self._in_process = bool(getattr(engine, "in_process", False))

    def __reduce__(self) -> tuple[Any, ...]:
        # What was learnt of the engine was learnt in this process.
        options = {
            "weight": self.weight,
            "tags": self.tags,
            "limits": self.limits,
            "capabilities": self._capabilities,
            "breaker": self._own_breaker,
        }
        return _leg_again, (self.engine, options)

    @property
    def capabilities(self) -> Capabilities:
        """What the engine can do, as far as it is known."""
        if self._capabilities is not None:
            return self._capabilities
        own: Capabilities = getattr(self.engine, "capabilities", _UNKNOWN)
        return own

    def join(self, ledger: Ledger, peers: Times, breaker: Breaker | None) -> None:
        """Become a leg of a router: book there, learn with its other legs, and go by its breaker unless it has one."""
        self.ledger = ledger
        self.times.peers = peers
        policy = self._own_breaker or breaker or _DEFAULT_BREAKER
        if policy != self.breaker.policy:  # after a reload what was learnt stays, unless it was learnt by other rules
            self.breaker = Circuit(policy)

    def usual_s(self, quantile: float = _LATE_QUANTILE, *, first_chunk: bool = False) -> float | None:
        """Seconds within which a share `quantile` of its answers comes (of its first chunks), `None` while unknown.

        Known by its own last answers once there are 20; until then by those of all legs of the router, from 5 on.
        """
        return self.times.usual_s(quantile, first_chunk=first_chunk)

    def refusal(self, now: float) -> str | None:
        """Why its breaker does not let it be asked now, `None` when it does. Looks at what is under way, too."""
        breaker = self.breaker
        if breaker.look_at <= now:
            usual = self.usual_s()
            breaker.watch(now, self.usual_s(first_chunk=True) if usual is None else usual)
        return breaker.refusal(now) if breaker.trouble else None

    def quiet(self, now: float) -> bool:
        """Whether nothing comes from it although something should have by now: others are asked rather than it."""
        return self.breaker.resting(now) or self.breaker.quiet(now, self.usual_s(0.5) or math.inf)

    def overtaken(self, after_s: float, now: float, *, first_chunk: bool = False) -> None:
        """It lost a race to another engine, which had been asked after it had taken `after_s` seconds.

        Counted as an answer that took a little less than that: so its usual time is no longer and no shorter for it.
        """
        times = self.times
        (times.first if first_chunk else times.whole).add(after_s * 0.96)  # a bucket ends where the next one begins
        self.breaker.overtaken(now)

    async def generate(
        self, request: Request, call: Call, timeout_s: float | None = None, reservation: Reservation | None = None
    ) -> Response:
        """Ask for a whole answer; `reservation` is settled with what it took.

        Raises:
            EngineError: Whatever went wrong; `EngineTimeout` after `timeout_s` seconds.
        """
        if self._routes:
            with self._routed(call, reservation, whole=True):
                async with asyncio.timeout(timeout_s):
                    routed: Response = await self.engine.agenerate(request)
            return routed
        number, started, ticket = self._start(call, reservation)
        response: Response | None = None
        error: BaseException | None = None
        try:
            if timeout_s is None:
                response = await self.engine.agenerate(request)
            else:
                async with asyncio.timeout(timeout_s):
                    response = await self.engine.agenerate(request)
            if not isinstance(response, Response):
                kind, response = type(response).__name__, None
                raise ConfigurationError(f"the engine {self.name!r} returned {kind}, no Response")
        except BaseException as exc:
            error = self._typed(exc, timeout_s)
            if error is exc:
                raise
            raise error from exc
        finally:
            self._end(call, request, number, started, response, error, ticket=ticket, reservation=reservation)
        return response

    async def stream(
        self, request: Request, call: Call, timeout_s: float | None = None, reservation: Reservation | None = None
    ) -> AsyncGenerator[Chunk, None]:
        """Ask for a stream; `timeout_s` is the time to its first chunk.

        Raises:
            EngineError: Whatever went wrong; `StreamInterrupted` once text has come.
        """
        chunks = self.engine.astream(request)
        if self._routes:
            with self._routed(call, reservation, whole=False):
                async with contextlib.aclosing(chunks):
                    async for chunk in chunks:
                        yield chunk
            return
        number, started, ticket = self._start(call, reservation)
        joiner = ChunkJoiner()
        error: BaseException | None = None
        first_at: float | None = None
        count = 0
        try:
            chunk = await _first(chunks, timeout_s)
            first_at = call.clock()
            self.breaker.heard(ticket, first_at)
            call.record(FirstChunk(first_at, self.name))
            while chunk is not None:
                count += 1
                joiner.add(chunk)
                yield chunk
                chunk = await anext(chunks, None)
        except BaseException as exc:
            error = self._typed(exc, timeout_s, partial_text=joiner.text())
            if error is exc or isinstance(exc, GeneratorExit):
                raise
            raise error from exc
        finally:
            response = joiner.response(self.name) if count else None
            self._end(
                call,
                request,
                number,
                started,
                response,
                error,
                ticket=ticket,
                reservation=reservation,
                first_at=first_at,
                chunks=count,
            )
            close = getattr(chunks, "aclose", None)
            if close is not None:
                await close()

    def _start(self, call: Call, reservation: Reservation | None) -> tuple[int, float, int]:
        try:
            call.check_budget()
        except BudgetExceeded:
            if reservation is not None:
                reservation.release()
            raise
        call.attempts += 1
        self.in_flight += 1
        started = call.clock()
        call.record(AttemptStarted(started, self.name, call.attempts))
        return call.attempts, started, self.breaker.begin(started)

    def _end(
        self,
        call: Call,
        request: Request,
        number: int,
        started: float,
        response: Response | None,
        error: BaseException | None,
        *,
        ticket: int,
        reservation: Reservation | None,
        first_at: float | None = None,
        chunks: int | None = None,
    ) -> None:
        now = call.clock()
        self.in_flight -= 1
        usage = response.usage if response is not None else None
        model = (response.model if response is not None else None) or self.model
        cost = call.price(model, usage)
        if cost is None and response is not None:
            cost = response.cost_usd  # what the engine itself says is better than not to know
        call.spend(cost)
        if reservation is not None:
            reservation.settle(usage, cost)
        if self.ledger is not None:
            self.ledger.book(self.name, model, usage, cost, prompt=request.prompt, tags=call.tags)
        if error is None:
            self._learn((first_at or now) - started, now, first_chunk=first_at is not None)
        self.breaker.ended(ticket, now, error)
        call.record(
            AttemptEnded(
                started=started,
                at=now,
                engine=self.name,
                provider=self.provider,
                number=number,
                request=request,
                response=response,
                usage=usage,
                cost_usd=cost,
                error=error,
                streamed=chunks is not None,
                first_chunk_at=first_at,
                chunks=chunks or 0,
                model=self.model,
                in_process=self._in_process,
            )
        )

    def _learn(self, latency_s: float, now: float, *, first_chunk: bool) -> None:
        if latency_s > self.latency_s:  # a peak counts at once, good news slowly
            self.latency_s = latency_s
        else:
            weight = 2.0 ** -((now - self._at) / _EWMA_DECAY_S)
            self.latency_s = self.latency_s * weight + latency_s * (1 - weight)
        self._at = now
        self.times.add(latency_s, first_chunk=first_chunk)

    @contextlib.contextmanager
    def _routed(self, call: Call, reservation: Reservation | None, *, whole: bool) -> Iterator[None]:
        """A router among the engines at work: it records its own attempts, which say what they took."""
        self.in_flight += 1
        started = call.clock()
        ticket = self.breaker.begin(started)
        try:
            yield
        except BaseException as exc:
            error = self._typed(exc, None)
            self.breaker.ended(ticket, call.clock(), error)
            if error is exc:
                raise
            raise error from exc
        else:
            now = call.clock()
            if whole:
                self._learn(now - started, now, first_chunk=False)
            self.breaker.ended(ticket, now, None)
        finally:
            self.in_flight -= 1
            if reservation is not None:
                reservation.settle(None, None)

    def _typed(self, exc: BaseException, timeout_s: float | None, *, partial_text: str = "") -> BaseException:
        """`exc` as one of our errors; what is no fault of the engine (cancellation, exits) stays as it is."""
        model = self.model
        if not isinstance(exc, Exception):
            return exc
        if isinstance(exc, EngineConnectionError) and partial_text and not isinstance(exc, StreamInterrupted):
            return StreamInterrupted(str(exc), partial_text=partial_text, engine=self.name, model=model)
        if isinstance(exc, LlmopsError):
            return exc
        if isinstance(exc, TimeoutError):
            within = f" within {timeout_s:.3g} s" if timeout_s is not None else ""
            return EngineTimeout(f"the engine {self.name!r} did not answer{within}", engine=self.name, model=model)
        return EngineError(
            f"the engine {self.name!r} broke: {type(exc).__name__}: {exc}", engine=self.name, model=model
        )


def _leg_again(engine: Any, options: dict[str, Any]) -> Leg:
    return Leg(engine, **options)


async def _first(chunks: AsyncIterator[Chunk], timeout_s: float | None) -> Chunk | None:
    if timeout_s is None:
        return await anext(chunks, None)
    async with asyncio.timeout(timeout_s):
        return await anext(chunks, None)


def _require_engine(engine: Any) -> None:
    if isinstance(engine, type):
        raise ConfigurationError(f"{engine.__name__} is a class; write `{engine.__name__}(...)`")
    if getattr(engine, "incomplete", False):
        raise ConfigurationError(
            f"the engine {type(engine).__name__} has neither `async agenerate(request)` nor `astream(request)`; "
            "write one of them"
        )
    for method in ("agenerate", "astream"):
        if not callable(getattr(engine, method, None)):
            raise ConfigurationError(
                f"{engine!r} is no engine: it has no `{method}`. An engine is any object with "
                "`async agenerate(request)` and `astream(request)`; subclass `llmops_sdk.Engine` and write one of them"
            )
