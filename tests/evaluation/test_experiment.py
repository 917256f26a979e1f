"""An experiment: verdicts in words, tables, cells, failures, costs, frames; nothing left out without a word."""

from __future__ import annotations

import importlib
import io
import math
import re
import subprocess
import sys
from decimal import Decimal

import numpy as np
import pytest
from rich.console import Console

from llmops_sdk import Pipeline, Prompt, Scripted, guards
from llmops_sdk.costs import PriceTable
from llmops_sdk.errors import ConfigurationError, EvaluationError, MissingDependencyError
from llmops_sdk.evaluation import Analysis, Case, Experiment, Judge, evaluate, experiments_in, metric, metrics
from llmops_sdk.evaluation._experiment.contrasts import Contrast
from llmops_sdk.evaluation._experiment.words import difference, level, spent
from llmops_sdk.evaluation.statistics import compare, mean
from llmops_sdk.messages import Usage

PRICES = PriceTable({"priced": {"input": "1", "output": "1"}})


def number(request):
    return int(re.search(r"\d+", request.messages[-1].text).group())


def right(request):
    if number(request) == 13:
        raise RuntimeError("boom")
    return str(number(request)) if number(request) % 5 else "no idea"


def wrong(request):
    return str(number(request)) if number(request) % 3 == 0 else "no idea"


def words(case, result):
    if case.expected == "7":
        raise ValueError("seven is too much")
    return len(result.text.split())


@metric(bounds=(0, 1))
def brief(case, result):
    return None if case.expected.startswith("4") else len(result.text) < 3


class Longer(metrics.Metric):
    name, bounds, pairwise, version = "longer", (-1, 1), True, "1"

    def __call__(self, case, base, new):
        return float(np.sign(len(new.text) - len(base.text)))


def cases(count=40, **more):
    return [
        Case(
            input={"q": f"what is {one}?"},
            expected=str(one),
            id=f"case-{one}",
            tags=("even",) if one % 2 == 0 else ("odd",),
            cluster=f"page {one // 4}" if one < 12 else None,
            **more,
        )
        for one in range(count)
    ]


def asked(answer):
    return "{{ q }}" | Scripted(answer)


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    return tmp_path_factory.mktemp("experiment") / "experiments.db"


@pytest.fixture(scope="module")
def experiment(store):
    pipelines = {"base": asked(wrong), "new": asked(right), "stoic": asked("7")}
    given = [metrics.Exact(), words, brief, Longer()]
    return evaluate(pipelines, cases(), given, repeats=2, store=store, name="digits", progress=False)


def test_the_verdict_comes_first_in_words_and_says_what_took_no_part(experiment):
    first, *_ = str(experiment).split("\n")

    assert first.startswith("new is better than base by exact: +")
    assert " points (95 % interval +" in first
    assert " corrected for 8 comparisons, " in first
    assert "39 cases in 30 clusters); 2 of 160 cells failed; 1 case without a pair left out" in first
    assert "new: 2 of 80 runs failed" in str(experiment).split("\n")


def test_a_contrast_counts_failed_runs_failed_metrics_and_what_does_not_apply_apart(experiment):
    assert [one.score for one in experiment.contrasts[::2]] == ["exact", "words", "brief", "longer"]

    said = experiment.contrast("words", "new")
    assert (said.cells, said.failed, said.inapplicable, said.missing) == (160, 2 + 4, 0, 0)
    said = experiment.contrast("brief", "new")
    assert (said.failed, said.inapplicable) == (2, 4)


def test_a_metric_that_compares_two_answers_is_compared_with_zero(experiment):
    said = experiment.contrast("longer", "new")

    assert (said.cells, said.failed, said.missing) == (80, 2, 0)
    assert said.comparison.base == 0
    by_hand = [np.sign(len(b) - len(a)) for a, b in ((wrong_of(one), right_of(one)) for one in range(40) if one != 13)]
    assert said.comparison.new == pytest.approx(np.mean(by_hand))


def wrong_of(one):
    return str(one) if one % 3 == 0 else "no idea"


def right_of(one):
    return str(one) if one % 5 else "no idea"


