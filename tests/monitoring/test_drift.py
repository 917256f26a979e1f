"""Detectors: the stated rate of false alarms is kept, and changes are found."""

from __future__ import annotations

import itertools
import json
import math
import random
import statistics
from collections.abc import Callable, Iterable
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llmops_sdk.errors import ConfigurationError
from llmops_sdk.monitoring import Alarm, Detector, expected_delay
from llmops_sdk.monitoring._drift.bets import bets_for
from llmops_sdk.monitoring._drift.chance import Chance
from llmops_sdk.monitoring._drift.reference import Shares, Values

DAY_S = 86_400.0
Source = Callable[[random.Random], float]


def rare(chance: random.Random) -> float:
    return float(chance.random() < 0.01)


def often(chance: random.Random) -> float:
    return float(chance.random() < 0.95)


def heavy_tailed(chance: random.Random) -> float:
    return chance.paretovariate(1.1)


def skewed(chance: random.Random) -> float:
    return chance.lognormvariate(0, 1)


def scores(chance: random.Random) -> float:
    return float(chance.choice((1, 3, 4, 4, 4, 5, 5, 5)))


def mostly_zero(chance: random.Random) -> float:
    return chance.expovariate(1) if chance.random() < 0.02 else 0.0


def feed(detector: Detector, values: Iterable[float], *, per_day: int, start: int = 0) -> list[tuple[int, Alarm]]:
    """The alarms, each with the number of the observation that raised it."""
    raised = []
    for number, value in enumerate(values, start=start):
        alarm = detector.observe(value, number * DAY_S / per_day)
        if alarm is not None:
            raised.append((number, alarm))
    return raised


@pytest.mark.parametrize(
    ("kind", "source"),
    [("rate", rare), ("rate", often), ("value", heavy_tailed), ("value", skewed), ("value", scores)],
    ids=["rare", "often", "heavy-tailed", "skewed", "discrete"],
)
def test_no_more_false_alarms_than_stated_in_2000_days_without_a_change(kind: Any, source: Source) -> None:
    days, per_day, rate = 2_000, 25, 0.1
    chance = random.Random(5)
    detector = Detector(kind=kind, false_alarms_per_day=rate, warm_up=20)
    raised = feed(detector, (source(chance) for _ in range(days * per_day)), per_day=per_day)
    # The budget is spent, too: a detector that never says anything would keep every rate.
    assert 0.3 * rate * days < len(raised) <= rate * days


def test_the_rate_is_by_the_day_whatever_the_traffic() -> None:
    chance = random.Random(6)
    detector = Detector(kind="value", false_alarms_per_day=0.5)
    raised = feed(detector, (skewed(chance) for _ in range(40_000)), per_day=8_000)
    assert len(raised) <= 6  # in 5 days 2.5 are allowed; 7 have a probability of 1.4 %


@pytest.mark.parametrize("source", [heavy_tailed, scores, mostly_zero], ids=lambda source: source.__name__)
def test_ranks_of_values_are_uniform_and_independent(source: Source) -> None:
    chance, reference = random.Random(7), Values(100)
    draws = Chance(3)
    places = [reference.place(source(chance), draws) for _ in range(15_100)][100:]
    assert_uniform_and_independent(places)


def test_ranks_of_rates_are_uniform_and_independent() -> None:
    chance, reference, draws = random.Random(8), Shares(), Chance(4)
    assert_uniform_and_independent([reference.place(rare(chance), draws) for _ in range(15_000)])


def assert_uniform_and_independent(places: list[float]) -> None:
    cells = [[0] * 5 for _ in range(5)]
    for before, after in pairwise(places):
        cells[int(before * 5)][int(after * 5)] += 1
    expected = (len(places) - 1) / 25
    chi_squared = sum((count - expected) ** 2 / expected for row in cells for count in row)
    assert chi_squared < 60  # 24 degrees of freedom: more than that has a probability of 6e-5
    tops = sum(place > 0.99 for place in places)
    assert abs(tops - len(places) / 100) < 4 * math.sqrt(len(places) / 100)


@pytest.mark.parametrize("kind", ["rate", "value"])
@pytest.mark.parametrize("direction", ["up", "down", "both"])
def test_every_bet_is_fair(kind: str, direction: str) -> None:
    bets = bets_for(kind, direction)
    widths = [high - low for low, high in pairwise((0.0, *bets.edges, 1.0))]
    for bet in range(len(bets.upwards)):
        assert math.fsum(
            width * factors[bet] for width, factors in zip(widths, bets.factors, strict=True)
        ) == pytest.approx(1, abs=1e-12)
    assert all(factor > 0 for factors in bets.factors for factor in factors)


