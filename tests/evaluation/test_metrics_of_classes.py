"""Which class an answer names, and the confusion matrix of all of them."""

import re
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmops_sdk import Scripted
from llmops_sdk.errors import ConfigurationError, DatasetError, EvaluationError, MissingDependencyError
from llmops_sdk.evaluation import Case, Experiment, evaluate
from llmops_sdk.evaluation.metrics import BLEU, Classification, ConfusionMatrix, Exact, Score, summary_of

PAIRS = st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from(["a", "b", "c", "d", None])), min_size=1)


def of(metric, answer, expected):
    return metric(Case(input="?", expected=expected), ("?" | Scripted(answer)).run())


@pytest.mark.parametrize(
    ("answer", "label"),
    [
        ("spam", "spam"),
        (" SPAM.\n", "spam"),
        ("It is not  spam!", "not spam"),
        ("Label: spam, since it is spam", "spam"),
        ("spam or unsure", None),
        ("spammer", None),
        ("", None),
    ],
)
def test_a_class_is_found_where_one_alone_is_named(answer, label):
    assert Classification(["spam", "not spam", "unsure"]).label_of(answer) == label


def test_of_several_named_classes_the_first_or_the_last_may_count():
    answer = "Not yes, I say no"
    assert Classification(["yes", "no"], pick="first").label_of(answer) == "yes"
    assert Classification(["yes", "no"], pick="last").label_of(answer) == "no"


def test_other_words_stand_for_a_class():
    metric = Classification({"yes": ["true", "correct"], "no": ["false"]})
    score = of(metric, "That is correct.", "true")
    assert (score.value, score.label, score.details) == (1.0, "yes", {"expected": "yes"})
    assert of(metric, "false", True).value == 0.0


def test_an_answer_without_a_class_is_wrong_and_has_no_label():
    score = of(Classification(["yes", "no"]), "perhaps", "yes")
    assert (score.value, score.label, score.details) == (0.0, None, {"expected": "yes"})


def test_of_several_acceptable_classes_any_is_right_and_the_first_stands_for_them():
    metric = Classification(["a", "b", "c"])
    assert of(metric, "b", ["a", "b"]).details == {"expected": "b"}
    assert of(metric, "c", ["a", "b"]).details == {"expected": "a"}
    assert of(metric, "c", None) is None


def test_a_case_that_expects_no_class_is_wrong_data():
    with pytest.raises(DatasetError, match="'maybe', which is none of the classes 'yes', 'no'"):
        of(Classification(["yes", "no"]), "yes", "maybe")


@pytest.mark.parametrize(
    ("labels", "words"),
    [
        (["yes"], "at least two"),
        ("yes", "the names of the classes"),
        ({"yes": ["y"], "no": ["Y"]}, "stands for another class"),
        ({"yes": "y", "no": ()}, "a list of texts"),
        (["yes", ""], "is empty"),
    ],
)
def test_classes_that_cannot_be_told_apart_are_refused(labels, words):
    with pytest.raises(ConfigurationError, match=words):
        Classification(labels)


def test_the_report_is_that_of_the_page_of_scikit_learn():
    # Expected are 0, 1, 2, 2, 2, and named 0, 0, 2, 2, 1.
    matrix = ConfusionMatrix.of_pairs(zip("01222", "00221", strict=True))
    rounded = [(one.label, *(round(x, 2) for x in (one.precision, one.recall, one.f1)), one.support)
               for one in matrix.classes]  # fmt: skip
    assert rounded == [("0", 0.5, 1.0, 0.67, 1), ("1", 0.0, 0.0, 0.0, 1), ("2", 1.0, 0.67, 0.8, 3)]
    assert (matrix.accuracy, round(matrix.macro_f1, 2), round(matrix.weighted_f1, 2)) == (0.6, 0.49, 0.61)
    # The matrix of cats, ants and birds on the same page.
    matrix = ConfusionMatrix.of_pairs(
        zip(["cat", "ant", "cat", "cat", "ant", "bird"], ["ant", "ant", "cat", "cat", "ant", "cat"], strict=True)
    )
    assert [row[:3] for row in matrix.counts] == [(2, 0, 0), (0, 0, 1), (1, 0, 2)]


def test_kappa_is_that_of_the_page_of_scikit_learn():
    one = ["negative", "positive", "negative", "neutral", "positive"]
    other = ["negative", "positive", "negative", "neutral", "negative"]
    assert ConfusionMatrix.of_pairs(zip(one, other, strict=True)).kappa == pytest.approx(0.6875)


