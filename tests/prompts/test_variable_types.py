"""Types of variables: how they are written, and what they refuse."""

from __future__ import annotations

import datetime as dt
import enum
import pickle
import subprocess
import sys
import types
import typing
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal

import jsonschema
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from pydantic import BaseModel, Field, field_validator
from pydantic_core import PydanticCustomError

from llmops_sdk import Document, Message, Prompt
from llmops_sdk.errors import ConfigurationError, PromptError
from llmops_sdk.messages import ImagePart
from llmops_sdk.prompts._files import parse_prompt
from llmops_sdk.prompts._variables import Variable, check_types, checks_of, variable_of


class Tone(enum.StrEnum):
    WARM = "warm"
    COOL = "cool"


class Address(BaseModel):
    zip: str


class Customer(BaseModel):
    """Somebody."""

    name: str
    address: Address
    orders: dict[str, int] = {}


@dataclass
class Point:
    x: int


def misfit(declared: object, value: object) -> str | None:
    """What `value` is told for a variable `a` that is declared so; `None`: it is right."""
    try:
        check_types({"a": value}, checks_of([variable_of("a", declared)]), "p")
    except PromptError as exc:
        return f"{exc.variable}: {exc}"
    return None


@pytest.mark.parametrize(
    ("written", "kind", "schema"),
    [
        ("str", "str", None),
        ("string", "str", None),
        ("integer", "int", None),
        ("number", "float", None),
        ("boolean", "bool", None),
        ("object", "mapping", None),
        ("dict", "mapping", None),
        ("array", "list", None),
        ("list", "list", None),
        ("date", "date", None),
        ({"type": "string", "format": "date"}, "date", None),
        ("datetime", "datetime", None),
        ("document", "document", None),
        ("documents", "documents", None),
        ("messages", "messages", None),
        ("image", "image", None),
        ("list[str]", "list", {"type": "array", "items": {"type": "string"}}),
        ("list[list[int]]", "list", {"type": "array", "items": {"type": "array", "items": {"type": "integer"}}}),
        ("dict[str, int]", "mapping", {"type": "object", "additionalProperties": {"type": "integer"}}),
        ("mapping[bool]", "mapping", {"type": "object", "additionalProperties": {"type": "boolean"}}),
        ("low | very high", "str", {"type": "string", "enum": ["low", "very high"]}),
        ({"enum": ["low", "high"]}, "str", {"type": "string", "enum": ["low", "high"]}),
        ({"enum": [1, 2]}, "int", {"type": "integer", "enum": [1, 2]}),
        ({"enum": [1, "a"]}, "any", {"enum": [1, "a"]}),
        ({"const": "a"}, "str", {"type": "string", "enum": ["a"]}),
        ("str | int", "any", {"anyOf": [{"type": "string"}, {"type": "integer"}]}),
        ({"type": ["string", "integer"]}, "any", {"anyOf": [{"type": "string"}, {"type": "integer"}]}),
        ({"type": "str", "maxLength": 5, "title": "x"}, "str", {"type": "string", "maxLength": 5}),
        ({"maxLength": 5}, "str", {"type": "string", "maxLength": 5}),
        ({"minimum": 1}, "float", {"type": "number", "minimum": 1}),
        (
            {"type": "list[str]", "maxItems": 2},
            "list",
            {"type": "array", "items": {"type": "string"}, "maxItems": 2},
        ),
        (
            {"properties": {"description": "str", "tags": "list[low | high]"}},
            "mapping",
            {
                "type": "object",
                "properties": {
                    "description": {"type": "string"},
                    "tags": {"type": "array", "items": {"type": "string", "enum": ["low", "high"]}},
                },
            },
        ),
        (str, "str", None),
        (Any, "any", None),
        (dt.date, "date", None),
        (Document, "document", None),
        (list[Document], "documents", None),
        (list[Message], "messages", None),
        (ImagePart, "image", None),
        (list[int], "list", {"type": "array", "items": {"type": "integer"}}),
        (Mapping[str, str], "mapping", {"type": "object", "additionalProperties": {"type": "string"}}),
        (Sequence[Literal["a", "b"]], "list", {"type": "array", "items": {"type": "string", "enum": ["a", "b"]}}),
        (Literal["a", "b"], "str", {"type": "string", "enum": ["a", "b"]}),
        (int | str, "any", {"anyOf": [{"type": "integer"}, {"type": "string"}]}),
        (typing.List, "list", None),  # noqa: UP006  (code that is older than `list[int]` has it)
        (typing.Dict, "mapping", None),  # noqa: UP006
        (list[typing.Dict], "list", {"type": "array", "items": {"type": "object"}}),  # noqa: UP006
    ],
)
def test_a_type_may_be_written_in_words_as_json_schema_or_in_python(written: object, kind: str, schema: object) -> None:
    assert variable_of("a", written) == Variable(name="a", type=kind, schema=schema)


