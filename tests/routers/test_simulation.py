"""Simulated engines keep to queueing theory, and a simulation is the router itself: seeded, conserved, comparable."""

import asyncio
import bisect
import csv
import io
import itertools
import json
import math
import os
import random
import statistics
import subprocess
import sys
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmops_sdk import Router, Scripted, tracing
from llmops_sdk.costs import Price
from llmops_sdk.engines import plan
from llmops_sdk.errors import ConfigurationError
from llmops_sdk.messages import Usage
from llmops_sdk.routers import EngineModel, Latency, Leg, Limit, RoundRobin, Simulation, Traffic, simulate
from llmops_sdk.routers._simulation.batch import Batch, Job
from llmops_sdk.routers._simulation.fit import Measured
from llmops_sdk.routers._simulation.prefix_cache import PrefixCache
from llmops_sdk.routers._simulation.tally import Quantiles
from llmops_sdk.virtual_time import run_in_virtual_time

LLAMA = {
    "model_type": "llama",
    "torch_dtype": "bfloat16",
    "hidden_size": 4096,
    "intermediate_size": 14336,
    "num_hidden_layers": 32,
    "num_attention_heads": 32,
    "num_key_value_heads": 8,
    "vocab_size": 128256,
}
ONE_SECOND = 1000  # tokens of an answer at a millisecond each
SMALL = EngineModel(step_s=0.02, slots=4)
EASY = Traffic(rate_per_s=4.0, prompt_tokens=50, answer_tokens=(50, 1.0))


def mean_wait(slots, load, seeds, requests):
    """Mean waiting time of exponential requests of a second in the mean."""
    waits = []
    for seed in seeds:
        batch = Batch(EngineModel(step_s=0.001, slots=slots), 0.0)
        came = {}
        traffic = Traffic(rate_per_s=load * slots, prompt_tokens=1, answer_tokens=(ONE_SECOND, 1.0))
        for arrival in itertools.islice(traffic.arrivals(seed=seed), requests):
            while (at := batch.next_at()) <= arrival.at:
                waits.extend(at - came.pop(job) - job.steps / ONE_SECOND for job in batch.advance(at))
            batch.advance(arrival.at)
            job = Job(0, 1, arrival.answer_tokens)
            came[job] = arrival.at
            batch.add(job, arrival.at)
    return statistics.fmean(waits)


def erlang_c_wait(servers, load):
    offered = servers * load
    busy = offered**servers / math.factorial(servers) / (1 - load)
    some_wait = busy / (sum(offered**k / math.factorial(k) for k in range(servers)) + busy)
    return some_wait / (servers * (1 - load))


class TestQueueingTheory:
    @pytest.mark.parametrize(("slots", "load"), [(1, 0.5), (4, 0.5)])
    def test_mean_waiting_time_is_that_of_m_m_c(self, slots, load):
        # The standard error of the mean over the seeds is about 2 %.
        assert mean_wait(slots, load, range(3), 25_000) == pytest.approx(erlang_c_wait(slots, load), rel=0.06)

    def test_the_whole_simulation_answers_like_m_m_1_too(self):
        traffic = Traffic(rate_per_s=0.3, prompt_tokens=1, answer_tokens=(ONE_SECOND, 1.0))
        result = simulate("priority", [EngineModel(step_s=0.001, slots=1)], traffic, requests=6_000, seed=2)
        assert result["priority"].mean_s == pytest.approx(1 / 0.7, rel=0.06)
        assert result["priority"].busy == pytest.approx(0.3, rel=0.05)

    def test_processor_sharing_takes_service_over_idleness(self):
        # One step for all: twice the requests, half the speed. M/M/1 with processor sharing: E[T] = S / (1 - load).
        batch = Batch(EngineModel(step_s=0.0, step_per_request_s=0.001), 0.0)
        came, took = {}, []
        traffic = Traffic(rate_per_s=0.5, prompt_tokens=1, answer_tokens=(ONE_SECOND, 1.0))
        for arrival in itertools.islice(traffic.arrivals(seed=5), 25_000):
            while (at := batch.next_at()) <= arrival.at:
                took.extend(at - came.pop(job) for job in batch.advance(at))
            batch.advance(arrival.at)
            job = Job(0, 1, arrival.answer_tokens)
            came[job] = arrival.at
            batch.add(job, arrival.at)
        assert statistics.fmean(took) == pytest.approx(2.0, rel=0.04)

    def test_two_choices_keep_the_fullest_engine_low(self):
        # Azar, Broder, Karlin, Upfal 1994: with n balls in n bins ln ln n / ln 2 + O(1) against ln n / ln ln n.
        rng = random.Random(1)

        def fullest(choices):
            batches = [Batch(SMALL, 0.0) for _ in range(1000)]
            for _ in range(1000):
                chosen = min(rng.sample(batches, choices), key=lambda one: len(one.jobs()))
                chosen.add(Job(0, 1, 1), 0.0)
            return max(len(one.jobs()) for one in batches)

        assert fullest(1) >= 4
        assert fullest(2) <= 4


