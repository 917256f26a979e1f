"""The router."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any, Literal

from llmops_sdk.calls import Call
from llmops_sdk.costs import Ledger, PriceTable
from llmops_sdk.engines import Engine
from llmops_sdk.messages import Chunk, Classification, Message, Request, Response
from llmops_sdk.protocols import Capabilities
from llmops_sdk.routers._answering import answered
from llmops_sdk.routers._filters import together
from llmops_sdk.routers._hedging import Hedge
from llmops_sdk.routers._leg import Leg
from llmops_sdk.routers._limits import Limit
from llmops_sdk.routers._plan import Plan
from llmops_sdk.routers._route import Route, route_of
from llmops_sdk.routers._strategies import Strategy
from llmops_sdk.routers._streaming import streamed
from llmops_sdk.routers._table import OnStreamBreak, Table
from llmops_sdk.routers._vectors import first_that_can

__all__ = ["Router"]


class Router(Engine):
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
        engines: Engines with different names, one at least; routers among them are welcome. A `Leg` says more of one.
        strategy: `"latency"`, `"least_busy"`, `"round_robin"`, `"weighted"`, `"priority"` (as given), `"cost"`,
            `"prefix_affinity"`, `"cascade"`; one of their objects where it needs options; or an object of your own.
        retries: How many attempts may follow the first one, `>= 0`, if there are fewer engines than attempts.
        attempt_timeout_s: Seconds for one attempt (in a stream: to its first chunk), besides the deadline.
        first_chunk_timeout_s: In a stream: seconds to its first chunk, in place of `attempt_timeout_s`.
        chunk_timeout_s: In a stream: seconds from one chunk to the next.
        on_stream_break: What to do when a stream breaks in the middle.
        hedge: Ask a second engine beside a slow one: `"p95"`, after a number of seconds, or a `Hedge`.
        fallbacks: Engine -> engines to go to when it fails, in that order, before any other.
        limits: How much may be asked of the router, or through it of its engines; see `Limit`.
        prices: Prices of models, for requests that come without a pipeline; by default the built-in table.
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
        strategy: str | Strategy = "latency",
        retries: int = 2,
        attempt_timeout_s: float | None = None,
        first_chunk_timeout_s: float | None = None,
        chunk_timeout_s: float | None = None,
        on_stream_break: OnStreamBreak = "resume",
        hedge: Hedge | Literal["p95"] | float | None = None,
        fallbacks: Mapping[str, Sequence[str]] | None = None,
        limits: Limit | Sequence[Limit] = (),
        prices: PriceTable | None = None,
        name: str = "router",
    ) -> None:
        self.name = name
        self.ledger = Ledger()
        self._prices = prices or PriceTable.default()
        self._table = Table.of(
            engines,
            self.ledger,
            strategy=strategy,
            retries=retries,
            attempt_timeout_s=attempt_timeout_s,
            first_chunk_timeout_s=first_chunk_timeout_s,
            chunk_timeout_s=chunk_timeout_s,
            on_stream_break=on_stream_break,
            hedge=hedge,
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
    def concurrency(self) -> int:
        """How many requests are worth having under way at once: as many as for all engines together."""
        return sum(int(getattr(leg.engine, "concurrency", None) or 64) for leg in self._table.legs)

    @property
    def capabilities(self) -> Capabilities:
        """What one of the engines can, for routers of routers."""
        return together(self.legs)

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
        plan, request, call = self._plan(request)
        plan.record()
        return await answered(plan, request, call)

    async def astream(self, request: Request, /) -> AsyncIterator[Chunk]:
        """Stream from the engines in order until one has finished its answer.

        Raises:
            AllEnginesFailed: None did, and nothing had been emitted.
            StreamInterrupted: The stream broke, and could not be taken up elsewhere.
        """
        plan, request, call = self._plan(request)
        plan.record()
        async with contextlib.aclosing(streamed(plan, request, call)) as chunks:
            async for chunk in chunks:
                yield chunk

    async def aembed(self, texts: Sequence[str], /) -> list[list[float]]:
        """Vectors from the first engine, as given, that has embeddings; when it fails, from others of the same model.

        Raises:
            UnsupportedError: No engine has embeddings.
            AllEnginesFailed: Those that have failed.
        """
        vectors: list[list[float]] = await first_that_can(self.legs, "aembed", texts)
        return vectors

    async def aclassify(self, texts: Sequence[str], /) -> list[Classification]:
        """What the first engine, as given, says that classifies; when it fails, others of the same model.

        Raises:
            UnsupportedError: No engine classifies.
            AllEnginesFailed: Those that do have failed.
        """
        classes: list[Classification] = await first_that_can(self.legs, "aclassify", texts)
        return classes

    async def aclose(self) -> None:
        """Close every engine, and the strategy's judge; idempotent."""
        for leg in self._table.closed_with_it:
            close = getattr(leg.engine, "aclose", None)
            if close is not None:
                await close()

    def _bound(self, request: Request) -> tuple[Request, Call]:
        call = request.call
        if call is None:
            call = Call(price=self._prices.cost)
            request = request.bound_to(call)
        return request, call

    def _plan(self, request: Request) -> tuple[Plan, Request, Call]:
        request, call = self._bound(request)
        return Plan(self.name, self._table, request, call), request, call

    def __repr__(self) -> str:
        return f"<Router {self.name!r} of {', '.join(repr(leg.name) for leg in self._table.legs)}>"
