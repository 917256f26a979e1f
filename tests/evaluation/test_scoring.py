"""Metrics that raise, hang, wait, block or say nonsense: the cell is marked, and everything else goes on."""

import asyncio
import threading
import time
from typing import NamedTuple

import pytest

from llmops_sdk import Scripted
from llmops_sdk.evaluation import Case, Metric, Score, evaluate, metric


class Said(NamedTuple):
    case: str
    name: str
    score: Score
    error: str | None


DATA = [Case(input={"n": n}, id=f"case-{n}") for n in range(3)]


def scores(given, **options):
    found = evaluate({"a": "{{ n }}" | Scripted("7")}, DATA, given, progress=False, **options)
    return [Said(cell.case, one.name, one.score, one.error) for cell in found.cells() for one in cell.scores]


def fine(case, result):
    return 1.0


@pytest.mark.parametrize(
    ("said", "words"),
    [
        (ValueError("no such thing"), "ValueError: no such thing"),
        (SystemExit(3), "SystemExit: 3"),
        (asyncio.CancelledError("inside"), "CancelledError"),
        (float("nan"), "no finite number"),
        (float("inf"), "no finite number"),
        ("seven", "no finite number"),
        (Score(value=0.5, details={"set": {1}}), "no plain JSON"),
        (Score(value=0.5, details={"far": float("nan")}), "no plain JSON"),
        (2.0, "no finite number from 0"),
    ],
    ids=str,
)
@pytest.mark.parametrize("kind", ["plain", "blocking", "async"])
def test_a_metric_that_goes_wrong_marks_its_cell_and_nothing_else(said, words, kind):
    def give(case, result):
        if case.id != "case-1":
            return 0.25
        if isinstance(said, BaseException):
            raise said
        return said

    async def later(case, result):
        await asyncio.sleep(0)
        return give(case, result)

    one = metric(later if kind == "async" else give, name="broken", bounds=(0, 1), blocks=kind == "blocking")
    found = scores([one, fine])
    assert len(found) == 6
    (place,) = [place for place, score in enumerate(found) if score.error is not None]
    broken = found[place]
    assert (place // 2, broken.name, broken.score.value) == (1, "broken", None)  # that of the second case
    assert words in broken.error
    assert {score.score.value for score in found if score is not broken} == {0.25, 1.0}


def test_the_traceback_shows_where_the_metric_raised():
    def picky(case, result):
        return case.metadata["missing"]

    (one, *_) = scores([picky])
    assert "KeyError: 'missing'" in one.error
    assert 'return case.metadata["missing"]' in one.error


def test_a_text_that_no_file_can_hold_is_kept_as_far_as_it_goes():
    (one, *_) = scores([metric(lambda case, result: Score(value=1, explanation="a\ud800b"), name="odd")])
    assert one.score.explanation == "a\\ud800b"


@pytest.mark.parametrize("kind", ["blocking", "async"])
def test_a_metric_that_hangs_is_left_behind_and_those_behind_it_are_asked(kind):
    release = threading.Event()

    def hang(case, result):
        return release.wait(20)

    async def wait(case, result):
        await asyncio.sleep(20)

    try:
        slow = metric(hang, name="slow", version="1") if kind == "blocking" else metric(wait, name="slow")
        began = time.monotonic()
        found = scores([fine, slow, metric(fine, name="last")], metric_deadline_s=0.05)
        assert time.monotonic() - began < 15
    finally:
        release.set()
    assert [one.name for one in found if one.error is None].count("last") == 3
    assert [one.name for one in found if one.error is None].count("fine") == 3
    late = [one.error for one in found if one.name == "slow"]
    assert len(late) == 3
    assert all("no score within 0.05 s" in error for error in late)


def test_metrics_that_block_are_called_in_one_thread_beside_the_loop():
    threads = []

    def where(case, result):
        threads.append(threading.current_thread().name)
        return True

    scores([metric(where, name="one"), metric(where, name="two")], concurrency=1)
    assert len(threads) == 6
    assert all(name == "llmops-sdk-worker" for name in threads)


def test_a_plain_function_may_return_what_has_to_be_awaited():
    async def later():
        return 0.5

    assert {one.score.value for one in scores([metric(lambda case, result: later(), name="later")])} == {0.5}


def test_a_metric_that_does_not_apply_has_no_score_and_is_no_failure():
    found = scores([metric(lambda case, result: None, name="absent")])
    assert [(one.score.value, one.error) for one in found] == [(None, None)] * 3


class Pair(Metric):
    name = "pair"
    pairwise = True

    def configuration(self):
        return {}

    def __call__(self, case, base, new):
        raise RuntimeError("no pairs today")


def test_a_pairwise_metric_that_raises_marks_the_pair():
    found = evaluate({"a": "{{ n }}" | Scripted("7"), "b": "{{ n }}" | Scripted("8")}, DATA, [Pair()], progress=False)
    with found._store._open() as db:
        errors = [row[0] for row in db.execute("SELECT error FROM scores")]
    assert len(errors) == 3
    assert all("no pairs today" in error for error in errors)


def test_a_run_that_fails_is_not_scored_and_not_paired():
    failing = Scripted(RuntimeError("down"))
    pipelines = {"a": "{{ n }}" | Scripted("7"), "b": "{{ n }}" | failing}
    found = evaluate(pipelines, DATA, [fine, Pair()], progress=False)
    assert [cell.arm for cell in found.cells() for _ in cell.scores] == ["a"] * 3
    with found._store._open() as db:
        assert db.execute("SELECT count(*) FROM scores").fetchone()[0] == 3
