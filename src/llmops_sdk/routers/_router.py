"""The router."""

from __future__ import annotations

import asyncio
import contextlib
import difflib
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, NamedTuple

from llmops_sdk import loops
from llmops_sdk.calls import Call, Retried, Routed, StreamResumed
from llmops_sdk.errors import (
    AllEnginesFailed,
    Attempt,
    BadRequestError,
    ConfigurationError,
    ContextLengthError,
    EngineError,
    StreamInterrupted,
    UnsupportedError,
)
from llmops_sdk.messages import Chunk, Message, Request, Response
from llmops_sdk.routers._attempts import Leg
from llmops_sdk.routers._strategies import STRATEGIES, Strategy
from llmops_sdk.stations import Station

__all__ = ["Candidate", "Route", "Router"]


class Candidate(NamedTuple):
    """An engine that may be asked, and why it stands where it stands."""

    engine: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """The order in which a router would try its engines, and those that it would not try, with the reasons."""

    order: tuple[Candidate, ...]
    refused: tuple[Candidate, ...] = ()


class Router(loops.Closing, Station):
    """An engine made of engines: asks one, and the next one when it fails.

    Every engine is tried at least once before the router gives up; `retries` allows more attempts when there are
    fewer engines than that. Going to another engine costs no wait; coming back to one waits with exponential
    back-off and full jitter, or as long as its `Retry-After` says. What cannot succeed is not repeated: a bad
    request fails at once, a wrong key or an unknown model only sends the request elsewhere. An engine that has just
    failed is asked last for a while.

    With a deadline the time that is left is shared out over the attempts that are left, so that an engine that hangs
    cannot eat all of it.

    When a stream breaks, `on_stream_break` decides. `"resume"` and `"restart"`: another engine answers from the
    start, what was already emitted is matched and not repeated, and the stream goes on where it broke; if the new
    answer is a different one, `StreamInterrupted` with the text so far is raised. `"raise"`: raise it at once.

    Args:
        engines: Engines with different names, one at least; routers among them are welcome.
        strategy: `"latency"`, `"least_busy"`, `"priority"` (as given), `"round_robin"`, or an object of your own.
        retries: How many attempts may follow the first one, `>= 0`, if there are fewer engines than attempts.
        attempt_timeout_s: Seconds for one attempt (in a stream: to its first chunk), besides the deadline.
        on_stream_break: What to do when a stream breaks in the middle.
        hedge: Must be `None`; hedged requests are not there yet.
        name: Name of the router in the record.
    """

    routes = True
    provider = "router"
    model: str | None = None

    def __init__(
        self,
        engines: Sequence[Any],
        /,
        *,
        strategy: str | Strategy = "latency",
        retries: int = 2,
        attempt_timeout_s: float | None = None,
        on_stream_break: Literal["resume", "restart", "raise"] = "resume",
        hedge: None = None,
        name: str = "router",
    ) -> None:
        if not isinstance(engines, Sequence) or isinstance(engines, str) or not engines:
            raise ConfigurationError("a router needs engines: `Router([Engine.open(...), Engine.open(...)])`")
        if isinstance(retries, bool) or not isinstance(retries, int) or retries < 0:
            raise ConfigurationError(f"`retries` is a number of attempts, 0 or more, not {retries!r}")
        if attempt_timeout_s is not None and not attempt_timeout_s > 0:
            raise ConfigurationError(f"`attempt_timeout_s` is a time over 0 seconds, not {attempt_timeout_s!r}")
        if on_stream_break not in ("resume", "restart", "raise"):
            raise ConfigurationError(f"`on_stream_break` is 'resume', 'restart' or 'raise', not {on_stream_break!r}")
        if hedge is not None:
            raise ConfigurationError("`hedge` is not there yet; leave it out")
        self.name = name
        self._legs = tuple(Leg(engine) for engine in engines)
        _name_apart(self._legs)
        self._strategy = _strategy(strategy)
        self._strategy_given = strategy
        self._retries = retries
        self._attempt_timeout_s = attempt_timeout_s
        self._on_stream_break = on_stream_break

    @property
    def engines(self) -> tuple[Any, ...]:
        """The engines, as given."""
        return tuple(leg.engine for leg in self._legs)

    @property
    def concurrency(self) -> int:
        """How many requests are worth having under way at once: as many as for all engines together."""
        return sum(int(getattr(leg.engine, "concurrency", None) or 64) for leg in self._legs)

    def route(self, request: str | Message | Sequence[Message] | Request, /) -> Route:
        """The order in which the engines would be tried for `request`, and why. Nothing is sent."""
        return Route(
            order=tuple(
                Candidate(leg.name, self._strategy.reason(leg) + (", failed a moment ago" if leg.cooling else ""))
                for leg in self._order(Request.of(request))
            )
        )

    async def agenerate(self, request: Request, /) -> Response:
        """Ask the engines in order until one answers.

        Raises:
            AllEnginesFailed: None did; `attempts` lists what each one said.
            BadRequestError: The request itself is wrong. (Where only an engine cannot do it, the others are asked.)
        """
        request, call = _with_call(request)
        plan = _Plan(self, request, call)
        while True:
            leg, timeout_s = await plan.next()
            try:
                return await leg.generate(request, call, timeout_s)
            except (EngineError, AllEnginesFailed) as exc:
                plan.failed(leg, exc)

    async def astream(self, request: Request, /) -> AsyncIterator[Chunk]:
        """Stream from the engines in order until one has finished its answer.

        Raises:
            AllEnginesFailed: None did, and nothing had been emitted.
            StreamInterrupted: The stream broke, and could not be taken up elsewhere.
        """
        request, call = _with_call(request)
        plan = _Plan(self, request, call)
        emitted: dict[int, str] = {}
        while True:
            leg, timeout_s = await plan.next()
            if any(emitted.values()):
                call.record(StreamResumed(time.perf_counter(), leg.name, "restart", sum(map(len, emitted.values()))))
            chunks = leg.stream(request, call, timeout_s)
            ahead = _Ahead(emitted)
            try:
                async with contextlib.aclosing(chunks):
                    async for chunk in chunks:
                        fresh = ahead.skip(chunk)
                        if fresh is not None:
                            emitted[chunk.index] = emitted.get(chunk.index, "") + fresh.text
                            yield fresh
                ahead.check_caught_up()
                return
            except (EngineError, AllEnginesFailed) as exc:
                if not any(emitted.values()):
                    plan.failed(leg, exc)
                elif self._on_stream_break == "raise" or isinstance(exc, _DifferentAnswer):
                    raise _interrupted(exc, emitted) from exc
                else:
                    plan.note(leg, exc)
                    if not plan.can_go_on:
                        raise _interrupted(exc, emitted) from exc

    def generate(self, request: str | Message | Sequence[Message] | Request, /) -> Response:
        """`agenerate`, for code without an event loop; takes a plain text or messages, too."""
        return loops.run_sync(lambda: self.agenerate(Request.of(request)), method="generate()")

    def stream(self, request: str | Message | Sequence[Message] | Request, /) -> Iterator[Chunk]:
        """`astream`, for code without an event loop; takes a plain text or messages, too."""
        return loops.stream_sync(lambda: self.astream(Request.of(request)), method="stream()")

    async def aclose(self) -> None:
        """Close every engine; idempotent."""
        for leg in self._legs:
            close = getattr(leg.engine, "aclose", None)
            if close is not None:
                await close()

    def __reduce__(self) -> tuple[Any, ...]:
        options = {
            "strategy": self._strategy_given,
            "retries": self._retries,
            "attempt_timeout_s": self._attempt_timeout_s,
            "on_stream_break": self._on_stream_break,
            "name": self.name,
        }
        return _router_again, (self.engines, options)

    def _order(self, request: Request) -> list[Leg]:
        order = self._strategy.order(self._legs, request)
        if any(leg.cooling for leg in order):
            order.sort(key=lambda leg: leg.cooling)
        return order

    def __repr__(self) -> str:
        return f"<Router {self.name!r} of {', '.join(repr(leg.name) for leg in self._legs)}>"


