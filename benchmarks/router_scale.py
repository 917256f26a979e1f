"""Many at once, and for long: 10,000 requests in flight through one router, and a soak of 100,000.

    python benchmarks/router_scale.py [--soak 100000] [--out benchmarks/results/router_scale.md]

Memory is the growth of this process's resident set while the requests are in flight; the endpoints are three local
servers in processes of their own, which answer after two seconds (in the soak: at once). It needs as many open files as
requests in flight: `ulimit -n 20000`.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import gc
import os
import resource
import sys
import time
from datetime import date
from pathlib import Path

from llmops_sdk import Engine, Router
from llmops_sdk.messages import Request
from llmops_sdk.testing import FaultServer, Reply

KEY = "k" * 20


def resident_mb() -> float:
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize() / 1e6


def open_files() -> int:
    return sum(1 for _ in Path("/proc/self/fd").iterdir())


@contextlib.contextmanager
def endpoints(delay_s: float) -> object:
    with contextlib.ExitStack() as stack:
        reply = Reply(text="word " * 16, delay_s=delay_s)
        yield [stack.enter_context(FaultServer.in_subprocess(reply)) for _ in range(3)]


def router_of(urls: list[str]) -> Router:
    return Router(
        [Engine.open(url, model="m", api_key=KEY, name=f"e{i}", max_connections=5000) for i, url in enumerate(urls)]
    )


async def at_once(count: int) -> str:
    with endpoints(2.0) as urls:
        async with router_of(urls) as router:
            await asyncio.gather(*[router.agenerate(Request.of(f"warm {i}")) for i in range(30)])
            gc.collect()
            before, cpu = resident_mb(), time.process_time()
            tasks = [asyncio.create_task(router.agenerate(Request.of(f"question {i}"))) for i in range(count)]
            most = before
            while not all(task.done() for task in tasks):
                await asyncio.sleep(0.1)
                most = max(most, resident_mb())
            answered = sum(1 for task in tasks if task.exception() is None)
            cpu = time.process_time() - cpu
            spread = ", ".join(str(leg.in_flight) for leg in router.legs)
    return f"| {count:,} | {answered:,} | {(most - before) * 1000 / count:.1f} | {cpu / count * 1e6:.0f} | {spread} |"


async def soak(count: int, concurrency: int) -> list[str]:
    rows = []
    with endpoints(0.0) as urls:
        async with router_of(urls) as router:
            for done in range(0, count + 1, count // 10):
                if done:
                    numbers = iter(range(count // 10))

                    async def work(numbers: object = numbers) -> None:
                        for _ in numbers:
                            await router.agenerate(Request.of("question"))

                    await asyncio.gather(*[work() for _ in range(concurrency)])
                else:
                    await asyncio.gather(*[router.agenerate(Request.of("warm")) for _ in range(concurrency)])
                gc.collect()
                tasks = len(asyncio.all_tasks()) - 1
                rows.append(
                    f"| {done:,} | {resident_mb():.1f} | {open_files()} | {tasks} | {len(gc.get_objects()):,} |"
                )
                print(rows[-1], flush=True)
    rows.append(f"| closed | {resident_mb():.1f} | {open_files()} | {len(asyncio.all_tasks()) - 1} | |")
    return rows


async def main(arguments: argparse.Namespace) -> None:
    many = [await at_once(count) for count in (1_000, 10_000)]
    soaked = await soak(arguments.soak, 64)
    page = (
        f"# A router under many requests\n\n`python benchmarks/router_scale.py`. Measured {date.today()}; Python "
        f"{sys.version.split()[0]}, {os.cpu_count()} cores, no GPU.\n\n## At once\n\n"
        "| in flight | answered | kB a request | CPU us a request | left in flight |\n|---|---|---|---|---|\n"
        + "\n".join(many)
        + f"\n\n## A soak of {arguments.soak:,} requests, 64 at a time\n\n"
        "| requests | resident MB | open files | tasks | objects of Python's |\n|---|---|---|---|---|\n"
        + "\n".join(soaked)
        + "\n"
    )
    print(page)
    if arguments.out:
        Path(arguments.out).write_text(page)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--soak", type=int, default=100_000)
    parser.add_argument("--out", help="where to write the tables")
    asyncio.run(main(parser.parse_args()))
