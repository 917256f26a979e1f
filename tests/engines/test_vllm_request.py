"""A request as vLLM's renderer reads it; what needs vLLM is in `test_vllm.py`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from llmops_sdk.engines._chat_form import chat_messages
from llmops_sdk.engines._vllm_request import check_request, refuse_images, template_arguments, template_text
from llmops_sdk.errors import BadRequestError, ConfigurationError
from llmops_sdk.messages import ImagePart, Message, Request, TextPart, ToolCall


def test_messages_take_the_openai_form() -> None:
    call = ToolCall(id="c1", name="look_up", arguments='{"id": 3}')
    messages = (
        Message.system("Be brief."),
        Message.user((TextPart(text="What is this?"), ImagePart(url="data:image/png;base64,AA", detail="low"))),
        Message.assistant(tool_calls=(call,)),
        Message.tool("a parcel", tool_call_id="c1", name="look_up"),
    )
    assert chat_messages(messages) == [
        {"role": "system", "content": "Be brief."},
        {
            "role": "user",
            "content": [
                {"type": "text", "text": "What is this?"},
                {"type": "image_url", "image_url": {"url": "data:image/png;base64,AA", "detail": "low"}},
            ],
        },
        {
            "role": "assistant",
            "content": "",
            "tool_calls": [{"id": "c1", "type": "function", "function": {"name": "look_up", "arguments": '{"id": 3}'}}],
        },
        {"role": "tool", "content": "a parcel", "tool_call_id": "c1", "name": "look_up"},
    ]


def test_the_template_asks_for_an_answer_or_goes_on() -> None:
    hello = (Message.user("Hello"),)
    assert template_arguments(Request(messages=hello)) == {"add_generation_prompt": True}
    goes_on = Request(
        messages=hello, extra={"continue_final_message": True, "chat_template_kwargs": {"enable_thinking": False}}
    )
    assert template_arguments(goes_on) == {
        "add_generation_prompt": False,
        "continue_final_message": True,
        "enable_thinking": False,
    }


HELLO = (Message.user("Hello"),)
TOOLS = ({"type": "function", "function": {"name": "f"}},)
NAN = float("nan")


def check(*, tool_calls: bool = True, **parameters: Any) -> None:
    values = {"messages": HELLO, **parameters}
    check_request(Request(**values), engine="vllm", model="m", tool_calls=tool_calls)


def test_tools_that_must_not_be_called_are_no_reason_to_refuse() -> None:
    check(tools=TOOLS, tool_choice="none", tool_calls=False)
    with pytest.raises(BadRequestError, match=r"`tool_call_parser=\.\.\.`"):
        check(tools=TOOLS, tool_calls=False)


@pytest.mark.parametrize(
    "parameters",
    [
        {"temperature": 0, "top_p": 1, "max_tokens": 1, "n": 1, "seed": -1, "logprobs": 0, "stop": ("a",)},
        {"temperature": 2.0, "top_p": 0.1, "seed": 2**63 - 1, "logprobs": 20},
        {"extra": {"priority": -1, "logit_bias": {5: -100}, "ignore_eos": True, "chat_template_kwargs": {"a": 1}}},
        {"tools": TOOLS, "tool_choice": "auto"},
        {"tools": TOOLS, "tool_choice": "required"},
        {"tools": TOOLS, "tool_choice": {"type": "function", "function": {"name": "f"}}},
        {"tool_choice": "auto"},
    ],
    ids=str,
)
def test_what_can_be_asked_is_let_through(parameters: dict[str, Any]) -> None:
    check(**parameters)


@pytest.mark.parametrize(
    ("parameters", "says"),
    [
        ({"messages": ()}, "no messages"),
        ({"temperature": NAN}, "temperature.*nan"),
        ({"temperature": -0.5}, "temperature"),
        ({"temperature": "0"}, "temperature"),
        ({"top_p": NAN}, "top_p"),
        ({"top_p": float("inf")}, "top_p"),
        ({"max_tokens": 0}, "max_tokens"),
        ({"max_tokens": 1.5}, "max_tokens"),
        ({"max_tokens": "5"}, "max_tokens"),
        ({"n": 0}, "n has to be"),
        ({"n": True}, "n has to be"),
        ({"n": 10**6}, "n has to be"),
        ({"seed": 2**63}, "seed"),
        ({"seed": "a"}, "seed"),
        ({"logprobs": -1}, "logprobs.*from 0 to 20"),
        ({"logprobs": 21}, "logprobs.*from 0 to 20"),
        ({"logprobs": True}, "logprobs.*from 0 to 20"),
        ({"stop": "abc"}, "stop.*tuple"),
        ({"stop": ("",)}, "stop"),
        ({"stop": (5,)}, "stop"),
        ({"extra": {"top_kk": 3}}, "unknown in `extra`: 'top_kk'; this engine knows .*top_k"),
        ({"extra": {"priority": "high"}}, "priority"),
        ({"extra": {"priority": 2**80}}, "priority"),
        ({"extra": {"chat_template_kwargs": 5}}, "chat_template_kwargs.*mapping"),
        ({"extra": {"bad_words": "abc"}}, "bad_words.*list"),
        ({"extra": {"ignore_eos": "yes"}}, "ignore_eos"),
        ({"extra": {"logit_bias": {5: NAN}}}, "logit_bias"),
        ({"response_schema": {"enum": []}}, "response_schema cannot be kept to: `enum` is empty"),
        ({"response_schema": "int"}, "response_schema.*mapping"),
        (
            {"tools": ({"type": "function", "function": {"name": "f", "parameters": {"enum": []}}},)},
            "schema of tool 'f'",
        ),
        ({"extra": {"choice": ["a"] * 2001}}, "2,001 texts"),
        ({"tool_choice": "required"}, "there are no tools"),
        ({"tool_choice": {"type": "function", "function": {"name": "f"}}}, "there are no tools"),
        ({"tools": TOOLS, "tool_choice": "any"}, "auto, none, required"),
        ({"tools": TOOLS, "tool_choice": {"type": "function", "function": {"name": "g"}}}, "none of the tools"),
        ({"tools": TOOLS, "tool_choice": {"name": "f"}}, "none of the tools"),
        ({"tools": (*TOOLS, {"name": "g"})}, "tool 2 is not in the OpenAI form"),
        ({"tools": ({"type": "function", "function": {"name": 5}},)}, "tool 1 is not in the OpenAI form"),
    ],
    ids=str,
)
def test_what_cannot_be_asked_is_refused_before_anything_starts(parameters: dict[str, Any], says: str) -> None:
    with pytest.raises(BadRequestError, match=says) as caught:
        check(**parameters)
    assert (caught.value.engine, caught.value.model) == ("vllm", "m")


def test_a_chat_template_is_a_file_or_text(tmp_path: Path) -> None:
    (tmp_path / "chat.jinja").write_text("{{ messages }}\n")
    assert template_text(str(tmp_path / "chat.jinja")) == "{{ messages }}\n"
    assert template_text("{{ bos_token }}") == "{{ bos_token }}"
    assert template_text(None) is None
    with pytest.raises(ConfigurationError, match=r"other\.jinja"):
        template_text(str(tmp_path / "other.jinja"))


def test_an_image_is_refused_by_name() -> None:
    refuse_images(Request(messages=HELLO), engine="vllm", model="m")
    image = Message.user((TextPart(text="What is this?"), ImagePart(url="data:image/png;base64,AA")))
    with pytest.raises(BadRequestError, match="m reads text only"):
        refuse_images(Request(messages=(*HELLO, image)), engine="vllm", model="m")
