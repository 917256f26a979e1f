"""Guards at work on a stream: what they let pass, chunk by chunk, and their verdicts when it has ended."""

from __future__ import annotations

import contextlib
import time
from collections.abc import AsyncGenerator, Sequence
from dataclasses import replace

from llmops_sdk.calls import Call, GuardChecked
from llmops_sdk.messages import Chunk, Request, ToolCall
from llmops_sdk.pipelines._guarding import Stationed, Texts, restored, skip, with_origin
from llmops_sdk.protocols import GuardContext, GuardStream
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
        request: Request,
        call: Call,
    ) -> None:
        self._chunks = chunks
        self._guards = guards
        self._restoring = restoring
        self._request = request
        self._call = call
        self._chains: dict[tuple[int, str], _Chain] = {}
        self._open: set[int] = set()
        self._reads_calls = any(guard.reads("tool_calls") for guard in guards)
        self._blocking: _Chain | None = None
        self.blocked_by: str | None = None

    def _chain(self, index: int, origin: str) -> _Chain:
        chain = self._chains.get((index, origin))
        if chain is None:
            context = GuardContext(call=self._call, stage="output", origin=origin, request=self._request, index=index)
            chain = self._chains[index, origin] = _Chain(self._guards, self._restoring, context)
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
        if text or reasoning or calls or spelt or chunk.finish_reason is not None or chunk.usage is not None:
            if text == chunk.text and reasoning == chunk.reasoning and calls is chunk.tool_calls:
                yield chunk if spelt or not (chunk.logprobs or chunk.token_ids) else _unspelt(chunk)
            else:
                yield replace(_unspelt(chunk), text=text, reasoning=reasoning, tool_calls=calls)

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

    def _note_block(self, chain: _Chain) -> None:
        if chain.blocked_by is not None:
            self.blocked_by = chain.blocked_by.name
            self._blocking = chain

    def verdicts(self) -> list[Verdict]:
        """The verdict of each guard of the output, recorded."""
        chains = [chain for _, chain in sorted(self._chains.items(), key=_place)]
        # How far the other texts had been read when one was blocked depends on how they were cut, too.
        read = [chain.verdicts() for chain in (chains if self._blocking is None else [self._blocking])]
        verdicts = []
        now = time.perf_counter()
        for guard in self._guards:
            parts = [one[guard.name] for one in read]
            if self.blocked_by is not None and guard.name != self.blocked_by:
                # How far the others had read depends on how the text was cut; the verdict must not.
                verdicts.append(skip(guard, f"the stream was blocked by {self.blocked_by!r}"))
                continue
            if not guard.reads("stream") and not any(part for part, _, _ in parts):
                verdicts.append(skip(guard, "streams are waived for it by name"))
                continue
            verdict = guard.merged([found for part, _, _ in parts for found in part])
            started = min((began for _, began, _ in parts), default=now)
            busy = sum(took for _, _, took in parts)
            self._call.record(GuardChecked(started, now, guard.name, "output", verdict, busy))
            verdicts.append(verdict)
        return verdicts


def _place(item: tuple[tuple[int, str], _Chain]) -> tuple[int, bool]:
    """By choice; its reasoning before its text, as in whole answers."""
    (index, origin), _ = item
    return index, origin == "output"


def _unspelt(chunk: Chunk) -> Chunk:
    return replace(chunk, logprobs=(), token_ids=())


class _WholeText:
    """A guard that needs the whole text, in a stream: it holds back everything until the end."""

    __slots__ = ("_guard", "_parts", "context", "verdict")

    def __init__(self, guard: Stationed, context: GuardContext) -> None:
        self._guard = guard
        self._parts: list[str] = []
        self.context = context
        self.verdict = Verdict.allow()

    def feed(self, text: str, /) -> str:
        self._parts.append(text)
        return ""

    async def conclude(self) -> str:
        text = "".join(self._parts)
        self._parts.clear()
        self.verdict = await self._guard.check(text, self.context)
        if self.verdict.blocked:
            return ""
        return self.verdict.text if self.verdict.action == "rewrite" and self.verdict.text is not None else text


class _Link:
    """One guard (or restorer) in the chain of one text."""

    __slots__ = ("busy_s", "guard", "stream")

    def __init__(self, guard: Stationed | None, stream: GuardStream | _WholeText) -> None:
        self.guard = guard
        self.stream = stream
        self.busy_s = 0.0


