"""What is seen of runs, from one tree to an alarm: `python examples/observability_demo.py`.

Runs offline in some seconds; needs `pip install "llmops-sdk[otlp,prometheus]"`. Spans go to a collector in this
process, or with `--endpoint http://localhost:6006` to a Phoenix, or to any other collector.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from tempfile import TemporaryDirectory
from threading import Thread

from opentelemetry.exporter.prometheus import PrometheusMetricReader
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span
from opentelemetry.sdk.metrics import MeterProvider
from prometheus_client import generate_latest

from llmops_sdk import Pipeline, Result, Router, Scripted, guards, tracing
from llmops_sdk.costs import PriceTable
from llmops_sdk.errors import ServerError
from llmops_sdk.messages import Request
from llmops_sdk.monitoring import Alarm, Monitor, Observed

QUESTION = "Where is my parcel? Write to ada" + "@" + "example.org."
FRIENDLY = "It arrives on Friday morning. I have written to [EMAIL_1]."
CURT = "I'm sorry, but I can't help with that."


class Model:
    """Answers like a model that its provider exchanges one day, without a word."""

    def __init__(self) -> None:
        self.answers = (FRIENDLY,)

    def __call__(self, _: Request) -> str:
        """The next answer."""
        self.answers = (*self.answers[1:], self.answers[0])
        return self.answers[0]


def names_a_day(run: Observed) -> bool:
    """Say how good an answer is: this is an evaluator."""
    return run.answer is not None and "day" in run.answer


def title(text: str) -> None:
    """Say what comes."""
    print(f"\n== {text}\n")


@contextmanager
def collector(received: list[Span]) -> Iterator[str]:
    """A collector that keeps the spans that it is sent; gives its URL."""

    class Taking(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            """Take spans."""
            sent = ExportTraceServiceRequest.FromString(self.rfile.read(int(self.headers["content-length"])))
            received.extend(span for of in sent.resource_spans for scope in of.scope_spans for span in scope.spans)
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Print nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Taking) as server:
        thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def show_spans(spans: list[Span]) -> None:
    """The spans of a trace, and what was said, as everybody behind the collector sees it."""
    for span in sorted(spans, key=lambda span: span.start_time_unix_nano):
        took_ms = (span.end_time_unix_nano - span.start_time_unix_nano) / 1e6
        print(f"{'   ' if span.parent_span_id else ''}{span.name:<30}{took_ms:>8.2f} ms")
        if not span.parent_span_id:
            said = {one.key: one.value.string_value for one in span.attributes}
    print(f"\nasked     {said['input.value']}\nanswered  {said['output.value']}")


def show_metrics() -> None:
    """Some of what Prometheus reads, without the labels that are the same everywhere."""
    shown = ("llmops_runs_total", "llmops_spent_usd_total", "llmops_failovers_total", "llmops_evaluations_total")
    for line in generate_latest().decode().splitlines():
        if line.startswith(shown):
            print(re.sub(r',?(otel_scope|gen_ai_(agent|provider|response))\w*="[^"]*"', "", line).replace("{,", "{"))


def one_run(pipeline: Pipeline, path: Path, written: tracing.JSONL) -> Result:
    """Look at a single run."""
    title("Where the milliseconds and the cents went (`result.explain`): one engine is down, another one answers")
    result = pipeline.run(question=QUESTION, tags={"shop": "north", "session_id": "s-1"})
    print(result.explain())

    title("The same record as JSON (`tracing.JSONL`): nothing of what was said is in it")
    written.flush()
    (record,) = tracing.read_jsonl(path)
    for event in record["events"]:
        print(json.dumps(event)[:118])
    return result


def many_runs(pipeline: Pipeline, model: Model, monitor: Monitor, alarms: list[Alarm]) -> Result:
    """Some hundred runs, in the middle of which the model is another one."""
    title("200 good runs, then another model answers: the monitor notices (`on_alarm`)")
    for answers in ((FRIENDLY,), (FRIENDLY,), (CURT, CURT, FRIENDLY)):
        model.answers = answers
        results = pipeline.map([{"question": QUESTION}] * 100, concurrency=25, tags={"shop": "south"})
        monitor.flush()
        print(f"{len(alarms)} alarms after {monitor.counts['observed']} runs")
    for alarm in alarms:
        print(f"  {alarm.signal:<8} {alarm.before:>6.2f} → {alarm.now:<6.2f} in the last {alarm.observations} runs")
    return next(result for result in reversed(results) if result.text == CURT)


def feedback(monitor: Monitor, good: Result, bad: Result) -> None:
    """Keep what people think of two answers."""
    title("People say what they think (`result.feedback`, or days later `monitor.feedback` by the id of the call)")
    good.feedback(score=True, comment="Quick!")
    monitor.feedback(bad.call.id, score=False, comment="That is no answer.")
    monitor.flush()
    for score in monitor.store.scores("feedback"):
        print(f"{score.score:.0f}  {score.explanation}")

    title("What somebody should look at (`monitor.cases`), the newest first")
    for case in monitor.cases(limit=3):
        print(f"{', '.join(case.reasons):<40}  {case.run.answer}")


def play(folder: Path, endpoint: str, report: Path, received: list[Span]) -> None:
    """Watch one line in every way."""
    model, alarms = Model(), []
    meters = MeterProvider([PrometheusMetricReader()], shutdown_on_exit=False)
    redacted = tracing.ContentPolicy(redact=[guards.PII(), guards.Secrets()])
    traced = tracing.setup(endpoint, dialects=("openinference", "langfuse"), service_name="demo", content=redacted)
    written = tracing.JSONL(folder / "runs.jsonl")
    first = Scripted(ServerError("down"), name="first")
    line = Pipeline(
        "Answer the customer: {{ question }}",
        guards.PII(restore=True),
        Router([first, Scripted(model, name="second", model="large", delay_s=0.005)]),
        guards.Secrets(),
        name="support",
        prices=PriceTable({"large": {"input": 2, "output": 8}}),
        hooks=[traced, tracing.Metrics(meters, tags=("shop",)), written],
    )
    monitor = Monitor(
        line,
        evaluators=[names_a_day],
        sample=0.2,
        store=folder / "monitor.db",
        signals=["refusal", "length", "error"],
        season=None,  # real traffic has days: leave it out there
        content=True,
        on_alarm=alarms.append,
    )
    with traced, monitor:
        pipeline = monitor.pipeline
        good = one_run(pipeline, folder / "runs.jsonl", written)

        title("Spans (`tracing.setup`), with content that guards have made clean")
        traced.flush()
        if received:
            show_spans(received)
        else:
            print(f"To {endpoint}: {traced.counts}")

        bad = many_runs(pipeline, model, monitor, alarms)
        feedback(monitor, good, bad)

        title("Metrics (`tracing.Metrics`) as Prometheus reads them; `llmops dashboard` prints a dashboard for Grafana")
        traced.flush()
        show_metrics()

        title("What has become of it all (`traced.counts`, `monitor.counts`, `monitor.report`)")
        print(f"{traced.counts}\n{monitor.counts}\n{monitor.report(report)}")
    meters.shutdown()


def main(*arguments: str) -> int:
    """Start the collector, and play."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--endpoint", help="where spans go, in place of a collector in this process")
    options.add_argument("--report", type=Path, default=Path("observability.html"), help="the file for the report")
    given = options.parse_args(arguments)
    received: list[Span] = []
    with TemporaryDirectory() as folder, collector(received) as here:
        play(Path(folder), given.endpoint or here, given.report, received)
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
