from __future__ import annotations

import io
import json
import re
import tracemalloc
from pathlib import Path

import pydantic
import pytest
import rich.console
from hypothesis import given
from hypothesis import strategies as st

from llmops_sdk.errors import ConfigurationError
from llmops_sdk.prompts import Prompt
from llmops_sdk.prompts._comparing import CODES, diff
from llmops_sdk.prompts._comparing.texts import pieces
from llmops_sdk.prompts._comparing.wording import section_changes
from llmops_sdk.prompts._files import parse_prompt
from llmops_sdk.prompts._sections import Section

BODY = "[system]\nBe brief.\nBe kind.\n[user]\n{{ question }}\n"


def prompt(matter: str = "", body: str = BODY) -> Prompt:
    return parse_prompt(f"---\n{matter}\n---\n{body}".encode(), name="answer", where="answer")


def codes(old: Prompt, new: Prompt) -> list[tuple[str, str]]:
    return [(change.code, change.where) for change in diff(old, new).changes]


def variables(declared: str) -> Prompt:
    return prompt(f"variables: {{question: str, {declared}}}")


@pytest.mark.parametrize(
    ("old", "new", "code"),
    [
        ("x: str", "", "variable-removed"),
        ("", "x: str", "variable-added-required"),
        ("", "x: {type: str, optional: true}", "variable-added"),
        ("x: {type: str, optional: true}", "x: str", "variable-required"),
        ("x: str", "x: {type: str, optional: true}", "variable-optional"),
        ("x: {type: str, default: a}", "x: {type: str, default: b}", "variable-default"),
        ("x: str", "x: int", "variable-narrowed"),
        ("x: any", "x: str", "variable-narrowed"),
        ("x: float", "x: int", "variable-narrowed"),
        ("x: int", "x: float", "variable-widened"),
        ("x: str", "x: any", "variable-widened"),
        ("x: str", "x: {type: str, trusted: true}", "variable-trusted"),
        ("x: {type: str, trusted: true}", "x: str", "variable-untrusted"),
        ("x: str", "x: {type: str, description: words}", "variable-description"),
        ("x: str", "x: 'list[str]'", "variable-narrowed"),
        ("x: a | b", "x: a | b | c", "variable-widened"),
        ("x: a | b | c", "x: a | b", "variable-narrowed"),
        ("x: {enum: [1]}", "x: {enum: [true]}", "variable-narrowed"),
        ("x: {type: any, default: 1}", "x: {type: any, default: true}", "variable-default"),
        ("x: date", "x: str", "variable-narrowed"),
        ("x: 'list[date]'", "x: 'list[str]'", "variable-unclear"),
        ("x: {enum: [1.0]}", "x: int", "variable-unclear"),
        ("x: image", "x: any", "variable-unclear"),
        ("x: str", "x: image", "variable-narrowed"),
        ("x: {type: str, fence: xml}", "x: str", "variable-unfenced"),
        ("x: str", "x: {type: str, fence: xml}", "variable-fence"),
        ("x: {type: str, fence: xml}", "x: {type: str, fence: json}", "variable-fence"),
    ],
)
def test_a_change_of_a_variable_has_a_code(old, new, code) -> None:
    assert codes(variables(old), variables(new)) == [(code, "variables.x")]


def output(schema: str) -> Prompt:
    return prompt(f"output: {schema}")


OPEN = "{type: object, properties: {a: {type: string}}, required: [a]}"
CLOSED = "{type: object, properties: {a: {type: string}}, required: [a], additionalProperties: false}"


