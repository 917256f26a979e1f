"""The methods agree with published tables and with scipy and statsmodels, and keep their level in simulations."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from llmops_sdk.errors import ConfigurationError
from llmops_sdk.evaluation.statistics import adjusted, compare, paired
from llmops_sdk.evaluation.statistics._intervals import _bca
from llmops_sdk.evaluation.statistics._proportions import detectable_rate, tango
from llmops_sdk.evaluation.statistics._tests import _of_many, p_value

# Not in the environment of the heavy tests.
mcnemar = pytest.importorskip("statsmodels.stats.contingency_tables").mcnemar
multipletests = pytest.importorskip("statsmodels.stats.multitest").multipletests

# Student, The probable error of a mean, Biometrika 6 (1908): hours of sleep gained by two drugs.
SLEEP = (
    np.array([0.7, -1.6, -0.2, -1.2, -0.1, 3.4, 3.7, 0.8, 0.0, 2.0]),
    np.array([1.9, 0.8, 1.1, 0.1, -0.1, 4.4, 5.5, 1.6, 4.6, 3.4]),
)
# Darwin's maize, after Fisher, The Design of Experiments (1935), section 21, who counts 1,726 of the 32,768 flips.
MAIZE = np.array([49, -67, 8, 16, 6, 23, 28, 41, 14, 29, 56, 24, 75, 60, -48.0])
# Benjamini and Hochberg, JRSS B 57 (1995), section 4: Bonferroni and Holm find three, theirs four.
TRIAL = [
    0.0001, 0.0004, 0.0019, 0.0095, 0.0201, 0.0278, 0.0298, 0.0344, 0.0459, 0.3240, 0.4262, 0.5719, 0.6528, 0.7590, 1.0
]  # fmt: skip


def test_students_own_table():
    found = compare(*SLEEP)
    known = stats.ttest_rel(SLEEP[1], SLEEP[0])
    low, high = known.confidence_interval(0.95)
    assert found.difference == pytest.approx(1.58)
    assert found.difference / found.standard_error == pytest.approx(known.statistic) == pytest.approx(4.0621, abs=1e-4)
    assert found.effect_size == pytest.approx(4.0621 / math.sqrt(10), abs=1e-4)
    assert (low, high) == pytest.approx((0.7001, 2.4599), abs=1e-4)
    assert found.low <= low + 1e-9
    assert found.high >= high - 1e-9


def test_fishers_count_of_flips():
    assert compare(np.zeros(15), MAIZE).p_value == pytest.approx(1726 / 32768)


def test_flips_agree_with_scipy_where_they_are_drawn():
    differences = np.random.default_rng(1).exponential(size=40) - 0.7
    known = stats.permutation_test(
        (differences,), np.mean, permutation_type="samples", n_resamples=9999, rng=np.random.default_rng(2)
    )
    assert compare(np.zeros(40), differences).p_value == pytest.approx(known.pvalue, abs=0.015)


@pytest.mark.parametrize("shift", [0.0, 0.1, 0.25])
def test_the_saddlepoint_agrees_with_drawn_flips(shift):
    differences = np.random.default_rng(3).standard_t(3, size=300) + shift
    drawn = p_value(paired(np.zeros(300), differences))
    assert _of_many(differences) == pytest.approx(drawn, abs=0.012)


@pytest.mark.parametrize(("wins", "losses"), [(86, 150), (3, 12), (1, 0), (8, 8)])
def test_mcnemar_agrees_with_statsmodels(wins, losses):  # the first: Agresti, Categorical Data Analysis, table 10.1
    base = np.array([0.0] * wins + [1.0] * losses + [1.0] * 30)
    new = np.array([1.0] * wins + [0.0] * losses + [1.0] * 30)
    known = mcnemar([[30, losses], [wins, 0]], exact=True).pvalue
    assert compare(base, new).p_value == pytest.approx(known)


def test_tango_agrees_with_a_published_table():
    # Bentur and others 2009, in Fagerland, Lydersen and Laake, Statistics in Medicine 33 (2014): -0.517 to -0.026.
    assert tango(1, 7, 21, 0.95) == pytest.approx((-0.517, -0.026), abs=5e-4)


def test_mcnemar_gives_way_to_flips_where_cases_are_clustered():
    base, new = np.zeros(60), np.array([1.0] * 20 + [0.0] * 40)
    alone, together = compare(base, new), compare(base, new, clusters=np.arange(60) // 20)
    assert alone.verdict == "better"
    assert together.p_value == 1.0  # one cluster in which all went one way, and two without difference


def test_bca_agrees_with_scipy():
    differences = np.random.default_rng(4).exponential(size=40)
    known = stats.bootstrap((differences,), np.mean, method="BCa", n_resamples=9999, rng=np.random.default_rng(5))
    low, high = _bca(paired(np.zeros(40), differences), float(stats.norm.ppf(0.975)))
    assert low == pytest.approx(known.confidence_interval.low, abs=0.02)
    assert high == pytest.approx(known.confidence_interval.high, abs=0.02)


def test_expansions_go_on_where_resamples_end():
    dice = np.random.default_rng(6)
    differences = dice.exponential(size=401)
    drawn, expanded = (_bca(paired(np.zeros(number), differences[:number]), 1.96) for number in (400, 401))
    assert expanded == pytest.approx(drawn, abs=0.01)


@pytest.mark.parametrize(("method", "known"), [("holm", "holm"), ("benjamini-hochberg", "fdr_bh")])
def test_corrections_agree_with_statsmodels(method, known):
    mixed = np.random.default_rng(7).permutation(TRIAL)
    assert adjusted(mixed, method=method) == pytest.approx(list(multipletests(mixed, method=known)[1]))


def test_corrections_of_a_published_trial():
    assert sum(one <= 0.05 for one in adjusted(TRIAL)) == 3
    assert sum(one <= 0.05 for one in adjusted(TRIAL, method="benjamini-hochberg")) == 4
    assert adjusted([]) == []


@pytest.mark.parametrize("wrong", [[math.nan], [0.5, -0.1], [1.1]])
def test_what_is_no_p_value_is_refused(wrong):
    with pytest.raises(ConfigurationError, match="from 0 to 1"):
        adjusted(wrong)


RUNS = 80


def _drawn(shape: str, dice: np.random.Generator, effect: float = 0.0) -> tuple:
    if shape == "clusters":
        clusters = np.repeat(np.arange(12), dice.integers(1, 12, 12))
        shared = dice.normal(size=12)[clusters]
        return dice.normal(size=len(clusters)), shared + dice.normal(effect, 1, len(clusters)), clusters
    if shape == "binary":
        chance = dice.uniform(size=80)
        return (dice.uniform(size=80) < chance) * 1.0, (dice.uniform(size=80) < chance) * 1.0, None
    if shape == "rare":
        return np.ones(60), (dice.uniform(size=60) > 0.03) * 1.0, None
    if shape == "one-sided":
        return np.zeros(8), dice.exponential(size=8) - 1, None
    return dice.lognormal(size=30), dice.lognormal(size=30), None


@pytest.mark.parametrize(
    ("shape", "truth"), [("clusters", 0.0), ("binary", 0.0), ("rare", -0.03), ("skewed", 0.0), ("one-sided", 0.0)]
)
def test_intervals_cover_and_false_alarms_are_rare(shape, truth):
    dice = np.random.default_rng(8)
    found = [compare(base, new, clusters=group) for base, new, group in (_drawn(shape, dice) for _ in range(RUNS))]
    assert np.mean([one.low <= truth <= one.high for one in found]) >= 0.88
    if truth == 0:
        assert np.mean([one.verdict != "cannot tell" for one in found]) <= 0.1


def test_which_of_two_won_by_chance_has_no_part_in_what_is_detectable():
    even, uneven, clear = (detectable_rate(wins, 10 - wins, 100, 0.05, 0.8) for wins in (5, 6, 10))
    assert clear < even == uneven


def test_a_detectable_rate_is_found_with_the_power_that_is_said():
    dice = np.random.default_rng(9)
    same = np.ones(100)
    effect = compare(same, same).detectable
    found = [compare((dice.uniform(size=100) > effect) * 1.0, same).verdict == "better" for _ in range(RUNS)]
    assert 0.65 <= np.mean(found) <= 0.95


def test_as_many_cases_as_needed_find_the_difference():
    dice = np.random.default_rng(10)
    pilot = np.concatenate([np.repeat([-1.0, 1.0], 15), [0.0, 0.0]]) * 0.98 + 0.4
    needed = compare(np.zeros(32), pilot).needed
    found = [compare(np.zeros(needed), dice.normal(0.4, 0.98, needed)).verdict == "better" for _ in range(RUNS)]
    assert 0.65 <= np.mean(found) <= 0.95


def test_equivalence_is_rarely_said_of_a_difference_as_large_as_the_margin():
    dice = np.random.default_rng(11)
    differences = [dice.normal(mean, 1, 40) for mean in (0.6, 0.0) for _ in range(30)]
    found = [compare(np.zeros(40), one, margin=0.6).verdict == "equivalent" for one in differences]
    assert np.mean(found[:30]) <= 0.15
    assert np.mean(found[30:]) >= 0.7
