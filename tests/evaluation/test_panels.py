"""Two answers against each other, and several judges together."""

import json
import random

import pytest

from llmops_sdk import Scripted
from llmops_sdk.errors import ConfigurationError, JudgementError
from llmops_sdk.evaluation import Case, Judge, PairwiseJudge, Panel

CASE = Case(input="Who?", expected="Ada")
CRITERIA = "The clearer answer is better."


def said(grade, reason="because"):
    return json.dumps({"reason": reason, "grade": grade})


def place_of(request, word):
    """Where the answer with that word stands: A or B."""
    text = request.messages[1].text
    return "A" if word in text[text.index("<answer_a>") : text.index("</answer_a>")] else "B"


def prefers(word):
    return Scripted(lambda request: said(place_of(request, word)))


@pytest.mark.parametrize(("word", "value", "label"), [("new", 1.0, "new"), ("old", -1.0, "base")])
async def test_the_better_answer_wins_in_both_orders(word, value, label):
    judge = PairwiseJudge(prefers(word), CRITERIA)
    score = await judge.assess(CASE, "old answer", "new answer")
    assert (score.value, score.label, score.details["agree"]) == (value, label, True)
    assert [one["first"] for one in score.details["judgements"]] == ["base", "new"]
    assert judge.pairwise
    assert judge.bounds == (-1, 1)


async def test_a_judge_that_goes_by_the_place_gives_ties_and_its_bias_is_reported():
    judge = PairwiseJudge(Scripted(said("A")), CRITERIA)
    scores = [await judge.assess(Case(input=str(i)), "old", "new") for i in range(12)]
    assert {score.value for score in scores} == {0.0}
    bias = judge.position_bias(scores)
    assert (bias.asked, bias.disagreed, bias.first, bias.second, bias.share) == (12, 12, 12, 0, 1.0)
    assert bias.p_value < 0.001
    assert "12 of 12 pairs" in str(bias)


async def test_a_fair_judge_shows_no_bias():
    judge = PairwiseJudge(prefers("new"), CRITERIA)
    bias = judge.position_bias([await judge.assess(CASE, "old", "new")])
    assert (bias.disagreed, bias.share, bias.p_value) == (0, 0.0, 1.0)
    assert "no pair" in str(judge.position_bias([]))


async def test_a_tie_in_one_order_and_a_win_in_the_other_is_a_tie():
    score = await PairwiseJudge(Scripted(said("tie"), said("B")), CRITERIA).assess(CASE, "old", "new")
    assert (score.value, score.label, score.details["agree"]) == (0.0, "tie", False)


async def test_without_a_swap_a_coin_of_the_case_says_which_stands_first():
    engine = Scripted(said("A"))
    judge = PairwiseJudge(engine, CRITERIA, swap=False)
    values = [(await judge.assess(Case(input=str(i)), "old", "new")).value for i in range(100)]
    assert len(engine.requests) == 100
    assert 30 < values.count(1.0) < 70
    assert values == [(await judge.assess(Case(input=str(i)), "old", "new")).value for i in range(100)]


async def test_one_order_that_cannot_be_judged_is_a_failure():
    engine = Scripted(lambda request: said("A") if place_of(request, "old") == "A" else "neither")
    with pytest.raises(JudgementError):
        await PairwiseJudge(engine, CRITERIA).assess(CASE, "old", "new")


def passing(grade, name):
    return Judge(Scripted(said(grade)), "Good.", scale="pass/fail", name=name)


async def test_the_majority_of_a_panel_decides_and_its_votes_are_kept():
    panel = Panel([passing("pass", "a"), passing("fail", "b"), passing("pass", "c")])
    score = await panel.assess(CASE, "answer")
    assert score.value == 1.0
    assert score.details["votes"] == {"a": 1.0, "b": 0.0, "c": 1.0}
    assert score.details["spread"] == 1.0
    mean = Panel([passing("pass", "a"), passing("fail", "b")], vote="mean")
    assert (await mean.assess(CASE, "answer")).value == 0.5
    assert (await Panel([passing("pass", "a"), passing("fail", "b")]).assess(CASE, "answer")).value == 0.0


async def test_a_judge_that_fails_is_named_and_the_others_decide():
    panel = Panel([passing("pass", "a"), passing("maybe", "b"), passing("pass", "c")])
    score = await panel.assess(CASE, "answer")
    assert score.value == 1.0
    assert list(score.details["failed"]) == ["b"]
    with pytest.raises(JudgementError, match=r"all judges failed: a: .*; b: "):
        await Panel([passing("maybe", "a"), passing("maybe", "b")]).assess(CASE, "answer")


async def test_pairwise_judges_make_a_panel_too():
    judges = [PairwiseJudge(prefers(word), CRITERIA, name=str(i)) for i, word in enumerate(("new", "new", "old"))]
    panel = Panel(judges)
    assert panel.pairwise
    assert (await panel.assess(CASE, "old", "new")).value == 1.0
    assert (await Panel(judges[1:]).assess(CASE, "old", "new")).value == 0.0


async def test_the_agreement_of_a_panel_is_that_beyond_chance():
    rng = random.Random(5)

    def noisy(error):
        def answer(request):
            good = "good" in request.messages[1].text.split("<answer>")[1]
            return said("pass" if good != (rng.random() < error) else "fail")

        return Scripted(answer)

    def panel(error):
        return Panel([Judge(noisy(error), "Good.", scale="pass/fail", name=name) for name in "abc"])

    found = {}
    for error in (0.0, 0.1, 0.5):
        one = panel(error)
        found[error] = one.agreement([await one.assess(CASE, ("good", "poor")[i % 2]) for i in range(200)])
    assert found[0.0] == 1.0
    assert found[0.1] == pytest.approx(0.64, abs=0.1)  # (1 - 2 * 0.1) ** 2
    assert abs(found[0.5]) < 0.1


def test_judges_that_make_no_panel_are_refused():
    for judges in (
        [passing("pass", "a")],
        [passing("pass", "a"), passing("fail", "a")],
        [passing("pass", "a"), Judge(Scripted(said(1)), "Good.", name="b")],
        [passing("pass", "a"), PairwiseJudge(Scripted(said("A")), CRITERIA)],
        [passing("pass", "a"), len],
    ):
        with pytest.raises(ConfigurationError):
            Panel(judges)
    with pytest.raises(ConfigurationError):
        Panel([passing("pass", "a"), passing("pass", "b")], vote="loudest")


def test_the_version_of_a_panel_follows_its_judges():
    one = Panel([passing("pass", "a"), passing("pass", "b")])
    assert one.version == Panel([passing("pass", "a"), passing("pass", "b")]).version
    assert one.version != Panel([passing("pass", "a"), passing("pass", "b")], vote="mean").version
    assert (
        one.version
        != Panel([passing("pass", "a"), Judge(Scripted(said("pass")), "Bad.", scale="pass/fail", name="b")]).version
    )
