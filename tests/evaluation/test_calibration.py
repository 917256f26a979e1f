"""How far a judge agrees with people, and what follows for an experiment."""

import json
import math
import random

import pytest

from llmops_sdk import Scripted
from llmops_sdk.errors import ConfigurationError, DatasetError, JudgementError
from llmops_sdk.evaluation import Calibration, Case, Dataset, Experiment, Judge, PairwiseJudge, Panel, evaluate
from llmops_sdk.evaluation.statistics import cohen_kappa, corrected_comparison, krippendorff_alpha, labelled

# Not in the environment of the heavy tests.
inter_rater = pytest.importorskip("statsmodels.stats.inter_rater")
cohens_kappa, fleiss_kappa = inter_rater.cohens_kappa, inter_rater.fleiss_kappa


def said(grade):
    return json.dumps({"reason": "because", "grade": grade})


def answer_in(request):
    text = request.messages[1].text
    return text[text.index("<answer>") + 9 : text.index("</answer>")].strip()


def judge_with(sensitivity, specificity, seed=3, **options):
    """A judge of pass and fail that errs so often; "good" is what people pass."""
    rng = random.Random(seed)

    def answer(request):
        good = answer_in(request) == "good"
        right = rng.random() < (sensitivity if good else specificity)
        return said("pass" if good == right else "fail")

    return Judge(Scripted(answer), "It is good.", scale="pass/fail", **options)


def labels(passes, fails):
    return [
        {"input": f"question {i}", "answer": "good" if i < passes else "poor", "label": i < passes}
        for i in range(passes + fails)
    ]


def test_sensitivity_and_specificity_are_found_with_their_intervals():
    found = judge_with(0.9, 0.7).calibrate(labels(300, 200))
    assert (found.sensitivity.of, found.specificity.of) == (300, 200)
    assert found.sensitivity.low < 0.9 < found.sensitivity.high
    assert found.specificity.low < 0.7 < found.specificity.high
    assert found.slope[0] == pytest.approx(found.sensitivity.value + found.specificity.value - 1)
    human, judged = zip(*((one.human, one.judged) for one in found.pairs), strict=True)
    table = [[found.confusion[person, judge] for judge in ("fail", "pass")] for person in ("fail", "pass")]
    assert sum(map(sum, table)) == 500
    assert found.kappa == pytest.approx(cohens_kappa(table, return_results=False))
    assert cohen_kappa(human, judged) == found.kappa


def test_kappa_of_grades_is_the_weighted_one_of_statsmodels():
    rng = random.Random(0)
    pairs = [(one := rng.randrange(4), min(max(one + rng.choice((-1, 0, 0, 1)), 0), 3)) for _ in range(200)]
    table = [[pairs.count((row, column)) for column in range(4)] for row in range(4)]
    weighted = cohens_kappa(table, weights=[0, 1, 2, 3], wt="quadratic", return_results=False)
    assert cohen_kappa(*zip(*pairs, strict=True)) == pytest.approx(weighted)


def test_alpha_tends_to_fleiss_kappa():
    rng = random.Random(0)
    rows = [[float(rng.random() < 0.5 + 0.4 * (i % 2 or -1)) for _ in range(3)] for i in range(2_000)]
    counts = [[row.count(0.0), row.count(1.0)] for row in rows]
    assert krippendorff_alpha(rows) == pytest.approx(fleiss_kappa(counts), abs=1e-3)
    # Krippendorff, Computing Krippendorff's alpha-reliability (2011): his example with missing values.
    one = [1, 2, 3, 3, 2, 1, 4, 1, 2, None, None, None]
    two = [1, 2, 3, 3, 2, 2, 4, 1, 2, 5, None, 3]
    three = [None, 3, 3, 3, 2, 3, 4, 2, 2, 5, 1, None]
    four = [1, 2, 3, 3, 2, 4, 4, 1, 2, 5, 1, None]
    example = list(zip(one, two, three, four, strict=True))
    assert krippendorff_alpha(example) == pytest.approx(0.743, abs=5e-4)
    assert krippendorff_alpha(example, distance="interval") == pytest.approx(0.849, abs=5e-4)
    assert math.isnan(krippendorff_alpha([[1, None]]))


def test_a_calibration_is_kept_in_a_file_and_says_what_it_is(tmp_path):
    found = judge_with(0.9, 0.8).calibrate(labels(40, 30))
    found.save(tmp_path / "judge.json")
    assert Calibration.load(tmp_path / "judge.json") == found
    assert "good" not in (tmp_path / "judge.json").read_text()
    assert "70 answers" in str(found)
    assert "<table>" in found._repr_html_()
    assert found.table()[0] == ["people \\ judge", "fail", "pass"]


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"format": 2}', '{"format": 1, "cost_usd": "x"}'])
def test_a_file_that_holds_no_calibration_is_refused(tmp_path, text):
    path = tmp_path / "judge.json"
    path.write_text(text)
    with pytest.raises(DatasetError) as caught:
        Calibration.load(path)
    assert caught.value.path == str(path)