def test_the_comparison_is_that_of_the_statistics(experiment):
    base = {one: [float(one % 3 == 0)] * 2 for one in range(40) if one != 13}
    new = {one: [float(one % 5 > 0)] * 2 for one in range(40) if one != 13}
    clusters = {one: one // 4 for one in range(12)}

    found = experiment.contrast("exact", "new").comparison
    alone = compare(base, new, clusters=clusters)

    assert (found.difference, found.low, found.high) == (alone.difference, alone.low, alone.high)
    assert found.p_value > alone.p_value  # corrected for eight comparisons


def test_a_contrast_needs_to_know_which_pipeline_and_says_which_there_are(experiment):
    with pytest.raises(EvaluationError, match="there is 'new', 'stoic'"):
        experiment.contrast("exact")
    with pytest.raises(EvaluationError, match="no score 'exakt'; there is 'exact', 'words', 'brief', 'longer'"):
        experiment.contrast("exakt")


@pytest.mark.parametrize(
    ("base", "new", "options", "said"),
    [
        ([0] * 40, [1] * 30 + [0] * 10, {}, r"^new is better than base by s: \+75\.0 points \(95 % interval \+"),
        ([1] * 40, [0] * 30 + [1] * 10, {}, r"^new is worse than base by s: -75\.0 points \("),
        (
            [0, 1] * 400, [0, 1] * 398 + [1, 0] * 2, {"margin": 0.05},
            r"^new is equivalent to base by s, within 5\.0 points",
        ),
        ([0, 1] * 20, [0, 1] * 17 + [1, 1] * 3, {}, r"^cannot tell new from base by s: .*; needs about \d+ more"),
        ([0, 1] * 20, [0, 1] * 20, {}, r"^cannot tell new from base by s: .*; nothing differs$"),
    ],
)  # fmt: skip
def test_each_verdict_is_a_sentence(base, new, options, said):
    found = compare(dict(enumerate(map(float, base))), dict(enumerate(map(float, new))), **options)

    assert re.search(said, str(contrast(found)))


def contrast(comparison, **more):
    counts = {"cells": 80, "failed": 0, "inapplicable": 0, "missing": 0} | more
    return Contrast(score="s", base="base", new="new", comparison=comparison, unit="", bounds=(0.0, 1.0), **counts)


def test_without_a_pair_the_sentence_says_so_with_the_counts():
    said = str(contrast(None, failed=3, missing=2, inapplicable=75))

    assert said == (
        "new cannot be compared with base by s; no case has both scores; 3 of 80 cells failed; 2 of 80 cells missing; "
        "does not apply to 75 of 80 cells"
    )


def test_the_table_of_a_score_has_a_row_for_each_pipeline_and_its_counts(experiment):
    table = experiment.scores("words")

    assert [one.arm for one in table] == ["base", "new", "stoic"]
    assert [(one.cases, one.scores, one.failed) for one in table] == [(39, 78, 2), (38, 76, 4), (39, 78, 2)]
    assert str(table).split("\n")[1].split() == [
        "pipeline",
        "mean",
        "95",
        "%",
        "interval",
        "cases",
        "failed",
        "not",
        "applicable",
        "missing",
    ]
    assert "<caption>words</caption>" in table._repr_html_()
    assert experiment.scores("longer")[0].arm == "new"  # there is no base to compare with itself


def test_tables_by_tag_and_by_cluster(experiment):
    by_tag = {(one.group, one.arm): one for one in experiment.scores("exact", by="tag")}
    by_cluster = {(one.group, one.arm): one for one in experiment.scores("exact", by="cluster")}

    assert by_tag["even", "base"].mean == pytest.approx(np.mean([one % 3 == 0 for one in range(0, 40, 2)]))
    assert by_tag["odd", "new"].cases == 19
    assert (by_tag["odd", "new"].failed, by_tag["even", "new"].failed) == (2, 0)
    by_tag = {(one.group, one.arm): one for one in experiment.scores("words", by="tag")}
    assert (by_tag["odd", "new"].failed, by_tag["odd", "base"].failed, by_tag["even", "base"].failed) == (4, 2, 0)
    by_tag = {(one.group, one.arm): one for one in experiment.scores("brief", by="tag")}
    assert (by_tag["even", "base"].inapplicable, by_tag["odd", "base"].inapplicable) == (2, 0)
    assert {one.missing for one in by_tag.values()} == {0}
    assert {group for group, _ in by_cluster} == {"page 0", "page 1", "page 2"}
    assert by_cluster["page 1", "new"].mean == 0.75
    with pytest.raises(ConfigurationError, match='"tag", "cluster" or None'):
        experiment.scores("exact", by="colour")


def test_failures_have_their_errors_and_tracebacks(experiment):
    found = list(experiment.failures)

    assert [(one.case, one.arm, one.repeat) for one in found[:2]] == [("case-13", "new", 0), ("case-13", "new", 1)]
    assert "RuntimeError: boom" in found[0].error
    assert {(one.case, one.metric) for one in found[2:]} == {("case-7", "words")}
    assert 'raise ValueError("seven is too much")' in found[2].error


def test_cells_hold_answers_scores_and_records(experiment):
    found = list(experiment.cells())

    assert len(found) == 40 * 3 * 2
    assert [(one.case, one.repeat, one.arm) for one in found[:3]] == [
        ("case-0", 0, "base"), ("case-0", 0, "new"), ("case-0", 0, "stoic"),
    ]  # fmt: skip
    assert found[1].text == "no idea"
    assert {one.name: one.score.value for one in found[1].scores} == {"exact": 0, "words": 2, "brief": 0, "longer": 1}
    assert found[1].record["attempts"][0]["engine"] == "scripted"


def test_a_case_has_the_answers_of_all_pipelines(experiment):
    found = experiment.case("case-13")

    assert found.case.input == {"q": "what is 13?"}
    assert [one.text for one in found.cells["base"]] == ["no idea", "no idea"]
    assert "boom" in found.cells["new"][0].error
    with pytest.raises(EvaluationError, match="'digits' has no case 'case-99'"):
        experiment.case("case-99")


def test_an_experiment_is_opened_again_by_name_by_id_or_the_latest(experiment, store):
    for which in (None, "digits", experiment.id):
        again = Experiment.load(store, which)
        assert str(again) == str(experiment)
    assert [(one.name, one.cases, one.cells, one.arms) for one in experiments_in(store)] == [
        ("digits", 40, 240, ("base", "new", "stoic"))
    ]


def test_what_is_not_there_is_said_with_what_is(store, experiment, tmp_path):
    with pytest.raises(EvaluationError, match="has no experiment 'letters'; there is: 'digits'"):
        Experiment.load(store, "letters")
    with pytest.raises(EvaluationError, match=r"there is no file .*missing\.db"):
        Experiment.load(tmp_path / "missing.db")
    with pytest.raises(EvaluationError, match="there is no file"):
        experiments_in(tmp_path / "missing.db")
    assert not (tmp_path / "missing.db").exists()


def test_the_analysis_is_kept_and_may_be_another_when_it_is_opened(tmp_path):
    path = tmp_path / "x.db"
    evaluate({"a": asked("1"), "b": asked("1")}, cases(30), [metrics.Exact()], store=path, margins={"exact": 0.2},
             progress=False)  # fmt: skip

    assert Experiment.load(path).contrast("exact").comparison.margin == 0.2
    assert Experiment.load(path, analysis=Analysis(level=0.9)).contrast("exact").comparison.level == 0.9


def test_what_runs_cost_is_summed_exactly_and_unknown_where_one_is_not_known():
    def priced(model):
        engine = Scripted("7", model=model, usage=Usage(input_tokens=100, output_tokens=3))
        return Pipeline(Prompt.from_string("{{ q }}"), engine, prices=PRICES)

    def judged(case, result):
        return metrics.Score(value=1.0, cost_usd=Decimal("0.01"))

    def unknown(case, result):
        return metrics.Score(value=1.0, cost_usd=None)

    known = evaluate({"a": priced("priced"), "b": priced("priced")}, cases(10), [judged], progress=False)
    mixed = evaluate({"a": priced("priced"), "b": priced("other")}, cases(10), [judged, unknown], progress=False)

    assert known.cost_usd == 20 * Decimal(103) / 10**6
    assert known.judging_cost_usd == Decimal("0.20")
    assert (mixed.cost_usd, mixed.judging_cost_usd) == (None, None)
    assert [(one.known_usd, one.unpriced) for one in mixed.arms] == [(Decimal("0.00103"), 0), (0, 10)]


def test_the_frame_is_tidy_and_knows_failed_from_missing(experiment):
    frame = experiment.to_pandas()

    # Three scores for each cell, a fourth for those that are not the base's; two runs failed: one row without a score.
    assert len(frame) == 240 * 3 + 160 - 2 * 4 + 2
    exact = frame[frame.score == "exact"]
    assert exact.groupby("arm", observed=True).value.mean()["base"] == pytest.approx(14 / 40)
    failed = frame[(frame.case == "case-13") & (frame.arm == "new")]
    assert list(failed.state) == ["failed", "failed"]
    assert failed.value.isna().all()
    assert set(frame[frame.case == "case-4"].query("score == 'brief'").state) == {"not applicable"}
    assert str(frame.cost_usd.dtype) == "float64"


def test_without_pandas_the_extra_is_named(experiment, monkeypatch):
    monkeypatch.setitem(sys.modules, "pandas", None)

    with pytest.raises(MissingDependencyError, match=r"llmops-sdk\[pandas\]"):
        experiment.to_pandas()


def test_terminals_and_notebooks_show_verdicts_before_the_table(experiment):
    console = Console(file=io.StringIO(), width=160)
    console.print(experiment)
    shown = console.file.getvalue()

    assert shown.startswith("▲ new is better than base by exact")
    assert shown.index("is better") < shown.index("digits: 3 pipelines on 40 cases of data, 2 times each")
    html = experiment._repr_html_()
    assert html.index("new is better than base") < html.index("<table>")
    assert len(html) < 10_000


def test_labels_cannot_become_markup():
    evil = "<img src=x onerror=alert(1)>[bold]"
    shown = evaluate({"base": asked("1"), evil: asked("2")}, cases(3), [metrics.Exact()], progress=False)
    console = Console(file=io.StringIO(), width=300)
    console.print(shown)

    assert "<img" not in shown._repr_html_()
    assert evil in console.file.getvalue()


def test_one_pipeline_is_shown_by_its_scores():
    alone = evaluate({"only": asked("3")}, cases(10), [metrics.Exact()], progress=False)

    assert alone.contrasts == ()
    assert str(alone).split("\n")[2].split()[:3] == ["only", "10.0", "%"]


def test_without_a_metric_it_says_so_beside_what_the_runs_took():
    found = evaluate({"a": asked("7"), "b": asked("7")}, cases(4), [], progress=False)

    assert str(found).startswith("experiment: 2 pipelines on 4 cases")
    assert str(found).endswith("no metric was given, so nothing is compared")


def test_runs_that_a_guard_blocked_are_counted():
    mails = "Write to ada" + "@" + "example.org"
    guarded = "{{ q }}" | Scripted(mails, "7") | guards.PII(action="block")
    found = evaluate({"a": guarded}, cases(4), [metrics.Exact()], concurrency=1, progress=False)

    assert [(one.cells, one.failed, one.blocked) for one in found.arms] == [(4, 0, 2)]
    assert "blocked" in str(found._repr_html_())


def test_a_metric_that_scores_runs_that_failed_has_all_scores_also_when_it_is_added_later(tmp_path):
    for given in ([metrics.Exact()], [metrics.Exact(), metrics.Succeeded()]):
        found = evaluate({"a": asked(right)}, cases(20), given, store=tmp_path / "e.db", retry_failed=False,
                         progress=False)  # fmt: skip

    (said,) = found.scores("succeeded")
    assert (said.scores, said.failed, said.mean) == (20, 0, 0.95)
    (said,) = found.scores("exact")
    assert (said.scores, said.failed) == (19, 1)


def test_what_a_judge_without_a_grade_cost_is_part_of_what_judging_cost():
    engine = Scripted("I cannot say", model="priced", usage=Usage(input_tokens=100, output_tokens=10))
    judge = Judge(engine, "It is right.", prices=PRICES)
    found = evaluate({"a": asked("7")}, cases(1), [judge], progress=False)

    assert found.scores("judge")[0].failed == 1
    assert found.judging_cost_usd == 2 * Decimal("0.00011")  # it was asked twice


def test_a_sequential_experiment_says_when_it_stopped_and_counts_only_what_took_part(tmp_path):
    pipelines = {"base": asked(lambda request: "?" if number(request) % 3 else str(number(request))),
                 "new": asked(lambda request: str(number(request)))}  # fmt: skip
    found = evaluate(pipelines, cases(400), [metrics.Exact()], stop_when="significant", progress=False)

    said, observed = found.contrast("exact"), found.ending.observed
    assert said.comparison.verdict == "better"
    assert (said.comparison.cases, said.cells, said.missing) == (observed, 2 * observed, 0)
    assert 0 < observed < 400
    assert f"it stopped when it was clear: after {observed} of 400 cases" in found.warnings
    by_tag = found.scores("exact", by="tag")
    assert sum(one.cases for one in by_tag) == 2 * observed
    assert {one.missing for one in by_tag} == {0}
    assert "valid whenever it stopped" in found.report(tmp_path / "out.html").read_text("utf-8")


def test_a_calibrated_judge_shows_what_people_would_say_in_verdicts_and_tables(tmp_path):
    def strict(request):
        asked = "\n".join(message.text for message in request.messages)
        said = number_of(asked.split("<answer>")[1])
        return f'{{"reason": "-", "grade": "{"pass" if said % 10 < 8 else "fail"}"}}'

    def number_of(text):
        return int(re.search(r"\d+", text).group())

    judge = Judge(Scripted(strict), "It is right.", scale="pass/fail", name="right")
    labels = [{"input": "?", "answer": str(one), "label": one % 10 < 7} for one in range(100)]
    judge = judge.calibrated(judge.calibrate(labels))
    found = evaluate({"base": asked("9"), "new": asked(lambda request: str(number(request)))}, cases(), [judge],
                     progress=False)  # fmt: skip

    assert "; as people would judge: +" in str(found.contrast("right"))
    table = found.scores("right")
    assert table[1].corrected.value < table[1].mean
    assert "as people would judge" in str(table)
    assert "people: " in found.report(tmp_path / "out.html").read_text("utf-8")


def test_a_metric_that_always_fails_does_not_vanish():
    def broken(case, result):
        raise KeyError("x")

    found = evaluate({"a": asked("3"), "b": asked("4")}, cases(10), [broken], progress=False)

    assert str(found).startswith(
        "b cannot be compared with a by broken; no case has both scores; 20 of 20 cells failed"
    )


def test_scores_of_one_metric_by_several_names_share_its_failures():
    def both(case, result):
        if case.expected == "3":
            raise ValueError("x")
        return {"long": len(result.text), "short": -len(result.text)}

    found = evaluate({"a": asked("3"), "b": asked("44")}, cases(10), [both], progress=False)

    assert found.score_names == ("both.long", "both.short")
    assert [one.failed for one in found.contrasts] == [2, 2]


@pytest.mark.parametrize(
    ("value", "bounds", "unit", "said"),
    [
        (0.825, (0, 1), "", "82.5 %"),
        (1.25, (0, math.inf), "s", "1.25 s"),
        (0.00012, (0, math.inf), "USD", "$0.00012"),
        (1.04e-6, (0, math.inf), "USD", "$0.00000104"),
        (0.0033217, (0, math.inf), "s", "3.322 ms"),
        (1234.5678, (0, math.inf), "s", "1,235 s"),
        (123456.7, (0, math.inf), "tokens", "123,457 tokens"),
        (math.nan, (0, 1), "", "-"),
    ],
)
def test_scores_are_said_in_their_unit(value, bounds, unit, said):
    assert level(value, bounds, unit) == said


def test_differences_are_said_with_their_sign_and_unknown_costs_as_such():
    assert difference(0.12, (0, 1), "") == "+12.0 points"
    assert difference(-math.inf, (0, 1), "") == "-∞"
    assert difference(-1e-6, (0, math.inf), "USD", bare=True) == "-$0.000001"
    assert difference(0.00241, (0, math.inf), "s", bare=True) == "+2.41 ms"
    assert difference(-21735.2, (0, math.inf), "tokens") == "-21,735 tokens"
    assert spent(Decimal(0), 3, 4) == "unknown (3 of 4)"


def test_the_interval_of_a_mean_agrees_with_the_textbook():
    stats = importlib.import_module("scipy.stats")
    values = [0.1, 0.4, 0.35, 0.8, 0.6, 0.2]

    found = mean(values, range(6))
    low, high = stats.t.interval(0.95, 5, loc=np.mean(values), scale=stats.sem(values))

    assert (found.low, found.high) == (pytest.approx(low), pytest.approx(high))
    assert mean([1.0] * 8 + [0.0] * 2, range(10)).low == pytest.approx(
        stats.binomtest(8, 10).proportion_ci(method="wilson").low
    )
    assert mean([0.5] * 6, range(6), clusters=[0] * 6, bounds=(0, 1)).high == 1  # one cluster says nothing of others


def test_an_experiment_that_is_imported_loads_no_pandas_and_no_numpy():
    code = "import sys; from llmops_sdk.evaluation import Experiment;"
    code += "print({'pandas', 'numpy', 'rich'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert done.stdout.strip() == "set()"
