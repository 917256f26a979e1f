"""What hooks add to a call of four steps: CPU while the caller waits, and CPU in all.

The call is a real one on an event loop: a prompt, a guard, a router of one scripted engine, a guard. Calls come in
bursts. The first column is the CPU of the loop's thread during the burst, when nothing else has its turn; the second
that of the whole process until all is delivered: with our own worker, and a batch processor whose exporter encodes to
protobuf (where `opentelemetry-exporter-otlp-proto-common` is installed) and throws away. Beside it stand as many
OpenTelemetry spans with the same names and attributes, made one by one by the same process. A third table is of calls
back to back, where all threads want the one interpreter.

All rows take turns, in reversed order every other round. What a row adds is taken from the row without hooks round by
round; medians over the rounds.

    python benchmarks/tracing.py [--rounds 60] [--calls 64] [--chunks 1000] [--out benchmarks/results/tracing.md]
"""

from __future__ import annotations

import argparse
import asyncio
import importlib.metadata
import os
import platform
import statistics
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path

from opentelemetry import trace
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider, sampling
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SimpleSpanProcessor, SpanExporter, SpanExportResult
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from llmops_sdk import Router, Scripted, tracing
from llmops_sdk.guards import Regex
from llmops_sdk.messages import Usage
from llmops_sdk.pipelines import Pipeline
from llmops_sdk.protocols import Hook
from llmops_sdk.tracing._dialects import DIALECTS
from llmops_sdk.tracing._later import LATER

try:
    from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
except ImportError:
    encode_spans = None

Once = Callable[[], Awaitable[object]]


class Encoder(SpanExporter):
    """Does what an exporter does before it sends."""

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        if encode_spans is not None:
            encode_spans(spans).SerializeToString()
        return SpanExportResult.SUCCESS

    def shutdown(self) -> None:
        pass


@dataclass
class Row:
    """One way to make the call; microseconds of each round: CPU of the loop's thread, CPU of the process, the clock."""

    name: str
    once: Once
    seen: list[tuple[float, float, float]] = field(default_factory=list)

    def added(self, floor: Row, column: int) -> float:
        """Median of what it adds to `floor`."""
        pairs = zip(self.seen, floor.seen, strict=True)
        return statistics.median(own[column] - without[column] for own, without in pairs)

    def median(self, column: int) -> float:
        return statistics.median(one[column] for one in self.seen)


def provider_with(processor_of: Callable[[], object], sampler: sampling.Sampler = sampling.ALWAYS_ON) -> TracerProvider:
    provider = TracerProvider(sampler=sampler, resource=Resource.get_empty(), shutdown_on_exit=False)
    provider.add_span_processor(processor_of())
    return provider


def batch() -> BatchSpanProcessor:
    return BatchSpanProcessor(Encoder(), max_queue_size=200_000)


def pipeline(hooks: Sequence[Hook], answer: object = "It is on its way, and comes on Friday.") -> Pipeline:
    engine = Scripted(answer, model="gpt-5-mini", usage=Usage(input_tokens=1312, output_tokens=158), name="openai")
    return Pipeline(
        "You help customers of a shop. Answer in one sentence: {{ question }}",
        Regex({"ticket": r"ticket-\d{4}"}, action="rewrite", name="tickets"),
        Router([engine]),
        Regex([r"damn"], name="swearing"),
        name="support",
        hooks=hooks,
    )


def call(hooks: Sequence[Hook]) -> Once:
    made = pipeline(hooks)
    return lambda: made.arun(question="Where is my parcel of ticket-1234?", tags={"tenant": "acme"})


def stream(hooks: Sequence[Hook], chunks: int) -> Once:
    made = pipeline(hooks, [" word"] * chunks)

    async def read() -> None:
        async for _ in made.astream(question="Where is it?"):
            pass

    return read


