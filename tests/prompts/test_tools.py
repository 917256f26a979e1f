"""Definitions of tools: in files, in short, and from functions."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import pytest
from pydantic import Field

from llmops_sdk import Prompt
from llmops_sdk.errors import ConfigurationError, PromptError
from llmops_sdk.prompts._files import parse_prompt

FILES = {
    "tools/search.json": b'{"type": "function", "function": {"name": "search"}}',
    "tools/two.json": b'\xef\xbb\xbf[{"name": "a"},\r\n {"name": "b", "parameters": {"type": "object"}}]',
    "tools/bad.json": b'{\n"name": }',
    "tools/deep.json": b"[" * 100_000,
}


def parsed(matter: str) -> Prompt:
    text = f"---\n{matter}\n---\nx"
    return parse_prompt(text.encode(), name="a", where="prompts/a.prompt.md", read=FILES.get)


def names(prompt: Prompt) -> list[str]:
    return [tool["function"]["name"] for tool in prompt.render().tools]


def test_tools_in_files_and_in_short_become_the_form_that_engines_take() -> None:
    prompt = parsed("tools: [tools/search.json, {name: now, description: 'What time it is.'}, tools/two.json]")

    assert names(prompt) == ["search", "now", "a", "b"]
    assert prompt.render().tools[1] == {
        "type": "function",
        "function": {
            "name": "now",
            "description": "What time it is.",
            "parameters": {"type": "object", "properties": {}},
        },
    }
    assert prompt.hash == parsed(f"parameters: {{tools: {list(prompt.parameters['tools'])!r}}}").hash


def test_what_a_provider_runs_by_itself_is_left_as_it_is() -> None:
    web = {"type": "web_search", "filters": {"allowed_domains": ["example.org"]}}

    assert Prompt.from_string("x", tools=[web]).render().tools == (web,)


def test_the_form_of_the_responses_api_is_wrapped() -> None:
    (tool,) = Prompt.from_string("x", tools=[{"type": "function", "name": "f", "strict": True}]).render().tools

    assert tool["function"] == {"name": "f", "strict": True, "parameters": {"type": "object", "properties": {}}}


def search(
    query: str,
    kind: Literal["news", "papers"] = "news",
    *,
    top: Annotated[int, Field(ge=1, description="How many.")] = 3,
) -> list[str]:
    """Search the archive.

    It is large.

    Args:
        query: What to look for: words,
            and nothing else.
        kind (str): Which part.
        top: Not this, the annotation says it.

    Returns:
        Titles.
    """
    return [query, kind, str(top)]


def test_a_function_is_a_tool_by_its_signature_and_its_docstring() -> None:
    (tool,) = Prompt.from_string("x", tools=[search]).render().tools

    function = tool["function"]
    assert (function["name"], function["description"]) == ("search", "Search the archive.\n\nIt is large.")
    assert function["parameters"]["required"] == ["query"]
    assert function["parameters"]["properties"] == {
        "query": {"type": "string", "description": "What to look for: words, and nothing else."},
        "kind": {"type": "string", "enum": ["news", "papers"], "default": "news", "description": "Which part."},
        "top": {"type": "integer", "minimum": 1, "default": 3, "description": "How many."},
    }


def test_methods_and_coroutines_and_functions_without_words_are_tools() -> None:
    class Shop:
        async def order(self, item: str, count: int) -> None:
            """Order something."""

    def bare(x: Any) -> None: ...

    order, other = Prompt.from_string("x", tools=[Shop().order, bare]).render().tools

    assert order["function"]["parameters"]["required"] == ["item", "count"]
    assert other["function"] == {
        "name": "bare",
        "parameters": {"type": "object", "properties": {"x": {}}, "required": ["x"], "additionalProperties": False},
    }


@pytest.mark.parametrize(
    ("tools", "says"),
    [
        ("search", "tools are a list of tool definitions and functions, not str"),
        ([3], "a tool is a mapping with a `name`, or a function, not int"),
        ([{}], "letters, digits, `_` and `-`, not None"),
        ([{"name": "a b"}], "not 'a b'"),
        ([{"name": "a" * 65}], "1 to 64 letters"),
        ([{"type": "function", "function": 3}], "a mapping `function` with a `name`"),
        ([{"name": "a", "input_schema": {}}], "the tool 'a' has no 'input_schema'; there are name, description"),
        ([{"name": "a", "description": 3}], "description of the tool 'a' is a text"),
        ([{"name": "a", "parameters": {"type": "array"}}], "a JSON Schema with `type: object`"),
        ([{"name": "a"}, {"name": "a"}], "two tools have the name 'a'"),
        ([lambda x, /: x], "1 to 64 letters|positional-only"),
        ([lambda x: x], "not '<lambda>'"),
        ([print], "the signature of the tool 'print' makes no JSON Schema"),
    ],
)
def test_a_wrong_tool_says_what_to_write(tools: Any, says: str) -> None:
    with pytest.raises(ConfigurationError, match=says):
        Prompt.from_string("x", tools=tools)


@pytest.mark.parametrize(
    ("says", "matter"),
    [
        ("a.prompt.md:2: `tools` is a list of definitions and names of files", "tools: tools/search.json"),
        ("a.prompt.md:3: there is no file 'tools/none.json'", "tools:\n- tools/none.json"),
        ("a.prompt.md:2: '../x.json' is no path", "tools: [../x.json]"),
        ("tools/bad.json:2: this is not JSON: Expecting value at column 9", "tools: [tools/bad.json]"),
        ("tools/deep.json:1: this is not JSON", "tools: [tools/deep.json]"),
        ("a.prompt.md:2: the name of a tool is", "tools: [{name: a b}]"),
        ("a.prompt.md:3: `tools` and `parameters.tools` say the same", "parameters: {tools: []}\ntools: []"),
    ],
)
def test_a_wrong_tool_in_a_file_is_named_with_its_line(says: str, matter: str) -> None:
    with pytest.raises(PromptError) as caught:
        parsed(matter)
    assert str(caught.value).startswith(f"prompts/{says}"), str(caught.value)