@pytest.mark.parametrize(
    "written",
    ["str?", "str | null", {"type": ["string", "null"]}, {"anyOf": ["str", "null"]}, {"type": "str?"}, str | None],
)
def test_null_among_the_types_makes_a_variable_optional(written: object) -> None:
    assert variable_of("a", written) == Variable(name="a", type="str", optional=True)


def test_types_that_no_word_names_are_checked_by_pydantic() -> None:
    member = Prompt.from_string("{{ tone }}", variables={"tone": Literal[Tone.WARM]})
    assert member.render(tone=Tone.WARM).messages[0].text == str(Tone.WARM)
    with pytest.raises(PromptError, match="does not take this 'tone'"):
        member.render(tone=Tone.COOL)

    for listed in (typing.Sequence, Sequence[Annotated[str, {"no": "hash"}]]):
        prompt = Prompt.from_string("{{ names }}", variables={"names": listed})
        assert prompt.render(names=["a"]).messages[0].text == "['a']"
        with pytest.raises(PromptError, match="does not take this 'names'"):
            prompt.render(names=1)


def test_an_optional_type_keeps_its_keywords() -> None:
    assert variable_of("a", {"type": "str?", "maxLength": 3}).schema == {"type": "string", "maxLength": 3}
    assert variable_of("a", {"enum": ["x", None]}) == variable_of("a", "x | null")
    assert variable_of("a", "document?") == Variable(name="a", type="document", optional=True)
    assert variable_of("a", dt.date | None) == Variable(name="a", type="date", optional=True)


@pytest.mark.parametrize(
    ("declared", "says"),
    [
        ("list[strng]", "unknown type 'strng'.* Did you mean 'str"),
        ("list[str, int]", "unknown type"),
        ("dict[int, str]", "unknown type"),
        ("list[str", "unknown type"),
        ("", "unknown type ''"),
        ("str | low", "mixes types and words"),
        ("low | | high", "mixes types and words"),
        ("list[document]", "unknown type 'document'"),
        ({"type": "document", "maxLength": 3}, "takes no keywords"),
        ({"type": "str", "maxLenght": 3}, "'maxLenght' is not checked here.* Did you mean 'maxLength'"),
        ({"type": "str", "maxLength": -1}, "at `maxLength`: this is a whole number from 0"),
        ({"type": "str", "minimum": 1}, "`minimum` does not belong to `type: string`"),
        ({"type": "int", "multipleOf": 0}, "a number over 0"),
        ({"type": "str", "format": "hostname"}, "at `format`: this is one of date,"),
        ({"type": "date", "maxLength": 3}, "stands without other keywords"),
        ({"type": "str", "pattern": "("}, "no regular expression"),
        ({"type": "str", "pattern": "(?=a)"}, "no look-around"),
        ({"oneOf": [{"type": "string"}]}, "'oneOf' is not checked here, so it cannot be written: write `anyOf`"),
        ({"type": "object", "patternProperties": {}}, "'patternProperties' is not checked"),
        ({"type": "object", "properties": {"a": {"if": {}}}}, "at `a`: 'if' is not checked"),
        ({"type": "object", "required": "a"}, "a list of names"),
        ({"enum": []}, "list of values"),
        ({"enum": [["a"]]}, "texts, numbers"),
        ({"enum": [Tone.WARM]}, "texts, numbers"),
        ({"enum": ["a"], "maxLength": 3}, "cannot stand beside it"),
        ({"type": "int", "enum": ["a"]}, "not of `type: integer`"),
        ({"anyOf": ["str"], "maxLength": 1}, "`anyOf` stands alone"),
        ({"type": ["string", "integer"], "minItems": 1}, "`minItems` fits none of these types"),
        ({"$ref": "#/$defs/A"}, "leads nowhere"),
        ({"$ref": "#/$defs/A", "$defs": {"A": {"$ref": "#/$defs/A"}}}, "means itself"),
        ({"$ref": "#/$defs/A", "$defs": {"A": {"anyOf": ["int", {"$ref": "#/$defs/A"}]}}}, "means itself"),
        ({"$ref": "http://example.org"}, "such as `#/"),
        ({"type": "low | high", "default": "middle"}, "cannot have the default 'middle'"),
        ({"type": "list[int]", "default": ["1"]}, "cannot have the default"),
        ({"type": "str", "fence": "html"}, "unknown fence 'html'; there are xml, markdown, quote, json, none"),
        ({"type": "image", "fence": "xml"}, "takes no fence"),
        (types.SimpleNamespace, "pydantic cannot check values of SimpleNamespace"),
        ({"type": Customer, "maxProperties": 3}, "a Python type says all"),
    ],
)
def test_what_cannot_be_checked_is_refused_when_it_is_declared(declared: object, says: str) -> None:
    with pytest.raises(ConfigurationError, match=says) as caught:
        variable_of("a", declared)
    assert "the variable 'a'" in str(caught.value)


