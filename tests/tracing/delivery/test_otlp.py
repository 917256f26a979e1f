"""A collector that is well, slow, dead or in a bad mood; what was counted is what it has."""

from __future__ import annotations

import itertools
import logging
import re
import socket
import threading

import pytest

from llmops_sdk import Pipeline, Scripted, tracing
from llmops_sdk.tracing.opentelemetry import SpanCounts
from llmops_sdk.tracing.opentelemetry._delivery.quiet import _LOUD


@pytest.fixture
def send(collector):
    """Sets tracing up with the collector; closed at the end, and nothing of it speaks in the log of another test."""
    made = []
    before = set(threading.enumerate())

    def send(url=None, **options):
        made.append(tracing.setup(url or collector.url, sigterm=False, **{"every_s": 0.01, "timeout_s": 5, **options}))
        return made[-1], made[-1].tracer_provider.get_tracer("the application")

    yield send
    collector.over.set()
    for traced in made:
        traced.close(0)
    for thread in set(threading.enumerate()) - before:
        if thread.name == "llmops_sdk delivery":
            thread.join(20)


def filters_of_exporters():
    return {(name, one) for name in _LOUD for one in logging.getLogger(name).filters}


def true(counts):
    return counts.made == counts.delivered + counts.rejected + counts.dropped + counts.waiting


def test_a_run_arrives_with_the_name_of_its_service_and_the_headers(send, collector):
    traced, _ = send(service_name="support", headers={"x-key": "k"}, resource={"team": "blue"})
    Pipeline("{{ q }}", Scripted("Hi."), hooks=[traced]).run(q="Hello", tags={"ticket": "4711"})
    assert traced.flush()
    assert traced.counts == SpanCounts(made=len(collector.spans), delivered=len(collector.spans))
    assert collector.tags("ticket") == {"4711"}
    assert {"service.name": "support", "team": "blue"}.items() <= collector.resources[0].items()
    path, headers = collector.requests[0]
    assert (path, headers["x-key"]) == ("/v1/traces", "k")


def test_variables_fill_in_what_is_not_given(collector, monkeypatch):
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", collector.url)
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_HEADERS", "x-key=k")
    monkeypatch.setenv("OTEL_SERVICE_NAME", "from outside")
    with tracing.setup(sigterm=False) as traced:
        traced.tracer_provider.get_tracer("a").start_span("one").end()
    assert [span.name for span in collector.spans] == ["one"]
    assert collector.resources[0]["service.name"] == "from outside"
    assert collector.requests[0][1]["x-key"] == "k"


@pytest.mark.parametrize("status", [302, 400, 401, 500])
def test_what_is_refused_is_rejected_with_the_status_in_the_log(send, collector, caplog, status, until):
    collector.answers = lambda: status
    traced, tracer = send()
    with caplog.at_level(logging.DEBUG):
        for _ in range(3):
            tracer.start_span("one").end()
            assert traced.flush()
    assert traced.counts == SpanCounts(made=3, rejected=3)
    until(lambda: "were rejected" in caplog.text)
    traced.close()
    told = [text for text in caplog.messages if f"HTTP {status}" in text]  # a delivery of another test may tell, too
    assert [int(re.search(r"(\d+) were rejected", text)[1]) for text in told] in ([3], [1, 2], [2, 1])


@pytest.mark.parametrize("first", [429, 503, "cut"])
def test_what_passes_is_tried_again(send, collector, caplog, first):
    answers = itertools.chain([first, first], itertools.repeat(200))
    collector.answers = lambda: next(answers)
    traced, tracer = send()
    tracer.start_span("one").end()
    assert traced.flush(20)
    assert traced.counts == SpanCounts(made=1, delivered=1)
    assert not caplog.records


def test_a_request_that_is_left_to_itself_says_nothing_in_the_log_when_it_ends(send, collector, caplog, until):
    collector.answers = lambda: "hang"
    traced, tracer = send(timeout_s=1)
    before, filters = set(threading.enumerate()), filters_of_exporters()
    tracer.start_span("one").end()
    until(lambda: collector.requests)
    (delivering,) = [one for one in set(threading.enumerate()) - before if one.name == "llmops_sdk delivery"]
    traced.close(0)
    delivering.join(20)
    assert {one.name for one in caplog.records} <= {"llmops_sdk"}
    assert filters_of_exporters() <= filters