class TestBatch:
    @given(
        st.lists(st.tuples(st.floats(0, 50), st.integers(0, 500), st.integers(1, 500)), min_size=1, max_size=30),
        st.integers(1, 8),
        st.sets(st.integers(0, 29)),
    )
    def test_all_work_is_done_once_and_time_never_goes_back(self, arrivals, slots, cancelled):
        model = EngineModel(step_s=0.01, step_per_request_s=0.001, prefill_tokens_per_s=1000, slots=slots)
        batch = Batch(model, 0.0)
        jobs, ended, now = [], [], 0.0
        for index, (at, prompt, steps) in enumerate(sorted(arrivals)):
            while (soon := batch.next_at()) <= at:
                assert soon >= now
                now = soon
                ended.extend(batch.advance(soon))
            batch.advance(at)
            now = at
            job = Job(prompt, prompt, steps)
            jobs.append(job)
            batch.add(job, at)
            assert batch.running <= slots
            if index in cancelled:
                batch.remove(job)
                batch.remove(job)  # twice is once
        while (soon := batch.next_at()) < math.inf:
            assert soon >= now
            now = soon
            ended.extend(batch.advance(soon))
        assert not batch.busy
        assert len(ended) == len(set(ended))
        assert {job for index, job in enumerate(jobs) if index not in cancelled} == set(ended)

    def test_a_prompt_stops_the_others_while_it_is_read(self):
        batch = Batch(EngineModel(step_s=0.1, prefill_tokens_per_s=100), 0.0)
        first, second = Job(0, 1, 10), Job(50, 1, 1)
        batch.add(first, 0.0)
        batch.advance(0.5)
        batch.add(second, 0.5)
        assert second.first_at == 0.0
        batch.advance(1.05)
        assert second.first_at == pytest.approx(1.1)
        assert batch.next_at() == pytest.approx(1.1)
        assert batch.advance(1.1) == [second]
        assert batch.next_at() == pytest.approx(1.5)

    def test_a_forecast_is_what_then_happens(self):
        batch = Batch(EngineModel(step_s=0.01, step_per_request_s=0.005, prefill_tokens_per_s=500, slots=3), 0.0)
        for number in range(7):
            batch.add(Job(10 * number, 1, 20 + 7 * number), 0.0)
        batch.advance(0.3)
        expected = batch.forecast(Job(40, 1, 33), 0.3)
        job = Job(40, 1, 33)
        batch.add(job, 0.3)
        while job not in batch.advance(at := batch.next_at()):
            pass
        assert at == pytest.approx(expected)

    def test_a_frozen_engine_goes_on_where_it_stood(self):
        batch = Batch(EngineModel(step_s=0.1), 0.0)
        batch.add(Job(0, 1, 10), 0.0)
        batch.advance(0.4)
        batch.freeze()
        assert batch.next_at() == math.inf
        batch.advance(5.0)
        batch.thaw(5.0)
        assert batch.next_at() == pytest.approx(5.6)

    def test_a_cold_engine_takes_its_time_once(self):
        batch = Batch(EngineModel(step_s=0.1, cold_start_s=30.0), 0.0)
        batch.add(Job(0, 1, 1), 0.0)
        assert batch.next_at() == pytest.approx(30.0)
        batch.advance(40.0)
        batch.add(Job(0, 1, 1), 40.0)
        assert batch.next_at() == pytest.approx(40.1)


