"""Metrics: what is recorded of which run, in which names, and that nothing drifts, leaks or is counted twice."""

import asyncio
import json
import os
import pathlib
import subprocess
import sys
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader

import llmops_sdk
from llmops_sdk import Router, Scripted, tracing
from llmops_sdk.calls import (
    Aside,
    AttemptStarted,
    CacheAnswered,
    Call,
    Ended,
    Evaluated,
    LimitWaited,
    OutputValidated,
    Retried,
    Started,
    ToolExecuted,
)
from llmops_sdk.engines import Cached
from llmops_sdk.errors import ConfigurationError, DeadlineExceeded, ServerError
from llmops_sdk.messages import Choice, Response, ToolCall, Usage
from llmops_sdk.routers import Limit, Priority
from llmops_sdk.tracing._later import LATER
from llmops_sdk.tracing.opentelemetry._metrics import names
from llmops_sdk.verdicts import Verdict
from llmops_sdk.virtual_time import run_in_virtual_time

DOWN = ServerError("down", status_code=503)


class Read:
    """Metrics of one provider, by name; a point is found by some of its attributes."""

    def __init__(self):
        self.reader = InMemoryMetricReader()
        self.provider = MeterProvider(metric_readers=[self.reader], shutdown_on_exit=False)

    def hook(self, **options):
        return tracing.Metrics(self.provider, **options)

    def points(self, name):
        assert LATER.flush(10.0)
        data = self.reader.get_metrics_data()
        if data is None:
            return []
        return [
            point
            for resource in data.resource_metrics
            for scope in resource.scope_metrics
            for metric in scope.metrics
            if metric.name == name
            for point in metric.data.data_points
        ]

    def names(self):
        assert LATER.flush(10.0)
        data = self.reader.get_metrics_data()
        return {metric.name for one in data.resource_metrics for scope in one.scope_metrics for metric in scope.metrics}

    def value(self, name, **attributes):
        """Of a counter the value, of a histogram (count, sum)."""
        wanted = {key.replace("__", "."): value for key, value in attributes.items()}
        (point,) = [one for one in self.points(name) if wanted.items() <= dict(one.attributes).items()]
        return point.value if hasattr(point, "value") else (point.count, pytest.approx(point.sum))


@pytest.fixture
def read():
    read = Read()
    yield read
    read.provider.shutdown()


def test_a_plain_run_is_told_by_the_released_names_of_the_conventions(read, runs):
    runs.plain(Call(hooks=(read.hook(),)))
    chat = {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "openai",
        "gen_ai.request.model": "gpt-5-mini",
        "gen_ai.response.model": "gpt-5-mini-2026",
    }
    (duration,) = read.points("gen_ai.client.operation.duration")
    assert dict(duration.attributes) == chat
    assert (duration.count, duration.sum) == (1, pytest.approx(0.894))
    assert duration.explicit_bounds == (
        0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.28, 2.56, 5.12, 10.24, 20.48, 40.96, 81.92,
    )  # fmt: skip
    sent, written = read.points("gen_ai.client.token.usage")
    assert dict(sent.attributes) == {**chat, "gen_ai.token.type": "input"}
    assert dict(written.attributes) == {**chat, "gen_ai.token.type": "output"}
    assert (sent.sum, written.sum) == (1312, 158)
    assert sent.explicit_bounds == tuple(4**power for power in range(14))
    (run,) = read.points("gen_ai.invoke_agent.duration")
    assert dict(run.attributes) == {"gen_ai.agent.name": "support"}
    assert (run.count, run.sum) == (1, pytest.approx(1.0))
    assert run.explicit_bounds == tuple(pytest.approx(0.1 * 2**power) for power in range(13))
    assert not [name for name in read.names() if "inference" in name or "chunk" in name]


