"""What is counted, and what the application feels of it: nothing."""

from __future__ import annotations

import gc
import logging
import threading
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF

from llmops_sdk.tracing.opentelemetry import SpanCounts
from llmops_sdk.tracing.opentelemetry._delivery import Delivery, Exporting


class Exporter(SpanExporter):
    """Takes spans when it is let, and answers as it is told."""

    def __init__(self, answers=()):
        self.answers = iter(answers)
        self.names = []
        self.batches = []
        self.free = threading.Event()
        self.free.set()
        self.entered = threading.Event()

    def export(self, spans):
        self.entered.set()
        self.free.wait()
        answer = next(self.answers, SpanExportResult.SUCCESS)
        if isinstance(answer, Exception):
            raise answer
        self.batches.append(len(spans))
        if answer is SpanExportResult.SUCCESS:
            self.names += [span.name for span in spans]
        return answer

    def shutdown(self):
        self.free.set()


@pytest.fixture
def deliver():
    """Makes a delivery, and the tracer whose spans it gets."""
    made = []

    def deliver(exporter, *, most=1000, most_bytes=10**8, every_s=0.01, sampler=None):
        bounds = {"most": most, "most_bytes": most_bytes, "every_s": every_s}
        delivery = Delivery(lambda: Exporting(exporter), Exporting(exporter), **bounds)
        provider = TracerProvider(shutdown_on_exit=False, sampler=sampler)
        provider.add_span_processor(delivery)
        made.append(delivery)
        return delivery, provider.get_tracer("test")

    yield deliver
    for delivery in made:
        delivery.close(5)


def true(counts):
    return counts.made == counts.delivered + counts.rejected + counts.dropped + counts.waiting


def test_spans_arrive_in_the_order_of_their_ends(deliver):
    exporter = Exporter()
    delivery, tracer = deliver(exporter)
    for number in range(1500):
        tracer.start_span(str(number)).end()
        if number % 400 == 399:
            assert delivery.flush(5)
    assert delivery.flush(5)
    assert exporter.names == [str(number) for number in range(1500)]
    assert delivery.counts == SpanCounts(made=1500, delivered=1500)


def test_a_span_goes_without_being_asked_for(deliver, until):
    delivery, tracer = deliver(Exporter())
    tracer.start_span("one").end()
    until(lambda: delivery.counts.delivered == 1)


def test_a_full_batch_does_not_wait_for_its_time(deliver, until):
    delivery, tracer = deliver(Exporter(), every_s=3600)
    for _ in range(512):
        tracer.start_span("one").end()
    until(lambda: delivery.counts.delivered == 512)


def test_large_spans_make_small_batches_and_do_not_wait_either(deliver, until):
    exporter = Exporter()
    delivery, tracer = deliver(exporter, every_s=3600)
    for _ in range(8):
        tracer.start_span("one", attributes={"text": "x" * 400_000}).end()
    until(lambda: delivery.counts.delivered >= 6)
    assert delivery.flush(5)
    assert max(exporter.batches) <= 2


def test_who_ends_a_span_does_not_wait_and_what_finds_no_room_is_dropped(deliver):
    exporter = Exporter()
    exporter.free.clear()
    delivery, tracer = deliver(exporter, most=100)
    tracer.start_span("first").end()
    assert exporter.entered.wait(5)
    for number in range(150):
        tracer.start_span(str(number)).end()
    assert delivery.counts == SpanCounts(made=151, dropped=50, waiting=101)
    assert not delivery.flush(0.01)
    exporter.free.set()
    assert delivery.flush(5)
    assert exporter.names == ["first", *map(str, range(100))]
    assert delivery.counts == SpanCounts(made=151, delivered=101, dropped=50)


class Text(str):
    __slots__ = ()


@pytest.mark.parametrize("held", ["x" * 40_000, Text("x" * 40_000), ["x" * 20_000] * 2, b"x" * 40_000], ids=type)
def test_texts_are_bounded_by_bytes(deliver, held):
    exporter = Exporter()
    exporter.free.clear()
    delivery, tracer = deliver(exporter, most_bytes=1_000_000)
    for _ in range(40):
        span = tracer.start_span("one", attributes={"held": held, "number": 1})
        span.add_event("said", {"text": "x" * 60_000})
        span.end()
    assert 5 <= delivery.counts.waiting <= 15  # a batch of 0.5 MB may be under way
    assert true(delivery.counts)
    exporter.free.set()


def test_flush_waits_for_what_had_ended_and_not_for_what_comes_in_the_meantime(deliver):
    exporter = Exporter()
    delivery, tracer = deliver(exporter)
    over = threading.Event()

    def go_on():
        while not over.is_set():
            tracer.start_span("more").end()

    thread = threading.Thread(target=go_on)
    thread.start()
    try:
        tracer.start_span("mine").end()
        assert delivery.flush(20)
        assert "mine" in exporter.names
    finally:
        over.set()
        thread.join()


