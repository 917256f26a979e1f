"""Several guards as one: all have to agree, one is enough, or a dear one is asked where a cheap one is unsure.

What a composition asks is written once, as a generator that yields the checks it wants and gets the verdicts. It is
driven in order where all checks are plain calls, and with checks at the same time where they wait.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Generator, Sequence
from dataclasses import replace
from typing import TypeAlias, Unpack

from llmops_sdk.errors import ConfigurationError
from llmops_sdk.guards._guard import Guard, GuardOptions
from llmops_sdk.guards._members import Member
from llmops_sdk.protocols import GuardContext, GuardLike, GuardStream
from llmops_sdk.verdicts import ALLOW, Finding, Verdict

__all__ = ["all_of", "any_of", "cascade"]

_SEVERITY = {"allow": 0, "flag": 1, "rewrite": 2, "block": 3}
_Plan: TypeAlias = Generator[Sequence[tuple[Member, str]], list[Verdict], Verdict]


class _Composed(Guard):
    """A guard that asks others. Subclasses write `_plan`."""

    def __init__(self, guards: Sequence[GuardLike], options: GuardOptions) -> None:
        super().__init__(**options)
        if not guards:
            raise ConfigurationError(f"{self.name} needs at least one guard")
        self._members = tuple(Member(guard) for guard in guards)
        self.waits = any(member.waits for member in self._members)
        self.blocking = not self.waits and any(member.blocking for member in self._members)

    @property
    def guards(self) -> tuple[GuardLike, ...]:
        """The guards that it is made of."""
        return tuple(member.guard for member in self._members)

    def prepare(self) -> None:
        """See `Guard.prepare`."""
        for member in self._members:
            member.prepare()

    def _plan(self, text: str, context: GuardContext | None) -> _Plan:
        raise NotImplementedError

    def check(self, text: str, context: GuardContext | None = None, /) -> Verdict | Awaitable[Verdict]:
        """Decide about the whole text. It has to be awaited where one of the guards has."""
        plan = self._plan(text, context)
        if self.waits:
            return self._at_once(plan, context)
        answers: list[Verdict] | None = None
        while True:
            try:
                asks = next(plan) if answers is None else plan.send(answers)
            except StopIteration as done:
                verdict: Verdict = done.value
                return verdict
            answers = [_now(member, asked, context) for member, asked in asks]

    async def _at_once(self, plan: _Plan, context: GuardContext | None) -> Verdict:
        answers: list[Verdict] | None = None
        while True:
            try:
                asks = next(plan) if answers is None else plan.send(answers)
            except StopIteration as done:
                verdict: Verdict = done.value
                return verdict
            answers = await _gathered([_later(member, asked, context) for member, asked in asks])


def _now(member: Member, text: str, context: GuardContext | None) -> Verdict:
    try:
        verdict = member.check(text, context)
    except Exception as exc:  # noqa: BLE001  (as that guard's `on_error` says)
        return member.failed(exc)
    assert isinstance(verdict, Verdict)
    return verdict


async def _later(member: Member, text: str, context: GuardContext | None) -> Verdict:
    try:
        return await member.acheck(text, context)
    except Exception as exc:  # noqa: BLE001  (as that guard's `on_error` says)
        return member.failed(exc)


async def _gathered(checks: Sequence[Awaitable[Verdict]]) -> list[Verdict]:
    """All verdicts; the first failure stops the other checks."""
    tasks = [asyncio.ensure_future(check) for check in checks]
    try:
        return list(await asyncio.gather(*tasks))
    finally:
        for task in tasks:
            task.cancel()


class _AllOf(_Composed):
    name = "all_of"

    def __init__(self, guards: Sequence[GuardLike], options: GuardOptions) -> None:
        super().__init__(guards, options)
        windows = [member.window for member in self._members]
        # Findings name places in the original text, which is lost in a stream behind one that has rewritten it.
        if None not in windows and not any(member.rewrites for member in self._members[:-1]):
            self.window = sum(window for window in windows if window is not None)

    def _plan(self, text: str, context: GuardContext | None) -> _Plan:
        found = yield [(member, text) for member in self._members]
        left = text
        findings: list[Finding] = []
        worst = ALLOW
        for member, verdict in zip(self._members, found, strict=True):
            # What an earlier guard has rewritten is read again; where things stand, the first reading has said.
            decided = verdict if left == text else (yield [(member, left)])[0]
            findings += verdict.findings
            if decided.blocked:
                return replace(decided, findings=verdict.findings or decided.findings)
            if decided.action == "rewrite" and decided.text is not None:
                left = decided.text
            if _SEVERITY[decided.action] > _SEVERITY[worst.action] or (decided.error and not worst.error):
                worst = decided
        findings.sort(key=lambda finding: (finding.start, -finding.end))
        if worst is ALLOW and not findings:
            return ALLOW
        return replace(worst, text=left if worst.action == "rewrite" else None, findings=tuple(findings))

    def open_stream(self, context: GuardContext, /) -> GuardStream | None:
        """The guards at work on one stream, one after the other."""
        if self.window is None:
            return None
        streams = [member.guard.open_stream(context) for member in self._members]
        return _Chained(streams)


class _Chained:
    """Streams of guards of which only the last one may rewrite: each is fed with what the one before lets pass."""

    def __init__(self, streams: Sequence[GuardStream]) -> None:
        self._streams = streams
        self._blocked: Verdict | None = None

    @property
    def verdict(self) -> Verdict:
        """The verdict so far."""
        if self._blocked is not None:
            return self._blocked
        verdicts = [stream.verdict for stream in self._streams]
        worst = max(verdicts, key=lambda verdict: _SEVERITY[verdict.action])
        findings = sorted(
            (finding for verdict in verdicts for finding in verdict.findings),
            key=lambda finding: (finding.start, -finding.end),
        )
        return replace(worst, findings=tuple(findings)) if findings else worst

    async def feed(self, text: str, /) -> str:
        """Take the next piece; return what may be emitted now."""
        return await self._through(0, text, ends=False)

    async def finish(self) -> str:
        """The text has ended: return the rest that may be emitted."""
        return await self._through(0, "", ends=True)

    async def _through(self, first: int, text: str, *, ends: bool) -> str:
        if first == 0 and self._blocked is not None:
            return ""
        for position, stream in enumerate(self._streams[first:], first):
            passed = await _text(stream.feed(text)) if text else ""
            if ends and not stream.verdict.blocked:
                passed += await _text(stream.finish())
            text = passed
            if stream.verdict.blocked and self._blocked is None:
                self._blocked = stream.verdict
                # What it has let pass before goes on, and that is all.
                return await self._through(position + 1, text, ends=True)
        return text


async def _text(fed: str | Awaitable[str]) -> str:
    return fed if isinstance(fed, str) else await fed


class _AnyOf(_Composed):
    name = "any_of"

    def _plan(self, text: str, context: GuardContext | None) -> _Plan:
        found = yield [(member, text) for member in self._members]
        if any(verdict.action == "allow" for verdict in found):
            return ALLOW
        return min(found, key=lambda verdict: _SEVERITY[verdict.action])


class _Cascade(_Composed):
    name = "cascade"

    def __init__(self, cheap: Guard, expensive: GuardLike, unsure: tuple[float, float], options: GuardOptions) -> None:
        super().__init__((cheap, expensive), options)
        low, high = unsure
        if not 0 <= low < high <= 1:
            raise ConfigurationError(f"unsure={unsure!r}: 0 <= low < high <= 1 is needed")
        if not isinstance(cheap, Guard):
            raise ConfigurationError(f"{cheap!r} has no `rate(text)`, so nobody knows where it is unsure")
        if self._members[0].waits:
            raise ConfigurationError(f"{cheap!r} has to be awaited; the cheap guard of a cascade is a plain one")
        self.unsure = (low, high)
        # It acts by itself where it is sure.
        self._sure = Member(cheap if cheap.threshold is None else cheap.with_threshold(high or 1.0))

    def _rate_cheap(self, text: str, context: GuardContext | None) -> float:
        rate = self._members[0].guard.rate(text, context)
        assert isinstance(rate, float | int)
        return rate

    def _plan(self, text: str, context: GuardContext | None) -> _Plan:
        low, high = self.unsure
        rate = self._rate_cheap(text, context)
        if rate < low:
            return ALLOW
        (verdict,) = yield [(self._members[1] if rate < high else self._sure, text)]
        return verdict

    def rate(self, text: str, context: GuardContext | None = None, /) -> float | Awaitable[float]:
        """The cheap guard's rate where that one is sure; between the two bounds it is the dear one's that decides."""
        low, high = self.unsure
        rate = self._rate_cheap(text, context)
        if not low <= rate < high:
            return rate
        dear = self._members[1].guard.rate(text, context)
        return self._between_later(dear) if isinstance(dear, Awaitable) else low + (high - low) * dear

    async def _between_later(self, dear: Awaitable[float]) -> float:
        low, high = self.unsure
        return low + (high - low) * await dear


def all_of(*guards: GuardLike, **options: Unpack[GuardOptions]) -> Guard:
    """Several guards as one: a text passes where all of them let it pass.

    Each reads what the one before it has left; checks that wait run at the same time. Findings name places in the
    original text. Streams flow where every guard can follow them and only the last one may rewrite; else the whole
    text is awaited. (Guards one by one on the line have no such limit, and a verdict each.)

    Example:
        >>> from llmops_sdk.guards import PII, Secrets
        >>> all_of(Secrets(), PII()).check("mail ada@example.org").text
        'mail [EMAIL_1]'
    """
    return _AllOf(guards, options)


def any_of(*guards: GuardLike, **options: Unpack[GuardOptions]) -> Guard:
    """Several guards as one: a text passes where one of them allows it; else the mildest verdict counts.

    Streams wait for the whole text.

    Example:
        >>> from llmops_sdk.guards import Regex
        >>> either = any_of(Regex(["cat"]), Regex(["dog"]))
        >>> either.check("a cat").action, either.check("a cat and a dog").action
        ('allow', 'block')
    """
    return _AnyOf(guards, options)


def cascade(
    cheap: Guard, expensive: GuardLike, /, *, unsure: tuple[float, float] = (0.1, 0.9), **options: Unpack[GuardOptions]
) -> Guard:
    """Ask the expensive guard only where the cheap one is unsure.

    Where `cheap.rate(text)` is below the first bound the text passes; from the second bound on the cheap guard acts;
    between them the expensive guard decides. Streams wait for the whole text.

    Args:
        cheap: A guard with a `rate`, whose check is no coroutine.
        expensive: Any guard.
        unsure: The two bounds, `0 <= low < high <= 1`.
        options: See `GuardOptions`.

    Example:
        >>> from llmops_sdk.guards import PromptInjection, guard
        >>> @guard
        ... def strict(text):
        ...     return Verdict.block("asked")
        >>> cascade(PromptInjection(), strict).check("What is the weather like?").action
        'allow'
    """
    return _Cascade(cheap, expensive, unsure, options)