def test_a_plain_run_is_told_by_our_own_names_where_there_are_no_others(read, runs):
    runs.plain(Call(hooks=(read.hook(),)))
    assert read.value("llmops.runs", llmops__call__outcome="ok", gen_ai__agent__name="support") == 1
    (spent,) = read.points("llmops.spent_usd")
    assert dict(spent.attributes) == {
        "gen_ai.agent.name": "support",
        "gen_ai.provider.name": "openai",
        "gen_ai.request.model": "gpt-5-mini",
        "gen_ai.response.model": "gpt-5-mini-2026",
    }
    assert spent.value == pytest.approx(0.00021325)
    rewrite = {"gen_ai__guardrail__component__name": "pii", "gen_ai__guardrail__source": "input"}
    assert read.value("llmops.guard.verdicts", **rewrite, gen_ai__guardrail__result__value="rewrite") == 1
    assert read.value("llmops.guard.duration", **rewrite) == (1, 0.001)
    assert read.value("llmops.guard.verdicts", gen_ai__guardrail__component__name="secrets") == 1
    assert read.value("llmops.runs.in_flight") == read.value("llmops.attempts.in_flight") == 0


@pytest.mark.parametrize(
    ("opted_in", "released", "newest"),
    [
        ("", True, False),
        ("http,database/dup", True, False),
        ("http, gen_ai_latest_experimental", False, True),
        ("gen_ai_latest_experimental/dup", True, True),
        ("gen_ai_latest_experimental,gen_ai_latest_experimental/dup", True, True),
    ],
)
def test_the_opt_in_variable_says_which_names_are_written(read, runs, monkeypatch, opted_in, released, newest):
    monkeypatch.setenv("OTEL_SEMCONV_STABILITY_OPT_IN", opted_in)
    runs.failed_over(Call(hooks=(read.hook(),)))
    found = read.names()
    old = {"token.usage", "operation.duration", "operation.time_to_first_chunk"}
    new = {"duration", "time_to_first_chunk", "usage.input_tokens", "usage.output_tokens", "operation.output_tokens"}
    assert ({f"gen_ai.client.{name}" for name in old} <= found) is released
    assert ({f"gen_ai.client.inference.{name}" for name in new} <= found) is newest
    assert any(name.startswith("gen_ai.client.operation") for name in found) is released
    assert "gen_ai.invoke_agent.duration" in found


def test_the_newest_names_tell_tokens_by_what_they_are(read, runs, monkeypatch):
    monkeypatch.setenv("OTEL_SEMCONV_STABILITY_OPT_IN", "gen_ai_latest_experimental")
    call = Call(hooks=(read.hook(),))
    usage = Usage(
        input_tokens=100, output_tokens=40, cached_input_tokens=30, cache_write_tokens=7, reasoning_tokens=25,
        audio_input_tokens=20, cached_audio_tokens=5, audio_output_tokens=10,
    )  # fmt: skip
    runs.record(call, runs.attempt(call, 0.1, 0.2, usage=usage))

    def tokens(name):
        return {
            point.attributes["gen_ai.token.modality"]: point.value
            for point in read.points(f"gen_ai.client.inference.usage.{name}")
        }

    assert tokens("input_tokens") == {"audio": 25, "unknown": 75}
    assert tokens("output_tokens") == {"audio": 10, "unknown": 30}
    assert tokens("cache_read.input_tokens") == {"audio": 5, "unknown": 25}
    assert tokens("cache_write.input_tokens") == {"unknown": 7}
    assert tokens("reasoning.output_tokens") == {"unknown": 25}
    assert read.value("gen_ai.client.inference.operation.input_tokens") == (1, 100)
    assert "gen_ai.client.token.usage" not in read.names()


