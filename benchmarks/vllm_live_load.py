"""What it costs that vLLM tells its load after each step: tokens per second with and without, two engines in turns.

python benchmarks/vllm_live_load.py [--rounds 6] [--threads 1]
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import time

TOKENS = 64
CONCURRENCY = (1, 16)


async def speed(engine: object, concurrency: int) -> float:
    from llmops_sdk.messages import Message, Request

    async def one(number: int) -> None:
        request = Request(
            messages=(Message.user(f"Tell me about the number {number}."),),
            temperature=0.0,
            max_tokens=TOKENS,
            extra={"ignore_eos": True},
        )
        async for _ in engine.astream(request):
            pass

    began = time.perf_counter()
    await asyncio.gather(*map(one, range(concurrency)))
    return concurrency * TOKENS / (time.perf_counter() - began)


async def main() -> None:
    from llmops_sdk import Engine

    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--rounds", type=int, default=6)
    arguments.add_argument("--threads", type=int, default=1)
    options = arguments.parse_args()
    shared = {"cpu_threads": options.threads, "kv_cache_gib": 0.5, "progress": False}
    async with (
        Engine.open("embedded:", name="with", **shared) as with_load,
        Engine.open("embedded:", name="without", live_load=False, **shared) as without,
    ):
        print("| in flight | with, tokens/s | without, tokens/s | with / without |\n|---|---|---|---|")
        for concurrency in CONCURRENCY:
            pairs = []
            for engine in (with_load, without):
                await speed(engine, concurrency)
            for turn in range(options.rounds):
                order = (with_load, without) if turn % 2 else (without, with_load)
                speeds = {engine.name: await speed(engine, concurrency) for engine in order}
                pairs.append((speeds["with"], speeds["without"]))
            ratios = [one / other for one, other in pairs]
            print(
                f"| {concurrency} | {statistics.median(p[0] for p in pairs):.1f} | "
                f"{statistics.median(p[1] for p in pairs):.1f} | "
                f"{statistics.median(ratios):.3f} ({min(ratios):.3f} to {max(ratios):.3f}) |",
                flush=True,
            )


if __name__ == "__main__":
    asyncio.run(main())
