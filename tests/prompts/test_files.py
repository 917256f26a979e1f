from __future__ import annotations

import contextlib
import re
from pathlib import Path
from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmops_sdk.errors import ConfigurationError, PromptError
from llmops_sdk.messages import Message
from llmops_sdk.prompts import Prompt, Section, Variable
from llmops_sdk.prompts._files import MAX_BYTES, parse_prompt
from llmops_sdk.prompts._files.parsing import KEYS
from llmops_sdk.prompts._parameters import parameter_of
from llmops_sdk.prompts._sections import Shrink, heading_of

WHOLE = """---
name: support/answer
description: Answers.
parameters:
  temperature: 0
  stop: [END]
variables:
  question: str
  tone: {type: str, trusted: true, default: friendly}
---
[system]
You are {{ tone }}.

[user]

{{ question }}
  indented

[assistant]
Well,
"""


def parsed(text: str | bytes) -> Prompt:
    data = text.encode() if isinstance(text, str) else text
    return parse_prompt(data, name="support/answer", where="prompts/support/answer.prompt.md")


def fails(text: str | bytes, says: str) -> None:
    with pytest.raises(PromptError) as caught:
        parsed(text)
    assert str(caught.value).startswith(f"prompts/support/answer.prompt.md:{says}"), str(caught.value)
    assert caught.value.prompt == "support/answer"


def test_a_whole_file() -> None:
    prompt = parsed(WHOLE)

    assert prompt.description == "Answers."
    assert prompt.parameters == {"temperature": 0, "stop": ("END",)}
    assert prompt.sections == (
        Section("system", "You are {{ tone }}.", 12),
        Section("user", "{{ question }}\n  indented", 16),
        Section("assistant", "Well,", 20),
    )
    origins = [one.origins for one in prompt.render(question="Q").messages]
    assert [[(one.source, one.trusted) for one in message] for message in origins] == [
        [("variable:tone", True)],
        [("variable:question", False)],
        [],
    ]


def test_line_ends_and_a_byte_order_mark_change_nothing() -> None:
    unix = parsed(WHOLE)

    for data in (
        WHOLE.replace("\n", "\r\n").encode(),
        b"\xef\xbb\xbf" + WHOLE.encode(),
        WHOLE.replace("\n", "\r").encode(),
    ):
        assert parsed(data).hash == unix.hash
        assert parsed(data).render(question="Q").messages == unix.render(question="Q").messages


def test_a_file_without_front_matter_is_a_user_message() -> None:
    assert parsed("Hello {{ name }}\n\n").sections == (Section("user", "Hello {{ name }}"),)


def test_text_before_the_first_section_is_a_user_message() -> None:
    assert [one.role for one in parsed("Hello\n[assistant]\nHi").sections] == ["user", "assistant"]


def test_empty_front_matter_is_none() -> None:
    assert parsed("---\n---\nHello").sections == (Section("user", "Hello", 3),)


def test_only_a_whole_line_opens_a_section() -> None:
    text = " [tool]\n[user] said\nsee [1]\n[1]\n[a b]"

    assert parsed(text).sections == (Section("user", text),)


def test_front_matter_needs_no_declarations_of_variables() -> None:
    assert parsed("---\ndescription: x\n---\n{{ a }}").variables == ("a",)


def test_a_declared_variable_may_be_unused() -> None:
    assert parsed("---\nvariables: {a: str, b: }\n---\n{{ a }}").variables == ("a", "b")


@given(
    st.lists(st.tuples(st.sampled_from(["system", "user", "assistant"]), st.text("ab {}\n", min_size=1)), min_size=1)
)
def test_sections_round_trip(sections: list[tuple[str, str]]) -> None:
    sections = [(role, "x" + text.replace("{", "(") + "x") for role, text in sections]

    prompt = parsed("".join(f"[{role}]\n{text}\n\n" for role, text in sections))

    assert [(one.role, one.text) for one in prompt.sections] == sections


