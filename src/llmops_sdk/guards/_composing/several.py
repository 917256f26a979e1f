"""Several guards as one: all have to agree, one is enough, or an expensive one is asked where a cheap one is unsure.

What a composition asks is written once, as a generator that yields the checks it wants and gets the verdicts. It is
driven in order where all checks are plain calls, and with checks at the same time where they wait.
"""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable, Generator, Sequence
from dataclasses import replace
from typing import Literal, TypeAlias, Unpack

from llmops_sdk.errors import ConfigurationError
from llmops_sdk.guards._composing.members import Member
from llmops_sdk.guards._guard import Guard, GuardOptions
from llmops_sdk.loops import gather
from llmops_sdk.protocols import GuardContext, GuardLike, GuardStream
from llmops_sdk.verdicts import ALLOW, Finding, Verdict

__all__ = ["all_of", "any_of", "cascade"]

Combine: TypeAlias = Literal["mean", "evidence", "expensive"]
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
        # It leaves unread what all of them do; what one of them does, that one leaves out.
        self.covers = frozenset().union(*(member.covers for member in self._members))  # type: ignore[misc]
        self.waived = frozenset.intersection(*(member.waived for member in self._members))

    @property
    def guards(self) -> tuple[GuardLike, ...]:
        """The guards that it is made of."""
        return tuple(member.guard for member in self._members)

    def prepare(self) -> None:
        """See `Guard.prepare`."""
        for member in self._members:
            member.prepare()

    async def aclose(self) -> None:
        """Close the guards that hold something."""
        for member in self._members:
            await member.aclose()

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
            answers = await gather(_later(member, asked, context) for member, asked in asks)


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
            if decided.severity > worst.severity or (decided.error and not worst.error):
                worst = decided
        findings.sort(key=lambda finding: (finding.start, -finding.end))
        if worst is ALLOW and not findings:
            return ALLOW
        return replace(worst, text=left if worst.action == "rewrite" else None, findings=tuple(findings))

    def open_stream(self, context: GuardContext, /) -> GuardStream | None:
        """The guards at work on one stream, one after the other."""
        if self.window is None:
            return None
        reading = [member for member in self._members if not member.leaves_out(context)]
        return _Chained([member.guard.open_stream(context) for member in reading])


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
        worst = max(verdicts, key=lambda verdict: verdict.severity, default=ALLOW)
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
        return min(found, key=lambda verdict: verdict.severity)


class _Cascade(_Composed):
    name = "cascade"

    def __init__(
        self,
        cheap: Guard,
        expensive: Guard,
        *,
        unsure: tuple[float, float],
        combine: Combine,
        threshold: float,
        options: GuardOptions,
    ) -> None:
        super().__init__((cheap, expensive), options)
        low, high = unsure
        if not 0 <= low < high <= 1:
            raise ConfigurationError(f"unsure={unsure!r}: 0 <= low < high <= 1 is needed")
        if not 0 < threshold <= 1:
            raise ConfigurationError(f"threshold={threshold!r} is not in 0 < threshold <= 1")
        if combine not in _COMBINATIONS:
            raise ConfigurationError(f"combine={combine!r} is not one of {', '.join(map(repr, _COMBINATIONS))}")
        for one in (cheap, expensive):
            if not isinstance(one, Guard):
                raise ConfigurationError(f"{one!r} has no `rate(text)`, so nobody knows how sure it is")
        if self._members[0].waits:
            raise ConfigurationError(f"{cheap!r} has to be awaited; the cheap guard of a cascade is a plain one")
        self.unsure = (low, high)
        self.combine: Combine = combine
        self.threshold: float = threshold
        # What they have found is wanted even where they would not act by themselves: it is the cascade that decides.
        self._tell = tuple(Member(_told(guard)) for guard in (cheap, expensive))

    def _rate_cheap(self, text: str, context: GuardContext | None) -> float:
        rate = self._members[0].guard.rate(text, context)
        assert isinstance(rate, float | int)
        return rate

    def _plan(self, text: str, context: GuardContext | None) -> _Plan:
        low, high = self.unsure
        rate = self._rate_cheap(text, context)
        if rate < low:
            return ALLOW
        if rate >= high:
            (verdict,) = yield [(self._tell[0], text)]
            return _acting(verdict, f"{rate:.2f}")
        (verdict,) = yield [(self._tell[1], text)]
        dear = verdict.score
        both = self._both(rate, dear)
        if both < self.threshold:
            return ALLOW if verdict.error is None else Verdict(error=verdict.error)
        if verdict.action == "allow":  # what was found, the cheap one has found
            (verdict,) = yield [(self._tell[0], text)]
        return _acting(verdict, f"{both:.2f} of {rate:.2f} and {dear:.2f}")

    def _both(self, cheap: float, dear: float) -> float:
        return _COMBINATIONS[self.combine](cheap, dear)

    def rate(self, text: str, context: GuardContext | None = None, /) -> float | Awaitable[float]:
        """The cheap guard's rate where that one is sure, and what the two come to where it is not."""
        low, high = self.unsure
        rate = self._rate_cheap(text, context)
        if not low <= rate < high:
            # Sure is sure: on this side of the threshold, or on that one.
            return min(rate, math.nextafter(self.threshold, 0.0)) if rate < low else max(rate, self.threshold)
        dear = self._members[1].guard.rate(text, context)
        return self._both_later(rate, dear) if isinstance(dear, Awaitable) else self._both(rate, dear)

    async def _both_later(self, cheap: float, dear: Awaitable[float]) -> float:
        return self._both(cheap, await dear)


_COMBINATIONS: dict[str, Callable[[float, float], float]] = {
    "mean": lambda cheap, dear: (cheap + dear) / 2,
    "evidence": lambda cheap, dear: 1 - (1 - cheap) * (1 - dear),
    "expensive": lambda cheap, dear: dear,
}


def _told(guard: Guard) -> Guard:
    return guard if guard.threshold is None else guard.with_threshold(math.ulp(0.0))


def _acting(verdict: Verdict, rates: str) -> Verdict:
    """The verdict of a guard that was asked what it has found, as one that acts."""
    if verdict.action != "allow":
        return verdict
    return Verdict.block(f"cascade, rate {rates}", verdict.findings)


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
    cheap: Guard,
    expensive: Guard,
    /,
    *,
    unsure: tuple[float, float] = (0.2, 0.98),
    combine: Combine = "mean",
    threshold: float = 0.5,
    **options: Unpack[GuardOptions],
) -> Guard:
    """Ask the expensive guard only where the cheap one is unsure.

    Where `cheap.rate(text)` is below the first bound of `unsure` the text passes; from the second bound on the cheap
    guard acts; between them both rates together decide. `calibrate` finds the threshold on your data. Streams wait for
    the whole text.

    Args:
        cheap: A guard with a graded `rate`, whose check is no coroutine.
        expensive: A guard with a `rate`.
        unsure: The two bounds, `0 <= low < high <= 1`. `(0.0, 1.0)` always asks.
        combine: How the two rates become one: `"mean"`; `"evidence"` (either suffices: `1 - (1 - a) * (1 - b)`);
            `"expensive"` (the expensive guard decides alone).
        threshold: Rate of both from which on the text is acted on, `0 < threshold <= 1`.
        options: See `GuardOptions`.

    Example:
        >>> from llmops_sdk.guards import PromptInjection, Regex
        >>> both = cascade(PromptInjection(), Regex(["strange"]), unsure=(0.3, 0.98))
        >>> both.check("What is the weather like?").action
        'allow'
    """
    return _Cascade(cheap, expensive, unsure=unsure, combine=combine, threshold=threshold, options=options)
