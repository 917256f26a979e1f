from __future__ import annotations

import math
from dataclasses import fields

import pytest

from llmops_sdk.errors import ConfigurationError
from llmops_sdk.messages import Request
from llmops_sdk.prompts._parameters import _PARAMETERS, parameter_of


def test_every_field_of_a_request_that_a_prompt_can_know_is_a_parameter() -> None:
    no_parameters = {"messages", "prompt", "call", "continues", "traceparent"}
    assert set(_PARAMETERS) == {field.name for field in fields(Request)} - no_parameters


@pytest.mark.parametrize(
    ("name", "given", "held"),
    [
        ("temperature", 0, 0),
        ("top_p", 1, 1),
        ("max_tokens", 1, 1),
        ("stop", "END", ("END",)),
        ("stop", ["a", "b"], ("a", "b")),
        ("seed", -1, -1),
        ("n", 2, 2),
        ("tools", [{"type": "web_search"}], ({"type": "web_search"},)),
        ("tool_choice", "auto", "auto"),
        ("tool_choice", {"type": "function"}, {"type": "function"}),
        ("response_schema", {"type": "object"}, {"type": "object"}),
        ("adapter", "support", "support"),
        ("extra", {"top_k": 5}, {"top_k": 5}),
    ],
)
def test_a_parameter_in_range_is_held_as_requests_hold_it(name: str, given: object, held: object) -> None:
    assert parameter_of(name, given) == held


@pytest.mark.parametrize(
    ("name", "given"),
    [
        ("temperature", -0.1),
        ("temperature", math.nan),
        ("temperature", math.inf),
        ("temperature", "0"),
        ("temperature", True),
        ("top_p", 0),
        ("top_p", 1.1),
        ("max_tokens", 0),
        ("max_tokens", 1.5),
        ("max_tokens", True),
        ("stop", [""]),
        ("stop", 3),
        ("seed", 1.0),
        ("n", 0),
        ("tools", "x"),
        ("tools", [1]),
        ("tools", {"type": "function"}),
        ("tool_choice", "always"),
        ("response_schema", "{}"),
        ("adapter", ""),
        ("extra", [1]),
    ],
)
def test_a_parameter_out_of_range_is_refused(name: str, given: object) -> None:
    with pytest.raises(
        ConfigurationError, match=f"the parameter `{name}` has to be|tools are a list|a tool is a mapping"
    ):
        parameter_of(name, given)


def test_an_unknown_parameter_is_named_with_close_matches() -> None:
    with pytest.raises(ConfigurationError, match=r"no parameter 'temprature'; .* Did you mean 'temperature'\?"):
        parameter_of("temprature", 0)