def test_usage_that_nobody_counted_is_not_reported_and_what_is_unpriced_is_counted(read, runs):
    call = Call(hooks=(read.hook(),))
    guessed = Usage(input_tokens=9, output_tokens=9, estimated=True)
    runs.record(
        call,
        runs.attempt(call, 0.1, 0.2, usage=guessed, cost_usd=None),
        runs.attempt(call, 0.2, 0.3, usage=None, response=None, cost_usd=None, cut_off=True,
                     estimated_usd=Decimal("0.5"), error=asyncio.CancelledError()),
        runs.attempt(call, 0.3, 0.4, usage=None, response=None, cost_usd=None, error=DOWN),
    )  # fmt: skip
    assert read.points("gen_ai.client.token.usage") == []
    assert read.points("llmops.spent_usd") == []
    assert sum(point.value for point in read.points("llmops.attempts.unpriced")) == 2
    assert read.value("llmops.spent_usd.estimated") == pytest.approx(0.5)


def test_a_failure_has_the_type_of_its_error_and_a_cancelled_attempt_is_none(read, runs):
    call = Call(hooks=(read.hook(),))
    runs.record(
        call,
        runs.attempt(call, 0.1, 0.2, usage=None, response=None, cost_usd=None, error=DOWN),
        runs.attempt(call, 0.1, 0.3, usage=None, response=None, cost_usd=None, error=asyncio.CancelledError()),
        outcome="DeadlineExceeded",
        error=DeadlineExceeded("late", deadline_s=1.0),
    )
    assert read.value("gen_ai.client.operation.duration", error__type="ServerError") == (1, 0.1)
    assert read.value("gen_ai.client.operation.duration", llmops__cancelled=True) == (1, 0.2)
    assert read.value("llmops.runs", llmops__call__outcome="DeadlineExceeded") == 1
    assert read.value("gen_ai.invoke_agent.duration", error__type="DeadlineExceeded") == (1, 1.0)


@pytest.mark.parametrize("outcome", ["ok", "blocked", "cancelled"])
def test_what_was_decided_is_no_error(read, runs, outcome):
    runs.record(Call(hooks=(read.hook(),)), outcome=outcome)
    (run,) = read.points("gen_ai.invoke_agent.duration")
    assert "error.type" not in run.attributes


def test_an_answer_from_a_cache_is_counted_as_such_and_not_as_an_engines_work(read):
    pipeline = ("Say {{ a }}" | Cached(Scripted("x", name="cloud"))).with_hooks(read.hook())
    for _ in range(3):
        pipeline.run(a="b")
    assert read.value("llmops.cache.answers", llmops__cache__how="exact", llmops__engine="cloud") == 2
    (duration,) = read.points("gen_ai.client.operation.duration")
    assert duration.count == 1


def test_failover_retry_and_resumed_stream_are_counted_by_engine(read, runs):
    runs.failed_over(Call(hooks=(read.hook(),)))
    failed = {"llmops__engine": "local", "error__type": "StreamInterrupted"}
    assert read.value("llmops.failovers", **failed, llmops__failover__to="cloud") == 1
    assert read.value("llmops.retries", llmops__engine="cloud") == 1
    assert read.value("llmops.streams.resumed", llmops__engine="cloud", llmops__resume__how="resume") == 1


def test_an_engine_that_is_asked_again_is_no_failover(read, runs):
    call = Call(hooks=(read.hook(),))
    t = call.started
    runs.record(
        call,
        AttemptStarted(t, "cloud", 1),
        runs.attempt(call, 0.0, 0.1, usage=None, response=None, cost_usd=None, error=DOWN),
        Retried(t + 0.1, "cloud", 0.1, DOWN),
        AttemptStarted(t + 0.2, "cloud", 2),
        runs.attempt(call, 0.2, 0.3),
    )
    assert read.points("llmops.failovers") == []
    assert read.value("llmops.retries", error__type="ServerError") == 1


def test_hedges_of_a_real_router_are_counted_and_their_loser_is_cancelled(read):
    async def main():
        slow, fast = Scripted("a", delay_s=5.0, name="slow"), Scripted("b", name="fast")
        router = Router([slow, fast], strategy=Priority(), hedge=0.5)
        pipeline = ("Say {{ a }}" | router).with_hooks(read.hook())
        assert (await pipeline.arun(a="b")).text == "b"

    run_in_virtual_time(main())
    assert read.value("llmops.hedges", llmops__engine="fast") == 1
    assert read.value("gen_ai.client.operation.duration", llmops__cancelled=True) == (1, 0.5)
    assert read.points("llmops.failovers") == []


