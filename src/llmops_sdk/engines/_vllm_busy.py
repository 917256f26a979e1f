"""What an engine that runs vLLM is busy with: the requests that are under way, and how much room is left."""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import AsyncIterator
from typing import Any

from llmops_sdk.engines._vllm_life import VllmLife
from llmops_sdk.engines._vllm_load import EngineLoad
from llmops_sdk.engines._vllm_request import translated
from llmops_sdk.engines._vllm_start import VllmParts
from llmops_sdk.errors import ClosedError, ContextLengthError, EngineDied, LlmopsError
from llmops_sdk.messages import Request

__all__ = ["VllmBusy"]

_MAX_NUM_SEQS = 128
"""Requests that share a step when `max_num_seqs` is not given: vLLM's own default on a CPU server."""


class VllmBusy(VllmLife):
    """An engine that runs vLLM and knows what is under way."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._numbers = itertools.count(1)

    @property
    def context_window(self) -> int | None:
        """Longest prompt and answer together, in tokens; `None` before the start where `max_model_len` is not given."""
        if self._core is not None:
            return int(self._core.model_config.max_model_len)
        asked = self._options.arguments.get("max_model_len")
        return asked if isinstance(asked, int) else None

    @property
    def running(self) -> int:
        """Answers that are being worked on, as this side counts them: at most `max_num_seqs`."""
        return min(sum(self._in_flight.values()), self._most_running)

    @property
    def waiting(self) -> int:
        """Answers that were asked for beyond `max_num_seqs`, which wait in vLLM's queue."""
        return max(sum(self._in_flight.values()) - self._most_running, 0)

    @property
    def concurrency(self) -> int:
        """`max_num_seqs` and a quarter more: so many share a step, and the others wait to take a free place at once."""
        return self._most_running + max(self._most_running // 4, 8)

    @property
    def load(self) -> EngineLoad:
        """How busy the engine is: all of it at one moment. With `live_load=False` only `running` and `waiting`."""
        return self._meter.load(self.running, self.waiting)

    @property
    def kv_cache_usage(self) -> float | None:
        """Share of the KV cache in use, 0 to 1; `None` before the first step."""
        return self.load.kv_cache_usage

    @property
    def prefix_cache_hit_rate(self) -> float | None:
        """Share of the prompt tokens that were found in the KV cache, 0 to 1; `None` before the first."""
        return self.load.prefix_cache_hit_rate

    @property
    def preemptions(self) -> int:
        """How often an answer had to give its place in the KV cache back to others, since the core started."""
        return self.load.preemptions

    @property
    def tokens_per_s(self) -> float:
        """Tokens written per second, over the last 10 seconds."""
        return self.load.tokens_per_s

    @property
    def _most_running(self) -> int:
        if self._core is not None:
            return int(self._core.scheduler_config.max_num_seqs)
        return int(self._options.arguments.get("max_num_seqs", _MAX_NUM_SEQS))

    @contextlib.asynccontextmanager
    async def _sending(self, request: Request, core: Any, parts: VllmParts) -> AsyncIterator[str]:
        """One request in flight: its id, its place in the counters, and our errors instead of vLLM's."""
        request_id = f"{self.name}-{next(self._numbers)}"
        self._in_flight[request_id] = request.n
        try:
            async with _forgotten_when_broken(core, request_id):
                yield request_id
        except LlmopsError as exc:
            if self._closed and isinstance(exc, EngineDied):
                raise ClosedError(f"the engine {self.name!r} was closed before the answer was complete") from exc
            raise
        except Exception as exc:  # what vLLM lets through is translated, whatever it is
            if self._closed:
                raise ClosedError(f"the engine {self.name!r} was closed before the answer was complete") from exc
            raise translated(exc, parts, engine=self.name, model=self.model) from exc
        finally:
            self._in_flight.pop(request_id, None)

    def _too_long(self, size: str, tokens: int | None, window: int, *, what: str = "the prompt") -> ContextLengthError:
        return ContextLengthError(
            f"{what} has {size} the window of {window} tokens; shorten it, or raise `max_model_len`",
            tokens=tokens,
            window=window,
            engine=self.name,
            model=self.model,
        )


@contextlib.asynccontextmanager
async def _forgotten_when_broken(core: Any, request_id: str) -> AsyncIterator[None]:
    """Let vLLM forget a request that ended before its time.

    It does so by itself, but not for one that broke while it was sent to the core (what cannot be serialized, or a
    cancellation just then): that one would count as unfinished for ever.
    """
    try:
        yield
    except BaseException:
        with contextlib.suppress(Exception):  # a dead core cannot be told, and need not be
            await core.abort(request_id)
        raise
