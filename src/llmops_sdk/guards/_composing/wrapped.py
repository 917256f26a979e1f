"""A guard that is watched, sampled, remembered or bounded: the same guard, asked in another way."""

from __future__ import annotations

import asyncio
import collections
import hashlib
import random
import threading
import time
from collections.abc import Awaitable
from dataclasses import replace
from typing import Any, Unpack

from llmops_sdk.errors import ConfigurationError, GuardTimeout
from llmops_sdk.guards._composing.members import Member
from llmops_sdk.guards._guard import Guard, GuardOptions
from llmops_sdk.protocols import GuardContext, GuardLike, GuardStream
from llmops_sdk.verdicts import Verdict

__all__ = ["cached", "sample", "shadow", "timed"]


class _Wrapped(Guard):
    """A guard around another one. It has that one's name, and its `on_error` and `mode` unless told otherwise."""

    def __init__(self, guard: GuardLike, options: GuardOptions) -> None:
        member = Member(guard)
        inner = {
            "name": getattr(guard, "name", None) or type(guard).__name__.lower(),
            "on_error": getattr(guard, "on_error", "block"),
            "mode": getattr(guard, "mode", "window"),
            "overlap": getattr(guard, "overlap", False),
        }
        super().__init__(**{**inner, **options})  # type: ignore[arg-type]  # each as `GuardOptions` has it
        self._member = member
        self.waits = member.waits
        self.blocking = member.blocking
        self.window = member.window
        self.covers = getattr(guard, "covers", type(self).covers)  # type: ignore[misc]  # of this guard alone
        self.waived = frozenset(getattr(guard, "waived", ()))

    @property
    def guard(self) -> Any:
        """The guard within."""
        return self._member.guard

    def prepare(self) -> None:
        """See `Guard.prepare`."""
        self._member.prepare()

    async def aclose(self) -> None:
        """Close the guard within, where it holds something."""
        await self._member.aclose()

    def rate(self, text: str, context: GuardContext | None = None, /) -> float | Awaitable[float]:
        """That of the guard within."""
        rate: float | Awaitable[float] = self.guard.rate(text, context)
        return rate

    def open_restorer(self, context: GuardContext, /) -> GuardStream | None:
        """That of the guard within."""
        opened: GuardStream | None = self._open("open_restorer", context)
        return opened

    def _open(self, method: str, context: GuardContext) -> Any:
        opens = getattr(self.guard, method, None)
        return None if opens is None else opens(context)


class _Shadow(_Wrapped):
    def __init__(self, guard: GuardLike, options: GuardOptions) -> None:
        # It neither delays nor stops anything: streams pass it, the engine does not wait for it, and it may break.
        super().__init__(guard, {**options, "mode": "audit", "overlap": True, "on_error": "allow"})
        self.window = None

    def check(self, text: str, context: GuardContext | None = None, /) -> Verdict | Awaitable[Verdict]:
        """What the guard within would do, as a flag."""
        verdict = self._member.check(text, context)
        return _flagged(verdict) if isinstance(verdict, Verdict) else _flagged_later(verdict)

    def open_restorer(self, context: GuardContext, /) -> GuardStream | None:
        """Nothing was taken out, so nothing is put back."""
        return None


def _flagged(verdict: Verdict) -> Verdict:
    if verdict.action in ("allow", "flag"):
        return verdict
    reason = f"shadow: would {verdict.action}" + (f": {verdict.reason}" if verdict.reason else "")
    return replace(verdict, action="flag", text=None, reason=reason)


async def _flagged_later(verdict: Awaitable[Verdict]) -> Verdict:
    return _flagged(await verdict)