def _router_again(engines: tuple[Any, ...], options: dict[str, Any]) -> Router:
    return Router(engines, **options)


def _interrupted(exc: Exception, emitted: dict[int, str]) -> StreamInterrupted:
    """The error of a stream that broke for good, with all that the caller has seen of it."""
    details = {name: getattr(exc, name, None) for name in ("engine", "model", "status_code", "request_id")}
    return StreamInterrupted(f"the stream broke for good: {exc}", partial_text=emitted.get(0, ""), **details)


class _DifferentAnswer(StreamInterrupted):
    """Another engine began a different answer."""

    retryable = False


class _Plan:
    """The attempts of one request: which engine is next, after what wait, with how much time."""

    def __init__(self, router: Router, request: Request, call: Call) -> None:
        self._router = router
        self._call = call
        self._left = router._order(request)
        self._again: list[Leg] = []
        self._attempts_left = max(len(self._left), 1 + router._retries)
        self._started = 0.0
        self.attempts: list[Attempt] = []
        call.record(Routed(time.perf_counter(), router.name, tuple(leg.name for leg in self._left), ()))

    @property
    def can_go_on(self) -> bool:
        return self._attempts_left > 0 and bool(self._left or self._again)

    async def next(self) -> tuple[Leg, float | None]:
        """The next engine and the seconds that it gets; waits first when it has been asked before."""
        if not self._left and self._again:
            self._left, self._again = self._again, []
            await self._back_off(self._left[0])
        leg = self._left.pop(0)
        share = self._router._attempt_timeout_s
        remaining = self._call.remaining_s()
        if remaining is not None and self._left:  # leave time for the engines that have not been asked
            part = max(remaining, 0.0) / (len(self._left) + 1)
            share = part if share is None else min(share, part)
        self._attempts_left -= 1
        self._started = time.perf_counter()
        return leg, share

    def note(self, leg: Leg, exc: EngineError | AllEnginesFailed) -> None:
        """Keep a failure; the engine may be asked again if that can help."""
        self.attempts.append(Attempt(leg.name, exc, time.perf_counter() - self._started))
        if getattr(exc, "retryable", True):
            self._again.append(leg)

    def failed(self, leg: Leg, exc: EngineError | AllEnginesFailed) -> None:
        """Keep a failure; raise when nothing is left that could help."""
        self.note(leg, exc)
        if isinstance(exc, BadRequestError) and not isinstance(exc, (ContextLengthError, UnsupportedError)):
            raise exc
        if not self.can_go_on:
            raise AllEnginesFailed(f"no engine of {self._router.name!r} could answer", self.attempts) from exc

    async def _back_off(self, leg: Leg) -> None:
        import tenacity  # noqa: PLC0415  (costs 20 ms; only failures need it)

        error = self.attempts[-1].error
        said = getattr(error, "retry_after_s", None)
        if said is None:
            state = tenacity.RetryCallState(retry_object=None, fn=None, args=(), kwargs={})  # type: ignore[arg-type]
            state.attempt_number = len(self.attempts)
            said = tenacity.wait_random_exponential(multiplier=0.1, max=10)(state)
        remaining = self._call.remaining_s()
        if remaining is not None and said >= remaining:
            raise AllEnginesFailed(
                f"no engine of {self._router.name!r} could answer, and waiting {said:.1f} s passes the deadline",
                self.attempts,
            ) from error
        self._call.record(Retried(time.perf_counter(), leg.name, said, error))
        await asyncio.sleep(said)


