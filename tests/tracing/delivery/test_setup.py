"""What `setup` makes of what it is given, and of what the application has already."""

from __future__ import annotations

import contextlib
import inspect
import logging
import math
import signal
import subprocess
import sys

import pytest
from opentelemetry import trace
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF

from llmops_sdk import Pipeline, Scripted, tracing
from llmops_sdk.errors import ConfigurationError, MissingDependencyError
from llmops_sdk.tracing.opentelemetry import SpanCounts


@pytest.fixture
def setup(exporter):
    """`tracing.setup` into a list; closed at the end."""
    made = []

    def setup(*arguments, **options):
        made.append(tracing.setup(*arguments, **{"exporter": exporter, "sigterm": False, **options}))
        return made[-1]

    yield setup
    for traced in made:
        traced.close()


@pytest.fixture
def global_provider(monkeypatch, provider):
    monkeypatch.setattr(trace, "get_tracer_provider", lambda: provider)
    return provider


def run(traced):
    Pipeline("{{ q }}", Scripted("Hi."), hooks=[traced]).run(q="x")
    assert traced.flush()


def test_what_it_returns_is_the_hook(setup, exporter):
    traced = setup(service_name="support", resource={"team": "blue"})
    run(traced)
    spans = exporter.get_finished_spans()
    assert traced.counts == SpanCounts(made=len(spans), delivered=len(spans))
    assert spans[0].resource.attributes["service.name"] == "support"
    assert spans[0].resource.attributes["team"] == "blue"
    assert repr(traced.counts) in repr(traced)


def test_a_resource_of_opentelemetry_is_merged_with_the_standard_one(setup, exporter):
    run(setup(service_name="support", resource=Resource({"team": "blue"})))
    attributes = exporter.get_finished_spans()[0].resource.attributes
    assert {"service.name", "team", "telemetry.sdk.name"} <= set(attributes)


@pytest.mark.parametrize("sample", [0, 0.0, ALWAYS_OFF])
def test_what_is_not_sampled_is_not_made(setup, sample):
    traced = setup(sample=sample)
    run(traced)
    assert traced.counts == SpanCounts()


def test_the_sampler_of_the_variable_is_used_where_none_is_given(setup, monkeypatch):
    monkeypatch.setenv("OTEL_TRACES_SAMPLER", "always_off")
    traced = setup()
    run(traced)
    assert traced.counts == SpanCounts()


def test_an_sdk_that_is_disabled_makes_no_spans(setup, monkeypatch):
    monkeypatch.setenv("OTEL_SDK_DISABLED", "true")
    traced = setup()
    run(traced)
    assert traced.counts == SpanCounts()


def test_the_new_provider_is_private(setup):
    traced = setup()
    assert traced.tracer_provider is not trace.get_tracer_provider()


def test_a_provider_of_ones_own_gets_nothing_that_was_not_asked_for(provider, exporter):
    before = signal.getsignal(signal.SIGTERM)
    traced = tracing.setup(tracer_provider=provider)
    assert traced.tracer_provider is provider
    assert signal.getsignal(signal.SIGTERM) is before
    run(traced)
    assert exporter.get_finished_spans()
    assert traced.counts == SpanCounts()
    assert traced.close()
    provider.get_tracer("a").start_span("still there").end()
    assert exporter.get_finished_spans()[-1].name == "still there"


def test_the_global_provider_is_used_and_what_it_decides_itself_is_said(global_provider, caplog):
    with caplog.at_level(logging.WARNING):
        traced = tracing.setup(service_name="support", set_global=True)
    assert traced.tracer_provider is global_provider
    assert "service_name" in caplog.text


def test_with_an_exporter_all_spans_of_ones_own_provider_go_there_too(setup, provider, exporter):
    own = InMemorySpanExporter()
    traced = setup(tracer_provider=provider, exporter=own)
    provider.get_tracer("the application").start_span("mine").end()
    run(traced)
    assert {"mine"} < {span.name for span in own.get_finished_spans()}
    assert len(own.get_finished_spans()) == len(exporter.get_finished_spans()) == traced.counts.delivered


def test_what_makes_an_exporter_is_called(setup, exporter):
    run(setup(exporter=lambda: exporter))
    assert exporter.get_finished_spans()


def test_the_handler_of_sigterm_goes_with_the_last_that_is_open(exporter):
    before = signal.signal(signal.SIGTERM, signal.SIG_DFL)
    try:
        first, second = tracing.setup(exporter=exporter), tracing.setup(exporter=exporter)
        first.close()
        assert signal.getsignal(signal.SIGTERM) is not signal.SIG_DFL
        second.close()
        assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
    finally:
        signal.signal(signal.SIGTERM, before)


