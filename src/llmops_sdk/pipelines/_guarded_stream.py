"""Guards at work on a stream: what they let pass, chunk by chunk, and their verdicts when it has ended."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncGenerator, Callable, Sequence
from dataclasses import replace
from typing import Any

from llmops_sdk.calls import Call, GuardChecked
from llmops_sdk.messages import Choice, Chunk, ChunkJoiner, Request, Response, StreamRestarted
from llmops_sdk.pipelines._chain import Chain
from llmops_sdk.pipelines._guarding import Stationed, let_stay, skip, unquoting
from llmops_sdk.protocols import GuardContext
from llmops_sdk.verdicts import Verdict

__all__ = ["GuardedChunks"]


class GuardedChunks:
    """The chunks of a stream, through the output's guards: one chain for each choice, and one for its reasoning.

    The tokens behind a text (`logprobs`, `token_ids`) spell it, also what a guard holds back or takes out. So chunks
    that have passed a guard carry none.
    """

    def __init__(
        self,
        chunks: AsyncGenerator[Chunk, None],
        guards: Sequence[Stationed],
        restoring: Sequence[Stationed],
        request: Callable[[], Request],
        call: Call,
        emitted: Callable[[int], str],
    ) -> None:
        self._chunks = chunks
        self._guards = guards
        self._restoring = restoring
        self._request = request
        self._call = call
        self._emitted = emitted
        self._chains: dict[tuple[int, str], Chain] = {}
        self._before: dict[Any, Any] | None = None
        self._open: set[int] = set()
        self._reads_calls = any(guard.reads("tool_calls") for guard in guards)
        self._blocking: Chain | None = None
        self.blocked_by: str | None = None

    def _chain(self, index: int, origin: str) -> Chain:
        chain = self._chains.get((index, origin))
        if chain is None:
            if self._before is None:
                self._before = _copied(self._call.state)
            context = GuardContext(call=self._call, stage="output", origin=origin, request=self._request(), index=index)
            chain = self._chains[index, origin] = Chain(self._guards, self._restoring, context)
            self._open.add(index)
        return chain

    async def chunks(self) -> AsyncGenerator[Chunk, None]:
        async with contextlib.aclosing(self._chunks):
            async for chunk in self._chunks:
                async for passed in self._pass(chunk):
                    yield passed
                if self.blocked_by is not None:
                    return
        if not self._chains:
            self._chain(0, "output")  # an engine that says nothing has said "", and that gets a verdict, too
        for index in sorted(self._open):  # engines that never say why they ended
            reasoning, text = await self._finish(index)
            if text or reasoning:
                yield Chunk(text=text, index=index, reasoning=reasoning)
            if self.blocked_by is not None:
                return

    async def _pass(self, chunk: Chunk) -> AsyncGenerator[Chunk, None]:
        index = chunk.index
        if isinstance(chunk, StreamRestarted):
            chunk = self._anew(chunk)
        reasoning = await self._feed(index, "reasoning", chunk.reasoning) if chunk.reasoning else ""
        chain = self._chain(index, "output")
        text = await self._feed(index, "output", chunk.text) if chunk.text and self.blocked_by is None else ""
        calls = chunk.tool_calls
        if self.blocked_by is None and calls:
            calls = await chain.check_tools(calls) or ()
            self._note_block(chain)
        if self.blocked_by is None and chunk.finish_reason is not None:
            more_reasoning, more_text = await self._finish(index)
            reasoning, text = reasoning + more_reasoning, text + more_text
        if self.blocked_by is not None:
            if text or reasoning:
                yield Chunk(
                    text=text, index=index, model=chunk.model, engine=chunk.engine, id=chunk.id, reasoning=reasoning
                )
            return
        spelt = (chunk.logprobs or chunk.token_ids) and not self._reads_calls and not chain.holds
        ends = chunk.finish_reason is not None or chunk.usage is not None
        if text or reasoning or calls or spelt or ends or isinstance(chunk, StreamRestarted):
            if text == chunk.text and reasoning == chunk.reasoning and calls is chunk.tool_calls:
                yield chunk if spelt or not (chunk.logprobs or chunk.token_ids) else _unspelt(chunk)
            else:
                yield replace(_unspelt(chunk), text=text, reasoning=reasoning, tool_calls=calls)

    def _anew(self, chunk: StreamRestarted) -> StreamRestarted:
        """A choice begins anew, and so do its guards: what they had found, and what they hold back, goes with it.

        What is withdrawn is what the caller has been shown, not what the engine had written.
        """
        for origin in ("reasoning", "output"):
            self._chains.pop((chunk.index, origin), None)
        if not self._chains:  # choices share what guards know of the run, and another one may go on with it
            self._call.state.clear()
            self._call.state.update(_copied(self._before or {}))
        return replace(chunk, withdrawn=self._emitted(chunk.index))

    async def _feed(self, index: int, origin: str, text: str) -> str:
        chain = self._chain(index, origin)
        passed = await chain.feed(text)
        self._note_block(chain)
        return passed

    async def _finish(self, index: int) -> tuple[str, str]:
        """The choice has ended; gives the rest of its reasoning and of its text that may be emitted."""
        passed = {"reasoning": "", "output": ""}
        self._chain(index, "output")
        for origin in passed:
            chain = self._chains.get((index, origin))
            if chain is not None and self.blocked_by is None:
                passed[origin] = await chain.finish()
                self._note_block(chain)
        self._open.discard(index)
        return passed["reasoning"], passed["output"]

    def _note_block(self, chain: Chain) -> None:
        if chain.blocked_by is not None:
            self.blocked_by = chain.blocked_by.name
            self._blocking = chain

    def verdicts(self) -> list[Verdict]:
        """The verdict of each guard of the output, recorded."""
        chains = [chain for _, chain in sorted(self._chains.items(), key=_place)]
        # How far the other texts had been read when one was blocked depends on how they were cut, too.
        read = [chain.verdicts() for chain in (chains if self._blocking is None else [self._blocking])]
        verdicts = []
        now = self._call.clock()
        for guard in self._guards:
            parts = [one[guard.name] for one in read]
            if self.blocked_by is not None and guard.name != self.blocked_by:
                # How far the others had read depends on how the text was cut; the verdict must not.
                verdicts.append(skip(guard, f"the stream was blocked by {self.blocked_by!r}"))
                continue
            if not guard.reads("stream") and not any(part for part, _, _ in parts):
                verdicts.append(skip(guard, "streams are waived for it by name"))
                continue
            every = [found for part, _, _ in parts for found in part]
            verdict = unquoting(guard.merged(every), self._call)
            started = min((began for _, began, _ in parts), default=now)
            busy = sum(took for _, _, took in parts)
            self._call.record(GuardChecked(started, now, guard.name, "output", verdict, busy, let_stay(every)))
            verdicts.append(verdict)
        return verdicts

    def unrestored(self, response: Response, emitted: ChunkJoiner) -> Response | None:
        """`response`, made of what was `emitted`, before true values were put back; `None` if none were."""
        if not self._restoring:
            return None
        before = tuple(self._before_restoring(index, choice) for index, choice in emitted.choices().items())
        return None if before == response.choices else replace(response, choices=before)

    def _before_restoring(self, index: int, choice: Choice) -> Choice:
        text, reasoning = (self._chains.get((index, origin)) for origin in ("output", "reasoning"))
        said = None if text is None else text.unrestored()
        thought = None if reasoning is None else reasoning.unrestored()
        put_back = {} if text is None else text.put_back
        calls = tuple(
            replace(
                tool,
                name=put_back.get(tool.name, tool.name),
                arguments=put_back.get(tool.arguments, tool.arguments),
            )
            for tool in choice.tool_calls
        )
        return replace(
            choice,
            text=choice.text if said is None else said,
            reasoning=choice.reasoning if thought is None else thought,
            tool_calls=calls,
        )


def _place(item: tuple[tuple[int, str], Chain]) -> tuple[int, bool]:
    """By choice; its reasoning before its text, as in whole answers."""
    (index, origin), _ = item
    return index, origin == "output"


def _copied(state: dict[Any, Any]) -> dict[Any, Any]:
    """What guards know of a run, as it is now: they go on changing it."""
    return {guard: known.copy() if hasattr(known, "copy") else known for guard, known in state.items()}


def _unspelt(chunk: Chunk) -> Chunk:
    return replace(chunk, logprobs=(), token_ids=())
