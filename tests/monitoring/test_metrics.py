from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader

from llmops_sdk import tracing
from llmops_sdk.engines import Scripted
from llmops_sdk.monitoring import Alarm
from llmops_sdk.tracing._later import LATER


def points(reader):
    data = reader.get_metrics_data()
    return {
        (metric.name, *sorted(point.attributes.items())): point.value if hasattr(point, "value") else point.sum
        for resource in data.resource_metrics
        for scope in resource.scope_metrics
        for metric in scope.metrics
        for point in metric.data.data_points
    }


def test_what_a_monitor_counts_is_there_as_metrics(watch):
    reader = InMemoryMetricReader()
    provider = MeterProvider([reader], shutdown_on_exit=False)

    monitor = watch(meter_provider=provider)
    for _ in range(2):
        monitor.pipeline.run(word="hello")
    assert monitor.flush()
    monitor._on_alarms(
        [Alarm(signal="length", at=2.0, direction="up", before=1.0, now=2.0, since=1.0, observations=9, evidence=1.0,
               message="longer")]
    )  # fmt: skip
    found = points(reader)
    provider.shutdown()
    assert found["llmops.monitoring.observed",] == 2
    assert found["llmops.monitoring.alarms", ("direction", "up"), ("signal", "length")] == 1


def test_what_is_left_out_is_there_by_its_reason(watch):
    reader = InMemoryMetricReader()
    provider = MeterProvider([reader], shutdown_on_exit=False)
    monitor = watch(meter_provider=provider)
    monitor._counts.add("skipped.queue_full", 3)
    monitor.pipeline.run(word="hello")
    assert monitor.flush()
    found = points(reader)
    provider.shutdown()
    assert found["llmops.monitoring.skipped", ("reason", "queue_full")] == 3


def test_what_is_said_of_runs_is_counted_once_by_the_metrics_of_tracing(watch):
    reader = InMemoryMetricReader()
    provider = MeterProvider([reader], shutdown_on_exit=False)
    pipeline = ("Say {{ word }}" | Scripted("so")).with_hooks(tracing.Metrics(provider))
    monitor = watch(pipeline, evaluators={"fine": lambda run: 0.75}, sample=1.0, meter_provider=provider)
    monitor.pipeline.run(word="hello")
    assert monitor.flush()
    assert LATER.flush(10.0)
    scores = [found for found in points(reader).items() if ("gen_ai.evaluation.name", "fine") in found[0]]
    provider.shutdown()
    assert sorted((name, value) for (name, *_), value in scores) == [
        ("llmops.evaluation.score", 0.75), ("llmops.evaluations", 1),
    ]  # fmt: skip
