"""Files that are written: what they say is what the prompt said."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llmops_sdk.errors import ConfigurationError
from llmops_sdk.messages import Message
from llmops_sdk.prompts import Prompt, Section, Variable
from llmops_sdk.prompts._files import parse_prompt

FILES = {
    "examples/sums.jsonl": b'{"sum": "2 + 2", "answer": "4"}\n{"sum": "3 + 3", "answer": "6"}\n',
    "tools/now.json": b'{"name": "now"}',
}


def parsed(text: str | bytes) -> Prompt:
    data = text.encode() if isinstance(text, str) else text
    return parse_prompt(data, name="a", where="prompts/a.prompt.md", read=FILES.get)


# Everything that the syntax, YAML or an editor could take for something else.
_WORDS = st.sampled_from(
    [
        "[user]",
        "[+ name=x]",
        "\\[user]",
        "\\",
        "\\\\",
        "---",
        "```",
        "  ",
        "\t",
        "",
        "<<<<<<< ours",
        "=======",
        ">>>>>>> theirs",
        "# a",
        "- a: b",
        "é\u0301",
        "\U0001f600",
    ]
)
_LINES = st.lists(
    _WORDS | st.text(st.characters(blacklist_characters="{\r\0", blacklist_categories=["Cs"]), max_size=8)
)
_TEXTS = st.builds(
    lambda lines, end: "\n".join(lines) + end, _LINES, st.sampled_from(["", "\n", " \n", "\n\n", "\u2028"])
)
_SCALARS = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | _TEXTS | _WORDS
_VALUES = st.recursive(
    _SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_TEXTS, inner, max_size=3), max_leaves=6
)
_NAMES = st.from_regex(r"[a-zäß][a-z_0-9]{0,4}", fullmatch=True)


@st.composite
def _bodies(draw: Any) -> list[Section]:
    sections = []
    for wish in draw(st.lists(st.sampled_from(["message", "message", "more", "history"]), min_size=1, max_size=5)):
        kind = "message" if wish == "more" and (not sections or sections[-1].kind == "history") else wish
        name, priority = draw(st.none() | _NAMES), draw(st.none() | st.integers(-9, 9))
        if kind == "history":
            last = draw(st.none() | st.integers(1, 99))
            sections.append(Section("user", "", kind=kind, name=name or "history", priority=priority, last=last))
            continue
        role = draw(st.sampled_from(["system", "user", "assistant"]))
        if kind == "more":
            role = sections[-1].role
        sections.append(Section(role, draw(_TEXTS), kind=kind, name=name, priority=priority))
    return sections


@settings(max_examples=40)
@given(_bodies(), st.dictionaries(_TEXTS, _VALUES, max_size=3), _TEXTS)
def test_what_is_written_reads_as_the_same_prompt(sections: list[Section], extra: dict[str, Any], words: str) -> None:
    names = [section.name or "" for section in sections if section.kind == "history"]
    prompt = Prompt(
        sections,
        description=words,
        parameters={"extra": extra},
        variables={name: Variable(name=name, type="messages", description=words) for name in names},
    )

    text = prompt.to_text()
    again = parsed(text)

    assert again.hash == prompt.hash
    assert again.description == words
    assert [one._replace(line=1) for one in again.sections] == sections
    assert [one.description for one in again.content.variables.values()] == [words] * len(set(names))
    assert again.to_text() == text
    assert parsed(text.replace("\n", "\r\n").encode()).to_text() == text
    assert parsed(b"\xef\xbb\xbf" + text.encode()).to_text() == text


def test_the_markers_of_a_conflict_can_be_text() -> None:
    text = "[user]\n\\<<<<<<< ours\na\n=======\nb\n>>>>>>> theirs\n"
    prompt = parsed(text)

    assert prompt.sections[0].text == "<<<<<<< ours\na\n=======\nb\n>>>>>>> theirs"
    assert prompt.to_text() == text


@given(st.text("[user]+ \\\n\t-{}ab\r\ufeff", max_size=40))
def test_a_written_file_is_in_its_final_form(body: str) -> None:
    try:
        prompt = parsed(body)
    except ValueError:
        return
    text = prompt.to_text()

    assert parsed(text).hash == prompt.hash
    assert parsed(text).to_text() == text


WHOLE = """---
description: |-
  Adds up.

  In two lines.