def test_cases_of_a_data_set_can_be_the_labels():
    cases = [
        Case(
            input=f"question {i}",
            metadata={"answer": "good" if i % 2 else "poor", "label": "pass" if i % 2 else "fail"},
        )
        for i in range(20)
    ]
    found = judge_with(1, 1).calibrate(Dataset(cases))
    assert [one.case for one in found.pairs] == [case.id for case in cases]
    assert (found.sensitivity.value, found.specificity.value, found.kappa) == (1, 1, 1)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ([], "no labels"),
        ([{"input": "a", "answer": "b", "label": "pass"}, {"input": "a", "label": "pass"}], "label 2 has no 'answer'"),
        ([{"input": "a", "answer": "b", "label": "perhaps"}], "'perhaps' is not on the judge's scale"),
        ([{"input": "a", "answer": "b", "label": 2}], "2 is not on the judge's scale"),
        ([{"answer": "b", "label": True}], "label 1 is no case"),
    ],
)
def test_labels_that_cannot_be_read_are_errors_with_their_number(wrong, message):
    with pytest.raises(DatasetError, match=message):
        judge_with(1, 1).calibrate(wrong)


def test_answers_that_cannot_be_judged_are_left_out_and_counted():
    engine = Scripted(lambda request: "no" if "question 3" in request.messages[1].text else said("pass"))
    found = Judge(engine, "It is good.", scale="pass/fail").calibrate(labels(6, 0))
    assert len(found.pairs) == 5
    assert len(found.failed) == 1
    assert "JudgementError" in found.failed[0].error
    assert "1 could not be judged" in str(found)
    with pytest.raises(JudgementError, match="not one of 6 answers"):
        Judge(Scripted("no"), "It is good.", scale="pass/fail").calibrate(labels(6, 0))


def test_a_calibration_of_another_version_is_an_error():
    judge = judge_with(0.9, 0.9)
    found = judge.calibrate(labels(30, 30))
    other = judge_with(0.9, 0.9, temperature=1)
    with pytest.raises(ConfigurationError, match="has changed; calibrate it again"):
        other.calibrated(found)
    assert judge.calibrated(found).calibration == found
    assert judge.calibrated(found).version == judge.version
    assert judge.calibration is None


def test_a_judge_that_sees_nothing_corrects_nothing():
    judge = judge_with(0.3, 0.3)
    found = judge.calibrate(labels(50, 50))
    with pytest.raises(ConfigurationError, match="no more than a coin"):
        judge.calibrated(found)
    with pytest.raises(ConfigurationError, match="no answer among the labels is failed by people"):
        judge.calibrated(judge.calibrate(labels(50, 0)))


def pipelines(base, new, seed=11):
    rng = random.Random(seed)

    def with_rate(rate):
        return "{{ q }}" | Scripted(lambda _: "good" if rng.random() < rate else "poor")

    return {"base": with_rate(base), "new": with_rate(new)}


def test_an_experiment_shows_what_people_would_have_said_also_when_it_is_loaded(tmp_path):
    judge = judge_with(0.9, 0.7)
    judge = judge.calibrated(judge.calibrate(labels(200, 200)))
    cases = [Case(input={"q": str(i)}, id=str(i)) for i in range(300)]
    found = evaluate(pipelines(0.4, 0.7), cases, [judge], store=tmp_path / "e.db")
    (contrast,) = found.contrasts
    assert contrast.corrected.judged == contrast.comparison.difference
    assert contrast.corrected.value == pytest.approx(contrast.comparison.difference / judge.calibration.slope[0])
    assert contrast.corrected.low < 0.3 < contrast.corrected.high
    assert "as people would judge" in str(contrast)
    loaded = Experiment.load(tmp_path / "e.db")
    assert loaded.contrasts[0].corrected == contrast.corrected
    assert "as people would judge" in str(loaded)
    loaded.report(tmp_path / "e.html")
    page = (tmp_path / "e.html").read_text()
    assert "as people would judge" in page
    (line,) = loaded.judges
    assert line.startswith(f"judge {judge.version}: scripted with the prompt judge/judge (hash ")
    assert line.endswith(f"600 judgements, cost unknown; calibrated by 400 labels, kappa {judge.calibration.kappa:.2f}")
    for shown in (str(loaded), loaded._repr_html_(), page):
        assert line in shown


def test_a_judge_that_is_calibrated_afterwards_corrects_what_was_judged_before_and_nobody_is_asked_again(tmp_path):
    judge = judge_with(0.9, 0.8)
    cases = [Case(input={"q": str(i)}, id=str(i)) for i in range(40)]
    arms = pipelines(0.4, 0.7)
    before = evaluate(arms, cases, [judge], store=tmp_path / "e.db", progress=False)
    assert before.contrasts[0].corrected is None
    judge = judge.calibrated(judge.calibrate(labels(60, 60)))
    asked = sum(len(one.engine.requests) for one in arms.values())
    after = evaluate(arms, cases, [judge], store=tmp_path / "e.db", progress=False)
    assert after.contrasts[0].corrected is not None
    assert after.contrasts[0].comparison.difference == before.contrasts[0].comparison.difference
    assert sum(len(one.engine.requests) for one in arms.values()) == asked


