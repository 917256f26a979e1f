"""What a hit costs: CPU and wall time for each store, alone and with 64 at once, beside the engine's own answer.

The engine answers at once from a script, so that all that is seen is the cache. Stores: memory, a SQLite file in a
temporary folder, a `redis-server` of our own on this machine. Each store is asked in turns for a short answer (one
chunk) and for a stream of 200 chunks; with 64 at once every question is another one, so that none is shared.

    python benchmarks/cache.py [--rounds 5] [--calls 2000] [--out FILE]
"""

from __future__ import annotations

import argparse
import asyncio
import os
import platform
import random
import statistics
import tempfile
import time
from collections.abc import Awaitable, Callable
from datetime import date
from pathlib import Path

from local_redis import local_redis

from llmops_sdk.engines import Cached, MemoryStore, Scripted, Semantic, SQLiteStore
from llmops_sdk.engines._cache.semantic import Asked, Index
from llmops_sdk.engines.redis import RedisStore
from llmops_sdk.messages import Request

AT_ONCE = 64
CHUNKS = 200
TEXT = "What does the parcel to Antwerp cost, and when does it arrive? " * 8

Once = Callable[[int], Awaitable[object]]


async def timed(once: Once, calls: int, at_once: int) -> tuple[float, float]:
    """Microseconds of CPU (this process) and of wall time for each call."""

    async def lane(first: int) -> None:
        for number in range(first, calls, at_once):
            await once(number)

    cpu, wall = time.process_time(), time.perf_counter()
    await asyncio.gather(*map(lane, range(at_once)))
    return (time.process_time() - cpu) / calls * 1e6, (time.perf_counter() - wall) / calls * 1e6


def turn(number: int) -> int:
    """Which question: another one in each lane at any time, and another one each time in each lane."""
    return (number + number // AT_ONCE) % AT_ONCE


async def measure(stores: dict[str, object], rounds: int, calls: int) -> list[str]:
    asked = [Request.of(f"{TEXT} {number}") for number in range(AT_ONCE)]
    faces: dict[str, dict[str, Once]] = {}

    async def read(engine: Cached | Scripted, number: int) -> None:
        async for _ in engine.astream(asked[turn(number)]):
            pass

    for name, store in {"no cache": None, **stores}.items():
        short, long = Scripted("It costs 4 EUR and comes on Friday."), Scripted([" word"] * CHUNKS)
        engines = (short, long) if store is None else (Cached(short, store), Cached(long, store))
        faces[name] = {
            "whole": lambda number, engine=engines[0]: engine.agenerate(asked[turn(number)]),
            "stream": lambda number, engine=engines[1]: read(engine, number),
        }
        for once in faces[name].values():
            for number in range(AT_ONCE):
                await once(number)
    await asyncio.sleep(0.5)  # what is being written down
    columns = (("whole", 1, calls), ("whole", AT_ONCE, calls), ("stream", 1, calls // 10))
    seen: dict[tuple[str, int], list[tuple[float, float]]] = {}
    for _ in range(rounds):
        for name, kinds in faces.items():
            for place, (kind, at_once, number) in enumerate(columns):
                seen.setdefault((name, place), []).append(await timed(kinds[kind], number, at_once))
    rows = []
    for name in faces:
        cells = []
        for place in range(len(columns)):
            cpu, wall = (statistics.median(one) for one in zip(*seen[name, place], strict=True))
            cells.append(f"{cpu:,.0f} / {wall:,.0f}")
        rows.append(f"| {name} | {' | '.join(cells)} |")
    return rows


def nearest(entries: int, numbers: int) -> float:
    """Milliseconds to find the nearest of so many vectors."""
    dice = random.Random(0)
    index = Index(Semantic(embedder=Scripted("Hello"), threshold=0.99, max_entries=entries))
    for number in range(entries):
        index.add(str(number), Asked("", [dice.gauss(0, 0.03) for _ in range(numbers)]))
    asked = Asked("", [dice.gauss(0, 0.03) for _ in range(numbers)])
    taken = []
    for _ in range(5):
        began = time.perf_counter()
        asyncio.run(index.nearest(asked))
        taken.append(time.perf_counter() - began)
    return statistics.median(taken) * 1000


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--calls", type=int, default=2000)
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results" / "cache.md")
    options = parser.parse_args()
    load = os.getloadavg()[0]
    with tempfile.TemporaryDirectory() as folder, local_redis() as port:
        stores: dict[str, object] = {"memory": MemoryStore(), "SQLite": SQLiteStore(Path(folder) / "answers.db")}
        if port is not None:
            stores["Redis"] = RedisStore(f"redis://127.0.0.1:{port}", timeout_s=5)
        rows = asyncio.run(measure(stores, options.rounds, options.calls))
    page = f"""# What a hit in the cache costs

{date.today()}; {os.cpu_count()} cores; Python {platform.python_version()}; load average of the machine when it began:
{load:.1f}. Medians of {options.rounds} rounds in turns, {options.calls:,} calls each; microseconds for each call, CPU
of this process (all threads) / wall time. The request has {len(TEXT)} characters. "No cache" is the scripted engine.

| store | whole answer, one at a time | whole answer, {AT_ONCE} at once | stream of {CHUNKS} chunks |
|---|---|---|---|
{chr(10).join(rows)}

The nearest of 1,000 vectors with 768 numbers: {nearest(1000, 768):.1f} ms on this Python.

Made by `python benchmarks/cache.py`.
"""
    print(page)
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(page, encoding="utf-8")


if __name__ == "__main__":
    main()
