"""What a prompt may say of its answer, in files and in code."""

import dataclasses
import json
import subprocess
import sys

import pydantic
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llmops_sdk import Prompt
from llmops_sdk.errors import ConfigurationError, PromptError
from llmops_sdk.prompts import Output
from llmops_sdk.prompts._files import parse_prompt
from llmops_sdk.prompts._outputs import output_of


class Inner(pydantic.BaseModel):
    note: str | None = None


class Answer(pydantic.BaseModel):
    answer: str
    inner: Inner = Inner()


def parsed(text, files=None):
    return parse_prompt(text.encode(), name="a", where="prompts/a.prompt.md", read=(files or {}).get)


def schema_in(text, files=None):
    return parsed(f"---\n{text}\n---\nx", files).content.output


def test_a_shorthand_is_an_object_with_these_fields_and_no_others():
    assert schema_in("output: {answer: str, score: float, tags: [str]}") == {
        "type": "object",
        "properties": {
            "answer": {"type": "string"},
            "score": {"type": "number"},
            "tags": {"type": "array", "items": {"type": "string"}},
        },
        "required": ["answer", "score", "tags"],
        "additionalProperties": False,
    }


@pytest.mark.parametrize(
    ("word", "schema"),
    [
        ("int", {"type": "integer"}),
        ("bool", {"type": "boolean"}),
        ("any", {}),
        ("list[list[int]]", {"type": "array", "items": {"type": "array", "items": {"type": "integer"}}}),
        ("dict[str, float]", {"type": "object", "additionalProperties": {"type": "number"}}),
        ("str | null", {"anyOf": [{"type": "string"}, {"type": "null"}]}),
        ("list[int | str]", {"type": "array", "items": {"anyOf": [{"type": "integer"}, {"type": "string"}]}}),
        ("'a|b' | \"c\"", {"enum": ["a|b", "c"]}),
        (["low", "high"], {"enum": ["low", "high"]}),
        ({"type": "string", "maxLength": 3}, {"type": "string", "maxLength": 3}),
        (
            {"n": "int"},
            {
                "type": "object",
                "properties": {"n": {"type": "integer"}},
                "required": ["n"],
                "additionalProperties": False,
            },
        ),
    ],
)
def test_each_word_of_the_shorthand_stands_for_a_schema(word, schema):
    assert output_of({"field": word}).schema["properties"]["field"] == schema


@pytest.mark.parametrize(
    "schema",
    [
        {"type": "object"},
        {"type": ["string", "null"], "enum": ["a", None]},
        {"$ref": "#/$defs/a", "$defs": {"a": {"type": "string"}}},
        {"anyOf": [{"type": "string"}, {"type": "null"}]},
        {"enum": [1, 2]},
        {"const": 3},
        {"properties": {"type": {"type": "string"}}},
        {},
    ],
)
def test_a_json_schema_is_taken_as_it_is(schema):
    assert output_of(schema).schema == schema


def test_a_field_may_have_the_name_of_a_word_of_schemas():
    made = output_of({"type": "str", "enum": "int", "schema": "str", "items": ["str"]}).schema
    assert list(made["properties"]) == ["type", "enum", "schema", "items"]


def test_a_file_is_read_at_the_version_of_the_prompt_and_is_part_of_its_hash():
    files = {"schemas/answer.json": b'\xef\xbb\xbf{"type": "object"}'}
    prompt = parsed("---\noutput: schemas/answer.json\n---\nx", files)
    assert prompt.output == {"type": "object"}
    assert prompt.hash == parsed("---\noutput: {type: object}\n---\nx").hash


@pytest.mark.parametrize(
    ("text", "files", "says"),
    [
        ("output: no.json", {}, "2: there is no file 'no.json'"),
        ("output: no.json", {"no.json": b"{"}, "2: no.json is not JSON"),
        ("output: no.json", {"no.json": b"[]"}, "2: no.json is no JSON schema"),
        ("output: no.json", {"no.json": b'{"type": "objekt", "properties": {}}'}, "Did you mean 'object'?"),
        ("output: no.json", {"no.json": b" " * 1_000_001}, "more than the 1,000,000 that are read"),
        ("name: a\noutput: {answer: strin}", {}, "3: `output`: at `answer`: unknown type 'strin'"),
        ("output: {a: {b: strr}}", {}, "2: `output`: at `a.b`: unknown type 'strr'"),
        ("output: {a: 'list[oops]'}", {}, "2: `output`: at `a`: unknown type 'oops'"),
        ("output: {a: {}, b: {c: []}}", {}, "2: `output`: at `b.c`: this is no type"),
        ("output: {1: str}", {}, "2: `output`: there is a field 1"),
        ("output: {type: object, required: a}", {}, "2: `output`: at `required`: this is a list of names"),
        ("output: {type: object, properties: [a]}", {}, "2: `output`: at `properties`: this is a mapping"),
        ("output: {type: array, items: {type: strin}}", {}, "at `items`: unknown type 'strin'"),
        ("output: {schema: {a: str}, repairs: 11}", {}, "2: `repairs` is a whole number from 0 to 10, not 11"),
        ("output: true", {}, "2: `output` is a JSON schema"),
        ("output: sentence", {}, "2: `output`: unknown type 'sentence'"),
    ],
)
def test_what_is_wrong_is_named_with_its_line(text, files, says):
    with pytest.raises(PromptError) as failed:
        schema_in(text, files)
    assert str(failed.value).startswith("prompts/a.prompt.md:")
    assert says in str(failed.value)


