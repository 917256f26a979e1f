"""Guards at work on whole texts: on a request before the engine, and on an answer after it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, NamedTuple, get_args

from llmops_sdk.calls import ASKER, Call, GuardChecked
from llmops_sdk.errors import ConfigurationError
from llmops_sdk.loops import in_thread
from llmops_sdk.messages import Choice, ImagePart, Message, Origin, Request, Response, TextPart
from llmops_sdk.protocols import GuardContext, left_out, takes_two
from llmops_sdk.verdicts import ALLOW, Action, Finding, Stage, Surface, Verdict

__all__ = [
    "Guarded",
    "Stationed",
    "Texts",
    "guard_input",
    "guard_output",
    "let_stay",
    "restored",
    "skip",
    "unquoting",
    "with_origin",
]

_ALL: frozenset[Surface] = frozenset(get_args(Surface))
_LONG = 20_000
"""Characters of a text from which on no check is quick enough for the event loop."""


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
        "_read",
        "_with_context",
        "covers",
        "guard",
        "mode",
        "name",
        "on_error",
        "overlap",
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
        self._is_async = asyncio.iscoroutinefunction(guard.check) or bool(getattr(guard, "waits", False))
        self.slow = self._is_async or bool(getattr(guard, "blocking", True))
        self.on_error = getattr(guard, "on_error", "block")
        if self.on_error not in ("block", "allow"):
            raise ConfigurationError(f"`on_error` of the guard {name!r} is 'block' or 'allow', not {self.on_error!r}")
        self.covers: frozenset[Surface] = frozenset(getattr(guard, "covers", _ALL))
        self.waived: frozenset[Surface] = frozenset(getattr(guard, "waived", ()))
        self._read = self.covers - self.waived
        self.window: int | None = getattr(guard, "window", None)
        self.mode = getattr(guard, "mode", "window")
        if self.mode not in ("window", "buffer", "audit"):
            raise ConfigurationError(
                f"`mode` of the guard {name!r} is 'window', 'buffer' or 'audit', not {self.mode!r}"
            )
        self.overlap = bool(getattr(guard, "overlap", False))
        if hasattr(guard, "prepare"):  # guards by protocol have only `check`
            guard.prepare()
        self._allow = Verdict(guard=name, stage=stage)

    def reads(self, surface: Surface) -> bool:
        """Whether the guard is asked about this surface."""
        return surface in self._read

    def leaves_out(self, context: GuardContext) -> bool:
        """Whether the text belongs to a surface that stays unread, because that was waived by name."""
        return bool(self.waived) and left_out(self._read, context)

    def _without_documents(self, verdict: Verdict, context: GuardContext) -> Verdict:
        """`verdict`, unless all that it rests on lies in documents, and these stay unread by name."""
        if verdict.findings and all(_in_document(finding, context.origins) for finding in verdict.findings):
            return ALLOW
        return verdict

    def check_now(self, text: str, context: GuardContext) -> Verdict:
        """The verdict of a guard that is not slow."""
        if self.leaves_out(context):
            return ALLOW
        try:
            verdict = self._check(text, context) if self._with_context else self._check(text)
        except Exception as exc:  # noqa: BLE001  (whatever a guard raises is a failure of that guard)
            return self.failed(exc)
        return self._decided(verdict, context)

    async def check(self, text: str, context: GuardContext) -> Verdict:
        """The verdict of any guard."""
        if not self.slow and len(text) <= _LONG:
            return self.check_now(text, context)
        if self.leaves_out(context):
            return ALLOW
        arguments = (text, context) if self._with_context else (text,)
        before = ASKER.get()
        ASKER.set(self.name)
        try:
            with context.call.inside():
                verdict = (
                    self._check(*arguments) if self._is_async else await in_thread(lambda: self._check(*arguments))
                )
                if not isinstance(verdict, Verdict) and hasattr(verdict, "__await__"):
                    verdict = await verdict
        except Exception as exc:  # noqa: BLE001  (as above)
            return self.failed(exc)
        finally:
            ASKER.set(before)
        return self._decided(verdict, context)

    def _decided(self, verdict: object, context: GuardContext) -> Verdict:
        if not isinstance(verdict, Verdict):
            return self.failed(_no_verdict(verdict))
        if self.waived and not self.reads("documents"):
            return self._without_documents(verdict, context)
        return verdict

    def failed(self, exc: Exception) -> Verdict:
        """The verdict of a guard that broke."""
        action: Action = "block" if self.on_error == "block" else "allow"
        said = f"{type(exc).__name__}: {exc}"
        return Verdict(action=action, reason=f"the guard {self.name!r} broke ({type(exc).__name__})", error=said)

    def allowed(self, call: Call, started: float) -> Verdict:
        """The verdict, recorded, of a guard that found nothing in anything."""
        now = call.clock()
        call.record(GuardChecked(started, now, self.name, self.stage, self._allow, now - started))
        return self._allow

    def merged(self, verdicts: Sequence[Verdict]) -> Verdict:
        """One verdict for all texts that the guard has read at its stage."""
        if verdicts.count(ALLOW) == len(verdicts):
            return self._allow
        if len(verdicts) == 1:
            worst = verdicts[0]
        else:
            worst = max(verdicts, key=lambda verdict: verdict.severity)
            worst = replace(worst, findings=tuple(finding for verdict in verdicts for finding in verdict.findings))
        return replace(worst, guard=self.name, stage=self.stage)

    def __repr__(self) -> str:
        return f"<{self.stage} guard {self.name!r}>"


def skip(guard: Stationed, why: str) -> Verdict:
    """The verdict of a guard that had nothing to read."""
    return Verdict(guard=guard.name, stage=guard.stage, skipped=why)


def _no_verdict(value: object) -> TypeError:
    return TypeError(f"`check` returned {type(value).__name__}, no Verdict")


def with_origin(verdict: Verdict, context: GuardContext) -> Verdict:
    """`verdict` with its findings saying where their texts came from, as exactly as is known."""
    known = {"", context.origin} if context.origins else {""}
    if any(finding.origin in known for finding in verdict.findings):
        findings = tuple(
            replace(f, origin=_origin_of(f, context)) if f.origin in known else f for f in verdict.findings
        )
        return replace(verdict, findings=findings)
    return verdict


def _origin_of(finding: Finding, context: GuardContext) -> str:
    """The stretch that the finding lies in or touches, one that nobody vouches for first; else the whole text's."""
    touched = [origin for origin in context.origins if origin.start < finding.end and finding.start < origin.end]
    return min(touched, key=lambda origin: origin.trusted).source if touched else context.origin


