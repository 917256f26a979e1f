"""A remote endpoint that is real: vLLM's own server, on the embedded model."""

from __future__ import annotations

import asyncio
import json
import time
import urllib.request

import pytest

from llmops_sdk import errors
from llmops_sdk.engines import Engine
from llmops_sdk.engines.remote import Model, Remote
from llmops_sdk.messages import ChunkJoiner, Message, Request, Response
from llmops_sdk.testing import EngineContract

pytestmark = [
    pytest.mark.heavy,
    pytest.mark.timeout(300),
    pytest.mark.filterwarnings("default"),  # importing torch and vLLM warns of their own parts
]

CAPITAL = "What is the capital of France?"
TOOL = {
    "type": "function",
    "function": {
        "name": "look_up",
        "description": "Looks a city up",
        "parameters": {
            "type": "object",
            "properties": {"city": {"type": "string", "enum": ["Paris", "Rome"]}},
            "required": ["city"],
            "additionalProperties": False,
        },
    },
}


def ask(text: str = CAPITAL, **parameters: object) -> Request:
    values: dict[str, object] = {"temperature": 0.0, "max_tokens": 24, **parameters}
    return Request(messages=(Message.user(text),), **values)  # type: ignore[arg-type]


@pytest.fixture
def remote(vllm_server):
    with Engine.open(vllm_server.url, model="smollm2", read_timeout_s=60) as engine:
        yield engine


async def streamed(engine: Engine, request: Request) -> Response:
    joiner = ChunkJoiner()
    async for chunk in engine.astream(request):
        joiner.add(chunk)
    return joiner.response()


async def both(engine: Engine, request: Request) -> list[Response]:
    return [await engine.agenerate(request), await streamed(engine, request)]


class TestVLLMServer(EngineContract):
    holds_resources = True

    @pytest.fixture(autouse=True)
    def _server(self, vllm_server):
        self.server = vllm_server

    def make_engine(self):
        return Engine.open(self.server.url, model="smollm2")

    def make_failing_engine(self):
        return Engine.open(self.server.url, model="no-such-model")

    def under_way(self):
        with urllib.request.urlopen(self.server.url.replace("/v1", "/metrics")) as answer:
            lines = answer.read().decode().splitlines()
        counts = ("vllm:num_requests_running{", "vllm:num_requests_waiting{")
        return round(sum(float(line.rpartition(" ")[2]) for line in lines if line.startswith(counts)))


async def test_answers_and_streams_the_same(remote):
    whole, joined = await both(remote, ask())
    assert "Paris" in whole.text
    assert (whole.text, whole.usage, whole.finish_reason) == (joined.text, joined.usage, joined.finish_reason)
    assert whole.usage.input_tokens > 5
    assert whole.model == "smollm2"


async def test_lists_its_models_and_is_healthy(remote):
    assert isinstance(remote, Remote)
    assert await remote.amodels() == [Model(id="smollm2", owned_by="vllm", window=2048)]
    assert await remote.ahealth() is True
    load = await remote.aload()
    assert (load.running, load.waiting) == (0, 0)


async def test_log_probabilities_and_token_ids(remote):
    for answer in await both(remote, ask(max_tokens=4, logprobs=2, extra={"return_token_ids": True})):
        choice = answer.choices[0]
        assert "".join(one.token for one in choice.logprobs) == choice.text
        assert len(choice.logprobs) == len(choice.token_ids) == 4
        assert all(one.logprob <= 0 and one.top[0][1] >= one.top[1][1] for one in choice.logprobs)
        assert choice.logprobs[0].top[0][0] == choice.logprobs[0].token  # greedy
    assert (await remote.agenerate(ask(max_tokens=2, logprobs=0))).choices[0].logprobs[0].logprob <= 0


async def test_a_tool_is_called_where_one_is_required(remote):
    request = ask("Look up Rome.", tools=(TOOL,), tool_choice="required", max_tokens=60)
    whole, joined = await both(remote, request)
    for answer in (whole, joined):
        (call,) = answer.tool_calls
        assert call.name == "look_up"
        json.loads(call.arguments)  # the server holds no model to a tool's own schema with this parser
        assert call.id
        assert answer.finish_reason == "tool_calls"
    assert whole.tool_calls[0].arguments == joined.tool_calls[0].arguments


async def test_a_schema_is_kept(remote):
    schema = {
        "type": "object",
        "properties": {"city": {"type": "string", "enum": ["Paris", "Rome"]}},
        "required": ["city"],
        "additionalProperties": False,
    }
    for answer in await both(remote, ask(response_schema=schema, max_tokens=40)):
        assert json.loads(answer.text)["city"] in {"Paris", "Rome"}


