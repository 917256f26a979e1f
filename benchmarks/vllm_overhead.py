"""What our face on vLLM costs beside bare `AsyncLLM`: tokens per second, first chunk, and start-up.

Throughput: both ask the same running core, in turns, so that nothing differs but what lies between the caller and
`AsyncLLM.generate`. Start-up: new processes in turns, up to the first answer, with the same options and environment.

    python benchmarks/vllm_overhead.py [--rounds 4] [--threads 2] [--out benchmarks/results/vllm_overhead.md]
"""

from __future__ import annotations

import argparse
import asyncio
import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable
from datetime import date
from pathlib import Path

QUESTION = "Tell me about the number {}."
TOKENS = 64
CONCURRENCY = (1, 16, 64)
OPTIONS = {"max_model_len": 2048}

START = {
    "bare": """
import asyncio, os
os.environ.update(VLLM_ENABLE_V1_MULTIPROCESSING="0", OMP_NUM_THREADS="{threads}", VLLM_LOGGING_LEVEL="ERROR",
                  VLLM_NO_USAGE_STATS="1", HF_HUB_OFFLINE="1", TRANSFORMERS_OFFLINE="1")
from vllm import SamplingParams
from vllm.engine.arg_utils import AsyncEngineArgs
from vllm.renderers import ChatParams
from vllm.v1.engine.async_llm import AsyncLLM
async def main():
    core = AsyncLLM.from_engine_args(AsyncEngineArgs(
        model="{model}", enforce_eager=True, disable_log_stats=True, kv_cache_memory_bytes=2**30,
        use_tqdm_on_load=False, max_model_len=2048, dtype="bfloat16"))
    chat = ChatParams(chat_template_kwargs=dict(add_generation_prompt=True))
    _, (prompt,) = await core.renderer.render_chat_async([[dict(role="user", content="Hi")]], chat)
    async for output in core.generate(prompt, SamplingParams(temperature=0, max_tokens=4), "1"):
        pass
    print("ready", flush=True)
    core.shutdown()
if __name__ == "__main__":
    asyncio.run(main())
""",
    "ours": """
import asyncio
from llmops_sdk import Engine
from llmops_sdk.messages import Message, Request
async def main():
    async with Engine.open("embedded:", cpu_threads={threads}) as engine:
        await engine.agenerate(Request(messages=(Message.user("Hi"),), max_tokens=4))
        print("ready", flush=True)
        print(dict(engine.startup))
if __name__ == "__main__":
    asyncio.run(main())
""",
}


async def bare(core: object, parts: object, number: int) -> AsyncIterator[str]:
    sampling = parts.sampling.SamplingParams(
        temperature=0.0, max_tokens=TOKENS, ignore_eos=True, output_kind=parts.sampling.RequestOutputKind.DELTA
    )
    chat = parts.renderers.ChatParams(chat_template_kwargs={"add_generation_prompt": True})
    conversation = [{"role": "user", "content": QUESTION.format(number)}]
    _, (prompt,) = await core.renderer.render_chat_async([conversation], chat)
    async for output in core.generate(prompt, sampling, f"bare-{number}"):
        for one in output.outputs:
            yield one.text


async def ours(engine: object, number: int) -> AsyncIterator[str]:
    from llmops_sdk.messages import Message, Request

    request = Request(
        messages=(Message.user(QUESTION.format(number)),),
        temperature=0.0,
        max_tokens=TOKENS,
        extra={"ignore_eos": True},
    )
    async for chunk in engine.astream(request):
        yield chunk.text


async def timed(make: Callable[[int], AsyncIterator[str]], concurrency: int) -> tuple[float, float]:
    """Tokens per second of all together, and the median milliseconds to the first text."""
    firsts: list[float] = []

    async def one(number: int) -> None:
        began = time.perf_counter()
        waiting = True
        async for text in make(number):
            if waiting and text:
                firsts.append(time.perf_counter() - began)
                waiting = False

    began = time.perf_counter()
    await asyncio.gather(*map(one, range(concurrency)))
    return concurrency * TOKENS / (time.perf_counter() - began), 1000 * statistics.median(firsts)


