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
import shutil
import threading
import time
import traceback
import weakref
from collections.abc import Coroutine, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

from llmops_sdk import loops
from llmops_sdk.engines._engine import Engine
from llmops_sdk.engines._orphans import EndWithMe
from llmops_sdk.engines._vllm_admission import Admission
from llmops_sdk.engines._vllm_load import LoadMeter
from llmops_sdk.engines._vllm_request import translated
from llmops_sdk.engines._vllm_restart import Restarts
from llmops_sdk.engines._vllm_settings import Setting, settings_of
from llmops_sdk.engines._vllm_start import (
    Clock,
    LaunchOptions,
    Progress,
    TerminalLine,
    VllmParts,
    build,
    check_checkpoint,
    import_vllm,
    working_folder,
)
from llmops_sdk.errors import ClosedError, ConfigurationError, EngineConnectionError, EngineDied

__all__ = ["VllmLife"]

log = logging.getLogger("llmops_sdk")

_DRAIN_S = 1.0
"""Seconds that `aclose` waits for requests in flight to notice that they were aborted."""


def _processes(core: Any) -> list[Any]:
    """The core's own child processes of this one; none where Ray runs them."""
    return list(getattr(core.engine_core.resources.engine_manager, "processes", ()))


_live: weakref.WeakSet[VllmLife] = weakref.WeakSet()


def _disown_in_child() -> None:
    for engine in list(_live):
        engine._disown()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_disown_in_child)


class _Held(NamedTuple):
    """All that one core holds: vLLM's front of it, a folder for its sockets, and the watch that ends it with us."""

    core: Any
    folder: Path
    watch: EndWithMe

    def let_go(self) -> None:
        """Give everything back but the sockets' context. Blocks for a second or two."""
        processes = _processes(self.core)
        self.core.shutdown()
        for process in processes:  # one that did not end in time was killed by vLLM, and not yet collected
            process.join(_DRAIN_S)
        self.watch.cancel()
        shutil.rmtree(self.folder, ignore_errors=True)


