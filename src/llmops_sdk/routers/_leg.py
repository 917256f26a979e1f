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
from llmops_sdk.routers._limits import Limit, Reservation
from llmops_sdk.routers._pace import Pace

__all__ = ["Leg"]

_UNKNOWN = Capabilities()


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

    Attributes:
        engine: The engine.
        name: Its name.
        model: The model that it asks for by default.
        in_flight: Requests that it is answering for us now.
        pace: How long it takes to its first sign of an answer.
        counts_load: Whether the engine itself says how busy it is, by `running` and, if it has that, `waiting`.
        breaker: Whether it is fit to be asked.
        ledger: Where its attempts are booked besides the run; its router sets it.

    Raises:
        ConfigurationError: It is no engine, or an option makes no sense.
    """

    __slots__ = (
        "_capabilities",
        "_in_process",
        "_provider",
        "_routes",
        "breaker",
        "counts_load",
        "engine",
        "in_flight",
        "ledger",
        "limits",
        "model",
        "name",
        "pace",
        "tags",
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
    ) -> None:
        _require_engine(engine)
        self.engine = engine
        self.name: str = getattr(engine, "name", None) or type(engine).__name__.lower()
        self.model: str | None = getattr(engine, "model", None)
        if not isinstance(weight, int | float) or isinstance(weight, bool) or not 0 < weight < math.inf:
            raise ConfigurationError(f"the weight of {self.name!r} is a number over 0, not {weight!r}")
        self.weight = float(weight)
        if capabilities is not None and not isinstance(capabilities, Capabilities):
            raise ConfigurationError(
                f"the capabilities of {self.name!r} are a `Capabilities(tools=..., ...)`, not {capabilities!r}"
            )
        self.tags: Mapping[str, Any] = dict(tags or {})
        self.limits = (limits,) if isinstance(limits, Limit) else tuple(limits)
        self.in_flight = 0
        self.pace = Pace()
        self.counts_load = hasattr(engine, "running")
        self.breaker = Breaker()
        self.ledger: Ledger | None = None
        self._capabilities = capabilities
        self._routes = bool(getattr(engine, "routes", False))
        self._provider = getattr(engine, "provider", "custom")
        self._in_process = bool(getattr(engine, "in_process", False))

    def __reduce__(self) -> tuple[Any, ...]:
        # What was learnt of the engine was learnt in this process.
        options = {
            "weight": self.weight,
            "tags": self.tags,
            "limits": self.limits,
            "capabilities": self._capabilities,
        }
        return _leg_again, (self.engine, options)

    @property
    def capabilities(self) -> Capabilities:
        """What the engine can do, as far as it is known."""
        if self._capabilities is not None:
            return self._capabilities
        own: Capabilities = getattr(self.engine, "capabilities", _UNKNOWN)
        return own

    @property
    def latency_s(self) -> float:
        """Peak-sensitive moving average of seconds to the first sign of an answer; 0.0 while unknown."""
        return self.pace.average_s

    @property
    def load(self) -> int:
        """Requests in flight; what others ask of an engine that counts them is among them."""
        if not self.counts_load:
            return self.in_flight
        running, waiting = self.engine.running, getattr(self.engine, "waiting", 0)
        own = (running if isinstance(running, int) else 0) + (waiting if isinstance(waiting, int) else 0)
        # A request that this router has just sent may not have reached the engine's own count.
        return max(self.in_flight, own)

    async def generate(
        self, request: Request, call: Call, timeout_s: float | None = None, reservation: Reservation | None = None
    ) -> Response:
        """Ask for a whole answer; `reservation` is settled with what it took.

        Raises:
            EngineError: Whatever went wrong; `EngineTimeout` after `timeout_s` seconds.
        """
        if self._routes:  # a router among the engines records its own attempts
            with _held(reservation):
                routed: Response = await self.engine.agenerate(request)
            return routed
        number, started = self._start(call, reservation)
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
            self._end(call, request, number, started, response, error, reservation=reservation)
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
            with _held(reservation):
                async with contextlib.aclosing(chunks):
                    async for chunk in chunks:
                        yield chunk
            return
        number, started = self._start(call, reservation)
        joiner = ChunkJoiner()
        error: BaseException | None = None
        first_at: float | None = None
        count = 0
        try:
            chunk = await _first(chunks, timeout_s)
            first_at = call.clock()
            self.pace.answered(started, first_at)
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
                reservation=reservation,
                first_at=first_at,
                chunks=count,
            )
            close = getattr(chunks, "aclose", None)
            if close is not None:
                await close()

    def _start(self, call: Call, reservation: Reservation | None) -> tuple[int, float]:
        try:
            call.check_budget()
        except BudgetExceeded:
            if reservation is not None:
                reservation.release()
            raise
        call.attempts += 1
        self.in_flight += 1
        started = call.clock()
        self.pace.began(started)
        call.record(AttemptStarted(started, self.name, call.attempts))
        return call.attempts, started

    def _end(
        self,
        call: Call,
        request: Request,
        number: int,
        started: float,
        response: Response | None,
        error: BaseException | None,
        *,
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
        if first_at is None:
            (self.pace.answered if error is None else self.pace.gave_up)(started, now)
        if error is None:
            self.breaker.succeeded()
        elif isinstance(error, Exception):
            self._learn_failure(error, now)
        call.record(
            AttemptEnded(
                started=started,
                at=now,
                engine=self.name,
                provider=self._provider,
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

    def _learn_failure(self, error: Exception, now: float) -> None:
        if isinstance(error, EngineError) and not error.retryable:
            return  # the request or the key is wrong, not the engine
        self.breaker.failed(now, getattr(error, "retry_after_s", None))

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


@contextlib.contextmanager
def _held(reservation: Reservation | None) -> Iterator[None]:
    """Room that is held while a router among the engines is at work, whose own attempts say what they took."""
    try:
        yield
    finally:
        if reservation is not None:
            reservation.settle(None, None)


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
