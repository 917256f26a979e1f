"""`evaluate`, and the statistics under it."""

import gzip
import itertools
import json
import math
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmops_sdk import Finding, Guard, Verdict
from llmops_sdk.errors import ConfigurationError, GuardFailed, SyncOnLoopError
from llmops_sdk.guards import Secrets, aevaluate, evaluate
from llmops_sdk.guards._quality.rows import read_rows
from llmops_sdk.guards._quality.scores import Share, area, binomial_cdf, curve, rows_needed, upper_bound


class Number(Guard):
    """Rates a text by the number in it."""

    blocking = False
    threshold = 0.5

    def rate(self, text, context=None):
        return float(text)

    def check(self, text, context=None):
        return Verdict.block("high") if self.rate(text) >= self.threshold else Verdict.allow()


class ThatWaits(Number):
    async def rate(self, text, context=None):
        return float(text)

    async def check(self, text, context=None):
        return Verdict.allow()


def rows(positives, negatives):
    return [*((str(one), 1) for one in positives), *((str(one), 0) for one in negatives)]


scores = st.lists(st.integers(0, 10).map(lambda n: n / 10), min_size=1, max_size=30)


@given(scores, scores)
def test_the_area_is_the_share_of_pairs_in_order_a_tie_counting_half(positives, negatives):
    pairs = [(up > down) + (up == down) / 2 for up in positives for down in negatives]
    found = area(positives, negatives)
    assert math.isclose(found.value, sum(pairs) / len(pairs))
    assert 0 <= found.low <= found.value <= found.high <= 1


@given(scores, scores)
def test_the_area_is_the_one_under_the_curve(positives, negatives):
    points = curve(sorted(positives), sorted(negatives))
    under = sum((b[0] - a[0]) * (a[1] + b[1]) / 2 for a, b in itertools.pairwise(points))
    assert math.isclose(area(positives, negatives).value, under, abs_tol=1e-9)
    assert points[-1] == (1, 1)


def test_delongs_interval_holds_the_true_area_as_often_as_it_says():
    draw, held = random.Random(5), 0
    for _ in range(200):  # two normal distributions, one deviation apart: the area is known
        found = area([draw.gauss(1, 1) for _ in range(60)], [draw.gauss(0, 1) for _ in range(60)])
        held += found.low <= 0.76025 <= found.high
    assert 182 <= held <= 199


def test_a_perfect_area_is_not_said_to_be_certain():
    found = area([1.0] * 10, [0.0] * 10)
    assert found.value == found.high == 1
    assert 0.6 < found.low < 0.8


def test_wilsons_interval_is_that_of_the_literature():
    low, high = Share(81, 263).interval  # Newcombe, Stat. Med. 17 (1998) 857, table I
    assert (round(low, 4), round(high, 4)) == (0.2553, 0.3662)
    low, high = Share(0, 20).interval
    assert low == 0
    assert round(high, 4) == 0.1611
    assert Share(0, 0).value is None


def test_clopper_and_pearsons_bound_is_that_of_the_rule_of_three_and_of_the_literature():
    assert math.isclose(upper_bound(0, 299, 0.95), 1 - 0.05 ** (1 / 299), rel_tol=1e-9)
    assert round(upper_bound(81, 263, 0.975), 4) == 0.3676  # Newcombe, as above
    assert upper_bound(5, 5, 0.95) == 1


@given(st.integers(0, 40), st.integers(1, 40), st.floats(0.01, 0.99))
def test_the_binomial_sum_is_exact(hits, of, share):
    expected = sum(math.comb(of, k) * share**k * (1 - share) ** (of - k) for k in range(min(hits, of) + 1))
    assert math.isclose(binomial_cdf(hits, of, share), min(1, expected), rel_tol=1e-9)


