"""How the detectors of a monitor share the false alarms, and how they go on from the store."""

import math
import random

import pytest

from llmops_sdk.monitoring import Store
from llmops_sdk.monitoring._counts import Counts
from llmops_sdk.monitoring._detecting import Detecting, Seen


@pytest.fixture
def store(tmp_path):
    store = Store(tmp_path / "detecting.db")
    yield store
    store.close()


def detecting(rate=1.0, season="day", evaluators=("judge", "judge.strict")):
    return Detecting(rate, signals=["length"], evaluators=evaluators, season=season, counts=Counts())


def see(store, watching, *names, values=(1.0,), at=1.8e9):
    with store.writing() as writing:
        return watching.see(
            writing, [Seen(name, "value", value, at + n) for n, value in enumerate(values) for name in names]
        )


def rates(store):
    with store.writing() as writing:
        return {name: state["arguments"]["false_alarms_per_day"] for name, state in writing.detectors()}


def test_however_many_scores_there_are_together_they_have_the_rate_that_is_stated(store):
    parts = [f"score.judge.{number}" for number in range(40)]
    see(store, detecting(), "length", *parts, "score.judge", "score.judge.strict", "score.judge.strict.a")
    see(store, detecting(), *[f"score.stars {number}" for number in range(40)])
    found = rates(store)
    assert found["length"] == 1 / 4
    assert math.fsum(rate for name, rate in found.items() if name.startswith("score.judge.strict")) <= 1 / 4
    assert math.fsum(found.values()) <= 1
    assert math.fsum(found.values()) > 0.8


def test_the_rate_that_is_stated_now_counts_for_what_is_in_the_store(store):
    see(store, detecting(), "score.judge.a", "score.judge.b", "length")
    before = rates(store)
    see(store, detecting(rate=0.1), "score.judge.a", "score.judge.b", "length")
    assert rates(store) == pytest.approx({name: rate / 10 for name, rate in before.items()})


def test_another_season_learns_again(store, caplog):
    see(store, detecting(), "length", values=[1.0] * 30)
    see(store, detecting(season=None), "length", values=[1.0] * 5)
    with store.writing() as writing:
        ((_, state),) = writing.detectors()
    assert state["observed"] == 5
    assert len(state["references"]) == 1
    assert "made with other options" in caplog.text


def test_what_is_written_piece_by_piece_is_what_one_in_memory_would_be(store):
    chance = random.Random(4)
    one, fresh = detecting(rate=9.0), []
    raised = []
    for number in range(60):
        values = [chance.gauss(0 if number < 30 else 3, 1) for _ in range(25)]
        at = 1.8e9 + number * 1_700
        fresh.append(detecting(rate=9.0))
        raised += see(store, fresh[-1] if number % 2 else one, "length", values=values, at=at)
        one.forget()
        with store.writing() as writing:
            ((_, kept),) = writing.detectors()
        if number % 2:
            assert kept == fresh[-1]._detectors["length"].state()
    assert raised
