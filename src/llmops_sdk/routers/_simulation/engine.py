"""An engine in virtual time: it has the face of an engine, and does nothing but wait as long as its model says."""

from __future__ import annotations

import asyncio
import functools
import math
from collections.abc import AsyncIterator
from statistics import NormalDist

from llmops_sdk.calls import Call
from llmops_sdk.errors import EngineConnectionError, EngineError, RateLimitError, ServerError
from llmops_sdk.messages import Choice, Chunk, Request, Response, Usage
from llmops_sdk.protocols import Capabilities
from llmops_sdk.routers._simulation.arrival import Arrival
from llmops_sdk.routers._simulation.batch import Batch, Job
from llmops_sdk.routers._simulation.model import EngineModel
from llmops_sdk.routers._simulation.prefix_cache import PrefixCache

__all__ = ["Run", "Simulated", "SimulatedEngine"]

_CAPABILITIES = Capabilities(tools=True, images=True, json_schema=True, continues=False)
_NORMAL = NormalDist()
_CHOICES = (Choice(text="x", finish_reason="stop"),)
_MASK = (1 << 64) - 1
_SPREAD, _TAIL, _ERROR = 1, 2, 3


class Run(Call):
    """A run of the simulation: it knows which arrival it is."""

    __slots__ = ("arrival",)
    arrival: Arrival


class Simulated(Response):
    """An answer, and when its first token came."""

    __slots__ = ("first_at",)
    first_at: float


class _Asked(Job):
    """A request with somebody who waits for it."""

    __slots__ = ("cached", "done", "run")

    def __init__(self, run: Run, cached: int, steps: float, done: asyncio.Future[None]) -> None:
        arrival = run.arrival
        super().__init__(arrival.prompt_tokens - cached, arrival.prompt_tokens + arrival.answer_tokens / 2, steps)
        self.run = run
        self.cached = cached
        self.done = done