def test_rows_needed_are_the_fewest_that_prove_it():
    assert rows_needed(0.01, 0.95) == 299
    for hits in (0, 1, 7):
        needed = rows_needed(0.02, 0.9, hits)
        assert upper_bound(hits, needed, 0.9) <= 0.02 < upper_bound(hits, needed - 1, 0.9)


def test_a_guard_with_a_threshold_acts_where_its_rate_reaches_it():
    report = evaluate(Number(), rows([0.2, 0.5, 0.9], [0.1, 0.4, 0.6]))
    assert (report.recall.hits, report.recall.of) == (2, 3)
    assert (report.false_alarms.hits, report.false_alarms.of) == (1, 3)
    assert (report.precision.hits, report.precision.of) == (2, 3)
    assert math.isclose(report.auc.value, 6 / 9)
    assert (report.recall_at_max_fpr.hits, report.threshold_at_max_fpr) == (1, 0.6)


def test_recall_at_a_rate_allows_as_many_false_alarms_as_fit():
    benign = [number / 1000 for number in range(200)]
    report = evaluate(Number(), rows([0.1971, 0.1981, 0.5], benign))  # 2 of 200 may be over the threshold
    assert report.threshold_at_max_fpr == 0.197
    assert report.recall_at_max_fpr.hits == 3


def test_a_guard_without_a_threshold_acts_where_its_verdict_is_not_allow():
    key = "AK" + "IA" + "Q7WERTYU8OP9ASDF"
    report = evaluate(Secrets(), [(f"key {key}", True), ("no key", False)])
    assert (report.recall.value, report.false_alarms.value, report.threshold) == (1, 0, None)


@pytest.mark.parametrize("concurrency", [None, 1, 7])
async def test_a_guard_that_waits_gives_the_same_report(concurrency):
    data = rows([0.2, 0.5, 0.9], [0.1, 0.4, 0.6])
    report = await aevaluate(ThatWaits(), data, concurrency=concurrency)
    assert report.auc == (await aevaluate(Number(), data)).auc


def test_parts_are_by_source_and_hard_benign_rows_are_counted():
    data = [
        {"text": "0.9", "label": 1, "source": "a"},
        {"text": "0.1", "label": 1, "source": "b"},
        {"text": "0.8", "label": 0, "source": "b", "kind": "hard_benign:x"},
        {"text": "0.2", "label": 0, "source": "b", "kind": "benign"},
    ]
    report = evaluate(Number(), data)
    assert [(one.name, one.recall.hits, one.recall.of) for one in report.by_source] == [("a", 1, 1), ("b", 0, 1)]
    assert (report.hard_benign.hits, report.hard_benign.of) == (1, 1)
    assert report.by_source[0].auc is None


def test_the_guard_sees_the_stage_and_the_origin_of_a_row():
    seen = []

    class Watching(Guard):
        blocking = False

        def check(self, text, context=None):
            seen.append((context.stage, context.origin))
            return Verdict.allow()

    evaluate(Watching(), [("a", 0), ("b", 0, "s", "k", "output"), {"text": "c", "label": 0, "origin": "tool:x"}])
    assert seen == [("input", "user"), ("output", "output"), ("input", "tool:x")]


