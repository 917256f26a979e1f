"""An engine as a router asks it, with what was learnt about it."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import math
from array import array
from collections.abc import AsyncGenerator, AsyncIterator, Iterator, Mapping, Sequence
from typing import Any

from llmops_sdk.calls import Call
from llmops_sdk.costs import Ledger, Price, billed_by, budget_refusal, price_in
from llmops_sdk.errors import BudgetExceeded, ConfigurationError
from llmops_sdk.messages import Chunk, ChunkJoiner, Request, Response
from llmops_sdk.protocols import Capabilities
from llmops_sdk.routers._legs.attempt import MOST_CHUNK_TIMES, Attempt
from llmops_sdk.routers._legs.breaker import Breaker
from llmops_sdk.routers._legs.circuit import Circuit
from llmops_sdk.routers._legs.latencies import Times
from llmops_sdk.routers._legs.pace import Pace, Usual
from llmops_sdk.routers._legs.patience import Patience
from llmops_sdk.routers._limits import Adaptive, Limit, Reservation

__all__ = ["Leg"]

log = logging.getLogger("llmops_sdk")

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
        limits: How much it may be asked; see `Limit` and `Adaptive`.
        capabilities: What it can do, in place of what it says of itself.
        breaker: When it is taken out, in place of what its router says.

    Attributes:
        engine: The engine.
        name: Its name.
        model: The model that it asks for by default.
        provider: Whose service it is, as the engine says.
        billed_by: Whose prices hold: the provider's, or `"in_process"`.
        in_process: Whether the model runs in this process.
        server: Host and port of the server that it asks, where it says so.
        routes: Whether it is a router, which records and books its own attempts.
        holds_budget: Whether it asks the run's budget itself, as routers do, and caches, whose hits are free.
        in_flight: Requests that it is answering for us now.
        pace: How quick it is beside the other legs of its router.
        counts_load: Whether the engine itself says how busy it is, by `running` and, if it has that, `waiting`.
        breaker: Whether it is fit to be asked.
        times: How long its answers took.
        ledger: Where its attempts are booked besides the run; its router sets it.

    Raises:
        ConfigurationError: It is no engine, or an option makes no sense.
    """

    __slots__ = (
        "_capabilities",
        "_own_breaker",
        "billed_by",
        "breaker",
        "counts_load",
        "engine",
        "holds_budget",
        "in_flight",
        "in_process",
        "ledger",
        "limits",
        "model",
        "name",
        "pace",
        "provider",
        "routes",
        "server",
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
        limits: Limit | Adaptive | Sequence[Limit | Adaptive] = (),
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
        if capabilities is not None and not isinstance(capabilities, Capabilities):
            raise ConfigurationError(
                f"the capabilities of {self.name!r} are a `Capabilities(tools=..., ...)`, not {capabilities!r}"
            )
        if breaker is not None and not isinstance(breaker, Breaker):
            raise ConfigurationError(f"`breaker` of {self.name!r} is like `Breaker(failures=5)`, not {breaker!r}")
        if tags is not None and not isinstance(tags, Mapping):
            raise ConfigurationError(f"`tags` of {self.name!r} are like {{'region': 'eu'}}, not {tags!r}")
        self.tags: Mapping[str, Any] = dict(tags or {})
        self.limits = tuple(limits) if isinstance(limits, list | tuple) else (limits,)
        for limit in self.limits:
            if not isinstance(limit, Limit | Adaptive):
                raise ConfigurationError(
                    f"`limits` of {self.name!r} are `Limit(...)` or `Adaptive(...)`, not {limit!r}"
                )
        self.in_flight = 0
        self.pace = Pace()
        self.counts_load = hasattr(engine, "running")
        self.times = Times()
        self._own_breaker = breaker
        self.breaker = Circuit(breaker or _DEFAULT_BREAKER)
        self.ledger: Ledger | None = None
        self._capabilities = capabilities
        self.routes = bool(getattr(engine, "routes", False))
        self.holds_budget = self.routes or bool(getattr(engine, "holds_budget", False))
        self.provider: str = getattr(engine, "provider", "custom")
        self.in_process = bool(getattr(engine, "in_process", False))
        self.server: tuple[str, int] | None = getattr(engine, "server", None)
        self.billed_by = billed_by(self)

    def __reduce__(self) -> tuple[Any, ...]:
        # What was learnt of the engine was learnt in this process.
        return _leg_again, (self.engine, self.options())

    def options(self) -> dict[str, Any]:
        """What it was told of its engine."""
        return {
            "weight": self.weight,
            "tags": self.tags,
            "limits": self.limits,
            "capabilities": self._capabilities,
            "breaker": self._own_breaker,
        }

    def take_options(self, other: Leg) -> None:
        """Go by what `other` was told, and keep what was learnt."""
        self.weight, self.tags, self.limits = other.weight, other.tags, other.limits
        self._capabilities, self._own_breaker = other._capabilities, other._own_breaker

    def join(self, ledger: Ledger, peers: Times, usual: Usual, breaker: Breaker | None) -> None:
        """Become a leg of a router: book there, learn with its other legs, and go by its breaker unless it has one."""
        self.ledger = ledger
        self.times.peers = peers
        self.pace.usual = usual
        policy = self._own_breaker or breaker or _DEFAULT_BREAKER
        if policy != self.breaker.policy:  # after a reload what was learnt stays, unless it was learnt by other rules
            self.breaker = Circuit(policy)

    @property
    def capabilities(self) -> Capabilities:
        """What the engine can do, as far as it is known."""
        if self._capabilities is not None:
            return self._capabilities
        own: Capabilities = getattr(self.engine, "capabilities", _UNKNOWN)
        return own

    @property
    def latency_s(self) -> float:
        """Slow moving average of seconds to the first sign of an answer; 0.0 while unknown."""
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

    def price(self, call: Call) -> Price | None:
        """What its model costs in this run, `None` where nobody knows."""
        return price_in(call, self.model, self.billed_by)

    def over_budget(self, request: Request, call: Call) -> BudgetExceeded | None:
        """Why an attempt cannot be paid from what is left of the run's budget, `None` if it can."""
        if call.budget_usd is None or self.holds_budget:
            return None
        return budget_refusal(call, request, self.price(call), engine=self.name)

    async def generate(
        self, request: Request, call: Call, timeout_s: float | None = None, reservation: Reservation | None = None
    ) -> Response:
        """Ask for a whole answer; `reservation` is settled with what it took.

        Raises:
            EngineError: Whatever went wrong; `EngineTimeout` after `timeout_s` seconds.
        """
        attempt = Attempt(self, request, call, reservation)
        response: Response | None = None
        error: BaseException | None = None
        try:
            if timeout_s is None and not self.routes:
                with attempt.inside():
                    response = await self.engine.agenerate(attempt.asked)
            else:
                with self._booked_here(attempt.spent), attempt.inside():
                    async with asyncio.timeout(timeout_s):
                        response = await self.engine.agenerate(attempt.asked)
            if not isinstance(response, Response):
                kind, response = type(response).__name__, None
                raise ConfigurationError(f"the engine {self.name!r} returned {kind}, no Response")
        except BaseException as exc:
            error = attempt.typed(exc, timeout_s)
            if error is exc:
                raise
            raise error from exc
        finally:
            attempt.ended(response, error)
        return response

    async def stream(
        self,
        request: Request,
        call: Call,
        timeout_s: float | None = None,
        reservation: Reservation | None = None,
        *,
        chunk_timeout_s: float | None = None,
        joiner: ChunkJoiner | None = None,
    ) -> AsyncGenerator[Chunk, None]:
        """Ask for a stream.

        Args:
            request: What is asked.
            call: The run.
            timeout_s: Seconds to the first chunk.
            reservation: Room that was set aside; it is settled with what the answer took.
            chunk_timeout_s: Seconds from one chunk to the next. The time in which nobody waits for it does not count.
            joiner: Joins the chunks, for who wants to know what has come so far.

        Raises:
            EngineError: Whatever went wrong; `EngineTimeout` before the first chunk, `StreamInterrupted` after it.
        """
        attempt = Attempt(self, request, call, reservation)
        attempt.chunks = 0
        attempt.chunk_times = times = array("d")
        joiner = ChunkJoiner() if joiner is None else joiner
        patience = None
        if timeout_s is not None or chunk_timeout_s is not None:
            patience = Patience(timeout_s, chunk_timeout_s)
        error: BaseException | None = None
        chunks: AsyncIterator[Chunk] | None = None
        try:
            asked = attempt.asked
            chunks = self.engine.astream(asked) if not self.routes else self._booked(attempt.spent, asked)
            with attempt.inside():  # it is sent with the first one; and who reads has a context of his own in between
                chunk = await (anext(chunks, None) if patience is None else patience.first(chunks))
            if chunk is not None:
                attempt.heard(chunk)
            clock = call.clock
            while chunk is not None:
                joiner.add(chunk)
                yield chunk
                chunk = await (anext(chunks, None) if patience is None else patience.next(chunks))
                if chunk is not None:
                    attempt.chunks += 1
                    if attempt.chunks <= MOST_CHUNK_TIMES:
                        times.append(clock())
        except BaseException as exc:
            limit_s = None if patience is None else patience.limit_s
            error = attempt.typed(exc, limit_s, joiner if attempt.chunks else None)
            if error is exc or isinstance(exc, GeneratorExit):
                raise
            raise error from exc
        finally:
            if patience is not None:
                patience.close()
            attempt.ended(joiner.response(self.name) if attempt.chunks else None, error)
            close = getattr(chunks, "aclose", None)
            if close is not None:
                try:
                    await close()
                except Exception as exc:
                    if error is None:
                        raise attempt.typed(exc, None, joiner) from exc
                    call.hide_in_error(exc)
                    log.warning("the stream of %r broke, and then could not be closed", self.name, exc_info=exc)

    @contextlib.contextmanager
    def _booked_here(self, spent: Ledger | None) -> Iterator[None]:
        """What a router among the engines books in its own ledger is booked in this one's, too, and in `spent`."""
        with contextlib.ExitStack() as around:
            for ledger in (self.ledger, spent) if self.routes else ():
                if ledger is not None:
                    around.enter_context(ledger.around())
            yield

    async def _booked(self, spent: Ledger | None, request: Request) -> AsyncGenerator[Chunk, None]:
        chunks = self.engine.astream(request)
        # Whoever reads the stream has a context of his own: nothing may be left in it between two chunks.
        try:
            while True:
                with self._booked_here(spent):
                    chunk = await anext(chunks, None)
                if chunk is None:
                    return
                yield chunk
        finally:
            close = getattr(chunks, "aclose", None)
            if close is not None:
                with self._booked_here(spent):
                    await close()


def _leg_again(engine: Any, options: dict[str, Any]) -> Leg:
    return Leg(engine, **options)


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