async def by_hand(provider: TracerProvider, dialects: Sequence[str]) -> tuple[Once, int, int]:
    """The spans of one call again, made one by one; how many they are, and how many attributes they have."""
    seen = InMemorySpanExporter()
    once = TracerProvider(shutdown_on_exit=False)
    once.add_span_processor(SimpleSpanProcessor(seen))
    await call([tracing.OpenTelemetry(once, dialects=dialects)])()
    LATER.flush(10.0)
    once.force_flush()
    spans = [(span.name, span.kind, dict(span.attributes or {}), span.parent) for span in seen.get_finished_spans()]
    root = next((name, kind, given) for name, kind, given, parent in spans if parent is None)
    children = [(name, kind, given) for name, kind, given, parent in spans if parent is not None]
    tracer = provider.get_tracer("benchmark")

    async def make() -> None:
        first = tracer.start_span(root[0], kind=root[1], attributes=root[2])
        context = trace.set_span_in_context(first)
        for name, kind, given in children:
            tracer.start_span(name, context=context, kind=kind, attributes=given).end()
        first.end()

    return make, len(spans), sum(len(given) for _, _, given, _ in spans)


async def rows_of_calls(recorded: TracerProvider, dropped: TracerProvider, meters: MeterProvider) -> list[Row]:
    every = tuple(DIALECTS)
    metrics = tracing.Metrics(meters, tags=("tenant",))
    spans = tracing.OpenTelemetry(recorded, dialects=every)
    hooks: dict[str, list[Hook]] = {
        "no hook": [],
        "`memory()`": [tracing.memory(maxlen=1_000)],
        "`OpenTelemetry()`, sampled out": [tracing.OpenTelemetry(dropped, dialects=every)],
        "`OpenTelemetry()`, recorded, gen_ai": [tracing.OpenTelemetry(recorded)],
        f"`OpenTelemetry()`, recorded, {len(every)} dialects": [spans],
        f"the same with content, {len(every)} dialects": [
            tracing.OpenTelemetry(recorded, dialects=every, content=True)
        ],
        "`Metrics()`": [metrics],
        f"`memory()`, {len(every)} dialects and `Metrics()`": [tracing.memory(maxlen=1_000), spans, metrics],
    }
    rows = [Row(name, call(given)) for name, given in hooks.items()]
    for dialects in dict.fromkeys((("gen_ai",), every)):
        make, number, attributes = await by_hand(recorded, dialects)
        rows.append(Row(f"{number} spans by hand, {attributes} attributes ({_dialects(len(dialects))})", make))
    return rows


def _dialects(number: int) -> str:
    return f"{number} dialect{'s' if number > 1 else ''}"


async def measure(rows: Sequence[Row], rounds: int, times: int, settle: Callable[[], None]) -> None:
    """Fill the rows; a first round warms up and does not count."""
    for number in range(rounds + 1):
        for row in rows if number % 2 else reversed(rows):
            settle()
            process, thread, clock = time.process_time(), time.thread_time(), time.perf_counter()
            for _ in range(times):
                await row.once()
            of_thread, of_clock = time.thread_time() - thread, time.perf_counter() - clock
            settle()
            of_process = time.process_time() - process
            if number:
                row.seen.append((of_thread / times * 1e6, of_process / times * 1e6, of_clock / times * 1e6))


def table(rows: Sequence[Row]) -> list[str]:
    floor = rows[0]
    lines = [
        "| what | added at the time of the call | of the spans by hand | added in all | of the spans by hand |",
        "|---|---:|---:|---:|---:|",
    ]
    for row in rows:
        cells = []
        by_hand = rows[-2] if row.name.endswith(("gen_ai", "(1 dialect)")) else rows[-1]
        for column in (0, 1):
            alone = "by hand" in row.name or row is floor  # these are no addition to anything
            added = row.median(column) if alone else row.added(floor, column)
            cells += [f"{added:,.1f}", "" if row is floor else f"{added / by_hand.median(column):.2f}"]
        name = f"{row.name} (the call itself)" if row is floor else row.name
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return lines


