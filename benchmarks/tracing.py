"""What tracing adds to a call: CPU microseconds, for a record of a render, two guards, a route and an attempt.

`nox -s bench -- tracing.py`. The record itself is made in every row; the first row is its cost alone. Each figure is
the median of seven rounds of CPU time, all threads together, so the batch processor and a null exporter are in it.
"""

from __future__ import annotations

import importlib.metadata
import os
import platform
import statistics
import time
from collections.abc import Callable, Sequence
from datetime import date
from decimal import Decimal
from functools import partial

from opentelemetry import trace
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider, sampling
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SimpleSpanProcessor, SpanExporter, SpanExportResult
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from llmops_sdk import tracing
from llmops_sdk.calls import AttemptEnded, AttemptStarted, Call, Ended, GuardChecked, Rendered, Routed, Started
from llmops_sdk.messages import Choice, PromptRef, Request, Response, Usage
from llmops_sdk.protocols import Hook
from llmops_sdk.verdicts import Finding, Verdict

_PROMPT = PromptRef(name="support/answer", version="prod", commit="9f31c02ab7e1d", hash="c0ffee")
_REQUEST = Request(messages=Request.of("Where is my parcel?").messages, temperature=0.2, max_tokens=200, prompt=_PROMPT)
_USAGE = Usage(input_tokens=1312, output_tokens=158)
_RESPONSE = Response(
    choices=(Choice(text="On its way.", finish_reason="stop"),), usage=_USAGE, model="gpt-5-mini-2026", id="resp-1"
)
_REWRITE = Verdict.rewrite("Where is <it>?", (Finding(kind="email", start=0, end=5),))
_COST = Decimal("0.00021")


class _Nowhere(SpanExporter):
    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        return SpanExportResult.SUCCESS

    def shutdown(self) -> None:
        pass


def run(hooks: tuple[Hook, ...]) -> Call:
    """Record one typical call."""
    call = Call(hooks=hooks)
    t = call.started
    call.record(Started(t, "support", streamed=False))
    call.record(Rendered(t, t + 0.0001, _PROMPT, _REQUEST))
    call.record(GuardChecked(t + 0.0001, t + 0.0002, "prompt_injection", "input", Verdict.allow(), 0.0001))
    call.record(Routed(t + 0.0002, "latency", ("vllm", "openai"), ()))
    call.record(AttemptStarted(t + 0.0002, "openai", 1))
    call.record(
        AttemptEnded(
            t + 0.0002, t + 0.5, "openai", "openai", 1, _REQUEST, _RESPONSE, _USAGE, _COST, None,
            streamed=False, first_chunk_at=None, chunks=0, model="gpt-5-mini",
        )
    )  # fmt: skip
    call.record(GuardChecked(t + 0.5, t + 0.5001, "pii", "output", _REWRITE, 0.0001))
    call.record(Ended(t + 0.5002, "ok", None))
    return call


def measure(act: Callable[[], object], calls: int = 2_000, rounds: int = 7) -> float:
    """Median CPU microseconds of one `act()`."""
    spent = []
    for _ in range(rounds):
        before = time.process_time()
        for _ in range(calls):
            act()
        spent.append((time.process_time() - before) / calls * 1e6)
    return statistics.median(spent)


def sdk_alone(provider: TracerProvider, attributes: int) -> Callable[[], None]:
    """The same tree of five spans made by hand, with so many attributes in all: what no hook can do without."""
    tracer = provider.get_tracer("benchmark")
    each = [{f"key{n}": "value" for n in range(attributes // 5 + (span < attributes % 5))} for span in range(5)]

    def make() -> None:
        root = tracer.start_span("root", attributes=each[0])
        context = trace.set_span_in_context(root)
        for given in each[1:]:
            tracer.start_span("child", context=context, attributes=given).end()
        root.end()

    return make


def main() -> None:
    """Print the table."""
    batch = TracerProvider(resource=Resource.get_empty(), shutdown_on_exit=False)
    batch.add_span_processor(BatchSpanProcessor(_Nowhere(), max_queue_size=100_000, schedule_delay_millis=100))
    out = TracerProvider(sampler=sampling.ALWAYS_OFF, resource=Resource.get_empty(), shutdown_on_exit=False)
    counted = InMemorySpanExporter()
    once = TracerProvider(shutdown_on_exit=False)
    once.add_span_processor(SimpleSpanProcessor(counted))
    run((tracing.OpenTelemetry(once),))
    attributes = sum(len(span.attributes or ()) for span in counted.get_finished_spans())
    floor = measure(partial(run, ()))
    print(f"{date.today()}, {os.cpu_count()} cores, no GPU, Python {platform.python_version()}, ", end="")
    print(f"opentelemetry-sdk {importlib.metadata.version('opentelemetry-sdk')}, load {os.getloadavg()[0]:.1f}\n")
    print("| what | CPU µs per call | added to the record |")
    print("|---|---:|---:|")
    print(f"| the record alone | {floor:.1f} | |")
    rows: tuple[tuple[str, tuple[Hook, ...]], ...] = (
        ("`memory()`", (tracing.memory(maxlen=1_000),)),
        ("`OpenTelemetry()`, no SDK", (tracing.OpenTelemetry(),)),
        ("`OpenTelemetry()`, sampled out", (tracing.OpenTelemetry(out),)),
        (f"`OpenTelemetry()`, recorded: 5 spans, {attributes} attributes", (tracing.OpenTelemetry(batch),)),
        ("the same with content", (tracing.OpenTelemetry(batch, content=True),)),
    )
    for name, hooks in rows:
        spent = measure(partial(run, hooks))
        print(f"| {name} | {spent:.1f} | {spent - floor:.1f} |")
    for number in (0, 24, attributes):
        print(f"| the SDK alone: 5 spans, {number} texts as attributes | {measure(sdk_alone(batch, number)):.1f} | |")
    call = run(())
    print(f"| after the run: `to_json(call)` | {measure(partial(tracing.to_json, call), 500):.1f} | |")
    print(f"| after the run: `str(explain(call))` | {measure(lambda: str(tracing.explain(call)), 200):.1f} | |")
    batch.shutdown()


if __name__ == "__main__":
    main()