CHANGES: list[tuple[Any, Source, Source, float, float]] = [
    ("rate", lambda c: c.random() < 0.02, lambda c: c.random() < 0.1, 0.02, 0.1),
    ("rate", lambda c: c.random() < 0.97, lambda c: c.random() < 0.9, 0.97, 0.9),
    ("rate", lambda c: c.random() < 0.06, lambda c: c.random() < 0.02, 0.06, 0.02),
    ("value", lambda c: c.gauss(0, 1), lambda c: c.gauss(0.5, 1), 0.0, 0.5),
    ("value", lambda c: c.gauss(0, 1), lambda c: c.gauss(-1, 1), 0.0, -1.0),
    ("value", lambda c: c.lognormvariate(0, 0.6), lambda c: 1.5 * c.lognormvariate(0, 0.6), 0.0, math.log(1.5) / 0.6),
]


@pytest.mark.parametrize(("kind", "before", "after", "low", "high"), CHANGES)
def test_changes_are_found_with_the_delay_that_was_worked_out(
    kind: Any, before: Source, after: Source, low: float, high: float
) -> None:
    worked_out = expected_delay(kind=kind, before=low, after=high, observations_per_day=10_000)
    found = []
    for seed in range(5):
        chance, detector = random.Random(seed), Detector(kind=kind, seed=seed)
        assert not feed(detector, (before(chance) for _ in range(5_000)), per_day=10_000)
        raised = feed(detector, (after(chance) for _ in range(int(4 * worked_out))), per_day=10_000, start=5_000)
        number, alarm = raised[0]
        found.append(number - 5_000)
        assert alarm.direction == ("up" if high > low else "down")
        assert abs(alarm.since - 5_000 * 8.64) < 2 * worked_out * 8.64
    assert 0.4 * worked_out < statistics.median(found) < 1.6 * worked_out


def test_one_direction_is_enough_where_only_one_is_of_interest() -> None:
    chance = random.Random(1)
    values = [float(chance.random() < (0.3 if number < 3_000 else 0.05)) for number in range(6_000)]
    assert not feed(Detector(kind="rate", direction="up"), values, per_day=10_000)
    assert feed(Detector(kind="rate", direction="down"), values, per_day=10_000)


def test_after_an_alarm_the_new_state_is_the_reference() -> None:
    chance = random.Random(2)
    values = [chance.gauss(0 if number < 2_000 else 2, 1) for number in range(20_000)]
    assert len(feed(Detector(), values, per_day=10_000)) == 1


def test_an_alarm_says_what_happened() -> None:
    chance = random.Random(3)
    values = [float(chance.random() < (0.02 if number < 8_000 else 0.12)) for number in range(9_000)]
    ((_, alarm),) = feed(Detector("refusals", kind="rate"), values, per_day=10_000)
    assert alarm.signal == "refusals"
    assert alarm.before == pytest.approx(0.02, abs=0.005)
    assert alarm.now == pytest.approx(0.12, abs=0.05)
    assert alarm.evidence >= 1
    assert alarm.message.startswith("refusals rose from 2.")
    assert alarm.message.endswith(" observations); at most 1 false alarm in 100 days")
    assert Alarm(**json.loads(json.dumps(alarm.to_json()))) == alarm


@settings(max_examples=15, deadline=None)
@given(cut=st.integers(0, 1_500), kind=st.sampled_from(["rate", "value"]), season=st.sampled_from([None, "day"]))
def test_a_stored_state_continues_exactly(cut: int, kind: Any, season: Any) -> None:
    chance = random.Random(cut)
    values = [float(chance.random() < (0.1 if number < 900 else 0.6)) for number in range(1_500)]
    whole = Detector(kind=kind, season=season, warm_up=10)
    raised = feed(whole, values, per_day=3_000)
    first = Detector(kind=kind, season=season, warm_up=10)
    early = feed(first, values[:cut], per_day=3_000)
    again = Detector.from_state(json.loads(json.dumps(first.state())))
    late = feed(again, values[cut:], per_day=3_000, start=cut)
    assert [*early, *late] == raised
    assert again.state() == whole.state()


def test_a_clock_that_jumps_raises_no_alarm() -> None:
    chance, detector = random.Random(4), Detector(false_alarms_per_day=0.1)
    feed(detector, (chance.gauss(0, 1) for _ in range(2_000)), per_day=100_000)
    before = detector.evidence
    for at in (4e9, 0.0, 4e9, -4e9, 1.7e9):
        assert detector.observe(0.0, at) is None
    # Three jumps ahead, each of which counts as an hour; a value in the middle gains at most a little.
    assert detector.evidence < 1.3 * (before + 3 * 0.1 / 24)