class VllmLife(Engine):
    """An engine whose core is vLLM: it starts when it is first needed, and ends when it is closed.

    Attributes:
        name: Name of the engine.
        model: Path or hub name of the model.
    """

    def __init__(
        self,
        model: str,
        *,
        name: str,
        options: LaunchOptions,
        progress: Progress | bool,
        restarts: int,
        max_waiting: int | None,
    ) -> None:
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
        self._held: _Held | None = None
        self._left_behind: list[_Held] = []
        self._meter = LoadMeter()
        self._settings: Mapping[str, Setting] = MappingProxyType({})
        self._admission = Admission(max_waiting)
        self._restarts = Restarts(restarts)
        self._restarting_until: float | None = None
        self._gave_up = False
        self._sleeping = 0
        self._closed = False
        self._ending: asyncio.Task[None] | None = None
        self._end = asyncio.Event()
        self._inherited = False
        self._in_flight: dict[str, int] = {}

    @property
    def startup(self) -> Mapping[str, float]:
        """Where the time of the last start went: step -> seconds, in order; empty before it.

        `import` of vLLM; `configure`: the model's configuration is read; `core`: the core's process starts and imports
        vLLM, too; `weights`; `kv_cache`: a trial run shows how much memory is left for the cache; `compile`, where the
        model is compiled; `warm_up`; `report`: the core says that it is ready; `connect`: its first answer; `adapters`.
        `wait` if another start in this process had to end first. The steps of the core are read from what it logs: if
        vLLM words a line differently, or you configured its logging, one is missing and counts to the one before it.
        """
        return self._startup

    @property
    def settings(self) -> Mapping[str, Setting]:
        """What the last start has settled: name -> `Setting(value, why)`; empty before it."""
        return self._settings

    @property
    def sleeping(self) -> bool:
        """Whether the engine has given its memory back by `asleep`, and waits to be woken."""
        return bool(self._sleeping)

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
        await loops.across(self._astart, self._home_loop())

    async def _astart(self) -> None:
        if self._gave_up:
            self._gave_up, self._restarts.in_a_row = False, 0
        self._refuse_asleep()
        await self._running_core()

    def start(self) -> None:
        """`astart`, for code without an event loop: the SDK's own loop becomes the engine's home."""
        loops.run_sync(self.astart, method="start()")

    async def asleep(self, level: int = 1) -> None:
        """Give the memory back and keep the engine; requests are refused until `awake_up`. Requests in flight fail.

        With `enable_sleep_mode=True`, on a GPU, it is vLLM's own sleep: level 1 keeps the weights in the computer's
        memory, level 2 drops them. Everywhere else the core is ended and started again: vLLM's sleep does nothing on a
        CPU. An engine that does not run is not started for this.

        Args:
            level: 1 or 2, for `enable_sleep_mode`.

        Raises:
            ConfigurationError: There is no such level.
            ClosedError: The engine was closed.
        """
        if level not in (1, 2):
            raise ConfigurationError(f"vLLM sleeps at level 1 or 2, not {level!r}")
        await loops.across(lambda: self._fall_asleep(level), self._home_loop())

    async def awake_up(self) -> None:
        """Take requests again after `asleep`; returns when the engine runs. Harmless when it is not asleep.

        Raises:
            EngineDied: The core did not come up; it stays asleep.
            ClosedError: The engine was closed.
        """
        await loops.across(self._awake, self._home_loop())

    def sleep(self, level: int = 1) -> None:
        """`asleep`, for code without an event loop."""
        loops.run_sync(lambda: self.asleep(level), method="sleep()")

    def wake_up(self) -> None:
        """`awake_up`, for code without an event loop."""
        loops.run_sync(self.awake_up, method="wake_up()")

    async def aclose(self) -> None:
        """End the core process and give all memory back; requests in flight fail with `ClosedError`. Idempotent.

        Every call returns when all is given back. A start that is under way is waited for, and ended.
        """
        self._closed = True
        home = self._home
        if self._inherited or home is None:
            return
        if home is asyncio.get_running_loop() or not home.is_running():
            await self._closed_once()
        else:
            await loops.across(self._closed_once, home)

    async def _closed_once(self) -> None:
        ending = self._ending
        if ending is None:
            ending = self._ending = asyncio.create_task(self._shut_down(), name=f"close {self.name}")
        elif ending.done() or ending.get_loop() is not asyncio.get_running_loop():
            return
        await asyncio.shield(ending)  # one caller that gives up must not leave the rest half closed

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
                self._admission = Admission(self._admission.max_waiting)
                home = None
            elif home is not None and not home.is_running() and self._core is self._starting is None:
                home = None  # nothing is running there
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
        self._leave_behind()
        self._starting = None
        self._in_flight.clear()

    def _leave_behind(self) -> None:
        if self._held is not None:
            self._left_behind.append(self._held)
        self._core = self._held = None
        self._opened = False

    async def _started(self) -> None:
        """Wait until the engine runs, for a request. On the home loop.

        Raises:
            EngineConnectionError: The engine sleeps.
            EngineDied: Its core died, and is being started again by itself, or was often enough.
        """
        core = self._core
        if core is not None and not core.errored:
            self._refuse_asleep()
            return
        self._refuse_asleep()
        if self._restarts.most:
            if core is not None:
                self._core_died(core)
            self._refuse_while_down()
        await self._running_core()

    async def _running_core(self) -> None:
        if self._core is not None:
            if not self._core.errored:
                return
            self._forget_core()
        if self._closed:
            raise ClosedError(f"the engine {self.name!r} was closed; open a new one")
        if self._starting is None:
            self._begin(self._start(), "start")
        assert self._starting is not None
        # One caller that gives up must not stop the start that the others wait for.
        await asyncio.shield(self._starting)

    def _begin(self, start: Coroutine[Any, Any, None], what: str) -> None:
        task = asyncio.create_task(start, name=f"{what} {self.name}")

        def ended(task: asyncio.Task[None]) -> None:
            if self._starting is task:
                self._starting = None
            if not task.cancelled():
                task.exception()  # seen: those who waited for it have it, and perhaps nobody did

        task.add_done_callback(ended)
        self._starting = task

    def _refuse_asleep(self) -> None:
        if self._sleeping:
            raise EngineConnectionError(
                f"the engine {self.name!r} sleeps; `await engine.awake_up()` wakes it",
                engine=self.name,
                model=self.model,
            )

    def _refuse_while_down(self) -> None:
        until = self._restarting_until
        if until is not None:
            raise EngineDied(
                f"the core of {self.name!r} died, and is being started again",
                engine=self.name,
                model=self.model,
                retry_after_s=max(until - time.monotonic(), 0.1),
            )
        if self._gave_up:
            raise EngineDied(
                f"the core of {self.name!r} died {self._restarts.most + 1} times in a row, and stays down; "
                "`await engine.astart()` tries it once more",
                engine=self.name,
                model=self.model,
            )

    def _watch(self, core: Any) -> None:
        """Notice at once that the core's process is gone, also while nothing is asked of it."""
        loop = asyncio.get_running_loop()
        for process in _processes(core):

            def gone(sentinel: int = process.sentinel) -> None:
                loop.remove_reader(sentinel)
                self._core_died(core)

            loop.add_reader(process.sentinel, gone)

    def _unwatch(self, core: Any) -> None:
        home = self._home
        if home is not None and not home.is_closed():
            for process in _processes(core):
                with contextlib.suppress(ValueError, OSError):  # vLLM has closed it
                    home.remove_reader(process.sentinel)

    def _core_died(self, core: Any) -> None:
        if core is not self._core or self._closed:
            return
        log.error("the core of the engine %r is gone: killed, or out of memory", self.name)
        self._unwatch(core)
        self._restarts.went_down()
        self._forget_core()
        if self._restarts.most and not self._sleeping:
            self._restarting_until = time.monotonic()
            self._begin(self._restart(), "restart")

    async def _restart(self) -> None:
        self._end = asyncio.Event()
        took = sum(seconds for step, seconds in self._startup.items() if step != "import")
        try:
            while (delay := self._restarts.delay()) is not None:
                self._restarting_until = time.monotonic() + delay + took
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(delay):
                        await self._end.wait()
                if self._closed:
                    raise ClosedError(f"the engine {self.name!r} was closed before its core was started again")
                log.warning(
                    "starting the core of the engine %r again (%d in a row)", self.name, self._restarts.in_a_row
                )
                try:
                    await self._start()
                except Exception as exc:  # whatever it was, the next try may succeed
                    if self._closed:
                        raise
                    log.warning("the core of the engine %r did not come up again: %s", self.name, exc)
                else:
                    return
            self._gave_up = True
            log.error("the core of the engine %r stays down after %d restarts", self.name, self._restarts.most)
        finally:
            self._restarting_until = None
        self._refuse_while_down()

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
            except BaseException as exc:
                traceback.clear_frames(exc.__traceback__)  # whoever keeps the error must not keep the core
                del core
                self._leave_behind()
                await asyncio.shield(asyncio.to_thread(self._shut_down_left_behind))
                raise
            self._watch(core)
            self._restarts.came_up()
        finally:
            given_up.set()
            self._startup = MappingProxyType(dict(clock.steps))
        clock.ready()

    def _find_model(self, clock: Clock) -> str:
        """The model's path or hub name; `embedded:` makes the folder here."""
        return str(self.model)

    def _build(self, parts: VllmParts, model: str, clock: Clock, given_up: threading.Event) -> Any:
        self._shut_down_left_behind()
        self._meter = LoadMeter()
        folder = working_folder()
        early = EndWithMe((), folder)  # until the core's process is known
        try:
            core, variables = build(
                parts, self._options, model, clock, engine=self.name, folder=folder, meter=self._meter
            )
            held = _Held(core, folder, EndWithMe((process.pid for process in _processes(core)), folder))
        except BaseException:
            shutil.rmtree(folder, ignore_errors=True)
            raise
        finally:
            early.cancel()
        self._settings = settings_of(core, self._options, variables, on_cpu=parts.on_cpu)
        if given_up.is_set():  # the event loop ended meanwhile; nobody would ever end the core
            held.let_go()
            raise ClosedError(f"the start of the engine {self.name!r} was given up")
        self._held = held
        return core

    async def _connect(self, parts: VllmParts, core: Any, clock: Clock) -> None:
        if self._closed:
            raise ClosedError(f"the engine {self.name!r} was closed while it started")
        try:
            with clock.step("connect"):
                tasks = await core.get_supported_tasks()
        except Exception as exc:  # the core may fail in any way
            raise translated(exc, parts, engine=self.name, model=self.model) from exc
        await self._equip(core, tasks, clock)
        self._parts = parts
        # Without a limit the renderer counts all tokens of a long prompt; with one it cuts them off and says less.
        self._counting = dataclasses.replace(core.renderer.default_chat_tok_params, max_total_tokens=None)
        self._sampling_defaults = core.model_config.get_diff_sampling_param()
        self._core = core
        self._opened = True

    async def _equip(self, core: Any, tasks: Sequence[str], clock: Clock) -> None:
        """Make a core that runs ready for requests; `tasks` is what vLLM can use its model for."""

    async def _fall_asleep(self, level: int) -> None:
        if self._starting is not None:
            await asyncio.wait([self._starting])
        core = self._core
        if self._sleeping:
            return
        self._sleeping = level
        try:
            if core is not None and not core.errored and self._sleeps_by_itself(core):
                await core.sleep(level)
            else:
                await self._end_core()
        except BaseException:
            self._sleeping = 0
            raise

    async def _awake(self) -> None:
        level, core = self._sleeping, self._core
        if not level:
            return
        if core is not None and not core.errored:
            await core.wake_up(["weights"])
            if level > 1:
                await core.collective_rpc("reload_weights")
            await core.wake_up(["kv_cache"])
        else:
            await self._running_core()
        self._sleeping = 0

    def _sleeps_by_itself(self, core: Any) -> bool:
        parts = self._parts
        return parts is not None and not parts.on_cpu and bool(core.model_config.enable_sleep_mode)

    async def _shut_down(self) -> None:
        self._end.set()
        starting = self._starting
        if starting is not None and starting.get_loop() is asyncio.get_running_loop():
            await asyncio.wait([starting])
        await self._end_core()
        _live.discard(self)

    async def _end_core(self) -> None:
        core = self._core
        if core is not None and self._home is asyncio.get_running_loop():
            self._unwatch(core)
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
        await asyncio.to_thread(self._shut_down_left_behind)

    def _shut_down_left_behind(self) -> None:
        contexts = []
        while self._left_behind:
            held = self._left_behind.pop()
            contexts.append(held.core.engine_core.resources.ctx)
            held.let_go()
            del held
        if not contexts:
            return
        if self._parts is not None:
            self._parts.forget_tokenizers()
        gc.collect()  # vLLM's objects refer to each other
        # vLLM closes its sockets on the loop that uses them, and leaves their context, with its threads, to the
        # collector.
        home = self._home
        for context in contexts:
            if home is not None and home.is_running():
                home.call_soon_threadsafe(context.destroy, 0)
            else:
                context.destroy(0)

    def _disown(self) -> None:
        """In a forked child: leave the parent's core alone, whatever happens to this object."""
        self._lock = threading.Lock()
        self._home = None
        core = self._core
        if core is self._starting is None:  # nothing runs: it may start here
            return
        self._inherited = True
        self._opened = False
        for held in filter(None, (self._held, *self._left_behind)):
            with contextlib.suppress(AttributeError):  # vLLM's own; without them its finalizers complain, no more
                front = held.core
                for owner in (front.engine_core, front.engine_core.resources.engine_manager, front.renderer):
                    owner._finalizer.detach()