class _Sample(_Wrapped):
    def __init__(self, guard: GuardLike, share: float, options: GuardOptions) -> None:
        if not 0 <= share <= 1:
            raise ConfigurationError(f"share={share!r}: a share of the runs, 0 <= share <= 1")
        super().__init__(guard, options)
        self._share = share
        self._skipped = Verdict(skipped=f"not in the sample of {share:.3g} of the runs")

    def _takes(self, context: GuardContext | None) -> bool:
        # One decision a run: its texts belong together, and a run that is done again is decided again.
        drawn = random.random() if context is None else int(context.call.id[:13], 16) / 16**13
        return drawn < self._share

    def check(self, text: str, context: GuardContext | None = None, /) -> Verdict | Awaitable[Verdict]:
        """The guard's verdict if the run is in the sample."""
        return self._member.check(text, context) if self._takes(context) else self._skipped

    def open_stream(self, context: GuardContext, /) -> GuardStream | None:
        """The guard's stream if the run is in the sample; else one that lets everything pass at once."""
        stream: GuardStream | None = (
            self._open("open_stream", context) if self._takes(context) else _Passing(self._skipped)
        )
        return stream

    def open_restorer(self, context: GuardContext, /) -> GuardStream | None:
        """The guard's if the run is in the sample."""
        return super().open_restorer(context) if self._takes(context) else None


class _Passing:
    """A stream that lets everything pass."""

    def __init__(self, verdict: Verdict) -> None:
        self.verdict = verdict

    def feed(self, text: str, /) -> str:
        return text

    def finish(self) -> str:
        return ""


class _Cached(_Wrapped):
    def __init__(self, guard: GuardLike, size: int, ttl_s: float | None, options: GuardOptions) -> None:
        if size < 1 or (ttl_s is not None and not ttl_s > 0):
            raise ConfigurationError(f"size={size!r}, ttl_s={ttl_s!r}: at least one verdict, and a time over 0 seconds")
        if getattr(guard, "restore", False):
            raise ConfigurationError(
                f"{guard!r} keeps true values for one run; a verdict of another run cannot bring them back"
            )
        super().__init__(guard, options)
        self._size, self._ttl_s = size, ttl_s
        self._forget()

    def _forget(self) -> None:
        self._lock = threading.Lock()
        self._verdicts: collections.OrderedDict[bytes, tuple[float, Verdict]] = collections.OrderedDict()

    def check(self, text: str, context: GuardContext | None = None, /) -> Verdict | Awaitable[Verdict]:
        """The verdict on this text, a remembered one if there is one."""
        key = self._key(text, context)
        with self._lock:
            known = self._verdicts.get(key)
            if known is not None and (self._ttl_s is None or time.monotonic() - known[0] < self._ttl_s):
                self._verdicts.move_to_end(key)
                return known[1] if not self.waits else _given(known[1])
        verdict = self._member.check(text, context)
        return self._keep(key, verdict) if isinstance(verdict, Verdict) else self._keep_later(key, verdict)

    def _key(self, text: str, context: GuardContext | None) -> bytes:
        # A digest, so that neither long texts nor what is in them stay in memory.
        where = "" if context is None else f"{context.stage}\0{context.origin}\0{context.origins}"
        return hashlib.blake2b(f"{where}\0\0{text}".encode("utf-8", "surrogatepass"), digest_size=20).digest()

    def _keep(self, key: bytes, verdict: Verdict) -> Verdict:
        with self._lock:
            self._verdicts[key] = (time.monotonic(), verdict)
            self._verdicts.move_to_end(key)
            if len(self._verdicts) > self._size:
                self._verdicts.popitem(last=False)
        return verdict

    async def _keep_later(self, key: bytes, verdict: Awaitable[Verdict]) -> Verdict:
        return self._keep(key, await verdict)

    def open_stream(self, context: GuardContext, /) -> GuardStream | None:
        """The guard's own: what streams in has not been seen before."""
        stream: GuardStream | None = self._open("open_stream", context)
        return stream

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in self.__dict__.items() if name not in ("_lock", "_verdicts")}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._forget()


async def _given(verdict: Verdict) -> Verdict:
    return verdict


