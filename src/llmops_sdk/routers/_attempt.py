"""One try at an engine: begun and ended, with all that has to be recorded, booked and learnt of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from llmops_sdk.calls import AttemptEnded, AttemptStarted, Call, FirstChunk
from llmops_sdk.costs import Bill, bill_of, hold_budget
from llmops_sdk.errors import (
    BudgetExceeded,
    EngineConnectionError,
    EngineError,
    EngineTimeout,
    LlmopsError,
    StreamInterrupted,
)
from llmops_sdk.messages import Chunk, ChunkJoiner, Request, Response, Usage
from llmops_sdk.routers._circuit import at_fault
from llmops_sdk.routers._limits import Reservation

if TYPE_CHECKING:
    from llmops_sdk.routers._leg import Leg

__all__ = ["Attempt", "typed"]


class Attempt:
    """A try at the engine of a leg, under way from when it is made until `ended` is called.

    A router among the engines records and books its own attempts; of it only the time and the outcome are learnt.

    Raises:
        BudgetExceeded: It does not fit into the run's budget; then nothing has begun.
    """

    __slots__ = (
        "_call",
        "_first_at",
        "_leg",
        "_number",
        "_request",
        "_reservation",
        "_started",
        "_ticket",
        "chunks",
    )

    def __init__(self, leg: Leg, request: Request, call: Call, reservation: Reservation | None) -> None:
        if call.budget_usd is not None and not leg.routes:
            try:
                hold_budget(call, request, leg.price(call), engine=leg.name)
            except BudgetExceeded:
                if reservation is not None:
                    reservation.release()
                raise
        self._leg = leg
        self._request = request
        self._call = call
        self._reservation = reservation
        self._first_at: float | None = None
        self.chunks: int | None = None
        leg.in_flight += 1
        self._started = started = call.clock()
        self._ticket = leg.breaker.begin(started)
        self._number = 0
        if not leg.routes:
            call.attempts += 1
            self._number = call.attempts
            call.record(AttemptStarted(started, leg.name, call.attempts))

    def heard(self, first: Chunk) -> None:
        """The first chunk of a stream came."""
        leg = self._leg
        self._first_at = now = self._call.clock()
        if first.cached:
            leg.breaker.dropped(self._ticket)
        else:
            leg.pace.heard(now - self._started)
            leg.breaker.heard(self._ticket, now)
        if not leg.routes:
            self._call.record(FirstChunk(now, leg.name))

    def ended(self, response: Response | None, error: BaseException | None) -> None:
        """It is over: with an answer, with a part of one and an error, or with an error alone."""
        leg, call = self._leg, self._call
        now = call.clock()
        leg.in_flight -= 1
        cached = response is not None and response.cached
        if cached:
            self._nothing_was_sent()
        else:
            self._learn(response, error, now)
        if leg.routes:
            if self._reservation is not None and not cached:
                self._reservation.settle(None, None)
            return
        bill = bill_of(call, self._request, response, error, asked=leg.model, provider=leg.billed_by)
        call.let_go(self._number)
        if not cached:
            self._book(response, bill, error)
        usage = response.usage if response is not None else None
        call.record(
            AttemptEnded(
                started=self._started,
                at=now,
                engine=leg.name,
                provider=leg.provider,
                number=self._number,
                request=self._request,
                response=response,
                usage=Usage() if cached else usage,
                cost_usd=bill.cost_usd,
                error=error,
                streamed=self.chunks is not None,
                first_chunk_at=self._first_at,
                chunks=self.chunks or 0,
                model=leg.model,
                in_process=leg.in_process,
                cut_off=bill.cut_off,
                estimated_usd=bill.estimated_usd,
            )
        )

    def _nothing_was_sent(self) -> None:
        """A cache has answered: there is nothing to learn of the engine, and its room is free again."""
        if self._reservation is not None:
            self._reservation.release()
        if self._first_at is None:
            self._leg.breaker.dropped(self._ticket)

    def _learn(self, response: Response | None, error: BaseException | None, now: float) -> None:
        leg, started, first_at = self._leg, self._started, self._first_at
        if error is None:
            if first_at is None:
                usage = response.usage if response is not None else None
                leg.pace.answered(now - started, None if usage is None else usage.output_tokens)
                leg.times.add(now - started, first_chunk=False)
            else:
                leg.times.add(first_at - started, first_chunk=True)
        elif first_at is None:
            leg.pace.gave_up(now - started, streamed=self.chunks is not None, failed=at_fault(error))
        leg.breaker.ended(self._ticket, now, error)
        if response is not None and response.rate_limit is not None:
            exhausted_s = response.rate_limit.exhausted_s
            if exhausted_s is not None:
                leg.breaker.rested(now, exhausted_s)

    def _book(self, response: Response | None, bill: Bill, error: BaseException | None) -> None:
        leg, call = self._leg, self._call
        usage, model, rate_limit = (
            (response.usage, response.model, response.rate_limit) if response is not None else (None, None, None)
        )
        call.spend(bill.cost_usd, bill.estimated_usd)
        if self._reservation is not None:
            self._reservation.settle(usage, bill.cost_usd, error=error, rate_limit=rate_limit)
        if leg.ledger is not None:
            leg.ledger.book(
                leg.name,
                model or leg.model,
                usage,
                bill.cost_usd,
                prompt=self._request.prompt,
                tags=call.tags,
                failed=error is not None,
                unpriced=bill.unpriced,
                estimated_usd=bill.estimated_usd,
            )


def typed(leg: Leg, exc: BaseException, limit_s: float | None, begun: ChunkJoiner | None = None) -> BaseException:
    """`exc` as one of our errors; what is no fault of the engine (cancellation, exits) stays as it is.

    Args:
        leg: Whose engine it was.
        exc: What came.
        limit_s: The time limit that was in force.
        begun: What has come of a stream, if anything has.
    """
    if not isinstance(exc, Exception):
        return exc
    if begun is not None and not isinstance(exc, StreamInterrupted):
        said = None
        if isinstance(exc, EngineConnectionError):
            said = str(exc)
        elif isinstance(exc, TimeoutError) and not isinstance(exc, LlmopsError):
            said = f"the engine {leg.name!r} did not go on{_within(limit_s)}"
        if said is not None:
            return StreamInterrupted(
                said, partial_text=begun.text(), usage=begun.usage, engine=leg.name, model=leg.model
            )
    if isinstance(exc, LlmopsError):
        return exc
    if isinstance(exc, TimeoutError):
        return EngineTimeout(
            f"the engine {leg.name!r} did not answer{_within(limit_s)}", engine=leg.name, model=leg.model
        )
    return EngineError(f"the engine {leg.name!r} broke: {type(exc).__name__}: {exc}", engine=leg.name, model=leg.model)


def _within(limit_s: float | None) -> str:
    return "" if limit_s is None else f" within {limit_s:.3g} s"
