"""What is made of the statistics of a core."""

from types import SimpleNamespace

import pytest

from llmops_sdk.engines._vllm_load import EngineLoad, LoadMeter, stat_logger


class Clock:
    def __init__(self):
        self.now = 100.0

    def __call__(self):
        return self.now


def step(tokens=0, preempted=0, prompt=0):
    return SimpleNamespace(num_generation_tokens=tokens, num_preempted_reqs=preempted, num_prompt_tokens=prompt)


def state(usage=0.0, queries=0, hits=0):
    return SimpleNamespace(kv_cache_usage=usage, prefix_cache_stats=SimpleNamespace(queries=queries, hits=hits))


def test_nothing_is_known_at_first():
    assert LoadMeter().load(2, 1) == EngineLoad(running=2, waiting=1)


def test_steps_add_up():
    meter = LoadMeter()
    meter.record(state(0.25, queries=100, hits=0), step(4, preempted=1, prompt=100))
    meter.record(state(0.5, queries=100, hits=50), step(4, preempted=2, prompt=100))
    load = meter.load(0, 0)
    assert (load.kv_cache_usage, load.prefix_cache_hit_rate, load.preemptions) == (0.5, 0.25, 3)
    assert (load.generated_tokens, load.prompt_tokens) == (8, 200)
    assert (load.prefix_cache_queries, load.prefix_cache_hits) == (200, 50)


def test_tokens_per_second_are_those_of_the_last_ten_seconds():
    clock = Clock()
    meter = LoadMeter(clock)
    for _ in range(40):
        meter.record(None, step(5))
        clock.now += 0.5
    assert meter.load(0, 0).tokens_per_s == pytest.approx(10, rel=0.1)
    clock.now += 11
    assert meter.load(0, 0).tokens_per_s == 0


def test_copies_of_the_model_share_the_cache_use():
    meter = LoadMeter()
    meter.record(state(0.2), None, 0)
    meter.record(state(0.6), None, 1)
    assert meter.load(0, 0).kv_cache_usage == pytest.approx(0.4)


def test_what_another_vllm_does_not_tell_is_left_out():
    meter = LoadMeter()
    meter.record(SimpleNamespace(), SimpleNamespace())
    assert meter.load(0, 0) == EngineLoad()


@pytest.mark.parametrize("instead", [True, False])
def test_the_logger_takes_what_it_does_not_know(instead):
    class Base:
        def __init__(self, config, indexes):
            raise AssertionError("vLLM's own metrics are not begun")

    loggers = SimpleNamespace(
        PrometheusStatLogger=type("A", (Base,), {}), AggregateStatLoggerBase=type("B", (Base,), {})
    )
    meter = LoadMeter()
    kind = stat_logger(loggers, meter, instead_of_prometheus=instead)
    assert issubclass(kind, loggers.PrometheusStatLogger) == instead
    logger = kind(vllm_config=None, engine_indexes=[0])
    logger.log_engine_initialized()
    logger.record(state(0.5), step(3), mm_cache_stats=None, engine_idx=0, news=1)
    assert (meter.load(0, 0).kv_cache_usage, meter.load(0, 0).generated_tokens) == (0.5, 3)
