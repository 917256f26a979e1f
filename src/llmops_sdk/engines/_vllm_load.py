"""How busy a core is, as it says after every step: read from vLLM's statistics without a server to ask."""

from __future__ import annotations

import collections
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

__all__ = ["EngineLoad", "LoadMeter", "stat_logger"]

_WINDOW_S = 10.0
_GRAIN_S = 0.1
"""Tokens that come within this many seconds are counted together."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineLoad:
    """How busy an engine is at one moment.

    Attributes:
        running: Answers that are being worked on.
        waiting: Answers that wait for a place.
        kv_cache_usage: Share of the KV cache in use, 0 to 1; `None` where it is not known.
        prefix_cache_hit_rate: Share of the prompt tokens that were found in the KV cache, 0 to 1; `None` before
            the first.
        preemptions: How often an answer had to give its place in the KV cache back, since the core started.
        tokens_per_s: Tokens written per second, over the last 10 seconds.
        generated_tokens: Tokens written since the core started.
        prompt_tokens: Prompt tokens that were read since the core started, those found in the KV cache among them.
        prefix_cache_queries: Prompt tokens that were looked for in the KV cache since the core started.
        prefix_cache_hits: Those that were found.
    """

    running: int = 0
    waiting: int = 0
    kv_cache_usage: float | None = None
    prefix_cache_hit_rate: float | None = None
    preemptions: int = 0
    tokens_per_s: float = 0.0
    generated_tokens: int = 0
    prompt_tokens: int = 0
    prefix_cache_queries: int = 0
    prefix_cache_hits: int = 0


class LoadMeter:
    """Adds up what vLLM tells after each step. vLLM does not promise these names, so a missing one leaves a gap.

    Args:
        clock: Seconds of a steady clock.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._usage: dict[int, float] = {}
        self._recent: collections.deque[tuple[float, int]] = collections.deque()
        self._queries = 0
        self._hits = 0
        self._preemptions = 0
        self._generated = 0
        self._prompt = 0

    def record(self, scheduler: Any, iteration: Any, rank: int = 0) -> None:
        """Take in what vLLM said of one step; either may be `None`."""
        if scheduler is not None:
            usage = getattr(scheduler, "kv_cache_usage", None)
            if usage is not None:
                self._usage[rank] = float(usage)
            cache = getattr(scheduler, "prefix_cache_stats", None)
            if cache is not None:
                self._queries += getattr(cache, "queries", 0)
                self._hits += getattr(cache, "hits", 0)
        if iteration is not None:
            self._preemptions += getattr(iteration, "num_preempted_reqs", 0)
            self._prompt += getattr(iteration, "num_prompt_tokens", 0)
            self._count(getattr(iteration, "num_generation_tokens", 0))

    def _count(self, tokens: int) -> None:
        if not tokens:
            return
        self._generated += tokens
        now = self._clock()
        if self._recent and now - self._recent[-1][0] < _GRAIN_S:
            at, counted = self._recent[-1]
            self._recent[-1] = (at, counted + tokens)
            return
        self._recent.append((now, tokens))
        while now - self._recent[0][0] > _WINDOW_S:
            self._recent.popleft()

    def _tokens_per_s(self) -> float:
        now = self._clock()
        recent = [(at, tokens) for at, tokens in list(self._recent) if now - at <= _WINDOW_S]
        if not recent:
            return 0.0
        return sum(tokens for _, tokens in recent) / max(now - recent[0][0], 1.0)

    def load(self, running: int, waiting: int) -> EngineLoad:
        """What is known now, with `running` and `waiting` as the engine itself counts them."""
        usages = list(self._usage.values())
        return EngineLoad(
            running=running,
            waiting=waiting,
            kv_cache_usage=sum(usages) / len(usages) if usages else None,
            prefix_cache_hit_rate=self._hits / self._queries if self._queries else None,
            preemptions=self._preemptions,
            tokens_per_s=self._tokens_per_s(),
            generated_tokens=self._generated,
            prompt_tokens=self._prompt,
            prefix_cache_queries=self._queries,
            prefix_cache_hits=self._hits,
        )


def stat_logger(loggers: Any, meter: LoadMeter, *, instead_of_prometheus: bool) -> type:
    """A class for vLLM's `stat_loggers` that feeds `meter`.

    Args:
        loggers: The module `vllm.v1.metrics.loggers`.
        meter: What is fed.
        instead_of_prometheus: Take the place of vLLM's own Prometheus metrics, which count in a registry that belongs
            to the whole process and would show one engine only.
    """
    base: Any = loggers.PrometheusStatLogger if instead_of_prometheus else loggers.AggregateStatLoggerBase

    def nothing(*_: object, **__: object) -> None:
        """Begin, log or note nothing: there is a meter already, and nothing else is wanted."""

    def record(
        _: object, scheduler_stats: Any, iteration_stats: Any, *__: object, engine_idx: int = 0, **___: object
    ) -> None:
        meter.record(scheduler_stats, iteration_stats, engine_idx)

    others = ("__init__", "log", "log_engine_initialized", "record_admission_rejection", "record_sleep_state")
    return type("Load", (base,), {"record": record, **dict.fromkeys(others, nothing)})