class TestPrefixCache:
    def test_what_was_used_last_stays_and_only_whole_blocks_are_found(self):
        cache = PrefixCache(100, 16)
        cache.keep((("a", 50),))
        cache.keep((("b", 40),))
        assert cache.hit((("a", 50), ("x", 10))) == 48
        cache.keep((("a", 50),))
        cache.keep((("c", 30),))
        assert [cache.hit(((key, 50),)) for key in "abc"] == [48, 0, 16]

    def test_a_stretch_is_found_only_behind_the_one_before_it(self):
        cache = PrefixCache(1000, 1)
        cache.keep((("tenant", 100), ("talk", 50)))
        assert cache.hit((("tenant", 100), ("talk", 80))) == 150
        assert cache.hit((("other", 100), ("talk", 50))) == 0


class TestSimulation:
    def test_the_same_seed_gives_the_same_numbers_in_another_process(self):
        script = (
            "import json; from llmops_sdk.routers import *; from llmops_sdk.routers import simulate\n"
            "models = [EngineModel(slots=2, jitter=0.5, error_rate=0.2), EngineModel(requests_per_minute=60)]\n"
            "traffic = Traffic(rate_per_s=3, tenants=5, shared_tokens=100, turns=2, burst=2, swing=0.5, period_s=60)\n"
            "result = simulate(['latency', 'least_busy'], models, traffic, requests=300, seed=7, deadline_s=30)\n"
            "data = result.to_json()\n"
            "[row.pop('took_s') for row in data['outcomes']]; print(json.dumps(data))"
        )
        texts = [
            subprocess.run(
                [sys.executable, "-c", script],
                capture_output=True,
                text=True,
                check=True,
                env={**os.environ, "PYTHONHASHSEED": seed},
            ).stdout
            for seed in ("1", "2")
        ]
        assert texts[0] == texts[1]
        assert json.loads(texts[0])["outcomes"][0]["sent"] == 300

    def test_another_seed_gives_other_numbers(self):
        one, two = (
            simulate("latency", [SMALL] * 2, EASY, requests=100, seed=seed)["latency"].mean_s for seed in (1, 2)
        )
        assert one != two

    def test_the_applications_own_random_numbers_stay_as_they_were(self):
        random.seed(5)
        expected = [random.random() for _ in range(3)]
        random.seed(5)
        got = []
        for _ in range(3):
            got.append(random.random())
            simulate("latency", [SMALL.but(error_rate=0.5)], EASY, requests=20)
        assert got == expected

    def test_every_request_is_answered_or_failed(self):
        models = {
            "flaky": SMALL.but(error_rate=0.7),
            "down": SMALL.but(outages=((0, 100), (200, 300, "hang"))),
            "limited": SMALL.but(requests_per_minute=10),
        }
        result = simulate(["latency", "round_robin"], models, EASY, requests=1500, seed=3, deadline_s=5.0)
        for row in result:
            assert row.sent == row.answered + row.failed == 1500
            assert row.failed > 0
            assert sum(row.asked.values()) == pytest.approx(row.attempts_per_answer * row.answered)
            assert row.too_many > 0

    def test_all_policies_meet_the_same_traffic_and_the_same_luck(self):
        model = SMALL.but(jitter=1.0, tail=1.5, error_rate=0.1)
        result = simulate({"a": "priority", "b": "priority"}, [model] * 2, EASY, requests=300, seed=1)
        one, two = ({**vars_of(row), "policy": "", "took_s": 0} for row in result)
        assert one == two

    def test_nobody_beats_the_oracle_where_chance_decides(self):
        model = EngineModel(slots=2, jitter=1.0)
        traffic = Traffic(rate_per_s=2.0, prompt_tokens=10, answer_tokens=(100, 1.0))
        result = simulate(
            ["round_robin", "least_busy", "latency", "oracle"], [model] * 4, traffic, requests=500, seed=2
        )
        assert result["oracle"].mean_s < min(row.mean_s for row in result if row.policy != "oracle")

    def test_streams_have_the_same_times(self):
        whole = simulate("priority", [SMALL.but(overhead_s=0.1)], EASY, requests=200, seed=4)["priority"]
        streamed = simulate("priority", [SMALL.but(overhead_s=0.1)], EASY, requests=200, seed=4, stream=True)[
            "priority"
        ]
        assert streamed.p99_s == whole.p99_s
        assert streamed.first_token_p50_s == pytest.approx(whole.first_token_p50_s, rel=0.01)
        assert streamed.first_token_p50_s < streamed.p50_s

    def test_a_prefix_cache_shortens_the_time_to_the_first_token(self):
        slow_reader = EngineModel(prefill_tokens_per_s=1000, slots=8)
        traffic = Traffic(rate_per_s=0.5, prompt_tokens=20, answer_tokens=20, tenants=3, shared_tokens=800)
        without = simulate("priority", [slow_reader], traffic, requests=300)["priority"]
        with_it = simulate("priority", [slow_reader.but(cache_tokens=10_000)], traffic, requests=300)["priority"]
        assert without.prefix_hit_rate == 0
        assert with_it.prefix_hit_rate == pytest.approx(800 / 820, abs=0.02)
        assert with_it.first_token_p50_s < without.first_token_p50_s / 5

    def test_answers_cost_what_their_tokens_cost(self):
        model = SMALL.but(price=Price(input=Decimal(2), output=Decimal(10)))
        traffic = Traffic(rate_per_s=1, prompt_tokens=100, answer_tokens=50)
        row = simulate("priority", {"one": model}, traffic, requests=10)["priority"]
        assert row.cost_usd == 10 * (100 * 2 + 50 * 10) / Decimal(1_000_000)
        assert simulate("priority", [SMALL], traffic, requests=10)["priority"].cost_usd is None

    def test_a_users_own_router_keeps_its_options(self):
        router = Router(
            [Leg(Scripted("a", name="a"), tags={"region": "eu"}), Scripted("b", name="b")], strategy="priority"
        )
        rows = simulate(router, {"b": SMALL, "a": SMALL, "unused": SMALL}, EASY, requests=50)
        assert rows["router"].asked == {"a": 50, "b": 0, "unused": 0}
        with pytest.raises(ConfigurationError, match="'b' has no model"):
            simulate(router, {"a": SMALL}, EASY)

    def test_policies_come_in_every_form(self):
        result = simulate(
            {
                "options": {"strategy": "round_robin", "retries": 0},
                "object": RoundRobin(),
                "function": lambda engines: Router(engines[:1]),
            },
            [SMALL] * 2,
            EASY,
            requests=20,
        )
        assert [list(row.asked.values()) for row in result] == [[10, 10], [10, 10], [20, 0]]

    def test_one_policy_may_be_options_alone(self):
        assert simulate({"strategy": RoundRobin(), "retries": 0}, [SMALL], EASY, requests=3).outcomes[0].answered == 3

    def test_what_is_wrong_in_a_strategy_is_raised(self):
        class Broken(Latency):
            def order(self, legs, request, /):
                if request.max_tokens:
                    raise RuntimeError("broken")
                return super().order(legs, request)

        with pytest.raises(RuntimeError, match="broken"):
            simulate(Broken(), [SMALL], EASY, requests=3)

    def test_it_runs_inside_a_running_loop(self):
        async def main():
            return simulate("latency", [SMALL], EASY, requests=5)

        assert len(asyncio.run(main())) == 1

    @pytest.mark.parametrize(
        ("arguments", "options", "message"),
        [
            (("latency", [], EASY), {}, "`engines` is"),
            (("latency", [3], EASY), {}, "`engines` is"),
            (([], [SMALL], EASY), {}, "`policies` needs"),
            ((["latency", "latency"], [SMALL], EASY), {}, "`policies` needs"),
            ((3, [SMALL], EASY), {}, "a policy is a strategy"),
            ((lambda engines: 3, [SMALL], EASY), {}, "no Router"),
            (("latncy", [SMALL], EASY), {}, "did you mean"),
            (("latency", [SMALL], "traffic"), {}, "`traffic` is a Traffic"),
            (("latency", [SMALL], EASY), {"requests": 0}, "`requests` is"),
            (("latency", [SMALL], EASY), {"duration_s": math.nan}, "`duration_s` is"),
        ],
    )
    def test_wrong_arguments_say_what_to_write(self, arguments, options, message):
        with pytest.raises(ConfigurationError, match=message):
            simulate(*arguments, **options)


