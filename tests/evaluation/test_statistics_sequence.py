"""What may be looked at after every case: intervals, comparisons, and the stop of an experiment."""

from __future__ import annotations

import math

import numpy as np
import pytest

from llmops_sdk.errors import ConfigurationError
from llmops_sdk.evaluation import Analysis, Case
from llmops_sdk.evaluation._running.plan import MetricPlan, Plan
from llmops_sdk.evaluation._running.stopping import AT_LEAST, Stopping
from llmops_sdk.evaluation.statistics import ConfidenceSequence, compare, compare_sequentially

RUNS, LENGTH = 60, 200


def _metric(name: str, **options) -> MetricPlan:
    settings = {"version": "1", "higher_is_better": True, "bounds": (0, 1), "unit": "", "pairwise": False}
    return MetricPlan(name=name, **{**settings, **options})


def _plan(*metrics: MetricPlan, arms: tuple[str, ...] = ("base", "new")) -> Plan:
    return Plan(base="base", arms=dict.fromkeys(arms, "f"), metrics=metrics, repeats=1, dataset="d")


def _scored(new: float, base: float = 0.0, *, name: str = "exact") -> dict[str, dict[str, list[float]]]:
    return {"base": {name: [base]}, "new": {name: [new]}}


def _case(number: int, cluster: str | None = None) -> Case:
    return Case(input=number, id=str(number), cluster=cluster)


@pytest.mark.parametrize("bounds", [(-1, 1), (-math.inf, math.inf)])
def test_an_interval_covers_at_every_moment(bounds):
    dice = np.random.default_rng(1)
    wrong = 0
    for _ in range(RUNS):
        sequence = ConfidenceSequence(low=bounds[0], high=bounds[1])
        for value in dice.choice([-1.0, 0.0, 1.0], p=[0.1, 0.8, 0.1], size=LENGTH):
            sequence.observe(float(value))
        low, high = sequence.interval()  # what was excluded once stays excluded
        wrong += not low <= 0 <= high
        assert (sequence.p_value() <= 0.05) == sequence.excludes(0.0) or low == 0 or high == 0 or abs(low) < 1e-6
    assert wrong <= 0.1 * RUNS


def test_intervals_only_narrow_and_p_values_only_fall():
    dice = np.random.default_rng(2)
    for bounds in ((-9, 9), (-math.inf, math.inf)):
        sequence = ConfidenceSequence(low=bounds[0], high=bounds[1])
        before, p_value = sequence.interval(), 1.0
        for value in dice.normal(0.3, 1, 150):
            sequence.observe(float(np.clip(value, -9, 9)))
            now = sequence.interval()
            assert now[0] >= before[0] - 1e-9
            assert now[1] <= before[1] + 1e-9
            assert sequence.p_value() <= p_value
            before, p_value = now, sequence.p_value()


def test_small_differences_within_wide_bounds_are_told_apart():
    sequence = ConfidenceSequence(low=-1, high=1)
    for _ in range(3_000):
        sequence.observe(0.004)
    assert 0 < sequence.interval()[0] < 0.004 < sequence.interval()[1]


def test_values_far_from_zero_lose_nothing_to_rounding():
    dice = np.random.default_rng(3)
    near, far = ConfidenceSequence(), ConfidenceSequence()
    for value in dice.normal(size=60):
        near.observe(float(value))
        far.observe(float(value) + 1e9)
    assert [one - 1e9 for one in far.interval()] == pytest.approx(near.interval(), abs=1e-5)


@pytest.mark.parametrize("bounds", [(0, 0), (1, 0), (0, math.inf), (math.nan, 1)])
def test_bounds_are_two_numbers_in_order(bounds):
    with pytest.raises(ConfigurationError):
        ConfidenceSequence(low=bounds[0], high=bounds[1])


@pytest.mark.parametrize("value", [math.nan, math.inf, 1.5])
def test_what_is_out_of_bounds_is_no_observation(value):
    with pytest.raises(ConfigurationError):
        ConfidenceSequence(low=-1, high=1).observe(value)


def test_a_sequential_comparison_has_the_fields_of_another_and_is_wider():
    dice = np.random.default_rng(4)
    base = dict(enumerate(dice.uniform(size=150)))
    new = {case: min(score + 0.15 * dice.uniform(), 1.0) for case, score in base.items()}
    fixed = compare(base, new, bounds=(0, 1))
    found = compare_sequentially(base, new, list(base), bounds=(0, 1))
    assert found.sequential
    assert found.difference == pytest.approx(fixed.difference)
    assert found.low < fixed.low < fixed.high < found.high
    assert found.detectable > fixed.detectable
    assert "valid at any stop" in str(found)


def test_cases_that_were_not_looked_at_take_no_part():
    base, new = dict.fromkeys(range(90), 0.0), {case: float(case >= 60) for case in range(90)}
    found = compare_sequentially(base, new, range(60), bounds=(0, 1))
    assert (found.difference, found.cases) == (0.0, 60)


def test_a_cluster_is_one_observation_whatever_its_size():
    base = dict.fromkeys(range(30), 0.0)
    new = {case: float(case >= 20) for case in range(30)}
    clusters = dict.fromkeys(range(20), "large")
    found = compare_sequentially(base, new, range(30), clusters=clusters, bounds=(0, 1))
    assert (found.clusters, found.cases) == (11, 30)
    assert found.difference == pytest.approx(10 / 11)


