from __future__ import annotations

import pytest

from llmops_sdk.errors import ConfigurationError, PromptError
from llmops_sdk.prompts._variables import Variable, check_types, checks_of, complete, variable_of


def test_a_declaration_may_be_a_type_or_a_mapping() -> None:
    assert variable_of("a", "int") == Variable(name="a", type="int")
    assert variable_of("a", None) == Variable(name="a")
    assert variable_of("a", {"type": "str", "trusted": True, "optional": True, "description": "what"}) == Variable(
        name="a", type="str", trusted=True, optional=True, description="what"
    )


def test_a_default_makes_a_variable_optional() -> None:
    assert variable_of("a", {"default": "x"}) == Variable(name="a", optional=True, default="x")


@pytest.mark.parametrize(
    ("name", "declared", "says"),
    [
        ("_a", "str", "cannot be a variable"),
        ("a-b", "str", "cannot be a variable"),
        ("a.b", "str", "cannot be a variable"),
        (1, "str", "cannot be a variable"),
        ("a", "strng", "unknown type 'strng'; .* Did you mean 'string' or 'str'"),
        ("a", 3, "write a type"),
        ("a", {"trust": True}, "no property 'trust'; .* Did you mean 'trusted'"),
        ("a", {"type": 3}, "unknown type"),
        ("a", {"trusted": "yes"}, "`true` or `false`"),
        ("a", {"default": 1, "optional": False}, "cannot be `optional: false`"),
        ("a", {"type": "int", "default": "1"}, "is of type int, its default '1' is not"),
    ],
)
def test_a_wrong_declaration_says_what_to_write(name: object, declared: object, says: str) -> None:
    with pytest.raises(ConfigurationError, match=says):
        variable_of(name, declared)


def test_what_is_missing_is_completed_by_defaults() -> None:
    variables = {"a": Variable(name="a"), "b": Variable(name="b", optional=True, default=3)}

    assert complete({"a": 1}, variables, "p") == {"a": 1, "b": 3}
    assert complete({"b": None, "a": 1}, variables, "p") == {"a": 1, "b": None}


def test_a_missing_and_an_unknown_variable_are_named() -> None:
    variables = {"question": Variable(name="question")}

    with pytest.raises(PromptError, match="'p' misses the variable 'question'") as missing:
        complete({}, variables, "p")
    with pytest.raises(PromptError, match=r"has no variable 'qestion': .* Did you mean 'question'\?") as unknown:
        complete({"question": 1, "qestion": 2}, variables, "p")
    with pytest.raises(PromptError, match=r"it takes none: a variable is written `{{ name }}`"):
        complete({"x": 1}, {}, "p")

    assert (missing.value.prompt, missing.value.variable) == ("p", "question")
    assert unknown.value.variable == "qestion"


@pytest.mark.parametrize(
    ("kind", "good", "bad"),
    [
        ("str", "x", 1),
        ("int", 1, "1"),
        ("int", 0, True),
        ("float", 1, "1.5"),
        ("float", 1.5, False),
        ("bool", True, 1),
        ("mapping", {"a": 1}, [1]),
        ("str", "x", None),
    ],
)
def test_types_are_checked(kind: str, good: object, bad: object) -> None:
    variable = variable_of("a", kind)

    check_types({"a": good}, checks_of([variable]), "p")
    with pytest.raises(PromptError, match=f"'p' takes 'a' as {kind}, and got {type(bad).__name__}"):
        check_types({"a": bad}, checks_of([variable]), "p")


def test_an_optional_variable_of_a_type_may_be_none() -> None:
    check_types({"a": None}, checks_of([Variable(name="a", type="int", optional=True)]), "p")
