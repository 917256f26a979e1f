"""How long a stream may keep its reader waiting."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import TypeVar

__all__ = ["Patience"]

_T = TypeVar("_T")
_SOON_S = 1e-6
"""A timer may come a little early, by the resolution of the loop's clock."""


class Patience:
    """The time limits of one stream. Only waiting counts: a slow reader is no fault of the stream.

    One timer serves the whole stream, since an `asyncio.timeout` for each chunk would cost more than the chunk: when it
    rings it looks how long the present wait has lasted, and is set again.

    Args:
        first_s: Seconds to wait for the first item, `None` for no limit.
        between_s: Seconds to wait for each item after it.

    Attributes:
        limit_s: The limit that holds at present.
    """

    __slots__ = ("_between_s", "_cancelling", "_loop", "_rang", "_since", "_task", "_timer", "limit_s")

    def __init__(self, first_s: float | None, between_s: float | None) -> None:
        self.limit_s = first_s
        self._between_s = between_s
        self._loop = asyncio.get_running_loop()
        self._timer: asyncio.TimerHandle | None = None
        self._task: asyncio.Task[object] | None = None
        self._since = 0.0
        self._rang = False
        self._cancelling = 0

    async def first(self, items: AsyncIterator[_T]) -> _T | None:
        """The first item of a stream, `None` when it has none.

        Raises:
            TimeoutError: It did not come in time.
        """
        item = await self.next(items)
        self.close()
        self.limit_s = self._between_s
        return item

    async def next(self, items: AsyncIterator[_T]) -> _T | None:
        """The next item of a stream, `None` at its end.

        Raises:
            TimeoutError: It did not come in time.
        """
        if self.limit_s is None:
            return await anext(items, None)
        self._since = self._loop.time()
        self._task = task = asyncio.current_task()
        # Before it waits: while it does, the timer of a stream around this one may ring first.
        self._cancelling = task.cancelling() if task is not None else 0
        if self._timer is None:
            self._timer = self._loop.call_at(self._since + self.limit_s, self._ring)
        try:
            return await anext(items, None)
        except asyncio.CancelledError as exc:
            if self._rang and task is not None:
                self._rang = False
                if task.uncancel() <= self._cancelling:  # nobody else wants it cancelled
                    raise TimeoutError from exc
            raise
        finally:
            self._task = None
            if self._rang and task is not None:  # the stream has made something else of its cancellation
                self._rang = False
                task.uncancel()

    def _ring(self) -> None:
        self._timer = None
        task, limit_s = self._task, self.limit_s
        if task is None or limit_s is None:  # nobody waits: the next wait sets the timer again
            return
        end = self._since + limit_s
        if end - self._loop.time() > _SOON_S:
            self._timer = self._loop.call_at(end, self._ring)
            return
        self._rang = True
        task.cancel()

    def close(self) -> None:
        """Stop the timer."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
