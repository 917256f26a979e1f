"""The life of a real vLLM: one engine that is killed, restarted, put to sleep, woken and closed, again and again."""

from __future__ import annotations

import asyncio
import gc
import os
import signal
import tempfile
import threading
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from llmops_sdk import Router, Scripted
from llmops_sdk.calls import Call
from llmops_sdk.engines import Engine
from llmops_sdk.engines.vllm import VLLM
from llmops_sdk.errors import (
    ClosedError,
    ConfigurationError,
    EngineConnectionError,
    EngineDied,
    EngineError,
    RateLimitError,
)
from llmops_sdk.messages import Message, Request

pytestmark = [
    pytest.mark.heavy,
    pytest.mark.asyncio(loop_scope="session"),
    pytest.mark.timeout(300),
    pytest.mark.filterwarnings("default"),  # importing torch and vLLM warns of their own parts
]


def ask(text: str = "What is the capital of France?", **parameters: object) -> Request:
    values: dict[str, object] = {"temperature": 0.0, "max_tokens": 24, **parameters}
    return Request(messages=(Message.user(text),), **values)  # type: ignore[arg-type]


def endless() -> Request:
    return ask("Count.", max_tokens=1500, extra={"ignore_eos": True})


def core_of(engine: VLLM) -> int:
    (process,) = engine._core.engine_core.resources.engine_manager.processes
    return int(process.pid)


def gone(pid: int) -> bool:
    return not Path(f"/proc/{pid}").exists()


def held() -> tuple[int, list[str]]:
    """What this process holds: file descriptors, and threads but for pools and the SDK's loop."""
    gc.collect()
    ours = ("asyncio_", "llmops-sdk-loop")
    threads = [thread.name for thread in threading.enumerate() if not thread.name.startswith(ours)]
    return len(list(Path("/proc/self/fd").iterdir())), sorted(threads)


def folders() -> set[str]:
    """Folders of cores that this process has made; one of another engine, whose core died, may go at any time."""
    return {path.name for path in Path(tempfile.gettempdir()).glob(f"llmops-vllm-{os.getpid()}-*")}


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def one_life(one_vllm: object) -> AsyncIterator[VLLM]:
    await one_vllm.close()  # type: ignore[attr-defined]
    opened = Engine.open("embedded:", cpu_threads=1, kv_cache_gib=0.25, max_num_seqs=2, max_waiting=1, restarts=1)
    assert isinstance(opened, VLLM)
    async with opened:
        yield opened


@pytest_asyncio.fixture(loop_scope="session")
async def living(one_life: VLLM) -> VLLM:
    """The engine, running, with its restarts before it."""
    await one_life.astart()
    one_life._restarts.in_a_row = 0
    return one_life


async def test_it_says_what_it_has_settled(living: VLLM) -> None:
    settings = living.settings
    assert settings["kv_cache_gib"] == (0.25, "given")
    assert settings["cpu_threads"] == (1, "given")
    assert settings["enforce_eager"].value is True
    assert "compiling" in settings["enforce_eager"].why
    assert settings["worker_process"].value is False
    tokens = settings["kv_cache_tokens"].value
    assert isinstance(tokens, int)
    assert tokens > 2048


async def test_its_load_follows_the_work(living: VLLM) -> None:
    before = living.load
    tasks = [asyncio.create_task(living.agenerate(endless())) for _ in range(3)]
    for _ in range(500):
        await asyncio.sleep(0.02)
        if (living.kv_cache_usage or 0) > 0 and living.load.generated_tokens > before.generated_tokens + 4:
            break
    load = living.load
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    assert (load.running, load.waiting) == (2, 1)
    assert 0 < (load.kv_cache_usage or 0) < 1
    assert load.tokens_per_s > 0
    assert (living.running, living.waiting) == (0, 0)


async def test_the_prefix_cache_is_seen_at_work(living: VLLM) -> None:
    long = ask("word " * 300, max_tokens=2)
    hits = living.load.prefix_cache_hits
    for _ in range(2):
        await living.agenerate(long)
    assert living.load.prefix_cache_hits >= hits + 256
    assert living.prefix_cache_hit_rate is not None
    assert 0 < living.prefix_cache_hit_rate < 1


async def test_who_may_not_wait_is_refused_and_a_router_goes_on_elsewhere(living: VLLM) -> None:
    tasks = [asyncio.create_task(living.agenerate(endless())) for _ in range(3)]
    await asyncio.sleep(0.1)
    with pytest.raises(RateLimitError, match="max_waiting is 1"):
        await living.agenerate(ask())
    with pytest.raises(RateLimitError):
        await anext(living.astream(ask()))
    router = Router([living, Scripted("elsewhere")], strategy="priority")
    assert (await router.agenerate(ask())).text == "elsewhere"
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    assert "Paris" in (await living.agenerate(ask())).text


