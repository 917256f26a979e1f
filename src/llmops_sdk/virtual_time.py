"""An event loop whose clock jumps to the next thing that will happen: hours of waiting pass in no time.

Whatever waits by the loop (`asyncio.sleep`, `asyncio.timeout`, `call_later`) waits in virtual time, and pipelines and
routers tell the time by the same clock. Simulations run on it, and so do tests of deadlines and back-off.
"""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import Coroutine
from contextvars import copy_context
from typing import Any, TypeVar

from llmops_sdk.calls import CLOCK

__all__ = ["VirtualTimeLoop", "run_in_virtual_time"]

_T = TypeVar("_T")
_START_S = 1_000.0  # no moment is 0.0, which stands for "never" in many a record


class VirtualTimeLoop(asyncio.SelectorEventLoop):
    """An event loop in virtual time. Real sockets and threads work on it, but nobody waits for them in virtual time."""

    def __init__(self) -> None:
        self._now = _START_S
        super().__init__(_Jumping(self))

    def time(self) -> float:
        """Virtual seconds."""
        return self._now

    def jump(self, seconds: float) -> None:
        """Let `seconds` pass at once."""
        self._now += seconds


class _Jumping(selectors.DefaultSelector):
    """Looks what is ready, and lets the time pass in place of waiting."""

    def __init__(self, loop: VirtualTimeLoop) -> None:
        super().__init__()
        self._loop = loop

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        if timeout is None:  # nothing will happen by itself, so somebody outside is awaited: a thread, a socket
            return super().select(None)
        # With nothing registered but the loop's own pipe, which only ends a wait, the system has nothing to say: what a
        # thread hands in is in the loop's queue already. Simulations pass here a million times.
        ready = super().select(0) if len(self.get_map()) > 1 else []
        if not ready and timeout > 0:
            self._loop.jump(timeout)
        return ready


def run_in_virtual_time(main: Coroutine[Any, Any, _T]) -> _T:
    """Run `main` to its end on a loop of its own, in virtual time; gives what it returns.

    Example:
        >>> async def wait():
        ...     started = asyncio.get_running_loop().time()
        ...     await asyncio.sleep(3600)
        ...     return asyncio.get_running_loop().time() - started
        >>> run_in_virtual_time(wait())
        3600.0
    """

    def run() -> _T:
        with asyncio.Runner(loop_factory=VirtualTimeLoop) as runner:
            CLOCK.set(runner.get_loop().time)
            return runner.run(main, context=copy_context())

    return copy_context().run(run)
