"""What partials, loops, conditions, examples and tools bring into a prompt: rules see it, in its own file."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from llmops_sdk.linting import Problem, lint, lint_text

KEY = "AK" + "IAIOSFODNN7" + "EXAMPLQ"
ONE = "---\nvariables: {q: str}\n---\n"


def linted(text: str, files: Mapping[str, str] | None = None) -> list[Problem]:
    held = {path: content.encode() for path, content in (files or {}).items()}
    return lint_text(text, path="prompts/a.prompt.md", read=held.get)


def places(problems: list[Problem]) -> list[tuple[str, int, str]]:
    return [(problem.path.removeprefix("prompts/"), problem.line, problem.code) for problem in problems]


@pytest.mark.parametrize(
    ("body", "line", "files"),
    [
        ("{{ q | upper }}", 5, {}),
        ("{{ 'Dear ' ~ q }}", 5, {}),
        ("{% for i in [q] %}\n- {{ i }}\n{% endfor %}", 6, {}),
        ("{% set x = q %}\nI am {{ x }}", 6, {}),
        ("One\n\n[+]\n{{ q }}", 8, {}),
        ("Two\n{% include 's/q.md' %}", 6, {"s/q.md": "one\nof {{ q }}"}),
        ("{% include 's/o.md' %}", 5, {"s/o.md": "{% include 's/q.md' %}", "s/q.md": "{{ q }}"}),
        ("{% from 's/m.md' import m %}\n{{ m(q) }}", 6, {"s/m.md": "{% macro m(x) %}<{{ x }}>{% endmacro %}"}),
    ],
)
def test_untrusted_text_is_followed_into_the_system_section(body: str, line: int, files: dict[str, str]) -> None:
    found = linted(f"{ONE}[system]\n{body}\n\n[user]\nGo", files)
    assert ("a.prompt.md", line, "P103") in places(found)
    assert {problem.code for problem in found} == {"P103"}
    assert ("s/q.md" in found[0].message) == ("s/q.md" in files)


@pytest.mark.parametrize(
    "declared", ["int", "date", "bool", "{enum: [warm, cool], type: str}", "{type: str, trusted: true}"]
)
def test_what_can_give_no_orders_may_stand_in_a_system_section(declared: str) -> None:
    assert linted(f"---\nvariables: {{q: {declared}}}\n---\n[system]\n{{{{ q }}}}\n\n[user]\nGo") == []


def test_a_condition_uses_a_variable_and_shows_nothing_of_it() -> None:
    body = "[system]\n{% if q %}Be brief.{% endif %}\n\n[user]\nGo"
    assert linted(ONE + body) == []
    assert places(linted(ONE.replace("str}", "str, r: str}") + body)) == [("a.prompt.md", 2, "P102")]


def test_partials_and_questions_of_examples_use_variables() -> None:
    matter = "---\nvariables: {q: str, tone: {type: str, trusted: true}}\nexamples: [{q: a, answer: b}]\n---\n"
    body = "{% include 's/tone.md' %}\n\n[examples]\nQ: {{ q }}\n\n[user]\nGo"
    assert linted(matter + body, {"s/tone.md": "Be {{ tone }}."}) == []


def test_a_name_in_the_text_before_the_front_matter_declares_it_is_no_declaration() -> None:
    text = "---\ndescription: 'answers q: a question'\nvariables:\n  other: str\n  q: str\n---\n{{ other }}"
    assert places(linted(text)) == [("a.prompt.md", 5, "P102")]


def test_secrets_and_blanks_have_the_place_of_the_file_that_they_stand_in() -> None:
    text = "---\nexamples: e/x.jsonl\ntools: [t/x.json]\n---\n{% include 's/x.md' %}\n[examples]\n[user]\nGo"
    files = {
        "e/x.jsonl": f'{{"answer": "a"}}\n{{"answer": "{KEY}"}}\n',
        "t/x.json": f'{{"name": "t",\n"description": "{KEY}"}}',
        "s/x.md": f"Hello \nthe key is {KEY}\n",
    }
    found = linted(text, files)
    assert KEY not in "".join(map(str, found))
    assert places([one for one in found if one.code != "P402"]) == [
        ("e/x.jsonl", 2, "P201"),
        ("s/x.md", 1, "P202"),
        ("s/x.md", 2, "P201"),
        ("t/x.json", 2, "P201"),
    ]


def test_comments_in_a_partial_and_in_the_front_matter_cover_it() -> None:
    text = "---\nvariables: {q: str}\n---\n{% include 's/x.md' %}{{ q }}"
    partial = "Hello {# llmops: ignore[P202] #} \n{# llmops: ignore[P202] #}\nyou \nthem \n"
    assert places(linted(text, {"s/x.md": partial})) == [("s/x.md", 4, "P202")]
    assert linted("---\n# llmops: ignore[P202]" + text[3:], {"s/x.md": partial}) == []
    unknown = {"s/x.md": "Hello {# llmops: ignore[P999, P202] #}"}
    assert places(linted(text, unknown)) == [("s/x.md", 1, "P002")]


def test_what_two_prompts_include_is_said_once(tmp_path: Path) -> None:
    (tmp_path / "shared.md").write_text("Hello \n", "utf-8")
    for name in "ab":
        (tmp_path / f"{name}.prompt.md").write_text("{% include 'shared.md' %}", "utf-8")
    assert [(Path(one.path).name, one.line) for one in lint(folder=tmp_path)] == [("shared.md", 1)]


@pytest.mark.parametrize(
    ("answer", "says"),
    [
        ("{n: 1}", None),
        ("'{\"n\": 1}'", None),
        ("{n: x}", "n fails type"),
        ("{}", "required"),
        ("'```json {} ```'", "not JSON alone"),
    ],
)
def test_examples_are_held_against_the_output(answer: str, says: str | None) -> None:
    text = f"---\noutput: {{n: int}}\nexamples:\n- answer: {answer}\n---\n[examples]\n\n[user]\nGo"
    found = linted(text)
    assert places(found) == ([] if says is None else [("a.prompt.md", 4, "P401")])
    assert says is None or says in found[0].message


def test_without_jsonschema_all_other_rules_hold(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "jsonschema", None)
    examples = "- {q: a, answer: {uncommon_name: 1}}\n- {q: b, answer: {uncommon_name: x}}"
    matter = f"variables: {{q: str}}\noutput: {{uncommon_name: int}}\nexamples:\n{examples}"
    text = f"---\n{matter}\n---\n[examples]\n\n[user]\n{{{{ q }}}} "
    found = linted(text)
    assert places(found) == [("a.prompt.md", 5, "P401"), ("a.prompt.md", 11, "P202")]
    assert "llmops-sdk[json-schema]" in found[0].message
    assert [problem.code for problem in lint_text(text, ignore=["P401"])] == ["P202"]


def test_a_wrong_example_has_its_line_in_its_file() -> None:
    text = "---\nvariables: {q: str}\noutput: {n: int}\nexamples: e/x.yaml\n---\n[examples]\n\n[user]\n{{ q }}"
    examples = "- {q: a, answer: {n: 1}}\n- {q: b, answer: {n: x}}\n- {q: a, answer: {n: 2}}\n"
    found = linted(text, {"e/x.yaml": examples})
    assert places(found) == [("e/x.yaml", 2, "P401"), ("e/x.yaml", 3, "P402")]
    assert "answers something else" in found[1].message
    said = "---\nexamples:\n- messages: [{role: user, content: a}, {role: assistant, content: '{}'}]\n"
    assert places(linted(said + "output: {n: int}\n---\n[examples]\n\n[user]\nGo")) == [("a.prompt.md", 3, "P401")]


@pytest.mark.parametrize(
    ("words", "wrong"),
    [
        ("Respond only in YAML.", True),
        ("Return your answer as an XML document.", True),
        ("Answer as JSON. Write the summary in Markdown.", False),
        ("Return the field `page` as HTML.", False),
        ("Do not answer in plain text.", False),
    ],
)
def test_another_format_than_the_outputs_is_said(words: str, wrong: bool) -> None:
    assert [one.code for one in linted(f"---\noutput: {{a: str}}\n---\n{words}")] == ["P204"] * wrong
    assert linted(words) == []
