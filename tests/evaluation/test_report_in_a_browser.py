"""The report in a real browser, opened from the disk: read the verdict, filter, open a case, read a difference."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from llmops_sdk import Pipeline, Prompt, Scripted
from llmops_sdk.costs import PriceTable
from llmops_sdk.evaluation import Case, evaluate, metrics
from llmops_sdk.messages import Usage

sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
CHROMIUM = Path("/usr/bin/chromium")
pytestmark = [
    pytest.mark.once,
    pytest.mark.timeout(240),
    pytest.mark.skipif(not CHROMIUM.exists(), reason=f"{CHROMIUM} is not there"),
    pytest.mark.filterwarnings("ignore::ResourceWarning"),  # playwright's own pipes
]
PRICES = PriceTable({"small": {"input": "1", "output": "1"}, "large": {"input": "9", "output": "9"}})
EVIL = "<img src=x onerror=\"document.title='stolen'\"></script><script>document.title='stolen'</script>"


def pipeline(answer, model="small"):
    engine = Scripted(answer, model=model, usage=Usage(input_tokens=100, output_tokens=10))
    return Pipeline(Prompt.from_string("{{ q }}"), engine, prices=PRICES)


def answer(request):
    one = int(re.findall(r"\d+", request.messages[-1].text)[-1])
    if one == 13:
        raise RuntimeError("boom")
    return EVIL if one == 17 else f"The answer is {one} today" if one % 4 else "The answer is not known"


def plain(request):
    one = int(re.findall(r"\d+", request.messages[-1].text)[-1])
    return f"The answer is {one if one % 2 else 7} today"


def found(case, result):
    return f" {case.expected} " in result.text


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    cases = [Case(input={"q": f"What is number {one}?"}, expected=str(one), id=f"case-{one}",
                  tags=("even",) * (one % 2 == 0))
             for one in range(250)]  # fmt: skip
    pipelines = {"base": pipeline(plain), "new": pipeline(answer, "large"), "third": pipeline(plain)}
    experiment = evaluate(pipelines, cases, [metrics.metric(found, bounds=(0, 1))], name="numbers", progress=False)
    return experiment.report(tmp_path_factory.mktemp("report") / "out.html")


@pytest.fixture(scope="module")
def browser():
    with sync_api.sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=str(CHROMIUM), args=["--no-sandbox"])
        yield started
        started.close()


@pytest.fixture
def page(browser, report):
    opened = browser.new_page(viewport={"width": 1280, "height": 900})
    opened.set_default_timeout(10_000)
    wrong, asked = [], []
    opened.on("console", lambda message: wrong.append(message.text))
    opened.on("pageerror", lambda error: wrong.append(str(error)))
    opened.on("request", lambda request: asked.append(request.url))
    opened.goto(report.as_uri())
    yield opened
    assert wrong == []
    assert [url for url in asked if not url.startswith("file://")] == []
    assert asked
    opened.close()


def count(page):
    return page.locator("#count").inner_text()


def test_the_verdict_is_what_is_read_first(page):
    assert page.locator("#verdict + h3").inner_text() == "new against base: better by 1 of 1 score"
    first = page.locator(".verdicts li").first
    assert "▲ new is better than base by found" in first.inner_text()
    assert first.bounding_box()["y"] < 300


def test_cases_are_filtered_sorted_searched_and_paged(page):
    assert count(page) == "250 of 250 cases"
    assert page.locator("#rows li").count() == 100
    page.click("#after")
    assert page.locator("#where").inner_text() == "page 2 of 3"

    page.select_option("#f-change", "loss")
    lost = count(page)
    page.select_option("#f-tag", label="even")
    assert (lost, count(page)) == ("1 of 250 cases", "0 of 250 cases: no case is like this; loosen a filter")
    page.select_option("#f-tag", "")
    page.select_option("#f-change", "failed")
    assert count(page) == "1 of 250 cases"
    assert "✕ failed" in page.locator("#rows li").inner_text()

    page.select_option("#f-change", "")
    page.fill("#f-text", "number 24?")
    sync_api.expect(page.locator("#count")).to_have_text("1 of 250 cases")
    assert "case-24" in page.locator("#rows li").inner_text()
    page.fill("#f-text", "")
    sync_api.expect(page.locator("#count")).to_have_text("250 of 250 cases")
    page.select_option("#f-sort", "worst")
    assert "case-17" in page.locator("#rows li").first.inner_text()


def test_a_case_shows_its_answers_side_by_side_and_which_words_changed(page):
    page.locator("#rows button", has_text="case-2").first.click()
    assert page.locator("#case h3").inner_text() == "Case case-2"
    answers = page.locator("#case .answers section")
    assert [text.split("\n")[0].strip() for text in answers.all_inner_texts()] == ["base base", "new", "third"]
    assert (answers.nth(1).locator("del").all_inner_texts(), answers.nth(1).locator("ins").all_inner_texts()) == (
        ["7"],
        ["2"],
    )
    assert answers.nth(2).locator("ins, del").count() == 0
    assert "no word differs" in answers.nth(2).inner_text()

    page.select_option("#c-view", "expected")
    assert "The" in answers.nth(0).locator("ins").all_inner_texts()[0]
    page.select_option("#c-view", "plain")
    assert page.locator("#case ins").count() == 0


def test_a_failure_shows_its_error_and_trace(page):
    page.select_option("#f-change", "failed")
    page.locator("#rows button").click()

    assert "RuntimeError: boom" in page.locator("#case .broken .error").inner_text()
    assert "asked scripted" in page.locator("#case .broken .trace").inner_text()


def test_answers_are_not_compared_with_a_run_that_failed(browser, tmp_path):
    pipelines = {"base": pipeline(answer), "new": pipeline(plain)}
    experiment = evaluate(pipelines, [Case(input={"q": "What is number 13?"}, expected="13")], [metrics.Cost()],
                          progress=False)  # fmt: skip
    page = browser.new_page()
    page.goto(experiment.report(tmp_path / "out.html").as_uri())

    assert page.locator("#case .broken").count() == 1
    assert page.locator("#case ins").count() == 0
    assert "$0.00011" in page.locator("#case table").inner_text()  # and not $0
    page.close()


def test_the_keyboard_does_all_of_it(page):
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.textContent") == "To the cases"
    page.keyboard.press("j")
    assert page.locator("#case h3").inner_text() == "Case case-1"
    page.keyboard.press("k")
    assert page.locator("#case h3").inner_text() == "Case case-0"
    page.keyboard.press("/")
    page.keyboard.type("number 249")
    sync_api.expect(page.locator("#count")).to_have_text("1 of 250 cases")
    page.keyboard.press("Escape")
    page.locator("#rows button").focus()
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.id") == "case"
    assert page.locator("#case h3").inner_text() == "Case case-249"


def test_an_address_opens_its_case(page, report):
    page.goto("about:blank")
    page.goto(report.as_uri() + "#case=case-77")

    assert page.locator("#case h3").inner_text() == "Case case-77"
    assert 0 <= page.locator("#case h3").bounding_box()["y"] < 900  # it is in sight


def test_what_an_answer_says_is_never_run(page):
    page.select_option("#f-sort", "worst")
    page.locator("#rows button").first.click()
    page.select_option("#c-view", "plain")

    assert EVIL in page.locator("#case .answers section").nth(1).locator("pre").inner_text()
    assert page.title() == "numbers: evaluation"
    assert page.locator("main img").count() == 0


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [380, 1280])
def test_nothing_sticks_out_and_texts_can_be_read(browser, report, scheme, width):
    page = browser.new_page(viewport={"width": width, "height": 800}, color_scheme=scheme)
    page.goto(report.as_uri())

    assert page.evaluate("document.documentElement.scrollWidth") <= width
    poor = page.evaluate(CONTRAST)
    page.close()
    assert poor == []


CONTRAST = """() => {
  const light = (c) => c.match(/[\\d.]+/g).slice(0, 3).map(Number).map((v) => v / 255)
    .map((v) => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4)
    .reduce((sum, v, i) => sum + v * [0.2126, 0.7152, 0.0722][i], 0);
  const behind = (e) => { for (; e; e = e.parentElement) {
    const c = getComputedStyle(e).backgroundColor; if (!/, 0\\)$/.test(c)) return c; } return "rgb(255, 255, 255)"; };
  return [...document.querySelectorAll("main *")]
    .filter((e) => !e.closest("svg") && !e.disabled && [...e.childNodes].some((n) => n.nodeType === 3 && n.data.trim()))
    .map((e) => [e.tagName + "." + e.className, light(getComputedStyle(e).color), light(behind(e))])
    .filter(([, a, b]) => (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05) < 4.5)
    .map(([name]) => name);
}"""
