"""One attempt at one engine: timed, recorded and booked on the call, with errors made typed."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncGenerator, AsyncIterator
from typing import Any

from llmops_sdk.calls import AttemptEnded, AttemptStarted, Call, FirstChunk
from llmops_sdk.errors import (
    ConfigurationError,
    EngineConnectionError,
    EngineError,
    EngineTimeout,
    LlmopsError,
    StreamInterrupted,
)
from llmops_sdk.messages import Chunk, ChunkJoiner, Request, Response

__all__ = ["Leg"]

_COOLDOWN_S = 1.0
_COOLDOWN_MAX_S = 30.0
_EWMA_DECAY_S = 10.0


class Leg:
    """An engine as a router (or a pipeline without one) asks it, with what was learnt about it.

    Attributes:
        engine: The engine.
        name: Its name.
        model: The model that it asks for by default.
        in_flight: Requests that it is answering for us now.
        latency_s: Peak-sensitive moving average of seconds to the first sign of an answer; 0.0 while unknown.
        failures: Failures in a row.
    """

    __slots__ = (
        "_at",
        "_cool_until",
        "_in_process",
        "_provider",
        "_routes",
        "engine",
        "failures",
        "in_flight",
        "latency_s",
        "model",
        "name",
    )

    def __init__(self, engine: Any) -> None:
        _require_engine(engine)
        self.engine = engine
        self.in_flight = 0
        self.latency_s = 0.0
        self.failures = 0
        self._at = 0.0
        self._cool_until = 0.0
        self._routes = bool(getattr(engine, "routes", False))
        self.name: str = getattr(engine, "name", None) or type(engine).__name__.lower()
        self.model: str | None = getattr(engine, "model", None)
        self._provider = getattr(engine, "provider", "custom")
        self._in_process = bool(getattr(engine, "in_process", False))

    def __reduce__(self) -> tuple[Any, ...]:
        # What was learnt of the engine was learnt in this process.
        return Leg, (self.engine,)

    @property
    def cooling(self) -> bool:
        """Whether it failed a moment ago; it is then asked last, and not first."""
        return self._cool_until > time.perf_counter()

    async def generate(self, request: Request, call: Call, timeout_s: float | None) -> Response:
        """Ask for a whole answer.

        Raises:
            EngineError: Whatever went wrong; `EngineTimeout` after `timeout_s` seconds.
        """
        if self._routes:  # a router among the engines records its own attempts
            routed: Response = await self.engine.agenerate(request)
            return routed
        number, started = self._start(call)
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
            self._end(call, request, number, started, response, error)
        return response

    async def stream(self, request: Request, call: Call, timeout_s: float | None) -> AsyncGenerator[Chunk, None]:
        """Ask for a stream; `timeout_s` is the time to its first chunk.

        Raises:
            EngineError: Whatever went wrong; `StreamInterrupted` once text has come.
        """
        chunks = self.engine.astream(request)
        if self._routes:
            async with contextlib.aclosing(chunks):
                async for chunk in chunks:
                    yield chunk
            return
        number, started = self._start(call)
        joiner = ChunkJoiner()
        error: BaseException | None = None
        first_at: float | None = None
        count = 0
        try:
            chunk = await _first(chunks, timeout_s)
            first_at = time.perf_counter()
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
            self._end(call, request, number, started, response, error, first_at=first_at, chunks=count)
            close = getattr(chunks, "aclose", None)
            if close is not None:
                await close()

    def _start(self, call: Call) -> tuple[int, float]:
        call.check_budget()
        call.attempts += 1
        self.in_flight += 1
        started = time.perf_counter()
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
        first_at: float | None = None,
        chunks: int | None = None,
    ) -> None:
        now = time.perf_counter()
        self.in_flight -= 1
        usage = response.usage if response is not None else None
        model = (response.model if response is not None else None) or self.model
        cost = call.price(model, usage)
        if cost is None and response is not None:
            cost = response.cost_usd  # what the engine itself says is better than not to know
        call.spend(cost)
        if error is None:
            self._learn((first_at or now) - started, now)
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

    def _learn(self, latency_s: float, now: float) -> None:
        self.failures = 0
        self._cool_until = 0.0
        if latency_s > self.latency_s:  # a peak counts at once, good news slowly
            self.latency_s = latency_s
        else:
            weight = 2.0 ** -((now - self._at) / _EWMA_DECAY_S)
            self.latency_s = self.latency_s * weight + latency_s * (1 - weight)
        self._at = now

    def _learn_failure(self, error: Exception, now: float) -> None:
        if isinstance(error, EngineError) and not error.retryable:
            return  # the request or the key is wrong, not the engine
        self.failures += 1
        pause = min(_COOLDOWN_S * 2.0 ** (self.failures - 1), _COOLDOWN_MAX_S)
        said = getattr(error, "retry_after_s", None)
        self._cool_until = now + (pause if said is None else max(said, 0.0))

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
