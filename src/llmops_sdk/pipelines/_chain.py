"""The guards of the output at work on one text of a stream, each fed with what the one before it lets pass."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Sequence
from dataclasses import replace

from llmops_sdk.calls import ASKER, Call
from llmops_sdk.messages import ToolCall
from llmops_sdk.pipelines._guarding import Stationed, restored, with_origin
from llmops_sdk.protocols import GuardContext, GuardStream
from llmops_sdk.verdicts import Verdict

__all__ = ["Chain"]


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


class _Audited(_WholeText):
    """A guard that only audits: everything passes at once, and is judged when the text has ended."""

    __slots__ = ()

    def feed(self, text: str, /) -> str:
        super().feed(text)
        return text

    async def conclude(self) -> str:
        await super().conclude()
        if self.verdict.action == "rewrite":  # too late for that
            self.verdict = replace(self.verdict, action="flag", text=None)
        return ""


class _Link:
    """One guard (or restorer) in the chain of one text; `read` is the text that it was given, in pieces."""

    __slots__ = ("busy_s", "guard", "read", "stream")

    def __init__(self, guard: Stationed | None, stream: GuardStream | _WholeText) -> None:
        self.guard = guard
        self.stream = stream
        self.read: list[str] = []
        self.busy_s = 0.0

    async def named(self, work: Awaitable[str], call: Call) -> str:
        """Await what the guard does; whatever it asks an engine for is asked in its name."""
        before = ASKER.get()
        ASKER.set("" if self.guard is None else self.guard.name)
        try:
            with call.inside():
                return await work
        finally:
            ASKER.set(before)


class Chain:
    """The output's guards at work on one text of a stream, each fed with what the one before it lets pass.

    Attributes:
        blocked_by: The guard that blocked, once one has. What it and those before it had not let pass is gone; what
            it had let pass has gone on through those behind it, and so has been emitted, whatever the cuts.
        untold: Names of the guards that acted without saying where they had found something.
        put_back: Names and arguments of tools with true values in them, and what they were before.
    """

    __slots__ = (
        "_context",
        "_guards",
        "_links",
        "_restoring",
        "_started",
        "_tool_verdicts",
        "blocked_by",
        "put_back",
        "untold",
    )

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
        self._started = context.call.clock()
        self._tool_verdicts: dict[str, list[Verdict]] = {}
        self.blocked_by: Stationed | None = None
        self.put_back: dict[str, str] = {}
        self.untold: set[str] = set()

    @property
    def holds(self) -> bool:
        """Whether anything here may change the text or hold it back."""
        return bool(self._links)

    def _open(self, guard: Stationed) -> GuardStream | _WholeText:
        if guard.mode != "window":
            whole = _Audited if guard.mode == "audit" else _WholeText
            return whole(guard, self._context)
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
        link.read.append(text)
        try:
            fed = link.stream.feed(text)
            return fed if isinstance(fed, str) else await link.named(fed, self._context.call)
        except Exception as exc:  # noqa: BLE001  (a guard that breaks fails as `on_error` says)
            return self._broke(link, text, exc)

    async def _conclude(self, link: _Link) -> str:
        try:
            if isinstance(link.stream, _WholeText):
                return await link.stream.conclude()
            finished = link.stream.finish()
            return finished if isinstance(finished, str) else await link.named(finished, self._context.call)
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
            name = await self._check_tool_text(tool.name, replace(self._context, origin="tool_name"))
            if name is None:
                return None
            arguments = await self._check_tool_text(
                tool.arguments, replace(self._context, origin=f"tool_call:{tool.name}")
            )
            if arguments is None:
                return None
            checked.append(replace(tool, name=name, arguments=arguments))
        return tuple(checked)

    async def _check_tool_text(self, text: str, context: GuardContext) -> str | None:
        """What may go on of a tool's name or arguments, `None` when a guard blocks it."""
        for guard in self._guards:
            verdict = with_origin(await guard.check(text, context), context)
            self._note(guard, text, verdict)
            self._tool_verdicts.setdefault(guard.name, []).append(verdict)
            if verdict.blocked:
                self.blocked_by = guard
                return None
            if verdict.action == "rewrite" and verdict.text is not None:
                text = verdict.text
        whole = restored(self._restoring, text, context)
        if whole != text:
            self.put_back[whole] = text
        return whole

    def unrestored(self) -> str | None:
        """The text before true values were put back; `None` where there is nobody to put any back."""
        first = next((link for link in self._links if link.guard is None), None)
        return None if first is None else "".join(first.read)

    def _note(self, guard: Stationed, text: str, verdict: Verdict) -> None:
        if (verdict.findings or verdict.action != "allow") and not self._context.call.note_found(text, verdict):
            self.untold.add(guard.name)

    def verdicts(self) -> dict[str, tuple[list[Verdict], float, float]]:
        """For each guard: its verdicts on this choice, when it began, and how long it was busy."""
        read: dict[str, tuple[list[Verdict], float, float]] = {}
        by_name = {link.guard.name: link for link in self._links if link.guard is not None}
        for guard in self._guards:
            link = by_name.get(guard.name)
            found = [] if link is None else [with_origin(link.stream.verdict, self._context)]
            if link is not None:
                self._note(guard, "".join(link.read), link.stream.verdict)
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
