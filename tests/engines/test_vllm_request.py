"""A request as vLLM's renderer reads it; what needs vLLM is in `test_vllm.py`."""

from __future__ import annotations

import pytest

from llmops_sdk.engines._chat_form import chat_messages
from llmops_sdk.engines._vllm_request import check_request, template_arguments
from llmops_sdk.errors import BadRequestError
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


def test_tools_that_must_not_be_called_are_no_reason_to_refuse() -> None:
    tools = ({"type": "function", "function": {"name": "f"}},)
    check_request(
        Request(messages=(Message.user("Hello"),), tools=tools, tool_choice="none"), engine="vllm", model=None
    )
    with pytest.raises(BadRequestError, match="tool calls"):
        check_request(Request(messages=(Message.user("Hello"),), tools=tools), engine="vllm", model=None)
