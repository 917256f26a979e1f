"""Input guards that read beside the engine: it begins at once, and nothing reaches the caller before their verdict."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Sequence

from llmops_sdk.calls import Call
from llmops_sdk.messages import Chunk, Request, Response
from llmops_sdk.pipelines._guarding import Stationed, guard_input
from llmops_sdk.pipelines._streams import stop
from llmops_sdk.routers import Leg
from llmops_sdk.verdicts import Verdict

__all__ = ["Beside"]

_MOST_CHUNKS = 256
"""Chunks that may wait for the verdict; then the engine waits."""


class Beside:
    """One run in which guards read beside the engine.

    When they rewrite the request, what the engine has begun is stopped, the guards behind them on the line read what
    is left, and the engine is asked anew. When they block, it is stopped.

    Attributes:
        request: The request as the guards let it pass.
        verdicts: Of the guards beside the engine, and of those that have read again.
        blocked: Whether one of them blocks.
    """

    def __init__(
        self,
        guards: Sequence[Stationed],
        behind: Sequence[Stationed],
        leg: Leg,
        request: Request,
        call: Call,
        *,
        again: bool = False,
    ) -> None:
        self._guards = guards
        self._behind = behind
        self._leg = leg
        self._call = call
        self._again = again
        self.request = request
        self.verdicts: list[Verdict] = []
        self.blocked = False

    async def _read(self) -> bool:
        """Whether the engine has to be asked anew, or not at all."""
        before = self.request
        self.request, self.verdicts, self.blocked = await guard_input(
            self._guards, before, self._call, again=self._again
        )
        if self.request is before or self.blocked:
            return self.blocked
        self.request, again, self.blocked = await guard_input(self._behind, self.request, self._call, again=self._again)
        self.verdicts += again
        return True

    async def generate(self) -> Response | None:
        """The engine's answer, `None` when a guard blocks the request."""
        asked = asyncio.ensure_future(self._leg.generate(self.request, self._call, None))
        try:
            if not await self._read():
                return await asked
        finally:
            await stop(asked)
        return None if self.blocked else await self._leg.generate(self.request, self._call, None)

    async def stream(self) -> AsyncGenerator[Chunk, None]:
        """The engine's chunks, the first one not before the verdict; none when a guard blocks the request."""
        waiting: asyncio.Queue[Chunk | None] = asyncio.Queue(_MOST_CHUNKS)

        async def pump() -> None:
            # One task begins and ends the stream: some transports cannot be closed from another one.
            async with contextlib.aclosing(self._leg.stream(self.request, self._call, None)) as chunks:
                async for chunk in chunks:
                    await waiting.put(chunk)

        def ended(_: asyncio.Task[None]) -> None:
            with contextlib.suppress(asyncio.QueueFull):  # then the reader sees for itself that the task is done
                waiting.put_nowait(None)

        pumping = asyncio.get_running_loop().create_task(pump())
        pumping.add_done_callback(ended)
        try:
            anew = await self._read()
            while not anew and not (pumping.done() and waiting.empty()):
                chunk = await waiting.get()
                if chunk is not None:
                    yield chunk
            if not anew:
                pumping.result()
        finally:
            await stop(pumping)
        if anew and not self.blocked:
            async with contextlib.aclosing(self._leg.stream(self.request, self._call, None)) as chunks:
                async for chunk in chunks:
                    yield chunk