def test_corrected_differences_of_experiments_cover_the_truth():
    covered, judged = 0, 0
    cases = [Case(input={"q": str(i)}, id=str(i)) for i in range(60)]
    for seed in range(12):
        judge = judge_with(0.8, 0.7, seed)
        judge = judge.calibrated(judge.calibrate(labels(50, 50)))
        (contrast,) = evaluate(pipelines(0.3, 0.8, seed), cases, [judge], progress=False).contrasts
        covered += contrast.corrected.low <= 0.5 <= contrast.corrected.high
        judged += contrast.comparison.low <= 0.5 <= contrast.comparison.high
    assert covered >= 10
    assert judged <= 8


def test_an_experiment_that_stopped_early_is_corrected_by_the_interval_that_allows_for_it():
    judge = judge_with(0.95, 0.9)
    judge = judge.calibrated(judge.calibrate(labels(100, 100)))
    cases = [Case(input={"q": str(i)}, id=str(i)) for i in range(400)]
    found = evaluate(pipelines(0.2, 0.9), cases, [judge], stop_when="significant", progress=False)
    assert found.ending.reason == "decided"
    (contrast,) = found.contrasts
    assert contrast.corrected.judged == contrast.comparison.difference
    assert contrast.corrected.low == pytest.approx(judge.calibration.comparison(contrast.comparison).low)
    # One whose labels leave no doubt is as wide as the comparison by itself.
    sure = labelled([1.0] * 10**5 + [0.0] * 10**5, [1.0] * 10**5 + [0.0] * 10**5)
    plain = corrected_comparison(contrast.comparison, sure)
    assert (plain.low, plain.high) == pytest.approx((contrast.comparison.low, contrast.comparison.high), abs=2e-3)


def test_a_pairwise_judge_and_a_panel_are_calibrated_too():
    rng = random.Random(2)
    given = [
        {"input": str(i), "base_answer": "poor" if i % 2 else "good", "new_answer": "good" if i % 2 else "poor"}
        | {"label": "new" if i % 2 else "base"}
        for i in range(60)
    ]

    def answer(request):
        text = request.messages[1].text
        first = "good" in text[text.index("<answer_a>") : text.index("</answer_a>")]
        return said("A" if first == (rng.random() < 0.9) else "B")

    judges = [PairwiseJudge(Scripted(answer), "Good is better.", name=name) for name in "ab"]
    for one in (judges[0], Panel(judges)):
        found = one.calibrate(given)
        assert found.table()[0] == ["people \\ judge", "base", "tie", "new"]
        assert found.bounds == (-1, 1)
        assert 0.6 < found.slope[0] < 1
        assert one.calibrated(found).calibration == found
    with pytest.raises(DatasetError, match="write 'base', 'new' or 'tie'"):
        judges[0].calibrate([given[0] | {"label": "A"}])


def test_ties_and_wins_of_one_side_are_no_passes_and_fails():
    rng = random.Random(5)
    given = [
        {"input": str(i), "base_answer": "good", "new_answer": "better" if i % 2 else "good"}
        | {"label": "new" if i % 2 else "tie"}
        for i in range(60)
    ]

    def answer(request):
        text = request.messages[1].text
        places = [place for place in "ab" if "better" in text.split(f"<answer_{place}>")[1].split("</")[0]]
        return said(places[0].upper() if places and rng.random() < 0.9 else "tie")

    judge = PairwiseJudge(Scripted(answer), "Better is better.", swap=False)
    found = judge.calibrate(given)
    assert {one.judged for one in found.pairs} == {0.0, 1.0}
    assert found.sensitivity is None
    lost = found.mean(dict.fromkeys(range(30), -0.5) | dict.fromkeys(range(30, 60), -1.0))
    assert lost.low <= lost.value < 0


def test_a_pairwise_experiment_is_corrected_too():
    def answer(request):
        text = request.messages[1].text
        good = ["good" in text.split(f"<answer_{place}>")[1].split("</")[0] for place in "ab"]
        return said("tie" if good[0] == good[1] or rng.random() < 0.3 else "A" if good[0] else "B")

    rng = random.Random(5)
    judge = PairwiseJudge(Scripted(answer), "Good is better.", name="preferred", swap=False)
    pairs = [("good", "poor", "base"), ("poor", "good", "new"), ("good", "good", "tie"), ("poor", "poor", "tie")]
    given = [
        {"input": str(i), "base_answer": base, "new_answer": new, "label": label}
        for i in range(30)
        for base, new, label in pairs
    ]
    judge = judge.calibrated(judge.calibrate(given))
    cases = [Case(input={"q": str(i)}, id=str(i)) for i in range(200)]
    found = evaluate(pipelines(0.3, 0.8), cases, [judge], progress=False)
    (contrast,) = found.contrasts
    assert contrast.corrected.judged == contrast.comparison.difference
    assert contrast.corrected.low < 0.5 < contrast.corrected.high
    assert contrast.corrected.value > contrast.comparison.difference
