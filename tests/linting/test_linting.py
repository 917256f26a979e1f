"""The linter: where problems are, what it does not find, how rules are chosen and ignored, bad input."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmops_sdk.errors import ConfigurationError
from llmops_sdk.linting import RULES, lint, lint_text, sarif

DECLARED = "---\nvariables: {a: str, b: {type: str, trusted: true}}\n---\n"


def codes(text: str, **options: object) -> list[str]:
    return [problem.code for problem in lint_text(text, **options)]  # type: ignore[arg-type]


def test_a_problem_has_the_line_and_the_column_of_the_file() -> None:
    text = DECLARED + "[system]\n\n\nYou see {{ b }} and\n\t{{ a }}, {{a}}\n[user]\nGo  \n"
    first, second = lint_text(text.replace("\n", "\r\n"), path="p/x.prompt.md")
    assert (first.code, first.path, first.line, first.column) == ("P103", "p/x.prompt.md", 8, 5)
    assert (second.code, second.line, second.column) == ("P202", 10, 3)
    assert text.split("\n")[first.line - 1][first.column - 1 :].startswith("a }}")


@pytest.mark.parametrize(
    "text",
    [
        "At most 50 words, and at least 20 words.",
        "At most two sentences of at most 20 words; at least 3 characters.",
        "No more than 3 items.\n\nWrite at least 2 items, exactly 3 items.",
        "Not more than 10 words. Up to 5 sentences.",
        "Use over 5 years of experience in under 3 paragraphs of at least 5 words.",
        "---\nparameters: {max_tokens: 100}\n---\nAt least 50 words.",
        "---\nparameters: {max_tokens: 10}\n---\nAt most 5000 words.",
    ],
)
def test_limits_that_can_be_kept_are_no_contradiction(text: str) -> None:
    assert codes(text) == []


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("At most 50 words. At least 60 words.", "'At least 60 words' contradicts 'At most 50 words' in line 1"),
        ("exactly three items\nexactly 4 items", "'exactly 4 items' contradicts 'exactly three items' in line 1"),
        ("a maximum of 1,000 characters\nno fewer than 2,000 characters", "contradicts"),
        ("limited to 3 sentences\nat least five full sentences", "contradicts"),
        ("---\nparameters: {max_tokens: 10}\n---\nAt least 50 words.", "more than the 10 tokens"),
    ],
)
def test_limits_that_cannot_be_kept_are_said(text: str, words: str) -> None:
    (problem,) = lint_text(text)
    assert problem.code == "P203"
    assert words in problem.message


def test_a_secret_is_not_repeated() -> None:
    key = "AK" + "IAIOSFODNN7" + "EXAMPLQ"
    (problem,) = lint_text(f"Hello\nthe key is {key}\n")
    assert (problem.code, problem.line, problem.severity) == ("P201", 2, "error")
    assert key not in str(problem)


def test_roles_are_judged_by_the_provider() -> None:
    alternating = "[system]\nx\n\n[user]\ny\n\n[assistant]\nz\n\n[user]\ny"
    assert codes(alternating, provider="mistral") == codes(alternating, provider="anthropic") == []
    assert codes(alternating, provider="gemma") == ["P301"]
    twice = "[user]\nx\n\n[user]\ny"
    assert codes(twice) == codes(twice, provider="openai") == []
    assert codes(twice, provider="gemma") == ["P304"]
    assert codes("[assistant]\nx\n\n[user]\ny", provider="mistral") == ["P304"]
    assert codes("[history]\n[user]\nx", provider="mistral") == []
    assert codes("[system]\nx\n\n[history]\n") == []


def test_the_window_counts_the_answer_and_says_how_it_counts() -> None:
    text = "---\nparameters: {max_tokens: 5}\n---\none two three four"
    assert codes(text, window=9, counter=lambda text: len(text.split())) == []
    (problem,) = lint_text(text, window=8, counter=lambda text: len(text.split()))
    assert "takes 4 tokens and 5 for the answer, more than the window of 8" in problem.message
    assert "takes about 6 tokens" in lint_text(text, window=8)[0].message


@pytest.mark.parametrize(
    ("text", "left"),
    [
        ("---\n# llmops: ignore[P103, P202]\nvariables: {a: str}\n---\n[system]\n{{ a }} \n[user]\nx", []),
        ("---\nvariables:\n  a: str  # llmops: ignore[P102]\n---\nx", []),
        ("---\nvariables:\n  a: str\n  b: str  # llmops: ignore[P102]\n---\nx", ["P102"]),
        ("---\nvariables: {a: str}  # llmops: ignore[P202]\n---\n{{ a }}", ["P002"]),
        ("---\n# llmops: ignore[Q1]\nvariables: {a: str}\n---\n{{ a }}", ["P002"]),
        ("# llmops: ignore[P202]\nx ", ["P202"]),
    ],
)
def test_comments_in_the_front_matter_switch_rules_off(text: str, left: list[str]) -> None:
    assert codes(text) == left


def test_rules_are_chosen_by_code_and_by_group() -> None:
    text = DECLARED + "x \n[system]\n{{ a }}"
    assert codes(text) == ["P102", "P202", "P301", "P103"]
    assert codes(text, select=["P1"]) == ["P102", "P103"]
    assert codes(text, select=["P1"], ignore=["P102"]) == ["P103"]
    assert codes(text, ignore=["P"]) == []
    assert codes("{{", ignore=["P001"]) == []


@pytest.mark.parametrize(
    "options", [{"select": ["X1"]}, {"ignore": "P102"}, {"provider": "nobody"}, {"window": 0}], ids=str
)
def test_a_wrong_option_is_refused(options: dict[str, object]) -> None:
    with pytest.raises(ConfigurationError):
        codes("x", **options)


def test_files_and_folders_are_read_and_missing_ones_are_refused(tmp_path: Path) -> None:
    folder = tmp_path / "prompts" / "support"
    folder.mkdir(parents=True)
    (folder / "b.prompt.md").write_bytes(b"\xff")
    (folder / "a.prompt.md").write_text("x \n", "utf-8")
    (folder / "notes.md").write_text("x \n", "utf-8")
    found = lint(folder=tmp_path / "prompts")
    assert [(Path(one.path).name, one.code, one.line) for one in found] == [
        ("a.prompt.md", "P202", 1),
        ("b.prompt.md", "P001", 1),
    ]
    assert lint(folder / "a.prompt.md", folder=tmp_path) == found[:1]
    with pytest.raises(ConfigurationError, match="there is no"):
        lint(tmp_path / "nothing")


def test_sarif_names_each_rule_and_place() -> None:
    log = json.loads(json.dumps(sarif(lint_text("x \n[system]\ny", path="prompts/a b.prompt.md"))))
    (run,) = log["runs"]
    assert [rule["id"] for rule in run["tool"]["driver"]["rules"]] == list(RULES)
    first, second = run["results"]
    assert (first["ruleId"], second["ruleId"]) == ("P202", "P301")
    assert run["tool"]["driver"]["rules"][first["ruleIndex"]]["id"] == "P202"
    place = first["locations"][0]["physicalLocation"]
    assert place["artifactLocation"]["uri"] == "prompts/a%20b.prompt.md"
    assert place["region"] == {"startLine": 1, "startColumn": 2}


PIECES = [*"ab{}[]#% -:.\n\r\t'|", "[system]\n", "---\n", "variables: {a: str}\n", "{{ a }}", "at least 5 words"]


@given(st.lists(st.sampled_from(PIECES)))
def test_no_text_breaks_the_linter(pieces: list[str]) -> None:
    text = "".join(pieces)
    lines = text.replace("\r\n", "\n").replace("\r", "\n").split("\n")
    for problem in lint_text(text, window=1, provider="gemma"):
        assert 1 <= problem.line <= len(lines)
        assert 1 <= problem.column <= len(lines[problem.line - 1]) + 1
