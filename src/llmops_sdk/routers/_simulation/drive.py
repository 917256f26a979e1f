"""The simulation: the router itself, on a loop in virtual time, against engines that only wait."""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import functools
import itertools
import math
import random
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TypeVar

from llmops_sdk.bars import Bar
from llmops_sdk.costs import PriceTable
from llmops_sdk.errors import ConfigurationError, DeadlineExceeded, LlmopsError
from llmops_sdk.messages import Message, Request
from llmops_sdk.routers._router import Router
from llmops_sdk.routers._simulation.arrival import Arrival
from llmops_sdk.routers._simulation.engine import Run, Simulated, SimulatedEngine
from llmops_sdk.routers._simulation.model import EngineModel
from llmops_sdk.routers._simulation.policy import Policy, models_by_name, named, router_of
from llmops_sdk.routers._simulation.result import Outcome, Simulation, outcome
from llmops_sdk.routers._simulation.tally import Tally
from llmops_sdk.routers._simulation.traffic import Traffic
from llmops_sdk.virtual_time import run_in_virtual_time

__all__ = ["simulate"]

_T = TypeVar("_T")
_FILLING = "and " * 4096
_CHARACTERS = 4  # of a token, as English has them


def simulate(
    policies: Policy | Mapping[str, Policy] | Sequence[Policy],
    engines: Mapping[str, EngineModel] | Sequence[EngineModel],
    traffic: Traffic,
    *,
    requests: int | None = None,
    duration_s: float | None = None,
    seed: int = 0,
    stream: bool = False,
    deadline_s: float | None = None,
    progress: bool = False,
) -> Simulation:
    """What would become of `traffic` under each of `policies`, if the engines are as their models say.

    A `Router` is made for each policy, and asked on a loop in virtual time: strategy, breaker, hedging, limits,
    retries and back-off are those of the router itself. Every policy meets the same requests and the same luck. The
    same seed gives the same numbers, to the last bit. While it runs, the generator of the module `random` is seeded,
    too, and afterwards it is as it was.

    Args:
        policies: One, several, or several by name. A policy is a strategy's name, or `"oracle"`, which knows how long
            each engine would take; a strategy; a mapping of a `Router`'s options; a `Router`, whose engines are
            replaced by the models of the same names; or a function that makes a `Router` of the engines that it is
            given.
        engines: A model for each engine, by name or in order.
        traffic: What is asked.
        requests: How many requests, `>= 1`; by default 10,000, or all of a log.
        duration_s: Only the requests of the first so many virtual seconds, `> 0`.
        seed: Of all that happens by chance.
        stream: Ask for streams, so that the router goes by the time to the first token.
        deadline_s: Seconds that each request has, `> 0`.
        progress: Show a bar, if standard error is a terminal.

    Raises:
        ConfigurationError: Something of it makes no sense.

    Example:
        >>> from llmops_sdk.routers import EngineModel, Traffic, simulate
        >>> traffic = Traffic(rate_per_s=2.0, prompt_tokens=100, answer_tokens=(100, 1.0))
        >>> engines = [EngineModel(slots=4)] * 2
        >>> result = simulate(["least_busy", "round_robin"], engines, traffic, requests=1_000)
        >>> [(row.policy, row.answered) for row in result]
        [('least_busy', 1000), ('round_robin', 1000)]
    """
    if not isinstance(traffic, Traffic):
        raise ConfigurationError(f"`traffic` is a Traffic, not {traffic!r}")
    if requests is not None and (isinstance(requests, bool) or not isinstance(requests, int) or requests < 1):
        raise ConfigurationError(f"`requests` is a number of them, 1 or more, not {requests!r}")
    for name, seconds in (("duration_s", duration_s), ("deadline_s", deadline_s)):
        if seconds is not None and not 0 < seconds < math.inf:
            raise ConfigurationError(f"`{name}` is a time over 0 seconds, not {seconds!r}")
    models, wanted = models_by_name(engines), named(policies)
    most = requests or traffic.requests or (None if duration_s else 10_000)
    outcomes: list[Outcome] = []
    with Bar("requests", None if most is None else most * len(wanted), show=progress) as bar:
        for name, policy in wanted.items():
            driver = functools.partial(
                _Drive, models, policy, traffic, most, duration_s, seed, stream=stream, deadline_s=deadline_s, bar=bar
            )
            outcomes.append(_apart(functools.partial(_run, name, driver, seed)))
    return Simulation(outcomes=tuple(outcomes), engines=len(models), seed=seed)