@pytest.mark.parametrize("around", [{"type": "array", "items": None}, {"not": None}, {"else": None}])
def test_a_schema_that_is_nested_without_end_is_refused(around: dict[str, Any]) -> None:
    schema: object = {"a": "str"}
    for _ in range(2000):
        schema = {key: schema if value is None else value for key, value in around.items()}

    with pytest.raises(ConfigurationError, match="nested more than"):
        variable_of("a", schema)
    with pytest.raises(ConfigurationError, match="nested more than"):
        Prompt.from_string("a", output=schema)
    with pytest.raises(ConfigurationError, match="nested more than"):
        variable_of("a", "list[" * 100 + "str" + "]" * 100)


CUSTOMER = {
    "type": "object",
    "properties": {
        "name": "str",
        "address": {"type": "object", "properties": {"zip": "str"}, "required": ["zip"]},
        "orders": "list[int]",
        "points": "dict[str, int]",
    },
    "required": ["address"],
    "additionalProperties": False,
}


@pytest.mark.parametrize(
    ("declared", "value", "says"),
    [
        ("int", "3", "takes 'a' as int, and got str"),
        ("list[int]", [1, "2"], r"this 'a\[1\]' \(of class str\): Input should be a valid integer"),
        ("list[int]", [True], r"a\[0\]"),
        ("list[int]", "12", "takes 'a' as list, and got str"),
        ("list[list[int]]", [[1], "2"], r"a\[1\]' \(of class str\): Input should be a list"),
        ("dict[str, int]", {4711: 1}, "this 'a'"),
        ("low | high", "LOW", r"Input should be low | high"),
        ({"enum": [1, 2]}, True, "takes 'a' as int"),
        ({"enum": [1, "x"]}, True, r"Input should be 1 \| x"),
        ({"type": "str", "pattern": "^[a-z]+$"}, "A", "match pattern"),
        ({"type": "str", "format": "uuid"}, "x", "should be a uuid"),
        ({"type": "str", "format": "ipv4"}, "1.2.3", "should be a ipv4"),
        ({"type": "str", "format": "email"}, "x", "should be a email"),
        ({"type": "str", "format": "uri"}, "x y", "should be a uri"),
        ("date", "31.3.2026", "takes 'a' as date, and got str"),
        ("date", dt.datetime(2026, 3, 31, tzinfo=dt.UTC), "takes 'a' as date, and got datetime"),
        ("datetime", dt.date(2026, 3, 31), "takes 'a' as datetime"),
        ("datetime", "2026-03-31", "takes 'a' as datetime"),
        ("list[date]", ["x"], r"a\[0\].*should be a date"),
        ("document", "text", "takes 'a' as document"),
        ("documents", ["text"], "takes 'a' as documents"),
        ("messages", "Hi", "takes 'a' as messages"),
        ("image", 3, "takes 'a' as image"),
        ("str | int", 1.5, "should be one of string, integer"),
        (CUSTOMER, {"address": {"zip": 8000}}, r"'a\.address\.zip' \(of class int\): Input should be a valid string"),
        (CUSTOMER, {"address": {}}, r"misses 'a\.address\.zip'"),
        (CUSTOMER, {"address": {"zip": "1"}, "orders": [1, "x"]}, r"a\.orders\[1\]"),
        (CUSTOMER, {"address": {"zip": "1"}, "phone": "1"}, "a key that is not declared"),
        (CUSTOMER, {"address": {"zip": 1}, "name": 2}, "and 1 more"),
        ({"minProperties": 1, "properties": {"x": "int"}}, {}, "too few keys"),
        ({"type": "list[int]", "uniqueItems": True}, [1, 1], "differ from each other"),
        ({"type": "list", "uniqueItems": True}, [{"a": 1, "b": [2]}, {"b": [2.0], "a": 1}], "differ from each other"),
        ("date", "2026-W14-2", "takes 'a' as date"),
        ("datetime", "20260331T120000", "takes 'a' as datetime"),
        ({"format": "time"}, "12", "should be a time"),
        ({"type": "int", "minimum": 3}, 2, "greater than or equal to 3"),
        (Customer, {"name": "Ada", "address": {"zip": 1}}, r"a\.address\.zip"),
        (list[Customer], [{"name": "Ada"}], r"misses 'a\[0\]\.address'"),
        (Point, {"x": 1}, "instance of Point"),
        (dict[int, Customer], {4711: {"name": 1}}, r"'a.name'"),
        (Annotated[int, Field(gt=3)], 3, "greater than 3"),
    ],
)
def test_a_value_of_another_type_is_told_its_place(declared: object, value: object, says: str) -> None:
    told = misfit(declared, value)
    assert told is not None
    with pytest.raises(AssertionError, match=says):
        raise AssertionError(told)