async def test_extensions_are_passed_through(remote):
    choice = {"structured_outputs": {"choice": ["red", "green"]}, "top_k": 5, "min_p": 0.1, "priority": 0}
    assert (await remote.agenerate(ask("Which colour?", extra=choice))).text in {"red", "green"}
    begun = Request(
        messages=(Message.user(CAPITAL), Message.assistant("The capital of France is")),
        temperature=0.0,
        max_tokens=4,
        extra={"continue_final_message": True, "add_generation_prompt": False},
    )
    for answer in await both(remote, begun):
        assert answer.text.startswith(" Paris")


async def test_unknown_adapters_and_adapters_that_cannot_be_loaded(remote):
    with pytest.raises(errors.NotFoundError, match="support") as caught:
        await remote.agenerate(ask(adapter="support"))
    assert "amodels" in caught.value.__notes__[0]
    with pytest.raises(errors.NotFoundError) as caught:
        await remote.aload_adapter("support", "/nowhere")
    assert any("VLLM_ALLOW_RUNTIME_LORA_UPDATING" in note for note in caught.value.__notes__)


async def test_embeddings_of_a_chat_model_are_refused_typed(remote):
    with pytest.raises((errors.BadRequestError, errors.NotFoundError, errors.ServerError)) as caught:
        await remote.aembed(["a"])
    assert caught.value.status_code in {400, 404, 405, 501}


@pytest.mark.parametrize("words", [3000, 30_000])
async def test_a_prompt_that_is_too_long_says_the_numbers(remote, words):
    for attempt in (remote.agenerate, lambda request: streamed(remote, request)):
        with pytest.raises(errors.ContextLengthError) as caught:
            await attempt(ask("one " * words))
        assert caught.value.window == 2048
        assert caught.value.tokens is None or caught.value.tokens > 2048
        if words == 3000:
            assert caught.value.tokens is not None


async def test_more_tokens_than_the_window_are_refused_with_the_window(remote):
    with pytest.raises(errors.BadRequestError) as caught:
        await remote.agenerate(ask(max_tokens=5000))
    assert isinstance(caught.value, errors.ContextLengthError), caught.value
    assert caught.value.window == 2048


@pytest.mark.parametrize(
    "extra", [{"temperature": -1}, {"top_p": 7}, {"n": 0}, {"structured_outputs": {"regex": "("}}, {"priority": "x"}]
)
async def test_what_the_server_refuses_is_a_bad_request(remote, extra):
    with pytest.raises(errors.BadRequestError):
        await remote.agenerate(ask(extra=extra))
    assert (await remote.agenerate(ask(max_tokens=1))).text


async def test_leaving_a_stream_stops_the_work(remote, vllm_server):
    stream = remote.astream(ask("Count.", max_tokens=1500, extra={"ignore_eos": True}))
    await anext(stream)
    await stream.aclose()
    contract = TestVLLMServer()
    contract.server = vllm_server
    end = time.monotonic() + 10
    while contract.under_way():
        assert time.monotonic() < end
        await asyncio.sleep(0.05)


@pytest.fixture
def messages(vllm_server):
    """The same server, by Anthropic's Messages API, which it speaks, too."""
    with Engine.open("anthropic:smollm2", base_url=vllm_server.url, api_key="any", read_timeout_s=60) as engine:
        yield engine


async def test_messages_api_answers_and_streams_the_same(messages):
    whole, joined = await both(messages, ask())
    assert "Paris" in whole.text
    assert (whole.text, whole.usage, whole.finish_reason) == (joined.text, joined.usage, "stop")
    assert await messages.acount_tokens(ask()) == whole.usage.input_tokens
    assert (await messages.agenerate(ask(stop=("Paris",)))).text == whole.text.partition("Paris")[0]
    assert (await messages.agenerate(ask(max_tokens=2))).finish_reason == "length"
    assert await messages.amodels() == [Model(id="smollm2", window=2048)]


async def test_messages_api_refuses_in_its_own_form(messages):
    for attempt in (messages.agenerate, lambda request: streamed(messages, request)):
        with pytest.raises(errors.ContextLengthError) as caught:
            await attempt(ask("word " * 3000))
        assert caught.value.window == 2048
    with pytest.raises(errors.NotFoundError):
        await messages.agenerate(ask(adapter="none"))


async def test_killed_server_in_mid_stream(remote, vllm_server):
    with pytest.raises(errors.StreamInterrupted) as caught:
        async for chunk in remote.astream(ask("Count.", max_tokens=1500, extra={"ignore_eos": True})):
            if chunk.text and vllm_server.process.poll() is None:
                vllm_server.kill()
    assert caught.value.partial_text
    assert caught.value.retryable
    with pytest.raises(errors.EngineConnectionError, match="is it running"):
        await remote.agenerate(ask())