def test_without_the_extra_an_endpoint_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "opentelemetry.exporter.otlp.proto.http.trace_exporter", None)
    monkeypatch.delitem(sys.modules, "llmops_sdk.tracing.opentelemetry._delivery.otlp", raising=False)
    with pytest.raises(MissingDependencyError, match=r"llmops-sdk\[otlp\]"):
        tracing.setup("http://localhost:4318")


def test_the_path_is_added_where_it_is_missing(collector):
    for url in ("", "/", "/v1/traces", "/v1/traces/", "/api/public/otel"):
        with tracing.setup(collector.url + url, sigterm=False) as traced:
            traced.tracer_provider.get_tracer("a").start_span("one").end()
    paths = [path for path, _ in collector.requests]
    assert paths == ["/v1/traces"] * 4 + ["/api/public/otel/v1/traces"]


@pytest.mark.parametrize(
    "endpoint",
    ["localhost:4318", "grpc://x:4317", "http://", "http://x:99999", "http://x:", "http://x y", b"http://x", 1, ""],
)
def test_an_endpoint_that_is_none_is_refused(endpoint):
    with pytest.raises(ConfigurationError, match="endpoint"):
        tracing.setup(endpoint)


@pytest.mark.parametrize("variable", ["OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"])
@pytest.mark.parametrize("endpoint", ["localhost:4318", "grpc://localhost:4317"])
def test_a_variable_that_is_no_endpoint_is_refused(monkeypatch, variable, endpoint):
    monkeypatch.setenv(variable, endpoint)
    with pytest.raises(ConfigurationError, match=variable):
        tracing.setup()


def test_the_port_of_grpc_is_pointed_out(caplog):
    tracing.setup("http://localhost:4317", sigterm=False).close(0)
    assert "4318" in caplog.text


@pytest.mark.parametrize("name", ["", "a b", "a:b", "ä", 1])
def test_a_header_that_has_no_name_is_refused(name):
    with pytest.raises(ConfigurationError, match="header"):
        tracing.setup("http://localhost:1", headers={name: "x"})


@pytest.mark.parametrize("value", ["xyzzy\n4711", "xyzzy-ü", " xyzzy", 4711, None])
def test_a_header_that_cannot_be_sent_is_refused_without_showing_it(value):
    with pytest.raises(ConfigurationError, match="authorization") as caught:
        tracing.setup("http://localhost:1", headers={"authorization": value})
    assert "xyzzy" not in str(caught.value)
    assert "4711" not in str(caught.value)


@pytest.mark.parametrize(
    "options",
    [
        {"service_name": "a", "tracer_provider": TracerProvider(shutdown_on_exit=False)},
        {"sample": 0.5, "tracer_provider": TracerProvider(shutdown_on_exit=False)},
        {"headers": {}, "tracer_provider": TracerProvider(shutdown_on_exit=False)},
        {"exporter": InMemorySpanExporter(), "tracer_provider": trace.NoOpTracerProvider()},
        {"exporter": InMemorySpanExporter(), "headers": {}},
        {"sample": 1.5},
        {"sample": True},
    ],
    ids=str,
)
def test_what_does_not_go_together_is_refused(options):
    with pytest.raises(ConfigurationError):
        tracing.setup(**{"sigterm": False, **({} if "tracer_provider" in options else {"exporter": print}), **options})


@pytest.mark.parametrize("option", [name for name in inspect.signature(tracing.setup).parameters if name != "endpoint"])
@pytest.mark.parametrize("given", ["x", b"x", True, -1, math.nan, math.inf, [], {}, ...], ids=repr)
def test_an_option_is_taken_or_refused_with_words(option, given, exporter, monkeypatch):
    monkeypatch.setattr(trace, "set_tracer_provider", lambda _: None)
    with contextlib.suppress(ConfigurationError, MissingDependencyError):
        tracing.setup(**{"exporter": exporter, "sigterm": False, option: given}).close(0)


@pytest.mark.parametrize("given", ["x", -1, math.nan, math.inf, None, True])
def test_a_time_that_is_none_is_refused(setup, given):
    with pytest.raises(ConfigurationError, match="timeout_s"):
        setup().flush(given)


def test_nothing_of_opentelemetry_is_loaded_before_it_is_asked_for():
    program = (
        "import sys; from llmops_sdk import tracing; assert not any(m.startswith('opentelemetry') for m in sys.modules)"
    )
    subprocess.run([sys.executable, "-c", program], check=True)