class SimulatedEngine:
    """One engine, on the loop on which it is used.

    How long an answer takes, and whether it fails, depends on the seed, the engine, the number of the request and of
    its attempt, and on nothing else: policies that are compared meet the same luck.

    Attributes:
        asked: Requests that were sent to it.
        answered: Those that it answered.
        refused: Those that got a 429.
        prompt_tokens: Tokens of the prompts that it took.
        cached_tokens: Those of them that its prefix cache knew.
        wasted_tokens: Tokens that it worked for requests that nobody waited for in the end.
        busy_s: Seconds in which it worked.
    """

    provider = "simulated"
    capabilities = _CAPABILITIES

    def __init__(
        self, name: str, model: EngineModel, *, index: int, seed: int, loop: asyncio.AbstractEventLoop
    ) -> None:
        self.name = name
        self.model: str | None = name if model.price is not None else None
        self._is = model
        self._loop = loop
        self._luck = seed * 0x9E3779B97F4A7C15 + (index + 1) * 0xC2B2AE3D27D4EB4F
        self._cache = PrefixCache(model.cache_tokens, model.cache_block)
        self._started = loop.time()
        self._batch = Batch(model, self._started)
        self._limited = model.requests_per_minute is not None or model.tokens_per_minute is not None
        self._timer: asyncio.TimerHandle | None = None
        self._down = False
        self._minute = (-1, 0, 0)
        self._busy_since: float | None = None
        self.asked = self.answered = self.refused = 0
        self.prompt_tokens = self.cached_tokens = 0
        self.wasted_tokens = self.busy_s = 0.0
        for outage in model.outages:
            loop.call_at(self._started + outage.start_s, self._stop, outage.kind)
            loop.call_at(self._started + outage.end_s, self._go_on)

    async def agenerate(self, request: Request, /) -> Response:
        """Answer after as long as it takes."""
        asked = self._take(request)
        try:
            await asked.done
        finally:
            self._leave(asked)
        return self._response(asked)

    async def astream(self, request: Request, /) -> AsyncIterator[Chunk]:
        """Answer in two chunks: the first token, and the rest."""
        first: asyncio.Future[None] = self._loop.create_future()
        asked = self._take(request, first)
        try:
            await asyncio.wait((first, asked.done), return_when=asyncio.FIRST_COMPLETED)
            if not asked.done.done() or asked.done.exception() is None:
                yield Chunk(text="x", engine=self.name, model=self.model)
            await asked.done
        finally:
            first.cancel()
            self._leave(asked)
        usage = self._response(asked).usage
        yield Chunk(text="y", finish_reason="stop", usage=usage, engine=self.name, model=self.model)

    def forecast(self, run: Run) -> float:
        """When it would answer `run` if it were asked now, and nobody after it; infinity if it would not."""
        attempt = run.attempts + 1
        if self._down or self._too_many(run.arrival, self._loop.time()) or self._fails(run.arrival.number, attempt):
            return math.inf
        arrival = run.arrival
        prompt = arrival.prompt_tokens - self._cache.hit(arrival.prefixes)
        context = arrival.prompt_tokens + arrival.answer_tokens / 2
        job = Job(prompt, context, arrival.answer_tokens * self._factor(arrival.number, attempt))
        return self._batch.forecast(job, self._loop.time()) + self._is.overhead_s

    # -------------------------------------------------------------------------------------------- taking and answering

    def _take(self, request: Request, first: asyncio.Future[None] | None = None) -> _Asked:
        run = request.call
        assert isinstance(run, Run)  # the simulation makes no others
        arrival, now = run.arrival, self._loop.time()
        self.asked += 1
        if self._down:
            raise self._error(EngineConnectionError, "the engine is down")
        if self._limited and (wait_s := self._too_many(arrival, now)):
            self.refused += 1
            raise self._error(RateLimitError, "too many requests", status_code=429, retry_after_s=wait_s)
        if self._is.error_rate and self._fails(arrival.number, run.attempts):
            raise self._error(ServerError, "the engine failed", status_code=500)
        if self._limited:
            minute, requests, tokens = self._minute
            self._minute = (minute, requests + 1, tokens + arrival.prompt_tokens + arrival.answer_tokens)
        steps = arrival.answer_tokens * self._factor(arrival.number, run.attempts)
        asked = _Asked(run, self._cache.hit(arrival.prefixes), steps, self._loop.create_future())
        if first is not None:
            asked.on_read = functools.partial(self._announce, asked, first)
        self._tick()
        self._batch.add(asked, now)
        self._arm()
        return asked

    def _announce(self, asked: _Asked, first: asyncio.Future[None]) -> None:
        self._loop.call_at(asked.first_at + self._is.overhead_s, _resolve, first)

    def _leave(self, asked: _Asked) -> None:
        """Nobody waits for it any more, answered or not."""
        if asked.place:
            self._tick()
            self.wasted_tokens += self._batch.remove(asked)
            self._arm()

    def _response(self, asked: _Asked) -> Simulated:
        arrival = asked.run.arrival
        self.answered += 1
        self.prompt_tokens += arrival.prompt_tokens
        self.cached_tokens += asked.cached
        response = Simulated(
            choices=_CHOICES,
            usage=Usage(
                input_tokens=arrival.prompt_tokens,
                output_tokens=arrival.answer_tokens,
                cached_input_tokens=asked.cached,
            ),
            model=self.model,
            engine=self.name,
        )
        object.__setattr__(response, "first_at", min(asked.first_at + self._is.overhead_s, self._loop.time()))
        return response

    def _error(self, kind: type[EngineError], message: str, **details: float) -> EngineError:
        return kind(message, engine=self.name, model=self.model, **details)  # type: ignore[arg-type]

    # ---------------------------------------------------------------------------------------------------- time and luck

    def _tick(self) -> None:
        """Let what has ended by now be answered."""
        for job in self._batch.advance(self._loop.time()):
            assert isinstance(job, _Asked)
            self._cache.keep(job.run.arrival.afterwards)
            if self._is.overhead_s:
                self._loop.call_later(self._is.overhead_s, _resolve, job.done)
            else:
                _resolve(job.done)

    def _arm(self) -> None:
        """Wake up when the next thing happens."""
        now = self._loop.time()
        if self._batch.busy != (self._busy_since is not None):
            self.busy_s += 0.0 if self._busy_since is None else now - self._busy_since
            self._busy_since = now if self._batch.busy else None
        at = self._batch.next_at()
        timer = self._timer
        if timer is not None:
            if timer.when() == at:
                return
            timer.cancel()
        self._timer = None if at == math.inf else self._loop.call_at(at, self._wake)

    def _wake(self) -> None:
        self._timer = None
        self._tick()
        self._arm()

    def _stop(self, kind: str) -> None:
        self._tick()
        if kind == "hang":
            self._batch.freeze()
        else:
            self._down = True
            self._cache = PrefixCache(self._is.cache_tokens, self._is.cache_block)  # what was known is lost
            for job in reversed(self._batch.jobs()):  # those that wait first, so that none of them begins now
                assert isinstance(job, _Asked)
                self.wasted_tokens += self._batch.remove(job)
                if not job.done.done():
                    job.done.set_exception(self._error(EngineConnectionError, "the engine went down"))
        self._arm()

    def _go_on(self) -> None:
        self._down = False
        self._batch.thaw(self._loop.time())
        self._arm()

    def _too_many(self, arrival: Arrival, now: float) -> float:
        """Seconds until the next minute, if this one has no room for `arrival`; 0.0 if it has."""
        if not self._limited:
            return 0.0
        minute = int((now - self._started) // 60)
        if minute != self._minute[0]:
            self._minute = (minute, 0, 0)
        requests, tokens = self._is.requests_per_minute, self._is.tokens_per_minute
        asked = arrival.prompt_tokens + arrival.answer_tokens
        if (requests is None or self._minute[1] + 1 <= requests) and (
            tokens is None or self._minute[2] + asked <= tokens
        ):
            return 0.0
        return self._started + 60.0 * (minute + 1) - now

    def _fails(self, number: int, attempt: int) -> bool:
        return self._is.error_rate > 0 and self._chance(number, attempt, _ERROR) < self._is.error_rate

    def _factor(self, number: int, attempt: int) -> float:
        """How many times longer than its tokens say this answer takes."""
        factor = 1.0
        if self._is.jitter:
            sigma = self._is.jitter
            factor = math.exp(sigma * _NORMAL.inv_cdf(self._chance(number, attempt, _SPREAD)) - sigma * sigma / 2)
        if self._is.tail is not None:
            alpha = self._is.tail
            factor *= (alpha - 1) / alpha * self._chance(number, attempt, _TAIL) ** (-1 / alpha)
        return factor

    def _chance(self, number: int, attempt: int, what: int) -> float:
        """A number between 0 and 1, always the same one for the same question (SplitMix64's mixing)."""
        mixed = (self._luck + (number << 8 | (attempt & 63) << 2 | what) * 0x9E3779B97F4A7C15) & _MASK
        mixed = ((mixed ^ (mixed >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
        mixed = ((mixed ^ (mixed >> 27)) * 0x94D049BB133111EB) & _MASK
        return (((mixed ^ (mixed >> 31)) >> 11) + 0.5) / 9007199254740992.0


def _resolve(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)