TREE = {
    "$ref": "#/$defs/B",
    "$defs": {"A": {"properties": {"a": {"$ref": "#/$defs/A"}}}, "B": {"$ref": "#/$defs/A"}},
}


@pytest.mark.parametrize(
    ("declared", "value"),
    [
        ("list[int]", (1, 2)),
        ("list[int]", []),
        ("float", 3),
        ("low | high", "low"),
        ({"enum": [1, "x"]}, 1),
        ({"type": "list", "uniqueItems": True}, [1, True, "1", None]),
        ({"format": "time"}, "12:30"),
        ("dict[str, any]", types.MappingProxyType({"a": [1]})),
        ({"properties": {"x": "int"}}, types.MappingProxyType({"x": 1, "y": "more"})),
        ("date", "2026-03-31"),
        ("date", dt.date(2026, 3, 31)),
        ("datetime", "2026-03-31T12:00:00Z"),
        ("list[datetime]", [dt.datetime(2026, 3, 31, tzinfo=dt.UTC)]),
        ("documents", []),
        ("documents", Document(id="1", text="x")),
        ("messages", [Message.user("Hi"), {"role": "user", "content": "Hi"}]),
        ({"type": "str", "format": "uuid"}, "0b7e6fda-58e5-4d0c-8c0c-9f0c9f3f5a51"),
        (CUSTOMER, {"address": {"zip": "1"}, "points": {"x": 1}}),
        (Customer, Customer(name="Ada", address=Address(zip="1"))),
        (Customer, {"name": "Ada", "address": {"zip": "1"}}),
        (Point, Point(1)),
        (Point | None, None),
        (TREE, {"a": {"a": {}}}),
    ],
)
def test_a_value_of_the_type_is_taken(declared: object, value: object) -> None:
    assert misfit(declared, value) is None