def _in_document(finding: Finding, origins: tuple[Origin, ...]) -> bool:
    return any(
        origin.source.startswith("document:") and origin.start <= finding.start and finding.end <= origin.end
        for origin in origins
    )


class Texts:
    """The texts of one stage, each in its place, as guards read and rewrite them."""

    __slots__ = ("_request", "contexts", "texts")

    def __init__(self, request: Callable[[Texts], Request] | None = None) -> None:
        self.texts: list[str] = []
        self.contexts: list[GuardContext] = []
        self._request = request

    def add(self, text: str, context: GuardContext) -> None:
        self.texts.append(text)
        self.contexts.append(context)

    @property
    def any_long(self) -> bool:
        """Whether a text is so long that its checks had better run in a thread."""
        return any(len(text) > _LONG for text in self.texts)

    def rewrite(self, index: int, text: str) -> None:
        """Put `text` in the place of one of the texts."""
        self.texts[index] = text
        origins = _blurred(self.contexts[index].origins, text)
        self.contexts[index] = replace(self.contexts[index], origins=origins)

    def refresh(self) -> None:
        """Show the guards that read next the request as it is by now: what was taken out is out everywhere."""
        if self._request is not None:
            request = self._request(self)
            self.contexts = [replace(context, request=request) for context in self.contexts]


async def _read(guards: Sequence[Stationed], texts: Texts, call: Call) -> tuple[list[Verdict], Stationed | None]:
    """Let `guards` read and rewrite `texts` in order; stop behind the first one that blocks.

    Guards that take their time and stand side by side work at the same time, on the text as it is. If one of them
    rewrites it, those behind it read again what is left: so the outcome is that of working one after the other.
    """
    verdicts: list[Verdict] = []
    position = 0
    while position < len(guards):
        guard = guards[position]
        started = call.clock()
        in_turn = not texts.any_long
        if in_turn and not guard.slow:
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
        while position + len(group) < len(guards) and (guards[position + len(group)].slow or not in_turn):
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


