"""Scores with a judge's errors taken out: do the intervals cover the truth?"""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmops_sdk.errors import ConfigurationError
from llmops_sdk.evaluation.statistics import (
    compare,
    corrected_difference,
    corrected_mean,
    corrected_rate,
    labelled,
    prediction_powered,
)

RUNS = 100


def labels_of(true_passes, passes, true_fails, fails, **options):
    human = [1.0] * passes + [0.0] * fails
    judged = [1.0] * true_passes + [0.0] * (passes - true_passes) + [0.0] * true_fails + [1.0] * (fails - true_fails)
    return labelled(human, judged, **options)


def judge(truth, se, sp, random):
    return np.where(truth, random.random(truth.shape) < se, random.random(truth.shape) >= sp).astype(float)


def as_scores(values):
    return dict(enumerate(map(float, values)))


@pytest.mark.parametrize(
    ("se", "sp", "base", "new", "cluster"),
    [(0.9, 0.8, 0.5, 0.7, 1), (0.7, 0.75, 0.3, 0.3, 1), (0.98, 0.95, 0.6, 0.8, 5)],
)
def test_corrected_differences_and_rates_cover_the_truth(se, sp, base, new, cluster):
    covered = {"difference": 0, "rate": 0, "judged": 0}
    for seed in range(RUNS):
        random = np.random.default_rng(seed)
        people = random.random(100) < 0.5
        labels = labelled(people.astype(float), judge(people, se, sp, random))
        groups = np.arange(60 * cluster) // cluster
        easy = random.random(60)[groups]
        truths = [np.where(random.random(groups.size) < 0.5, easy, random.random(groups.size)) < p for p in (base, new)]
        scores = [as_scores(judge(truth, se, sp, random)) for truth in truths]
        clusters = as_scores(groups)
        found = corrected_difference(*scores, labels, clusters=clusters)
        rate = corrected_mean(scores[1], labels, clusters=clusters)
        covered["difference"] += found.low <= new - base <= found.high
        covered["rate"] += rate.low <= new <= rate.high
        covered["judged"] += abs(found.judged - (new - base)) < 0.05
    assert covered["difference"] / RUNS >= 0.89
    assert covered["rate"] / RUNS >= 0.88


def test_without_the_correction_a_difference_is_too_small():
    random = np.random.default_rng(0)
    truths = [random.random(5_000) < rate for rate in (0.4, 0.8)]
    scores = [as_scores(judge(truth, 0.8, 0.7, random)) for truth in truths]
    labels = labels_of(4_000, 5_000, 3_500, 5_000)
    assert compare(*scores).high < 0.25
    found = corrected_difference(*scores, labels)
    assert found.low < 0.4 < found.high
    assert found.value == pytest.approx(0.4, abs=0.03)


def test_a_perfect_judge_with_many_labels_is_not_corrected():
    random = np.random.default_rng(0)
    scores = [as_scores(random.random(200) < rate) for rate in (0.4, 0.6)]
    plain, found = compare(*scores), corrected_difference(*scores, labels_of(10**4, 10**4, 10**4, 10**4))
    assert (found.low, found.value, found.high) == pytest.approx((plain.low, plain.difference, plain.high), abs=2e-3)


def test_of_one_pipeline_the_interval_is_that_of_lang_and_reiczigel():
    labels = labels_of(45, 50, 40, 50)
    found = corrected_mean(as_scores([1] * 60 + [0] * 40), labels)
    same = corrected_rate(60, 100, true_passes=(45, 50), true_fails=(40, 50))
    # The variance over 100 cases has the divisor 99: they say as much as 99 independent ones.
    assert (found.value, found.low, found.high) == pytest.approx((same.value, same.low, same.high), abs=2e-3)


def test_few_labels_and_a_poor_judge_leave_everything_possible():
    scores = [as_scores([1, 0] * 50), as_scores([1, 1, 1, 0] * 25)]
    labels = labels_of(11, 20, 10, 20)
    found = corrected_difference(*scores, labels)
    assert (found.low, found.high, found.wide) == (-1, 1, True)
    assert "nothing can be said" in str(found)
    rate = corrected_mean(scores[1], labels)
    assert (rate.low, rate.high, rate.wide) == (0, 1, True)


