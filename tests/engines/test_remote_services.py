"""What an endpoint offers beside answers, and what it is asked and says in the words of one kind of server."""

import asyncio
import json

import pytest

from llmops_sdk import errors
from llmops_sdk.engines import Engine
from llmops_sdk.engines._refusals import context_numbers
from llmops_sdk.engines.remote import Model, Remote, ServerLoad
from llmops_sdk.messages import ChunkJoiner, Request, TokenLogprob, ToolCall
from llmops_sdk.testing import FaultServer, Raw, Reply, Status

HELLO = Request.of("hello")


class PathServer:
    """Answers each path with a status and a body."""

    def __init__(self, **answers):
        self.answers = answers
        self.seen = []

    async def __aenter__(self):
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.root = f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"
        return self

    async def __aexit__(self, *_):
        self._server.close()

    async def _serve(self, reader, writer):
        head = await reader.readuntil(b"\r\n\r\n")
        body = await reader.readexactly(int(head.lower().split(b"content-length:")[1].split(b"\r\n")[0]))
        path = head.split(b" ")[1].decode()
        self.seen.append((path, body))
        status, answer = self.answers.get(path.rpartition("/")[2], (404, b"nothing here"))
        writer.write(b"HTTP/1.1 %d X\r\nconnection: close\r\ncontent-length: %d\r\n\r\n" % (status, len(answer)))
        writer.write(answer)
        writer.close()
        await writer.wait_closed()


def opened(server, **options):
    return Engine.open(server.root + "/v1", model="m", **options)


async def both(engine, request=HELLO):
    joiner = ChunkJoiner()
    async for chunk in engine.astream(request):
        joiner.add(chunk)
    return await engine.agenerate(request), joiner.response()


# Models, health, adapters


async def test_models_are_listed_with_what_vllm_says_of_them():
    listed = {
        "object": "list",
        "data": [
            {"id": "base", "owned_by": "vllm", "max_model_len": 2048, "parent": None},
            {"id": "support", "parent": "base"},
        ],
    }
    async with PathServer(models=(200, json.dumps(listed).encode())) as server, opened(server) as engine:
        expected = [Model(id="base", owned_by="vllm", window=2048), Model(id="support", parent="base")]
        assert await engine.amodels() == expected
        assert server.seen[0][0] == "/v1/models"


@pytest.mark.parametrize(
    "answer", [b"[]", b"{}", b'{"data": 5}', b'{"data": [5]}', b'{"data": [{"id": 5}]}', b"<html>"]
)
async def test_lists_of_models_that_are_none(answer):
    async with PathServer(models=(200, answer)) as server, opened(server) as engine:
        with pytest.raises(errors.InvalidResponseError):
            await engine.amodels()


def test_sync_twins():
    with FaultServer(models=("a", "b")) as server, Engine.open(server.url, model="a") as engine:
        assert [model.id for model in engine.models()] == ["a", "b"]
        assert engine.health() is True
        with pytest.raises(errors.NotFoundError):
            engine.load_adapter("x", "/x")
        with pytest.raises(errors.NotFoundError):
            engine.unload_adapter("x")


@pytest.mark.parametrize(
    ("answers", "error"),
    [
        ({"health": (200, b"")}, None),
        ({"models": (200, b'{"data": []}')}, None),
        ({"health": (405, b""), "models": (200, b'{"data": []}')}, None),
        ({"health": (503, b"loading")}, errors.ServerError),
        ({"health": (401, b""), "models": (200, b'{"data": []}')}, errors.AuthenticationError),
        ({"models": (401, b"")}, errors.AuthenticationError),
        ({}, errors.NotFoundError),
        ({"models": (200, b"<html>")}, errors.InvalidResponseError),
    ],
)
async def test_health_is_true_or_says_what_is_wrong(answers, error):
    async with PathServer(**answers) as server, opened(server) as engine:
        if error is None:
            assert await engine.ahealth() is True
        else:
            with pytest.raises(error):
                await engine.ahealth()
        assert server.seen[0][0] == "/health"


async def test_health_of_nobody():
    async with PathServer() as server:
        engine = opened(server)
    with pytest.raises(errors.EngineConnectionError):
        await engine.ahealth()


async def test_adapters_are_loaded_and_unloaded():
    answers = {"load_lora_adapter": (200, b"Success: added"), "unload_lora_adapter": (200, b"Success: removed")}
    async with PathServer(**answers) as server, opened(server) as engine:
        await engine.aload_adapter("support", "/adapters/support")
        await engine.aunload_adapter("support")
        assert [(path, json.loads(body)) for path, body in server.seen] == [
            ("/v1/load_lora_adapter", {"lora_name": "support", "lora_path": "/adapters/support"}),
            ("/v1/unload_lora_adapter", {"lora_name": "support"}),
        ]
    async with PathServer() as server, opened(server) as engine:
        with pytest.raises(errors.NotFoundError) as caught:
            await engine.aload_adapter("support", "/adapters/support")
        assert any("VLLM_ALLOW_RUNTIME_LORA_UPDATING" in note for note in caught.value.__notes__)


