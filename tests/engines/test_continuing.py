"""`Request(continues=True)`: the last message is continued, or the engine says that it cannot."""

import asyncio
import importlib.util

import pytest

from llmops_sdk.engines import Engine, Scripted
from llmops_sdk.engines._tensorrt_request import check_request as check_for_tensorrt
from llmops_sdk.engines._vllm_request import check_request as check_for_vllm
from llmops_sdk.engines._vllm_request import template_arguments
from llmops_sdk.engines.remote import Remote
from llmops_sdk.errors import BadRequestError, EngineConnectionError, UnsupportedError
from llmops_sdk.messages import Message, Request, ToolCall
from llmops_sdk.testing import FaultServer

USER = Message.user("Count")
BEGUN = Request(messages=(USER, Message.assistant("one, two")), continues=True)
SCHEMA = {"type": "object"}


def begun(text="one, two", **parameters):
    return Request(messages=(USER, Message.assistant(text)), continues=True, **parameters)


def compatible():
    return Remote("http://127.0.0.1:1/v1", model="m", provider="openai_compatible")


def anthropic():
    return Engine.open("anthropic:m", api_key="k")


def check_vllm(request):
    check_for_vllm(request, engine="vllm", model="m")


@pytest.mark.parametrize(
    "ask",
    [
        lambda request: compatible().asked(request, stream=True),
        lambda request: anthropic().asked(request, stream=True),
        check_vllm,
        lambda request: Scripted("one, two, three").generate(request),
    ],
    ids=["remote", "anthropic", "vllm", "scripted"],
)
def test_only_a_text_of_the_assistant_can_be_continued(ask):
    ask(BEGUN)
    call = ToolCall(id="1", name="now", arguments="{}")
    for last in (USER, Message.assistant(""), Message.assistant("Hm", tool_calls=(call,))):
        with pytest.raises(BadRequestError, match="no text of an assistant"):
            ask(Request(messages=(USER, last), continues=True))
    with pytest.raises(UnsupportedError, match="JSON schema"):
        ask(begun(response_schema=SCHEMA))


async def test_endpoint_is_asked_in_vllm_s_words():
    async with FaultServer(" three") as server:
        async with Remote(server.url, model="m", provider="openai_compatible") as engine:
            assert (await engine.agenerate(BEGUN)).text == " three"
            await engine.agenerate(Request.of("Hello"))
        sent, plain = (request.json for request in server.requests)
    assert sent["messages"][-1] == {"role": "assistant", "content": "one, two"}
    assert (sent["continue_final_message"], sent["add_generation_prompt"]) == (True, False)
    assert not {"continue_final_message", "add_generation_prompt"} & plain.keys()


def test_openai_itself_cannot_continue():
    engine = Engine.open("openai:gpt-5-mini", api_key="k")
    with pytest.raises(UnsupportedError, match="begins a new message"):
        engine.asked(BEGUN, stream=True)


def test_anthropic_is_given_the_text_as_its_last_turn():
    asked = anthropic().asked(BEGUN, stream=True)
    assert asked["messages"][-1] == {"role": "assistant", "content": "one, two"}
    assert "continue_final_message" not in asked
    with pytest.raises(UnsupportedError, match="white space"):
        anthropic().asked(begun("one, "), stream=True)
    with pytest.raises(UnsupportedError, match="think"):
        anthropic().asked(begun(extra={"thinking": {"type": "enabled", "budget_tokens": 1024}}), stream=True)
    anthropic().asked(begun(extra={"thinking": {"type": "disabled"}}), stream=True)


def test_vllm_leaves_the_last_message_open():
    check_vllm(BEGUN)
    assert template_arguments(BEGUN) == {"add_generation_prompt": False, "continue_final_message": True}
    with pytest.raises(UnsupportedError, match="thoughts"):
        check_for_vllm(BEGUN, engine="vllm", model="m", reasoning=True)
    with pytest.raises(UnsupportedError, match="structure"):
        check_vllm(begun(extra={"regex": "one.*"}))


def test_tensorrt_does_not_continue():
    with pytest.raises(UnsupportedError, match="continues no message"):
        check_for_tensorrt(BEGUN, adapters=(), guided=False, engine="trt", model="m")


@pytest.mark.skipif(importlib.util.find_spec("litellm") is None, reason="LiteLLM is not installed")
@pytest.mark.filterwarnings("ignore")
async def test_litellm_continues_with_the_models_that_it_knows_to_do_so():
    async def asked(model):
        async with Engine.open(f"litellm:{model}", api_key="k") as engine:
            await engine._prepare()
            return engine._arguments(BEGUN)

    sent = await asked("anthropic/claude-sonnet-4-5")
    assert sent["messages"][-1] == {"role": "assistant", "content": "one, two", "prefix": True}
    for model in ("openai/gpt-4o", "no_such_provider/model"):
        with pytest.raises(UnsupportedError, match="does not know"):
            await asked(model)


@pytest.mark.parametrize("answer", ["one, two, three", ["one", ", t", "wo", ", three"], ["one, two, three"]])
def test_scripted_gives_the_rest_of_its_answer(answer):
    for engine in (Scripted([*answer] if isinstance(answer, list) else answer),):
        assert engine.generate(BEGUN).text == ", three"
        assert "".join(chunk.text for chunk in engine.stream(BEGUN)) == ", three"
    assert Scripted("four").generate(BEGUN).text == "four"


def test_scripted_breaks_where_it_was_told_to_break():
    engine = Scripted(["one, ", "two, ", EngineConnectionError("cut"), "three"])

    async def read():
        texts = []
        with pytest.raises(EngineConnectionError):
            async for chunk in engine.astream(BEGUN):
                texts.append(chunk.text)  # noqa: PERF401  (what came before the error)
        return texts

    assert asyncio.run(read()) == [", "]