def test_what_is_taken_in_part_is_counted_in_part(send, collector):
    from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceResponse

    collector.body = ExportTraceServiceResponse(partial_success={"rejected_spans": 2}).SerializeToString()
    traced, tracer = send(every_s=30)
    for _ in range(5):
        tracer.start_span("one").end()
    assert traced.flush()
    assert traced.counts == SpanCounts(made=5, delivered=3, rejected=2)


@pytest.mark.parametrize("bad", [{"name": "a\ud800"}, {"name": "a", "start_time": -5}], ids=["surrogate", "time"])
def test_a_span_that_cannot_be_encoded_does_not_take_its_batch_along(send, collector, bad, caplog, until):
    traced, tracer = send(every_s=30)
    for number in range(100):
        tracer.start_span(str(number)).end()
        if number == 50:
            tracer.start_span(**bad).end()
    assert traced.flush()
    assert traced.counts == SpanCounts(made=101, delivered=100, rejected=1)
    assert sorted(int(span.name) for span in collector.spans) == list(range(100))
    until(lambda: "can be encoded" in caplog.text)


def test_an_attribute_that_cannot_be_encoded_is_left_out_without_noise(send, collector, caplog):
    traced, tracer = send()
    tracer.start_span("one", attributes={"bad": "a\ud800", "good": "b"}).end()
    assert traced.flush()
    assert [one.key for one in collector.spans[0].attributes] == ["good"]
    assert not caplog.records


def test_a_batch_that_is_too_large_for_the_collector_is_sent_in_parts(send, collector):
    collector.answers = lambda: 413 if int(collector.requests[-1][1]["content-length"]) > 5000 else 200
    traced, tracer = send(every_s=30)
    for number in range(60):
        tracer.start_span(str(number), attributes={"text": "x" * (9000 if number == 7 else 300)}).end()
    assert traced.flush()
    assert traced.counts == SpanCounts(made=60, delivered=59, rejected=1)


def test_attributes_over_the_limits_are_cut_by_the_sdk_and_the_run_arrives(send, collector):
    traced, _ = send()
    Pipeline("{{ q }}", Scripted("Hi."), hooks=[traced]).run(q="x", tags={f"t{n}": "v" * 10_000 for n in range(300)})
    assert traced.flush()
    assert max(span.dropped_attributes_count for span in collector.spans) > 100
    assert traced.counts.delivered == traced.counts.made


@pytest.mark.parametrize("answer", ["hang", "cut", 503])
def test_a_collector_that_is_of_no_use_costs_its_time_and_no_more(send, collector, answer):
    collector.answers = lambda: answer
    traced, tracer = send(timeout_s=1, queue=100)
    for _ in range(1000):
        tracer.start_span("one").end()
        assert true(traced.counts)
    traced.flush(0.05)
    counts = traced.counts
    assert counts.dropped >= 300
    assert counts.waiting <= 100 + 512
    traced.close(0.05)
    assert true(traced.counts)


def test_a_slow_collector_gets_what_there_is_time_for(send, collector):
    collector.pause_s = 0.15
    traced, tracer = send()
    for _ in range(10):
        tracer.start_span("one").end()
        traced.flush(0.01)
    assert traced.close(20)
    assert traced.counts == SpanCounts(made=10, delivered=10)
    assert len(collector.spans) == 10


def test_nobody_listens(send):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        traced, tracer = send(f"http://127.0.0.1:{taken.getsockname()[1]}", timeout_s=0.3)
        tracer.start_span("one").end()
        assert traced.flush(20)
    assert traced.counts == SpanCounts(made=1, rejected=1)


def test_the_exporters_own_lines_stay_where_an_exporter_of_the_application_writes_them(send, collector, caplog):
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter

    collector.answers = lambda: 400
    traced, tracer = send()
    tracer.start_span("one").end()
    assert traced.flush()
    exporter = OTLPSpanExporter(endpoint=collector.url)
    caplog.clear()
    span = tracer.start_span("two")
    span.end()
    exporter.export([span._readable_span()])
    exporter.shutdown()
    assert "400" in caplog.text