class _Timed(_Wrapped):
    def __init__(self, guard: GuardLike, budget_ms: float, options: GuardOptions) -> None:
        if not budget_ms > 0:
            raise ConfigurationError(f"budget_ms={budget_ms!r}: a time over 0 milliseconds")
        super().__init__(guard, options)
        self.budget_ms = budget_ms
        # A check that is not awaited cannot be given up, unless it runs in a thread; so that is where it runs.
        self._member.blocking = not self._member.waits
        self.waits, self.blocking = True, False

    def late(self) -> GuardTimeout:
        """The error for a check that took longer."""
        return GuardTimeout(
            f"the guard {self.name!r} did not decide within {self.budget_ms:g} ms; give it more, make it cheaper, or "
            "let texts pass then by on_error='allow'",
            guard=self.name,
            budget_ms=self.budget_ms,
        )

    async def check(self, text: str, context: GuardContext | None = None, /) -> Verdict:
        """The guard's verdict, if it comes in time.

        Raises:
            GuardTimeout: It does not; a pipeline does then what `on_error` says.
        """
        verdict: Verdict = await self.bounded(self._member.acheck(text, context), self.budget_ms / 1000)
        return verdict

    async def bounded(self, work: Awaitable[Any], seconds: float) -> Any:
        """What `work` gives, within so many seconds."""
        try:
            async with asyncio.timeout(max(seconds, 0.0)) as limit:
                return await work
        except TimeoutError:
            if limit.expired():
                raise self.late() from None
            raise

    def open_stream(self, context: GuardContext, /) -> GuardStream | None:
        """The guard's stream, with one budget for all of it."""
        stream: GuardStream | None = self._open("open_stream", context)
        return None if stream is None else _TimedStream(self, stream)


class _TimedStream:
    """A stream with a budget for the time that it works; waiting for the next piece costs it nothing."""

    def __init__(self, guard: _Timed, stream: GuardStream) -> None:
        self._guard = guard
        self._stream = stream
        self._left_s = guard.budget_ms / 1000

    @property
    def verdict(self) -> Verdict:
        """That of the stream within."""
        return self._stream.verdict

    @property
    def held(self) -> str:
        """What the stream within holds back."""
        held: str = getattr(self._stream, "held", "")
        return held

    def feed(self, text: str, /) -> str | Awaitable[str]:
        """Take the next piece; return what may be emitted now."""
        started = time.perf_counter()
        return self._within(self._stream.feed(text), started)

    def finish(self) -> str | Awaitable[str]:
        """The text has ended: return the rest that may be emitted."""
        started = time.perf_counter()
        return self._within(self._stream.finish(), started)

    def _within(self, fed: str | Awaitable[str], started: float) -> str | Awaitable[str]:
        if not isinstance(fed, str):
            return self._wait(fed)
        self._left_s -= time.perf_counter() - started
        if self._left_s < 0:
            raise self._guard.late()
        return fed

    async def _wait(self, fed: Awaitable[str]) -> str:
        started = time.perf_counter()
        passed: str = await self._guard.bounded(fed, self._left_s)
        self._left_s -= time.perf_counter() - started
        return passed


def shadow(guard: GuardLike, /, **options: Unpack[GuardOptions]) -> Guard:
    """Let a guard run and record what it would do, and change nothing: its verdicts are flags.

    Streams pass it and are judged when they have ended; the engine does not wait for it; if it breaks, texts pass.

    Example:
        >>> from llmops_sdk.guards import Regex
        >>> shadow(Regex(["cat"])).check("a cat").reason
        'shadow: would block: found regex'
    """
    return _Shadow(guard, options)


def sample(guard: GuardLike, share: float, /, **options: Unpack[GuardOptions]) -> Guard:
    """Let a guard read a share of the runs only; the others have a verdict that says they were skipped.

    A run is in the sample or not, with all of its texts.

    Args:
        guard: The guard.
        share: Share of the runs, `0 <= share <= 1`.
        options: See `GuardOptions`.
    """
    return _Sample(guard, share, options)


def cached(
    guard: GuardLike, /, *, size: int = 4096, ttl_s: float | None = None, **options: Unpack[GuardOptions]
) -> Guard:
    """Remember verdicts: the same text in the same place is not checked again.

    For guards whose verdict depends on the text (and its origin) alone. Failures are not remembered; streams are read
    anew. Texts are kept as digests.

    Args:
        guard: The guard.
        size: Most verdicts that are kept; the one not asked for longest goes first.
        ttl_s: Seconds after which a verdict is forgotten; `None` for never.
        options: See `GuardOptions`.
    """
    return _Cached(guard, size, ttl_s, options)


def timed(guard: GuardLike, /, *, budget_ms: float = 50.0, **options: Unpack[GuardOptions]) -> Guard:
    """Give a guard so many milliseconds for a text; one that takes longer has failed, and `on_error` rules.

    A check that cannot be awaited runs in a thread, which is left behind when the time is over. In a stream the time
    that the guard works on all of it counts.
    """
    return _Timed(guard, budget_ms, options)
