from __future__ import annotations

import itertools

import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from llmops_sdk.errors import PromptError
from llmops_sdk.prompts import Prompt
from llmops_sdk.prompts._comparing import MergeResult, Side, merge_texts
from llmops_sdk.prompts._files import parse_prompt

BASE = """---
# Who answers.
description: Answers.  # short
parameters: {temperature: 0, max_tokens: 48}

variables:
  # What they ask.
  question: str
  customer:
    type: str
    trusted: true
output:
  type: object
  properties:
    answer: {type: string}
  required: [answer]
---
[system]
You are brief.
Be polite.

Say sorry.

[user name=asked]
{{ question }} {{ customer }}
"""


def merge(ours: str | bytes, theirs: str | bytes, base: str | bytes | None = BASE) -> MergeResult:
    def side(called: str, text: str | bytes) -> Side:
        return Side(called, text.encode() if isinstance(text, str) else text, lambda _path: None)

    return merge_texts(
        None if base is None else side("main~1", base), side("prod", ours), side("feature", theirs), name="answer"
    )


def edited(*replaced: tuple[str, str]) -> str:
    text = BASE
    for old, new in replaced:
        assert text.count(old) == 1, old
        text = text.replace(old, new)
    return text


def parsed(text: str) -> Prompt:
    return parse_prompt(text.encode(), name="answer", where="answer.prompt.md")


def wheres(result: MergeResult) -> list[str]:
    return [conflict.where for conflict in result.conflicts]


EDITS = {
    "a comment": (("# short", "# one line"),),
    "a parameter": (("temperature: 0", "temperature: 0.5"),),
    "a parameter beside it": (("max_tokens: 48", "max_tokens: 50"),),
    "a parameter more": (("max_tokens: 48}", "max_tokens: 48, seed: 3}"),),
    "a variable": (("  question: str\n", "  question: any\n"),),
    "a variable more": (("    trusted: true\n", "    trusted: true\n  # How.\n  tone: {type: str, default: kind}\n"),),
    "a property of a variable": (("    trusted: true\n", "    trusted: false\n"),),
    "a property of the answer": (
        ("    answer: {type: string}\n", "    answer: {type: string}\n    score: {type: number}\n"),
    ),
    "what is required": (("[answer]", "[answer, score]"),),
    "a line": (("brief", "very brief"),),
    "another line": (("Say sorry.", "Say hello."),),
    "a heading": (("name=asked", "name=asked priority=2"),),
    "a name": (("name=asked", "name=question"),),
    "the last line": (("{{ question }} {{ customer }}", "{{ question }} of {{ customer }}"),),
    "a section more": (("[user name=asked]", "[user name=before]\nThink first.\n\n[user name=asked]"),),
    "the last section": (("{{ question }} {{ customer }}\n", "{{ question }} {{ customer }}\n\n[assistant]\nWell,\n"),),
}
SAID_BELOW = [
    {"a heading", "a name"},
    {"a heading", "a section more"},
    {"a name", "a section more"},
    {"a parameter beside it", "a parameter more"},
    {"a property of a variable", "a variable more"},
    {"the last line", "the last section"},
]
"""Edits that replace the same words, so that they cannot be made one after the other."""


def test_edits_of_different_places_are_both_there() -> None:
    for ours, theirs in list(itertools.combinations(EDITS, 2))[::3]:  # each edit is with several others
        if {ours, theirs} not in SAID_BELOW:
            result = merge(edited(*EDITS[ours]), edited(*EDITS[theirs]))

            assert result.text == edited(*EDITS[ours], *EDITS[theirs]), (ours, theirs)
            assert result.clean


@pytest.mark.parametrize(("ours", "theirs"), [sorted(pair) for pair in SAID_BELOW])
def test_edits_beside_each_other_are_both_there(ours, theirs) -> None:
    result = merge(edited(*EDITS[ours]), edited(*EDITS[theirs]))

    assert result.clean
    assert parsed(result.text).hash not in {parsed(edited(*EDITS[one])).hash for one in (ours, theirs)}


def test_options_of_a_heading_are_merged_one_by_one() -> None:
    result = merge(edited(*EDITS["a heading"]), edited(*EDITS["a name"]))

    assert "[user name=question priority=2]" in result.text


def test_additions_at_one_place_of_a_mapping_are_sorted() -> None:
    one = edited(("  question: str\n", "  question: str\n  zeal: {type: str, default: a}\n"))
    other = edited(("  question: str\n", "  question: str\n  # First.\n  age: {type: int, optional: true}\n"))

    assert merge(one, other).text == merge(other, one).text
    assert list(parsed(merge(one, other).text).variables) == ["question", "age", "zeal", "customer"]


