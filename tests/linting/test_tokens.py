"""The window and the prefix: what is counted, by what, and what is not."""

from __future__ import annotations

import pytest

from llmops_sdk.errors import ConfigurationError
from llmops_sdk.linting import lint_text
from llmops_sdk.prompts import parse_prompt

WORDS = "one two three four five six seven eight nine ten " * 10


def words(text: str) -> int:
    return len(text.split())


def over(text: str, window: int) -> bool:
    return [one.code for one in lint_text(text, select=["P001", "P501"], window=window, counter=words)] == ["P501"]


def test_the_window_counts_the_answer_and_says_how_it_counts() -> None:
    text = "---\nparameters: {max_tokens: 50}\n---\n" + WORDS.strip()
    assert not over(text, 200)
    (problem,) = lint_text(text, window=140, counter=words)
    assert "tokens and 50 for the answer, more than the window of 140 (counted with words)" in problem.message
    assert "takes about" in lint_text(text, window=140)[0].message
    with pytest.raises(ConfigurationError, match="neither a tokenizer"):
        lint_text(text, counter="no-such-model")


@pytest.mark.parametrize(
    "optional",
    [
        "{% if q %}" + WORDS + "{% endif %}",
        "{% if q %}" + WORDS + "{% elif q == 'a' %}x{% else %}" + WORDS + "{% endif %}",
        "{% for i in q %}" + WORDS + "{% endfor %}",
        "Go\n\n[user name=more priority=1]\n" + WORDS,
        "{# " + WORDS + " #}",
    ],
)
def test_what_may_be_left_out_does_not_count(optional: str) -> None:
    text = f"---\nvariables: {{q: str}}\n---\n{{{{ q }}}} {optional}"
    assert not over(text, 60)
    assert over(text, 5)


@pytest.mark.parametrize(
    "text",
    [
        "{% if q %}" + WORDS + "{% else %}" + WORDS + "{% endif %}",
        "Go\n\n[+]\n" + WORDS,
        "{% with %}" + WORDS + "{% endwith %}{{ q | upper }}",
    ],
)
def test_what_is_always_there_counts(text: str) -> None:
    assert over(f"---\nvariables: {{q: str}}\n---\n{{{{ q }}}} {text}", 60)


@pytest.mark.parametrize(
    "matter",
    [
        f"examples: [{{answer: {WORDS}}}]",
        f"examples: {{cases: [{{answer: {WORDS}}}, {{answer: x {WORDS}}}], count: 1, select: random}}",
        f"tools: [{{name: t, description: {WORDS}}}]",
        f"output: {{type: object, properties: {{a: {{description: {WORDS}}}}}}}",
    ],
)
def test_examples_tools_and_the_output_count(matter: str) -> None:
    place = "[examples]\n\n" if "examples" in matter else ""
    assert over(f"---\n{matter}\n---\n{place}[user]\nGo", 80)
    assert not over(f"---\n{matter}\n---\n{place}[user]\nGo", 400)


def test_the_least_request_is_no_longer_than_any_rendered_one() -> None:
    matter = "---\nvariables: {q: str, n: 'list[str]'}\n---\n"
    body = "[system]\nA {% if q %}bb{% else %}c{% endif %}\n\n[user]\n{% for i in n %}{{ i }}, {% endfor %}d {{ q }}"
    text = (matter + body).encode()
    prompt = parse_prompt(text, name="a", where="a")
    least = [message.text for message in prompt.least_request().messages]
    assert least == ["A c", "d "]
    for values in ({"q": "", "n": []}, {"q": "x", "n": ["a", "b"]}):
        assert all(len(a) <= len(b.text) for a, b in zip(least, prompt.render(**values).messages, strict=True))


@pytest.mark.parametrize(
    ("declared", "before", "behind", "found"),
    [
        ("str", "", WORDS, True),
        ("str", WORDS, "", False),
        ("str", "", "one two", False),
        ("documents", "", WORDS, False),
    ],
)
def test_a_variable_before_much_that_never_changes_is_said(
    declared: str, before: str, behind: str, found: bool
) -> None:
    text = f"---\nvariables: {{q: {declared}}}\n---\n{before}Hello {{{{ q }}}}! {behind}".rstrip()
    assert [one.code for one in lint_text(text, counter=words)] == ["P502"] * found


def test_an_expression_without_a_name_ends_the_prefix() -> None:
    text = "---\nvariables: {q: str}\n---\nHello {{ 'Dr ' ~ q }} " + WORDS.strip()
    assert lint_text(text, counter=words) == []