def test_needed_cases_of_a_sequence_are_enough_for_most():
    dice = np.random.default_rng(5)
    pilot = dict(enumerate(dice.permutation(np.repeat([-1.0, 0.0, 1.0], [10, 60, 30]))))
    needed = compare_sequentially(dict.fromkeys(pilot, 0.0), pilot, list(pilot), bounds=(-1, 1)).needed
    found = 0
    for _ in range(RUNS):
        sequence = ConfidenceSequence(low=-1, high=1)
        for value in dice.choice([-1.0, 0.0, 1.0], p=[0.1, 0.6, 0.3], size=needed):
            sequence.observe(float(value))
        found += sequence.excludes(0.0)
    assert found >= 0.65 * RUNS


def test_a_clear_difference_stops_the_run_and_no_difference_does_not():
    clear, same = (Stopping(_plan(_metric("exact")), Analysis()) for _ in range(2))
    for number in range(100):
        clear.observe(_case(number), _scored(1.0))
        same.observe(_case(number), _scored(float(number % 2), float(number % 2)))
    assert clear.decided
    assert AT_LEAST <= clear.observed < 40
    assert (same.decided, same.observed) == (False, 100)


def test_a_difference_within_its_margin_stops_the_run():
    stopping = Stopping(_plan(_metric("exact")), Analysis(margins={"exact": 0.2}))
    for number in range(300):
        stopping.observe(_case(number), _scored(0.5, 0.5))
    assert stopping.decided


def test_what_stopped_is_decided_by_the_comparison_too():
    dice = np.random.default_rng(6)
    plan = _plan(_metric("exact"), _metric("seconds", bounds=(-math.inf, math.inf)))
    stopping, base, new = Stopping(plan, Analysis()), {}, {}
    for number in range(600):
        base[number], new[number] = float(dice.uniform() < 0.4), float(dice.uniform() < 0.7)
        scores = {
            "base": {"exact": [base[number]], "seconds": [1.0]},
            "new": {"exact": [new[number]], "seconds": [1.1]},
        }
        stopping.observe(_case(number), scores)
        if stopping.decided:
            break
    found = compare_sequentially(base, new, range(stopping.observed), bounds=(0, 1), comparisons=2)
    assert stopping.decided
    assert found.with_p_value(min(2 * found.p_value, 1.0)).verdict == "better"


def test_cases_of_a_cluster_are_one_observation_and_wait_for_each_other():
    stopping = Stopping(_plan(_metric("exact")), Analysis())
    for number in range(100):
        stopping.observe(_case(number, cluster=str(number // 10)), _scored(1.0))
    assert (stopping.decided, stopping.observed) == (False, 90)
    stopping.close()
    assert stopping.observed == 100


def test_every_pipeline_and_every_primary_score_has_to_be_clear():
    plan = _plan(_metric("exact"), _metric("polite"), arms=("base", "new", "other"))
    first, both = Stopping(plan, Analysis()), Stopping(plan, Analysis(primary=("exact", "polite")))
    for number in range(60):
        scores = {
            "base": {"exact": [0.0], "polite": [1.0]},
            "new": {"exact": [1.0], "polite": [1.0]},
            "other": {"exact": [1.0, 1.0], "polite": [1.0]},
        }
        first.observe(_case(number), scores)
        both.observe(_case(number), scores)
    assert (first.decided, both.decided) == (True, False)


def test_a_pipeline_without_scores_is_not_clear():
    plan = _plan(_metric("exact"), arms=("base", "new", "fails"))
    stopping = Stopping(plan, Analysis())
    for number in range(60):
        stopping.observe(_case(number), _scored(1.0))
    assert not stopping.decided


def test_a_pairwise_score_is_a_difference_already_and_one_of_many_scores_counts():
    plan = _plan(_metric("judge", bounds=(-1, 1), pairwise=True))
    stopping = Stopping(plan, Analysis())
    for number in range(60):
        stopping.observe(_case(number), {"new": {"judge.style": [1.0]}})
    assert stopping.decided


def test_there_has_to_be_something_to_compare():
    with pytest.raises(ConfigurationError, match="two pipelines"):
        Stopping(_plan(_metric("exact"), arms=("base",)), Analysis())
    with pytest.raises(ConfigurationError, match="the metrics are 'exact'"):
        Stopping(_plan(_metric("exact")), Analysis(primary=("exakt",)))


@pytest.mark.parametrize(
    "options",
    [{"level": 0.5}, {"power": 1.0}, {"margins": {"exact": 0.0}}, {"correction": "bonferroni"}, {"primary": "exact"}],
)
def test_an_analysis_refuses_what_makes_no_sense(options):
    with pytest.raises(ConfigurationError):
        Analysis(**options)


def test_a_margin_is_that_of_the_score_or_else_of_its_metric():
    analysis = Analysis(margins={"judge": 0.1, "judge.style": 0.2})
    assert analysis.margin("judge.style", "judge") == 0.2
    assert analysis.margin("judge.facts", "judge") == 0.1
    assert analysis.margin("exact", "exact") is None