@given(PAIRS)
def test_the_numbers_are_those_of_their_definitions(pairs):
    matrix = ConfusionMatrix.of_pairs(pairs)
    assert matrix.cases == len(pairs)
    assert matrix.accuracy == pytest.approx(sum(a == b for a, b in pairs) / len(pairs))
    for one in matrix.classes:
        right = sum(a == b == one.label for a, b in pairs)
        named, support = (sum(pair[place] == one.label for pair in pairs) for place in (1, 0))
        assert one.support == support
        assert one.precision == (pytest.approx(right / named) if named else None)
        assert one.recall == (pytest.approx(right / support) if support else None)
        assert one.f1 == pytest.approx(2 * right / (named + support))
    if not any(label is None for _, label in pairs) and matrix.kappa is not None:
        assert matrix.kappa <= 1


def test_a_class_that_nothing_has_counts_in_no_mean():
    matrix = ConfusionMatrix.of_pairs([("a", "a"), ("b", "b")], labels=["c"])
    assert matrix.labels == ("c", "a", "b")
    assert (matrix.macro_f1, matrix.balanced_accuracy) == (1.0, 1.0)
    assert matrix.classes[0].f1 is None
    assert "-" in str(matrix)


def test_scores_give_the_matrix_and_those_that_do_not_apply_no_part_of_it():
    metric = Classification(["yes", "no"])
    scores = [of(metric, "yes", "yes"), of(metric, "no", "yes"), of(metric, "?", "no"), Score()]
    matrix = summary_of(metric.kind, scores)
    assert matrix.labels == ("no", "yes")
    assert matrix.counts == ((0, 0, 1), (1, 1, 0))
    assert summary_of(metric.kind, [Score()]) is None
    assert summary_of("", scores) is None


def test_tables_are_escaped_and_hold_the_counts():
    shown = ConfusionMatrix.of_pairs([("<b>", "<b>"), ("<b>", "x"), ("x", None)])._repr_html_()
    assert "<b>" not in shown
    assert shown.count("<table>") == 2
    assert "&lt;b&gt;" in shown
    assert "accuracy 0.333" in shown


def test_of_many_classes_the_table_by_class_is_shown_alone():
    pairs = [(f"class {number}", f"class {number}") for number in range(30)]
    assert "expected" not in str(ConfusionMatrix.of_pairs(pairs))
    assert "class 29" in str(ConfusionMatrix.of_pairs(pairs))


def test_a_matrix_of_nothing_is_an_error():
    with pytest.raises(EvaluationError, match="at least one case"):
        ConfusionMatrix.of_pairs([])


def test_an_experiment_says_what_all_scores_say_together_also_when_it_is_opened_again(tmp_path):
    said = {"0": "It is good.", "1": "bad", "2": "Hm.", "3": "good"}
    right = ("good", "bad", "bad", "bad")
    cases = [Case(input={"q": q}, expected=expected, id=q) for q, expected in zip(said, right, strict=True)]
    pipelines = {
        "base": "{{ q }}" | Scripted(lambda request: said[request.messages[-1].text]),
        "new": "{{ q }}" | Scripted("bad"),
    }
    mood, bleu = Classification(["good", "bad"]), BLEU()
    ran = evaluate(pipelines, cases, [mood, bleu, Exact()], store=tmp_path / "e.db", progress=False)
    for experiment in (ran, Experiment.load(tmp_path / "e.db")):
        matrix = experiment.summaries("classification")["base"]
        assert (matrix.labels, matrix.counts) == (("bad", "good"), ((1, 1, 1), (0, 1, 0)))
        results = pipelines["new"].map([case.input for case in cases])
        alone = [bleu(case, result) for case, result in zip(cases, results, strict=True)]
        assert experiment.summaries("bleu")["new"] == summary_of("bleu", alone)
        assert experiment.summaries("exact") == {}
        assert f"macro F1 {matrix.macro_f1:.3f}, kappa {matrix.kappa:.3f}" in str(experiment.scores("classification"))
        assert "corpus" in str(experiment.scores("bleu"))
        assert "together" not in str(experiment.scores("exact"))
        page = experiment.report(tmp_path / "report.html").read_text("utf-8")
        first = page.partition('<table class="confusion">')[2].partition("</figure>")[0]
        assert re.findall(r"<td[^>]*>(\d+)</td>", first) == ["1", "1", "1", "0", "1", "0"]
        assert "(none)" in first
        assert matrix.in_words() in first
        assert f"macro F1 {matrix.macro_f1:.3f}" in page


def test_the_file_of_an_experiment_is_read_without_the_libraries_of_its_metrics(tmp_path, monkeypatch):
    cases = [Case(input={"q": "1"}, expected="a dog", id="1")]
    evaluate({"base": "{{ q }}" | Scripted("a dog")}, cases, [BLEU()], store=tmp_path / "e.db", progress=False)
    monkeypatch.setitem(sys.modules, "sacrebleu.metrics", None)
    experiment = Experiment.load(tmp_path / "e.db")
    assert "100" in str(experiment)
    with pytest.raises(MissingDependencyError, match="sacrebleu"):
        experiment.summaries("bleu")
