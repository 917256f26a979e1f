"""The router."""

from __future__ import annotations

import contextlib
import copy
import importlib
import threading
from collections.abc import AsyncIterator, Mapping, Sequence
from os import PathLike
from typing import TYPE_CHECKING, Any, Literal, Self

from llmops_sdk.calls import Call
from llmops_sdk.costs import Ledger, PriceTable
from llmops_sdk.engines import Engine
from llmops_sdk.errors import ConfigurationError
from llmops_sdk.messages import Chunk, Classification, Message, Request, Response
from llmops_sdk.protocols import Capabilities
from llmops_sdk.routers._asking.answers import answered
from llmops_sdk.routers._asking.plan import Plan
from llmops_sdk.routers._asking.retries import Retries, Rule
from llmops_sdk.routers._asking.streams import streamed
from llmops_sdk.routers._asking.vectors import first_that_can
from llmops_sdk.routers._choosing.filters import together
from llmops_sdk.routers._choosing.route import Route, route_of
from llmops_sdk.routers._hedging.hedge import Hedge
from llmops_sdk.routers._legs.breaker import Breaker
from llmops_sdk.routers._legs.leg import Leg
from llmops_sdk.routers._limits import Limit, Limits, LimitStore
from llmops_sdk.routers._reloading import Match, Reloaded, Retired, made_alike
from llmops_sdk.routers._runs import Run
from llmops_sdk.routers._strategies import Strategy
from llmops_sdk.routers._table import OnStreamBreak, Table, take

if TYPE_CHECKING:
    from llmops_sdk.routers.declaration import RouterSpec

__all__ = ["Router"]

_NOT_ANSWERED_BY = frozenset({"limit_store", "limit_wait_s", "name", "prices"})