def test_a_stream_tells_its_first_chunk_every_interval_and_the_longest_gap(read):
    async def main():
        engine = Scripted(["a", "b", "c"], delay_s=0.3, chunk_delay_s=0.1)
        async for _ in ("Say {{ a }}" | engine).with_hooks(read.hook()).astream(a="b"):
            pass

    run_in_virtual_time(main())
    assert read.value("gen_ai.client.operation.time_to_first_chunk") == (1, 0.4)
    assert read.value("gen_ai.client.operation.time_per_output_chunk") == (3, 0.2)  # the last chunk comes at once
    assert read.value("llmops.stream.longest_gap") == (1, 0.1)


def test_of_a_long_stream_so_many_intervals_are_recorded_at_equal_distances(read, runs):
    call = Call(hooks=(read.hook(),))
    times = [call.started + n / 1000 for n in range(1001)]
    times[-1] += 4.0
    runs.record(call, runs.attempt(call, 0.0, 6.0, streamed=True, first_chunk_at=times[0], chunk_times=times))
    (intervals,) = read.points("gen_ai.client.operation.time_per_output_chunk")
    assert 32 < intervals.count <= 64
    assert read.value("llmops.stream.longest_gap") == (1, 4.001)


def test_tags_that_were_chosen_tell_runs_and_costs_apart(read, runs):
    hook = read.hook(tags=("tenant",))
    runs.plain(Call(hooks=(hook,), tags={"tenant": "acme", "user": "u1"}))
    runs.plain(Call(hooks=(hook,), tags={"tenant": 7}))
    runs.plain(Call(hooks=(hook,)))
    assert sorted(str(one.attributes.get("llmops.tag.tenant")) for one in read.points("llmops.runs")) == [
        "7", "None", "acme",
    ]  # fmt: skip
    assert read.value("llmops.spent_usd", llmops__tag__tenant="acme") == pytest.approx(0.00021325)
    assert not any("llmops.tag.user" in one.attributes for one in read.points("llmops.runs"))


@given(st.lists(st.integers(0, 30), min_size=1, max_size=60), st.integers(1, 10))
def test_a_tag_has_so_many_values_and_every_run_is_counted_once(tenants, most):
    read = Read()
    hook = read.hook(tags=("tenant",), most_values=most)
    for tenant in tenants:
        call = Call(hooks=(hook,), tags={"tenant": str(tenant)})
        call.record(Started(call.started, "p", False))
        call.record(Ended(call.started, "ok", None))
    values = {point.attributes["llmops.tag.tenant"]: point.value for point in read.points("llmops.runs")}
    known = list(dict.fromkeys(map(str, tenants)))[:most]
    expected = {tenant: tenants.count(int(tenant)) for tenant in known}
    folded = sum(1 for tenant in tenants if str(tenant) not in known)
    assert values == {**expected, **({"other": folded} if folded else {})}
    assert sum(point.value for point in read.points("llmops.metrics.values_folded")) == folded
    read.provider.shutdown()


def test_runs_and_attempts_in_flight_come_back_to_zero_however_a_run_ends(read):
    async def main():
        hang = Scripted("a", delay_s=100.0, name="hang")
        pipeline = ("Say {{ a }}" | hang).with_hooks(read.hook())
        runs = [asyncio.ensure_future(pipeline.arun(a="b", deadline_s=limit)) for limit in (None, 1.0, None)]
        stream = pipeline.astream(a="b")
        reading = asyncio.ensure_future(anext(aiter(stream)))
        await asyncio.sleep(0.1)
        assert read.value("llmops.runs.in_flight", gen_ai__agent__name="pipeline") == 4
        assert read.value("llmops.attempts.in_flight", llmops__engine="hang") == 4
        runs[0].cancel()
        reading.cancel()
        await asyncio.sleep(2.0)
        assert read.value("llmops.runs.in_flight") == 1
        await asyncio.gather(*runs, reading, return_exceptions=True)

    run_in_virtual_time(main())
    assert read.value("llmops.runs.in_flight") == read.value("llmops.attempts.in_flight") == 0
    outcomes = {one.attributes["llmops.call.outcome"]: one.value for one in read.points("llmops.runs")}
    assert outcomes == {"cancelled": 2, "DeadlineExceeded": 1, "ok": 1}


