"""Alarms through the whole monitor: the stated rate is kept in spite of a daily cycle, and what is planted is found."""

import math
import random
import urllib.request

import pytest
from opentelemetry.exporter.prometheus import PrometheusMetricReader
from opentelemetry.sdk.metrics import MeterProvider
from prometheus_client import CollectorRegistry, start_http_server

from llmops_sdk.calls import Call, Ended, Started
from llmops_sdk.messages import Choice, Response

DAY_S, BEGIN, A_DAY = 86_400, 1_800_000_000, 240


def runs(monitor, days, slower=1.0, seed=3):
    """Runs whose latency is three times as long in the evening as in the morning, whatever else happens."""
    chance = random.Random(f"{seed} {days}")
    for number in range(days.start * A_DAY, days.stop * A_DAY):
        call = Call()
        call._started_wall = at = BEGIN + (number + chance.random()) / A_DAY * DAY_S
        seconds = slower * chance.lognormvariate(0.55 * math.sin(at / DAY_S * 2 * math.pi), 0.5)
        call.record(Started(call.started, "support", False))
        answer = Response(choices=(Choice(text="It is so."),), model="m")
        call.record(Ended(call.started + seconds, "ok", None, answer))
        monitor(call.events[-1], call)
        if number % 100 == 99:
            assert monitor.flush()
    assert monitor.flush()


@pytest.fixture
def scrape():
    reader, registry = PrometheusMetricReader(disable_target_info=True), CollectorRegistry()
    registry.register(reader._collector)
    provider = MeterProvider([reader], shutdown_on_exit=False)
    server, thread = start_http_server(0, addr="127.0.0.1", registry=registry)

    def scrape():
        with urllib.request.urlopen(f"http://127.0.0.1:{server.server_port}/metrics", timeout=10) as page:
            return page.read().decode()

    yield provider, scrape
    server.shutdown()
    thread.join()
    server.server_close()
    provider.shutdown()


def test_a_daily_cycle_is_no_alarm_and_a_planted_drift_is_told_everywhere(watch, scrape, caplog, tmp_path):
    provider, scraped = scrape
    told = []
    monitor = watch(
        signals=["latency_s"], false_alarms_per_day=0.4, on_alarm=told.append, meter_provider=provider
    )  # of which the signal has a half
    runs(monitor, range(14))
    assert len(told) <= 2  # 2.8 are allowed
    told.clear()
    runs(monitor, range(14, 16), slower=2.5)
    alarm = told[0]
    assert (alarm.signal, alarm.direction) == ("latency_s", "up")
    assert alarm.at - (BEGIN + 14 * DAY_S) < DAY_S / 4
    assert alarm in list(monitor.store.alarms())
    assert str(alarm) in caplog.text
    labels = [line for line in scraped().splitlines() if line.startswith("llmops_monitoring_alarms_total")]
    assert any('signal="latency_s"' in line and 'direction="up"' in line for line in labels)
    assert alarm.message in monitor.report(tmp_path / "week.html").read_text("utf-8").replace("&#x27;", "'")
    assert monitor.counts["alarms"] == monitor.store.counters()["alarms"] == len(list(monitor.store.alarms()))


def test_without_a_season_a_daily_cycle_is_a_change(watch):
    monitor = watch(signals=["latency_s"], false_alarms_per_day=0.4, season=None)
    runs(monitor, range(8))
    assert monitor.counts["alarms"] > 4
