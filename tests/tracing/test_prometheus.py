"""What Prometheus scrapes over HTTP after real runs, and that the dashboard asks for nothing else."""

import asyncio
import contextlib
import json
import re
import urllib.request
from decimal import Decimal

import pytest
from opentelemetry.exporter.prometheus import PrometheusMetricReader
from opentelemetry.sdk.metrics import MeterProvider
from prometheus_client import CollectorRegistry, start_http_server
from prometheus_client.parser import text_string_to_metric_families

from llmops_sdk import Router, Scripted, tracing
from llmops_sdk.calls import (
    Call,
    Escalated,
    Evaluated,
    LimitsDegraded,
    LimitWaited,
    OutputValidated,
    StreamResumed,
    ToolExecuted,
)
from llmops_sdk.costs import PriceTable
from llmops_sdk.engines import Cached
from llmops_sdk.errors import AllEnginesFailed, ServerError
from llmops_sdk.guards import Regex
from llmops_sdk.messages import ToolCall, Usage
from llmops_sdk.pipelines import Pipeline
from llmops_sdk.routers import Priority
from llmops_sdk.tracing import grafana_dashboard
from llmops_sdk.tracing._later import LATER
from llmops_sdk.virtual_time import run_in_virtual_time

PRICES = PriceTable({"small": {"input": "1", "output": "2"}, "large": {"input": "10", "output": "20"}})
USAGE = Usage(input_tokens=1000, output_tokens=500)
DOWN = ServerError("down", status_code=503)
ELSEWHERE = {"llmops_monitoring_alarms_total"}
"""Metrics of the dashboard that `monitoring` writes, whose own tests scrape them."""


class Scraped:
    """Families and samples of one scrape."""

    def __init__(self, text):
        self.families = {family.name: family for family in text_string_to_metric_families(text)}
        self.samples = {}
        for family in self.families.values():
            for sample in family.samples:
                labels = {key: value for key, value in sample.labels.items() if not key.startswith("otel_")}
                self.samples.setdefault(sample.name, []).append((labels, sample.value))

    def total(self, name, **labels):
        """The sum of the samples that have these labels."""
        return sum(value for found, value in self.samples.get(name, ()) if labels.items() <= found.items())


def make_runs(hook):
    """Runs of every kind: 2 that are plain, 1 that is blocked, fails over, hedges, is cached, and fails each."""

    def pipeline(name, *stations):
        return Pipeline("Answer {{ a }}", *stations, name=name, hooks=[hook], prices=PRICES)

    def engine(*answers, model="small", **options):
        return Scripted(*answers, model=model, usage=USAGE, **options)

    async def main():
        tickets = Regex({"ticket": r"ticket-\d{4}"}, action="rewrite", name="tickets")
        swearing = Regex([r"damn"], name="swearing")
        plain = pipeline("plain", tickets, engine(["It ", "is ", "so"], delay_s=1.0, chunk_delay_s=0.05), swearing)
        await plain.arun(a="ticket-1234", tags={"tenant": "acme"})
        async for _ in plain.astream(a="b", tags={"tenant": "other one"}):
            pass
        blocked = pipeline("blocked", engine("damn", model="large"), swearing)
        assert (await blocked.arun(a="b")).blocked
        routed = Router([engine(DOWN, name="bad"), engine("x", name="good")], strategy=Priority())
        await pipeline("failing over", routed).arun(a="b")
        hedged = Router(
            [engine("x", name="slow", delay_s=9.0), engine("x", name="fast")], strategy=Priority(), hedge=0.5
        )
        await pipeline("hedged", hedged).arun(a="b")
        cached = pipeline("cached", Cached(engine("x", name="cloud")))
        await cached.arun(a="b")
        await cached.arun(a="b")
        with contextlib.suppress(AllEnginesFailed):
            await pipeline("failing", Router([engine(DOWN, name="bad")], retries=1)).arun(a="b")
        waiting = asyncio.ensure_future(pipeline("cancelled", engine("x", delay_s=9.0)).arun(a="b"))
        await asyncio.sleep(0.1)
        waiting.cancel()
        await asyncio.wait([waiting])

    run_in_virtual_time(main())


