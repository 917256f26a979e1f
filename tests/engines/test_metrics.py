"""The load of engines as OpenTelemetry metrics."""

import gc

import pytest
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader

from llmops_sdk.engines import EngineLoad, Scripted
from llmops_sdk.engines.metrics import observe
from llmops_sdk.errors import ConfigurationError


class Loaded(Scripted):
    load = EngineLoad(running=3, waiting=1, kv_cache_usage=0.5, generated_tokens=40)


@pytest.fixture
def reader():
    return InMemoryMetricReader()


@pytest.fixture
def meter(reader):
    return MeterProvider([reader]).get_meter("test")


def points(reader):
    data = reader.get_metrics_data()
    if data is None:
        return {}
    found = [metric for scope in data.resource_metrics[0].scope_metrics for metric in scope.metrics]
    return {
        (metric.name, point.attributes["llmops.engine"]): point.value
        for metric in found
        for point in metric.data.data_points
    }


def test_each_engine_is_observed_under_its_name(reader, meter):
    engines = [Loaded("x", name="a"), Loaded("x", name="b")]
    observe(engines, meter)
    found = points(reader)
    for name in ("a", "b"):
        assert found["vllm.num_requests_running", name] == 3
        assert found["vllm.num_requests_waiting", name] == 1
        assert found["vllm.kv_cache_usage_perc", name] == 0.5
        assert found["vllm.generation_tokens", name] == 40
    engines[0].load = EngineLoad(running=7)
    found = points(reader)
    assert found["vllm.num_requests_running", "a"] == 7
    assert ("vllm.kv_cache_usage_perc", "a") not in found


def test_an_engine_that_is_gone_is_not_observed(reader, meter):
    engines = [Loaded("x")]
    observe(engines, meter)
    engines.clear()
    gc.collect()
    assert points(reader) == {}


def test_an_engine_without_a_load_is_refused(meter):
    with pytest.raises(ConfigurationError, match="no load to observe"):
        observe([Scripted("x")], meter)