@pytest.mark.parametrize(
    ("old", "new", "found"),
    [
        ("", OPEN, [("output-added", "output")]),
        (OPEN, "", [("output-removed", "output")]),
        (
            OPEN,
            OPEN.replace("a: {", "b: {").replace("[a]", "[b]"),
            [
                ("output-property-removed", "output.a"),
                ("output-widened", "output"),
                ("output-property-added", "output.b"),
            ],
        ),
        (OPEN, OPEN.replace("string}", "string}, b: {type: number}"), [("output-property-added", "output.b")]),
        (CLOSED, CLOSED.replace("string}", "string}, b: {type: number}"), [("output-property-refused", "output.b")]),
        (OPEN, OPEN.replace("string", "[string, 'null']"), [("output-widened", "output.a")]),
        ("{enum: [a]}", "{enum: [a, b]}", [("output-widened", "output")]),
        ("{enum: [a, b]}", "{enum: [a]}", [("output-narrowed", "output")]),
        (OPEN, OPEN.replace("[a]", "[]"), [("output-widened", "output")]),
        ("{a: str}", OPEN.replace("[a]", "[a], additionalProperties: false"), []),
        ("{a: str}", "{a: str, b: int}", [("output-property-refused", "output.b")]),
        ("{a: str}", "{a: str | null}", [("output-widened", "output.a")]),
        ("{a: str | int}", "{a: int}", [("output-narrowed", "output")]),
        ("{a: str}", "{schema: {a: str}, repairs: 3}", []),
        ("{type: string}", "{type: string, pattern: a}", [("output-narrowed", "output")]),
        ("{type: string, pattern: a}", "{type: string, pattern: b}", [("output-unclear", "output")]),
        (
            "{type: object, properties: {a: {type: array, items: {type: object, properties: {b: {}, c: {}}}}}}",
            "{type: object, properties: {a: {type: array, items: {type: object, properties: {c: {}}}}}}",
            [("output-property-removed", "output.a[].b")],
        ),
    ],
)
def test_a_change_of_the_answer_has_a_code(old, new, found) -> None:
    assert codes(output(old), output(new)) == found


def test_an_answer_with_too_many_names_cannot_be_told() -> None:
    chain = {}
    for number in range(20):
        following = {"$ref": f"#/$defs/d{number + 1}"}
        chain[f"d{number}"] = {"properties": {"x": following, "y": following}}
    schema = {"type": "object", "$ref": "#/$defs/d0", "$defs": {**chain, "d20": {"type": "string"}}}
    old, new = (output(json.dumps({**schema, **more})) for more in ({}, {"minProperties": 1}))

    found = diff(old, new)

    assert found.verdict == "unclear"
    assert "names too many properties" in found.changes[0].message


def parameters(text: str) -> Prompt:
    return prompt(f"parameters: {{{text}}}")


TOOL = (
    "tools: [{type: function, function: {name: look, parameters: {type: object, properties: {id: {type: integer}}}}}]"
)


@pytest.mark.parametrize(
    ("old", "new", "code"),
    [
        ("temperature: 0", "temperature: 1", "parameter-changed"),
        ("", "max_tokens: 5", "parameter-changed"),
        ("n: 1", "n: 2", "parameter-answer"),
        ("", "tool_choice: required", "parameter-answer"),
        ("", TOOL, "tool-added"),
        (TOOL, "", "tool-removed"),
        (TOOL, TOOL.replace("integer", "string"), "tool-arguments"),
        (TOOL.replace("integer", "number"), TOOL, "tool-changed"),
        (TOOL.replace("integer", "string, pattern: a"), TOOL.replace("integer", "string, pattern: b"), "tool-unclear"),
        ("", "response_schema: {type: string}", "output-added"),
        ("", "extra: {response_format: {type: json_object}}", "parameter-unclear"),
        (TOOL.replace("]", ", {name: b}]"), TOOL.replace("[", "[{name: b}, "), "tool-order"),
        (TOOL.replace("]", ", {type: web_search}]"), "tools: [{type: web_search}]", "tool-removed"),
        ("extra: {a: 1, b: 2}", "extra: {b: 2, a: 1}", None),
    ],
)
def test_a_change_of_a_parameter_has_a_code(old, new, code) -> None:
    assert [found for found, _ in codes(parameters(old), parameters(new))] == ([code] if code else [])


@pytest.mark.parametrize(
    ("old", "new", "code"),
    [
        ("{{ question }}", "{{ question.name }}", "template-unclear"),
        ("{{ question }}", "{% for one in question %}{{ one }}{% endfor %}", "template-unclear"),
        ("{{ question }}", "{{ question | round }}", "template-unclear"),
        ("{% if question %}{{ question.a }}{% endif %}", "{{ question.a }}", "template-unclear"),
        ("{% include 'a.md' %}", "{% include 'b.md' %}", "template-unclear"),
        ("{{ question.a }}", "So {{ question.a }}", None),
        ("{{ question }}", "{{ known.name }} {{ question | upper }}", None),
        ("{{ question }}", "{% if question == 'a' and not known %}A{% else %}B{% endif %}", None),
        ("{{ question }}", "{% for one in listed %}{{ one }}{% endfor %}{# {{ question.a }} #}", None),
    ],
)
def test_code_that_may_fail_for_what_callers_give_is_unclear(old, new, code) -> None:
    matter = (
        "variables: {question: any, listed: list,"
        " known: {type: object, properties: {name: {type: string}}, required: [name]}}"
    )
    partials = {"a.md": b"{{ question }}", "b.md": b"{{ question.b }}"}
    versions = [
        parse_prompt(f"---\n{matter}\n---\n{body}".encode(), name="a", where="a", read=partials.get)
        for body in (old, new)
    ]

    assert diff(*versions).verdict == ("unclear" if code else "compatible")
    assert code is None or code in [one.code for one in diff(*versions).changes]