def test_a_coin_a_missing_class_and_counts_that_make_no_sense_are_refused():
    scores = as_scores([1, 0] * 10)
    for labels in (labels_of(5, 20, 5, 20), labelled([1.0] * 5, [1.0] * 5), labelled([0.5] * 5, [1.0] * 5)):
        assert labels.refusal
        with pytest.raises(ConfigurationError, match="nothing can be corrected"):
            corrected_difference(scores, scores, labels)
        with pytest.raises(ConfigurationError, match="nothing can be corrected"):
            corrected_mean(scores, labels)
    for human, judged in (([], []), ([1.0], [1.0, 0.0]), ([math.nan], [1.0])):
        with pytest.raises(ConfigurationError):
            labelled(human, judged)
    # Fewer labels than tell it from a coin, once they are shrunk: all is possible, and nothing is divided by 0.
    found = corrected_rate(5, 10, true_passes=(3, 10), true_fails=(5, 7))
    assert (found.low, found.high, found.wide) == (0, 1, True)


@given(
    st.integers(11, 40), st.integers(11, 40), st.lists(st.tuples(st.booleans(), st.booleans()), min_size=5, max_size=40)
)
def test_intervals_hold_their_estimate_and_turn_with_the_arms(true_passes, true_fails, pairs):
    labels = labels_of(true_passes, 40, true_fails, 40)
    if labels.refusal:
        return
    base, new = (as_scores(one) for one in zip(*pairs, strict=True))
    found, turned = corrected_difference(base, new, labels), corrected_difference(new, base, labels)
    assert -1 <= found.low <= found.value + 1e-9
    assert found.value <= found.high + 1e-9
    assert found.high <= 1
    assert (turned.value, turned.wide) == (pytest.approx(-found.value), found.wide)


def test_labels_in_clusters_count_for_less():
    human = [1.0] * 60 + [0.0] * 60
    judged = [float(i % 6 != 5) if i < 60 else float(i % 6 == 5) for i in range(120)]
    together = [1.0 if (i // 10) % 6 != 5 else 0.0 for i in range(60)] + [0.0] * 60
    clusters = [i // 10 for i in range(120)]
    alone = labelled(human, judged).sensitivity
    grouped = labelled(human, together, clusters=clusters).sensitivity
    assert alone.value == grouped.value
    assert grouped.effective < 15 < alone.effective <= 60
    assert grouped.low < alone.low


def graded(shift, size, random, *, bent=False):
    people = np.clip(np.round(random.normal(2 + shift, 1, size)), 0, 4) / 4
    seen = people**4 if bent else people
    return people, np.clip(0.3 + 0.5 * seen + random.normal(0, 0.1, size), 0, 1)


def test_grades_are_corrected_by_their_line():
    truth = graded(0.5, 400_000, np.random.default_rng(0))[0].mean()
    difference = truth - graded(0, 400_000, np.random.default_rng(1))[0].mean()
    covered = {"difference": 0, "mean": 0}
    for seed in range(RUNS):
        random = np.random.default_rng(seed)
        labels = labelled(*graded(0, 80, random))
        scores = [as_scores(graded(shift, 60, random)[1]) for shift in (0, 0.5)]
        if labels.refusal:
            continue
        found, mean = corrected_difference(*scores, labels), corrected_mean(scores[1], labels)
        covered["difference"] += found.low <= difference <= found.high
        covered["mean"] += mean.low <= truth <= mean.high
    assert min(covered.values()) / RUNS >= 0.88


def test_grades_that_bend_away_from_peoples_are_refused():
    labels = labelled(*graded(0, 300, np.random.default_rng(0), bent=True))
    assert "do not follow people's in a line" in labels.refusal


def test_labels_on_a_part_put_right_what_the_judge_says_of_all():
    covered, narrower = 0, 0
    for seed in range(RUNS):
        random = np.random.default_rng(seed)
        truth = random.random(400) < 0.6
        judged = as_scores(judge(truth, 0.95, 0.6, random))  # it errs otherwise on the two, which is allowed here
        human = {case: float(truth[case]) for case in random.choice(400, 80, replace=False)}
        found = prediction_powered(judged, human, bounds=(0, 1))
        covered += found.low <= 0.6 <= found.high
        alone = np.std(list(human.values()), ddof=1) / math.sqrt(80) * 1.99
        narrower += found.high - found.low < 2 * alone
    assert covered / RUNS >= 0.89
    assert narrower / RUNS >= 0.9


def test_labels_that_prediction_powered_inference_cannot_use_are_refused():
    judged = as_scores([0, 1] * 20)
    for human, clusters, message in (
        ({99: 1.0}, None, "has not judged"),
        (dict.fromkeys(range(5), 1.0), None, "10 are the fewest"),
        (dict.fromkeys(range(11), 1.0), {case: case // 2 for case in judged}, "a part of the cluster"),
    ):
        with pytest.raises(ConfigurationError, match=message):
            prediction_powered(judged, human, clusters=clusters)
