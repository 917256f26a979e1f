"""What limits cost: CPU time of a call through a router of three scripted engines, with limits and without.

The faces take turns; each figure is the median over the rounds of a face's CPU time (user and system, all threads of
this process) for a call, less that of the router without limits in the same round. The last table asks a `redis-server`
that the script starts, and also states the server's own CPU time.

    python benchmarks/limits.py [--rounds 5] [--calls 4000] [--out FILE]
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import os
import platform
import statistics
import time
from collections.abc import Awaitable, Callable
from datetime import date
from pathlib import Path

from local_redis import local_redis

from llmops_sdk.calls import Call
from llmops_sdk.engines import Scripted
from llmops_sdk.messages import Message, Request
from llmops_sdk.routers import Adaptive, Leg, Limit, Router

PLENTY = 10**9
MESSAGES = (Message.user("Where is my parcel? " * 20),)
EVERYTHING = Limit(requests_per_minute=PLENTY, tokens_per_minute=PLENTY, concurrent=PLENTY, usd_per_day=1_000_000)

Face = Callable[[int], Awaitable[None]]


def router(
    limits: Limit | list[Limit] | tuple[()] = (), *, of_leg: list[Adaptive] | tuple[()] = (), **options
) -> Router:
    legs = [Leg(Scripted("fine", name=name, model="gpt-5-mini"), limits=of_leg) for name in "abc"]
    return Router(legs, strategy="round_robin", limits=limits, **options)


def face(target: Router, at_once: int = 1, tags: Callable[[], dict[str, str]] | None = None) -> Face:
    prices = target._prices

    async def one() -> None:
        await target.agenerate(Request(messages=MESSAGES, call=Call(prices=prices, tags=tags() if tags else None)))

    async def many(calls: int) -> None:
        if at_once == 1:
            for _ in range(calls):
                await one()
            return

        async def some() -> None:
            for _ in range(calls // at_once):
                await one()

        await asyncio.gather(*(some() for _ in range(at_once)))

    return many


async def cpu_us(faces: dict[str, Face], rounds: int, calls: int) -> dict[str, list[float]]:
    """CPU microseconds a call of each face, round by round, after one round that does not count."""
    found: dict[str, list[float]] = {name: [] for name in faces}
    for turn in range(rounds + 1):
        for name in faces if turn % 2 else reversed(faces):
            began = time.process_time()
            await faces[name](calls)
            if turn:
                found[name].append((time.process_time() - began) / calls * 1e6)
    return found


def table(found: dict[str, list[float]], bare: str) -> str:
    lines = [f"| | us a call | over {bare} |", "|---|---:|---:|"]
    for name, taken in found.items():
        more = [one - other for one, other in zip(taken, found[bare], strict=True)]
        lines.append(f"| {name} | {statistics.median(taken):.1f} | {statistics.median(more):+.1f} |")
    return "\n".join(lines)


async def in_this_process(rounds: int, calls: int) -> str:
    users = itertools.count()
    faces = {
        "no limits": face(router()),
        "requests": face(router(Limit(requests_per_minute=PLENTY))),
        "requests, tokens, concurrent and money": face(router(EVERYTHING)),
        "requests for each user, every call another one": face(
            router(Limit(requests_per_minute=PLENTY, per="tag:user")), tags=lambda: {"user": str(next(users))}
        ),
        "adaptive": face(router(of_leg=[Adaptive()])),
        "no limits, 64 at once": face(router(), 64),
        "one at once, 64 callers: all wait in line": face(router(Limit(concurrent=1, per="router")), 64),
    }
    return table(await cpu_us(faces, rounds, calls), "no limits")


async def in_redis(port: int, rounds: int, calls: int) -> str:
    import redis

    from llmops_sdk.routers.redis import RedisLimits

    url = f"redis://127.0.0.1:{port}"

    def shared(limits: Limit, prefix: str) -> Router:
        return router(limits, limit_store=RedisLimits(url, prefix=prefix, timeout_s=5))

    routers = [shared(Limit(requests_per_minute=PLENTY), "one"), shared(EVERYTHING, "four")]
    faces = {
        "no limits": face(router(), 64),
        "requests, 64 at once": face(routers[0], 64),
        "requests, tokens, concurrent and money, 64 at once": face(routers[1], 64),
        "requests, one after the other": face(routers[0]),
    }
    found = await cpu_us(faces, rounds, calls)
    lines = [table(found, "no limits"), "", "| in the server | us a reservation and its settlement |", "|---|---:|"]
    client = redis.Redis.from_url(url)
    for name in list(faces)[1:]:
        before = _server_cpu_s(client)
        await faces[name](calls)
        lines.append(f"| {name} | {(_server_cpu_s(client) - before) / calls * 1e6:.1f} |")
    client.close()
    for one in routers:
        await one.aclose()
    return "\n".join(lines)


def _server_cpu_s(client) -> float:
    info = client.info("cpu")
    return info["used_cpu_user"] + info["used_cpu_sys"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--calls", type=int, default=4_000)
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results" / "limits.md")
    options = parser.parse_args()
    load = os.getloadavg()[0]
    local = asyncio.run(in_this_process(options.rounds, options.calls))
    shared = "not measured: there is no redis-server here"
    with local_redis() as port:
        if port is not None:
            shared = asyncio.run(in_redis(port, options.rounds, options.calls))
    page = f"""# What limits cost

{date.today()}; {os.cpu_count()} cores; Python {platform.python_version()}; load average of the machine when it began:
{load:.1f}. CPU microseconds of this process for a call through a router of three scripted engines; medians of
{options.rounds} rounds of {options.calls:,} calls in turns, differences round by round.

## Counted in this process

{local}

## Counted in Redis

{shared}

Made by `python benchmarks/limits.py`.
"""
    print(page)
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(page, encoding="utf-8")


if __name__ == "__main__":
    main()