def test_another_default_of_what_a_text_takes_apart_is_unclear() -> None:
    old, new = (
        prompt(f"variables: {{x: {{type: mapping, default: {default}}}}}", "{{ x.a }}") for default in ("{a: 1}", "{}")
    )

    assert codes(old, new) == [("template-unclear", "variables.x"), ("variable-default", "variables.x")]


def test_a_variable_that_becomes_a_history_takes_messages_only() -> None:
    old, new = prompt(body="{{ x }}"), prompt(body="[history name=x]\n[user]\nHi")

    assert codes(old, new)[0] == ("variable-narrowed", "variables.x")
    declared = prompt("variables: {x: messages}", "[history name=x]\n[user]\nHi")
    assert codes(new, declared) == codes(declared, new) == [("variable-widened", "variables.x")]


def test_a_type_of_python_may_take_more_than_its_schema_says() -> None:
    class Order(pydantic.BaseModel):
        id: int

    typed = Prompt.from_string("{{ x }}", variables={"x": Order})
    plain = Prompt.from_string("{{ x }}", variables={"x": dict(typed.content.variables["x"].schema or {})})

    assert (diff(typed, plain).verdict, diff(plain, typed).verdict) == ("unclear", "unclear")
    assert diff(typed, Prompt.from_string("{{ x }}", variables={"x": Order})).verdict == "same"


EXAMPLES = "examples: [{question: 1, answer: a}, {question: 2, answer: b}]"


@pytest.mark.parametrize(
    "other",
    [EXAMPLES.replace(", {question: 2, answer: b}", ""), EXAMPLES.replace("1,", "true,"), EXAMPLES.replace("b}", "c}")],
)
def test_a_change_of_the_examples_has_a_code(other) -> None:
    body = "[examples]\n[user]\n{{ question }}\n"

    assert codes(prompt(EXAMPLES, body), prompt(other, body)) == [("examples-changed", "examples")]


@pytest.mark.parametrize(
    ("body", "found"),
    [
        (BODY.replace("brief", "short"), [("section-text", "sections.system")]),
        (BODY + "[assistant]\nYes?\n", [("section-added", "sections.assistant")]),
        (BODY.replace("[system]\nBe brief.\nBe kind.\n", ""), [("section-removed", "sections.system")]),
        (BODY.replace("[system]", "[system name=rules priority=3]"), [("section-heading", "sections.rules")]),
        (BODY.replace("[user]", "[user priority=2 shrink=start]"), [("section-heading", "sections.user")]),
        (BODY.replace("[system]", "[user]"), [("section-role", "sections.user")]),
        ("[user]\n{{ question }}\n[system]\nBe brief.\nBe kind.\n", [("section-moved", "sections.system")]),
    ],
)
def test_a_change_of_a_section_has_a_code(body, found) -> None:
    assert codes(prompt(), prompt(body=body)) == found


def test_what_others_said_and_the_system_says_now_is_breaking() -> None:
    found = diff(prompt(body="[user]\n{{ question }}"), prompt(body="[system]\n{{ question }}"))

    assert (found.verdict, found.changes[0].code) == ("breaking", "section-system")


def test_the_sections_of_long_prompts_are_matched_by_what_they_say() -> None:
    texts = [f"Rule {number}: mind the {number}th thing in all that you say." for number in range(60)]
    old = "".join(f"[user]\n{text}\n" for text in texts)
    new = "".join(f"[user]\n{text}\n" for text in ["A new first rule.", *texts[:30], *texts[31:]])

    assert codes(prompt(body=old), prompt(body=new)) == [
        ("section-removed", "sections.user#31"),
        ("section-added", "sections.user"),
    ]


