"""What a start has settled, and why: options that were given, and what suits the machine where they were not."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

from llmops_sdk.engines._processor import computes_bfloat16
from llmops_sdk.engines._vllm_start import LaunchOptions

__all__ = ["Setting", "settings_of"]

_GIB = 2**30


class Setting(NamedTuple):
    """One setting of a running engine: its value, and where that comes from."""

    value: object
    why: str


def settings_of(
    core: Any, options: LaunchOptions, variables: Mapping[str, str], *, on_cpu: bool
) -> Mapping[str, Setting]:
    """Read the settings from a core that runs; names that this vLLM does not have are left out.

    Args:
        core: vLLM's `AsyncLLM`.
        options: What the engine was given.
        variables: Environment variables of the start.
        on_cpu: Whether it computes on a CPU.
    """
    config = core.vllm_config
    found = {
        "dtype": str(getattr(config.model_config, "dtype", "")).removeprefix("torch."),
        "quantization": getattr(config.model_config, "quantization", None),
        "max_model_len": getattr(config.model_config, "max_model_len", None),
        "max_num_seqs": getattr(config.scheduler_config, "max_num_seqs", None),
        "max_num_batched_tokens": getattr(config.scheduler_config, "max_num_batched_tokens", None),
        "enable_chunked_prefill": getattr(config.scheduler_config, "enable_chunked_prefill", None),
        "enforce_eager": getattr(config.model_config, "enforce_eager", None),
        "enable_prefix_caching": getattr(config.cache_config, "enable_prefix_caching", None),
        "tensor_parallel_size": getattr(config.parallel_config, "tensor_parallel_size", None),
        "pipeline_parallel_size": getattr(config.parallel_config, "pipeline_parallel_size", None),
        "data_parallel_size": getattr(config.parallel_config, "data_parallel_size", None),
        "distributed": getattr(config.parallel_config, "distributed_executor_backend", None),
    }
    settings = {
        name: Setting(value, _why(name, options, on_cpu=on_cpu)) for name, value in found.items() if value is not None
    }
    settings.update(_kv_cache(config.cache_config, options, on_cpu=on_cpu))
    if on_cpu:
        settings.update(_threads(options, variables))
    return MappingProxyType(settings)


def _why(name: str, options: LaunchOptions, *, on_cpu: bool) -> str:
    given = {"distributed": "distributed_executor_backend"}.get(name, name)
    if given in options.arguments:
        return "given"
    if on_cpu and name == "enforce_eager":
        return "on a CPU: compiling takes a minute, for 1.2 to 1.4 times the tokens per second"
    if on_cpu and name == "dtype" and not computes_bfloat16():
        return "on a processor without bfloat16: float32 where the weights leave room for it, else the model's own"
    if name in ("dtype", "max_model_len", "quantization"):
        return "the model's own"
    return "vLLM's default"


def _kv_cache(config: Any, options: LaunchOptions, *, on_cpu: bool) -> dict[str, Setting]:
    settings = {}
    if options.kv_cache_gib is not None:
        why = "given"
    elif on_cpu and "gpu_memory_utilization" not in options.arguments:
        why = "on a CPU: 4 GiB, or a quarter of the free memory where that is less"
    else:
        why = "what `gpu_memory_utilization` leaves"
    size = getattr(config, "kv_cache_memory_bytes", None)
    if size:
        settings["kv_cache_gib"] = Setting(round(size / _GIB, 3), why)
    blocks, block = getattr(config, "num_gpu_blocks", None), getattr(config, "block_size", None)
    if blocks and block:
        settings["kv_cache_tokens"] = Setting(blocks * block, "what fits into the KV cache")
    return settings


def _threads(options: LaunchOptions, variables: Mapping[str, str]) -> dict[str, Setting]:
    own = variables.get("VLLM_ENABLE_V1_MULTIPROCESSING") == "0"
    settings = {
        "worker_process": Setting(
            not own,
            "the core computes itself: all cores of the machine compute, and it starts in half the time"
            if own
            else "several ranks, or VLLM_ENABLE_V1_MULTIPROCESSING is set",
        )
    }
    threads = variables.get("OMP_NUM_THREADS", "")
    if threads.isdecimal():
        why = "given" if options.cpu_threads is not None else "OMP_NUM_THREADS, or all cores of the machine"
        settings["cpu_threads"] = Setting(int(threads), why)
    return settings
