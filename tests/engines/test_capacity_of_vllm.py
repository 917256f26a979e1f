"""A plan for this machine, held against what the engine has allocated once it runs."""

from __future__ import annotations

from pathlib import Path

import pytest

from llmops_sdk.engines import Plan, plan
from llmops_sdk.engines.embedded import checkpoint
from llmops_sdk.engines.vllm import VLLM

pytestmark = [
    pytest.mark.heavy,
    pytest.mark.asyncio(loop_scope="session"),
    pytest.mark.timeout(300),
    pytest.mark.filterwarnings("default"),  # importing torch and vLLM warns of their own parts
]


def own_memory(pid: int) -> int:
    """Bytes, without the files that are mapped."""
    status = Path(f"/proc/{pid}/status").read_text()
    return int(status.partition("RssAnon:")[2].split()[0]) * 1024


def planned_for(engine: VLLM) -> Plan:
    dtype = str(engine._core.model_config.dtype).removeprefix("torch.")
    return plan(checkpoint(), context=engine.context_window or 0, concurrency=1, kv_cache_gib=1.0, dtype=dtype)


async def test_a_plan_is_what_the_engine_allocates(engine: VLLM) -> None:
    made = planned_for(engine)
    width = engine._core.model_config.dtype.itemsize
    cache = engine._core.vllm_config.cache_config
    assert cache.num_gpu_blocks * cache.block_size == made.kv_cache_tokens
    assert made.kv_cache_tokens == {2: 46_592, 4: 23_296}[width]
    assert made.max_requests == cache.num_gpu_blocks // (2048 // cache.block_size)
    assert (made.parameters, made.counted_from) == (134_515_008, "safetensors headers")
    assert made.weights == width * made.parameters


async def test_the_core_takes_no_more_memory_than_planned(engine: VLLM) -> None:
    made = planned_for(engine)
    (core,) = engine._core.engine_core.resources.engine_manager.processes
    own = own_memory(core.pid)
    planned = made.weights + made.activations_per_device + made.overhead_per_device + made.kv_cache_per_device
    assert made.weights < own < planned