def test_an_attempt_that_ends_after_its_run_is_recorded_once_and_leaves_nothing_in_flight(read, runs):
    call = Call(hooks=(read.hook(),))
    t = call.started
    runs.record(call, AttemptStarted(t, "cloud", 1), outcome="cancelled")
    assert read.value("llmops.attempts.in_flight") == 0
    call.record(runs.attempt(call, 0.0, 2.0))
    assert read.value("gen_ai.client.operation.duration") == (1, 2.0)
    assert read.value("llmops.spent_usd", gen_ai__agent__name="support") == pytest.approx(0.00021325)
    assert read.value("llmops.attempts.in_flight") == 0


def test_a_forked_child_has_nothing_in_flight(read):
    hook = read.hook()
    call = Call(hooks=(hook,))
    call.record(Started(call.started, "p", False))
    assert read.value("llmops.runs.in_flight") == 1
    child = os.fork()
    if not child:
        os._exit(read.value("llmops.runs.in_flight"))
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert read.value("llmops.runs.in_flight") == 1


def test_what_is_done_with_the_answer_is_recorded_when_it_comes(read, runs):
    call = runs.plain(Call(hooks=(read.hook(),)))
    t = call.started
    call.record(ToolExecuted(t + 2, t + 2.5, ToolCall(id="1", name="weather", arguments="{}"), "sun", None))
    call.record(ToolExecuted(t + 2, t + 2.1, ToolCall(id="2", name="weather", arguments="{}"), None, KeyError("x")))
    call.record(Evaluated(t + 3, "faithfulness", 0.75, by="llm"))
    call.record(Evaluated(t + 3, "faithfulness", float("nan"), by="llm"))
    call.record(Evaluated(t + 3, "faithfulness", None, by="llm", error=TimeoutError()))
    call.record(Evaluated(t + 3, "feedback", None, label="bad", by="human"))
    tool = {"gen_ai__tool__name": "weather"}
    assert read.value("gen_ai.execute_tool.duration", **tool, error__type="KeyError") == (1, 0.1)
    assert sorted(point.count for point in read.points("gen_ai.execute_tool.duration")) == [1, 1]
    assert read.value("llmops.evaluation.score", gen_ai__evaluation__name="faithfulness") == (1, 0.75)
    assert read.value("llmops.evaluations", gen_ai__evaluation__name="faithfulness", error__type="TimeoutError") == 1
    assert read.value("llmops.evaluations", gen_ai__evaluation__score__label="bad", llmops__evaluation__by="human") == 1
    assert read.value("llmops.runs") == 1


def test_a_judge_that_a_guard_asks_is_counted_and_named(read, runs):
    call = Call(hooks=(read.hook(),))
    judged = runs.attempt(call, 0.1, 0.2, engine="judge", model="small")
    runs.record(call, Aside(call.started + 0.2, "faithful", judged), runs.attempt(call, 0.2, 0.9))
    assert read.value("llmops.spent_usd", llmops__asker="faithful", gen_ai__request__model="small") > 0
    assert read.value("gen_ai.client.token.usage", gen_ai__request__model="small", gen_ai__token__type="input")
    assert len(read.points("llmops.spent_usd")) == 2