def test_deep_nesting_is_refused():
    deep: object = "str"
    for _ in range(100):
        deep = {"a": deep}
    with pytest.raises(ConfigurationError, match="nested more than"):
        output_of(deep)
    for _ in range(200):
        deep = {"type": "array", "items": deep}
    with pytest.raises(ConfigurationError, match="nested more than"):
        output_of(deep)


def test_repairs_stand_beside_the_schema_and_leave_the_hash_as_it_is():
    prompt = parsed("---\noutput: {schema: {answer: str}, repairs: 2}\n---\nx")
    assert prompt.output_for(None).repairs == 2
    assert prompt.hash == parsed("---\noutput: {answer: str}\n---\nx").hash


@pytest.mark.parametrize(
    "said",
    [
        "{schema: {answer: str}, repairs: 2}",
        "{schema: schemas/a.json, repairs: 0}",
        "{schema: 'list[str]', repairs: 3}",
        "{schema: str}",
        "{schema: {schema: {a: str}}}",
    ],
)
def test_an_output_with_repairs_is_written_as_it_was_read(said):
    files = {"schemas/a.json": b'{"type": "object"}'}
    prompt = parsed(f"---\noutput: {said}\n---\nx", files)
    again = parsed(prompt.to_text(), files)
    assert (again.hash, again.output_for(None)) == (prompt.hash, prompt.output_for(None))
    assert ("schemas/a.json" in prompt.to_text()) == ("schemas/a.json" in said)
    other = prompt.with_output(Output(schema=prompt.content.output, repairs=9))
    assert parsed(other.to_text(), files).output_for(None).repairs == 9


def test_an_output_that_is_a_type_is_not_written_as_if_it_were_its_schema():
    prompt = Prompt.from_string("x", output=Answer)
    with pytest.raises(ConfigurationError, match="is a type, and no file holds one"):
        prompt.to_text()
    assert parsed(prompt.with_output(prompt.content.output).to_text()).hash == prompt.hash


def test_a_type_is_the_output_and_its_schema_is_asked_for_closed():
    prompt = Prompt.from_string("x", output=Answer)
    assert prompt.output is Answer
    schema = prompt.render().response_schema
    assert schema == prompt.content.output
    assert (schema["required"], schema["additionalProperties"]) == (["answer", "inner"], False)
    assert schema["$defs"]["Inner"]["required"] == ["note"]


def test_dataclasses_and_other_types_will_do():
    @dataclasses.dataclass
    class Place:
        city: str

    assert Prompt.from_string("x", output=Place).content.output["required"] == ["city"]
    assert Prompt.from_string("x", output=list[int]).content.output == {"type": "array", "items": {"type": "integer"}}


@pytest.mark.parametrize("wrong", [3, b"x", object(), "", []])
def test_what_is_no_output_is_refused(wrong):
    with pytest.raises(ConfigurationError, match="output"):
        Prompt.from_string("x", output=wrong)


def test_an_output_and_a_response_schema_say_the_same():
    with pytest.raises(ConfigurationError, match="keep `output`"):
        Prompt.from_string("x", output=Answer, response_schema={})


def test_with_output_makes_another_prompt_of_the_same_file():
    prompt = parsed("---\noutput: {schema: {answer: str}, repairs: 2}\n---\nHello {{ name }}")
    typed = prompt.with_output(Answer)
    assert (typed.output, typed.name, typed.output_for(None).repairs) == (Answer, "a", 2)
    assert typed.hash != prompt.hash
    assert typed.ref.hash == typed.content.hash() == typed.hash
    assert prompt.output == prompt.render(name="x").response_schema
    assert typed.render(name="x").prompt == typed.ref


def test_an_output_that_was_made_before_is_taken_as_it_is():
    output = Output(schema={"type": "object"}, repairs=0)
    assert Prompt.from_string("x", output=output).output_for(None) is output


def test_a_prompt_in_the_code_with_a_schema_loads_nothing_that_is_dear():
    code = (
        "import sys\n"
        "from llmops_sdk import Prompt\n"
        "Prompt.from_string('x', output={'answer': 'str'}).render()\n"
        "dear = 'pydantic jsonschema yaml jinja2 dulwich asyncio llmops_sdk.prompts._files llmops_sdk.prompts._split'\n"
        "print([name for name in dear.split() if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


_types = st.recursive(
    st.sampled_from(["str", "int", "float", "bool", "any"]),
    lambda inner: (
        st.builds("list[{}]".format, inner)
        | st.builds("dict[str, {}]".format, inner)
        | st.builds("{} | {}".format, inner, inner)
        | st.dictionaries(st.text(min_size=1, max_size=5), inner, min_size=1, max_size=3).map(json.dumps)
    ),
    max_leaves=6,
)


@settings(max_examples=60)
@given(st.dictionaries(st.text(min_size=1, max_size=8), st.text(max_size=20) | _types, max_size=4))
def test_any_shorthand_is_a_schema_or_a_configuration_error(given_fields):
    try:
        schema = output_of(given_fields).schema
    except ConfigurationError:
        return
    jsonschema = pytest.importorskip("jsonschema")
    jsonschema.Draft202012Validator.check_schema(schema)