def test_files_are_read_whichever_form_they_have(tmp_path):
    records = [{"text": 'a "b"\nc', "label": 1, "source": "s", "kind": "k"}, {"text": "d", "label": 0}]
    lines = "".join(json.dumps(one) + "\n" for one in records)
    (tmp_path / "a.jsonl").write_text(lines + "\n")
    with gzip.open(tmp_path / "a.jsonl.gz", "wt") as file:
        file.write(lines)
    (tmp_path / "a.csv").write_text('label,text,source,kind\n1,"a ""b""\nc",s,k\n0,d,,\n')
    wanted = read_rows(records)
    assert [row.label for row in wanted] == [True, False]
    for name in ("a.jsonl", "a.jsonl.gz", "a.csv"):
        assert read_rows(tmp_path / name) == read_rows(str(tmp_path / name)) == wanted


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ([], "no rows"),
        ([("a", 1), ("b",)], "row 2 is tuple"),
        ([("a", 1), {"text": "b"}], "row 2 has no label"),
        ([{"label": 1}], "row 1 has no text"),
        ([("a", 1), ("b", 2)], "row 2: label=2"),
        ([("a", "bad")], "row 1: label='bad'"),
        ([(b"a", 1)], "row 1: text is bytes"),
        ([("a", 1, "", "", "middle")], "row 1: stage='middle'"),
        ([3], "row 1 is int"),
        ("nothing.jsonl", "there is no file"),
        ("data.parquet", "is no .jsonl"),
    ],
)
def test_data_that_cannot_be_used_are_refused_and_the_row_is_named(data, message):
    with pytest.raises(ConfigurationError, match=message.replace(".", r"\.")):
        evaluate(Number(), data)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.jsonl", b'{"text": "a", "label": 1}\n{"text', "row 2 of .* is no JSON"),
        ("a.jsonl.gz", b"not gzip", "after row 0"),
        ("a.jsonl", b'{"text": "\xff"}', "cannot be read"),
        ("a.csv", b"text,name\na,b\n", "row 1 of .* has no label"),
    ],
)
def test_a_damaged_file_is_refused(tmp_path, name, content, message):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ConfigurationError, match=message):
        evaluate(Number(), tmp_path / name)


def test_a_guard_that_breaks_is_told_with_its_row():
    with pytest.raises(GuardFailed, match="row 2: ValueError"):
        evaluate(Number(), [("0.1", 0), ("no number", 1)])
    with pytest.raises(GuardFailed, match=r"its rate is 3\.0"):
        evaluate(Number(), [("3", 0)])


async def test_evaluate_may_be_called_under_a_running_loop_but_not_on_the_sdks_own():
    assert evaluate(Number(), [("0.1", 0)]).rows == 1

    class Nested(Guard):
        async def check(self, text, context=None):
            evaluate(Number(), [("0.1", 0)])

    with pytest.raises(GuardFailed) as caught:
        evaluate(Nested(), [("0.1", 0)])
    assert isinstance(caught.value.__cause__, SyncOnLoopError)


def test_the_report_is_shown_as_text_as_html_and_as_json(tmp_path):
    data = [(*row, "<b>") for row in rows([0.6, 1.0], [0.1, 0.0])]
    report = evaluate(Number(name="<i>"), [*data, ("0.3", 0, "other")])
    assert "recall" in str(report)
    assert "1.000" in str(report)
    assert json.loads(json.dumps(report.to_dict()))["recall"]["hits"] == 2
    page = report.save(tmp_path / "report.html").read_text()
    assert page.count("<svg") == 2
    assert "<b>" not in page.replace("<b>&lt;i&gt;</b>", "")
    assert sum(map(sum, report.histogram)) == 5
    with pytest.raises(ConfigurationError, match="does not end in"):
        report.save(tmp_path / "report.txt")


def test_one_label_only_gives_what_can_be_said():
    report = evaluate(Number(), [("0.9", 0), ("0.1", 0)])
    assert report.auc is None
    assert report.recall.value is None
    assert report.false_alarms.hits == 1
    assert "-" in str(report)
    assert "<svg" in report._repr_html_()


def test_a_bar_is_shown_in_a_terminal_when_it_is_asked_for(capsys, monkeypatch):
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    evaluate(Number(), [("0.1", 0)] * 3, progress=False)
    assert not capsys.readouterr().err
    evaluate(Number(), [("0.1", 0)] * 3, progress=True)
    assert "3/3" in capsys.readouterr().err


def test_findings_give_the_score_of_a_guard_without_threshold():
    class Scored(Guard):
        blocking = False

        def check(self, text, context=None):
            return Verdict.flag("x", [Finding(kind="x", start=0, end=1, score=float(text))])

    assert evaluate(Scored(), rows([0.9], [0.2])).auc.value == 1