def test_what_ends_after_the_close_is_dropped(deliver):
    delivery, tracer = deliver(Exporter())
    tracer.start_span("one").end()
    assert delivery.close(5)
    tracer.start_span("two").end()
    assert delivery.counts == SpanCounts(made=2, delivered=1, dropped=1)
    assert delivery.close(5)


def test_a_close_that_has_no_time_drops_and_leaves_no_thread(deliver, until):
    exporter = Exporter()
    exporter.free.clear()
    delivery, tracer = deliver(exporter)
    tracer.start_span("under way").end()
    assert exporter.entered.wait(5)
    tracer.start_span("waits").end()
    assert not delivery.close(0.01)
    until(lambda: delivery.counts.waiting == 0)
    assert delivery.counts == SpanCounts(made=2, delivered=1, dropped=1)
    until(lambda: not any(one.name == "llmops_sdk delivery" for one in threading.enumerate()))


def test_spans_that_are_not_sampled_are_none_of_ours(deliver):
    delivery, tracer = deliver(Exporter(), sampler=ALWAYS_OFF)
    tracer.start_span("one").end()
    assert delivery.counts == SpanCounts()


def test_an_exporter_that_raises_breaks_nothing_and_is_logged_once_without_its_text(deliver, caplog):
    delivery, tracer = deliver(Exporter([ValueError("xyzzy-4711")] * 50))
    with caplog.at_level(logging.WARNING, logger="llmops_sdk"):
        for _ in range(50):
            tracer.start_span("one").end()
            assert delivery.flush(5)
    assert delivery.counts == SpanCounts(made=50, rejected=50)
    assert len(caplog.records) == 1
    assert "ValueError" in caplog.text
    assert "xyzzy-4711" not in caplog.text
    delivery.close(5)
    assert "49 were rejected" in caplog.records[-1].getMessage()


def test_a_span_that_the_garbage_collector_ends_while_one_is_put_in_is_taken(deliver, monkeypatch):
    delivery, tracer = deliver(Exporter())
    inner = tracer.start_span("inner")
    enough = Delivery._is_enough

    def collect(self):
        monkeypatch.setattr(Delivery, "_is_enough", enough)
        inner.end()
        return enough(self)

    monkeypatch.setattr(Delivery, "_is_enough", collect)
    tracer.start_span("outer").end()
    assert delivery.flush(5)
    assert delivery.counts.delivered == 2


def test_without_a_thread_the_one_who_flushes_sends(deliver, monkeypatch):
    def refuse(self):
        raise RuntimeError("can't create new thread at interpreter shutdown")

    delivery, tracer = deliver(Exporter())
    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", refuse)
        for _ in range(700):
            tracer.start_span("one").end()
        assert delivery.flush(5)
    assert delivery.counts == SpanCounts(made=700, delivered=700)


def test_a_clock_that_jumps_is_not_looked_at(deliver, monkeypatch):
    delivery, tracer = deliver(Exporter())
    for moment in (4e9, 0.0, 1.7e9):
        monkeypatch.setattr(time, "time", lambda moment=moment: moment)
        tracer.start_span("one").end()
        assert delivery.flush(5)
    assert delivery.counts.delivered == 3


def test_what_is_made_nowhere_is_collected(deliver):
    gc.collect()
    before = len(gc.get_objects())
    for _ in range(20):
        delivery, tracer = deliver(Exporter())
        tracer.start_span("one").end()
        assert delivery.close(5)
    gc.collect()
    assert len(gc.get_objects()) - before < 20_000


_STEPS = st.lists(st.sampled_from(["end", "many", "fail", "raise", "free", "hold", "flush"]), max_size=30)


@given(steps=_STEPS)
@settings(max_examples=40)
def test_every_span_is_in_one_place_whatever_happens(steps):
    answers = [
        RuntimeError() if step == "raise" else SpanExportResult.FAILURE if step == "fail" else SpanExportResult.SUCCESS
        for step in steps
    ]
    exporter = Exporter(answers)
    delivery = Delivery(lambda: Exporting(exporter), Exporting(exporter), most=50, most_bytes=10**6, every_s=0.0)
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(delivery)
    tracer, made = provider.get_tracer("test"), 0
    for step in steps:
        if step in {"free", "hold"}:
            (exporter.free.set if step == "free" else exporter.free.clear)()
        elif step == "flush":
            delivery.flush(0.001)
        for _ in range({"end": 1, "many": 40}.get(step, 0)):
            tracer.start_span("one").end()
            made += 1
        assert true(delivery.counts), delivery.counts
        assert delivery.counts.made == made
    exporter.free.set()
    delivery.close(5)
    assert true(delivery.counts)
    assert delivery.counts.waiting == 0
    assert delivery.counts.delivered == len(exporter.names)
