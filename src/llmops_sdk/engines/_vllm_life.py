"""The life of an engine that runs vLLM: where it lives, how it starts, and how it ends.

It lives on the event loop that starts it, its *home loop*, and its core in a child process. `llmops_sdk.engines.vllm`
says how it answers.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import gc
import logging
import os
import threading
import weakref
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from llmops_sdk import loops
from llmops_sdk.engines._engine import Engine
from llmops_sdk.engines._orphans import EndWithMe
from llmops_sdk.engines._vllm_request import translated
from llmops_sdk.engines._vllm_start import (
    Clock,
    LaunchOptions,
    Progress,
    TerminalLine,
    VllmParts,
    build,
    check_checkpoint,
    import_vllm,
)
from llmops_sdk.errors import ClosedError, EngineConnectionError

__all__ = ["VllmLife"]

log = logging.getLogger("llmops_sdk")

_DRAIN_S = 1.0
"""Seconds that `aclose` waits for requests in flight to notice that they were aborted."""

_live: weakref.WeakSet[VllmLife] = weakref.WeakSet()


def _disown_in_child() -> None:
    for engine in list(_live):
        engine._disown()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_disown_in_child)


class VllmLife(Engine):
    """An engine whose core is vLLM: it starts when it is first needed, and ends when it is closed.

    Attributes:
        name: Name of the engine.
        model: Path or hub name of the model.
    """

    def __init__(self, model: str, *, name: str, options: LaunchOptions, progress: Progress | bool) -> None:
        self.name = name
        self.model = model
        self._options = options
        self._progress = progress
        self._startup: Mapping[str, float] = MappingProxyType({})
        self._lock = threading.Lock()
        self._home: asyncio.AbstractEventLoop | None = None
        self._starting: asyncio.Task[None] | None = None
        self._core: Any = None
        self._parts: VllmParts | None = None
        self._left_behind: list[Any] = []
        self._watches: list[EndWithMe] = []
        self._closed = False
        self._inherited = False
        self._in_flight: dict[str, int] = {}

    @property
    def startup(self) -> Mapping[str, float]:
        """Where the time of the last start went: step -> seconds, in order; empty before it.

        `import` of vLLM, `configure` (the model's configuration is read), `build` (the core process starts, loads the
        weights and takes the KV cache), `connect` (its first answer), and `wait` if another start in this process
        had to end first.
        """
        return self._startup

    async def astart(self) -> None:
        """Start now instead of with the first request; starts again an engine whose core has died.

        Concurrent calls share one start. The imports, the model's configuration and the core's own start happen on a
        thread; only the first message to the core goes over the event loop, which becomes the engine's home.

        Raises:
            ConfigurationError: vLLM refuses the model or an option.
            EngineDied: The core did not come up.
            MissingDependencyError: vLLM is not installed.
            NotFoundError: There is no such model folder.
            ClosedError: The engine was closed.
        """
        await loops.across(self._started, self._home_loop())

    def start(self) -> None:
        """`astart`, for code without an event loop: the SDK's own loop becomes the engine's home."""
        loops.run_sync(self.astart, method="start()")

    async def aclose(self) -> None:
        """End the core process and give all memory back; requests in flight fail with `ClosedError`. Idempotent."""
        if self._closed:
            return
        self._closed = True
        home = self._home
        if self._inherited or home is None:
            return
        if home is asyncio.get_running_loop() or not home.is_running():
            await self._shut_down()
        else:
            await loops.across(self._shut_down, home)

    def _home_loop(self) -> asyncio.AbstractEventLoop:
        """The loop that the engine lives on; the running one, if it lives nowhere yet."""
        here = asyncio.get_running_loop()
        if self._closed:
            raise ClosedError(f"the engine {self.name!r} was closed; open a new one")
        if self._inherited:
            raise ClosedError(
                f"the engine {self.name!r} was started before this process was forked, and its core answers only the "
                "parent; open a new engine in the child, or fork before the first request"
            )
        with self._lock:
            home = self._home
            if home is not None and home.is_closed():
                if self._core is not None:
                    log.warning("the event loop of the engine %r has ended, so it starts again on another", self.name)
                self._forget_core()
                home = None
            elif home is not None and not home.is_running() and self._core is self._starting is None:
                home = None  # nothing was started there
            if home is None:
                home = self._home = here
                _live.add(self)
        if home is not here and not home.is_running():
            raise EngineConnectionError(
                f"the engine {self.name!r} lives on an event loop that is not running now; start it on one that is, or "
                "close it before its loop stops",
                engine=self.name,
                model=self.model,
            )
        return home

    def _forget_core(self) -> None:
        if self._core is not None:
            self._left_behind.append(self._core)
        self._core = self._starting = None
        self._opened = False
        self._in_flight.clear()

    async def _started(self) -> None:
        """Wait until the engine runs. On the home loop."""
        if self._core is not None:
            if not self._core.errored:
                return
            self._forget_core()
        if self._closed:
            raise ClosedError(f"the engine {self.name!r} was closed; open a new one")
        if self._starting is None:
            self._starting = asyncio.create_task(self._start(), name=f"start {self.name}")
        # One caller that gives up must not stop the start that the others wait for.
        await asyncio.shield(self._starting)

    async def _start(self) -> None:
        progress = self._progress
        clock = Clock((TerminalLine(self.name) if progress else None) if isinstance(progress, bool) else progress)
        given_up = threading.Event()
        try:
            model = await asyncio.to_thread(self._find_model, clock)
            check_checkpoint(model, self._options, engine=self.name)
            parts = await asyncio.to_thread(import_vllm, clock)
            core = await asyncio.to_thread(self._build, parts, model, clock, given_up)
            try:
                await self._connect(parts, core, clock)
            except BaseException:
                await asyncio.to_thread(core.shutdown)
                raise
        finally:
            given_up.set()
            self._starting = None
            self._startup = MappingProxyType(dict(clock.steps))
        clock.ready()

    def _find_model(self, clock: Clock) -> str:
        """The model's path or hub name; `embedded:` makes the folder here."""
        return str(self.model)

    def _build(self, parts: VllmParts, model: str, clock: Clock, given_up: threading.Event) -> Any:
        self._shut_down_left_behind()
        core = build(parts, self._options, model, clock, engine=self.name)
        manager = core.engine_core.resources.engine_manager
        self._watches.append(EndWithMe(process.pid for process in manager.processes))
        if given_up.is_set():  # the event loop ended meanwhile; nobody would ever end the core
            core.shutdown()
            raise ClosedError(f"the start of the engine {self.name!r} was given up")
        return core

    async def _connect(self, parts: VllmParts, core: Any, clock: Clock) -> None:
        if self._closed:
            raise ClosedError(f"the engine {self.name!r} was closed while it started")
        try:
            with clock.step("connect"):
                await core.get_supported_tasks()
        except Exception as exc:  # the core may fail in any way
            raise translated(exc, parts, engine=self.name, model=self.model) from exc
        self._parts = parts
        # Without a limit the renderer counts all tokens of a long prompt; with one it cuts them off and says less.
        self._counting = dataclasses.replace(core.renderer.default_chat_tok_params, max_total_tokens=None)
        self._sampling_defaults = core.model_config.get_diff_sampling_param()
        self._core = core
        self._opened = True

    async def _shut_down(self) -> None:
        at_home = self._home is asyncio.get_running_loop()
        if at_home and self._starting is not None:
            await asyncio.wait([self._starting])
        core, context = self._core, None
        if at_home and core is not None:
            context = core.engine_core.resources.ctx
            with contextlib.suppress(Exception):  # a dead core cannot be told, and need not be
                await core.abort(list(self._in_flight))
            for _ in range(round(_DRAIN_S / 0.01)):
                if not self._in_flight:
                    break
                await asyncio.sleep(0.01)
            if core.output_handler is not None:  # else it logs the end of the core as an error
                core.output_handler.cancel()
        del core
        self._forget_core()
        _live.discard(self)
        await asyncio.to_thread(self._shut_down_left_behind)
        if context is not None:  # vLLM closes its sockets and leaves their context, with its threads, to the collector
            context.destroy(linger=0)

    def _shut_down_left_behind(self) -> None:
        if self._left_behind:
            while self._left_behind:
                self._left_behind.pop().shutdown()
            gc.collect()  # vLLM's objects refer to each other
        while self._watches:
            self._watches.pop().cancel()

    def _disown(self) -> None:
        """In a forked child: leave the parent's core alone, whatever happens to this object."""
        self._lock = threading.Lock()
        self._home = None
        core = self._core
        if core is self._starting is None:  # nothing runs: it may start here
            return
        self._inherited = True
        self._opened = False
        with contextlib.suppress(AttributeError):  # vLLM's own; without them its finalizers complain, no more
            for owner in (core.engine_core, core.engine_core.resources.engine_manager, core.renderer):
                owner._finalizer.detach()
