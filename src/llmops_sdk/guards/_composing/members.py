"""A guard within another one: what a composition has to know of it, looked up once."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from typing import Any

from llmops_sdk.errors import ConfigurationError
from llmops_sdk.guards._guard import ALL_SURFACES
from llmops_sdk.loops import in_thread
from llmops_sdk.protocols import GuardContext, GuardLike, left_out, takes_two
from llmops_sdk.verdicts import ALLOW, Surface, Verdict

__all__ = ["Member"]


class Member:
    """A guard within another one.

    Attributes:
        guard: The guard.
        waits: Whether its check has to be awaited.
        blocking: Whether its check has to run in a thread.
        window: Most characters that it holds back in a stream, `None` where it needs the whole text.
        rewrites: Whether it may rewrite a text, as far as that is known.
        fails_open: Whether a text passes where it breaks.
        covers: The surfaces that it reads.
        waived: Those that stay unread by name.
    """

    __slots__ = ("_read", "_two", "blocking", "covers", "fails_open", "guard", "rewrites", "waits", "waived", "window")

    def __init__(self, guard: GuardLike) -> None:
        if isinstance(guard, type) or not callable(getattr(guard, "check", None)):
            raise ConfigurationError(
                f"{guard!r} is no guard: a guard has `check(text)`; `@guard` makes one of a function"
            )
        self.guard: Any = guard
        self.waits = bool(getattr(guard, "waits", False)) or asyncio.iscoroutinefunction(guard.check)
        self.blocking = not self.waits and bool(getattr(guard, "blocking", True))
        self.window: int | None = getattr(guard, "window", None)
        self.rewrites = getattr(guard, "action", "rewrite") not in ("block", "flag")
        self.fails_open = getattr(guard, "on_error", "block") == "allow"
        self._two = takes_two(guard.check)
        waived = frozenset(getattr(guard, "waived", ()))
        self.covers: frozenset[Surface] = frozenset(getattr(guard, "covers", ALL_SURFACES))
        self.waived: frozenset[Surface] = waived
        self._read = self.covers - waived if waived else None

    def check(self, text: str, context: GuardContext | None) -> Verdict | Awaitable[Verdict]:
        """Its verdict, or an awaitable of it."""
        if context is not None and self.leaves_out(context):
            return ALLOW
        given: Verdict | Awaitable[Verdict] = self.guard.check(text, context) if self._two else self.guard.check(text)
        return given

    def leaves_out(self, context: GuardContext) -> bool:
        """Whether the text belongs to a surface that it leaves unread by name."""
        return self._read is not None and left_out(self._read, context)

    async def acheck(self, text: str, context: GuardContext | None) -> Verdict:
        """Its verdict; a check that takes its time runs in a thread."""
        if self.blocking:
            given = await in_thread(lambda: self.check(text, context))
        else:
            given = self.check(text, context)
        return given if isinstance(given, Verdict) else await given

    def failed(self, exc: Exception) -> Verdict:
        """Its verdict when it broke and a text passes then; else raises."""
        if not self.fails_open:
            raise exc
        return Verdict(error=f"{type(exc).__name__}: {exc}")

    async def aclose(self) -> None:
        """Close it, where it holds something."""
        close = getattr(self.guard, "aclose", None)
        if close is not None:
            await close()

    def prepare(self) -> None:
        """See `Guard.prepare`; guards by protocol need not have it."""
        prepare = getattr(self.guard, "prepare", None)
        if prepare is not None:
            prepare()

    def __reduce__(self) -> tuple[type[Member], tuple[Any]]:
        return Member, (self.guard,)

    def __deepcopy__(self, memo: dict[int, Any]) -> Member:
        return Member(self.guard)
