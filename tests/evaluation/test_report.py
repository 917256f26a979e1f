"""The report: one file that loads nothing, holds all that matters, and lets no text out of its place."""

from __future__ import annotations

import base64
import hashlib
import json
import re
import xml.etree.ElementTree as ET
from html.parser import HTMLParser

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llmops_sdk import Pipeline, Prompt, Scripted
from llmops_sdk.costs import PriceTable
from llmops_sdk.errors import ConfigurationError
from llmops_sdk.evaluation import Case, evaluate, metric, metrics
from llmops_sdk.evaluation._report import browsing
from llmops_sdk.evaluation._report.charts import Point, _front
from llmops_sdk.evaluation._report.texts import cut, escape, script_json, visible
from llmops_sdk.messages import Usage

EVIL = "</script><script>alert(1)</script><img src=x onerror=alert(2)>\u2028\u202eabc\x00\x1b[31m\ud800]]>-->"
PRICES = PriceTable({"small": {"input": "1", "output": "1"}, "large": {"input": "9", "output": "9"}})


def pipeline(answer, model="small"):
    engine = Scripted(answer, model=model, usage=Usage(input_tokens=100, output_tokens=10))
    return Pipeline(Prompt.from_string("{{ q }}"), engine, prices=PRICES)


def cases(count, text="what is"):
    return [Case(input={"q": f"{text} {one}?"}, expected=str(one), id=f"case-{one}", tags=("even",) * (one % 2 == 0))
            for one in range(count)]  # fmt: skip


def counted(request):
    one = int(re.findall(r"\d+", request.messages[-1].text)[-1])
    if one == 13:
        raise RuntimeError("boom")
    return str(one) if one % 5 else "no idea"


@metric(bounds=(0, 1))
def parity(case, result):
    said = result.text[-1:]
    label = "none" if not said.isdigit() else "even" if int(said) % 2 == 0 else "odd"
    expected = "even" if int(case.expected) % 2 == 0 else "odd"
    return metrics.Score(value=float(label == expected), label=label, details={"expected": expected})


def length(case, result):
    return len(result.text)


@pytest.fixture(scope="module")
def experiment():
    pipelines = {"base": pipeline("7"), "new": pipeline(counted), "large": pipeline(counted, "large")}
    return evaluate(pipelines, cases(30), [metrics.Exact(), parity, length], repeats=2, name="digits",
                    margins={"exact": 0.05}, progress=False)  # fmt: skip


@pytest.fixture(scope="module")
def page(experiment, tmp_path_factory):
    return Page(experiment.report(tmp_path_factory.mktemp("report") / "out.html").read_text("utf-8"))


class Page(HTMLParser):
    """Which elements there are, what they load, and what is said outside of scripts."""

    def __init__(self, source):
        super().__init__()
        self.source, self.tags, self.loaded, self.inside, self.handlers = source, [], [], [], []
        self.texts = {"script": [], "style": [], "": []}
        self.ids, self.labelled = set(), set()
        self.feed(source)

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.inside.append(tag)
        for name, value in attrs:
            if name in {"src", "href", "action", "xlink:href", "poster", "srcset", "data"} and not value.startswith(
                "#"
            ):
                self.loaded.append(value)
            if name.startswith("on") or name == "style":
                self.handlers.append((tag, name))
            if name == "id":
                self.ids.add(value)
            if name == "aria-labelledby":
                self.labelled.add(value)

    def handle_endtag(self, tag):
        while self.inside and self.inside.pop() != tag:
            pass

    def handle_data(self, data):
        tag = self.inside[-1] if self.inside and self.inside[-1] in self.texts else ""
        self.texts[tag].append(data)

    @property
    def said(self):
        return "".join(self.texts[""])

    @property
    def data(self):
        return json.loads(self.texts["script"][0])


def test_it_loads_nothing_and_only_its_own_script_and_style_may_run(page):
    assert page.loaded == []
    assert page.handlers == []
    assert [page.tags.count(one) for one in ("script", "style", "link", "iframe", "img", "object")] == [
        2,
        1,
        0,
        0,
        0,
        0,
    ]
    policy = re.search(r'Content-Security-Policy" content="([^"]+)"', page.source)[1]
    assert policy.startswith("default-src 'none'; ")
    for text, kind in ((page.texts["script"][1], "script"), (page.texts["style"][0], "style")):
        digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
        assert f"{kind}-src 'sha256-{digest}'" in policy


def test_the_verdict_stands_before_everything_else(page):
    assert page.said.index("new is better than base by exact") < page.said.index("Pipelines") < page.said.index("Cases")
    assert "2 of 120 cells failed" in page.said
    assert "new against base: better by 2" in page.said


def test_every_picture_is_an_svg_with_a_name_and_headings_name_their_sections(page):
    pictures = re.findall(r"<svg.*?</svg>", page.source, re.DOTALL)

    assert len(pictures) >= 6  # two of differences, three of costs, times, lengths
    for one in pictures:
        root = ET.fromstring(one)
        assert root.get("role") == "img"
        assert root.get("aria-label")
    assert page.labelled - {"case-name"} <= page.ids  # the open case gets its name from the script


def test_the_margin_the_front_and_the_classes_are_drawn(page):
    assert 'class="margin"' in page.source
    assert page.source.count('class="front"') == 3
    assert page.source.count('<table class="confusion">') == 3
    assert re.search(r'<th scope="row">even</th><td class="right">\d+</td>', page.source)