class TestWhatIsShown:
    @pytest.fixture
    def result(self) -> Simulation:
        return simulate({"latency": "latency", "<b>&": "least_busy"}, [SMALL] * 2, EASY, requests=50)

    def test_the_table_has_a_line_for_each_policy(self, result):
        assert [line.split()[0] for line in str(result).splitlines()[2:]] == ["latency", "<b>&"]
        assert result.to_markdown().count("\n") == 4

    def test_a_page_holds_the_table_and_the_plots_and_loads_nothing(self, result):
        html = result._repr_html_()
        assert "<svg" in html
        assert "&lt;b&gt;&amp;" in html
        assert "<b>&<" not in html
        assert "http" not in html.replace("http://www.w3.org/2000/svg", "")

    def test_it_is_written_by_the_ending_of_the_name(self, result, tmp_path):
        for ending in ("html", "svg", "json", "md", "txt"):
            result.save(tmp_path / f"r.{ending}")
        assert json.loads((tmp_path / "r.json").read_text())["outcomes"][0]["answered"] == 50
        with pytest.raises(ConfigurationError, match=r"\.pdf"):
            result.save(tmp_path / "r.pdf")

    def test_rich_prints_it(self, result):
        from rich.console import Console

        console = Console(width=200, file=io.StringIO())
        console.print(result)
        assert "latency" in console.file.getvalue()

    def test_nothing_answered_is_shown_as_nothing(self):
        row = simulate("priority", [SMALL.but(error_rate=1.0)], EASY, requests=5)
        assert row["priority"].failures == {"AllEnginesFailed": 5}
        assert "-" in str(row).splitlines()[-1]
        assert json.dumps(row.to_json(), allow_nan=False)
        assert "no answer" not in row._repr_html_()  # a plot without anything in it is left out