async def test_a_deadline_that_passes_in_the_queue_ends_the_request_in_the_core(living: VLLM) -> None:
    tasks = [asyncio.create_task(living.agenerate(endless())) for _ in range(2)]
    await asyncio.sleep(0.1)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.3):
            await living.agenerate(ask().bound_to(Call(deadline_s=0.3)))
    assert living._core.get_num_unfinished_requests() == 2
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


async def test_a_core_that_dies_is_started_again_by_itself(living: VLLM) -> None:
    stream = living.astream(endless())
    await anext(stream)
    whole = asyncio.create_task(living.agenerate(endless()))
    await asyncio.sleep(0.1)
    killed = core_of(living)
    began = time.perf_counter()
    os.kill(killed, signal.SIGKILL)
    for broken in (anext_forever(stream), whole):
        with pytest.raises(EngineDied) as caught:
            await broken
        assert caught.value.retryable
    assert time.perf_counter() - began < 5
    with pytest.raises(EngineDied, match="being started again") as refused:
        await living.agenerate(ask())
    assert (refused.value.retry_after_s or 0) > 0
    await living.astart()
    assert core_of(living) != killed
    assert "Paris" in (await living.agenerate(ask())).text


async def anext_forever(stream: AsyncIterator[object]) -> None:
    while True:
        await anext(stream)


async def test_it_gives_its_memory_back_while_it_sleeps(living: VLLM) -> None:
    core = core_of(living)
    working = asyncio.create_task(living.agenerate(endless()))
    await asyncio.sleep(0.2)
    await living.asleep()
    assert living.sleeping
    assert gone(core)
    with pytest.raises(EngineError):
        await working
    with pytest.raises(EngineConnectionError, match="awake_up"):
        await living.agenerate(ask())
    await living.awake_up()
    assert not living.sleeping
    assert "Paris" in (await living.agenerate(ask())).text


async def test_after_enough_restarts_in_a_row_it_stays_down(living: VLLM) -> None:
    living._restarts.in_a_row = 1  # on a slow machine a minute of health may have passed
    living._restarts.came_up()
    os.kill(core_of(living), signal.SIGKILL)
    for _ in range(500):
        if living._gave_up:
            break
        await asyncio.sleep(0.02)
    with pytest.raises(EngineDied, match=r"stays down; `await engine\.astart\(\)`"):
        await living.agenerate(ask())


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"kv_cache_gib": 0.03}, "KV cache is needed"),
        ({"distributed": "ray"}, "no Ray on a CPU"),
        ({"quantization": "nonsense"}, "nonsense"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
async def test_what_cannot_be_is_a_configuration_error(one_vllm: object, options: dict[str, object], says: str) -> None:
    before = folders()
    async with Engine.open("embedded:", cpu_threads=1, **options) as opened:
        with pytest.raises(ConfigurationError, match=says):
            await opened.astart()  # type: ignore[attr-defined]
    assert folders() <= before


@pytest.mark.usefixtures("living")  # it is up: what a restart of its own opens and closes would be counted here
async def test_opening_and_closing_leaves_nothing_behind() -> None:
    before, after = folders(), []
    for _ in range(2):
        opened = Engine.open("embedded:", cpu_threads=1, kv_cache_gib=0.25)
        assert isinstance(opened, VLLM)
        assert "Paris" in (await opened.agenerate(ask())).text
        core = core_of(opened)
        stream = opened.astream(endless())
        await anext(stream)
        await asyncio.gather(opened.aclose(), opened.aclose())
        assert gone(core)
        with pytest.raises(ClosedError):
            await anext_forever(stream)
        for call in (opened.asleep, opened.awake_up, opened.astart):
            with pytest.raises(ClosedError):
                await call()
        after.append(held())

    opened = Engine.open("embedded:", cpu_threads=1, kv_cache_gib=0.25)
    start = asyncio.create_task(opened.astart())  # type: ignore[attr-defined]
    await asyncio.sleep(1.0)
    await opened.aclose()
    with pytest.raises(ClosedError, match="closed while it started"):
        await start
    for _ in range(50):  # the pipes of a process that was cut off close when it has gone
        if held() == after[0]:
            break
        await asyncio.sleep(0.1)
    after.append(held())
    assert after[1] == after[0]
    assert after[2] == after[0]
    assert folders() <= before