METRICS = b"""# TYPE vllm:num_requests_running gauge
vllm:num_requests_running{engine="0",model_name="m"} 3.0
vllm:num_requests_running{engine="1",model_name="m"} 1.0
vllm:num_requests_waiting{engine="0",model_name="m"} 2.0
vllm:num_requests_waiting_by_reason{engine="0",model_name="m",reason="capacity"} 2.0
vllm:kv_cache_usage_perc{engine="0",model_name="m"} 0.25
vllm:kv_cache_usage_perc{engine="1",model_name="m"} 1e-05
"""


async def test_load_is_read_from_the_metrics():
    async with PathServer(metrics=(200, METRICS)) as server, opened(server) as engine:
        assert await engine.aload() == ServerLoad(running=4, waiting=2, kv_cache_use=0.25)
        assert server.seen[0][0] == "/metrics"
    async with PathServer(metrics=(200, b"up 1\n")) as server, opened(server) as engine:
        with pytest.raises(errors.InvalidResponseError, match="metrics"):
            await engine.aload()
    async with PathServer() as server, opened(server) as engine:
        with pytest.raises(errors.NotFoundError):
            await engine.aload()


# What goes out


@pytest.mark.parametrize(
    ("options", "name"),
    [
        ({"provider": "openai"}, "max_completion_tokens"),
        ({}, "max_tokens"),
        ({"max_tokens_name": "max_completion_tokens"}, "max_completion_tokens"),
        ({"provider": "openai", "max_tokens_name": "max_tokens"}, "max_tokens"),
    ],
)
async def test_most_tokens_go_out_under_the_name_that_the_server_takes(options, name):
    async with FaultServer("ok") as server, Engine.open(server.url, model="m", **options) as engine:
        await engine.agenerate(Request(messages=HELLO.messages, max_tokens=7))
        assert {key: value for key, value in server.requests[0].json.items() if key.startswith("max_")} == {name: 7}


@pytest.mark.parametrize(
    ("logprobs", "sent"),
    [(None, {}), (0, {"logprobs": True}), (3, {"logprobs": True, "top_logprobs": 3})],
)
async def test_log_probabilities_are_asked_for(logprobs, sent):
    async with FaultServer("ok") as server, Engine.open(server.url, model="m") as engine:
        await both(engine, Request(messages=HELLO.messages, logprobs=logprobs))
        for seen in server.requests:
            assert {key: value for key, value in seen.json.items() if "logprobs" in key} == sent


async def test_extensions_go_out_as_they_are_and_win():
    extra = {
        "top_k": 3,
        "structured_outputs": {"choice": ["a"]},
        "priority": -1,
        "max_tokens": 9,
        "stream_options": None,
    }
    async with FaultServer("ok") as server, Engine.open(server.url, model="m") as engine:
        await both(engine, Request(messages=HELLO.messages, max_tokens=7, extra=extra))
        for seen in server.requests:
            assert {key: seen.json[key] for key in extra} == extra


# What comes back


@pytest.mark.parametrize("name", ["reasoning", "reasoning_content"])
async def test_thoughts_are_read_in_both_spellings(name):
    whole = Raw(body=json.dumps({"choices": [{"message": {"content": "4", name: "2+2"}}]}).encode())
    pieces = [{name: "2+"}, {name: "2"}, {"content": "4"}]
    events = [b"data: " + json.dumps({"choices": [{"delta": piece}]}).encode() + b"\n\n" for piece in pieces]
    async with FaultServer(Reply(chunks=tuple(events)), whole) as server, Engine.open(server.url, model="m") as engine:
        for answer in await both(engine):
            assert (answer.text, answer.choices[0].reasoning) == ("4", "2+2")


async def test_token_ids_log_probabilities_and_bytes_that_are_no_text_yet():
    logprobs = {"content": [{"token": "\\xf0", "logprob": -9999.0, "bytes": [240], "top_logprobs": []}]}
    whole = {"choices": [{"message": {"content": ""}, "token_ids": [1, 2], "logprobs": logprobs}]}
    event = {"choices": [{"delta": {"content": ""}, "token_ids": [1, 2], "logprobs": logprobs}]}
    streamed = Reply(chunks=(b"data: " + json.dumps(event).encode() + b"\n\n",))
    async with (
        FaultServer(streamed, Raw(body=json.dumps(whole).encode())) as server,
        Engine.open(server.url, model="m") as engine,
    ):
        for answer in await both(engine):
            assert answer.choices[0].token_ids == (1, 2)
            assert answer.choices[0].logprobs == (TokenLogprob(token="\\xf0", logprob=-9999.0),)


