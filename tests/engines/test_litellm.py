"""LiteLLM as an engine, against real servers on this machine: its answers, its failures, and what it leaves alone."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import inspect
import json
import os
import subprocess
import sys
import threading
import traceback
import types
from decimal import Decimal
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from llmops_sdk import Pipeline, errors, loops
from llmops_sdk.calls import Call
from llmops_sdk.costs import PriceTable
from llmops_sdk.engines import Engine
from llmops_sdk.engines._litellm_answers import cost_of, litellm_usage
from llmops_sdk.engines._litellm_errors import BY_NAME
from llmops_sdk.engines.litellm import LiteLLM
from llmops_sdk.messages import ChunkJoiner, ImagePart, Message, Request, TextPart, ToolCall, Usage
from llmops_sdk.testing import EngineContract, FaultServer, Hang, Raw, Reply, Status

pytestmark = [
    pytest.mark.heavy,
    pytest.mark.timeout(120),
    # LiteLLM silences these itself when it is imported; pytest forgets that after each test.
    pytest.mark.filterwarnings("ignore:.*`ReadOnly` qualifier"),
    pytest.mark.filterwarnings("ignore:.*conflict with protected namespace"),
    pytest.mark.filterwarnings("ignore:.*attribute on the instance is deprecated"),
]

KEY = "k" * 24
HELLO = Request.of("hello")
PROVIDERS = ("openai", "hosted_vllm")


def opened(server, model="openai/test-model", **options):
    return Engine.open(f"litellm:{model}", api_base=server.url, api_key=KEY, **options)


async def streamed(engine, request=HELLO):
    return [chunk async for chunk in engine.astream(request)]


def joined(chunks):
    joiner = ChunkJoiner()
    for chunk in chunks:
        joiner.add(chunk)
    return joiner.response()


def events(*data):
    """A stream of server-sent events."""
    return Raw(
        body=b"".join(b"data: %b\n\n" % json.dumps(one).encode() for one in data), content_type="text/event-stream"
    )


def delta(index=0, finish=None, logprobs=None, **said):
    choice = {"index": index, "delta": said, "finish_reason": finish, "logprobs": logprobs}
    return {"id": "1", "object": "chat.completion.chunk", "created": 1, "model": "m", "choices": [choice]}


@contextlib.contextmanager
def serving(answers):
    """A server that answers each path with the JSON, or the bytes of an event stream, that `answers` has for it."""
    seen = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            seen.append(json.loads(self.rfile.read(int(self.headers["content-length"]))))
            answer = answers[self.path]
            body = answer if isinstance(answer, bytes) else json.dumps(answer).encode()
            self.send_response(200)
            kind = "text/event-stream" if isinstance(answer, bytes) else "application/json"
            self.send_header("content-type", kind)
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", seen
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class TestContract(EngineContract):
    holds_resources = True

    @pytest.fixture(autouse=True)
    def _server(self):
        def answer(asked):
            return Reply(text="Hello dear world", delay_s=0.02, chunk_delay_s=0.01)

        with FaultServer(answer) as server:
            self.server = server
            yield

    def make_engine(self):
        return opened(self.server)

    def make_failing_engine(self):
        return Engine.open("litellm:openai/m", api_base="http://127.0.0.1:9/v1", api_key=KEY)

    def under_way(self):
        return self.server.answering


class TestContractOfAnotherProvider(TestContract):
    def make_engine(self):
        return opened(self.server, "hosted_vllm/test-model")


# Opening


@pytest.mark.parametrize(
    ("model", "provider"),
    [
        ("openai/gpt-5-mini", "openai"),
        ("vertex_ai/gemini-3-pro", "gcp.vertex_ai"),
        ("bedrock/anthropic.claude-v2:1", "aws.bedrock"),
        ("azure/my-deployment", "azure.ai.openai"),
        ("groq/llama-3.3-70b-versatile", "groq"),
        ("openrouter/anthropic/claude", "openrouter"),
    ],
)
def test_the_spec_names_provider_and_model(model, provider):
    engine = Engine.open(f"litellm:{model}")
    assert isinstance(engine, LiteLLM)
    assert (engine.name, engine.provider, engine.model) == (f"litellm:{model}", provider, model.partition("/")[2])


@pytest.mark.parametrize("spec", ["litellm:", "litellm:gpt-5-mini", "litellm:/m", "litellm:openai/"])
def test_a_spec_without_provider_or_model_is_refused_when_it_is_opened(spec):
    with pytest.raises(errors.ConfigurationError, match="litellm:provider/model"):
        Engine.open(spec)


@pytest.mark.parametrize("option", ["num_retries", "fallbacks", "stream", "messages", "timeout"])
def test_what_is_not_for_the_user_to_set_is_refused(option):
    with pytest.raises(errors.ConfigurationError, match=option):
        Engine.open("litellm:openai/m", **{option: 1})


def test_without_litellm_the_extra_is_named_when_it_is_opened(monkeypatch):
    monkeypatch.setitem(sys.modules, "litellm", None)
    with pytest.raises(errors.MissingDependencyError, match=r"llmops-sdk\[litellm\]"):
        Engine.open("litellm:openai/m")


async def test_unknown_provider_is_told_with_the_name_that_was_meant():
    async with Engine.open("litellm:opnai/m", api_key=KEY) as engine:
        with pytest.raises(errors.BadRequestError, match="did you mean 'openai'"):
            await engine.agenerate(HELLO)


@pytest.mark.parametrize(
    ("model", "variable"), [("openai/m", "OPENAI_API_KEY"), ("anthropic/claude", "ANTHROPIC_API_KEY")]
)
async def test_missing_key_is_told_with_the_variable_that_holds_it(model, variable, monkeypatch):
    monkeypatch.delenv(variable, raising=False)
    async with Engine.open(f"litellm:{model}") as engine:
        for ask in (engine.agenerate, lambda request: streamed(engine, request)):
            with pytest.raises(errors.AuthenticationError, match=variable):
                await ask(HELLO)


# Asking and answering


@pytest.mark.parametrize("provider", PROVIDERS)
async def test_whole_answer_and_stream_say_the_same(provider):
    async with FaultServer(Reply(text="Hello dear world")) as server, opened(server, f"{provider}/m") as engine:
        whole = await engine.agenerate(HELLO)
        chunks = await streamed(engine)
        pieces = joined(chunks)
        assert whole.text == pieces.text == "Hello dear world"
        assert whole.finish_reason == pieces.finish_reason == "stop"
        assert whole.usage == pieces.usage == Usage(input_tokens=1, output_tokens=3)
        assert [chunk.usage for chunk in chunks if chunk.usage] == [whole.usage]
        assert (whole.engine, whole.model) == (engine.name, "m")


@pytest.mark.parametrize("provider", PROVIDERS)
async def test_request_goes_out_whole(provider):
    async with FaultServer("ok") as server, opened(server, f"{provider}/m", extra_headers={"x-team": "a"}) as engine:
        call = Call()
        call.traceparent = "00-" + "ab" * 16 + "-" + "cd" * 8 + "-01"
        schema = {"type": "object", "properties": {"a": {"type": "string"}}}
        request = Request(
            messages=(
                Message.system("be kind"),
                Message.user((TextPart(text="what is this?"), ImagePart(url="data:image/png;base64,AAAA"))),
                Message.assistant(tool_calls=(ToolCall(id="1", name="look", arguments="{}"),)),
                Message.tool("a cat", tool_call_id="1", name="look"),
            ),
            temperature=0.5,
            top_p=0.9,
            max_tokens=7,
            stop=("END",),
            seed=3,
            n=2,
            tools=(types.MappingProxyType({"type": "function", "function": {"name": "look"}}),),
            tool_choice="auto",
            response_schema=types.MappingProxyType(schema),
            logprobs=2,
            extra={"presence_penalty": 0.1},
            call=call,
        )
        await engine.agenerate(request)
        body, headers = server.requests[0].json, server.requests[0].headers
        assert [message["role"] for message in body["messages"]] == ["system", "user", "assistant", "tool"]
        assert body["messages"][1]["content"][1]["image_url"]["url"].startswith("data:")
        assert body["messages"][2]["tool_calls"][0]["function"] == {"name": "look", "arguments": "{}"}
        sent = {name: value for name, value in body.items() if name not in {"messages", "response_format", "tools"}}
        assert sent | {"stream": False} == {
            "model": "m",
            "temperature": 0.5,
            "top_p": 0.9,
            "max_tokens": 7,
            "stop": ["END"],
            "seed": 3,
            "n": 2,
            "tool_choice": "auto",
            "logprobs": True,
            "top_logprobs": 2,
            "presence_penalty": 0.1,
            "stream": False,
        }
        assert body["tools"][0]["function"]["name"] == "look"
        assert body["response_format"]["json_schema"]["schema"] == schema
        assert headers["authorization"] == f"Bearer {KEY}"
        assert (headers["x-team"], headers["traceparent"]) == ("a", call.traceparent)
        await engine.agenerate(Request(messages=HELLO.messages, adapter="support"))
        assert server.requests[1].json["model"] == "support"


@pytest.mark.parametrize("provider", PROVIDERS)
async def test_tool_calls_come_whole_out_of_a_stream(provider):
    calls = (
        ToolCall(id="call_1", name="send", arguments='{"to": "Ada", "text": "hello"}'),
        ToolCall(id="call_2", name="look", arguments="{}"),
    )
    async with FaultServer(Reply(tool_calls=calls)) as server, opened(server, f"{provider}/m") as engine:
        assert (await engine.agenerate(HELLO)).tool_calls == calls
        pieces = joined(await streamed(engine))
        assert (pieces.tool_calls, pieces.finish_reason) == (calls, "tool_calls")


@pytest.mark.parametrize("provider", PROVIDERS)
async def test_each_choice_of_a_stream_has_its_own_text_and_end(provider):
    stream = events(
        delta(role="assistant", content="a"),
        delta(1, content="b"),
        delta(finish="length"),
        delta(1, content="c"),
        delta(1, content="d"),
        delta(1, finish="stop"),
    )
    async with FaultServer(stream) as server, opened(server, f"{provider}/m") as engine:
        answer = joined(await streamed(engine, Request(messages=HELLO.messages, n=2)))
        assert [(one.text, one.finish_reason) for one in answer.choices] == [("a", "length"), ("bcd", "stop")]


@pytest.mark.parametrize("provider", PROVIDERS)
async def test_thoughts_and_logprobs_are_read(provider):
    one = {
        "token": "a",
        "logprob": -0.5,
        "bytes": [97],
        "top_logprobs": [{"token": "a", "logprob": -0.5, "bytes": [97]}],
    }
    logprobs = {"content": [one], "refusal": None}
    stream = events(
        delta(role="assistant", reasoning_content="hm"),
        delta(reasoning_content="m"),
        delta(content="a", logprobs=logprobs),
        delta(finish="stop"),
    )
    message = {"role": "assistant", "content": "a", "reasoning_content": "hmm"}
    whole = {"id": "1", "object": "chat.completion", "created": 1, "model": "m"}
    whole["choices"] = [{"index": 0, "message": message, "finish_reason": "stop", "logprobs": logprobs}]
    answers = (stream, Raw(body=json.dumps(whole).encode()))
    async with FaultServer(*answers) as server, opened(server, f"{provider}/m") as engine:
        pieces = joined(await streamed(engine))
        for choice in (pieces.choices[0], (await engine.agenerate(HELLO)).choices[0]):
            assert (choice.text, choice.reasoning) == ("a", "hmm")
            assert [(token.token, token.logprob, token.top) for token in choice.logprobs] == [
                ("a", -0.5, (("a", -0.5),))
            ]


@pytest.mark.parametrize("provider", PROVIDERS)
async def test_tokens_that_nobody_counted_are_marked_as_estimated_or_missing(provider):
    async with FaultServer(Reply(report_usage=False)) as server, opened(server, f"{provider}/m") as engine:
        assert (await engine.agenerate(HELLO)).usage is None
        assert joined(await streamed(engine)).usage.estimated


async def test_a_model_that_repeats_itself_is_not_interrupted():
    text = ("again ",) * 300
    async with FaultServer(Reply(chunks=text)) as server, opened(server) as engine:
        assert joined(await streamed(engine)).text == "again " * 300


ANTHROPIC_USAGE = {
    "input_tokens": 10,
    "cache_read_input_tokens": 4,
    "cache_creation_input_tokens": 3,
    "output_tokens": 20,
}


def anthropic_events():
    message = {"id": "1", "type": "message", "role": "assistant", "model": "m", "content": [], "usage": ANTHROPIC_USAGE}
    said = [
        {"type": "message_start", "message": message},
        {"type": "content_block_start", "index": 0, "content_block": {"type": "thinking", "thinking": ""}},
        {"type": "content_block_delta", "index": 0, "delta": {"type": "thinking_delta", "thinking": "hmm"}},
        {"type": "content_block_stop", "index": 0},
        {"type": "content_block_start", "index": 1, "content_block": {"type": "text", "text": ""}},
        {"type": "content_block_delta", "index": 1, "delta": {"type": "text_delta", "text": "Hello"}},
        {"type": "content_block_delta", "index": 1, "delta": {"type": "text_delta", "text": " dear"}},
        {"type": "content_block_stop", "index": 1},
        {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": ANTHROPIC_USAGE},
        {"type": "message_stop"},
    ]
    return b"".join(b"event: %b\ndata: %b\n\n" % (one["type"].encode(), json.dumps(one).encode()) for one in said)


async def test_parts_of_the_tokens_are_counted_once_and_thoughts_are_read_from_another_form():
    content = [{"type": "thinking", "thinking": "hmm", "signature": "s"}, {"type": "text", "text": "Hello dear"}]
    whole = {"id": "1", "type": "message", "role": "assistant", "model": "m", "content": content}
    whole |= {"stop_reason": "end_turn", "usage": ANTHROPIC_USAGE}
    # 10 + 4 + 3: Anthropic counts its cache beside the input, we count it in.
    parts = {"input_tokens": 17, "output_tokens": 20, "cached_input_tokens": 4, "cache_write_tokens": 3}
    with serving({"/v1/messages": whole}) as (url, seen):
        async with Engine.open("litellm:anthropic/claude-x", api_base=url, api_key=KEY) as engine:
            answer = await engine.agenerate(HELLO)
        assert seen[0]["messages"][0]["role"] == "user"
    with serving({"/v1/messages": anthropic_events()}) as (url, _):
        async with Engine.open("litellm:anthropic/claude-x", api_base=url, api_key=KEY) as engine:
            pieces = joined(await streamed(engine))
    for one in (answer, pieces):
        assert (one.text, one.choices[0].reasoning, one.finish_reason) == ("Hello dear", "hmm", "stop")
        counted = {name: getattr(one.usage, name) for name in parts}
        assert counted == parts
        assert one.usage.reasoning_tokens <= one.usage.output_tokens
        assert not one.usage.estimated


async def test_embeddings_come_in_the_order_of_the_texts():
    rows = [{"object": "embedding", "index": index, "embedding": [index, 0.5]} for index in (1, 0)]
    answer = {"object": "list", "model": "m", "data": rows, "usage": {"prompt_tokens": 2, "total_tokens": 2}}
    with serving({"/v1/embeddings": answer}) as (url, seen):
        async with Engine.open("litellm:openai/m", api_base=f"{url}/v1", api_key=KEY) as engine:
            assert await engine.aembed(["a", "b"]) == [[0, 0.5], [1, 0.5]]
        assert seen[0]["input"] == ["a", "b"]


# What it cost


async def test_litellm_s_price_fills_in_where_the_table_knows_none():
    usage = Usage(input_tokens=1000, output_tokens=100)
    async with FaultServer(Reply(usage=usage)) as server, opened(server, "openai/gpt-4o-mini") as engine:
        whole, pieces = await engine.agenerate(HELLO), joined(await streamed(engine))
        assert str(whole.cost_usd) == str(pieces.cost_usd) == "0.00021"
        silent = Pipeline("hello", engine, prices=PriceTable({}))
        known = Pipeline("hello", engine, prices=PriceTable({"gpt-4o-mini": {"input": "1", "output": "1"}}))
        assert str((await silent.arun()).cost_usd) == "0.00021"
        assert (await known.arun()).cost_usd == PriceTable({"m": {"input": "1", "output": "1"}}).cost("m", usage)
    async with FaultServer(Reply(usage=usage)) as server, opened(server, "openai/nobody-knows") as engine:
        assert (await engine.agenerate(HELLO)).cost_usd is None
        assert joined(await streamed(engine)).cost_usd is None


# Failing


def test_every_exception_class_of_litellm_is_mapped():
    import litellm.exceptions as theirs

    named = {name for name, one in vars(theirs).items() if inspect.isclass(one) and issubclass(one, Exception)}
    assert named == set(BY_NAME)
    assert {one.__name__ for one in theirs.LITELLM_EXCEPTION_TYPES} <= set(BY_NAME)


@pytest.mark.parametrize("provider", PROVIDERS)
@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (Status(status=400), errors.BadRequestError),
        (Status(status=401), errors.AuthenticationError),
        (Status(status=403), errors.PermissionDeniedError),
        (Status(status=404), errors.NotFoundError),
        (Status(status=408), errors.EngineTimeout),
        (Status(status=422), errors.BadRequestError),
        (Status(status=429, retry_after_s=7), errors.RateLimitError),
        (Status(status=500), errors.ServerError),
        (Status(status=502), errors.ServerError),
        (Status(status=503), errors.ServerError),
        (
            Status(
                status=400, code="context_length_exceeded", message="This model's maximum context length is 9 tokens"
            ),
            errors.ContextLengthError,
        ),
        (
            Status(
                status=400, code="content_policy_violation", message="blocked by our content_policy_violation rules"
            ),
            errors.ContentFilteredError,
        ),
        (Raw(), errors.InvalidResponseError),
        (Raw.html(), errors.InvalidResponseError),
    ],
)
async def test_refusals_become_our_errors(status, kind, provider):
    async with FaultServer(status) as server, opened(server, f"{provider}/m") as engine:
        with pytest.raises(errors.EngineError) as caught:
            await engine.agenerate(HELLO)
        assert type(caught.value) is kind
        assert (caught.value.engine, server.request_count) == (engine.name, 1)
        if isinstance(status, Status):
            assert caught.value.status_code == status.status
            assert caught.value.retry_after_s == status.retry_after_s
            with pytest.raises(kind):
                await streamed(engine)


async def test_a_provider_whose_package_is_missing_is_a_matter_of_configuration(monkeypatch):
    monkeypatch.setitem(sys.modules, "google.auth", None)
    async with Engine.open("litellm:vertex_ai/gemini-3-pro", vertex_project="p", vertex_location="l") as engine:
        with pytest.raises(errors.ConfigurationError, match=r"google\.auth"):
            await engine.agenerate(HELLO)


async def test_dead_and_hanging_endpoints():
    async with Engine.open("litellm:openai/m", api_base="http://127.0.0.1:9/v1", api_key=KEY) as engine:
        with pytest.raises(errors.EngineConnectionError) as caught:
            await engine.agenerate(HELLO)
        assert caught.value.status_code is None
    async with FaultServer(Hang()) as server, opened(server, timeout_s=0.1) as engine:
        for ask in (engine.agenerate, lambda request: streamed(engine, request)):
            with pytest.raises(errors.EngineTimeout):
                await ask(HELLO)


@pytest.mark.parametrize("provider", PROVIDERS)
@pytest.mark.parametrize(
    "broken",
    [
        Reply(text="Hello dear world", drop_at=450, chunk_delay_s=0.02),
        Reply(text="Hello dear world", drop_at=450, chunk_delay_s=0.02, reset=True),
        events(delta(role="assistant", content="Hello")),
        events(delta(role="assistant", content="Hello"), {"error": {"message": "overloaded", "code": 500}}),
    ],
    ids=["cut", "reset", "ended early", "error event"],
)
async def test_a_stream_that_breaks_says_what_it_had_said(broken, provider):
    async with FaultServer(broken) as server, opened(server, f"{provider}/m") as engine:
        texts = []
        with pytest.raises(errors.StreamInterrupted) as caught:
            async for chunk in engine.astream(HELLO):
                texts.append(chunk.text)
                assert chunk.finish_reason is None
        assert caught.value.partial_text == "".join(texts)
        assert caught.value.partial_text.startswith("Hello")


@pytest.mark.parametrize("place", ["given", "header", "environment"])
async def test_keys_stand_in_no_error(place, monkeypatch):
    secret = "s3" + "cr3t" * 5
    options = {"api_key": secret} if place == "given" else {"api_key": KEY}
    if place == "header":
        options["extra_headers"] = {"x-service-key": secret}
    if place == "environment":
        monkeypatch.setenv("SOME_SERVICE_API_KEY", secret)
    refusal = Status(status=401, message=f"wrong key: {secret}")
    broken = events(delta(role="assistant", content="Hello"), {"error": {"message": f"for {secret}", "code": 500}})
    async with (
        FaultServer(refusal, refusal, broken) as server,
        Engine.open("litellm:openai/m", api_base=server.url, **options) as engine,
    ):
        for ask in (engine.agenerate, lambda r: streamed(engine, r), lambda r: streamed(engine, r)):
            with pytest.raises(errors.EngineError) as caught:
                await ask(HELLO)
            shown = "".join(traceback.format_exception(caught.value))
            assert secret not in shown
            assert secret not in repr(vars(caught.value))
            assert "***" in str(caught.value)
        assert secret not in repr(engine)


async def test_cause_is_litellm_s_error_where_it_holds_no_key():
    async with FaultServer(500) as server, opened(server) as engine:
        with pytest.raises(errors.ServerError) as caught:
            await engine.agenerate(HELLO)
        assert type(caught.value.__cause__).__module__ == "litellm.exceptions"


# Stopping


@pytest.mark.parametrize("provider", PROVIDERS)
async def test_cancelling_and_closing_stop_the_work_upstream(provider):
    slow = (Hang(), Reply(text="a b c d e f", hang_after=1))
    async with FaultServer(*slow) as server, opened(server, f"{provider}/m") as engine:
        task = asyncio.create_task(engine.agenerate(HELLO))
        await server.auntil(lambda: server.answering == 1)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await server.auntil(lambda: server.disconnects == 1)
        chunks = engine.astream(HELLO)
        await anext(chunks)
        await chunks.aclose()
        await server.auntil(lambda: server.disconnects == 2)
        assert server.answering == 0


async def test_cancelling_at_any_moment_leaves_nothing_behind():
    # A coroutine that is never awaited would be an error here, as any warning is.
    async with FaultServer(Reply(text="ok", delay_s=0.02)) as server, opened(server) as engine:
        await engine.agenerate(HELLO)
        for step in range(25):
            task = asyncio.create_task(engine.agenerate(HELLO))
            await asyncio.sleep(step * 0.0004)
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
        gc.collect()
        await server.auntil(lambda: server.answering == 0)
        assert (await engine.agenerate(HELLO)).text == "ok"


async def test_the_last_engine_closes_the_connections_and_no_one_else_s():
    import litellm

    async with FaultServer("ok") as server:
        first, second = opened(server, name="a"), opened(server, "hosted_vllm/m", name="b")
        await first.agenerate(HELLO)
        await second.agenerate(HELLO)
        await litellm.acompletion(  # the application's own use, on its own loop
            model="openai/m", messages=[{"role": "user", "content": "hello"}], api_base=server.url, api_key=KEY
        )
        assert server.open_connections == 3
        await first.aclose()
        assert (await second.agenerate(HELLO)).text == "ok"
        await second.aclose()
        await server.auntil(lambda: server.open_connections == 1)
        mine = [
            key for key in litellm.in_memory_llm_clients_cache.cache_dict if key.endswith(f"-{id(loops.sdk_loop())}")
        ]
        assert mine == []
        again = opened(server)
        assert (await again.agenerate(HELLO)).text == "ok"
        await again.aclose()
        await litellm.close_litellm_async_clients()


# Leaving things alone


def snapshot():
    """LiteLLM's settings: all plain values of its module, and what its lists of callbacks hold."""
    import litellm

    plain = (str, int, float, bool, type(None), list, dict, set, tuple)
    return {
        name: repr(value)
        for name, value in vars(litellm).items()
        if not name.startswith("__") and isinstance(value, plain) and name != "model_cost"
    }


