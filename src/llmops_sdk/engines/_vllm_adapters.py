"""LoRA adapters of one engine: which there are, and which of them vLLM's core holds.

vLLM reads an adapter when a request names one that it does not hold, and a folder that it cannot read then ends its
core. So it never comes to that here: the SDK itself loads an adapter before a request may use it and puts it out when
no request uses it, and the core never holds more than it has room for, so that it never chooses one to put out.

On a CPU vLLM (0.32) computes requests without an adapter with whatever lies in the last slot when they share a step
with others (vLLM pull request 48421). One slot more than is ever used stays empty there: its zeros change nothing.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import difflib
import importlib
import itertools
import logging
from collections.abc import AsyncIterator, Coroutine, Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

from llmops_sdk.engines._lora_folder import LORA_RANKS, LoraFolder, Tensor, check_fit, read_base, read_lora
from llmops_sdk.errors import (
    ConfigurationError,
    EngineDied,
    LlmopsError,
    NotFoundError,
    ServerError,
    UnsupportedError,
)

__all__ = ["Adapter", "Adapters"]

log = logging.getLogger("llmops_sdk")

_DEFAULT_RANK = 16
_LOOK_S = 0.5
"""Seconds between looks at the core while it is waited for: vLLM leaves who waits when its core dies."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Adapter:
    """A LoRA adapter that an engine knows.

    Attributes:
        name: What requests call it: `Request(..., adapter=name)`.
        path: Its folder.
        rank: Its rank; 0 while the folder has not been read.
        base_model: The model that it was trained on, as its configuration names it.
        pinned: Whether it keeps its place when others need one.
        loaded: Whether the core holds it now; if not, the next request that names it loads it.
    """

    name: str
    path: str
    rank: int = 0
    base_model: str | None = None
    pinned: bool = False
    loaded: bool = False


class _Resident:
    """One adapter as the core holds it: vLLM's request for it, and how many of ours use it."""

    __slots__ = ("in_flight", "lora")

    def __init__(self, lora: Any) -> None:
        self.lora = lora
        self.in_flight = 0


class _Slots:
    """What the core of one start holds. All on the engine's home loop."""

    def __init__(self, core: Any, most: int) -> None:
        self.core = core
        self.most = most
        self.closed = False
        self.resident: dict[str, _Resident] = {}  # the one that was used last is last
        self.leaving: list[_Resident] = []
        self.changing = asyncio.Lock()
        self._freed = asyncio.Event()

    def take(self, name: str) -> _Resident | None:
        """Use the adapter, if the core holds it."""
        one = self.resident.pop(name, None)
        if one is not None:
            self.resident[name] = one
            one.in_flight += 1
        return one

    def give_back(self, one: _Resident) -> None:
        """Stop using it."""
        one.in_flight -= 1
        if not one.in_flight:
            self._freed.set()

    def retire(self, name: str) -> None:
        """Let no more requests use it; it goes when those in flight have ended."""
        one = self.resident.pop(name, None)
        if one is not None:
            self.leaving.append(one)

    def close(self) -> None:
        """Let go of whoever waits: the core is gone, or is about to be."""
        self.closed = True
        self._freed.set()

    async def make_room(self, name: str, pinned: set[str]) -> bool:
        """Wait for a free place for `name`; `False` if all are taken by pinned adapters. Under `changing`."""
        while True:
            self._freed.clear()
            if self.closed or self.core.errored:
                raise _CoreGoneError
            await self.sweep()
            if len(self.resident) + len(self.leaving) < self.most:
                return True
            if not self.leaving:
                others = [one for one in self.resident if one not in pinned]
                # One that nobody uses goes first; then its own former version; then the one used longest ago. From then
                # on requests for that one wait in line, too: else it could stay for ever.
                victim = min(others, key=lambda one: (self.resident[one].in_flight > 0, one != name), default=None)
                if victim is None:
                    return False
                self.retire(victim)
                continue
            await self._freed.wait()

    async def sweep(self) -> None:
        """Take from the core what has been retired and is not used any more. Under `changing`."""
        for one in [one for one in self.leaving if not one.in_flight]:
            await self.told(self.core.remove_lora(one.lora.lora_int_id))
            self.leaving.remove(one)

    async def add(self, name: str, lora: Any) -> None:
        """Have the core load an adapter. Under `changing`, after `make_room`."""
        try:
            await self.told(self.core.add_lora(lora))
        except BaseException:  # it may have failed half-way, or be loaded after its caller was cancelled
            self.leaving.append(_Resident(lora))
            raise
        self.retire(name)  # the former version
        self.resident[name] = _Resident(lora)

    async def told(self, answer: Coroutine[Any, Any, Any]) -> None:
        """Wait for the core's answer, and not for ever where it dies or is closed meanwhile."""
        asked = asyncio.ensure_future(answer)
        try:
            while not asked.done():
                if self.closed or self.core.errored:
                    raise _CoreGoneError
                await asyncio.wait({asked}, timeout=_LOOK_S)
            await asked
        finally:
            asked.cancel()