parameters:
  temperature: 0
  stop:
  - END
tools:
- tools/now.json
- name: add
variables:
  sum: str
  history:
    type: messages
    optional: true
  tone:
    trusted: true
    default: kind
examples:
  file: examples/sums.jsonl
  count: 1
output:
  type: object
---
[system name=rules priority=2]
Be {{ tone }}.

[+]
\\[user]

[examples]

[history last=4]

[user]
{{ sum }}
"""


def test_a_file_in_its_final_form_stays_as_it_is() -> None:
    assert parsed(WHOLE).to_text() == WHOLE


def test_what_came_from_another_file_is_written_out_where_it_was_changed() -> None:
    prompt = parsed(WHOLE).with_examples(count=2)

    text = prompt.to_text()

    assert "cases:\n  - sum: 2 + 2\n    answer: '4'" in text
    assert "tools/now.json" in text
    assert parsed(text).hash == prompt.hash


def test_examples_written_into_a_file_read_as_the_same() -> None:
    image = {"type": "image_url", "image_url": {"url": "https://example.org/a.png", "detail": "low"}}
    exchange = [
        {"role": "user", "content": [{"type": "text", "text": "What is it?"}, image]},
        {
            "role": "assistant",
            "tool_calls": [{"id": "1", "type": "function", "function": {"name": "look", "arguments": "{}"}}],
        },
        {"role": "tool", "content": "a cat", "tool_call_id": "1"},
        {"role": "assistant", "content": "A cat."},
    ]
    prompt = Prompt.from_string(
        "{{ q }}", examples=[{"q": "---", "answer": {"n": 1, "of": ["x"]}}, {"messages": exchange}]
    )

    again = parsed(prompt.to_text())

    assert again.hash == prompt.hash
    assert again.render(q="x").messages == prompt.render(q="x").messages
    assert prompt.render(q="x").messages[1] == Message.assistant('{"n": 1, "of": ["x"]}')


@pytest.mark.parametrize(
    ("prompt", "says"),
    [
        (Prompt.from_string("a\rb"), "carriage return"),
        (Prompt.from_string("a\0b"), "NUL"),
        (Prompt.from_string("a\ud800b"), "lone surrogate '.ud800'"),
        (Prompt.from_string("a", extra={"x": object}), "`parameters` holds a type"),
        (Prompt.from_string("a", extra={"x": b"x"}), "`parameters` holds a bytes"),
        (Prompt([Section("tool", "a")]), "`\\[tool\\]`"),
        (Prompt([Section("user", "a"), Section("system", "b", kind="more")]), "no heading says"),
        (Prompt([Section("user", "a", name="a b")]), "is no heading"),
        (
            Prompt.from_string("{{ q }}", examples=[{"q": "a", "answer": "b"}]).with_examples(
                select=lambda _, all_: all_
            ),
            "a function chooses the examples",
        ),
    ],
)
def test_what_no_file_can_hold_is_refused(prompt: Prompt, says: str) -> None:
    with pytest.raises(ConfigurationError, match=says):
        prompt.to_text()


def test_every_property_of_a_variable_is_written() -> None:
    variables = {
        "question": {"type": "str", "description": "What is asked: plainly."},
        "tone": {"type": "str", "trusted": True, "default": "yes"},
        "note": {"optional": True},
        "free": "any",
    }
    prompt = Prompt.from_string("{{ question }}{{ tone }}{{ note }}{{ free }}", variables=variables)

    again = parsed(prompt.to_text())

    assert again.content.variables == prompt.content.variables
    assert dataclasses.replace(again.content, sections=()) == dataclasses.replace(prompt.content, sections=())


def test_a_python_type_that_no_file_can_say_is_refused_when_it_is_written():
    prompt = Prompt.from_string("{{ pair }}", variables={"pair": tuple[int, str]})
    with pytest.raises(ConfigurationError, match=r"no file can say what Python type a variable is of: .*'pair'"):
        prompt.to_text()
