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
    """The chunks of a stream, through the output's guards: one chain for each choice."""

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
        self._chains: dict[int, _Chain] = {}
        self._open: set[int] = set()
        self.blocked_by: str | None = None

    def _chain(self, index: int) -> _Chain:
        chain = self._chains.get(index)
        if chain is None:
            chain = _Chain(self._guards, self._restoring, self._request, self._call, index)
            self._chains[index] = chain
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
            self._chain(0)  # an engine that says nothing has said "", and that gets a verdict, too
        for index in sorted(self._open):  # engines that never say why they ended
            text = await self._finish(index)
            if text:
                yield Chunk(text=text, index=index)

    async def _pass(self, chunk: Chunk) -> AsyncGenerator[Chunk, None]:
        chain = self._chain(chunk.index)
        text = await chain.feed(chunk.text) if chunk.text else ""
        calls = chunk.tool_calls
        if chain.blocked_by is None and calls:
            calls = await chain.check_tools(calls) or ()
        if chain.blocked_by is None and chunk.finish_reason is not None:
            text += await self._finish(chunk.index)
        if chain.blocked_by is not None:
            self.blocked_by = chain.blocked_by.name
            if text:
                yield Chunk(text=text, index=chunk.index, model=chunk.model, engine=chunk.engine, id=chunk.id)
        elif text or calls or chunk.finish_reason is not None or chunk.usage is not None:
            yield (
                chunk
                if text == chunk.text and calls is chunk.tool_calls
                else replace(chunk, text=text, tool_calls=calls)
            )

    async def _finish(self, index: int) -> str:
        chain = self._chains[index]
        self._open.discard(index)
        text = await chain.finish()
        if chain.blocked_by is not None:
            self.blocked_by = chain.blocked_by.name
        return text

    def verdicts(self) -> list[Verdict]:
        """The verdict of each guard of the output, recorded."""
        read = [chain.verdicts() for chain in self._chains.values()]
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
    """One guard (or restorer) in the chain of one choice."""

    __slots__ = ("busy_s", "guard", "stream")

    def __init__(self, guard: Stationed | None, stream: GuardStream | _WholeText) -> None:
        self.guard = guard
        self.stream = stream
        self.busy_s = 0.0


class _Chain:
    """The output's guards at work on the stream of one choice, each fed with what the one before it lets pass.

    Attributes:
        blocked_by: The guard that blocked, once one has. What it and those before it had not let pass is gone; what
            it had let pass has gone on through those behind it, and so has been emitted, whatever the cuts.
    """

    __slots__ = ("_context", "_guards", "_links", "_restoring", "_started", "_tool_verdicts", "blocked_by")

    def __init__(
        self, guards: Sequence[Stationed], restoring: Sequence[Stationed], request: Request, call: Call, index: int
    ) -> None:
        self._context = GuardContext(call=call, stage="output", origin="output", request=request, index=index)
        self._guards = guards
        self._restoring = restoring
        self._links = [_Link(guard, self._open(guard)) for guard in guards if guard.reads("stream")]
        for guard in reversed(restoring):
            restorer = guard.guard.open_restorer(self._context)
            if restorer is not None:
                self._links.append(_Link(None, restorer))
        self._started = time.perf_counter()
        self._tool_verdicts: dict[str, list[Verdict]] = {}
        self.blocked_by: Stationed | None = None

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
            text = self._feed(link, text)
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
            fed = self._feed(link, text) if text else ""
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

    def _feed(self, link: _Link, text: str) -> str:
        try:
            return link.stream.feed(text)
        except Exception as exc:  # noqa: BLE001  (a guard that breaks fails as `on_error` says)
            return self._broke(link, text, exc)

    async def _conclude(self, link: _Link) -> str:
        try:
            if isinstance(link.stream, _WholeText):
                return await link.stream.conclude()
            return link.stream.finish()
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
            found = [] if link is None else [with_origin(link.stream.verdict, "output")]
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
