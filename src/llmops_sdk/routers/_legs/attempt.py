"""One try at an engine: begun and ended, with all that has to be recorded, booked and learnt of it."""

from __future__ import annotations

import asyncio
from array import array
from typing import TYPE_CHECKING

from llmops_sdk.calls import AttemptEnded, AttemptStarted, Call, FirstChunk
from llmops_sdk.costs import Bill, Ledger, LedgerRow, bill_of, hold_budget
from llmops_sdk.errors import (
    BudgetExceeded,
    EngineConnectionError,
    EngineError,
    EngineTimeout,
    LlmopsError,
    StreamInterrupted,
)
from llmops_sdk.messages import Chunk, ChunkJoiner, Request, Response, Usage
from llmops_sdk.routers._legs.circuit import at_fault
from llmops_sdk.routers._limits import Reservation

if TYPE_CHECKING:
    from llmops_sdk.routers._legs.leg import Leg

__all__ = ["MOST_CHUNK_TIMES", "Attempt"]

MOST_CHUNK_TIMES = 16_384
"""Times of one stream's chunks that are kept, 8 bytes each; of a longer stream those of its beginning."""

_DEEPEST = 32  # errors that were made of errors; a chain may be a circle

_NO_TOKENS = Usage()


class Attempt:
    """A try at the engine of a leg, under way from when it is made until `ended` is called.

    A router among the engines records and books its own attempts; of it only the time and the outcome are learnt.

    Raises:
        BudgetExceeded: It does not fit into the run's budget; then nothing has begun.
    """

    __slots__ = (
        "_call",
        "_cancelling",
        "_first_at",
        "_leg",
        "_number",
        "_request",
        "_reservation",
        "_started",
        "_task",
        "_ticket",
        "asked",
        "chunk_times",
        "chunks",
        "inside",
        "spent",
    )

    def __init__(self, leg: Leg, request: Request, call: Call, reservation: Reservation | None) -> None:
        if call.budget_usd is not None and not leg.holds_budget:
            try:
                hold_budget(call, request, leg.price(call), engine=leg.name, holder=self)
            except BaseException:  # also what a price table of the application's own raises
                if reservation is not None:
                    reservation.release()
                raise
        self._leg = leg
        self._request = self.asked = request
        self._call = call
        self._reservation = reservation
        self._task = task = _current_task()
        self._cancelling = 0 if task is None else task.cancelling()
        self._first_at: float | None = None
        self.chunks: int | None = None
        self.chunk_times: array[float] | None = None
        self.spent = Ledger() if leg.routes and reservation is not None else None
        leg.in_flight += 1
        self._started = started = call.clock()
        self._ticket = leg.breaker.begin(started)
        self._number = 0
        if not leg.routes:
            call.attempts += 1
            self._number = call.attempts
            call.record(
                AttemptStarted(started, leg.name, call.attempts, leg.provider, leg.model, leg.in_process, leg.server)
            )
            if call.attempt_traceparent is not None:  # of this attempt: another one may begin beside it
                self.asked = request.asked_by(call.attempt_traceparent, call)
                call.attempt_traceparent = None
        self.inside = call.attempt_surround or call.inside
        call.attempt_surround = None

    def heard(self, first: Chunk) -> None:
        """The first chunk of a stream came."""
        leg = self._leg
        self._first_at = now = self._call.clock()
        self.chunks = 1
        if self.chunk_times is not None:
            self.chunk_times.append(now)
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
        if error is not None:
            call.hide_in_error(error)  # providers like to quote what they were sent
        cached = response.cached if response is not None else isinstance(error, LlmopsError) and error.shared
        unsent = cached or (isinstance(error, BudgetExceeded) and not leg.routes)
        if unsent:
            self._nothing_was_sent()
        else:
            self._learn(response, error, now)
        if leg.routes:
            if self._reservation is not None and self.spent is not None and not unsent:
                self._settle_by(self._reservation, self.spent.total, response, error)
            return
        bill = bill_of(call, self._request, response, error, asked=leg.model, provider=leg.billed_by)
        if call.budget_usd is not None:
            call.let_go(self)
        usage = response.usage if response is not None else None
        if cached:
            usage = _NO_TOKENS
        elif not unsent:
            self._book(response, usage, bill, error)
        call.record(
            AttemptEnded(  # by place: by name it would cost thrice as much
                self._started,
                now,
                leg.name,
                leg.provider,
                self._number,
                self._request,
                response,
                usage,
                bill.cost_usd,
                error,
                self.chunks is not None,  # streamed
                self._first_at,
                self.chunks or 0,
                leg.model,
                leg.in_process,
                bill.cut_off,
                bill.estimated_usd,
                self.chunk_times or (),
            )
        )

    @staticmethod
    def _settle_by(
        reservation: Reservation, spent: LedgerRow, response: Response | None, error: BaseException | None
    ) -> None:
        """Of a router among the engines: what its own attempts took, as far as it is known."""
        usage: Usage | None = Usage(input_tokens=spent.input_tokens, output_tokens=spent.output_tokens)
        if not spent.calls and response is not None:
            usage = response.usage
        elif error is not None and spent.calls and not spent.input_tokens:
            usage = None
        reservation.settle(usage, spent.cost_usd + spent.estimated_usd, error=error)

    def typed(self, exc: BaseException, limit_s: float | None, begun: ChunkJoiner | None = None) -> BaseException:
        """`exc` as one of our errors; what is no fault of the engine (cancellation, exits) stays as it is.

        Args:
            exc: What came.
            limit_s: The time limit that was in force.
            begun: What has come of a stream, if anything has.
        """
        if not isinstance(exc, Exception | asyncio.CancelledError):
            return exc
        if _comes_of_cancellation(exc) and self._is_cancelled():
            # Whatever the engine has made of it, it is no reason to ask another one.
            return exc if isinstance(exc, asyncio.CancelledError) else asyncio.CancelledError()
        leg = self._leg
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
        why = f"{type(exc).__name__}: {exc}" if isinstance(exc, Exception) else "its work was cancelled, and not by us"
        return EngineError(f"the engine {leg.name!r} broke: {why}", engine=leg.name, model=leg.model)

    def _is_cancelled(self) -> bool:
        """Whether our own work is to stop: an engine that is shut down cancels only its own."""
        task = _current_task()
        return task is None or task.cancelling() > (self._cancelling if task is self._task else 0)

    def _nothing_was_sent(self) -> None:
        """A cache has answered, let it wait for an equal request, or had no money to ask: nothing is learnt of it."""
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

    def _book(self, response: Response | None, usage: Usage | None, bill: Bill, error: BaseException | None) -> None:
        leg, call = self._leg, self._call
        cost_usd, _, unpriced, estimated_usd = bill
        call.spend(cost_usd, estimated_usd)
        if self._reservation is not None:
            rate_limit = response.rate_limit if response is not None else None
            self._reservation.settle(usage, cost_usd, error=error, rate_limit=rate_limit)
        if leg.ledger is not None:
            leg.ledger.book(
                leg.name,
                (response.model if response is not None else None) or leg.model,
                usage,
                cost_usd,
                prompt=self._request.prompt,
                tags=call.tags,
                failed=error is not None,
                unpriced=unpriced,
                estimated_usd=estimated_usd,
            )


def _current_task() -> asyncio.Task[object] | None:
    try:
        return asyncio.current_task()
    except RuntimeError:  # whoever drives it is no event loop
        return None


def _comes_of_cancellation(exc: BaseException) -> bool:
    one: BaseException | None = exc
    for _ in range(_DEEPEST):
        if one is None or isinstance(one, asyncio.CancelledError):
            return one is not None
        one = one.__cause__ or one.__context__
    return False


def _within(limit_s: float | None) -> str:
    return "" if limit_s is None else f" within {limit_s:.3g} s"