@given(st.binary(max_size=200))
def test_any_bytes_are_a_prompt_or_a_prompt_error(data: bytes) -> None:
    for text in (data, b"---\n" + data, b"---\n" + data + b"\n---\nHello"):
        with contextlib.suppress(PromptError):  # anything else would fail the test
            parsed(text)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("---\ndescription: [\n---\nx", "3: this is not YAML"),
        ("---\na: b: c\n---\nx", "2: this is not YAML"),
        ("---\n\x07\n---\nx", "2: this is not YAML: the character '\\x07' is not allowed"),
        ("---\n- a\n---\nx", "2: the front matter has to be a mapping"),
        ("---\ntext\n---\nx", "2: the front matter has to be a mapping"),
        ("---\ndescription: x\nx", "1: the front matter is not closed"),
        ("---\nmodel: x\n---\nx", "2: unknown key 'model'"),
        ("---\nyes: x\n---\nx", "2: unknown key True"),
        ("---\ndescription: x\ndescription: y\n---\nx", "3: the key 'description' stands here twice"),
        ("---\n? [a]\n: x\n---\nx", "2: keys are plain names"),
        ("---\nname: other\n---\nx", "2: the name is 'other', but the file's place makes it 'support/answer'"),
        ("---\nparameters: 3\n---\nx", "2: `parameters` is a mapping"),
        ("---\nparameters:\n  temperature: 0\n  max_tokens: 0\n---\nx", "4: the parameter `max_tokens` has to be"),
        ("---\nparameters: {tokens: 1}\n---\nx", "2: a prompt has no parameter 'tokens'"),
        ("---\nvariables: [a]\n---\nx", "2: `variables` is a mapping"),
        ("---\nvariables:\n  a: str\n  b: strng\n---\n{{ a }}", "4: the variable 'b': unknown type"),
        ("---\nvariables: {question: str}\n---\n{{ qestion }}", "2: `variables` does not declare 'qestion'"),
        ("---\nextra: &a [1]\nother: *a\n---\nx", "2: anchors and aliases"),
        ("---\na: " + "[" * 1500 + "\n---\nx", "1: this is nested too deeply"),
        ("---\nvariables: {a: 2024-13-45}\n---\nx", "2: the variable 'a': unknown type"),
        ("---\na: !!timestamp x\n---\nx", "2: values of the kind `!!timestamp` are not allowed"),
        ("---\na: !!bool x\n---\nx", "1: this is not YAML"),
        ("---\na: !!python/name:os.system\n---\nx", "2: values of the kind `!!python/name:os"),
        ("", "1: the body is empty"),
        ("---\ndescription: x\n---\n\n  \n", "6: the body is empty"),
        ("[user]\n\n[assistant]\nx", "1: the section `[user]` is empty"),
        ("x\n[assistant]\n", "2: the section `[assistant]` is empty"),
        ("x\n[tool]\ny", "2: unknown role or section `[tool]`"),
        (
            "[System]\nx",
            (
                "1: unknown role or section `[System]`; there are [system], [user], [assistant], [+], [history], "
                "[examples]. Did you mean 'system'? To have it as text, write `\\[System]`"
            ),
        ),
        ("---\na: " + "[" * 60 + "]" * 60 + "\n---\nx", "2: this is nested too deeply"),
        ("---\na: '" + "x" * 100_000 + "'\n---\nx", "1: 100,006 characters of YAML are more than the 100,000"),
        ("---\nvariables: {a: {default: !!binary eA==}}\n---\nx", "2: values of the kind `!!binary` are not allowed"),
        ("---\ndescription: x\r\n\x0b\n---\nx", "3: this is not YAML: the character '\\x0b' is not allowed"),
        ("a\r\nb\rc\0", "3: a NUL character stands here"),
        ("---\ndescription: x\n---\n[user]\n\na\n{{ b | c }}", "7: there is no filter 'c'"),
        (b"a\n\xff\xfe", "2: this is not UTF-8 (byte 2 is 0xff)"),
        (b"x" * (MAX_BYTES + 1), "1: the file has 1,000,001 bytes"),
    ],
)
def test_a_broken_file_is_named_with_its_line(text: str | bytes, says: str) -> None:
    fails(text, says)


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("---\nmodel: x\n---\nx", r"unknown key 'model'.* A prompt names no model"),
        ("---\nparameters: {model: x}\n---\nx", r"no parameter 'model'.* A prompt names no model"),
        ("---\ntop_p: 1\n---\nx", r"unknown key 'top_p'.* write `parameters: \{top_p: \.\.\.\}`"),
        ("---\nvariables: {q: {type: list[str]}}\n---\nx", r"2: this is not YAML.* `\{type: \"list\[str\]\"\}`"),
        ("---\nvariables: {h: messages}\n---\na\n{{ h }}", r"5: 'h' is a conversation.* `\[history name=h\]`"),
    ],
)
def test_what_newcomers_write_is_told_what_to_write(text: str, hint: str) -> None:
    with pytest.raises(PromptError, match=hint):
        parsed(text)


def test_a_backslash_makes_text_of_a_heading_and_of_a_blank_line_at_an_edge() -> None:
    (section,) = parsed("[user]\n\n\\\n\\[user]\n\\\\[+]\n\\[x y]\n\\\n\\a\n [user]\n\\\\\n\n").sections

    assert section.text == "\n[user]\n\\[+]\n\\[x y]\n\\\n\\a\n [user]\n\\"
    assert parsed("[user]\n\\").sections == (Section("user", "", 2),)


def test_mixed_line_ends_are_lines() -> None:
    assert parsed("---\r\ndescription: x\r---\n[system]\ra\r\nb\n[user]\nc").sections == (
        Section("system", "a\nb", 5),
        Section("user", "c", 8),
    )


def test_a_date_is_text() -> None:
    prompt = parsed("---\nvariables: {day: {type: str, default: 2024-02-30}}\n---\n{{ day }}")

    assert prompt.render().messages[0].text == "2024-02-30"


