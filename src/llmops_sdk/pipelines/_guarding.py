"""Guards at work: on a request before the engine, on an answer after it, on a stream in between."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from llmops_sdk.calls import Call, GuardChecked
from llmops_sdk.errors import ConfigurationError
from llmops_sdk.loops import in_thread
from llmops_sdk.messages import Choice, ImagePart, Message, Origin, Request, Response, TextPart, ToolCall
from llmops_sdk.protocols import GuardContext, GuardStream, takes_two
from llmops_sdk.verdicts import ALLOW, Action, Stage, Surface, Verdict

__all__ = ["Chain", "Stationed", "guard_input", "guard_output", "skip"]

_SEVERITY = {"allow": 0, "flag": 1, "rewrite": 2, "block": 3}
_ALL: frozenset[Surface] = frozenset({"input", "output", "stream", "tool_calls", "choices", "batch"})


class Stationed:
    """A guard in its place, with everything about it looked up once.

    Attributes:
        guard: The guard.
        name: Its name, unique in the pipeline.
        stage: Whether it stands before the engine or after it.
        slow: Whether its check is `async`, or has to run in a thread.
    """

    __slots__ = (
        "_allow",
        "_check",
        "_is_async",
        "_with_context",
        "covers",
        "guard",
        "name",
        "on_error",
        "slow",
        "stage",
        "waived",
        "window",
    )

    def __init__(self, guard: Any, name: str, stage: Stage) -> None:
        self.guard = guard
        self.name = name
        self.stage: Stage = stage
        self._check = guard.check
        self._with_context = takes_two(guard.check)
        self._is_async = asyncio.iscoroutinefunction(guard.check)
        self.slow = self._is_async or bool(getattr(guard, "blocking", True))
        self.on_error = getattr(guard, "on_error", "block")
        if self.on_error not in ("block", "allow"):
            raise ConfigurationError(f"`on_error` of the guard {name!r} is 'block' or 'allow', not {self.on_error!r}")
        self.covers: frozenset[Surface] = frozenset(getattr(guard, "covers", _ALL))
        self.waived: frozenset[Surface] = frozenset(getattr(guard, "waived", ()))
        self.window: int | None = getattr(guard, "window", None)
        self._allow = Verdict(guard=name, stage=stage)

    def reads(self, surface: Surface) -> bool:
        """Whether the guard is asked about this surface."""
        return surface in self.covers

    def check_now(self, text: str, context: GuardContext) -> Verdict:
        """The verdict of a guard that is not slow."""
        try:
            verdict = self._check(text, context) if self._with_context else self._check(text)
        except Exception as exc:  # noqa: BLE001  (whatever a guard raises is a failure of that guard)
            return self.failed(exc)
        return verdict if isinstance(verdict, Verdict) else self.failed(_no_verdict(verdict))

    async def check(self, text: str, context: GuardContext) -> Verdict:
        """The verdict of any guard."""
        if not self.slow:
            return self.check_now(text, context)
        arguments = (text, context) if self._with_context else (text,)
        try:
            verdict = self._check(*arguments) if self._is_async else await in_thread(lambda: self._check(*arguments))
            if not isinstance(verdict, Verdict) and hasattr(verdict, "__await__"):
                verdict = await verdict
        except Exception as exc:  # noqa: BLE001  (as above)
            return self.failed(exc)
        return verdict if isinstance(verdict, Verdict) else self.failed(_no_verdict(verdict))

    def failed(self, exc: Exception) -> Verdict:
        """The verdict of a guard that broke."""
        action: Action = "block" if self.on_error == "block" else "allow"
        said = f"{type(exc).__name__}: {exc}"
        return Verdict(action=action, reason=f"the guard {self.name!r} broke ({type(exc).__name__})", error=said)

    def allowed(self, call: Call, started: float) -> Verdict:
        """The verdict, recorded, of a guard that found nothing in anything."""
        now = time.perf_counter()
        call.record(GuardChecked(started, now, self.name, self.stage, self._allow, now - started))
        return self._allow

    def merged(self, verdicts: Sequence[Verdict]) -> Verdict:
        """One verdict for all texts that the guard has read at its stage."""
        if verdicts.count(ALLOW) == len(verdicts):
            return self._allow
        if len(verdicts) == 1:
            worst = verdicts[0]
        else:
            worst = max(verdicts, key=lambda verdict: _SEVERITY[verdict.action])
            worst = replace(worst, findings=tuple(finding for verdict in verdicts for finding in verdict.findings))
        return replace(worst, guard=self.name, stage=self.stage)

    def __repr__(self) -> str:
        return f"<{self.stage} guard {self.name!r}>"


def skip(guard: Stationed, why: str) -> Verdict:
    """The verdict of a guard that had nothing to read."""
    return Verdict(guard=guard.name, stage=guard.stage, skipped=why)


def _no_verdict(value: object) -> TypeError:
    return TypeError(f"`check` returned {type(value).__name__}, no Verdict")


def _with_origin(verdict: Verdict, origin: str) -> Verdict:
    if any(not finding.origin for finding in verdict.findings):
        findings = tuple(f if f.origin else replace(f, origin=origin) for f in verdict.findings)
        return replace(verdict, findings=findings)
    return verdict


class _Texts:
    """The texts of one stage, each in its place, as guards read and rewrite them."""

    __slots__ = ("contexts", "texts")

    def __init__(self) -> None:
        self.texts: list[str] = []
        self.contexts: list[GuardContext] = []

    def add(self, text: str, context: GuardContext) -> None:
        self.texts.append(text)
        self.contexts.append(context)


async def _read(guards: Sequence[Stationed], texts: _Texts, call: Call) -> tuple[list[Verdict], Stationed | None]:
    """Let `guards` read and rewrite `texts` in order; stop behind the first one that blocks.

    Guards that take their time and stand side by side work at the same time, on the text as it is. If one of them
    rewrites it, those behind it read again what is left: so the outcome is that of working one after the other.
    """
    verdicts: list[Verdict] = []
    position = 0
    while position < len(guards):
        guard = guards[position]
        started = time.perf_counter()
        if not guard.slow:
            found = [guard.check_now(text, context) for text, context in zip(texts.texts, texts.contexts, strict=True)]
            if found.count(ALLOW) == len(found):  # by identity first: most of the time
                verdict = guard.allowed(call, started)
            else:
                verdict = _take(guard, found, texts, call, started)
            verdicts.append(verdict)
            position += 1
            if verdict.action == "block":
                return verdicts, guard
            continue
        group = [guard]
        while position + len(group) < len(guards) and guards[position + len(group)].slow:
            group.append(guards[position + len(group)])
        checks = [
            [
                asyncio.ensure_future(one.check(text, context))
                for text, context in zip(texts.texts, texts.contexts, strict=True)
            ]
            for one in group
        ]
        try:
            for one, pending in zip(group, checks, strict=True):
                verdict = _take(one, [await check for check in pending], texts, call, started)
                verdicts.append(verdict)
                position += 1
                if verdict.blocked:
                    return verdicts, one
                if verdict.action == "rewrite":
                    break
        finally:
            for pending in checks:
                for check in pending:
                    check.cancel()
    return verdicts, None


def _take(guard: Stationed, found: list[Verdict], texts: _Texts, call: Call, started: float) -> Verdict:
    """Apply what a guard decided about each text; record its verdict."""
    for index, verdict in enumerate(found):
        if verdict.findings:
            found[index] = _with_origin(verdict, texts.contexts[index].origin)
        if verdict.action == "rewrite" and verdict.text is not None and verdict.text != texts.texts[index]:
            texts.texts[index] = verdict.text
            texts.contexts[index] = replace(
                texts.contexts[index], origins=_blurred(texts.contexts[index].origins, verdict.text)
            )
    merged = guard.merged(found)
    now = time.perf_counter()
    call.record(GuardChecked(started, now, guard.name, guard.stage, merged, now - started))
    return merged


def _blurred(origins: tuple[Origin, ...], text: str) -> tuple[Origin, ...]:
    """Where a rewritten text came from: its stretches have moved, so the whole counts as the least trusted of them."""
    untrusted = next((origin for origin in origins if not origin.trusted), None)
    return () if untrusted is None else (replace(untrusted, start=0, end=len(text)),)


async def guard_input(guards: Sequence[Stationed], request: Request, call: Call) -> tuple[Request, list[Verdict], bool]:
    """Let the input's guards read every message: the request that may be sent, the verdicts, whether it is blocked."""
    texts = _Texts()
    places: list[tuple[int, int | None, int | None]] = []  # message, part, tool call
    for m, message in enumerate(request.messages):
        origin = message.role if message.role != "tool" else f"tool:{message.name or message.tool_call_id}"
        context = GuardContext(call=call, stage="input", origin=origin, origins=message.origins, request=request)
        if isinstance(message.content, str):
            texts.add(message.content, context)
            places.append((m, None, None))
        else:
            for p, part in enumerate(message.content):
                if isinstance(part, TextPart):
                    texts.add(part.text, replace(context, origins=()) if message.origins else context)
                    places.append((m, p, None))
        for t, tool in enumerate(message.tool_calls):
            texts.add(tool.arguments, replace(context, origin=f"tool_call:{tool.name}", origins=()))
            places.append((m, None, t))
    before = list(texts.texts)
    verdicts, blocker = await _read(guards, texts, call)
    if blocker is not None:
        return request, verdicts, True
    if texts.texts != before:
        messages = list(request.messages)
        for place, old, new, context in zip(places, before, texts.texts, texts.contexts, strict=True):
            if new != old:
                at, in_part, in_tool = place
                messages[at] = _rewritten(messages[at], in_part, in_tool, new, context.origins)
        request = request.with_messages(messages)
    return request, verdicts, False