def test_both_changed_the_same_place() -> None:
    result = merge(edited(("brief", "short")), edited(("brief", "curt")))

    assert result.conflicts == (
        ("sections.system", "both sides changed it", "You are brief.\n", "You are short.\n", "You are curt.\n"),
    )
    shown = "<<<<<<< prod\nYou are short.\n||||||| main~1\nYou are brief.\n=======\nYou are curt.\n>>>>>>> feature\n"
    assert f"[system]\n{shown}Be polite." in result.text


def test_lines_that_touch_are_a_conflict() -> None:
    assert wheres(merge(edited(("brief", "short")), edited(("polite", "kind")))) == ["sections.system"]


def test_a_conflict_inside_of_a_line_names_the_key_and_marks_the_line() -> None:
    result = merge(edited(("temperature: 0", "temperature: 1")), edited(("temperature: 0", "temperature: 2")))

    assert wheres(result) == ["parameters.temperature"]
    assert "<<<<<<< prod\nparameters: {temperature: 1, max_tokens: 48}\n|||||||" in result.text


def test_what_one_side_deleted_and_the_other_did_not_touch_is_gone() -> None:
    without = edited(("[system]\nYou are brief.\nBe polite.\n\nSay sorry.\n\n", ""), ("max_tokens: 48", "seed: 1"))
    result = merge(without, edited(("{{ question }} ", "{{ question }} of ")))

    assert result.clean
    assert "brief" not in result.text
    assert "max_tokens" not in result.text
    assert "{{ question }} of" in result.text


@pytest.mark.parametrize(
    ("deleted", "changed", "where"),
    [
        ("[system]\nYou are brief.\nBe polite.\n\nSay sorry.\n\n", ("brief", "short"), "sections.system"),
        ("  customer:\n    type: str\n    trusted: true\n", ("trusted: true", "trusted: false"), "variables.customer"),
        (", max_tokens: 48", ("48", "50"), "parameters.max_tokens"),
    ],
)
def test_what_one_side_deleted_and_the_other_changed_is_a_conflict(deleted, changed, where) -> None:
    one = edited((deleted, ""), *([(" {{ customer }}", "")] if "customer" in deleted else ()))
    result = merge(one, edited(changed))

    assert wheres(result) == [where]
    assert result.conflicts[0].ours is None
    assert changed[1] in (result.conflicts[0].theirs or "")


def test_a_section_is_followed_through_a_new_name_and_a_new_place() -> None:
    moved = edited(
        ("[system]\nYou are brief.\nBe polite.\n\nSay sorry.\n\n", ""),
        ("{{ customer }}\n", "{{ customer }}\n\n[system name=rules]\nYou are brief.\nBe polite.\n\nSay sorry.\n"),
    )
    result = merge(moved, edited(("brief", "short")))

    assert result.clean
    assert [(one.name, one.text.split("\n")[0]) for one in parsed(result.text).sections] == [
        ("asked", "{{ question }} {{ customer }}"),
        ("rules", "You are short."),
    ]


def test_two_sections_at_one_place_are_a_conflict_since_their_order_counts() -> None:
    result = merge(f"{BASE}\n[assistant]\nHi.\n", f"{BASE}\n[assistant]\nHo.\n")

    assert wheres(result) == ["sections"]
    assert "order" in result.conflicts[0].reason


def test_two_orders_are_a_conflict() -> None:
    base = "[user name=a]\nA\n[user name=b]\nB\n[user name=c]\nC\n"
    one = "[user name=b]\nB\n[user name=a]\nA\n[user name=c]\nC\n"
    other = "[user name=a]\nA\n[user name=c]\nC\n[user name=b]\nB\n"

    assert merge(one, other, base).conflicts == (
        ("sections", "both sides changed the order", "a b c", "b a c", "a c b"),
    )


def test_what_both_added_alike_is_there_once() -> None:
    added = f"{BASE}\n[assistant]\nHi.\n"

    assert merge(added.replace("brief", "short"), added).text == added.replace("brief", "short")


def test_what_both_added_under_one_name_is_merged_as_one_section() -> None:
    result = merge(f"{BASE}\n[user name=more]\nHi.\n", f"{BASE}\n[user name=more]\nHo.\n")

    assert wheres(result) == ["sections.more"]
    assert result.text.count("[user name=more]") == 1