class _Chain:
    """The output's guards at work on one text of a stream, each fed with what the one before it lets pass.

    Attributes:
        blocked_by: The guard that blocked, once one has. What it and those before it had not let pass is gone; what
            it had let pass has gone on through those behind it, and so has been emitted, whatever the cuts.
    """

    __slots__ = ("_context", "_guards", "_links", "_restoring", "_started", "_tool_verdicts", "blocked_by")

    def __init__(self, guards: Sequence[Stationed], restoring: Sequence[Stationed], context: GuardContext) -> None:
        self._context = context
        self._guards = guards
        self._restoring = restoring
        self._links = [
            _Link(guard, self._open(guard))
            for guard in guards
            if guard.reads("stream") and not guard.leaves_out(context)
        ]
        for guard in reversed(restoring):
            restorer = guard.guard.open_restorer(self._context)
            if restorer is not None:
                self._links.append(_Link(None, restorer))
        self._started = time.perf_counter()
        self._tool_verdicts: dict[str, list[Verdict]] = {}
        self.blocked_by: Stationed | None = None

    @property
    def holds(self) -> bool:
        """Whether anything here may change the text or hold it back."""
        return bool(self._links)

    def _open(self, guard: Stationed) -> GuardStream | _WholeText:
        open_stream = getattr(guard.guard, "open_stream", None)  # guards by protocol have only `check`
        try:
            opened: GuardStream | None = None if open_stream is None else open_stream(self._context)
        except Exception as exc:  # noqa: BLE001  (a guard that breaks fails as `on_error` says)
            return _Broken(guard.failed(exc))
        return _WholeText(guard, self._context) if opened is None else opened

    async def feed(self, text: str) -> str:
        """The next piece of the answer; gives what may be emitted."""
        for position, link in enumerate(self._links):
            started = time.perf_counter()
            text = await self._feed(link, text)
            link.busy_s += time.perf_counter() - started
            if link.stream.verdict.blocked:
                return await self._block(position, text)
            if not text:
                return ""
        return text

    async def finish(self) -> str:
        """The answer has ended; gives the rest that may be emitted."""
        return await self._finish(0, "")

    async def _finish(self, first: int, text: str) -> str:
        for position in range(first, len(self._links)):
            link = self._links[position]
            started = time.perf_counter()
            fed = await self._feed(link, text) if text else ""
            if not link.stream.verdict.blocked:
                fed += await self._conclude(link)
            text = fed
            link.busy_s += time.perf_counter() - started
            if link.stream.verdict.blocked:
                return await self._block(position, text)
        return text

    async def _block(self, position: int, text: str) -> str:
        self.blocked_by = self._links[position].guard
        return await self._finish(position + 1, text)

    async def _feed(self, link: _Link, text: str) -> str:
        try:
            fed = link.stream.feed(text)
            return fed if isinstance(fed, str) else await fed
        except Exception as exc:  # noqa: BLE001  (a guard that breaks fails as `on_error` says)
            return self._broke(link, text, exc)

    async def _conclude(self, link: _Link) -> str:
        try:
            if isinstance(link.stream, _WholeText):
                return await link.stream.conclude()
            finished = link.stream.finish()
            return finished if isinstance(finished, str) else await finished
        except Exception as exc:  # noqa: BLE001  (as above)
            return self._broke(link, "", exc)

    def _broke(self, link: _Link, text: str, exc: Exception) -> str:
        if link.guard is None:
            raise exc
        held = getattr(link.stream, "held", "")
        link.stream = _Broken(link.guard.failed(exc))
        return "" if link.stream.verdict.blocked else held + text

    async def check_tools(self, calls: tuple[ToolCall, ...]) -> tuple[ToolCall, ...] | None:
        """The tool calls that may go on, `None` when a guard blocks one."""
        checked = []
        for tool in calls:
            texts = Texts()
            texts.add(tool.arguments, replace(self._context, origin=f"tool_call:{tool.name}"))
            for guard in self._guards:
                verdict = with_origin(await guard.check(texts.texts[0], texts.contexts[0]), texts.contexts[0].origin)
                self._tool_verdicts.setdefault(guard.name, []).append(verdict)
                if verdict.blocked:
                    self.blocked_by = guard
                    return None
                if verdict.action == "rewrite" and verdict.text is not None:
                    texts.texts[0] = verdict.text
            texts.texts[0] = restored(self._restoring, texts.texts[0], texts.contexts[0])
            checked.append(replace(tool, arguments=texts.texts[0]))
        return tuple(checked)

    def verdicts(self) -> dict[str, tuple[list[Verdict], float, float]]:
        """For each guard: its verdicts on this choice, when it began, and how long it was busy."""
        read: dict[str, tuple[list[Verdict], float, float]] = {}
        by_name = {link.guard.name: link for link in self._links if link.guard is not None}
        for guard in self._guards:
            link = by_name.get(guard.name)
            found = [] if link is None else [with_origin(link.stream.verdict, self._context.origin)]
            found += self._tool_verdicts.get(guard.name, [])
            read[guard.name] = (found, self._started, 0.0 if link is None else link.busy_s)
        return read


class _Broken:
    """What is left of a guard that broke: it lets all pass, or nothing."""

    __slots__ = ("verdict",)

    def __init__(self, verdict: Verdict) -> None:
        self.verdict = verdict

    def feed(self, text: str, /) -> str:
        return "" if self.verdict.blocked else text

    def finish(self) -> str:
        return ""
