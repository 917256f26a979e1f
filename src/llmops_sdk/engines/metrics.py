"""How busy engines are, as OpenTelemetry metrics under the names that vLLM gives them.

They are read when the metrics are exported, so they cost nothing in between, and nothing where nobody observes.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from opentelemetry import metrics

from llmops_sdk.engines._vllm_load import EngineLoad
from llmops_sdk.errors import ConfigurationError

__all__ = ["observe"]

_GAUGES = (
    ("vllm.num_requests_running", "{request}", "Answers that are being worked on", "running"),
    ("vllm.num_requests_waiting", "{request}", "Answers that wait for a place", "waiting"),
    ("vllm.kv_cache_usage_perc", "1", "Share of the KV cache in use, 0 to 1", "kv_cache_usage"),
)
_COUNTERS = (
    (
        "vllm.num_preemptions",
        "{preemption}",
        "Answers that had to give their place in the KV cache back",
        "preemptions",
    ),
    ("vllm.generation_tokens", "{token}", "Tokens written", "generated_tokens"),
    ("vllm.prompt_tokens", "{token}", "Prompt tokens read", "prompt_tokens"),
    ("vllm.prefix_cache_queries", "{token}", "Prompt tokens looked for in the KV cache", "prefix_cache_queries"),
    ("vllm.prefix_cache_hits", "{token}", "Prompt tokens found in the KV cache", "prefix_cache_hits"),
)


def observe(engines: Sequence[Any], meter: metrics.Meter | None = None) -> None:
    """Observe the load of `engines` whenever metrics are exported.

    The names are vLLM's, with a dot where its Prometheus names have a colon, which OpenTelemetry does not allow:
    `vllm.num_requests_running`, `vllm.num_requests_waiting`, `vllm.kv_cache_usage_perc`, `vllm.num_preemptions`,
    `vllm.generation_tokens`, `vllm.prompt_tokens`, `vllm.prefix_cache_queries`, `vllm.prefix_cache_hits`. Attributes:
    `llmops.engine` and `gen_ai.request.model`. Counters begin again at 0 when a core starts. Engines are not kept alive
    by this; an engine that is gone is not observed any more.

    Args:
        engines: Engines in this process, those that have a `load`: `vllm:` and `embedded:`.
        meter: An OpenTelemetry meter; by default the application's own, by the name of this library.

    Raises:
        ConfigurationError: An engine has no `load`.
    """
    for engine in engines:
        if not isinstance(getattr(engine, "load", None), EngineLoad):
            raise ConfigurationError(
                f"{engine!r} has no load to observe: only engines that run in this process know theirs"
            )
    meter = meter or metrics.get_meter("llmops_sdk")
    observed = [weakref.ref(engine) for engine in engines]
    for name, unit, description, field in _GAUGES:
        meter.create_observable_gauge(name, [_reading(observed, field)], unit=unit, description=description)
    for name, unit, description, field in _COUNTERS:
        meter.create_observable_counter(name, [_reading(observed, field)], unit=unit, description=description)


def _reading(
    observed: Sequence[weakref.ref[Any]], field: str
) -> Callable[[metrics.CallbackOptions], Iterable[metrics.Observation]]:
    def read(_: metrics.CallbackOptions) -> Iterable[metrics.Observation]:
        for reference in observed:
            engine = reference()
            if engine is not None and (value := getattr(engine.load, field)) is not None:
                yield metrics.Observation(
                    value, {"llmops.engine": engine.name, "gen_ai.request.model": engine.model or ""}
                )

    return read
