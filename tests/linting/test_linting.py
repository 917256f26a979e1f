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


def test_a_secret_is_not_repeated() -> None:
    key = "AK" + "IAIOSFODNN7" + "EXAMPLQ"
    (problem,) = lint_text(f"Hello\nthe key is {key}\n")
    assert (problem.code, problem.line, problem.severity) == ("P201", 2, "error")
    assert key not in str(problem)


def test_roles_are_judged_by_the_provider() -> None:
    alternating = "[system]\nx\n\n[user]\ny\n\n[assistant]\nz\n\n[user]\ny"
    assert codes(alternating, provider="mistral") == codes(alternating, provider="anthropic") == []
    assert codes(alternating, provider="gemma") == []
    twice = "[user]\nx\n\n[user]\ny"
    assert codes(twice) == codes(twice, provider="openai") == codes(twice, provider="mistral") == []
    assert codes(twice, provider="gemma") == ["P304"]
    assert codes("[assistant]\nx\n\n[user]\ny", provider="gemma") == ["P304"]
    late = "[user]\nx\n\n[system]\ny\n\n[user]\nz"
    assert codes(late) == codes(late, provider="anthropic") == codes(late, provider="vllm") == ["P301"]
    assert codes(late, provider="openai") == codes(late, provider="mistral") == []
    assert codes(late.replace("[user]\nx", "[user]\nx\n\n[assistant]\nx"), provider="mistral") == ["P301"]
    begun = "[user]\nx\n\n[assistant]\ny"
    assert "since 4.6" in lint_text(begun, provider="anthropic")[0].message
    assert codes("---\nparameters: {extra: {continue_final_message: true}}\n---\n" + begun) == []
    assert codes("[history]\n[user]\nx", provider="mistral") == []
    assert codes("[system]\nx\n\n[history]\n") == []


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


def test_files_are_left_out_by_pattern(tmp_path: Path) -> None:
    for name in ("old/a", "new/a"):
        (tmp_path / name).parent.mkdir()
        (tmp_path / f"{name}.prompt.md").write_text("{{ x }} \n", "utf-8")
    found = lint(folder=tmp_path, per_file_ignores={"old/*": ["P2"]})
    assert [(Path(one.path).parent.name, one.code) for one in found] == [
        ("new", "P101"),
        ("new", "P202"),
        ("old", "P101"),
    ]
    with pytest.raises(ConfigurationError, match="no rule 'X'"):
        lint(folder=tmp_path, per_file_ignores={"old/*": ["X"]})


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


def test_fingerprints_stay_when_lines_move_and_tell_equal_problems_apart() -> None:
    def fingerprints(text: str) -> list[str]:
        results = sarif(lint_text(text))["runs"][0]["results"]
        return [result["partialFingerprints"]["llmopsLint/v1"] for result in results]

    before = fingerprints("x \ny \n")
    assert len(set(before)) == 2
    assert fingerprints("new\n\nx \ny \n") == before


PIECES = [*"ab{}[]#% -:.\n\r\t'|", "[system]\n", "---\n", "variables: {a: str}\n", "{{ a }}", "at least 5 words"]


@given(st.lists(st.sampled_from(PIECES)))
def test_no_text_breaks_the_linter(pieces: list[str]) -> None:
    text = "".join(pieces)
    lines = text.replace("\r\n", "\n").replace("\r", "\n").split("\n")
    for problem in lint_text(text, window=1, provider="gemma"):
        assert 1 <= problem.line <= len(lines)
        assert 1 <= problem.column <= len(lines[problem.line - 1]) + 1