def _take(guard: Stationed, found: list[Verdict], texts: Texts, call: Call, started: float) -> Verdict:
    """Apply what a guard decided about each text; record its verdict."""
    rewritten, told = False, True
    for index, verdict in enumerate(found):
        if verdict.findings or verdict.action != "allow":
            told = call.note_found(texts.texts[index], verdict) and told
        if verdict.findings:
            found[index] = with_origin(verdict, texts.contexts[index])
        if verdict.action == "rewrite" and verdict.text is not None and verdict.text != texts.texts[index]:
            texts.rewrite(index, verdict.text)
            rewritten = True
    if rewritten:
        texts.refresh()
    merged = unquoting(guard.merged(found), call)
    now = call.clock()
    call.record(GuardChecked(started, now, guard.name, guard.stage, merged, now - started, let_stay(found), not told))
    return merged


def unquoting(verdict: Verdict, call: Call) -> Verdict:
    """`verdict`, with a reason and an error that do not quote what was found, whatever the guard has written there."""
    if call.found is None or not (verdict.reason or verdict.error):
        return verdict
    unquoting = call.found.unquoting
    reason = unquoting(verdict.reason)
    error = None if verdict.error is None else unquoting(verdict.error)
    if reason == verdict.reason and error == verdict.error:  # as from our own guards
        return verdict
    return replace(verdict, reason=reason, error=error)


def let_stay(verdicts: Sequence[Verdict]) -> bool:
    """Whether something was found that is still in one of the texts, or one was not read for a guard that broke."""
    return any(
        verdict.action != "rewrite" and bool(verdict.findings or verdict.error or verdict.action != "allow")
        for verdict in verdicts
    )


def _blurred(origins: tuple[Origin, ...], text: str) -> tuple[Origin, ...]:
    """Where a rewritten text came from: its stretches have moved, so the whole counts as the least trusted of them."""
    untrusted = next((origin for origin in origins if not origin.trusted), None)
    return () if untrusted is None else (replace(untrusted, start=0, end=len(text)),)


async def guard_input(
    guards: Sequence[Stationed], request: Request, call: Call, *, again: bool = False
) -> tuple[Request, list[Verdict], bool]:
    """Let the input's guards read every message: the request that may be sent, the verdicts, whether it is blocked.

    `again` tells them that the request is made of what they let pass before.
    """
    places: list[_Place] = []
    before: list[str] = []

    def as_it_is(texts: Texts) -> Request:
        messages = list(request.messages)
        for place, old, new, context in zip(places, before, texts.texts, texts.contexts, strict=True):
            if new != old:
                messages[place.message] = _rewritten(messages[place.message], place, new, context.origins)
        return request.with_messages(messages)

    texts = Texts(as_it_is)
    for m, message in enumerate(request.messages):
        origin = message.role if message.role != "tool" else f"tool:{message.name or message.tool_call_id}"
        context = GuardContext(
            call=call, stage="input", origin=origin, origins=message.origins, request=request, again=again
        )
        if isinstance(message.content, str):
            texts.add(message.content, context)
            places.append(_Place(m))
        else:
            begins = 0
            for p, part in enumerate(message.content):
                if isinstance(part, TextPart):
                    ends = begins + len(part.text)
                    within = _within(message.origins, begins, ends)
                    texts.add(part.text, replace(context, origins=within) if message.origins else context)
                    places.append(_Place(m, part=p))
                    begins = ends
        for t, tool in enumerate(message.tool_calls):
            texts.add(tool.name, replace(context, origin="tool_name", origins=()))
            places.append(_Place(m, tool=t, field="name"))
            texts.add(tool.arguments, replace(context, origin=f"tool_call:{tool.name}", origins=()))
            places.append(_Place(m, tool=t, field="arguments"))
    before += texts.texts
    verdicts, blocker = await _read(guards, texts, call)
    if blocker is not None:
        return request, verdicts, True
    return as_it_is(texts) if texts.texts != before else request, verdicts, False