def _rewritten(message: Message, part: int | None, tool: int | None, text: str, origins: tuple[Origin, ...]) -> Message:
    if tool is not None:
        calls = list(message.tool_calls)
        calls[tool] = replace(calls[tool], arguments=text)
        return replace(message, tool_calls=tuple(calls))
    if part is None:
        return replace(message, content=text, origins=origins)
    parts: list[TextPart | ImagePart] = list(message.content)  # type: ignore[arg-type]  # it has parts
    parts[part] = TextPart(text=text)
    return replace(message, content=tuple(parts), origins=())


async def guard_output(
    guards: Sequence[Stationed], restoring: Sequence[Stationed], request: Request, response: Response, call: Call
) -> tuple[Response, list[Verdict], bool]:
    """Let the output's guards read every choice and tool call; then put back what input guards had taken out."""
    texts = _Texts()
    for index, choice in enumerate(response.choices):
        context = GuardContext(call=call, stage="output", origin="output", request=request, index=index)
        texts.add(choice.text, context)
        for tool in choice.tool_calls:
            texts.add(tool.arguments, replace(context, origin=f"tool_call:{tool.name}"))
    before = list(texts.texts)
    verdicts, blocker = await _read(guards, texts, call)
    if blocker is not None:
        return response, verdicts, True
    if restoring:
        for index, context in enumerate(texts.contexts):
            texts.texts[index] = _restored(restoring, texts.texts[index], context)
    if texts.texts != before:
        response = replace(response, choices=tuple(_rebuilt(response.choices, texts.texts)))
    return response, verdicts, False