@given(st.lists(st.floats(1e-6, 1e6), min_size=1, max_size=200), st.floats(0, 1))
def test_quantiles_are_within_half_a_percent(values, share):
    sketch = Quantiles()
    for value in values:
        sketch.add(value)
    assert sketch.at(share) == pytest.approx(sorted(values)[int(share * (len(values) - 1))], rel=0.00505)


class TestTraffic:
    def test_the_figures_come_out(self):
        traffic = Traffic(
            rate_per_s=20, prompt_tokens=(300, 0.5), answer_tokens=(100, 2.0), tenants=4, turns=3, shared_tokens=50
        )
        arrivals = list(itertools.islice(traffic.arrivals(seed=1), 30_000))
        assert 30_000 / arrivals[-1].at == pytest.approx(20, rel=0.05)
        assert all(one.at <= after.at for one, after in itertools.pairwise(arrivals))
        assert [one.number for one in arrivals] == list(range(30_000))
        assert statistics.fmean(one.answer_tokens for one in arrivals) == pytest.approx(100, rel=0.06)
        new = [one.prompt_tokens - sum(tokens for _, tokens in one.prefixes) for one in arrivals]
        assert statistics.fmean(new) == pytest.approx(300, rel=0.03)
        assert statistics.stdev(new) == pytest.approx(150, rel=0.05)
        first = sum(one.tags["tenant"] == "0" for one in arrivals) / 30_000
        assert first == pytest.approx(1 / (1 + 1 / 2 + 1 / 3 + 1 / 4), rel=0.1)

    def test_the_rate_swings(self):
        traffic = Traffic(rate_per_s=10, swing=1.0, period_s=100)
        times = [one.at % 100 for one in itertools.islice(traffic.arrivals(), 20_000)]
        assert sum(time < 50 for time in times) / 20_000 == pytest.approx(0.5 + 1 / math.pi, abs=0.02)

    def test_bursts_come_at_once_and_keep_the_rate(self):
        arrivals = list(itertools.islice(Traffic(rate_per_s=10, burst=5).arrivals(), 20_000))
        assert 20_000 / arrivals[-1].at == pytest.approx(10, rel=0.08)
        assert len({one.at for one in arrivals}) == pytest.approx(4000, rel=0.08)

    @pytest.mark.parametrize(
        "wrong",
        [
            {"rate_per_s": 0}, {"rate_per_s": math.nan}, {"prompt_tokens": 0}, {"answer_tokens": (1, -1)},
            {"turns": 0.5},
            {"swing": 2}, {"burst": 0}, {"shared_tokens": 5}, {"answer_tokens": "many"},
        ],
    )  # fmt: skip
    def test_wrong_figures_are_refused(self, wrong):
        with pytest.raises(ConfigurationError, match=next(iter(wrong))):
            Traffic(**wrong)

    def test_a_log_of_json_lines_is_read_in_any_order(self, tmp_path):
        path = tmp_path / "log.jsonl"
        rows = [
            {
                "time": "2026-01-01T00:00:10Z",
                "prompt_tokens": 90,
                "answer_tokens": 5,
                "prefix": "a",
                "prefix_tokens": 50,
            },
            {
                "time": "2026-01-01T00:00:00+00:00",
                "prompt_tokens": 80,
                "answer_tokens": 0,
                "prefix": "a",
                "tags": {"k": "v"},
            },
        ]
        path.write_text("\n".join(map(json.dumps, rows)) + "\n\n")
        traffic = Traffic.from_log(path)
        first, second = traffic.arrivals()
        assert (first.at, second.at, first.tags) == (0.0, 10.0, {"k": "v"})
        assert first.prefixes == (("a", 80),)  # the shortest prompt that has it
        assert second.prefixes == (("a", 50),)
        assert [one.at for one in traffic.scaled(2).arrivals()] == [0.0, 5.0]
        assert simulate("priority", [SMALL], traffic)["priority"].answered == 2

    def test_a_log_of_csv_is_read(self, tmp_path):
        path = tmp_path / "log.csv"
        with path.open("w", newline="") as file:
            csv.writer(file).writerows(
                [["time", "prompt_tokens", "answer_tokens", "prefix", "tags.team"], [3, 7, 8, "", "x"]]
            )
        (arrival,) = Traffic.from_log(path).arrivals()
        assert (arrival.prompt_tokens, arrival.answer_tokens, arrival.prefixes, arrival.tags) == (
            7,
            8,
            (),
            {"team": "x"},
        )

    @pytest.mark.parametrize(
        ("name", "text", "message"),
        [
            ("a.jsonl", '{"time": 1, "prompt_tokens": 1, "answer_tokens": 1}\n{"time": 1', "line 2: this is no JSON"),
            ("a.jsonl", "[]", "line 1: a JSON object"),
            ("a.jsonl", '\n{"time": 1, "prompt_tokens": 1}', "line 2: the field 'answer_tokens' is missing"),
            ("a.jsonl", '{"time": 1, "prompt_tokens": -1, "answer_tokens": 1}', "line 1: `prompt_tokens`"),
            ("a.jsonl", '{"time": "noon", "prompt_tokens": 1, "answer_tokens": 1}', "line 1: `time`"),
            ("a.jsonl", '{"time": 1e999, "prompt_tokens": 1, "answer_tokens": 1}', "line 1: `time`"),
            (
                "a.jsonl",
                '{"time": 1, "prompt_tokens": 1, "answer_tokens": 1, "promt": 1}',
                "line 1: there is no field 'promt'",
            ),
            ("a.jsonl", '{"time": 1, "prompt_tokens": 1, "answer_tokens": 1, "tags": 3}', "line 1: `tags`"),
            (
                "a.jsonl",
                '{"time": 1, "prompt_tokens": 1, "answer_tokens": 1, "prefix_tokens": 1}',
                "line 1: `prefix_tokens`",
            ),
            ("a.csv", "time,prompt_tokens,answer_tokens\n1,2,3\n1,2\n", "line 3: it has not as many fields"),
            ("a.jsonl", "", "no request was answered"),
        ],
    )
    def test_a_wrong_line_is_named(self, tmp_path, name, text, message):
        path = tmp_path / name
        path.write_text(text)
        with pytest.raises(ConfigurationError, match=message):
            Traffic.from_log(path)

    def test_the_librarys_own_records_are_traffic(self, tmp_path):
        pipeline = "Say {{ what }}" | Scripted("Hello", usage=Usage(input_tokens=30, output_tokens=4))
        calls = [pipeline.run(what=word, tags={"team": word}).call for word in ("a", "b")]
        (tmp_path / "log.jsonl").write_text("\n".join(json.dumps(tracing.to_json(call)) for call in calls))
        for traffic in (Traffic.from_calls(calls), Traffic.from_log(tmp_path / "log.jsonl")):
            arrivals = list(traffic.arrivals())
            assert [(one.prompt_tokens, one.answer_tokens, one.tags["team"]) for one in arrivals] == [
                (30, 4, "a"),
                (30, 4, "b"),
            ]