def chunk_table(rows: Sequence[Row], chunks: int) -> list[str]:
    floor = rows[0]
    lines = ["| what | ns a chunk at the time of the call | ns a chunk in all |", "|---|---:|---:|"]
    for row in rows:
        cells = [row.median(column) if row is floor else row.added(floor, column) for column in (0, 1)]
        name = f"{row.name} (the stream itself, with the times of its chunks)" if row is floor else row.name
        lines.append(f"| {name} | {' | '.join(f'{cell / chunks * 1000:,.0f}' for cell in cells)} |")
    return lines


def saturated_table(rows: Sequence[Row]) -> list[str]:
    return [
        "| what | CPU of the loop's thread | of the process | from call to call |",
        "|---|---:|---:|---:|",
        *(f"| {row.name} | {' | '.join(f'{row.median(column):,.0f}' for column in (0, 1, 2))} |" for row in rows),
    ]


async def everything(rounds: int, calls: int, chunks: int) -> tuple[list[str], list[str], list[str]]:
    recorded = provider_with(batch)
    dropped = provider_with(batch, sampling.ALWAYS_OFF)
    meters = MeterProvider(metric_readers=[InMemoryMetricReader()], shutdown_on_exit=False)

    def settle() -> None:
        LATER.flush(60.0)
        recorded.force_flush()

    rows = await rows_of_calls(recorded, dropped, meters)
    await measure(rows, rounds, calls, settle)
    hooks = [tracing.OpenTelemetry(recorded, dialects=tuple(DIALECTS)), tracing.Metrics(meters)]
    streams = [
        Row("no hook", stream([], chunks)),
        Row(f"{len(DIALECTS)} dialects and `Metrics()`", stream(hooks, chunks)),
    ]
    await measure(streams, max(rounds // 3, 1), 4, settle)
    busy = [Row(row.name, row.once) for row in (rows[0], rows[4], rows[-1])]
    await measure(busy, max(rounds // 12, 1), 1000, settle)
    recorded.shutdown()
    dropped.shutdown()
    meters.shutdown()
    return table(rows), chunk_table(streams, chunks), saturated_table(busy)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=60)
    parser.add_argument("--calls", type=int, default=64)
    parser.add_argument("--chunks", type=int, default=1000)
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results" / "tracing.md")
    options = parser.parse_args()
    load = os.getloadavg()[0]
    calls, streams, busy = asyncio.run(everything(options.rounds, options.calls, options.chunks))
    encoded = "encoded to protobuf and thrown away" if encode_spans is not None else "thrown away, and not encoded"
    page = f"""# What tracing adds to a call

{date.today()}; {os.cpu_count()} cores; Python {platform.python_version()}; opentelemetry-sdk
{importlib.metadata.version("opentelemetry-sdk")}; load average of the machine when it began: {load:.1f}, at the end:
{os.getloadavg()[0]:.1f}. Medians of {options.rounds} rounds in turns, each a burst of {options.calls:,} calls; \
microseconds of CPU for each call.
Dialects: {", ".join(DIALECTS)}. Spans are {encoded}.

The call is a prompt, a guard, a router of one engine, a guard. "At the time of the call" is the CPU of the event
loop's thread; "in all" is that of the process, after all has been delivered. The ratios are to the last
rows: the same spans with the same attributes, made one by one; to those of one dialect for `gen_ai`, else to those of
all. Microseconds depend on the machine and its load; the ratios hardly do.

{chr(10).join(calls)}

A stream of {options.chunks:,} chunks through the same stations; nanoseconds of CPU for each chunk:

{chr(10).join(streams)}

1,000 calls back to back on a loop that is never idle, microseconds for each call. Here the worker has its turn only
where the loop lets it, and the loop waits for the worker:

{chr(10).join(busy)}

Made by `python benchmarks/tracing.py`.
"""
    print(page)
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(page, encoding="utf-8")


if __name__ == "__main__":
    main()