def _apart(function: Callable[[], _T]) -> _T:
    """What `function` returns; in a thread of its own where this one has a running loop (a notebook)."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return function()
    results: list[_T] = []
    errors: list[BaseException] = []

    def run() -> None:
        try:
            results.append(function())
        except BaseException as exc:  # noqa: BLE001  (raised again, in the thread that asked)
            errors.append(exc)

    thread = threading.Thread(target=contextvars.copy_context().run, args=(run,), name="llmops-simulation")
    thread.start()
    thread.join()
    if errors:
        raise errors[0]
    return results[0]


@contextlib.contextmanager
def _seeded(seed: int) -> Iterator[None]:
    """The generator of the module `random` seeded, which back-off and some strategies draw from, and then put back."""
    state = random.getstate()
    random.seed(f"simulation {seed}")
    try:
        yield
    finally:
        random.setstate(state)


def _run(name: str, driver: Callable[[], _Drive], seed: int) -> Outcome:
    began = time.perf_counter()

    async def main() -> Outcome:
        drive = driver()
        seconds = await drive.run()
        return outcome(name, drive.tally, drive.engines, seconds, time.perf_counter() - began)

    with _seeded(seed):
        return run_in_virtual_time(main())


class _Drive:
    """One policy under one traffic."""

    def __init__(
        self,
        models: Mapping[str, EngineModel],
        policy: Policy,
        traffic: Traffic,
        most: int | None,
        duration_s: float | None,
        seed: int,
        *,
        stream: bool,
        deadline_s: float | None,
        bar: Bar,
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self.tally = Tally()
        self.engines = [
            SimulatedEngine(name, model, index=index, seed=seed, loop=self._loop)
            for index, (name, model) in enumerate(models.items())
        ]
        self._router: Router = router_of(policy, self.engines, seed)
        prices = {name: model.price for name, model in models.items() if model.price is not None}
        self._prices = PriceTable(prices) if prices else None
        self._arrivals = traffic.arrivals(seed=seed)
        if most is not None:
            self._arrivals = itertools.islice(self._arrivals, most)
        self._until = math.inf if duration_s is None else duration_s
        self._ask = self._streamed if stream else self._answered
        self._deadline_s = deadline_s
        self._bar = bar
        self._tasks: set[asyncio.Task[None]] = set()
        self._more = True

    async def run(self) -> float:
        """Send everything and wait for all of it; gives the virtual seconds that it took."""
        self._started = self._loop.time()
        self._ended: asyncio.Future[None] = self._loop.create_future()
        self._wait_for_next()
        await self._ended
        return self._loop.time() - self._started

    def _wait_for_next(self) -> None:
        arrival = next(self._arrivals, None)
        if arrival is None or arrival.at > self._until:
            self._more = False
            self._check_end()
        else:
            self._loop.call_at(self._started + arrival.at, self._send, arrival)

    def _send(self, arrival: Arrival) -> None:
        self.tally.sent += 1
        task = self._loop.create_task(self._one(arrival))
        self._tasks.add(task)
        task.add_done_callback(self._forget)
        self._wait_for_next()

    def _forget(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        self._bar.advance()
        if not task.cancelled() and (error := task.exception()) is not None and not self._ended.done():
            self._ended.set_exception(error)  # no error of an engine: something is broken
        self._check_end()

    def _check_end(self) -> None:
        if not self._more and not self._tasks and not self._ended.done():
            self._ended.set_result(None)

    async def _one(self, arrival: Arrival) -> None:
        run = Run(deadline_s=self._deadline_s, tags=arrival.tags, prices=self._prices)
        run.arrival = arrival
        request = _request(arrival)
        request.bind(run)
        try:
            if self._deadline_s is None:
                first_at = await self._ask(request)
            else:
                first_at = await self._in_time(request)
        except LlmopsError as exc:
            self.tally.failed(run, exc)
        else:
            self.tally.answered(run, first_at, self._loop.time())
        finally:
            request.unbind()

    async def _in_time(self, request: Request) -> float:
        assert self._deadline_s is not None
        try:
            async with asyncio.timeout(self._deadline_s):
                return await self._ask(request)
        except TimeoutError as exc:
            if isinstance(exc, LlmopsError):
                raise
            raise DeadlineExceeded("too late", deadline_s=self._deadline_s) from None

    async def _answered(self, request: Request) -> float:
        response = await self._router.agenerate(request)
        return response.first_at if isinstance(response, Simulated) else self._loop.time()

    async def _streamed(self, request: Request) -> float:
        first_at = 0.0
        async with contextlib.aclosing(self._router.astream(request)) as chunks:  # type: ignore[type-var]
            async for chunk in chunks:
                if not first_at and chunk.text:
                    first_at = self._loop.time()
        return first_at


def _request(arrival: Arrival) -> Request:
    """A request that looks like the arrival: strategies go by how it begins, limits by how long it is."""
    own = arrival.prompt_tokens
    messages: list[Message] = []
    for index, (key, tokens) in enumerate(arrival.afterwards):
        if index == 0 and arrival.prefixes and arrival.prefixes[0][0] == key:
            messages.append(_shared(key, tokens))
            own -= tokens
        else:  # a conversation: how it began stays the same in all of its turns
            messages.append(Message(role="user", content=key))
            history = arrival.prefixes[index][1] if len(arrival.prefixes) > index else 0
            if history:
                messages.append(Message(role="assistant", content=_text(key, history)))
                own -= history
    messages.append(Message(role="user", content=_text(f"request {arrival.number}", own)))
    return Request(messages=tuple(messages), max_tokens=arrival.answer_tokens)


@functools.lru_cache(maxsize=4096)
def _shared(key: str, tokens: int) -> Message:
    return Message(role="system", content=_text(key, tokens))


def _text(name: str, tokens: int) -> str:
    missing = tokens * _CHARACTERS - len(name) - 2
    filling = _FILLING if missing <= len(_FILLING) else _FILLING * (missing // len(_FILLING) + 1)
    return f"{name}: {filling[:missing]}" if missing > 0 else name
