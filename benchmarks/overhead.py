"""What a call costs the client: our whole pipeline beside bare HTTP clients, the OpenAI client and LiteLLM's Router.

All talk to one local server (the fault server of `llmops_sdk.testing`, in its own process) which waits 100 ms before it
answers, so that all calls are truly in flight. Each peer runs in a process of its own (the server on one core, the
clients on another); the peers take turns, in
reversed order every other round, and what counts is the CPU time of the whole process (user + system, all threads) per
call: medians over the rounds, and ratios taken round by round.

    python benchmarks/overhead.py [--rounds 5] [--concurrency 16 64] [--out benchmarks/results/overhead.md]

Peers that are not installed are left out, and named.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import shlex
import statistics
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import date
from pathlib import Path

Once = Callable[[], Awaitable[object]]

QUESTION = (
    "Where is my parcel? It was sent on Monday, by express, to the address in my account, and should be here by now."
)
SYSTEM = "You answer questions of customers of a shop, briefly and kindly. If you do not know, say so. Promise nothing."
KEY = "k" * 20
BODY = {
    "model": "m",
    "messages": [{"role": "system", "content": SYSTEM}, {"role": "user", "content": f"Ada asks: {QUESTION}"}],
    "temperature": 0.0,
    "max_tokens": 64,
}


def _pipeline(url: str, *, traced: bool) -> object:
    from llmops_sdk import Engine, Pipeline, Prompt, Router, guards
    from llmops_sdk.tracing import OpenTelemetry

    engines = [Engine.open(url, model="m", api_key=KEY, name=f"e{i}") for i in range(3)]
    prompt = Prompt.from_string("{{ customer }} asks: {{ question }}", system=SYSTEM, temperature=0.0, max_tokens=64)
    hooks = []
    if traced:
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult

        class Nowhere(SpanExporter):
            def export(self, spans: object) -> SpanExportResult:
                return SpanExportResult.SUCCESS

        provider = TracerProvider()
        provider.add_span_processor(BatchSpanProcessor(Nowhere(), max_queue_size=100_000))
        hooks.append(OpenTelemetry(provider))
    return Pipeline(prompt, guards.PII(), Router(engines), guards.Secrets(), hooks=hooks)


async def ours(url: str, *, traced: bool = False) -> tuple[Once, Once]:
    pipeline = _pipeline(url, traced=traced)

    async def call() -> object:
        return await pipeline.arun(customer="Ada", question=QUESTION)

    async def stream() -> None:
        async for _ in pipeline.astream(customer="Ada", question=QUESTION):
            pass

    return call, stream


async def ours_traced(url: str) -> tuple[Once, Once]:
    return await ours(url, traced=True)


async def ours_unguarded(url: str) -> tuple[Once, Once]:
    from llmops_sdk import Engine

    pipeline = "{{ question }}" | Engine.open(url, model="m", api_key=KEY)

    async def stream() -> None:
        async for _ in pipeline.astream(question=QUESTION):
            pass

    return lambda: pipeline.arun(question=QUESTION), stream


async def ours_no_io(url: str) -> tuple[Once, Once]:
    from llmops_sdk import Pipeline, Prompt, Router, Scripted, guards
    from llmops_sdk.messages import Usage

    words = ["word "] * 64
    engines = [Scripted("word " * 64, name=f"e{i}", usage=Usage(input_tokens=50, output_tokens=64)) for i in range(3)]
    streaming = [Scripted(words, name=f"s{i}", usage=Usage(input_tokens=50, output_tokens=64)) for i in range(3)]
    prompt = Prompt.from_string("{{ customer }} asks: {{ question }}", system=SYSTEM, temperature=0.0, max_tokens=64)
    whole = Pipeline(prompt, guards.PII(), Router(engines), guards.Secrets())
    pieces = Pipeline(prompt, guards.PII(), Router(streaming), guards.Secrets())

    async def call() -> None:
        await whole.arun(customer="Ada", question=QUESTION)
        for engine in engines:
            engine.requests.clear()

    async def stream() -> None:
        async for _ in pieces.astream(customer="Ada", question=QUESTION):
            pass
        for engine in streaming:
            engine.requests.clear()

    return call, stream


async def bare_transport(url: str) -> tuple[Once, Once]:
    from urllib.parse import urlsplit

    import orjson

    from llmops_sdk.engines.http11 import Http11

    parts = urlsplit(url)
    transport = Http11(parts.hostname or "", parts.port or 80, tls=False)
    path = parts.path + "/chat/completions"
    headers = b"content-type: application/json\r\nauthorization: Bearer " + KEY.encode() + b"\r\n"

    async def call() -> object:
        reply = await transport.send("POST", path, headers, orjson.dumps(BODY), whole=True)
        return orjson.loads(await reply.read())

    async def stream() -> None:
        reply = await transport.send("POST", path, headers, orjson.dumps(BODY | STREAM), whole=False)
        while await reply.chunk():
            pass
        reply.close()

    return call, stream


STREAM = {"stream": True, "stream_options": {"include_usage": True}}
HEADERS = {"content-type": "application/json", "authorization": f"Bearer {KEY}"}


async def httpx2_bare(url: str) -> tuple[Once, Once]:
    import httpx2

    client = httpx2.AsyncClient(limits=httpx2.Limits(max_connections=None), timeout=60)
    return _httpx_like(client, url)


async def httpx_bare(url: str) -> tuple[Once, Once]:
    import httpx

    client = httpx.AsyncClient(limits=httpx.Limits(max_connections=None), timeout=60)
    return _httpx_like(client, url)


def _httpx_like(client: object, url: str) -> tuple[Once, Once]:
    async def call() -> object:
        response = await client.post(url + "/chat/completions", content=json.dumps(BODY).encode(), headers=HEADERS)
        return json.loads(response.content)

    async def stream() -> None:
        body = json.dumps(BODY | STREAM).encode()
        async with client.stream("POST", url + "/chat/completions", content=body, headers=HEADERS) as response:
            async for line in response.aiter_lines():
                if line.startswith("data: ") and line != "data: [DONE]":
                    json.loads(line[6:])

    return call, stream


async def aiohttp_bare(url: str) -> tuple[Once, Once]:
    import aiohttp

    session = aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0))

    async def call() -> object:
        async with session.post(url + "/chat/completions", data=json.dumps(BODY).encode(), headers=HEADERS) as response:
            return json.loads(await response.read())

    async def stream() -> None:
        body = json.dumps(BODY | STREAM).encode()
        async with session.post(url + "/chat/completions", data=body, headers=HEADERS) as response:
            async for line in response.content:
                if line.startswith(b"data: ") and b"[DONE]" not in line:
                    json.loads(line[6:])

    return call, stream


async def openai_client(url: str) -> tuple[Once, Once]:
    import openai

    client = openai.AsyncOpenAI(base_url=url, api_key=KEY, max_retries=0)

    async def stream() -> None:
        async for _ in await client.chat.completions.create(**BODY, **STREAM):
            pass

    return lambda: client.chat.completions.create(**BODY), stream


async def litellm_router(url: str) -> tuple[Once, Once]:
    os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"
    import litellm

    litellm.suppress_debug_info = True
    params = {"model": "openai/m", "api_base": url, "api_key": KEY}
    router = litellm.Router(
        model_list=[{"model_name": "m", "litellm_params": {**params, "rpm": 10**9 + i}} for i in range(3)]
    )

    async def stream() -> None:
        async for _ in await router.acompletion(**BODY, **STREAM):
            pass

    return lambda: router.acompletion(**BODY), stream


async def litellm_bare(url: str) -> tuple[Once, Once]:
    os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"
    import litellm

    litellm.suppress_debug_info = True
    body = BODY | {"model": "openai/m", "api_base": url, "api_key": KEY, "num_retries": 0, "max_retries": 0}

    async def stream() -> None:
        async for _ in await litellm.acompletion(**body, **STREAM):
            pass

    return lambda: litellm.acompletion(**body), stream


async def engine_alone(url: str) -> tuple[Once, Once]:
    from llmops_sdk import Engine

    return _asked(Engine.open(url, model="m", api_key=KEY))


async def router_alone(url: str) -> tuple[Once, Once]:
    from llmops_sdk import Engine, Router

    return _asked(Router([Engine.open(url, model="m", api_key=KEY, name=f"e{i}") for i in range(3)]))


async def litellm_engine(url: str) -> tuple[Once, Once]:
    import litellm  # noqa: F401  (a peer that is not installed is left out)

    from llmops_sdk import Engine

    return _asked(Engine.open("litellm:openai/m", api_base=url, api_key=KEY))


def _asked(engine: object) -> tuple[Once, Once]:
    """An engine, asked what all others are asked."""
    from llmops_sdk.messages import Message, Request

    messages = tuple(Message(**message) for message in BODY["messages"])
    request = Request(messages=messages, temperature=BODY["temperature"], max_tokens=BODY["max_tokens"])

    async def stream() -> None:
        async for _ in engine.astream(request):
            pass

    return lambda: engine.agenerate(request), stream


PEERS: dict[str, tuple[str, Callable[[str], Awaitable[tuple[Once, Once]]]]] = {
    "ours, no I/O": ("prompt + PII + router of 3 + Secrets, scripted engines", ours_no_io),
    "bare transport": ("our HTTP/1.1 on httptools + orjson", bare_transport),
    "engine": ("one of our endpoints alone", engine_alone),
    "router": ("our router of 3 such endpoints", router_alone),
    "ours, one engine": ("string prompt + one endpoint", ours_unguarded),
    "ours": ("prompt + PII + router of 3 + Secrets, tracing off", ours),
    "ours, traced": ("the same, with OpenTelemetry spans", ours_traced),
    "aiohttp": ("bare, json", aiohttp_bare),
    "httpx2": ("bare, json", httpx2_bare),
    "httpx": ("bare, json", httpx_bare),
    "openai": ("AsyncOpenAI", openai_client),
    "LiteLLM Router": ("3 deployments", litellm_router),
    "LiteLLM": ("litellm.acompletion alone", litellm_bare),
    "ours, LiteLLM": ("the engine `litellm:` alone", litellm_engine),
}


async def _serve_measurements(peer: str, url: str) -> None:
    """Read `kind concurrency calls` lines from stdin; answer each with CPU seconds."""
    _pin(1)
    try:
        call, stream = await PEERS[peer][1](url)
    except ImportError as exc:
        print(f"missing {exc.name}", flush=True)
        return
    print("ready", flush=True)
    loop = asyncio.get_running_loop()
    while line := await loop.run_in_executor(None, sys.stdin.readline):
        kind, concurrency, calls = line.split()
        once = call if kind == "call" else stream
        numbers = iter(range(int(calls)))

        async def work(once: Once = once, numbers: object = numbers) -> None:
            for _ in numbers:
                await once()

        started = time.process_time()
        await asyncio.gather(*[work() for _ in range(int(concurrency))])
        print(time.process_time() - started, flush=True)


def _pin(cpu: int) -> None:
    """The server and the clients on cores of their own, where there are two."""
    if hasattr(os, "sched_setaffinity") and (os.cpu_count() or 1) > 1:
        os.sched_setaffinity(0, {cpu})


class Peer:
    """A peer in its own process."""

    def __init__(self, name: str, url: str) -> None:
        self.name = name
        command = [sys.executable, __file__, "--worker", name, "--url", url]
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
        )
        self.state = self._read()

    def _read(self) -> str:
        while (line := self._process.stdout.readline()) and not line.startswith(
            ("ready", "missing", "0", "1", "2", "3", "4", "5", "6", "7", "8", "9")
        ):
            pass
        return line.strip() or "died"

    def measure(self, kind: str, concurrency: int, calls: int) -> float:
        """CPU microseconds for each call."""
        self._process.stdin.write(f"{kind} {concurrency} {calls}\n")
        self._process.stdin.flush()
        answer = self._read()
        if answer == "died":
            raise RuntimeError(
                f"the process of {self.name!r} died; run `{sys.argv[0]} --worker {self.name!r} --url ...`"
            )
        return float(answer) / calls * 1e6

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self._process.stdin.close()
        self._process.kill()
        self._process.wait()


@contextlib.asynccontextmanager
async def _server(*, chunks: int) -> AsyncIterator[str]:
    from llmops_sdk.testing import FaultServer, Reply

    with FaultServer.in_subprocess(
        Reply(chunks=tuple(f"word{i} " for i in range(chunks)), chunk_delay_s=None, delay_s=0.1)
    ) as url:
        yield url


def _table(title: str, unit: str, measured: dict[str, list[float]], against: list[str]) -> str:
    lines = [f"### {title}", "", f"| peer | what | {unit} | " + " | ".join(f"x {peer}" for peer in against) + " |"]
    lines.append("|---|---|---|" + "---|" * len(against))
    for name, values in measured.items():
        ratios = []
        for peer in against:
            pairs = [a / b for a, b in zip(values, measured.get(peer, []), strict=False)]
            ratios.append(f"{statistics.median(pairs):.2f}" if pairs else "-")
        lines.append(f"| {name} | {PEERS[name][0]} | {statistics.median(values):.1f} | " + " | ".join(ratios) + " |")
    return "\n".join(lines) + "\n"


async def _main(arguments: argparse.Namespace) -> None:
    chunks = 200
    parts = []
    _pin(0)
    names = [name for name in PEERS if not arguments.only or name in arguments.only]
    async with _server(chunks=64) as url, _server(chunks=chunks) as stream_url:
        peers, left_out = [], []
        for name in names:
            peer = Peer(name, url)
            if peer.state == "ready":
                peers.append(peer)
            else:
                left_out.append(f"{name} ({peer.state})")
                peer.close()
        streaming = [Peer(peer.name, stream_url) for peer in peers if peer.name != "bare transport"]
        try:
            order = ("httpx2", "openai", "LiteLLM Router", "LiteLLM", "bare transport")
            against = [name for name in order if name in names]
            for concurrency in arguments.concurrency:
                measured = _rounds(peers, "call", concurrency, concurrency * arguments.calls, arguments.rounds)
                parts.append(_table(f"{concurrency} calls in flight", "CPU us a call", measured, against))
            measured = _rounds(streaming, "stream", 16, 48, arguments.rounds)
            per_chunk = {name: [value / chunks for value in values] for name, values in measured.items()}
            others = [name for name in against if name != "bare transport"]
            parts.append(_table(f"16 streams of {chunks} chunks", "CPU us a chunk", per_chunk, others))
        finally:
            for peer in peers + streaming:
                peer.close()
    head = (
        f"Measured {date.today()}; Python {sys.version.split()[0]}, {os.cpu_count()} cores, no GPU; loopback, no TLS."
    )
    if left_out:
        head += f" Not installed: {', '.join(left_out)}."
    only = f" --only {shlex.join(arguments.only)}" if arguments.only else ""
    page = f"# Overhead of a call\n\n`python benchmarks/overhead.py{only}`. {head}\n\n" + "\n".join(parts)
    print(page)
    if arguments.out:
        Path(arguments.out).write_text(page)


def _rounds(peers: list[Peer], kind: str, concurrency: int, calls: int, rounds: int) -> dict[str, list[float]]:
    for peer in peers:
        peer.measure(kind, concurrency, concurrency)  # warm: connections, lazy imports
    measured: dict[str, list[float]] = {peer.name: [] for peer in peers}
    for number in range(rounds):
        print(f"{kind}, {concurrency} at once: round {number + 1} of {rounds}", file=sys.stderr, flush=True)
        for peer in peers if number % 2 == 0 else reversed(peers):
            measured[peer.name].append(peer.measure(kind, concurrency, calls))
    return measured


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--calls", type=int, default=12, help="calls for each worker and round")
    parser.add_argument("--concurrency", type=int, nargs="+", default=[16, 64])
    parser.add_argument("--only", nargs="+", help="peers to measure")
    parser.add_argument("--out", help="where to write the table")
    parser.add_argument("--worker", help=argparse.SUPPRESS)
    parser.add_argument("--url", help=argparse.SUPPRESS)
    given = parser.parse_args()
    asyncio.run(_serve_measurements(given.worker, given.url) if given.worker else _main(given))