def test_waits_degraded_limits_and_outputs_that_break_their_schema_are_told(read, runs):
    call = Call(hooks=(read.hook(most_values=1),))
    t = call.started
    runs.record(
        call,
        LimitWaited(t, t + 0.5, "10 requests per minute of user ada"),
        LimitWaited(t, t + 0.5, "12 requests per minute of user bob"),
        LimitWaited(t, t + 0.25, "Retry-After of cloud"),
        CacheAnswered(t, "cloud", "semantic", 1.0, 0.97),
        OutputValidated(t, t + 0.1, None),
        OutputValidated(t, t + 0.1, "no `name`"),
    )
    assert read.value("llmops.limit.wait.duration", llmops__limit__kind="requests per minute") == (2, 1.0)
    assert read.value("llmops.limit.wait.duration", llmops__limit__kind="other") == (1, 0.25)
    assert read.value("llmops.output.validations", llmops__output__valid=False) == 1
    assert read.value("llmops.output.validations", llmops__output__valid=True) == 1


def test_a_wait_for_a_real_limit_is_told_by_its_kind_and_not_by_whom_it_holds_back(read):
    async def main():
        router = Router([Scripted("x")], limits=[Limit(requests_per_minute=1, per="tag:user")])
        pipeline = ("Say {{ a }}" | router).with_hooks(read.hook())
        for _ in range(2):
            await pipeline.arun(a="b", tags={"user": "ada"})

    run_in_virtual_time(main())
    (point,) = read.points("llmops.limit.wait.duration")
    assert dict(point.attributes) == {"gen_ai.agent.name": "pipeline", "llmops.limit.kind": "requests per minute"}
    assert point.count == 1


def test_a_guard_that_broke_and_one_that_was_skipped_are_told_apart(read, runs):
    call = Call(hooks=(read.hook(),))
    runs.record(
        call,
        runs.guard(call, 0.1, "pii", "input", Verdict(action="block", error=f"ValueError: {runs.planted}")),
        runs.guard(call, 0.2, "urls", "output", Verdict(skipped="the run was blocked")),
        outcome="blocked",
    )
    pii = {"gen_ai__guardrail__component__name": "pii", "gen_ai__guardrail__result__value": "block"}
    assert read.value("llmops.guard.verdicts", **pii, error__type="ValueError") == 1
    assert read.value("llmops.guard.verdicts", gen_ai__guardrail__result__value="skipped") == 1
    assert len(read.points("llmops.guard.duration")) == 1


def test_no_attribute_holds_what_was_said(read, runs):
    hook = read.hook()
    runs.plain(Call(hooks=(hook,)))
    runs.failed_over(Call(hooks=(hook,)))
    assert LATER.flush(10.0)
    assert runs.planted not in read.reader.get_metrics_data().to_json()


def test_a_measurement_leads_to_the_trace_of_its_run(read, runs, provider, exporter):
    hooks = (tracing.OpenTelemetry(provider), read.hook())
    runs.plain(Call(hooks=hooks))
    (run,) = read.points("gen_ai.invoke_agent.duration")
    (root,) = [span for span in exporter.get_finished_spans() if span.parent is None]
    assert [(one.trace_id, one.span_id) for one in run.exemplars] == [(root.context.trace_id, root.context.span_id)]
    runs.plain(Call(hooks=hooks[1:]))
    (run,) = read.points("gen_ai.invoke_agent.duration")
    assert run.count == 2
    assert run.exemplars == []


def test_an_answer_with_strange_names_is_recorded_all_the_same(read, runs):
    call = Call(hooks=(read.hook(),))
    strange = "m" * 1000 + chr(0xD800)
    response = Response(choices=(Choice(text="x"),), model=strange)
    runs.record(call, runs.attempt(call, 0.1, 0.2, model=strange, provider=strange, response=response))
    (point,) = read.points("gen_ai.client.operation.duration")
    for value in point.attributes.values():
        assert len(value.encode()) < 300


