from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader

from llmops_sdk.monitoring import Alarm


def points(reader):
    data = reader.get_metrics_data()
    return {
        (metric.name, *sorted(point.attributes.items())): getattr(point, "value", None) or point.sum
        for resource in data.resource_metrics
        for scope in resource.scope_metrics
        for metric in scope.metrics
        for point in metric.data.data_points
    }


def test_what_a_monitor_counts_is_there_as_metrics(watch):
    reader = InMemoryMetricReader()
    provider = MeterProvider([reader], shutdown_on_exit=False)

    def broken(run):
        raise ValueError

    monitor = watch(evaluators={"fine": lambda run: 0.75, "broken": broken}, sample=1.0, meter_provider=provider)
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
    assert found["llmops.monitoring.evaluations", ("result", "ok")] == 2
    assert found["llmops.monitoring.evaluations", ("result", "failed")] == 2
    assert found["llmops.monitoring.score", ("by", "code"), ("name", "fine")] == 1.5
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