def make_rest(hook, runs):
    """What is tedious to bring about: its events, by hand."""
    call = Call(hooks=(hook,))
    t = call.started
    runs.record(
        call,
        LimitWaited(t, t + 0.1, "10 requests a minute"),
        LimitsDegraded(t, "Redis", "fail_open", ConnectionError()),
        Escalated(t, "cheap", "too short"),
        StreamResumed(t, "good", "resume", 10),
        runs.attempt(call, 0.1, 0.2, cost_usd=None, estimated_usd=Decimal("0.25"), cut_off=True, usage=None),
        OutputValidated(t, t, "no name"),
    )
    call.record(ToolExecuted(t, t + 0.3, ToolCall(id="1", name="weather", arguments="{}"), "sun", None))
    call.record(Evaluated(t, "faithfulness", 0.5))
    call.record(Evaluated(t, "faithfulness", None, error=TimeoutError()))
    for n in range(3):
        call.record(Evaluated(t, f"name {n}", 0.5))


@pytest.fixture(scope="module")
def scraped(runs):
    registry = CollectorRegistry()
    reader = PrometheusMetricReader(registry=registry)
    provider = MeterProvider(metric_readers=[reader], shutdown_on_exit=False)
    hook = tracing.Metrics(provider, tags=("tenant",), most_values=3)
    make_runs(hook)
    make_rest(hook, runs)
    assert LATER.flush(10.0)
    server, thread = start_http_server(0, addr="127.0.0.1", registry=registry)
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{server.server_port}/metrics", timeout=10) as answer:
            return Scraped(answer.read().decode())
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
        provider.shutdown()


def test_runs_are_counted_by_pipeline_and_outcome(scraped):
    def runs(**labels):
        return scraped.total("llmops_runs_total", **labels)

    assert runs(gen_ai_agent_name="plain", llmops_call_outcome="ok") == 2
    assert runs(llmops_call_outcome="blocked") == runs(llmops_call_outcome="cancelled") == 1
    assert runs(llmops_call_outcome="AllEnginesFailed") == 1
    assert runs(llmops_call_outcome="ok") == 2 + 1 + 1 + 2 + 1
    assert runs(llmops_tag_tenant="acme") == runs(llmops_tag_tenant="other one") == 1
    assert runs(llmops_tag_tenant="") == 8
    assert scraped.total("gen_ai_invoke_agent_duration_seconds_count") == 10
    assert scraped.total("gen_ai_invoke_agent_duration_seconds_sum", gen_ai_agent_name="hedged") == pytest.approx(0.5)


def test_tokens_and_money_are_those_of_the_runs(scraped):
    # Whole answers: plain 2, blocked 1 (large), failed over 1, hedged 1, cached 1.
    tokens = scraped.total
    assert tokens("gen_ai_client_token_usage_sum", gen_ai_token_type="input", gen_ai_request_model="small") == 5000
    assert tokens("gen_ai_client_token_usage_sum", gen_ai_token_type="output", gen_ai_request_model="small") == 2500
    assert tokens("gen_ai_client_token_usage_sum", gen_ai_token_type="output", gen_ai_request_model="large") == 500
    spent = scraped.total
    assert spent("llmops_spent_usd_total", gen_ai_request_model="small") == pytest.approx(5 * 0.002)
    assert spent("llmops_spent_usd_total", gen_ai_agent_name="blocked") == pytest.approx(0.02)
    assert spent("llmops_spent_usd_total", llmops_tag_tenant="acme") == pytest.approx(0.002)
    assert spent("llmops_spent_usd_estimated_total", gen_ai_agent_name="support") == 0.25


def test_engines_are_told_by_what_became_of_them(scraped):
    duration = "gen_ai_client_operation_duration_seconds_count"
    assert scraped.total(duration, error_type="ServerError") == 1 + 2
    assert scraped.total(duration, llmops_cancelled="true") == 2  # the hedge's loser, and the run that was cancelled
    assert scraped.total("llmops_failovers_total", llmops_engine="bad", llmops_failover_to="good") == 1
    assert scraped.total("llmops_retries_total", llmops_engine="bad") == 1
    assert scraped.total("llmops_hedges_total", llmops_engine="fast") == 1
    assert scraped.total("llmops_cache_answers_total", llmops_cache_how="exact") == 1
    assert scraped.total("gen_ai_client_operation_time_to_first_chunk_seconds_sum") == pytest.approx(1.05)
    assert scraped.total("gen_ai_client_operation_time_per_output_chunk_seconds_count") == 3
    assert scraped.total("llmops_stream_longest_gap_seconds_sum") == pytest.approx(0.05)


def test_guards_are_told_by_verdict_and_time(scraped):
    def verdicts(guard, value):
        labels = {"gen_ai_guardrail_component_name": guard, "gen_ai_guardrail_result_value": value}
        return scraped.total("llmops_guard_verdicts_total", **labels)

    assert verdicts("tickets", "rewrite") == verdicts("tickets", "allow") == 1
    assert verdicts("swearing", "block") == 1
    assert verdicts("swearing", "allow") == 2
    assert scraped.total("llmops_guard_duration_seconds_count") == 5