async def throughput(rounds: int, threads: int) -> list[str]:
    from llmops_sdk import Engine

    rows = []
    async with Engine.open("embedded:", cpu_threads=threads, **OPTIONS) as engine:
        await engine.astart()
        core, parts = engine._core, engine._parts
        faces = {"bare": lambda number: bare(core, parts, number), "ours": lambda number: ours(engine, number)}
        for concurrency in CONCURRENCY:
            results: dict[str, list[tuple[float, float]]] = {"bare": [], "ours": []}
            for make in faces.values():
                await timed(make, concurrency)
            for turn in range(rounds):
                for name in ("bare", "ours") if turn % 2 else ("ours", "bare"):
                    results[name].append(await timed(faces[name], concurrency))
            speeds = {name: statistics.median(speed for speed, _ in runs) for name, runs in results.items()}
            firsts = {name: statistics.median(first for _, first in runs) for name, runs in results.items()}
            ratios = [ours[0] / bare[0] for ours, bare in zip(results["ours"], results["bare"], strict=True)]
            rows.append(
                f"| {concurrency} | {speeds['bare']:.1f} | {speeds['ours']:.1f} | {statistics.median(ratios):.3f} "
                f"({min(ratios):.3f} to {max(ratios):.3f}) | {firsts['bare']:.1f} | {firsts['ours']:.1f} |"
            )
            print(rows[-1], flush=True)
    return rows


def start_up(rounds: int, threads: int) -> list[str]:
    from llmops_sdk.engines.embedded import checkpoint

    model = checkpoint()
    seconds: dict[str, list[float]] = {name: [] for name in START}
    for turn in range(rounds):
        for name in START if turn % 2 else reversed(START):
            program = START[name].format(threads=threads, model=model)
            script = Path(os.environ.get("TMPDIR", "/tmp")) / f"vllm_start_{os.getpid()}.py"
            script.write_text(program)
            began = time.perf_counter()
            with subprocess.Popen(
                [sys.executable, str(script)], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
            ) as process:
                if process.stdout.readline() != "ready\n":
                    sys.exit(f"the {name} start failed; run {script}")
                seconds[name].append(time.perf_counter() - began)
                rest = process.communicate()[0]
            script.unlink()
            print(f"start {name}: {seconds[name][-1]:.1f} s {rest.strip()}", flush=True)
    ratios = [ours / bare for ours, bare in zip(seconds["ours"], seconds["bare"], strict=True)]
    row = (
        f"| {statistics.median(seconds['bare']):.1f} | {statistics.median(seconds['ours']):.1f} "
        f"| {statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f}) |"
    )
    return [row]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=4)
    parser.add_argument("--start-rounds", type=int, default=2)
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results" / "vllm_overhead.md")
    options = parser.parse_args()
    load = os.getloadavg()[0]
    rows = asyncio.run(throughput(options.rounds, options.threads))
    starts = start_up(options.start_rounds, options.threads)
    about = (
        f"{date.today()}; {os.cpu_count()} cores, no GPU; Python {platform.python_version()}; SmolLM2-135M-Instruct in "
        f"bfloat16, {TOKENS} tokens an answer, streamed; {options.threads} compute thread(s); load average of the "
        f"machine when it began: {load:.1f}. Medians of {options.rounds} rounds in turns on one running core; ratios "
        "round by round (lowest to highest)."
    )
    page = f"""# Our face on vLLM beside bare `AsyncLLM`

{about}

| in flight | bare tokens/s | ours tokens/s | ours / bare | bare first text, ms | ours first text, ms |
|---|---|---|---|---|---|
{"".join(row + chr(10) for row in rows)}
From a new process to the first answer, {options.start_rounds} rounds in turns, the model folder made before:

| bare, s | ours, s | ours / bare |
|---|---|---|
{"".join(row + chr(10) for row in starts)}
Made by `python benchmarks/vllm_overhead.py`.
"""
    print(page)
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(page, encoding="utf-8")


if __name__ == "__main__":
    main()