async def test_no_setting_of_litellm_is_touched_by_answers_failures_and_streams():
    async with FaultServer("ok") as server, opened(server) as engine:
        await engine.agenerate(HELLO)  # what LiteLLM itself sets at its first call is not ours
        await streamed(engine)
        before = snapshot()
        assert {"callbacks", "drop_params", "cache", "api_key", "modify_params", "suppress_debug_info"} <= before.keys()
        await engine.agenerate(HELLO)
        assert snapshot() == before
    streams = ("Hello dear world", 500, Reply(text="a b c", drop_at=450), Reply(text="a b c", hang_after=1))
    async with FaultServer(*streams) as server, opened(server) as engine:
        for hangs in (False, False, False, True):
            chunks = engine.astream(HELLO)
            with contextlib.suppress(errors.EngineError):
                async for _ in chunks:
                    assert snapshot() == before
                    if hangs:
                        break
            await chunks.aclose()
            assert snapshot() == before
    async with FaultServer(429, Raw()) as server, opened(server) as engine:
        for _ in range(2):
            with pytest.raises(errors.EngineError):
                await engine.agenerate(HELLO)
            assert snapshot() == before


IN_A_NEW_PROCESS = """
import asyncio, logging, os, sys, threading, time, warnings
warnings.simplefilter("error")
from llmops_sdk import Engine, loops
from llmops_sdk.messages import Request
from llmops_sdk.testing import FaultServer

fetched = []
sys.addaudithook(lambda event, args: fetched.append(args) if event == "socket.getaddrinfo" else None)
environment = dict(os.environ)
root = (logging.getLogger().level, list(logging.getLogger().handlers))

async def main():
    done = False
    async def tick(gaps):
        last = time.perf_counter()
        while not done:
            await asyncio.sleep(0.005)
            now = time.perf_counter()
            gaps.append(now - last)
            last = now
    async with FaultServer("ok", 500) as server:
        engines = [Engine.open("litellm:openai/m", api_base=server.url, api_key="k" * 20, name=str(i)) for i in (0, 1)]
        assert "litellm" not in sys.modules
        here, there = [], []
        ticking = asyncio.create_task(tick(here))
        asyncio.run_coroutine_threadsafe(tick(there), loops.sdk_loop())
        began = time.perf_counter()
        answers = await asyncio.gather(engines[0].agenerate(Request.of("a")), engines[1].agenerate(Request.of("b")),
                                       return_exceptions=True)
        took = time.perf_counter() - began
        done = True
        await ticking
        assert sorted(type(answer).__name__ for answer in answers) == ["Response", "ServerError"], answers
        for gaps in (here, there):
            assert len(gaps) > 20 and max(gaps) < took / 2, (len(gaps), max(gaps), took)
        CLOSE
asyncio.run(main())
assert dict(os.environ) == environment
assert (logging.getLogger().level, list(logging.getLogger().handlers)) == root
assert not [one for one in fetched if one[0] not in ("127.0.0.1", None)], fetched
"""