def test_the_browser_has_every_case_with_answers_scores_and_traces(page):
    data = page.data

    assert [one["id"] for one in data["cases"]] == [f"case-{one}" for one in range(30)]
    base, new, _ = data["cases"][13]["runs"]
    assert (base[0]["text"], base[0]["cost"], base[0]["route"]) == ("7", "0.000110", "small")
    assert [one[0] for one in base[0]["scores"]] == [0, 1, 2]
    assert "RuntimeError: boom" in new[1]["error"]
    assert any("asked scripted" in line for line in new[1]["trace"])


@pytest.mark.parametrize("where", ["input", "expected", "answer", "label", "tag", "explanation", "name", "error"])
def test_hostile_texts_stay_texts(where, tmp_path):
    text = {one: EVIL if one == where else "plain" for one in ("input", "expected", "answer", "label", "tag")}
    text |= {one: EVIL if one == where else "plain" for one in ("explanation", "name", "error")}

    def hostile(case, result):
        if where == "error":
            raise ValueError(EVIL)
        said = {"expected": text["expected"]}
        return metrics.Score(value=1.0, label=text["answer"], explanation=text["explanation"], details=said)

    data = [
        Case(input={"q": text["input"]}, expected=text["expected"], tags=(text["tag"],), metadata={"m": text["input"]})
    ]
    label = text["label"].replace("\ud800", "")
    found = evaluate({"base": pipeline(text["answer"]), label: pipeline("x")}, data, [hostile],
                     name=text["name"].replace("\ud800", ""), progress=False)  # fmt: skip
    page = Page(found.report(tmp_path / "out.html").read_text("utf-8"))

    assert page.tags.count("script") == 2
    assert "img" not in page.tags
    assert page.handlers == []
    assert not re.search("[\x00\x1b\u2028\u202e]", page.source)
    assert "alert(1)" in page.source  # it is shown, as what it is


@given(st.text())
@settings(max_examples=100)
def test_no_text_can_end_a_script_or_hide_in_the_page(text):
    packed = script_json({"a": visible(text)})

    assert not re.search("[<>&\u2028\u2029]", packed)
    packed.encode()
    assert json.loads(packed) == {"a": visible(text)}
    assert "<" not in escape(text)
    assert not re.search("[\x00-\x08\u202a-\u202e\u2066-\u2069\ud800-\udfff]", visible(text))


def test_what_is_cut_is_said():
    assert cut("x" * 30, 10) == "x" * 10 + "\n[… 20 characters more]"


def test_of_many_cases_those_that_failed_or_changed_come_first_and_the_page_says_so(tmp_path):
    def answer(request):
        one = int(re.findall(r"\d+", request.messages[-1].text)[-1])
        if one == 150:
            raise RuntimeError("boom")
        return str(one) if one in (40, 199) else "no"

    found = evaluate({"base": pipeline("7"), "new": pipeline(answer)}, cases(200), [metrics.Exact()], progress=False)
    page = Page(found.report(tmp_path / "out.html", cases=12).read_text("utf-8"))
    shown = [one["id"] for one in page.data["cases"]]

    assert len(shown) == 12
    assert {"case-7", "case-40", "case-150", "case-199"} <= set(shown)
    assert shown == sorted(shown, key=lambda one: int(one[5:]))
    assert "12 of 200 cases: up to a quarter failed" in page.said
    assert "All figures above are of all cases." in page.said
    assert Page(found.report(tmp_path / "none.html", cases=0).read_text("utf-8")).data["cases"] == []


def test_the_size_of_the_file_is_bounded(tmp_path, monkeypatch):
    monkeypatch.setattr(browsing, "MOST_BYTES", 100_000)
    found = evaluate({"base": pipeline("y" * 30_000)}, cases(20), [length], progress=False)
    path = found.report(tmp_path / "out.html")

    assert path.stat().st_size < 180_000
    assert "More would have made this file too large." in Page(path.read_text("utf-8")).said


def test_a_report_replaces_the_file_as_a_whole_and_needs_a_folder(experiment, tmp_path):
    path = tmp_path / "out.html"
    path.write_text("old")

    assert experiment.report(path) == path
    assert path.read_text().startswith("<!doctype html>")
    assert [one.name for one in tmp_path.iterdir()] == ["out.html"]
    with pytest.raises(ConfigurationError, match="no folder"):
        experiment.report(tmp_path / "nowhere" / "out.html")
    with pytest.raises(ConfigurationError, match="`cases`"):
        experiment.report(path, cases=-1)


def test_one_pipeline_without_scores_or_answers_is_reported_too(tmp_path):
    def broken(request):
        raise RuntimeError("down")

    found = evaluate({"only": pipeline(broken)}, cases(3), [metrics.Exact()], progress=False)
    page = Page(found.report(tmp_path / "out.html").read_text("utf-8"))

    assert "there is nothing to compare it with" in page.said
    assert "only: 3 of 3 runs failed" in page.said


def point(arm, cost, quality):
    return Point(arm=arm, number=0, cost=cost, quality=quality, low=quality, high=quality)


def test_the_front_joins_those_that_no_other_beats_in_both():
    points = [point("a", 1, 0.5), point("b", 2, 0.4), point("c", 3, 0.9), point("d", 3, 0.8), point("e", 1, 0.5)]

    assert [one.arm for one in _front(points, higher=True)] == ["a", "c"]
    assert [one.arm for one in _front(points, higher=False)] == ["a", "b"]