def test_a_value_that_holds_itself_is_refused() -> None:
    value: dict[str, object] = {}
    value["a"] = value

    assert "cyclic" in (misfit(TREE, value) or "")


_SECRET = "kept to ourselves"


class Picky(BaseModel):
    note: str

    @field_validator("note")
    @classmethod
    def quote(cls, note: str) -> str:
        raise ValueError(f"no {note}")


class Custom(BaseModel):
    note: str

    @field_validator("note")
    @classmethod
    def quote(cls, note: str) -> str:
        raise PydanticCustomError("no_note", "no {note}", {"note": note})


class Broken(BaseModel):
    note: str

    @field_validator("note")
    @classmethod
    def quote(cls, note: str) -> str:
        raise KeyError(note)


@pytest.mark.parametrize(
    ("declared", "value"),
    [
        ("int", _SECRET),
        ("list[int]", [_SECRET]),
        ("dict[str, int]", {_SECRET: "x"}),
        ("low | high", _SECRET),
        ({"type": "str", "maxLength": 3}, _SECRET),
        ({"type": "str", "pattern": "x"}, _SECRET),
        (CUSTOMER, {"address": {"zip": "1"}, _SECRET: 1}),
        (Customer, {"name": "Ada", "address": {"zip": "1"}, "orders": {_SECRET: _SECRET}}),
        (Picky, {"note": _SECRET}),
        (Custom, {"note": _SECRET}),
        (Broken, {"note": _SECRET}),
    ],
)
def test_an_error_quotes_nothing_of_the_value(declared: object, value: object) -> None:
    told = misfit(declared, value)
    assert told is not None
    assert _SECRET not in told


FILE = b"""---
variables:
  question: str
  customer:
    type: object
    properties:
      address: {type: object, properties: {zip: str}}
---
{{ question }} {{ customer.address.zip }}
"""


@pytest.mark.parametrize(
    ("values", "says", "variable"),
    [
        ({"question": 1, "customer": {}}, "takes 'question' as str, and got int", "question"),
        ({"question": "x", "customer": {"address": {"zip": 1}}}, r"'customer.address.zip'", "customer"),
        ({"question": "x"}, "misses the variable 'customer'", "customer"),
    ],
)
def test_an_error_names_the_file_and_the_line_of_the_declaration(
    values: dict[str, object], says: str, variable: str
) -> None:
    prompt = parse_prompt(FILE, name="a", where="prompts/a.prompt.md")
    line = {"question": 3, "customer": 4}[variable]

    with pytest.raises(PromptError, match=rf"^prompts/a.prompt.md:{line}: .*{says}") as caught:
        prompt.render(**values)
    assert (caught.value.prompt, caught.value.variable) == ("a", variable)


def test_an_unknown_variable_and_an_undeclared_one_name_the_file_as_well() -> None:
    declared = parse_prompt(FILE, name="a", where="prompts/a.prompt.md")
    with pytest.raises(PromptError, match=r"^prompts/a.prompt.md:3: .*no variable 'custmer'.*Did you mean 'customer'"):
        declared.render(question="x", custmer={})

    free = parse_prompt(b"[system]\nx\n\n[user]\n{{ question }}", name="b", where="prompts/b.prompt.md")
    with pytest.raises(PromptError, match=r"^prompts/b.prompt.md:5: .*misses the variable 'question'"):
        free.render()


def test_a_prompt_in_code_takes_python_types() -> None:
    prompt = Prompt.from_string(
        "{{ customer.name }} {{ count }} {{ tone }}",
        variables={"customer": Customer, "count": int, "tone": {"type": Literal["a", "b"], "default": "a"}},
    )
    ada = Customer(name="Ada", address=Address(zip="1"))

    assert prompt.render(customer=ada, count=1).messages[0].text == "Ada 1 a"
    assert prompt.render(customer=ada.model_dump(), count=1, tone="b").messages[0].text == "Ada 1 b"
    with pytest.raises(PromptError, match="takes 'count' as int, and got str"):
        prompt.render(customer=ada, count="1")
    with pytest.raises(PromptError, match="Input should be a"):
        prompt.render(customer=ada, count=1, tone="c")


