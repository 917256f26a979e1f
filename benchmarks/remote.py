"""What an endpoint costs above its transport: whole answers, streamed chunks, and how that grows with many in flight.

One process talks to one local server (the fault server of `llmops_sdk.testing`, in a process of its own), which waits
100 ms before it answers, so that all calls are truly in flight. The ways take turns, in reversed order every other
round, and what counts is the CPU time of the client's process (user + system) per call: medians over the rounds, and
ratios taken round by round. The same bytes go out and come back in every way:

* bytes: the transport alone, the request ready-made, the answer left as bytes
* bare: the transport, with `orjson.dumps` of the request and `orjson.loads` of the answer, which everybody needs
* ours: `engine.agenerate(request)`, `engine.astream(request)`

    python benchmarks/remote.py [--rounds 9] [--out benchmarks/results/remote.md]
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import os
import statistics
import sys
import time
from collections.abc import Awaitable, Callable
from datetime import date
from pathlib import Path
from urllib.parse import urlsplit

import orjson

from llmops_sdk import Engine
from llmops_sdk.engines.http11 import Http11
from llmops_sdk.messages import Message, Request, Usage
from llmops_sdk.testing import FaultServer, Reply

CHUNKS = 200
KEY = "k" * 20
IN_FLIGHT = (16, 256)
REQUEST = Request(
    messages=(
        Message.system("You answer questions of customers of a shop, briefly and kindly. Promise nothing."),
        Message.user("Where is my parcel? It was sent on Monday, by express, and should be here by now."),
    ),
    temperature=0.0,
    max_tokens=64,
)
BUDGETS = {"call": 1.25, "chunk": 6.0, "growth": 1.3}

Once = Callable[[], Awaitable[object]]


class Ways:
    """The ways to ask one server."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        self._engine = Engine.open(url, model="m", api_key=KEY)
        self._transport = Http11(parts.hostname or "", parts.port or 80, tls=False)
        self._path = parts.path + "/chat/completions"
        self._headers = self._engine._headers  # what goes out is the same to the byte
        self._asked = {stream: self._engine.asked(REQUEST, stream=stream) for stream in (False, True)}
        self._bytes = {stream: self._engine.written(REQUEST, stream=stream) for stream in (False, True)}

    def calls(self) -> dict[str, Once]:
        async def raw() -> None:
            reply = await self._transport.send("POST", self._path, self._headers, self._bytes[False], whole=True)
            await reply.read()

        async def bare() -> object:
            body = orjson.dumps(self._asked[False])
            reply = await self._transport.send("POST", self._path, self._headers, body, whole=True)
            return orjson.loads(await reply.read())

        return {"bytes": raw, "bare": bare, "ours": lambda: self._engine.agenerate(REQUEST)}

    def streams(self) -> dict[str, Once]:
        async def raw() -> None:
            reply = await self._transport.send("POST", self._path, self._headers, self._bytes[True], whole=False)
            while await reply.chunk():
                pass
            reply.close()

        async def ours() -> None:
            async for _ in self._engine.astream(REQUEST):
                pass

        return {"bytes": raw, "ours": ours}

    async def close(self) -> None:
        await self._engine.aclose()
        await self._transport.aclose()


async def cost(once: Once, in_flight: int, times: int) -> float:
    """CPU microseconds for each of `in_flight * times` calls."""

    async def work() -> None:
        for _ in range(times):
            await once()

    gc.collect()
    started = time.process_time()
    await asyncio.gather(*[work() for _ in range(in_flight)])
    return (time.process_time() - started) / in_flight / times * 1e6


async def measured(ways: dict[str, Once], in_flight: int, times: int, rounds: int) -> dict[str, list[float]]:
    found: dict[str, list[float]] = {name: [] for name in ways}
    for once in ways.values():
        await cost(once, in_flight, 1)  # warm: connections
    for number in range(rounds):
        for name, once in ways.items() if number % 2 == 0 else reversed(ways.items()):
            found[name].append(await cost(once, in_flight, times))
    return found


def ratio(above: list[float], below: list[float]) -> float:
    return statistics.median(a / b for a, b in zip(above, below, strict=True))


def pin(cpu: int) -> None:
    """The server and the client on cores of their own, where there are two."""
    if hasattr(os, "sched_setaffinity") and (os.cpu_count() or 1) > 1:
        os.sched_setaffinity(0, {cpu})


async def main(rounds: int, out: str | None) -> None:
    usage = Usage(input_tokens=50, output_tokens=64)
    whole = Reply(text="word " * 64, delay_s=0.1, usage=usage)
    pieces = Reply(chunks=tuple(f"word{i} " for i in range(CHUNKS)), chunk_delay_s=None, delay_s=0.1, usage=usage)
    calls: dict[int, dict[str, list[float]]] = {}
    streams: dict[int, dict[str, list[float]]] = {}
    pin(0)
    with FaultServer.in_subprocess(whole) as url, FaultServer.in_subprocess(pieces) as stream_url:
        pin(1)
        ways, stream_ways = Ways(url), Ways(stream_url)
        for in_flight in IN_FLIGHT:
            print(f"{in_flight} in flight", file=sys.stderr, flush=True)
            calls[in_flight] = await measured(ways.calls(), in_flight, max(2, 512 // in_flight), rounds)
            streams[in_flight] = await measured(stream_ways.streams(), in_flight, max(1, 32 // in_flight), rounds)
        await ways.close()
        await stream_ways.close()
    page = table(calls, streams)
    print(page)
    if out:
        Path(out).write_text(page)


def table(calls: dict[int, dict[str, list[float]]], streams: dict[int, dict[str, list[float]]]) -> str:
    few, many = IN_FLIGHT
    machine = f"Measured {date.today()}; Python {sys.version.split()[0]}, {os.cpu_count()} cores; loopback, no TLS."
    lines = [
        "# What an endpoint costs above its transport",
        "",
        f"`python benchmarks/remote.py`. {machine} CPU time of the client's process.",
        "",
        f"| a whole answer | {few} in flight | {many} in flight | growth |",
        "|---|---|---|---|",
    ]
    for name in calls[few]:
        a, b = calls[few][name], calls[many][name]
        lines.append(f"| {name}, us | {statistics.median(a):.1f} | {statistics.median(b):.1f} | {ratio(b, a):.2f} |")
    shares = [ratio(calls[n]["ours"], calls[n]["bare"]) for n in IN_FLIGHT]
    lines += [f"| ours / bare (budget {BUDGETS['call']}) | {shares[0]:.2f} | {shares[1]:.2f} | |", ""]
    lines += [f"| a chunk of {CHUNKS} | {few} streams | {many} streams | growth |", "|---|---|---|---|"]
    for name in streams[few]:
        a, b = ([value / CHUNKS for value in streams[n][name]] for n in IN_FLIGHT)
        lines.append(f"| {name}, us | {statistics.median(a):.2f} | {statistics.median(b):.2f} | {ratio(b, a):.2f} |")
    above = []
    for n in IN_FLIGHT:
        pairs = zip(streams[n]["ours"], streams[n]["bytes"], strict=True)
        above.append(statistics.median((a - b) / CHUNKS for a, b in pairs))
    lines.append(f"| ours - bytes, us (budget {BUDGETS['chunk']:g}) | {above[0]:.2f} | {above[1]:.2f} | |")
    lines += ["", f"Budget of growth, whole answers and chunks: {BUDGETS['growth']}.", ""]
    return "\n".join(lines)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--out", default=str(Path(__file__).with_name("results") / "remote.md"))
    given = parser.parse_args()
    asyncio.run(main(given.rounds, given.out))
