"""Each rule has a page, and what the page calls wrong is what the rule finds."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from llmops_sdk.linting import RULES, lint_text
from llmops_sdk.linting._linting import LintOptions

PAGES = Path(__file__).parents[2] / "docs" / "concepts" / "prompts" / "lint"


def example(page: str, heading: str) -> str:
    found = re.search(rf"## {heading}\n\n```text\n(.*?)\n```", page, re.DOTALL)
    assert found is not None
    return found[1].replace("\u00b7", " ").replace("<a key>", "AK" + "IAIOSFODNN7" + "EXAMPLQ")


def options(page: str) -> LintOptions:
    given = re.search(r"Checked with `--(\w+) (\w+)`", page)
    if given is None:
        return {}
    return {"provider": given[2]} if given[1] == "provider" else {"window": int(given[2])}


def test_there_is_a_page_for_each_rule_and_no_other() -> None:
    assert {page.stem for page in PAGES.glob("*.md")} == set(RULES)


@pytest.mark.parametrize("code", RULES)
def test_the_page_shows_what_the_rule_finds(code: str) -> None:
    page = (PAGES / f"{code}.md").read_text("utf-8")
    assert page.startswith(f"# {code}: {RULES[code].name}\n")
    select = [] if code in ("P001", "P002") else [code]
    wrong = lint_text(example(page, "Wrong"), **options(page))
    assert {problem.code for problem in wrong} == {code}
    assert lint_text(example(page, "Right"), **options(page)) == []
    assert lint_text(example(page, "Wrong"), ignore=[code], **options(page)) == []
    assert {one.code for one in lint_text(example(page, "Wrong"), select=select, **options(page))} == {code}