class _Place(NamedTuple):
    """Where a text of a request stands."""

    message: int
    part: int | None = None
    tool: int | None = None
    field: str = ""


def _rewritten(message: Message, place: _Place, text: str, origins: tuple[Origin, ...]) -> Message:
    if place.tool is not None:
        calls = list(message.tool_calls)
        calls[place.tool] = replace(calls[place.tool], **{place.field: text})
        return replace(message, tool_calls=tuple(calls))
    if place.part is None:
        return replace(message, content=text, origins=origins)
    parts: list[TextPart | ImagePart] = list(message.content)  # type: ignore[arg-type]  # it has parts
    begins, ends = (
        sum(len(part.text) for part in parts[:end] if isinstance(part, TextPart))
        for end in (place.part, place.part + 1)
    )
    parts[place.part] = TextPart(text=text)
    behind = begins + len(text)
    all_origins = (
        *_within(message.origins, 0, begins),
        *(replace(one, start=one.start + begins, end=one.end + begins) for one in origins),
        *(
            replace(one, start=one.start + behind, end=one.end + behind)
            for one in _within(message.origins, ends, len(message.text))
        ),
    )
    return replace(message, content=tuple(parts), origins=all_origins)


def _within(origins: Sequence[Origin], begins: int, ends: int) -> tuple[Origin, ...]:
    """What of the origins lies in a stretch of a text, counted from its beginning; those of images have no length."""
    return tuple(
        replace(one, start=max(one.start, begins) - begins, end=min(one.end, ends) - begins)
        for one in origins
        if one.start < ends and begins < one.end and one.start < one.end
    )


class Guarded(NamedTuple):
    """What has become of an answer; `unrestored` is the answer before true values were put back, if any were."""

    response: Response
    verdicts: list[Verdict]
    blocked: bool
    unrestored: Response | None = None


async def guard_output(
    guards: Sequence[Stationed], restoring: Sequence[Stationed], request: Request, response: Response, call: Call
) -> Guarded:
    """Let the output's guards read all that a model wrote; then put back what input guards had taken out."""
    texts = Texts()
    for index, choice in enumerate(response.choices):
        context = GuardContext(call=call, stage="output", origin="output", request=request, index=index)
        if choice.reasoning:  # in the order in which a stream brings them
            texts.add(choice.reasoning, replace(context, origin="reasoning"))
        texts.add(choice.text, context)
        for tool in choice.tool_calls:
            texts.add(tool.name, replace(context, origin="tool_name"))
            texts.add(tool.arguments, replace(context, origin=f"tool_call:{tool.name}"))
    before = list(texts.texts)
    verdicts, blocker = await _read(guards, texts, call)
    if blocker is not None:
        return Guarded(response, verdicts, blocked=True)
    if texts.texts != before:
        response = replace(response, choices=tuple(_rebuilt(response.choices, texts.texts)))
    if restoring:
        whole = [restored(restoring, text, context) for text, context in zip(texts.texts, texts.contexts, strict=True)]
        if whole != texts.texts:
            again = replace(response, choices=tuple(_rebuilt(response.choices, whole)))
            return Guarded(again, verdicts, blocked=False, unrestored=response)
    return Guarded(response, verdicts, blocked=False)


def restored(restoring: Sequence[Stationed], text: str, context: GuardContext) -> str:
    """`text` with what input guards had taken out put back, the last of them first."""
    for guard in reversed(restoring):
        restorer = guard.guard.open_restorer(context)
        if restorer is not None:
            text = restorer.feed(text) + restorer.finish()  # what it restores it knows: it never waits
    return text


def _rebuilt(choices: tuple[Choice, ...], texts: list[str]) -> list[Choice]:
    fresh = iter(texts)
    rebuilt = []
    for choice in choices:
        reasoning = next(fresh) if choice.reasoning else choice.reasoning
        text = next(fresh)
        calls = tuple(replace(tool, name=next(fresh), arguments=next(fresh)) for tool in choice.tool_calls)
        guarded = replace(choice, text=text, reasoning=reasoning, tool_calls=calls)
        # The tokens spell what was rewritten.
        rebuilt.append(choice if guarded == choice else replace(guarded, logprobs=(), token_ids=()))
    return rebuilt