BATCHING = [(1, 24.8, 0.103), (4, 78.0, 0.320), (16, 180.7, 1.071), (64, 270.0, 3.365)]
"""benchmarks/results/batching.md: at once, tokens/s, seconds to the first text."""


def measured_batching():
    return [Measured(n, 38, 64, first_s, n * 64 / tokens_per_s) for n, tokens_per_s, first_s in BATCHING]


class TestFit:
    def test_the_preset_is_the_fit_of_what_was_measured_and_keeps_within_its_error(self):
        fit = EngineModel.fit(measured_batching(), slots=64)
        preset = EngineModel.smollm2_cpu()
        assert fit.error < 0.07
        for name in ("step_s", "step_per_request_s", "prefill_tokens_per_s", "overhead_s"):
            assert getattr(preset, name) == pytest.approx(getattr(fit.model, name), rel=0.01, abs=1e-6)

    @given(st.floats(0.001, 0.1), st.floats(0.0001, 0.01), st.floats(100, 20_000), st.floats(0, 0.5))
    def test_a_model_is_found_again_by_its_own_answers(self, step, per_request, prefill, overhead):
        model = EngineModel(
            step_s=step, step_per_request_s=per_request, prefill_tokens_per_s=prefill, overhead_s=overhead
        )
        loads = []
        for n in (1, 4, 16):
            first_s = overhead + (n + 1) / 2 * (100 / prefill + per_request) + step
            loads.append(Measured(n, 100, 50, first_s, overhead + n * 100 / prefill + 50 * (step + per_request * n)))
        fit = EngineModel.fit(loads)
        assert fit.error < 0.01
        assert fit.model.tokens_per_s(8) == pytest.approx(model.tokens_per_s(8), rel=0.02)

    def test_an_engine_is_measured(self):
        # Nothing waits for real: the engine takes 1 s to its first chunk and 0.1 s for each of the others.
        async def main():
            engine = Scripted(
                ["x"] * 21, delay_s=0.9, chunk_delay_s=0.1, usage=Usage(input_tokens=50, output_tokens=21)
            )
            return await EngineModel.measure(engine, rounds=1), len(engine.requests)

        fit, sent = run_in_virtual_time(main())
        assert sent == 22
        assert fit.error < 0.02
        assert fit.first_token_error < 0.02
        assert "tokens/s of prompts" in str(fit)

    def test_what_cannot_be_fitted_is_refused(self):
        with pytest.raises(ConfigurationError, match="two different"):
            EngineModel.fit(measured_batching()[:1])
        with pytest.raises(ConfigurationError, match="positive"):
            EngineModel.fit([(1, 1, 1, 1, 0), (2, 1, 1, 1, 1)])
        with pytest.raises(ConfigurationError, match="two different"):
            run_in_virtual_time(EngineModel.measure(Scripted("a"), concurrency=(4,)))
        with pytest.raises(ConfigurationError, match="`rounds`"):
            run_in_virtual_time(EngineModel.measure(Scripted("a"), rounds=0))


