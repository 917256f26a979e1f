"""Few-shot examples: where they stand, which are chosen, and what is wrong with one."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmops_sdk import Prompt
from llmops_sdk.errors import ConfigurationError, PromptError
from llmops_sdk.messages import ImagePart, Message, Request
from llmops_sdk.prompts import Example
from llmops_sdk.prompts._examples.selecting import Likeness, drawn
from llmops_sdk.prompts._files import parse_prompt

SUMS = [{"sum": f"{n} + {n}", "answer": str(2 * n)} for n in range(1, 9)]
CITIES = [
    {"question": "Where is my parcel?", "answer": "delivery"},
    {"question": "The invoice is wrong", "answer": "billing"},
    {"question": "How do I reset my password?", "answer": "account"},
    {"question": "The parcel arrived broken", "answer": "delivery"},
]


def texts(request: Request) -> list[str]:
    return [message.text for message in request.messages]


def parsed(text: str, **files: str) -> Prompt:
    read = {name.replace("__", "/").replace("_DOT_", "."): body.encode() for name, body in files.items()}
    return parse_prompt(text.encode(), name="support/sort", where="prompts/support/sort.prompt.md@1a2b", read=read.get)


def fails(says: str, text: str, **files: str) -> PromptError:
    with pytest.raises(PromptError) as caught:
        parsed(text, **files)
    assert str(caught.value).startswith(says), str(caught.value)
    assert caught.value.prompt == "support/sort"
    return caught.value


BODY = "[system]\nSort.\n\n[examples]\n\n[user]\nQuestion: {{ question }}\n[+]\nOne word."


def test_examples_ask_as_the_next_user_message_does() -> None:
    file = "\n".join(map(json.dumps, CITIES[:2])) + "\n\n"

    prompt = parsed(f"---\nexamples: examples/a.jsonl\n---\n{BODY}", examples__a_DOT_jsonl=file)

    messages = prompt.render(question="Hello").messages
    assert [(one.role, one.content) for one in messages] == [
        ("system", "Sort."),
        ("user", "Question: Where is my parcel?\n\nOne word."),
        ("assistant", "delivery"),
        ("user", "Question: The invoice is wrong\n\nOne word."),
        ("assistant", "billing"),
        ("user", "Question: Hello\n\nOne word."),
    ]
    assert messages[1].origins == ()  # the application's own words
    assert messages[5].origins[0].source == "variable:question"


def test_examples_ask_by_a_text_of_their_own() -> None:
    prompt = parsed(
        "---\nexamples: [{question: a, tone: kind, answer: {of: b}}]\n---\n"
        "[examples]\nQ: {{ question }} ({{ tone }})\n[user]\n{{ question }}"
    )

    assert texts(prompt.render(question="c", tone="rude")) == ["Q: a (kind)", '{"of": "b"}', "c"]


def test_an_example_may_be_an_exchange_word_for_word() -> None:
    prompt = parsed(
        "---\nexamples:\n- messages:\n  - {role: user, content: '{{ x }}'}\n  - {role: assistant, content: b}\n"
        "  - {role: user, content: c}\n  - {role: assistant, content: d}\n---\n[examples]\n[user]\n{{ question }}"
    )

    assert texts(prompt.render(question="e")) == ["{{ x }}", "b", "c", "d", "e"]


def test_examples_leave_out_what_is_optional_and_what_their_question_does_not_use() -> None:
    prompt = Prompt.from_string(
        "{{ sum }}{{ unit }}",
        system="{{ tone }}",
        variables={"unit": {"default": " m"}},
        examples=[{"sum": "1", "answer": "1"}, {"sum": "2", "unit": " km", "tone": "kind", "answer": "2"}],
    )

    assert texts(prompt.render(sum="3", tone="x")) == ["x", "1 m", "1", "2 km", "2", "3 m"]


def test_examples_have_images() -> None:
    prompt = Prompt.from_string(
        "See {{ photo }}.",
        variables={"photo": "image"},
        examples=[{"photo": "https://example.org/a.png", "answer": "cat"}],
    )

    message = prompt.render(photo="https://example.org/b.png").messages[0]

    assert message.text == "See ."
    assert message.content[1] == ImagePart(url="https://example.org/a.png")


def test_a_yaml_file_of_examples() -> None:
    file = "- question: Where?\n  answer: delivery\n- {question: Why, answer: billing}\n"

    prompt = parsed(f"---\nexamples: {{file: e.yaml, count: 1}}\n---\n{BODY}", e_DOT_yaml=file)

    assert len(prompt.content.examples.cases) == 2
    assert prompt.content.examples.cases[1].where == "prompts/e.yaml@1a2b:3"
    assert len(prompt.render(question="x").messages) == 4


def test_examples_make_a_version_by_what_they_say_not_by_where_they_stand() -> None:
    rows = "\n".join(map(json.dumps, CITIES))
    one = parsed(f"---\nexamples: a.jsonl\n---\n{BODY}", a_DOT_jsonl=rows)
    two = parsed(f"---\nexamples: {{file: b/c.jsonl}}\n---\n{BODY}", b__c_DOT_jsonl=rows.replace("\n", "\r\n") + "\n")
    inline = parsed(f"---\nexamples: {json.dumps(CITIES)}\n---\n{BODY}")
    other = parsed(f"---\nexamples: a.jsonl\n---\n{BODY}", a_DOT_jsonl=rows.replace("billing", "invoices"))
    fewer = parsed(f"---\nexamples: {{file: a.jsonl, count: 2}}\n---\n{BODY}", a_DOT_jsonl=rows)

    assert one.hash == two.hash == inline.hash
    assert len({one.hash, other.hash, fewer.hash, fewer.with_examples(count=3).hash}) == 4


# Which are chosen.


def test_the_first_are_shown_by_default() -> None:
    prompt = Prompt.from_string("{{ sum }}").with_examples(SUMS, count=2)

    assert texts(prompt.render(sum="9 + 9")) == ["1 + 1", "2", "2 + 2", "4", "9 + 9"]
    assert prompt.render(sum="a").messages[0] is prompt.render(sum="b").messages[0]  # rendered once


def test_similar_examples_stand_in_order_of_likeness_the_likest_next_to_the_question() -> None:
    prompt = Prompt.from_string("{{ question }}").with_examples(CITIES, count=2, select="similar")

    assert texts(prompt.render(question="my PARCEL is broken, it arrived so"))[:4:2] == [
        "Where is my parcel?",
        "The parcel arrived broken",
    ]
    assert texts(prompt.render(question="I forgot the password"))[2] == "How do I reset my password?"


def test_likeness_knows_languages_without_spaces_and_rare_words() -> None:
    likeness = Likeness(["包裹在哪里", "发票有错误", "the the the zebra", "the the the horse"])

    assert likeness.likest("我的发票有问题", 1) == [1]
    assert likeness.likest("the the zebra", 1) == [2]
    assert likeness.likest("", 2) == [1, 0]  # of equals the first


@given(st.text(), st.integers(1, 60), st.integers(-5, 5), st.data())
def test_what_is_drawn_is_some_of_all_and_the_same_again(question: str, number: int, seed: int, data: Any) -> None:
    count = data.draw(st.integers(0, number))

    places = drawn(question, number, count, seed)

    assert places == sorted(set(places)) == drawn(question, number, count, seed)
    assert len(places) == count
    assert all(0 <= place < number for place in places)


def test_every_example_is_drawn_about_as_often() -> None:
    often = [0] * 10
    for question in range(2000):
        for place in drawn(str(question), 10, 3, 0):
            often[place] += 1

    assert min(often) > 500  # 600 are expected, 20 is the deviation
    assert max(often) < 700


def test_random_examples_depend_on_the_question_and_the_seed_alone() -> None:
    prompt = Prompt.from_string("{{ sum }}", variables={"unused": {"default": 1}})
    prompt = prompt.with_examples(SUMS, count=3, select="random")

    again = [texts(prompt.render(sum="5", unused=object())) for _ in range(3)]

    assert again[0] == again[1] == again[2]
    assert len({tuple(texts(prompt.render(sum=str(n)))[:6]) for n in range(20)}) > 10
    assert len({tuple(texts(prompt.with_examples(seed=n).render(sum="5"))) for n in range(20)}) > 10
    # Fixed for ever: other examples on another machine, or in another release, are another request.
    assert drawn("5", 8, 3, 0) == [0, 1, 7]


def test_a_function_chooses_by_the_variables_of_the_request() -> None:
    def select(values: Mapping[str, object], examples: Sequence[Example]) -> list[Example]:
        return [one for one in reversed(examples) if one.variables["sum"][0] in str(values["sum"])]

    prompt = Prompt.from_string("{{ sum }}").with_examples(SUMS, select=select, count=2)

    assert texts(prompt.render(sum="1 2 3")) == ["3 + 3", "6", "2 + 2", "4", "1 2 3"]
    assert prompt.hash != Prompt.from_string("{{ sum }}").with_examples(SUMS, count=2).hash


@pytest.mark.parametrize(
    ("select", "says"),
    [
        (lambda values, examples: 1 / 0, "has failed: ZeroDivisionError"),
        (lambda values, examples: [{"sum": "1", "answer": "2"}], "return some of those"),
        (lambda values, examples: None, "has failed: TypeError"),
    ],
)
def test_a_function_that_chooses_wrongly_is_an_error_of_the_prompt(select: Any, says: str) -> None:
    prompt = Prompt.from_string("{{ sum }}").with_examples(SUMS, select=select)

    with pytest.raises(PromptError, match=says):
        prompt.render(sum="1")


def test_new_examples_keep_how_they_are_chosen_and_the_rest_of_the_prompt() -> None:
    prompt = Prompt.from_string(
        "{{ sum }}", system="Add.", name="add", temperature=0.5, variables={"sum": "str"}, examples=SUMS
    ).with_examples(count=1)

    other = prompt.with_examples([{"sum": "0 + 0", "answer": "0"}, *SUMS])

    request = other.render(sum="7")
    assert texts(request) == ["Add.", "0 + 0", "0", "7"]
    assert (request.temperature, other.name, other.variables) == (0.5, "add", ("sum",))


# What is wrong.


@pytest.mark.parametrize(
    ("says", "matter", "file"),
    [
        ("prompts/support/sort.prompt.md@1a2b:2: there is no file 'b.jsonl'", "examples: b.jsonl", ""),
        ("prompts/support/sort.prompt.md@1a2b:3: there is no file", "examples:\n  file: b.jsonl", ""),
        ("prompts/support/sort.prompt.md@1a2b:2: '../a.jsonl' is no path", "examples: ../a.jsonl", ""),
        ("prompts/support/sort.prompt.md@1a2b:2: '/a.jsonl' is no path", "examples: /a.jsonl", ""),
        ("prompts/support/sort.prompt.md@1a2b:2: `examples` is a list", "examples: 3", ""),
        ("prompts/support/sort.prompt.md@1a2b:2: `examples` is a list", "examples: {file: a.jsonl, cases: []}", ""),
        ("prompts/support/sort.prompt.md@1a2b:2: 'a.csv' has to end in", "examples: a.csv", ""),
        ("prompts/support/sort.prompt.md@1a2b:2: the list of examples is empty", "examples: []", ""),
        ("prompts/support/sort.prompt.md@1a2b:2: the list of examples is empty", "examples: a.jsonl", "\n \n"),
        ("prompts/a.jsonl@1a2b:2: this is not a JSON object", "examples: a.jsonl", '{"question":"a","answer":""}\n{'),
        ("prompts/a.jsonl@1a2b:1: this is not a JSON object", "examples: a.jsonl", "[" * 100_000),
        ("prompts/a.jsonl@1a2b:1: this is not a JSON object", "examples: a.jsonl", '{"n": ' + "9" * 5000 + "}"),
        ("prompts/a.jsonl@1a2b:1: an example is a mapping", "examples: a.jsonl", "3"),
        ("prompts/a.jsonl@1a2b:1: an example has an `answer`", "examples: a.jsonl", '{"question": "a"}'),
        ("prompts/a.jsonl@1a2b:1: the `messages` of an example are", "examples: a.jsonl", '{"messages": []}'),
        (
            "prompts/a.jsonl@1a2b:1: of the `messages` of an example, one is int",
            "examples: a.jsonl",
            '{"messages": [1]}',
        ),
        ("prompts/a.jsonl@1a2b:1: an example: the prompt 'support/sort' misses", "examples: a.jsonl", '{"answer": ""}'),
        ("prompts/a.jsonl@1a2b:1: a NUL character", "examples: a.jsonl", '{"answer": "\0"}'),
        ("prompts/a.jsonl@1a2b:1: the file has 1,000,001 bytes", "examples: a.jsonl", " " * 1_000_001),
        (
            "prompts/a.jsonl@1a2b:2: an example: the prompt 'support/sort' has no variable 'qestion'",
            "examples: a.jsonl",
            '{"question": "", "answer": ""}\n{"question": "", "qestion": "", "answer": ""}',
        ),
        (
            "prompts/a.jsonl@1a2b:1: an example: the prompt 'support/sort' takes 'question' as str, and got int",
            "variables: {question: str}\nexamples: a.jsonl",
            '{"question": 3, "answer": ""}',
        ),
        ("prompts/support/sort.prompt.md@1a2b:2: `count` is", "examples: {file: a.jsonl, count: 0}", '{"answer": ""}'),
        ("prompts/support/sort.prompt.md@1a2b:2: `seed` is", "examples: {file: a.jsonl, seed: x}", '{"answer": ""}'),
        (
            "prompts/support/sort.prompt.md@1a2b:2: `select` is first, random, similar or, in code, a function",
            "examples: {file: a.jsonl, select: simila}",
            '{"answer": ""}',
        ),
        (
            "prompts/support/sort.prompt.md@1a2b:2: `select: random` needs to know how many",
            "examples: {file: a.jsonl, select: random}",
            '{"answer": ""}',
        ),
        (
            "prompts/support/sort.prompt.md@1a2b:2: examples have no option 'limit'",
            "examples: {file: a.jsonl, limit: 3}",
            '{"answer": ""}',
        ),
        ("prompts/e.yaml@1a2b:1: a file of examples holds a list", "examples: e.yaml", "a: b"),
        ("prompts/e.yaml@1a2b:2: an example has an `answer`", "examples: e.yaml", "- {answer: b, question: x}\n- {}"),
        ("prompts/e.yaml@1a2b:2: this is not YAML", "examples: e.yaml", "- a\n- ]"),
    ],
)
def test_a_wrong_example_is_named_with_its_line(says: str, matter: str, file: str) -> None:
    files = {"a_DOT_jsonl": file, "a_DOT_csv": file, "e_DOT_yaml": file}
    fails(says, f"---\n{matter}\n---\n{BODY}", **files)


def test_examples_and_their_place_need_each_other() -> None:
    fails("prompts/support/sort.prompt.md@1a2b:3: `[examples]` needs `examples:`", "a\n[examples]\n[user]\nb")
    fails(
        "prompts/support/sort.prompt.md@1a2b:2: nothing shows the examples",
        "---\nexamples: [{answer: a}]\n---\nb",
    )
    fails(
        "prompts/support/sort.prompt.md@1a2b:5: `[examples]` asks as the `[user]` message below it does",
        "---\nexamples: [{answer: a}]\n---\n[examples]\n[system]\nb",
    )


def test_examples_in_code_are_checked_as_well() -> None:
    prompt = Prompt.from_string("{{ sum }}")
    with pytest.raises(ConfigurationError, match="no examples to choose from"):
        prompt.with_examples(count=3)
    with pytest.raises(ConfigurationError, match="no option 'limit'"):
        prompt.with_examples(SUMS, limit=3)
    with pytest.raises(ConfigurationError, match="more than the 2,000"):
        prompt.with_examples(SUMS * 300)
    with pytest.raises(PromptError, match="an example: the prompt 'inline' misses the variable 'sum'") as caught:
        prompt.with_examples([{"answer": "1"}])
    assert caught.value.variable == "sum"


def test_the_messages_of_an_example_may_be_messages() -> None:
    said = (Message.user("a"), Message.assistant("b"))

    prompt = Prompt.from_string("{{ q }}").with_examples([{"messages": said}])

    assert prompt.render(q="c").messages[:2] == said