def test_a_variable_declared_wrongly_is_named_in_the_error() -> None:
    with pytest.raises(PromptError) as caught:
        parsed("---\nvariables: {question: strng}\n---\nx")

    assert caught.value.variable == "question"


def test_defaults_are_held_as_yaml_reads_them() -> None:
    prompt = parsed("---\nvariables: {n: {type: int, default: 3}}\n---\n{{ n }}")

    assert prompt.content.variables == {"n": Variable(name="n", type="int", optional=True, default=3)}
    assert prompt.render().messages[0].text == "3"


def test_a_message_may_have_several_sections() -> None:
    prompt = parsed("[system]\nBe {{ tone }}.\n[+ name=rules priority=2]\nRule: {{ rule }}\n\n[user]\n{{ question }}")
    system, user = prompt.render(tone="kind", rule="no jokes", question="Why?").messages
    assert system.content == "Be kind.\n\nRule: no jokes"
    assert [system.text[one.start : one.end] for one in system.origins] == ["kind", "no jokes"]
    assert (system.role, user.role, user.content) == ("system", "user", "Why?")
    assert [(one.kind, one.name, one.priority) for one in prompt.sections[:2]] == [
        ("message", None, None),
        ("more", "rules", 2),
    ]


def test_a_history_stands_where_it_is_written() -> None:
    prompt = parsed("[system]\nBe kind.\n\n[history]\n\n[history name=newest]\n[user]\n{{ question }}")
    said = [Message.user("Hi"), {"role": "assistant", "content": "Hello"}]
    messages = prompt.render(history=said, newest=[], question="Why?").messages
    assert [(one.role, one.content) for one in messages] == [
        ("system", "Be kind."),
        ("user", "Hi"),
        ("assistant", "Hello"),
        ("user", "Why?"),
    ]
    for wrong in ("Hi", 3, [1], [{"role": "user"}], [{"role": "robot", "content": "x"}]):
        with pytest.raises(PromptError, match="list of messages") as caught:
            prompt.render(history=wrong, newest=[], question="Why?")
        assert caught.value.variable == "history"


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("[+]\nx", "2: `[+]` continues a message"),
        ("[history]\n[+]\nx", "3: `[+]` continues a message"),
        ("[history]\nx", "2: `[history]` has no text"),
        ("[user prio=3]\nx", "1: `[user]` takes no 'prio'; there are name, priority, shrink. Did you mean 'priority'?"),
        ("[user priority=high]\nx", "1: `priority=high` is no whole number"),
        ("[user name=a-b]\nx", "1: `name=a-b` is no name"),
        ("[user priority=1 priority=2]\nx", "1: `[user]` has `priority` twice"),
        ("[history last=0]", "1: `last=0` is no number of messages"),
    ],
)
def test_a_wrong_heading_is_named_with_its_line(text: str, says: str) -> None:
    fails(text, says)


def test_the_schema_of_the_answer_is_part_of_the_prompt() -> None:
    prompt = parsed("---\noutput: {type: object}\n---\nx")
    assert prompt.output == prompt.render().response_schema == {"type": "object"}
    assert prompt.hash != parsed("x").hash
    fails("---\noutput: 3\n---\nx", "2: `output` is a JSON schema")
    fails("---\nparameters: {response_schema: {}}\noutput: {}\n---\nx", "3: `output` and `parameters.response_schema`")


def _rows(heading: str) -> dict[str, list[str]]:
    """A table of the page of prompt files: names in its first column -> the cells beside it."""
    page = (Path(__file__).parents[2] / "docs" / "concepts" / "prompts" / "files.md").read_text("utf-8")
    table = page.split(f"\n{heading}\n", 1)[1].split("\n\n", 1)[0].split("\n")[1:]
    rows = [[cell.strip() for cell in row.strip("|").split("|")] for row in table]
    return {name: cells for name_cell, *cells in rows for name in re.findall(r"`\[?([^\]`]+)\]?`", name_cell)}


def test_the_page_has_all_that_a_file_may_hold() -> None:
    headings = _rows("| heading | begins | options |")

    assert tuple(_rows("| key | holds |")) == KEYS
    for word, (_, options) in headings.items():
        with pytest.raises(ConfigurationError, match=rf"there are {', '.join(re.findall('`(.+?)`', options))}\."):
            heading_of(f"[{word} x=1]")
    with pytest.raises(ConfigurationError, match=re.escape(", ".join(f"[{word}]" for word in headings) + ".")):
        heading_of("[x]")
    assert list(_rows("| option | says |")) == re.findall("`(.+?)`", headings["history"][1])
    assert set(re.findall("`([a-z]+)`", _rows("| option | says |")["shrink"][0])) == set(get_args(Shrink))
    parameters = re.findall("`([a-z_]+)`", _rows("| key | holds |")["parameters"][0])
    with pytest.raises(ConfigurationError) as raised:
        parameter_of("x", 1)
    assert set(re.findall(r"\w+", str(raised.value).split("there are ")[1].split(".")[0])) == set(parameters)