def test_observations_out_of_order_are_no_time_that_passed() -> None:
    detector = Detector(false_alarms_per_day=0.1, warm_up=20)
    chance = random.Random(9)
    for number in range(5_000):
        detector.observe(chance.gauss(0, 1), 1e9 + (10 if number % 2 else 0))
    # Ten seconds passed, once; ever new stakes would keep the evidence over one of them.
    assert detector.evidence < 0.1 * 10 / DAY_S


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_what_is_no_number_is_counted_and_left_out(value: float) -> None:
    detector = Detector()
    assert detector.observe(value, 0.0) is None
    assert detector.observe(1.0, math.nan) is None
    assert (detector.refused, detector.observed) == (2, 0)


def test_a_rate_is_of_zeros_and_ones() -> None:
    detector = Detector(kind="rate")
    detector.observe(0.5, 0.0)
    assert detector.refused == 1


def daily(days: int, per_day: int) -> list[float]:
    chance = random.Random(11)
    turns = (2 * math.pi * number / per_day for number in range(days * per_day))
    return [chance.lognormvariate(-math.log(2) / 2 * math.cos(turn), 0.6) for turn in turns]


def test_a_daily_cycle_is_no_change_where_the_detector_knows_of_it() -> None:
    values = daily(60, 480)
    assert len(feed(Detector(false_alarms_per_day=0.1, warm_up=30), values, per_day=480)) > 20
    assert len(feed(Detector(false_alarms_per_day=0.1, warm_up=30, season="day"), values, per_day=480)) <= 8


def test_with_a_cycle_a_change_is_told_beside_what_is_usual_at_its_hours() -> None:
    values = daily(40, 480)
    values[9_600:] = [2 * value for value in values[9_600:]]
    number, alarm = feed(Detector("latency", warm_up=30, season="day", unit="s"), values, per_day=480)[0]
    assert 0 < number - 9_600 < 100
    assert alarm.now / alarm.before == pytest.approx(2, rel=0.35)


def test_observations_under_different_words_are_never_compared() -> None:
    chance, detector = random.Random(11), Detector(false_alarms_per_day=0.1)
    for number in range(20_000):
        word = "short" if number < 10_000 else "long"
        assert detector.observe(chance.gauss(1 if word == "short" else 9, 1), number * 8.64, among=word) is None


def test_its_memory_is_bounded() -> None:
    chance, detector = random.Random(12), Detector()
    feed(detector, (skewed(chance) for _ in range(30_000)), per_day=1_000_000)
    assert len(json.dumps(detector.state())) < 12_000
    for number in range(1_100):
        detector.observe(1.0, 0.0, among=str(number))
    assert detector.refused == 101  # the word "" is one of the thousand


def test_small_changes_of_a_huge_stream_that_nobody_bets_on_are_left_alone() -> None:
    assert expected_delay(kind="value", after=0.05, observations_per_day=1e6) == math.inf


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"false_alarms_per_day": 0}, "such as 0.01"),
        ({"false_alarms_per_day": math.nan}, "such as 0.01"),
        ({"false_alarms_per_day": True}, "such as 0.01"),
        ({"kind": "mean"}, "'rate', 'value'"),
        ({"direction": "sideways"}, "'both', 'up', 'down'"),
        ({"warm_up": 3}, "5 or more"),
        ({"warm_up": 7.5}, "5 or more"),
        ({"season": "year"}, '"day", "week"'),
    ],
)
def test_wrong_options_are_refused_with_words(options: dict[str, Any], says: str) -> None:
    with pytest.raises(ConfigurationError, match=says):
        Detector(**options)


def test_what_is_no_state_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="new reference"):
        Detector.from_state({"version": 0})


@pytest.mark.parametrize(
    "options",
    [
        {"observations_per_day": 0, "after": 0.1},
        {"observations_per_day": 10, "before": 0.0, "after": 0.1},
        {"observations_per_day": 10, "before": 0.1, "after": 1.1},
    ],
)
def test_delays_of_impossible_changes_are_refused(options: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError):
        expected_delay(**options)


def test_draws_of_different_seeds_differ() -> None:
    assert len({Chance(seed).draw() for seed in range(1_000)}) == 1_000
    assert all(0 < draw < 1 for draw in itertools.islice(iter(Chance(0).draw, None), 10_000))
