"""What callers see when endpoints fail: 2,000 requests, 64 at once, through our router and LiteLLM's.

Three local endpoints, each in a process of its own, answer after half a second, with the spread that answers have
(log-normal, sigma 0.3); in the last two scenarios after exactly half a second, which is the worst that hedging can
meet: that an answer is late is known only when it should be there. In each scenario one or two of the endpoints
misbehave: one answers 500, one hangs, one cuts the connection, one asks to slow down. Each router is new in each
scenario, and both meet the same servers in the same run. "after" are the requests that began once the router had met
each fault (5 s); "all" are all of them, the first wave included.

    python benchmarks/faults.py [--requests 2000] [--out benchmarks/results/faults.md]

LiteLLM runs with settings from its documentation: `num_retries=3, timeout=2, allowed_fails=1, cooldown_time=30`.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import math
import os
import random
import statistics
import sys
import time
from collections.abc import Awaitable, Callable
from datetime import date
from pathlib import Path

from llmops_sdk.testing import FaultServer, Hang, Reply, Status

ANSWER_S = 0.5
MEETS_S = 5.0
SIGMA = 0.3


def delays(seed: int) -> list[float]:
    """Evenly taken from the distribution, and shuffled; an endpoint goes through them again and again."""
    between = [statistics.NormalDist(math.log(ANSWER_S), SIGMA).inv_cdf((i + 0.5) / 200) for i in range(200)]
    random.Random(seed).shuffle(between)
    return [math.exp(one) for one in between]


def good(seed: int) -> list[Reply]:
    return [Reply(text="word " * 16, delay_s=delay_s) for delay_s in delays(seed)]


DOWN = [Status(status=500, delay_s=delay_s) for delay_s in delays(1)]
EXACT = [Reply(text="word " * 16, delay_s=ANSWER_S)]
SCENARIOS = {
    "all healthy": (good(0), good(1), good(2)),
    "one 500s, one hangs": (good(0), DOWN, [Hang()]),
    "one 500s, one drops": (good(0), DOWN, [Reply(text="word " * 16, drop_at=20)]),
    "one hangs": (good(0), good(1), [Hang()]),
    "one asks to slow down": (good(0), good(1), [Status(status=429, retry_after_s=1, delay_s=ANSWER_S)]),
    "all healthy, no spread": (EXACT, EXACT, EXACT),
    "one 500s, one hangs, no spread": (EXACT, [Status(status=500, delay_s=ANSWER_S)], [Hang()]),
}
Ask = Callable[[], Awaitable[object]]


def ours(urls: list[str], **options: object) -> tuple[Ask, Callable[[], Awaitable[None]]]:
    from llmops_sdk import Engine, Router
    from llmops_sdk.messages import Request

    engines = [Engine.open(url, model="m", api_key="k" * 20, name=f"e{i}") for i, url in enumerate(urls)]
    router = Router(engines, attempt_timeout_s=2.0, **options)
    request = Request.of("Where is my parcel?")
    return lambda: router.agenerate(request), router.aclose


def ours_hedged(urls: list[str]) -> tuple[Ask, Callable[[], Awaitable[None]]]:
    return ours(urls, hedge="p95")


def litellm_router(urls: list[str]) -> tuple[Ask, Callable[[], Awaitable[None]]]:
    os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"
    import litellm

    litellm.suppress_debug_info = True
    router = litellm.Router(
        model_list=[
            {"model_name": "m", "litellm_params": {"model": "openai/m", "api_base": url, "api_key": "k" * 20}}
            for url in urls
        ],
        num_retries=3, timeout=2, allowed_fails=1, cooldown_time=30, retry_after=0,
        routing_strategy="simple-shuffle", enable_pre_call_checks=True,
    )  # fmt: skip

    async def nothing() -> None:
        pass

    return lambda: router.acompletion(model="m", messages=[{"role": "user", "content": "Where is my parcel?"}]), nothing


ROUTERS = {"ours": ours, "ours, hedged": ours_hedged, "LiteLLM Router": litellm_router}


async def measure(ask: Ask, requests: int, concurrency: int, limit_s: float) -> dict[str, object]:
    numbers = iter(range(requests))
    took: list[tuple[float, float]] = []
    errors: list[str] = []
    began = time.perf_counter()
    cpu = time.process_time()

    async def work() -> None:
        for _ in numbers:
            started = time.perf_counter()
            try:
                await ask()
            except Exception as exc:  # noqa: BLE001  (what comes is counted)
                errors.append(type(exc).__name__)
            else:
                took.append((started - began, time.perf_counter() - started))

    workers = [asyncio.create_task(work()) for _ in range(concurrency)]
    _, unfinished = await asyncio.wait(workers, timeout=limit_s)
    for worker in unfinished:
        worker.cancel()
    await asyncio.wait(workers)
    return {
        "answered": len(took),
        "errors": len(errors),
        "unfinished": len(unfinished),
        "all": [seconds for _, seconds in took],
        "after": [seconds for at, seconds in took if at > MEETS_S],
        "cpu_us": (time.process_time() - cpu) / max(len(took), 1) * 1e6,
        "wall_s": time.perf_counter() - began,
    }


def quantile(values: list[float], q: float) -> float:
    return statistics.quantiles(values, n=100)[round(q * 100) - 1] if len(values) > 1 else float("nan")


async def scenario(name: str, requests: int, concurrency: int, healthy: dict[str, float]) -> list[str]:
    rows = []
    if name.startswith("all healthy"):
        healthy.clear()
    with contextlib.ExitStack() as stack:
        urls = [stack.enter_context(FaultServer.in_subprocess(*behaviour)) for behaviour in SCENARIOS[name]]
        for peer, make in ROUTERS.items():
            try:
                ask, close = make(urls)
            except ImportError as exc:
                print(f"{peer}: {exc.name} is not installed", file=sys.stderr)
                continue
            print(f"{name}: {peer} ...", file=sys.stderr, flush=True)
            seen = await measure(ask, requests, concurrency, limit_s=90)
            await close()
            p99, after = quantile(seen["all"], 0.99), quantile(seen["after"], 0.99)
            healthy.setdefault(peer, after)
            rows.append(
                f"| {name} | {peer} | {seen['answered']:,} / {seen['errors']} / {seen['unfinished']} "
                f"| {quantile(seen['all'], 0.5) * 1000:.0f} | {p99 * 1000:.0f} | {after * 1000:.0f} "
                f"| {p99 / healthy[peer]:.2f} | {after / healthy[peer]:.2f} | {seen['cpu_us']:.0f} "
                f"| {seen['wall_s']:.1f} |"
            )
            print(rows[-1], flush=True)
    return rows


async def main(arguments: argparse.Namespace) -> None:
    healthy: dict[str, float] = {}
    rows = []
    for name in SCENARIOS:
        rows += await scenario(name, arguments.requests, arguments.concurrency, healthy)
    page = (
        "# Endpoints that fail\n\n"
        f"`python benchmarks/faults.py`. Measured {date.today()}; Python {sys.version.split()[0]}, {os.cpu_count()} "
        f"cores, no GPU; {arguments.requests:,} requests, {arguments.concurrency} at once, answers after "
        f"{ANSWER_S * 1000:.0f} ms (log-normal, sigma {SIGMA}; without spread: exactly). The ratios are to the p99 of "
        "the same router when all is healthy, with the same spread; the one of "
        f'"after" leaves out the first {MEETS_S:.0f} s, in which the router learns of the faults.\n\n'
        "| scenario | router | answered / errors / unfinished | p50 ms | p99 ms, all | p99 ms, after "
        "| p99 x healthy, all | p99 x healthy, after | CPU us a request | s in all |\n"
        "|---|---|---|---|---|---|---|---|---|---|\n" + "\n".join(rows) + "\n"
    )
    print(page)
    if arguments.out:
        Path(arguments.out).write_text(page)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--requests", type=int, default=2000)
    parser.add_argument("--concurrency", type=int, default=64)
    parser.add_argument("--out", help="where to write the table")
    asyncio.run(main(parser.parse_args()))