def test_a_prompt_with_deep_types_is_pickled_before_and_after_its_first_render() -> None:
    prompt = Prompt.from_string("{{ a }}", variables={"a": Customer})
    value = Customer(name="Ada", address=Address(zip="1"))

    first = pickle.loads(pickle.dumps(prompt))
    prompt.render(a=value)
    again = pickle.loads(pickle.dumps(prompt))

    assert first.render(a=value) == again.render(a=value) == prompt.render(a=value)
    with pytest.raises(PromptError):
        again.render(a=1)


def test_the_hash_knows_schemas_fences_and_defaults_and_leaves_out_what_only_people_read() -> None:
    def hash_of(declared: object) -> str:
        return Prompt.from_string("{{ a }}", variables={"a": declared}).hash

    hashes = [
        hash_of(one)
        for one in (
            "str",
            "list[str]",
            "list[int]",
            {"type": "str", "fence": "xml"},
            {"type": "str", "fence": "quote"},
            {"type": "date", "default": dt.date(2026, 1, 1)},
            {"type": "date", "default": dt.date(2026, 1, 2)},
            Customer,
            {"type": Customer, "default": Customer(name="Ada", address=Address(zip="1"))},
            {"type": Customer, "default": Customer(name="Bob", address=Address(zip="1"))},
        )
    ]
    assert len(set(hashes)) == len(hashes)
    assert hash_of("str") == hash_of({"type": "string", "title": "x", "description": "y", "fence": "none"})
    assert hash_of("list[str]") == hash_of(list[str]) == hash_of({"type": "array", "items": {"type": "string"}})
    assert hash_of("str") == "b1692b001d24243d17db476592ca5284265e6e855ef3f41b365b588d7f90a542"


def test_a_plain_type_loads_no_pydantic_and_a_schema_loads_it_at_the_first_render() -> None:
    code = """
import sys
from llmops_sdk import Prompt
from typing import Literal
prompt = Prompt.from_string("{{ a }} {{ b }}", variables={"a": "str", "b": "date"})
prompt.render(a="x", b="2026-01-01")
deep = Prompt.from_string("{{ a }}", variables={"a": list[str], })
words = Prompt.from_string("{{ a }}", variables={"a": {"type": "low | high", "default": "low"}})
assert not [name for name in sys.modules if name.startswith("pydantic")]
deep.render(a=["x"])
assert "pydantic_core" in sys.modules and "pydantic" not in sys.modules
"""
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


_LEAVES = st.sampled_from(
    [
        {"type": "string"},
        {"type": "string", "minLength": 1, "maxLength": 2},
        {"type": "integer", "minimum": 0},
        {"type": "boolean"},
        {"type": "null"},
        {"enum": ["a", 1, True, None]},
        {},
    ]
)
_SCHEMAS = st.recursive(
    _LEAVES,
    lambda inner: st.one_of(
        st.builds(lambda items, most: {"type": "array", "items": items, "maxItems": most}, inner, st.integers(0, 3)),
        st.builds(
            lambda one, two, required, more: {
                "type": "object",
                "properties": {"a": one, "b": two},
                "required": required,
                "additionalProperties": more,
            },
            inner,
            inner,
            st.sampled_from([[], ["a"], ["a", "b"]]),
            st.one_of(st.booleans(), inner),
        ),
        st.builds(lambda one, two: {"anyOf": [one, two]}, inner, inner),
    ),
    max_leaves=5,
)
_VALUES = st.recursive(
    st.sampled_from(["", "a", "bb", "ccc", -1, 0, 1, True, False, None]),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.sampled_from("abc"), inner, max_size=3)),
    max_leaves=6,
)


@given(schema=_SCHEMAS, value=_VALUES)
@example(schema={"anyOf": [{"type": "null"}, {"type": "null"}]}, value=None)
def test_a_schema_takes_what_jsonschema_takes(schema: dict[str, Any], value: object) -> None:
    boxed = {"type": "object", "properties": {"x": schema}, "required": ["x"]}

    assert (misfit(boxed, {"x": value}) is None) == jsonschema.Draft202012Validator(boxed).is_valid({"x": value})
