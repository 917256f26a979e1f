"""A stream that broke: who takes it up, and what is asked of them."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncGenerator
from dataclasses import replace

from llmops_sdk.calls import Call, StreamResumed
from llmops_sdk.errors import (
    AllEnginesFailed,
    BadRequestError,
    BudgetExceeded,
    DeadlineExceeded,
    LimitExceeded,
    StreamInterrupted,
)
from llmops_sdk.messages import Chunk, ChunkJoiner, Message, Request, StreamRestarted
from llmops_sdk.routers._asking.plan import FAILURES, Failure, Plan, Turn
from llmops_sdk.routers._asking.stitching import Ahead, Seam, Stitch
from llmops_sdk.routers._legs.leg import Leg

__all__ = ["Broken", "has_begun", "time_between"]

_NOT_AGAIN = (
    "choice",
    "continue_final_message",
    "grammar",
    "guided_choice",
    "guided_grammar",
    "guided_json",
    "guided_regex",
    "json_object",
    "regex",
    "response_format",
    "structural_tag",
    "structured_outputs",
)
"""What `Request.extra` may hold that shapes a whole answer, and so would begin anew with the rest of one."""


def has_begun(told: ChunkJoiner) -> bool:
    """Whether the caller has been told anything that an answer consists of."""
    return any(one.text or one.reasoning or one.tool_calls or one.finish_reason for one in told.choices().values())


def time_between(plan: Plan, call: Call) -> float | None:
    """Seconds to wait for each chunk: as the table says, else half of what is left, if somebody else could go on."""
    if plan.table.chunk_timeout_s is not None:
        return plan.table.chunk_timeout_s
    remaining = call.remaining_s()
    return max(remaining, 0.0) / 2 if remaining is not None and plan.can_go_on else None


class Broken:
    """A stream that broke after the caller had been told something of it.

    Args:
        plan: Who is left to be asked.
        request: What was asked.
        call: The run.
        told: What the caller has been told; it goes on joining what is told.
    """

    def __init__(self, plan: Plan, request: Request, call: Call, told: ChunkJoiner) -> None:
        self._plan = plan
        self._request = request
        self._call = call
        self._told = told
        self._unable: set[Leg] = set()

    def blame(self, leg: Leg, exc: Failure, *, again: bool = False) -> None:
        """Keep the failure of an engine. `again`: it may be asked another time, whatever it said.

        Raises:
            StreamInterrupted: Nobody is left to take the stream up, or it cannot be taken up.
        """
        if self._is_whole():
            return
        self._plan.note(leg, exc, again=again)
        # What the caller has begun to do for a tool call cannot be taken back.
        called = any(one.tool_calls and not one.finish_reason for one in self._told.choices().values())
        if called or self._plan.table.on_stream_break == "raise" or not self._plan.can_go_on:
            raise self._interrupted(exc) from exc

    async def rest(self) -> AsyncGenerator[Chunk, None]:
        """The rest of the answer.

        Raises:
            StreamInterrupted: Nobody could give it.
        """
        told = self._told
        while not self._is_whole():
            asked = self._continued()
            if asked is not None and asked.max_tokens is not None and asked.max_tokens < 1:
                yield Chunk(finish_reason="length", model=told.model, engine=told.engine, id=told.id)
                return
            leg, timeout_s, reservation = await self._turn(asked)
            resumes = asked is not None and self._continues(leg)
            before = sum(len(one.text) for one in told.choices().values())
            self._call.record(StreamResumed(self._call.clock(), leg.name, "resume" if resumes else "restart", before))
            chunks = leg.stream(
                asked if asked is not None and resumes else self._request,
                self._call,
                timeout_s,
                reservation,
                chunk_timeout_s=time_between(self._plan, self._call),
            )
            stitch: Stitch = Seam(told, self._request) if resumes else Ahead(told)
            try:
                async with contextlib.aclosing(self._stitched(leg, chunks, stitch)) as stitched:
                    async for chunk in stitched:
                        told.add(chunk)
                        yield chunk
                return
            except BudgetExceeded as exc:  # of an engine that is asked again
                raise self._interrupted(exc) from exc
            except FAILURES as exc:
                refused = resumes and isinstance(exc, BadRequestError)
                if refused or before == len(told.text()):  # it got nowhere, and would get nowhere again
                    self._unable.add(leg)
                self.blame(leg, exc, again=refused)

    async def _stitched(
        self, leg: Leg, chunks: AsyncGenerator[Chunk, None], stitch: Stitch
    ) -> AsyncGenerator[Chunk, None]:
        async with contextlib.aclosing(chunks):
            async for chunk in chunks:
                for piece in stitch.take(chunk):
                    self._note_difference(leg, piece, chunk)
                    yield piece
                if stitch.ended:
                    return
        for piece in stitch.finish():
            self._note_difference(leg, piece)
            yield piece

    def _note_difference(self, leg: Leg, piece: Chunk, chunk: Chunk | None = None) -> None:
        """Record that the answer is another one; what a router among the engines withdraws it has recorded itself."""
        if isinstance(piece, StreamRestarted) and not isinstance(chunk, StreamRestarted):
            self._call.record(StreamResumed(self._call.clock(), leg.name, "different", len(piece.withdrawn)))

    async def _turn(self, asked: Request | None) -> Turn:
        """Whose turn it is: of those who can continue the text, if that is what is `asked`, else anybody's."""
        try:
            turn = None if asked is None else await self._plan.next_of(self._continues)
            return turn or await self._plan.next()
        except (AllEnginesFailed, BudgetExceeded, DeadlineExceeded, LimitExceeded) as exc:
            raise self._interrupted(exc) from exc

    def _continues(self, leg: Leg) -> bool:
        return leg.capabilities.continues is True and leg not in self._unable

    def _is_whole(self) -> bool:
        """Whether all choices had ended, so that the break costs nothing but the count of tokens."""
        choices = self._told.choices()
        return len(choices) >= self._request.n and all(one.finish_reason for one in choices.values())

    def _continued(self) -> Request | None:
        """The request for the rest of the answer, `None` where that cannot be had by itself.

        Several choices cannot be continued in one request, and a structure that is imposed on an answer would be
        imposed on its rest.

        White space at the end of the text so far is left out: `Seam` looks after it. Some services refuse it there,
        some templates strip it, and to most models a word begins with the blank before it.

        `max_tokens` is what is left of it, by the tokens that the engine has told (`token_ids`, else `logprobs`), and a
        token for each character of that white space, which is written once more. Where the engine told none, it stays
        as it is, and the joined answer may be longer.
        """
        request, told = self._request, self._told.text()
        text = told.rstrip()
        shaped = request.response_schema is not None or any(name in request.extra for name in _NOT_AGAIN)
        if self._plan.table.on_stream_break != "resume" or request.n != 1 or not text or shaped:
            return None
        messages = (*request.messages, Message.assistant(text))
        if request.continues:
            last = request.messages[-1]
            messages = (*request.messages[:-1], replace(last, content=last.text + text))
        choice = self._told.choices()[0]
        known = len(choice.token_ids) or len(choice.logprobs)
        spent = max(known - (len(told) - len(text)), 0)
        left = None if request.max_tokens is None else request.max_tokens - spent
        return replace(request, messages=messages, continues=True, max_tokens=left)

    def _interrupted(self, exc: Exception) -> StreamInterrupted:
        """The error of a stream that broke for good, with all that the caller has been told."""
        details = {name: getattr(exc, name, None) for name in ("engine", "model", "status_code", "request_id")}
        return StreamInterrupted(
            f"the stream broke for good: {exc}",
            partial_text=self._told.text(),
            usage=self._told.usage,
            **details,
        )