class Router(Engine):
    """An engine made of engines: asks one, and the next one when it fails.

    Every engine is tried at least once before the router gives up; `retries` allows more attempts when there are
    fewer engines than that. Going to another engine costs no wait; coming back to one waits with exponential
    back-off and full jitter, or as long as its `Retry-After` says. What cannot succeed is not repeated: a bad
    request fails at once, a wrong key or an unknown model only sends the request elsewhere; see `Retries`. An engine
    that has just failed is asked last for a while, and one that goes on failing, or hangs, is not asked at all until
    a probe succeeds; see `Breaker`. When that is so for all of them, the one whose next probe is nearest is asked:
    no request fails without an engine having been asked.

    With a deadline the time that is left is shared out over the engines that are left, so that an engine that hangs
    cannot eat all of it. With `hedge`, a second engine is asked beside one that is slow; see `Hedge`.

    When a stream breaks, `on_stream_break` decides. `"resume"`: the text so far goes to an engine whose capabilities
    say that it continues a message, and the stream goes on where it broke; where there is none, as `"restart"`: another
    engine answers from the start, and what was already emitted is matched and not repeated; if the new answer is a
    different one, a `StreamRestarted` comes before its text. `"raise"`: `StreamInterrupted` is raised at once.

    Args:
        engines: Engines with different names, one at least; routers among them are welcome. A `Leg` says more of one.
        strategy: `"latency"`, `"least_busy"`, `"round_robin"`, `"weighted"`, `"priority"` (as given), `"cost"`,
            `"prefix_affinity"`, `"cascade"`; one of their objects where it needs options, or a
            mapping of its `name` and options; or an object of your own.
        retries: How many attempts may follow the first one, `>= 0`, if there are fewer engines than attempts; or by
            class of error, `{RateLimitError: 5, ServerError: 0}`; or all of a `Retries`.
        attempt_timeout_s: Seconds for one attempt (in a stream: to its first chunk), besides the deadline.
        first_chunk_timeout_s: In a stream: seconds to its first chunk, in place of `attempt_timeout_s`.
        chunk_timeout_s: In a stream: seconds from one chunk to the next; by default, with a deadline and another engine
            left, half of the time that is left.
        on_stream_break: What to do when a stream breaks in the middle.
        hedge: Ask a second engine beside a slow one: `"p95"`, after a number of seconds, or a `Hedge`.
        breaker: When an engine is taken out for a while, and when it is tried again; by default as `Breaker` says.
        fallbacks: Engine -> engines to go to when it fails, in that order, before any other:
            `{"small": ["large", "other"]}`.
        limits: How much may be asked of the router, or through it of its engines; see `Limit`.
        limit_store: Where limits are counted: in this process, or for many together in a `RedisLimits` of
            `llmops_sdk.routers.redis`, which is closed with the router.
        limit_wait_s: Longest wait for room, seconds, whatever the deadline; `>= 0`.
        prices: Prices of models, unless the pipeline has its own; by default the built-in table.
        name: Name of the router in the record.

    Attributes:
        ledger: What its attempts have cost.
    """

    routes = True
    provider = "router"
    model: str | None = None

    def __init__(
        self,
        engines: Sequence[Any],
        /,
        *,
        strategy: str | Mapping[str, Any] | Strategy = "latency",
        retries: int | Retries | Mapping[type[BaseException], Rule] = 2,
        attempt_timeout_s: float | None = None,
        first_chunk_timeout_s: float | None = None,
        chunk_timeout_s: float | None = None,
        on_stream_break: OnStreamBreak = "resume",
        hedge: Hedge | Literal["p95"] | float | None = None,
        breaker: Breaker | None = None,
        fallbacks: Mapping[str, Sequence[str]] | None = None,
        limits: Limit | Sequence[Limit] = (),
        limit_store: LimitStore | None = None,
        limit_wait_s: float = 120.0,
        prices: PriceTable | None = None,
        name: str = "router",
    ) -> None:
        if not isinstance(name, str) or not name:
            raise ConfigurationError(f"`name` is the router's name in the record, a text, not {name!r}")
        if prices is not None and not isinstance(prices, PriceTable):
            raise ConfigurationError(f"`prices` is a `PriceTable`, not {prices!r}")
        self.name = name
        self.ledger = Ledger()
        self._prices = prices or PriceTable.default()
        self._reloading = threading.Lock()
        self._retired = Retired(lambda: self._table)
        self._table = Table.of(
            engines,
            self.ledger,
            Limits(limit_store, wait_s=limit_wait_s),
            strategy=strategy,
            retries=retries,
            attempt_timeout_s=attempt_timeout_s,
            first_chunk_timeout_s=first_chunk_timeout_s,
            chunk_timeout_s=chunk_timeout_s,
            on_stream_break=on_stream_break,
            hedge=hedge,
            breaker=breaker,
            fallbacks=fallbacks,
            limits=limits,
        )

    @property
    def engines(self) -> tuple[Any, ...]:
        """The engines, as given."""
        return tuple(leg.engine for leg in self._table.legs)

    @property
    def legs(self) -> tuple[Leg, ...]:
        """The engines with what is known of them."""
        return self._table.legs

    @property
    def prices(self) -> PriceTable:
        """Prices of models, for pipelines that have none of their own."""
        return self._prices

    @property
    def concurrency(self) -> int:
        """How many requests are worth having under way at once: as many as for all engines together."""
        return sum(int(getattr(leg.engine, "concurrency", None) or 64) for leg in self._table.legs)

    @property
    def capabilities(self) -> Capabilities:
        """What one of the engines can, for routers of routers."""
        return together(self.legs)

    def configuration(self) -> dict[str, Any]:
        """See `Engine.configuration`. Of its engines it holds what it was told of them."""
        _, given = self._made_with
        told = {leg.name: leg.options() for leg in self.legs}
        return {name: one for name, one in given.items() if name not in _NOT_ANSWERED_BY} | {"engines": told}

    def route(self, request: str | Message | Sequence[Message] | Request, /) -> Route:
        """The order in which the engines would be tried for `request`, and why.

        Nothing is sent, and nothing changes: no turn is taken, no room reserved. A strategy that draws by chance may
        draw something else the next time.
        """
        asked, call = self._bound(Request.of(request))
        return route_of(self._table, asked, call)

    async def agenerate(self, request: Request, /) -> Response:
        """Ask the engines in order until one answers.

        Raises:
            AllEnginesFailed: None did; `attempts` lists what each one said.
            UnsupportedError, ContextLengthError, BudgetExceeded: No engine can take the request; the message says of
                each one why.
            BadRequestError: The request itself is wrong. (Where only an engine cannot do it, the others are asked.)
            LimitExceeded: All engines are at their limits until after the deadline.
        """
        with Run(self) as table:
            plan, asked, call = self._plan(request, table)
            try:
                return await answered(plan, asked, call)
            finally:
                if asked is not request:
                    asked.unbind()

    async def astream(self, request: Request, /) -> AsyncIterator[Chunk]:
        """Stream from the engines in order until one has finished its answer.

        Raises:
            AllEnginesFailed: None did, and nothing had been emitted.
            StreamInterrupted: The stream broke, and could not be taken up elsewhere.
        """
        with Run(self) as table:
            plan, asked, call = self._plan(request, table)
            try:
                async with contextlib.aclosing(streamed(plan, asked, call)) as chunks:
                    async for chunk in chunks:
                        yield chunk
            finally:
                if asked is not request:
                    asked.unbind()

    @classmethod
    def from_yaml(cls, path: str | PathLike[str], /) -> Self:
        """A router that a file declares; `llmops_sdk.routers.declaration.RouterSpec` is what it may say.

        Raises:
            ConfigurationError: It cannot be read, or something in it is wrong: all of it is listed, each with file,
                line and column, and what to write.
        """
        return _spec_of(path).router_of(cls)

    def reload(self, to: str | PathLike[str] | RouterSpec | Router, /) -> Reloaded:
        """Go by another file (or declaration, or router) from now on, without dropping what is in flight.

        Runs that are under way go on by what they began with. Engines that are in both, under the same name and made in
        the same way, stay: with their connections, with all that was learnt of them, and with their limits used up as
        they are; a new weight, new tags or limits take effect at once. Engines that are not in it any more are closed
        after the last run that began before. What is wrong raises, and changes nothing.

        Any thread may call it. It reads a file and may import libraries, so an app server calls it in a thread:
        `await asyncio.to_thread(router.reload, path)`.

        Args:
            to: A YAML file, a `RouterSpec`, or a router made for this, which is not to be used itself afterwards.

        Raises:
            ConfigurationError: As in `from_yaml`.
        """
        fresh = to if isinstance(to, Router) else _spec_of(to).router()
        if fresh is self:
            raise ConfigurationError("a router cannot take its own place; write `router.reload(Router([...]))`")
        return self._take_over(fresh)

    def _take_over(self, fresh: Router) -> Reloaded:
        """Have all of `fresh` (it cannot fail any more), and keep what is the same of one's own; see `reload`."""
        with self._reloading:
            old, args = self._table, fresh._made_with[1]
            match = Match(old, fresh._table)
            reloaded = match.settle()
            before = self._made_with[1]
            strategy = (
                old.strategy if made_alike(before.get("strategy"), args.get("strategy")) else fresh._table.strategy
            )
            counted = fresh._table.counted
            if made_alike(before.get("limit_store"), args.get("limit_store")):
                counted = old.counted.waiting(counted.wait_s)
            self.name, self._prices = fresh.name, fresh._prices
            self._table = fresh._table.with_legs(match.legs, strategy, counted, args.get("limits", ()))
            self._made_with = (self._table.legs,), args  # a copy is made of what it is now
            take(self._table.all_legs, self.ledger, args.get("breaker"), anew=True)
        self._retired.take(old)
        return reloaded

    async def aembed(self, texts: Sequence[str], /) -> list[list[float]]:
        """Vectors from the first engine, as given, that has embeddings; when it fails, from others of the same model.

        Raises:
            UnsupportedError: No engine has embeddings.
            AllEnginesFailed: Those that have failed.
        """
        with Run(self) as table:
            vectors: list[list[float]] = await first_that_can(table.legs, "aembed", texts)
        return vectors

    async def aclassify(self, texts: Sequence[str], /) -> list[Classification]:
        """What the first engine, as given, says that classifies; when it fails, others of the same model.

        Raises:
            UnsupportedError: No engine classifies.
            AllEnginesFailed: Those that do have failed.
        """
        with Run(self) as table:
            classes: list[Classification] = await first_that_can(table.legs, "aclassify", texts)
        return classes

    async def aclose(self) -> None:
        """Close every engine, the strategy's judge, and the store of limits; idempotent."""
        await self._retired.aclose()
        for part in self._table.closed_with_it:
            close = getattr(part, "aclose", None)
            if close is not None:
                await close()

    def __copy__(self) -> Self:
        # A leg, and a strategy with its turns, belong to one router.
        return copy.deepcopy(self)

    def _bound(self, request: Request) -> tuple[Request, Call]:
        call = request.call
        if call is None:
            call = Call(prices=self._prices)
            request = request.bound_to(call)
        return request, call

    def _plan(self, request: Request, table: Table) -> tuple[Plan, Request, Call]:
        request, call = self._bound(request)
        plan = Plan(self.name, table, request, call)
        plan.record()
        return plan, request, call

    def __repr__(self) -> str:
        return f"<Router {self.name!r} of {', '.join(repr(leg.name) for leg in self._table.legs)}>"


def _spec_of(source: str | PathLike[str] | RouterSpec) -> RouterSpec:
    # By name: only declarations need pydantic.
    kind: type[RouterSpec] = importlib.import_module("llmops_sdk.routers.declaration").RouterSpec
    return kind.from_yaml(source) if isinstance(source, str | PathLike) else kind.model_validate(source)