class TestEngineModel:
    @pytest.mark.parametrize(
        "wrong",
        [
            {"step_s": -1}, {"step_s": 0}, {"step_s": math.nan}, {"prefill_tokens_per_s": 0}, {"slots": 0},
            {"tail": 1.0},
            {"error_rate": 1.5}, {"cache_block": 0}, {"requests_per_minute": 0}, {"jitter": math.inf},
        ],
    )  # fmt: skip
    def test_wrong_figures_are_refused(self, wrong):
        with pytest.raises(ConfigurationError, match=next(iter(wrong))):
            EngineModel(**wrong)

    @pytest.mark.parametrize("wrong", [((5, 1),), ((0, 5), (3, 8)), ((0, 1, "nap"),)])
    def test_wrong_outages_are_refused(self, wrong):
        with pytest.raises(ConfigurationError, match="outage"):
            EngineModel(outages=wrong)

    def test_an_unknown_figure_is_named(self):
        with pytest.raises(ConfigurationError, match="'slot'; it has step_s"):
            SMALL.but(slot=3)

    def test_a_slowed_engine_takes_so_many_times_as_long(self):
        traffic = Traffic(rate_per_s=0.01, prompt_tokens=100, answer_tokens=10)
        model = EngineModel.smollm2_cpu(overhead_s=0.0)
        one, two = (simulate("priority", [m], traffic, requests=5)["priority"].mean_s for m in (model, model.slowed(3)))
        assert two == pytest.approx(3 * one, rel=1e-6)

    def test_stragglers_keep_the_mean(self):
        traffic = Traffic(rate_per_s=0.1, prompt_tokens=1, answer_tokens=100)
        for model in (EngineModel(jitter=1.0), EngineModel(tail=3.0)):
            row = simulate("priority", [model], traffic, requests=1500)["priority"]
            assert row.mean_s == pytest.approx(2.0, rel=0.1)
            assert row.p99_s > 5.0

    def test_an_outage_breaks_what_is_under_way_or_delays_it(self):
        slow = EngineModel(step_s=1.0)
        traffic = Traffic(rate_per_s=10.0, prompt_tokens=100, answer_tokens=10)
        options = {"strategy": "priority", "retries": 0}
        refusing, hanging, sound = (
            simulate(options, [slow.but(outages=outages)], traffic, requests=1).outcomes[0]
            for outages in (((5, 20),), ((5, 20, "hang"),), ())
        )
        assert refusing.failures == {"AllEnginesFailed": 1}
        assert refusing.wasted_tokens == pytest.approx(105, abs=1)
        assert hanging.mean_s == pytest.approx(sound.mean_s + 15)

    def test_a_429_says_when_the_next_minute_begins(self):
        model = EngineModel(requests_per_minute=1)
        row = simulate("priority", [model], Traffic(rate_per_s=10, answer_tokens=1), requests=2)["priority"]
        assert row.answered == 2
        assert row.too_many == 1
        assert row.virtual_s == pytest.approx(60.0, abs=1.0)

    def test_a_plan_gives_a_model_at_a_share_of_its_bounds(self, tmp_path):
        (tmp_path / "config.json").write_text(json.dumps(LLAMA))
        planned = plan(tmp_path, hardware="H100-80GB", context=2048, answer_tokens=256, concurrency=128)
        model = EngineModel.planned(planned, efficiency=0.5)
        for load in planned.loads:
            assert model.tokens_per_s(load.concurrency) == pytest.approx(load.decode_tokens_per_s / 2, rel=0.01)
        with pytest.raises(ConfigurationError, match="efficiency"):
            EngineModel.planned(planned, efficiency=1.5)

    def test_presets_take_changes(self):
        assert EngineModel.provider(error_rate=0.1).error_rate == 0.1
        assert EngineModel.gpu_8b(slots=8).slots == 8


