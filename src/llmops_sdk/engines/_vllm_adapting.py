"""How an engine that runs vLLM answers with LoRA adapters: they are loaded, exchanged and named by requests."""

from __future__ import annotations

import contextlib
import dataclasses
import threading
from collections.abc import AsyncGenerator, Callable, Coroutine, Mapping, Sequence
from pathlib import Path
from typing import Any

from llmops_sdk import loops
from llmops_sdk.engines._checkpoints import is_local
from llmops_sdk.engines._vllm_adapters import Adapter, Adapters
from llmops_sdk.engines._vllm_busy import VllmBusy
from llmops_sdk.engines._vllm_start import Clock, VllmParts
from llmops_sdk.messages import Request

__all__ = ["VllmAdapting"]


class VllmAdapting(VllmBusy):
    """An engine that runs vLLM and can answer with LoRA adapters."""

    _adapters: Adapters

    def _build(self, parts: VllmParts, model: str, clock: Clock, given_up: threading.Event) -> Any:
        base = Path(model).expanduser() if is_local(model) else None
        lora = self._adapters.engine_arguments(base, on_cpu=parts.on_cpu)
        self._options = dataclasses.replace(self._options, arguments={**self._options.arguments, **lora})
        return super()._build(parts, model, clock, given_up)

    async def _equip(self, core: Any, tasks: Sequence[str], clock: Clock) -> None:
        await super()._equip(core, tasks, clock)
        with clock.step("adapters") if self._adapters.most else contextlib.nullcontext():
            await self._load_adapters(core)

    @property
    def adapters(self) -> Mapping[str, Adapter]:
        """The LoRA adapters that requests can name, by name: a picture of this moment."""
        return self._adapters.records

    async def aload_adapter(self, name: str, path: str | Path, *, pin: bool | None = None) -> None:
        """Load a LoRA adapter; starts the engine if it is not running.

        A name that is there already gets the new weights: requests in flight end with the former ones, later ones
        take the new ones. Where it fails, all stays as it was.

        Args:
            name: What requests will call it.
            path: Its folder.
            pin: Whether it keeps its place when others need one; `None` leaves that as it is, at first `False`.

        Raises:
            NotFoundError: There is no such folder.
            ConfigurationError: The folder holds no adapter that fits this model, all places are taken by pinned
                adapters, or the engine was opened without `adapters` and `max_adapters`.
        """
        await self._change_adapters(lambda: self._adapters.load(name, path, pin=pin))

    async def aunload_adapter(self, name: str) -> None:
        """Forget a LoRA adapter: requests in flight end with it, later ones are refused.

        Raises:
            NotFoundError: There is no such adapter.
        """
        await self._change_adapters(lambda: self._adapters.unload(name))

    async def apin_adapter(self, name: str) -> None:
        """Keep a LoRA adapter loaded, whatever others are asked for; `aload_adapter(..., pin=False)` lets it go again.

        Raises:
            NotFoundError: There is no such adapter.
            ConfigurationError: All places are taken by pinned adapters.
        """
        await self._change_adapters(lambda: self._adapters.pin(name))

    def load_adapter(self, name: str, path: str | Path, *, pin: bool | None = None) -> None:
        """`aload_adapter`, for code without an event loop."""
        loops.run_sync(lambda: self.aload_adapter(name, path, pin=pin), method="load_adapter()")

    def unload_adapter(self, name: str) -> None:
        """`aunload_adapter`, for code without an event loop."""
        loops.run_sync(lambda: self.aunload_adapter(name), method="unload_adapter()")

    def pin_adapter(self, name: str) -> None:
        """`apin_adapter`, for code without an event loop."""
        loops.run_sync(lambda: self.apin_adapter(name), method="pin_adapter()")

    async def _load_adapters(self, core: Any) -> None:
        """Have a core that has just started load the adapters; what it holds already is not asked of it again."""
        try:
            await self._adapters.start(core)
        except BaseException:
            self._adapters.stop()  # this core is not kept
            raise

    async def _change_adapters(self, change: Callable[[], Coroutine[Any, Any, None]]) -> None:
        self._adapters.refuse_without()

        async def changed() -> None:
            await self._started()
            await change()

        await loops.across(changed, self._home_loop())

    def _forget_core(self) -> None:
        self._adapters.stop()
        super()._forget_core()

    def _with_adapter(
        self, request: Request, generate: Callable[..., AsyncGenerator[Any, None]], /, *args: Any, **options: Any
    ) -> AsyncGenerator[Any, None]:
        """What `generate` gives; with an adapter, as soon as that is loaded."""

        async def adapted(adapter: str) -> AsyncGenerator[Any, None]:
            async with (
                self._adapters.lent(adapter) as lora,
                contextlib.aclosing(generate(*args, lora_request=lora, **options)) as outputs,
            ):
                async for output in outputs:
                    yield output

        return generate(*args, **options) if request.adapter is None else adapted(request.adapter)