class _Ahead:
    """Leaves out of a new stream what the broken one had already emitted.

    Text is matched. Thoughts are not, since no two engines think alike: a choice keeps those of the first one.
    """

    def __init__(self, emitted: dict[int, str]) -> None:
        self._begun = frozenset(emitted)
        self._owed = {index: text for index, text in emitted.items() if text}

    def skip(self, chunk: Chunk) -> Chunk | None:
        if chunk.reasoning and chunk.index in self._begun:
            chunk = replace(chunk, reasoning="")
        owed = self._owed.get(chunk.index)
        if owed is None or not chunk.text:
            return chunk
        text = chunk.text
        common = min(len(owed), len(text))
        if owed[:common] != text[:common]:
            raise _DifferentAnswer("the stream broke, and the next engine began a different answer")
        if len(owed) > common:
            self._owed[chunk.index] = owed[common:]
        else:
            del self._owed[chunk.index]
        # How much of the text each token stands for is not known here, so a cut chunk has none.
        rest = replace(chunk, text=text[common:], logprobs=(), token_ids=())
        return rest if rest.text or rest.finish_reason or rest.usage or rest.tool_calls else None

    def check_caught_up(self) -> None:
        if self._owed:
            raise _DifferentAnswer("the stream broke, and the next engine's answer was shorter")


def _with_call(request: Request) -> tuple[Request, Call]:
    if request.call is not None:
        return request, request.call
    call = Call()
    return request.bound_to(call), call


def _strategy(strategy: str | Strategy) -> Strategy:
    if isinstance(strategy, str):
        if strategy not in STRATEGIES:
            near = difflib.get_close_matches(strategy, STRATEGIES, n=1)
            hint = f"; did you mean {near[0]!r}?" if near else ""
            raise ConfigurationError(f"no strategy is called {strategy!r}: there are {', '.join(STRATEGIES)}{hint}")
        return STRATEGIES[strategy]()
    if not callable(getattr(strategy, "order", None)):
        raise ConfigurationError(f"{strategy!r} is no strategy: it has no `order(legs, request)`")
    return strategy


def _name_apart(legs: tuple[Leg, ...]) -> None:
    """Give engines without a name of their own different ones; refuse two that were given the same."""
    taken: set[str] = set()
    for leg in legs:
        name = leg.name
        if name in taken:
            if "name" in getattr(leg.engine, "__dict__", {}):
                raise ConfigurationError(
                    f"two engines of the router are called {name!r}; give them names: `Engine.open(..., name='...')`"
                )
            name = next(f"{name}-{i}" for i in range(2, len(legs) + 2) if f"{name}-{i}" not in taken)
            with contextlib.suppress(AttributeError):  # an object with slots keeps its name; the record has the new one
                leg.engine.name = name
            leg.name = name
        taken.add(name)