@pytest.mark.parametrize("close", ["for engine in engines: await engine.aclose()", "global kept; kept = engines"])
def test_first_use_keeps_the_loop_free_and_the_process_as_it_was(close, tmp_path):
    (tmp_path / ".env").write_text("SOMETHING_NEW=1\n")
    done = subprocess.run(
        [sys.executable, "-c", IN_A_NEW_PROCESS.replace("CLOSE", close)],
        capture_output=True,
        text=True,
        check=False,
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)},
        timeout=100,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout == ""
    if close.startswith("for"):
        assert done.stderr == ""
    else:
        assert "Unclosed" not in done.stderr


def test_opening_does_not_import_litellm():
    program = (
        "import sys, llmops_sdk; llmops_sdk.Engine.open('litellm:groq/m', api_key='k'); "
        "sys.exit('litellm' in sys.modules)"
    )
    path = os.pathsep.join(path for path in sys.path if path)
    done = subprocess.run([sys.executable, "-c", program], env={**os.environ, "PYTHONPATH": path}, check=False)
    assert done.returncode == 0


def test_a_forgotten_engine_warns():
    with FaultServer("ok") as server:
        engine = opened(server)
        engine.generate("hello")
        with pytest.warns(ResourceWarning, match="was not closed"):
            del engine  # at once, without the help of the garbage collector