class _CoreGoneError(Exception):
    """The core does not answer any more."""


class Adapters:
    """All adapters of one engine, over any number of starts of its core.

    Args:
        paths: Name -> folder of those that are loaded at the start.
        most: How many the core may hold at once; by default as many as `paths`.
        max_rank: Largest rank that fits; by default that of `paths`.
        engine: Name of the engine, for messages.
        model: Its model, for messages.

    Raises:
        ConfigurationError: A value is impossible.
    """

    def __init__(
        self,
        paths: Mapping[str, str | Path] | None,
        *,
        most: int | None,
        max_rank: int | None,
        engine: str,
        model: str,
    ) -> None:
        for name, path in (paths or {}).items():
            _check_name(name, path)
        if most is not None and (not isinstance(most, int) or isinstance(most, bool) or most < 1):
            raise ConfigurationError(f"max_adapters has to be a whole number of at least 1, not {most!r}")
        if max_rank is not None and max_rank not in LORA_RANKS:
            raise ConfigurationError(f"max_lora_rank has to be one of {', '.join(map(str, LORA_RANKS))}")
        self.most = most if most is not None else len(paths or {})
        if max_rank is not None and not self.most:
            raise ConfigurationError("max_lora_rank is for adapters: give `adapters=` or `max_adapters=`, too")
        self._max_rank = max_rank
        self._rank_of_start = max_rank or _DEFAULT_RANK
        self._known = {name: Adapter(name=name, path=str(path)) for name, path in (paths or {}).items()}
        self._base: Mapping[str, Tensor] = {}
        self._slots: _Slots | None = None
        self._started = False
        self._ids = itertools.count(1)
        self._where: dict[str, Any] = {"engine": engine, "model": model}

    @property
    def records(self) -> Mapping[str, Adapter]:
        """Name -> adapter, in the order in which they came."""
        held = self._slots.resident if self._slots is not None else {}
        return MappingProxyType(
            {name: dataclasses.replace(one, loaded=name in held) for name, one in list(self._known.items())}
        )

    def check(self, name: str) -> None:
        """Refuse a name that is not there.

        Raises:
            NotFoundError: There is no such adapter.
            UnsupportedError: The engine was opened without adapters.
        """
        if name in self._known:
            return
        if not self.most:
            raise UnsupportedError(
                f"the engine was opened without adapters, so it cannot answer with {name!r}; open it with "
                f"`adapters={{{name!r}: PATH}}`",
                **self._where,
            )
        near = difflib.get_close_matches(name, self._known, n=1)
        raise NotFoundError(
            f"there is no adapter {name!r}"
            + (f"; did you mean {near[0]!r}?" if near else ";")
            + (f" There are {', '.join(map(repr, self._known))}" if self._known else " none is loaded")
            + "; `await engine.aload_adapter(name, path)` loads another",
            **self._where,
        )

    def refuse_without(self) -> None:
        """Say what to write where the engine was opened without adapters.

        Raises:
            ConfigurationError: It was.
        """
        if not self.most:
            raise ConfigurationError(
                "the engine was opened without adapters; open it with `max_adapters=N` to load some later"
            )

    def engine_arguments(self, base: Path | None, *, on_cpu: bool) -> dict[str, Any]:
        """Read the adapters' folders, and say what vLLM has to be started with. Blocks.

        Args:
            base: Folder of the base model, `None` where it is not a local one.
            on_cpu: Whether vLLM computes on a CPU, where one slot has to stay empty.

        Raises:
            NotFoundError: A folder is not there.
            ConfigurationError: A folder holds no adapter that fits.
        """
        if not self.most:
            return {}
        self._base = read_base(base) if base is not None and base.is_dir() else {}
        folders = {}
        for name, one in self._known.items():
            if not one.rank:
                folders[name] = folder = read_lora(one.path, name=name, **self._where)
                self._known[name] = _with(one, folder)
        largest = max((one.rank for one in self._known.values()), default=_DEFAULT_RANK)
        self._rank_of_start = self._max_rank or next((rank for rank in LORA_RANKS if rank >= largest), LORA_RANKS[-1])
        for name, folder in folders.items():
            check_fit(folder, self._base, name=name, max_rank=self._rank_of_start)
        slots = self.most + 1 if on_cpu else self.most
        return {
            "enable_lora": True,
            "max_loras": slots,
            "max_cpu_loras": slots,
            "max_lora_rank": self._rank_of_start,
        }

    async def start(self, core: Any) -> None:
        """Have a new core load what the former one held, or at first as many of the given ones as it may hold.

        Raises:
            ConfigurationError: vLLM refuses an adapter at the first start. Later only a warning is logged, and
                requests for that adapter fail.
            EngineDied: The core is gone.
        """
        if not self.most:
            return
        slots = self._slots
        if slots is None or slots.core is not core:
            self._slots = slots = _Slots(core, self.most)
        order = sorted(self._known.values(), key=lambda one: not one.pinned)
        for one in order[: self.most]:
            if one.name in slots.resident:
                continue
            try:
                async with slots.changing:
                    await self._load_now(slots, one)
            except (ConfigurationError, NotFoundError) as exc:
                if not self._started:
                    raise
                log.warning(
                    "the adapter %r of the engine %r is not loaded again: %s", one.name, self._where["engine"], exc
                )
        self._started = True

    def stop(self) -> None:
        """The core is gone, or is about to be: nothing is loaded."""
        slots, self._slots = self._slots, None
        if slots is not None:
            slots.close()

    async def load(self, name: str, path: str | Path, *, pin: bool | None) -> None:
        """Load an adapter, or another version of one; requests in flight end with the former one.

        Raises:
            NotFoundError: There is no such folder.
            ConfigurationError: The folder holds no adapter that fits, all places are taken by pinned adapters, or the
                engine was opened without adapters.
        """
        _check_name(name, path)
        slots = self._running()
        former = self._known.get(name)
        pinned = pin if pin is not None else former is not None and former.pinned
        if pinned:
            self._check_pin(name)
        async with slots.changing:
            one = await self._load_now(slots, Adapter(name=name, path=str(path), pinned=pinned))
            self._known[name] = one
            with self._explained(name):
                await slots.sweep()

    async def unload(self, name: str) -> None:
        """Forget an adapter; requests in flight end with it, later ones are refused.

        Raises:
            NotFoundError: There is no such adapter.
        """
        self.check(name)
        slots = self._running()
        async with slots.changing:
            self.check(name)
            del self._known[name]
            slots.retire(name)
            with self._explained(name):
                await slots.sweep()

    async def pin(self, name: str) -> None:
        """Keep an adapter loaded, whatever other adapters are asked for.

        Raises:
            NotFoundError: There is no such adapter, or its folder is gone.
            ConfigurationError: All places are taken by pinned adapters, or the folder is damaged.
        """
        self.check(name)
        self._check_pin(name)
        slots = self._running()
        async with slots.changing:
            self.check(name)
            if name not in slots.resident:
                await self._load_now(slots, self._known[name])
            self._known[name] = dataclasses.replace(self._known[name], pinned=True)

    @contextlib.asynccontextmanager
    async def lent(self, name: str) -> AsyncIterator[Any]:
        """VLLM's request for an adapter that the core holds, and keeps while the context lasts.

        Waits in line where all places are in use.

        Raises:
            NotFoundError: There is no such adapter, or its folder is gone.
            ServerError: It cannot be loaded, which the message explains.
            EngineDied: The core is gone.
        """
        self.check(name)
        slots = self._running()
        one = slots.take(name) or await self._take_when_loaded(slots, name)
        try:
            yield one.lora
        finally:
            slots.give_back(one)

    async def _take_when_loaded(self, slots: _Slots, name: str) -> _Resident:
        async with slots.changing:
            if (one := slots.take(name)) is not None:
                return one
            self.check(name)
            try:
                self._known[name] = await self._load_now(slots, self._known[name])
            except ConfigurationError as exc:
                raise ServerError(str(exc), **self._where) from exc
            one = slots.resident[name]
            one.in_flight += 1
            return one

    async def _load_now(self, slots: _Slots, one: Adapter) -> Adapter:
        """Check the folder and have the core load it, under `changing`; returns what is now known of it."""
        name = one.name
        folder = await asyncio.to_thread(read_lora, one.path, name=name, **self._where)
        check_fit(folder, self._base, name=name, max_rank=self._rank_of_start)
        lora_request = importlib.import_module("vllm.lora.request").LoRARequest
        number = next(self._ids)
        # vLLM tells adapters apart by number in the core, but by name and path in its prefix cache.
        lora = lora_request(f"{name}@{number}", number, str(folder.path))
        with self._explained(name):
            pinned = {known.name for known in self._known.values() if known.pinned and known.name != name}
            if not await slots.make_room(name, pinned):
                raise ConfigurationError(
                    f"there is no room for the adapter {name!r}: all {self.most} places are taken by pinned adapters "
                    f"({', '.join(sorted(pinned))}); unload one, or open the engine with a larger max_adapters"
                )
            await slots.add(name, lora)
        return _with(one, folder)

    def _check_pin(self, name: str) -> None:
        pinned = [one.name for one in self._known.values() if one.pinned and one.name != name]
        if len(pinned) >= self.most:
            raise ConfigurationError(
                f"cannot pin the adapter {name!r}: all {self.most} places are taken by pinned adapters "
                f"({', '.join(sorted(pinned))}); unload one, or open the engine with a larger max_adapters"
            )

    def _running(self) -> _Slots:
        if self._slots is None:
            raise EngineDied(f"the core of {self._where['engine']!r} is gone", **self._where)
        return self._slots

    @contextlib.contextmanager
    def _explained(self, name: str) -> Iterator[None]:
        try:
            yield
        except LlmopsError:
            raise
        except _CoreGoneError as exc:
            raise EngineDied(f"the core of {self._where['engine']!r} ended meanwhile", **self._where) from exc
        except Exception as exc:  # what vLLM's core raises arrives as a bare Exception
            slots = self._slots
            if slots is None or slots.core.errored:
                raise EngineDied(f"the core of {self._where['engine']!r} ended meanwhile", **self._where) from exc
            raise ConfigurationError(f"vLLM refuses the adapter {name!r}: {exc}") from exc


def _with(one: Adapter, folder: LoraFolder) -> Adapter:
    return dataclasses.replace(one, path=str(folder.path), rank=folder.rank, base_model=folder.base_model)


def _check_name(name: str, path: str | Path) -> None:
    if not isinstance(name, str) or not name:
        raise ConfigurationError(f"an adapter's name has to be a text, not {name!r}")
    if not isinstance(path, (str, Path)) or not str(path):
        raise ConfigurationError(f"the adapter {name!r} needs the path of its folder, not {path!r}")
