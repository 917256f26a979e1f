"""Comparisons of paired scores: what must not depend on order, names or units, and what must be refused."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llmops_sdk.errors import ConfigurationError
from llmops_sdk.evaluation.statistics import Comparison, compare, paired

_SCORES = st.one_of(st.integers(-4, 4).map(float), st.floats(-10, 10).map(lambda one: round(one, 3)))
_PAIRS = st.lists(st.tuples(_SCORES, _SCORES, st.integers(0, 6)), min_size=2, max_size=30)
_PROPERTY = settings(max_examples=15, deadline=None)


def _compared(rows: list[tuple[float, float, int]], **options: object) -> Comparison:
    base, new, clusters = ({number: row[place] for number, row in enumerate(rows)} for place in range(3))
    return compare(base, new, clusters=clusters, **options)  # type: ignore[arg-type]


def _near(one: float, other: float) -> bool:
    return one == other or abs(one - other) <= 1e-6 * max(1.0, abs(one), abs(other))


@_PROPERTY
@given(_PAIRS)
def test_swapping_the_two_changes_signs_and_nothing_else(rows):
    one = _compared(rows)
    other = _compared([(new, base, cluster) for base, new, cluster in rows])
    assert _near(one.difference, -other.difference)
    assert _near(one.low, -other.high) or one.difference == 0
    assert _near(one.p_value, other.p_value)
    assert one.needed == other.needed
    words = {"better": "worse", "worse": "better"}
    assert one.difference == 0 or words.get(one.verdict, one.verdict) == other.verdict


@_PROPERTY
@given(_PAIRS, st.randoms(use_true_random=False))
def test_neither_the_order_of_cases_nor_the_names_of_clusters_matter(rows, dice):
    mixed = list(rows)
    dice.shuffle(mixed)
    one, other = _compared(rows), _compared([(base, new, 100 - cluster) for base, new, cluster in mixed])
    assert all(_near(getattr(one, name), getattr(other, name)) for name in ("difference", "low", "high", "p_value"))
    assert one.clusters == other.clusters


@_PROPERTY
@given(_PAIRS, st.integers(-3, 3))
def test_what_is_added_to_both_changes_nothing(rows, shift):
    one, other = _compared(rows), _compared([(base + shift, new + shift, cluster) for base, new, cluster in rows])
    rounded = 1e-3 * (1 + abs(one.difference))  # a case may join or leave those that do not differ
    if all(round(base) == base and round(new) == new for base, new, _ in rows) and len({*(r[0] for r in rows)}) > 1:
        assert abs(one.low - other.low) <= rounded or math.isinf(one.low)
        assert _near(one.p_value, other.p_value)


@_PROPERTY
@given(_PAIRS, st.sampled_from([1e-60, 0.25, 3.0, 1e9, 1e60]))
def test_the_unit_does_not_matter(rows, unit):
    if {score for base, new, _ in rows for score in (base, new)} <= {0.0} or len({r[:2] for r in rows}) == 1:
        return  # all the same: whether 0 and 1 are what they stand for depends on them
    one, other = _compared(rows), _compared([(base * unit, new * unit, cluster) for base, new, cluster in rows])
    for name in ("difference", "low", "high"):
        assert math.isclose(getattr(one, name) * unit, getattr(other, name), rel_tol=1e-6, abs_tol=1e-7 * unit) or (
            math.isinf(getattr(one, name))
        )
    assert _near(one.p_value, other.p_value)


def test_arrays_say_what_mappings_say():
    dice = np.random.default_rng(1)
    base, new, clusters = dice.normal(size=(30, 2)), dice.normal(size=(30, 2)), dice.integers(0, 9, 30)
    by_case = compare(
        dict(enumerate(base.tolist())),
        dict(enumerate(new.tolist())),
        clusters=dict(enumerate(clusters.tolist())),
    )
    assert compare(base, new, clusters=clusters) == by_case


def test_a_missing_run_in_an_array_is_left_out_and_a_case_without_any_is_counted():
    found = paired(np.array([[1.0, math.nan], [math.nan, math.nan], [0.0, 1.0]]), np.array([2.0, 5.0, 3.0]))
    assert found.differences.tolist() == [1.0, 2.5]
    assert found.unpaired == 1


def test_cases_with_one_score_only_are_counted_and_never_zero():
    found = compare({"a": 1.0, "b": 1.0, "c": 1.0}, {"a": 1.0, "b": 1.0, "d": 0.0})
    assert (found.new, found.cases, found.unpaired) == (1.0, 2, 2)


@pytest.mark.parametrize("scores", [{"a": math.nan}, {"a": math.inf}, {"a": []}, {"a": None}, {"a": "1"}, {"a": 1e200}])
def test_what_is_no_finite_number_is_refused_with_its_case(scores):
    with pytest.raises(ConfigurationError, match="case 'a'"):
        compare(scores, {"a": 1.0})


@pytest.mark.parametrize(
    ("base", "new", "options"),
    [
        ({}, {}, {}),
        ({"a": 1.0}, {"b": 1.0}, {}),
        ({"a": 1.0}, np.array([1.0]), {}),
        (np.array([1.0]), np.array([1.0, 2.0]), {}),
        (np.array(["x"]), np.array(["y"]), {}),
        (np.array([math.inf]), np.array([1.0]), {}),
        (np.array([math.nan]), np.array([1.0]), {}),
        (np.array([1.0]), np.array([1.0]), {"clusters": [1, 2]}),
        ({"a": 1.0}, {"a": 2.0}, {"bounds": (0, 1)}),
        ({"a": 1.0}, {"a": 2.0}, {"bounds": (1, 0)}),
        ({"a": 1.0}, {"a": 2.0}, {"level": 1.0}),
        ({"a": 1.0}, {"a": 2.0}, {"margin": 0.0}),
        ({"a": 1.0}, {"a": 2.0}, {"comparisons": 0}),
    ],
)
def test_what_cannot_be_compared_is_refused(base, new, options):
    with pytest.raises(ConfigurationError):
        compare(base, new, **options)


@pytest.mark.parametrize("cases", range(1, 11))
def test_an_interval_never_reaches_beyond_what_bounds_make_possible(cases):
    dice = np.random.default_rng(cases)
    found = compare(dice.uniform(size=cases), dice.uniform(size=cases), bounds=(0, 1))
    assert -1 <= found.low <= found.difference <= found.high <= 1


def test_one_case_says_nothing():
    found = compare({"a": 0.1}, {"a": 0.9})
    assert (found.verdict, found.low, found.high, found.detectable) == ("cannot tell", -math.inf, math.inf, math.inf)
    assert compare({"a": 0.1}, {"a": 0.9}, bounds=(0, 1)).low == -1


def test_one_cluster_says_nothing_however_many_cases_it_has():
    found = compare(np.zeros(50), np.arange(50.0), clusters=[0] * 50)
    assert "needs more clusters" in str(found)


def test_that_nothing_differed_in_a_few_cases_is_no_proof_that_nothing_does():
    few, many = (compare(np.ones(number), np.ones(number), margin=0.02) for number in (50, 500))
    assert (few.verdict, many.verdict) == ("cannot tell", "equivalent")
    assert few.high == pytest.approx(3.8415 / 53.8415, rel=1e-3)  # Tango's, where no case differs
    assert few.detectable > 0.1


def test_few_clusters_without_a_difference_are_as_uncertain_as_their_number_says():
    scores = np.array([0.0, 1.0] * 20)
    found = compare(scores, scores, clusters=np.arange(40) // 4, bounds=(0, 1))
    assert found.high == pytest.approx(1 - 0.025 ** (1 / 10))


def test_a_constant_difference_is_found():
    found = compare(np.arange(50.0), np.arange(50.0) + 1)
    assert found.verdict == "better"
    assert found.low > 0


def test_huge_scores_do_not_overflow():
    found = compare(np.array([1e149, 2e149] * 9), np.array([3e149, 1e149] * 9))
    assert math.isfinite(found.low)
    assert math.isfinite(found.high)


def test_shares_of_the_base_follow_fieller():
    dice = np.random.default_rng(3)
    base = dice.lognormal(1, 0.3, 500)
    new = base * dice.lognormal(-0.1, 0.2, 500)
    found = compare(base, new, higher_is_better=False)
    assert found.relative_low < found.relative < found.relative_high
    # The delta method agrees where the base is far from 0.
    error = (new - (1 + found.relative) * base).std(ddof=1) / base.mean() / math.sqrt(500)
    assert found.relative_high - found.relative_low == pytest.approx(2 * 1.96 * error, rel=0.05)
    assert compare(base - base.mean(), new).relative_low == -math.inf


def test_wins_odds_and_superiority():
    found = compare(np.array([0.0] * 6 + [1.0] * 4), np.array([1.0] * 3 + [0.0] * 3 + [1.0] * 3 + [0.0]))
    assert (found.wins, found.ties) == (0.75, 0.6)
    assert found.odds == pytest.approx(3.0)
    assert found.superiority == pytest.approx(0.6)


def test_a_corrected_p_value_takes_the_verdict_along():
    found = compare(np.zeros(40), np.arange(40) % 4 > 0)
    assert (found.verdict, found.with_p_value(0.2).verdict) == ("better", "cannot tell")


def test_more_comparisons_need_more_cases():
    dice = np.random.default_rng(2)
    base, new = dice.normal(size=60), dice.normal(0.4, 1, 60)
    one, many = (compare(base, new, comparisons=number) for number in (1, 20))
    assert many.needed > one.needed
    assert many.detectable > one.detectable
    assert (many.low, many.high) == (one.low, one.high)


def test_repeats_help_as_far_as_the_noise_is_theirs():
    dice = np.random.default_rng(5)
    case = dice.normal(size=(60, 1))
    noisy = compare(case + dice.normal(size=(60, 2)), case + dice.normal(0.25, 1, (60, 2)))
    assert noisy.noise_share > 0.8
    assert noisy.needed_repeats is not None
    varied = compare(np.zeros((60, 2)), dice.normal(0.15, 1, (60, 1)) + dice.normal(0, 0.1, (60, 2)))
    assert varied.noise_share < 0.05
    assert varied.needed_repeats is None
    once = compare(case[:, 0], case[:, 0] + dice.normal(size=60))
    assert math.isnan(once.noise_share)


def test_unequal_repeats_share_what_is_known_of_their_noise():
    found = paired({"a": [1.0, 3.0], "b": 2.0}, {"a": 1.0, "b": [2.0, 2.0, 5.0]})
    assert found.differences.tolist() == [-1.0, 1.0]
    # Variances of one run: 2 of the base, 3 of the new one; means of 1 / repeats: 3/4 and 2/3.
    assert found.within == pytest.approx(2 * 0.75 + 3 * 2 / 3)
    assert found.repeats == pytest.approx(2 / (0.75 + 2 / 3))


@pytest.mark.parametrize(
    ("new_mean", "allowed", "verdict"), [(0.0, 0.3, "within"), (-1.0, 0.3, "beyond"), (-0.25, 0.3, "cannot tell")]
)
def test_a_drop_is_within_beyond_or_unclear(new_mean, allowed, verdict):
    dice = np.random.default_rng(4)
    base = dice.normal(10, 1, 200)
    found = compare(base, base + dice.normal(new_mean, 1, 200))
    assert found.drop(allowed).verdict == verdict
    assert found.drop(allowed / 10, relative=True).verdict == verdict
    assert compare(-base, -base - dice.normal(new_mean, 1, 200), higher_is_better=False).drop(0.3).verdict == verdict
    assert (found.drop(allowed).needed or 0) > 0


def test_a_drop_that_is_allowed_is_a_number_from_zero():
    with pytest.raises(ConfigurationError, match="an allowed drop is a number"):
        compare(np.zeros(3), np.ones(3)).drop(-0.1)


@pytest.mark.parametrize("cases", [7, 23, 40, 640])
def test_a_constant_difference_has_no_spread_whatever_rounding_makes_of_it(cases):
    found = compare(np.full((cases, 3), [0.1, 0.2, 0.3]), np.full((cases, 3), [0.4, 0.2, 0.3]))
    assert (found.standard_error, found.effect_size) == (0, 0)
    same = compare(np.full((cases, 3), [0.1, 0.2, 0.3]), np.full((cases, 3), [0.3, 0.2, 0.1]))
    assert (same.difference, same.ties) == (0, 1)


def test_where_all_are_alike_the_cases_that_a_drop_needs_are_about_those_that_show_it():
    needed = compare(np.ones(40), np.ones(40)).drop(0.01).needed
    enough = np.ones(round(1.1 * needed))
    assert compare(enough, enough).drop(0.01).verdict == "within"
    assert compare(enough[: needed // 2], enough[: needed // 2]).drop(0.01).verdict == "cannot tell"


@pytest.mark.parametrize("clusters", [1, 2, 9])
def test_a_few_clusters_tell_nothing_of_a_drop(clusters):
    drop = compare(np.ones(90), np.zeros(90), clusters=np.arange(90) % clusters, bounds=(0, 1)).drop(0.01)
    assert drop.verdict == "cannot tell"
    assert drop.needed is None or drop.needed >= 100
    assert str(drop).count("allowed") == 1


def test_a_drop_that_is_just_the_allowed_one_needs_more_cases_than_can_be_named():
    found = compare(np.zeros(12), np.repeat([1.0, -1.0], 6))
    assert found.drop(0.0).needed is None
    assert found.drop(3e-279).needed is None