async def test_a_stream_has_the_tier_and_the_bill_that_the_whole_answer_has():
    usage = Usage(input_tokens=100, output_tokens=50, service_tier="priority")
    reply = Reply(usage=usage)
    async with (
        FaultServer(reply) as server,
        Engine.open("litellm:anthropic/m", base_url=server.url.removesuffix("/v1"), api_key="none") as engine,
    ):
        assert (await engine.agenerate(HELLO)).usage == joined(await streamed(engine)).usage == usage
    billed = Usage(input_tokens=100, output_tokens=50, service_tier="flex", billed_usd=Decimal("0.25"))
    async with FaultServer(Reply(usage=billed)) as server, opened(server) as engine:
        assert (await engine.agenerate(HELLO)).usage == joined(await streamed(engine)).usage == billed


def test_cached_sound_that_cannot_be_told_from_text_makes_the_count_an_estimate():
    said = {"prompt_tokens": 1_000, "completion_tokens": 10, "total_tokens": 1_010}
    hidden = {"text_tokens": 300, "audio_tokens": 100, "cached_tokens": 600}
    told = {"text_tokens": 900, "audio_tokens": 100, "cached_tokens": 600}

    assert litellm_usage({**said, "prompt_tokens_details": hidden}).estimated
    assert not litellm_usage({**said, "prompt_tokens_details": told}).estimated


@pytest.mark.parametrize(
    ("said", "cost"), [(0.0, None), (0.25, Decimal("0.25")), (None, None), (True, None), (-1.0, None)]
)
def test_a_cost_of_nothing_is_no_cost_that_anybody_knows(said, cost):
    assert cost_of(said) == cost