def test_nothing_is_in_flight_and_every_pipeline_and_engine_says_so(scraped):
    pipelines = {labels["gen_ai_agent_name"] for labels, _ in scraped.samples["llmops_runs_in_flight"]}
    assert {"plain", "blocked", "failing over", "hedged", "cached", "failing", "cancelled"} <= pipelines
    assert scraped.families["llmops_runs_in_flight"].type == "gauge"
    assert scraped.total("llmops_runs_in_flight") == scraped.total("llmops_attempts_in_flight") == 0


def test_every_family_is_of_a_kind_and_described(scraped):
    for name, family in scraped.families.items():
        if name != "target_info":
            assert family.type in ("counter", "histogram", "gauge"), name
            assert family.documentation, name
            assert re.fullmatch(r"(gen_ai|llmops)_[a-z_]+", name)


SECONDS = [0.01 * 2**power for power in range(14)]
BUCKETS = {
    "gen_ai_client_operation_duration_seconds": SECONDS,
    "gen_ai_client_operation_time_to_first_chunk_seconds": SECONDS,
    "gen_ai_client_operation_time_per_output_chunk_seconds": SECONDS,
    "gen_ai_execute_tool_duration_seconds": SECONDS,
    "gen_ai_client_token_usage": [4.0**power for power in range(14)],
    "gen_ai_invoke_agent_duration_seconds": [0.1 * 2**power for power in range(13)],
}


@pytest.mark.parametrize("name", BUCKETS)
def test_buckets_are_those_that_the_conventions_advise(scraped, name):
    found = {float(labels["le"]) for labels, _ in scraped.samples[f"{name}_bucket"]}
    assert sorted(found) == [*map(pytest.approx, BUCKETS[name]), float("inf")]


def queries():
    for panel in grafana_dashboard()["panels"]:
        for target in panel.get("targets", ()):
            yield panel["title"], target["expr"]


@pytest.mark.parametrize(("title", "query"), list(queries()))
def test_every_metric_and_label_that_a_panel_asks_for_is_scraped(scraped, title, query):
    plain = query.replace("$tag", "llmops_tag_tenant")
    by = {label.strip() for group in re.findall(r"by \(([^)]*)\)", plain) for label in group.split(",")}
    asked = by | set(re.findall(r"(\w+)(?:=~|!~|!=|=)\"", plain))
    metrics = set(re.findall(r"\b(?:gen_ai|llmops)_\w+", re.sub(r"by \([^)]*\)|\{[^}]*\}", "", plain)))
    assert metrics
    if not metrics <= ELSEWHERE:
        assert metrics <= set(scraped.samples), f"{title}: no metrics {metrics - set(scraped.samples)}"
        known = {label for metric in metrics for labels, _ in scraped.samples[metric] for label in labels}
        assert asked <= known, f"{title}: no labels {asked - known}"


def test_every_value_that_a_panel_filters_by_is_scraped(scraped):
    for title, query in queries():
        for label, value in re.findall(r"(\w+)=\"(\w+)\"", query):
            values = {labels.get(label) for samples in scraped.samples.values() for labels, _ in samples}
            assert value in values, (title, label)


def test_the_dashboard_is_one_that_grafana_imports_and_names_no_data_source_of_ours():
    dashboard = grafana_dashboard()
    assert 36 <= dashboard["schemaVersion"] <= 42
    assert dashboard["uid"]
    assert "id" not in dashboard
    panels = dashboard["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    variables = {one["name"]: one for one in dashboard["templating"]["list"]}
    assert variables["DS_PROMETHEUS"]["type"] == "datasource"
    for uid in re.findall(r'"uid": "([^"]*)"', json.dumps({"panels": panels, "variables": variables})):
        assert uid == "${DS_PROMETHEUS}"
    used = set(re.findall(r"\$(\w+)", " ".join(query for _, query in queries()))) - {"__rate_interval"}
    assert used <= set(variables)


def test_no_two_panels_lie_on_each_other():
    taken = {}
    for panel in grafana_dashboard()["panels"]:
        place = panel["gridPos"]
        assert place["x"] + place["w"] <= 24
        for x in range(place["x"], place["x"] + place["w"]):
            for y in range(place["y"], place["y"] + place["h"]):
                assert taken.setdefault((x, y), panel["title"]) == panel["title"]
