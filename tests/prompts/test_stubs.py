"""Stubs of prompts. What type checkers make of one is in `tests/typing/prompts_in_use.py`."""

from __future__ import annotations

import ast
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from llmops_sdk import Prompt
from llmops_sdk.prompts import Output, Section, Variable, type_stub
from llmops_sdk.prompts._files import parse_prompt


def parsed(data: bytes, name: str) -> Prompt:
    return parse_prompt(data, name=name, where=f"prompts/{name}.prompt.md")


def test_the_stub_that_type_checkers_read_in_tests_typing_is_what_is_written() -> None:
    folder = Path(__file__).parents[1] / "typing"
    names = ("support/answer", "short")
    prompts = [parsed((folder / "prompts" / f"{name}.prompt.md").read_bytes(), name) for name in names]

    # If it is not: llmops types . --prompts tests/typing/prompts --versions prod -o tests/typing/app_prompts.pyi
    assert type_stub(prompts, versions=["prod"]) == (folder / "app_prompts.pyi").read_text("utf-8")


def test_a_variable_that_is_called_as_an_option_of_run_goes_in_with_a_mapping() -> None:
    text = type_stub([parsed(b"{{ tags }}", "a")])

    assert "def run(self, variables: AVariables, /" in text
    assert "**more" not in text


def test_the_words_of_variables_and_of_outputs_are_types_of_python() -> None:
    text = type_stub(
        [
            parsed(
                b"""---
variables: {chat: messages, photo: "image?", customer: {name: str, tags: [str]}, mood: [glad, very sad]}
output: {schema: {answer: low | high, note: "str?", source: {page: int}}, repairs: 2}
---
{{ customer.name }} {{ mood }} {{ photo }}

[history name=chat]
""",
                "a",
            )
        ]
    )
    for line in (
        "chat: _Sequence[_Message | _Mapping[str, _Any]]",
        "photo: _NotRequired[_ImagePart | str | bytes | _PurePath | None]",
        "tags: list[str] | tuple[str, ...]",
        "mood: _Literal['glad', 'very sad']",
        "answer: _Literal['low', 'high']",
        "note: str | None",
        "page: int",
    ):
        assert f"    {line}\n" in text


def test_names_that_clash_are_numbered_in_the_order_of_the_prompts() -> None:
    prompts = [
        parsed(b"x", name) for name in ("a/b", "a-b", "a_b", "a/b-result", "load", "2fa", "none", "\ufb01x", "fix")
    ]
    text = type_stub(prompts)
    classes = [one.name for one in ast.parse(text).body if isinstance(one, ast.ClassDef)]

    assert len(set(classes)) == len(classes)
    assert {"AB", "AB2", "AB3", "ABResult", "Load", "Prompt2fa", "NonePrompt", "Fix", "Fix2"} <= set(classes)
    assert type_stub(reversed(prompts)) == text


@settings(max_examples=40)
@given(
    names=st.lists(st.text(min_size=1, max_size=4), max_size=4, unique=True),
    variables=st.lists(st.from_regex(r"[^\W\d_]\w*", fullmatch=True), max_size=4, unique=True),
    keys=st.lists(st.text(st.characters(), max_size=5), max_size=4, unique=True),
)
def test_every_stub_is_python_whatever_things_are_called(
    names: list[str], variables: list[str], keys: list[str]
) -> None:
    schema = {"type": "object", "properties": {key: {"enum": [key, 1, None]} for key in keys}}
    prompts = [
        Prompt(
            [Section("user", "x")],
            name=name,
            variables={one: Variable(name=one, type="mapping", schema=schema) for one in variables},
            output=Output(schema=schema),
        )
        for name in names
    ]
    tree = ast.parse(type_stub(prompts))
    declared = [
        one.name if isinstance(one, ast.ClassDef) else one.targets[0].id  # type: ignore[attr-defined]
        for one in tree.body
        if isinstance(one, ast.ClassDef | ast.Assign)
    ]
    assert len(set(declared)) == len(declared)
    assert sum(isinstance(one, ast.FunctionDef) for one in tree.body) == len(names)
