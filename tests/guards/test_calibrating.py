"""`calibrate`: the bound holds, and what cannot be proved is refused."""

import random

import pytest

from llmops_sdk import Guard, Verdict
from llmops_sdk.errors import ConfigurationError
from llmops_sdk.guards import Secrets, acalibrate, calibrate


class Number(Guard):
    blocking = False
    threshold = 0.5

    def rate(self, text, context=None):
        return float(text)

    def check(self, text, context=None):
        return Verdict.block("high") if self.rate(text) >= self.threshold else Verdict.allow()


def rows(positives, negatives):
    return [*((str(one), 1) for one in positives), *((str(one), 0) for one in negatives)]


def test_the_threshold_is_the_smallest_that_the_rows_prove():
    benign = [number / 1000 for number in range(300)]  # 0 false alarms prove it, 1 does not
    made = calibrate(Number(), rows([0.35, 0.9], benign))
    assert made.threshold == 0.3
    assert made.false_alarms.hits == 0
    assert made.bound <= 0.01
    assert made.recall.hits == 2
    assert made.guard.check("0.31").blocked
    assert not made.guard.check("0.299").blocked
    assert made.warnings == ()


def test_more_rows_allow_some_false_alarms():
    benign = [number / 1000 for number in range(1000)]
    made = calibrate(Number(), rows([], benign))
    assert made.false_alarms.hits == 4  # Clopper and Pearson: 4 of 1,000 is at most 0.92 %, 5 at most 1.05 %
    assert made.bound <= 0.01
    assert "nothing is known of recall" in made.warnings[0]


def test_the_true_rate_is_over_the_bound_no_more_often_than_it_says():
    draw, over = random.Random(3), 0
    for _ in range(100):
        made = calibrate(
            Number(), rows([], [round(draw.random(), 6) for _ in range(150)]), max_fpr=0.05, confidence=0.9
        )
        over += 1 - made.threshold > 0.05  # rates of new texts are even in 0..1
    assert 1 <= over <= 18


def test_too_few_rows_are_refused_and_the_number_is_told():
    with pytest.raises(ConfigurationError, match=r"298 benign rows are too few.*takes 299"):
        calibrate(Number(), rows([0.9], [0.1] * 298))
    assert calibrate(Number(), rows([0.9], [0.1] * 299)).bound <= 0.01
    with pytest.raises(ConfigurationError, match="not held out are too few"):
        calibrate(Number(), rows([0.9], [n / 1000 for n in range(400)]), held_out=0.5)


def test_ties_are_put_below_the_threshold_and_told():
    benign = [0.1] * 990 + [0.7] * 10
    made = calibrate(Number(), rows([0.7, 0.9], benign))
    assert made.threshold > 0.7
    assert made.false_alarms.hits == 0
    assert made.recall.hits == 1
    assert "10 benign rows share the score 0.7" in made.warnings[0]


def test_benign_rows_that_are_rated_1_leave_no_threshold():
    with pytest.raises(ConfigurationError, match="no threshold will do"):
        calibrate(Number(), rows([], [0.1] * 300 + [1.0] * 5))


def test_a_guard_without_degrees_is_refused():
    with pytest.raises(ConfigurationError, match="no threshold"):
        calibrate(Secrets(), rows([], [0.1] * 300))


@pytest.mark.parametrize("options", [{"max_fpr": 0}, {"max_fpr": 1}, {"confidence": 1}, {"held_out": 1}])
def test_options_that_make_no_sense_are_refused(options):
    with pytest.raises(ConfigurationError):
        calibrate(Number(), rows([], [0.1] * 300), **options)


async def test_rows_that_are_held_out_are_those_of_the_report():
    data = rows([0.9 + n / 10_000 for n in range(100)], [n / 2_000 for n in range(1000)])
    made = await acalibrate(Number(), data, held_out=0.4)
    assert 350 < made.held_out < 530
    assert made.evaluation.rows == made.held_out
    assert made.false_alarms.of + made.recall.of == len(data) - made.held_out
    assert made.evaluation.threshold == made.threshold
    again = await acalibrate(Number(), reversed(data), held_out=0.4)
    assert again.threshold == made.threshold
    assert "held out" in str(made)
    assert "<svg" in made._repr_html_()