def test_tools_are_merged_by_their_names() -> None:
    def tools(*names: str) -> str:
        listed = "".join(f"    - type: function\n      function: {{name: {name}}}\n" for name in names)
        return f"---\nparameters:\n  tools:\n{listed}---\n[user]\nHi\n"

    result = merge(
        tools("look", "book"), tools("look", "ask").replace("name: look", "name: look, strict: true"), tools("look")
    )

    found = [
        (one["function"]["name"], one["function"].get("strict")) for one in parsed(result.text).parameters["tools"]
    ]
    assert found == [("look", True), ("ask", None), ("book", None)]


def test_a_variable_that_one_side_deleted_and_the_other_uses_is_a_conflict() -> None:
    without = edited(("  customer:\n    type: str\n    trusted: true\n", ""), (" {{ customer }}", ""))
    result = merge(without, edited(("Say sorry.", "Say sorry to {{ customer }}.")))

    assert wheres(result) == ["file"]
    assert "does not declare 'customer'" in result.conflicts[0].reason


def test_a_continued_message_does_not_slip_into_another_one() -> None:
    base = "[system]\nRules.\n\n[user]\nHello.\n\n[assistant]\nHi.\n"
    one = "[system]\nRules.\n\n[assistant]\nHi.\n"
    other = base.replace("Hello.\n", "Hello.\n\n[+]\nMy words.\n")

    (conflict,) = merge(one, other, base).conflicts
    assert "continue a message of `system`" in conflict.reason


def test_both_added_the_prompt() -> None:
    result = merge(BASE, edited(("brief", "short")), None)

    assert wheres(result) == ["sections.system"]
    assert merge(BASE, BASE, None).text == BASE


def test_another_indentation_beside_a_new_key_is_no_clean_merge() -> None:
    wide = edited(
        (
            "  # What they ask.\n  question: str\n  customer:\n    type: str\n    trusted: true\n",
            "    question: str\n    customer: {type: str, trusted: true}\n",
        )
    )
    result = merge(wide, edited(("  question: str\n", "  question: str\n  tone: {type: str, default: a}\n")))

    assert not result.clean


def test_marks_and_line_ends_stay_unless_one_side_changed_them() -> None:
    windows = "\ufeff" + BASE.replace("\n", "\r\n")
    result = merge(windows.replace("brief", "short").encode(), windows.replace("48", "50").encode(), windows.encode())
    unix = merge(edited(("brief", "short")), windows.replace("48", "50").encode(), windows.encode())

    assert result.text == windows.replace("brief", "short").replace("48", "50")
    assert unix.text == edited(("brief", "short"), ("48", "50"))


def test_a_missing_last_line_feed_is_a_change_like_others() -> None:
    assert merge(BASE.removesuffix("\n"), edited(("brief", "short"))).text == edited(("brief", "short")).removesuffix(
        "\n"
    )


@pytest.mark.parametrize("broken", ["---\nx: 1\n---\n[user]\nHi", "[user]\n"])
def test_a_broken_version_is_not_merged(broken) -> None:
    with pytest.raises(PromptError, match=r"answer of feature:\d"):
        merge(BASE, broken)


def test_a_conflict_that_was_left_is_an_error_with_its_line() -> None:
    text = merge(edited(("brief", "short")), edited(("brief", "curt"))).text
    line = text.split("\n").index("<<<<<<< prod") + 1

    with pytest.raises(PromptError, match=rf"^answer.prompt.md:{line}: a conflict of a merge is not resolved"):
        parsed(text)


@pytest.mark.parametrize(
    ("text", "where"),
    [
        ("{% include 'a.md' %}", "line 2 of the partial 'a.md'"),
        ("---\ntools: [a.md]\n---\nHi", "^a.md:2"),
        ("---\nexamples: a.md\n---\n[examples]\n[user]\nHi", "^a.md:2"),
    ],
)
def test_a_conflict_that_was_left_in_a_file_beside_it_is_an_error(text, where) -> None:
    beside = b"Be\n<<<<<<< prod\nkind.\n=======\nbrief.\n>>>>>>> feature\n"

    with pytest.raises(PromptError, match=f"{where}.*a conflict of a merge is not resolved"):
        parse_prompt(text.encode(), name="answer", where="answer.prompt.md", read=lambda _path: beside)


def test_a_title_that_is_underlined_is_no_conflict() -> None:
    assert parsed("[user]\nTitle!!\n=======\n<<<<<<< look\n").sections[0].text.endswith("look")