def test_prompts_of_many_sections_are_compared_in_bounded_memory() -> None:
    old, new = ([Section("user", f"{text} {number}") for number in range(5_000)] for text in "ab")

    tracemalloc.start()
    found = list(section_changes(old, [*new[1:], *old[:1]]))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()

    assert found
    assert peak < 30_000_000


def test_the_same_content_is_the_same() -> None:
    found = diff(prompt("variables: {question: str}"), prompt("variables:\n  question: str  # asked"))

    assert (found.verdict, found.changes, found.compatible) == ("same", (), True)


def test_what_cannot_be_told_counts_as_breaking_until_it_is_waived() -> None:
    old, new = output("{type: string, pattern: a}"), output("{type: string, pattern: b}")

    assert (diff(old, new).verdict, diff(old, new).compatible) == ("unclear", False)
    waived = diff(old, new, waive=["output-unclear"])
    assert (waived.verdict, waived.compatible, waived.breaking) == ("compatible", True, ())
    assert "waived" in str(waived)


def test_only_codes_that_there_are_can_be_waived() -> None:
    with pytest.raises(ConfigurationError, match=r"'output-widen'.*Did you mean 'output-widened'"):
        diff(prompt(), prompt(), waive=["output-widen"])


def test_what_breaks_comes_first() -> None:
    old = prompt("description: A\nvariables: {question: str, x: str}")
    new = prompt("description: B\nvariables: {question: str}", BODY.replace("brief", "short"))

    assert [one.effect for one in diff(old, new).changes] == ["breaking", "compatible", "compatible"]


def test_a_change_shows_lines_and_words() -> None:
    (change,) = diff(prompt(), prompt(body=BODY.replace("brief", "very brief"))).changes

    assert change.unified().split("\n")[2:] == ["@@ -1,2 +1,2 @@", "-Be brief.", "+Be very brief.", " Be kind."]
    assert change.words() == (("same", "Be"), ("added", " very"), ("same", " brief.\nBe kind."))


@given(old=st.text(alphabet="ab .\n", max_size=40), new=st.text(alphabet="ab .\n", max_size=40))
def test_the_pieces_are_both_texts(old, new) -> None:
    found = list(pieces(old, new))

    assert "".join(text for kind, text in found if kind != "added") == old
    assert "".join(text for kind, text in found if kind != "removed") == new


def shown() -> tuple[Prompt, Prompt]:
    old = prompt("variables: {question: str, x: str}", "[user]\n{{ question }} <script>\n```\ncode")
    return old, prompt("variables: {question: any}", "[user]\n{{ question }} <b>\n```\ncode | more")


def test_a_difference_is_text_for_people() -> None:
    lines = str(diff(*shown())).split("\n")

    assert lines[2] == 'breaking    variable-removed  variables.x: \'x\' is gone  ({"type": "str"})'
    assert "            -{{ question }} <script>" in lines


def test_a_difference_is_shown_in_colours() -> None:
    console = rich.console.Console(width=100, force_terminal=True, record=True, file=io.StringIO())
    console.print(diff(*shown()))

    assert "<script>" in console.export_text(clear=False)
    assert "\x1b[1;31mbreaking" in console.export_text(styles=True)


def test_html_is_escaped() -> None:
    page = diff(*shown())._repr_html_()

    assert "<script>" not in page
    assert "<del style='color:#c62828'>script</del>" in page


def test_markdown_keeps_its_table_and_its_fences() -> None:
    text = diff(*shown()).to_markdown()

    assert text.startswith("### `answer`: breaking\n")
    assert "\n````diff\n" in text
    assert {row.count(" | ") for row in text.split("\n") if row.startswith("| ")} == {3}


def test_json_says_it_all() -> None:
    found = json.loads(json.dumps(diff(*shown()).to_json()))

    assert found["verdict"] == "breaking"
    assert found["changes"][0].keys() == {"code", "effect", "where", "message", "reason", "old", "new"}


def test_the_page_lists_every_code() -> None:
    page = Path(__file__).parents[2] / "docs" / "concepts" / "prompts" / "diff-and-merge.md"
    listed = re.findall(r"^\| `([a-z-]+)` \| (\w+) \|", page.read_text("utf-8"), re.MULTILINE)

    assert listed == [(code, effect) for code, (effect, _) in CODES.items()]