def _restored(restoring: Sequence[Stationed], text: str, context: GuardContext) -> str:
    for guard in reversed(restoring):
        restorer = guard.guard.open_restorer(context)
        if restorer is not None:
            text = restorer.feed(text) + restorer.finish()
    return text


def _rebuilt(choices: tuple[Choice, ...], texts: list[str]) -> list[Choice]:
    fresh = iter(texts)
    rebuilt = []
    for choice in choices:
        text = next(fresh)
        calls = tuple(replace(tool, arguments=next(fresh)) for tool in choice.tool_calls)
        rebuilt.append(replace(choice, text=text, tool_calls=calls))
    return rebuilt


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


class Chain:
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
        opened: GuardStream | None = None
        with contextlib.suppress(AttributeError):  # guards by protocol have only `check`
            opened = guard.guard.open_stream(self._context)
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
        link.stream = _Broken(link.guard.failed(exc))
        return "" if link.stream.verdict.blocked else text

    async def check_tools(self, calls: tuple[ToolCall, ...]) -> tuple[ToolCall, ...] | None:
        """The tool calls that may go on, `None` when a guard blocks one."""
        checked = []
        for tool in calls:
            texts = _Texts()
            texts.add(tool.arguments, replace(self._context, origin=f"tool_call:{tool.name}"))
            for guard in self._guards:
                verdict = _with_origin(await guard.check(texts.texts[0], texts.contexts[0]), texts.contexts[0].origin)
                self._tool_verdicts.setdefault(guard.name, []).append(verdict)
                if verdict.blocked:
                    self.blocked_by = guard
                    return None
                if verdict.action == "rewrite" and verdict.text is not None:
                    texts.texts[0] = verdict.text
            texts.texts[0] = _restored(self._restoring, texts.texts[0], texts.contexts[0])
            checked.append(replace(tool, arguments=texts.texts[0]))
        return tuple(checked)

    def verdicts(self) -> dict[str, tuple[list[Verdict], float, float]]:
        """For each guard: its verdicts on this choice, when it began, and how long it was busy."""
        read: dict[str, tuple[list[Verdict], float, float]] = {}
        by_name = {link.guard.name: link for link in self._links if link.guard is not None}
        for guard in self._guards:
            link = by_name.get(guard.name)
            found = [] if link is None else [_with_origin(link.stream.verdict, "output")]
            found += self._tool_verdicts.get(guard.name, [])
            read[guard.name] = (found, self._started, 0.0 if link is None else link.busy_s)
        return read


class _Broken:
    """What is left of a guard that broke in mid-stream."""

    __slots__ = ("verdict",)

    def __init__(self, verdict: Verdict) -> None:
        self.verdict = verdict

    def feed(self, text: str, /) -> str:
        return text

    def finish(self) -> str:
        return ""