def vars_of(row):
    return {name: getattr(row, name) for name in type(row).__dataclass_fields__}


class Watched:
    """A simulated engine that writes down when it was asked, and how many it had at once."""

    def __init__(self, engine):
        self.name, self.model, self.provider, self.capabilities = engine.name, None, "simulated", engine.capabilities
        self.engine, self.began, self.now, self.most = engine, [], 0, 0

    async def agenerate(self, request, /):
        self.began.append(asyncio.get_running_loop().time())
        self.now += 1
        self.most = max(self.most, self.now)
        try:
            return await self.engine.agenerate(request)
        finally:
            self.now -= 1

    def astream(self, request, /):
        return self.engine.astream(request)


def test_limited_router_holds_its_limits_in_virtual_time_too():
    hold_limits(4_000)


def hold_limits(requests):
    watched = []

    def limited(engines):
        watched[:] = [Watched(engine) for engine in engines]
        limit = Limit(requests_per_minute=600, concurrent=20)
        return Router([Leg(one, limits=limit) for one in watched])

    # 26 a second come, in bursts, and the three engines may take 30.
    traffic = Traffic(rate_per_s=26, prompt_tokens=10, answer_tokens=(40, 1.0), burst=20)
    (row,) = simulate({"limited": limited}, [EngineModel(slots=64)] * 3, traffic, requests=requests, seed=1)
    assert (row.answered, row.attempts_per_answer) == (requests, 1.0)
    for one in watched:
        assert 15 < one.most <= 20
        within_a_minute = [bisect.bisect_left(one.began, at + 60) - i for i, at in enumerate(one.began)]
        assert 550 < max(within_a_minute) <= 600