@pytest.mark.parametrize(
    ("base", "ours", "theirs", "conflicts"),
    [
        (b"A", b"A", b"A", []),
        (b"A", b"B", b"A", []),
        (b"A", b"B", b"B", []),
        (b"A", b"A", b"B", ["files.tone.md"]),
        (b"A", b"B", b"C", ["files.tone.md"]),
        (None, None, b"A", ["files.tone.md"]),
    ],
)
def test_a_change_of_a_file_beside_it_is_not_lost_in_silence(base, ours, theirs, conflicts) -> None:
    plain, including = "[system]\nBe brief.\n\n[user]\nHi\n", "[system]\n{% include 'tone.md' %}\n\n[user]\nHi\n"
    sides = [
        Side(called, (plain if data is None else including).encode(), lambda _path, data=data: data)
        for called, data in (("main~1", base), ("prod", ours), ("feature", theirs))
    ]
    result = merge_texts(*sides, name="answer")

    assert wheres(result) == conflicts
    assert "<<<<<<<" not in result.text


def test_a_result_says_what_came_of_it() -> None:
    result = merge(edited(("brief", "short")), edited(("brief", "curt")))

    assert str(result) == "answer: feature into prod: 1 conflict\n  sections.system: both sides changed it"
    assert result.to_json()["conflicts"][0]["base"] == "You are brief.\n"
    assert str(merge(BASE, BASE)) == "answer: feature into prod: clean"


WORDS = ["Be brief.", "Be kind.", "{{ a }} asks.", "Say {{ b }}.", "Mind."]
LINES = st.builds(
    lambda first, rest: [first, *rest], st.sampled_from(WORDS), st.lists(st.sampled_from([*WORDS, ""]), max_size=3)
)
HEADS = ["system", "user", "user name=x", "assistant priority=1"]
SECTIONS = st.builds(
    lambda first, rest: [first, *rest],
    st.tuples(st.sampled_from(HEADS), LINES),
    st.lists(st.tuples(st.sampled_from([*HEADS, "+"]), LINES), max_size=3),
)
VALUES = st.dictionaries(st.sampled_from(["temperature", "top_p", "n"]), st.sampled_from([1, 0.5]), max_size=3)
DECLARED = st.dictionaries(
    st.sampled_from("cdef"), st.sampled_from(["str", "{type: int, trusted: true}", "any"]), max_size=3
)


def _written(draw_sections, parameters, declared, *, flow: bool) -> str:
    body = "\n".join(f"[{head}]\n" + "\n".join(lines) + "\n" for head, lines in draw_sections)
    values = {key: 1 if key == "n" else value for key, value in parameters.items()}
    listed = "".join(f"  # On {key}.\n  {key}: {value}\n" for key, value in declared.items())
    pairs = [f"{key}: {value}" for key, value in values.items()]
    given = (
        f"parameters: {{{', '.join(pairs)}}}\n" if flow else "parameters:\n" + "".join(f"  {one}\n" for one in pairs)
    )
    return f"---\n{given}variables:\n  a: str\n  b: str\n{listed}---\n{body}"


FIND = (Phase.explicit, Phase.reuse, Phase.generate)
"""Without shrinking, which takes minutes for files: the examples are small as they are."""

TEXTS = st.builds(_written, SECTIONS, VALUES, DECLARED, flow=st.booleans())


@settings(max_examples=10)
@given(base=TEXTS, one=TEXTS)
def test_a_side_that_changed_nothing_adds_nothing(base, one) -> None:
    assert merge(base, one, base).text == one
    assert merge(one, base, base).text == one
    assert merge(one, one, base).text == one


def _meaning(result: MergeResult) -> object:
    return sorted((one.where, *sorted([str(one.ours), str(one.theirs)])) for one in result.conflicts)


@settings(max_examples=20, phases=FIND)
@given(base=TEXTS, one=TEXTS, other=TEXTS)
def test_a_merge_is_symmetric_parses_and_loses_nothing(base, one, other) -> None:
    result, turned = merge(one, other, base), merge(other, one, base)

    assert _meaning(result) == _meaning(turned)
    if not result.clean:
        return
    assert result.text == turned.text
    merged, before, *sides = (parsed(text).content for text in (result.text, base, one, other))
    for kind in ("variables", "parameters"):
        found, start, *both = (getattr(content, kind) for content in (merged, before, *sides))
        for key in {*found, *start, *both[0], *both[1]}:
            values = [values.get(key) for values in both]
            wanted = values[0] if values[1] == start.get(key) else values[1]
            assert found.get(key) == wanted
    known = " ".join(section.text for section in before.sections)
    words = {word for content in sides for section in content.sections for word in section.text.split("\n")}
    assert all(word in result.text for word in words if word not in known)
    assert {line for section in merged.sections for line in section.text.split("\n")} <= {
        *words,
        *known.split("\n"),
        "",
    }
