"""How well `map` keeps an engine busy: beside bare `asyncio.gather` over `AsyncLLM.generate`, and over an endpoint.

The first part asks one running core for the same requests in turns: all at once by `gather`, so that vLLM's own queue
holds them, and by `pipeline.map` with its default concurrency, which reads rows as places become free. The second part
asks a local server (in a process of its own, without any delay) through the same engine: by `gather` below a semaphore,
and by `map`, with and without a checkpoint.

    python benchmarks/map.py [--rounds 3] [--rows 192] [--threads 2] [--only vllm endpoint] [--out FILE]
"""

from __future__ import annotations

import argparse
import asyncio
import os
import platform
import statistics
import tempfile
import time
from collections.abc import Awaitable, Callable
from datetime import date
from pathlib import Path

QUESTION = "Tell me about the number {}."
TOKENS = 32
SEQUENCES = 32
ENDPOINT_ROWS = 3000

Once = Callable[[], Awaitable[object]]


async def in_turns(faces: dict[str, Once], rounds: int) -> dict[str, list[float]]:
    """Seconds of each face, round by round, after one round that does not count."""
    seconds: dict[str, list[float]] = {name: [] for name in faces}
    for turn in range(rounds + 1):
        for name in faces if turn % 2 else reversed(faces):
            began = time.perf_counter()
            await faces[name]()
            if turn:
                seconds[name].append(time.perf_counter() - began)
    return seconds


async def on_vllm(rounds: int, rows: int, threads: int) -> str:
    from llmops_sdk import Engine, Prompt

    async with Engine.open(
        "embedded:", cpu_threads=threads, max_num_seqs=SEQUENCES, max_model_len=512, enable_prefix_caching=False
    ) as engine:
        await engine.astart()
        core, parts = engine._core, engine._parts
        sampling = {"temperature": 0.0, "max_tokens": TOKENS, "ignore_eos": True}
        prompt = Prompt.from_string(
            QUESTION.replace("{}", "{{ n }}"), temperature=0.0, max_tokens=TOKENS, extra={"ignore_eos": True}
        )
        turns = iter(range(10_000))

        async def one(number: int) -> None:
            chat = parts.renderers.ChatParams(chat_template_kwargs={"add_generation_prompt": True})
            conversation = [{"role": "user", "content": QUESTION.format(number)}]
            _, (rendered,) = await core.renderer.render_chat_async([conversation], chat)
            last = parts.sampling.RequestOutputKind.FINAL_ONLY
            params = parts.sampling.SamplingParams(**sampling, output_kind=last)
            async for output in core.generate(rendered, params, f"bare-{next(turns)}"):
                assert len(output.outputs[0].token_ids) == TOKENS

        async def bare() -> None:
            await asyncio.gather(*map(one, range(rows)))

        async def ours() -> None:
            results = await (prompt | engine).amap({"n": n} for n in range(rows))
            assert all(result.usage.output_tokens == TOKENS for result in results)

        seconds = await in_turns({"gather": bare, "map": ours}, rounds)
        speeds = {name: rows * TOKENS / statistics.median(taken) for name, taken in seconds.items()}
        ratios = [bare / ours for bare, ours in zip(seconds["gather"], seconds["map"], strict=True)]
        spread = f"{min(ratios):.3f} to {max(ratios):.3f}"
        return f"""## One vLLM in this process

{rows} requests of {TOKENS} tokens, `max_num_seqs={SEQUENCES}`; `map` keeps {engine.concurrency} in flight.

| bare `gather`, tokens/s | `map`, tokens/s | `map` / `gather` |
|---|---|---|
| {speeds["gather"]:.1f} | {speeds["map"]:.1f} | {statistics.median(ratios):.3f} ({spread}) |
"""


async def on_an_endpoint(rounds: int) -> str:
    from llmops_sdk import Engine
    from llmops_sdk.messages import Request
    from llmops_sdk.testing import FaultServer

    with FaultServer.in_subprocess("Hello") as url, tempfile.TemporaryDirectory() as folder:
        async with Engine.open(url, model="m") as engine:
            pipeline = "Hello {{ n }}" | engine
            room = asyncio.Semaphore(engine.concurrency)
            files = (Path(folder) / f"{number}.jsonl" for number in range(1000))

            async def one(number: int) -> None:
                async with room:
                    await engine.agenerate(Request.of(f"Hello {number}"))

            async def bare() -> None:
                await asyncio.gather(*map(one, range(ENDPOINT_ROWS)))

            async def ours() -> None:
                await pipeline.amap([{"n": n} for n in range(ENDPOINT_ROWS)])

            async def generator() -> None:
                await pipeline.amap({"n": n} for n in range(ENDPOINT_ROWS))

            async def kept() -> None:
                await pipeline.amap([{"n": n} for n in range(ENDPOINT_ROWS)], checkpoint=next(files))

            faces = {
                "`gather` over the engine, below a semaphore": bare,
                "`map`": ours,
                "`map` of a generator": generator,
                "`map` with a checkpoint": kept,
            }
            seconds = await in_turns(faces, rounds)
            lines = "".join(
                f"| {name} | {ENDPOINT_ROWS / statistics.median(taken):,.0f} |\n" for name, taken in seconds.items()
            )
            return f"""## An endpoint that answers at once

{ENDPOINT_ROWS:,} rows, {engine.concurrency} in flight, a server in a process of its own.

| | rows/s |
|---|---|
{lines}"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--rows", type=int, default=192)
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--only", nargs="*", choices=["vllm", "endpoint"], default=["vllm", "endpoint"])
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results" / "map.md")
    options = parser.parse_args()
    load = os.getloadavg()[0]
    parts = []
    if "vllm" in options.only:
        parts.append(asyncio.run(on_vllm(options.rounds, options.rows, options.threads)))
    if "endpoint" in options.only:
        parts.append(asyncio.run(on_an_endpoint(options.rounds)))
    page = f"""# How well `map` keeps an engine busy

{date.today()}; {os.cpu_count()} cores, no GPU; Python {platform.python_version()}; {options.threads} compute thread(s);
load average of the machine when it began: {load:.1f}. Medians of {options.rounds} rounds in turns; ratios round by
round (lowest to highest).

{chr(10).join(parts)}
Made by `python benchmarks/map.py`.
"""
    print(page)
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(page, encoding="utf-8")


if __name__ == "__main__":
    main()