async def test_text_on_the_last_chunk_and_a_last_chunk_without_a_delta():
    last = b'data: {"choices":[{"delta":{"content":"lo"},"finish_reason":"length"}]}\n\n'
    async with FaultServer(Reply(chunks=("Hel", last))) as server, Engine.open(server.url, model="m") as engine:
        _, joined = await both(engine)
        assert (joined.text, joined.finish_reason) == ("Hello", "stop")  # the server says an end of its own after it
    bare = b'data: {"choices":[{"index":0,"finish_reason":"length"}]}\n\ndata: [DONE]\n\n'
    async with FaultServer(Reply(chunks=("Hel", bare))) as server, Engine.open(server.url, model="m") as engine:
        _, joined = await both(engine)
        assert (joined.text, joined.finish_reason) == ("Hel", "length")


async def test_several_tool_calls_at_once_are_told_apart():
    calls = (ToolCall(id="1", name="a", arguments='{"x": 1}'), ToolCall(id="2", name="b", arguments="{}"))
    async with FaultServer(Reply(tool_calls=calls)) as server, Engine.open(server.url, model="m") as engine:
        for answer in await both(engine):
            assert answer.tool_calls == calls


@pytest.mark.parametrize(
    ("said", "error", "status"),
    [
        ({"message": "engine died", "code": 500}, errors.ServerError, 500),
        ({"message": "slow down", "code": 429}, errors.RateLimitError, 429),
        ({"message": "no", "code": 400}, errors.BadRequestError, 400),
        ("broken", errors.ServerError, 500),
        ({"message": "x", "code": "overloaded"}, errors.ServerError, 500),
    ],
)
async def test_an_error_in_mid_stream_is_typed(said, error, status):
    event = b"data: " + json.dumps({"error": said}).encode() + b"\n\n"
    async with FaultServer(Reply(chunks=("Hel", event))) as server, Engine.open(server.url, model="m") as engine:
        seen = []
        with pytest.raises(error) as caught:
            async for chunk in engine.astream(HELLO):
                seen.append(chunk.text)  # noqa: PERF401  (what came before the error counts)
        assert seen == ["Hel"]
        assert caught.value.status_code == status


@pytest.mark.parametrize(
    ("message", "tokens", "window"),
    [
        # OpenAI
        (
            "This model's maximum context length is 4097 tokens. However, your messages resulted in 5,200 tokens.",
            5200,
            4097,
        ),
        ("maximum context length is 8192 tokens, however you requested 9000 tokens (8000 in your prompt)", 9000, 8192),
        ("Input tokens exceed the configured limit of 2720 tokens. Your messages resulted in 3001 tokens.", 3001, 2720),
        # vLLM
        ("maximum context length is 2048 tokens. However, your prompt contains at least 2049 input tokens", 2049, 2048),
        ("The decoder prompt (length 3000) is longer than the maximum model length of 2048. Make sure", 3000, 2048),
        ("maximum context length is 2048 tokens. However, your prompt contains 99999 characters", None, 2048),
        # SGLang
        ("The input (4100 tokens) is longer than the model's context length (4096 tokens).", 4100, 4096),
        # llama.cpp
        ("request (5000 tokens) exceeds the available context size (4096 tokens), try increasing it", 5000, 4096),
        # Anthropic
        ("prompt is too long: 210000 tokens > 200000 maximum", 210000, 200000),
        # none of them
        ("max_tokens must be at least 1, got 0", None, None),
        ("the length is 5", None, None),
    ],
)  # fmt: skip
async def test_numbers_of_a_prompt_that_is_too_long(message, tokens, window):
    assert context_numbers(message, {}) == (tokens, window)
    async with FaultServer(Status(status=400, message=message)) as server, Engine.open(server.url, model="m") as engine:
        with pytest.raises(errors.BadRequestError) as caught:
            await engine.agenerate(HELLO)
        assert isinstance(caught.value, errors.ContextLengthError) == (window is not None)
        if window is not None:
            assert (caught.value.tokens, caught.value.window) == (tokens, window)


def test_options_of_an_engine_can_be_typed():
    engine = Remote("http://127.0.0.1:1/v1", model="m", api_key="k", provider="vllm", headers={"x": "y"})
    assert (engine.name, engine.provider) == ("m@127.0.0.1:1", "vllm")