def test_the_record_is_taken_as_it_was_when_the_run_ended(read, runs):
    """An attempt that ends between the end of the run and the worker's turn is counted once, not twice."""
    hook = read.hook()
    for _ in range(20):
        call = Call(hooks=(hook,))
        runs.record(call, outcome="cancelled")
        call.record(runs.attempt(call, 0.0, 2.0))
    (point,) = read.points("gen_ai.client.operation.duration")
    assert point.count == 20


_EXITS = """
import os, sys
from opentelemetry import metrics
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import MetricExporter, MetricExportResult, PeriodicExportingMetricReader
from llmops_sdk import Scripted, tracing

class Printer(MetricExporter):
    def export(self, metrics_data, timeout_millis=10_000, **_):
        os.write(1, metrics_data.to_json().encode())
        return MetricExportResult.SUCCESS
    def force_flush(self, timeout_millis=10_000):
        return True
    def shutdown(self, timeout_millis=30_000, **_):
        pass

def set_provider():
    metrics.set_meter_provider(MeterProvider([PeriodicExportingMetricReader(Printer(), 1e9)]))

if sys.argv[1] == "before":
    set_provider()
pipeline = ("Say {{ a }}" | Scripted("x")).with_hooks(tracing.Metrics())
if sys.argv[1] == "after":
    set_provider()
pipeline.run(a="b")
"""


@pytest.mark.parametrize("provider_is_set", ["before", "after"])
def test_the_last_run_before_the_exit_reaches_the_global_provider(provider_is_set):
    environment = {**os.environ, "PYTHONPATH": str(pathlib.Path(llmops_sdk.__file__).parents[1])}
    command = [sys.executable, "-c", _EXITS, provider_is_set]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=50, check=True)
    exported = json.loads(done.stdout)
    found = {
        metric["name"]: metric["data"]["data_points"][0]
        for one in exported["resource_metrics"]
        for scope in one["scope_metrics"]
        for metric in scope["metrics"]
    }
    assert found["llmops.runs"]["value"] == 1


@pytest.mark.parametrize("tags", ["tenant", [""], [1], 5, None, [None]], ids=repr)
def test_tags_that_are_no_names_are_refused(tags):
    with pytest.raises(ConfigurationError, match="'tenant',"):
        tracing.Metrics(tags=tags)


@pytest.mark.parametrize("provider", ["x", 0, ...], ids=repr)
def test_a_provider_that_is_none_is_refused(provider):
    with pytest.raises(ConfigurationError, match="MeterProvider"):
        tracing.Metrics(provider)


@pytest.mark.parametrize("most", [0, -1, True, "9", 1.5, None], ids=repr)
def test_a_number_of_values_that_is_none_is_refused(most):
    with pytest.raises(ConfigurationError, match="1 or more"):
        tracing.Metrics(most_values=most)


def test_a_name_of_a_metric_stands_in_one_file():
    """Else it is renamed in one place and not in the other."""
    ours = {value for name, value in vars(names).items() if name.isupper() and "." in value}
    assert len(ours) > 30
    package = pathlib.Path(llmops_sdk.__file__).parent
    home = pathlib.Path(names.__file__)
    for path in package.rglob("*.py"):
        if path != home:
            text = path.read_text(encoding="utf-8")
            assert not [name for name in ours if f'"{name}"' in text], path


def test_the_page_lists_every_metric_and_every_attribute():
    page = pathlib.Path(__file__).parents[2] / "docs/concepts/tracing/metrics.md"
    text = page.read_text(encoding="utf-8")
    assert [name for name in vars(names).values() if isinstance(name, str) and "." in name.partition("\n")[0]
            and name.startswith(("gen_ai.", "llmops.")) and f"`{name}`" not in text] == []  # fmt: skip


def test_flush_waits_until_all_that_has_ended_is_counted(read, runs):
    hook = read.hook()
    runs.plain(Call(hooks=(hook,)))
    assert hook.flush(timeout_s=10)
    (scope,) = read.reader.get_metrics_data().resource_metrics[0].scope_metrics
    assert "llmops.runs" in {metric.name for metric in scope.metrics}
