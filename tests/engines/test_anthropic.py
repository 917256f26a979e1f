"""Anthropic's Messages API, against a real server that speaks it and misbehaves as it is told to."""

import asyncio
import itertools
import json
import pickle
from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from llmops_sdk import errors
from llmops_sdk.calls import Call
from llmops_sdk.costs import PriceTable
from llmops_sdk.engines import Engine
from llmops_sdk.engines._sse import EventParser
from llmops_sdk.engines.anthropic import Anthropic
from llmops_sdk.messages import ImagePart, Message, Request, TextPart, ToolCall, Usage
from llmops_sdk.routers import Router
from llmops_sdk.testing import FaultServer, Hang, Raw, Reply, Status, huge_line
from llmops_sdk.tracing import OpenTelemetry
from llmops_sdk.tracing._later import LATER

KEY = "k" * 24
HELLO = Request.of("hello")
USAGE = Usage(input_tokens=100, output_tokens=20, cached_input_tokens=60, cache_write_tokens=30, reasoning_tokens=5)
CALLS = (
    ToolCall(id="toolu_1", name="send", arguments='{"to":"Ada","text":"hello"}'),
    ToolCall(id="toolu_2", name="now", arguments="{}"),
)


def opened(server, **options):
    return Engine.open("anthropic:test-model", base_url=server.url, api_key=KEY, **options)


async def streamed(engine, request=HELLO):
    return [chunk async for chunk in engine.astream(request)]


def joined(chunks):
    return "".join(chunk.text for chunk in chunks)


def events(*contents):
    """A stream with the given events, as the API writes them."""
    lines = [f"event: {one['type']}\ndata: {json.dumps(one)}\n\n" for one in contents]
    return Raw(body="".join(lines).encode(), content_type="text/event-stream")


def message(*blocks, stop_reason="end_turn", **more):
    """A whole answer of the API."""
    answer = {"id": "msg_1", "type": "message", "role": "assistant", "model": "m", "content": list(blocks), **more}
    return Raw(body=json.dumps({**answer, "stop_reason": stop_reason}).encode())


START = {"type": "message_start", "message": {"id": "msg_1", "model": "m", "usage": {"input_tokens": 3}}}
END = {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": 2}}
STOP = {"type": "message_stop"}


def delta(index=0, **content):
    return {"type": "content_block_delta", "index": index, "delta": content}


async def sent(request, **options):
    """The body that a request goes out as."""
    async with FaultServer("ok") as server, opened(server, **options) as engine:
        await engine.agenerate(request)
        return server.requests[0].json


# Asking


async def test_request_goes_out_as_the_api_says():
    async with FaultServer("ok") as server, opened(server, headers={"anthropic-beta": "b"}) as engine:
        call = Call()
        call.traceparent = "00-" + "ab" * 16 + "-" + "cd" * 8 + "-01"
        request = Request(
            messages=(
                Message.system("be kind"),
                Message.system("be short"),
                Message.user(
                    (
                        TextPart(text="what is this?"),
                        ImagePart(url="data:image/PNG;base64,AAAA"),
                        ImagePart(url="https://example.com/cat.jpg"),
                    )
                ),
                Message.assistant("let me see", tool_calls=CALLS),
                Message.tool("sent", tool_call_id="toolu_1", name="send"),
                Message.tool("noon", tool_call_id="toolu_2", name="now"),
                Message.user("and now?"),
                Message.system("from here on in French"),
            ),
            temperature=0.0,
            top_p=0.9,
            max_tokens=7,
            stop=("END",),
            adapter="other",
            tools=({"type": "function", "function": {"name": "send", "description": "d", "parameters": {"a": 1}}},),
            tool_choice="required",
            response_schema={"type": "object"},
            extra={"top_k": 5, "output_config": {"effort": "low"}},
            call=call,
        )
        await engine.agenerate(request)
        (seen,) = server.requests
    assert (seen.method, seen.path) == ("POST", "/v1/messages")
    assert (seen.headers["x-api-key"], seen.headers["anthropic-version"]) == (KEY, "2023-06-01")
    assert (seen.headers["anthropic-beta"], seen.headers["traceparent"]) == ("b", call.traceparent)
    assert seen.json == {
        "model": "other",
        "max_tokens": 7,
        "system": [{"type": "text", "text": "be kind"}, {"type": "text", "text": "be short"}],
        "messages": [
            {
                "role": "user",
                "content": [
                    {"type": "text", "text": "what is this?"},
                    {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "AAAA"}},
                    {"type": "image", "source": {"type": "url", "url": "https://example.com/cat.jpg"}},
                ],
            },
            {
                "role": "assistant",
                "content": [
                    {"type": "text", "text": "let me see"},
                    {"type": "tool_use", "id": "toolu_1", "name": "send", "input": {"to": "Ada", "text": "hello"}},
                    {"type": "tool_use", "id": "toolu_2", "name": "now", "input": {}},
                ],
            },
            {
                "role": "user",
                "content": [
                    {"type": "tool_result", "tool_use_id": "toolu_1", "content": "sent"},
                    {"type": "tool_result", "tool_use_id": "toolu_2", "content": "noon"},
                ],
            },
            {"role": "user", "content": "and now?"},
            {"role": "system", "content": "from here on in French"},
        ],
        "tools": [{"name": "send", "description": "d", "input_schema": {"a": 1}}],
        "tool_choice": {"type": "any"},
        "stop_sequences": ["END"],
        "temperature": 0.0,
        "top_p": 0.9,
        "top_k": 5,
        "output_config": {"format": {"type": "json_schema", "schema": {"type": "object"}}, "effort": "low"},
    }


async def test_least_request_has_a_bound_of_tokens_and_nothing_that_was_not_asked_for():
    turns = [{"role": "user", "content": "hello"}]
    assert await sent(HELLO) == {"model": "test-model", "max_tokens": 8192, "messages": turns}
    assert (await sent(HELLO, max_tokens=5))["max_tokens"] == 5
    assert (await sent(Request(messages=HELLO.messages, max_tokens=0)))["max_tokens"] == 0  # only fills the cache


async def test_what_extra_says_of_the_output_stands_beside_the_schema():
    form = {"format": {"type": "json_schema", "schema": {}}}
    for extra, said in ((None, form), ({"effort": "low"}, {**form, "effort": "low"}), ("nonsense", "nonsense")):
        request = Request(messages=HELLO.messages, response_schema={}, extra={"output_config": extra})
        assert (await sent(request))["output_config"] == said


@pytest.mark.parametrize(
    ("choice", "form"),
    [
        ("auto", {"type": "auto"}),
        ("none", {"type": "none"}),
        ({"type": "function", "function": {"name": "send"}}, {"type": "tool", "name": "send"}),
        ({"type": "auto", "disable_parallel_tool_use": True}, {"type": "auto", "disable_parallel_tool_use": True}),
    ],
)
async def test_tool_choices(choice, form):
    tools = ({"type": "function", "function": {"name": "now"}}, {"type": "web_search_20260318", "name": "web_search"})
    body = await sent(Request(messages=HELLO.messages, tools=tools, tool_choice=choice))
    assert body["tool_choice"] == form
    assert body["tools"] == [{"name": "now", "input_schema": {"type": "object", "properties": {}}}, tools[1]]


async def test_caching_marks_the_system_prompt_or_the_tools_and_the_conversation():
    mark = {"type": "ephemeral"}
    tools = ({"type": "function", "function": {"name": "now"}},)
    with_system = Request(messages=(Message.system("be kind"), *HELLO.messages), tools=tools)
    body = await sent(with_system, cache_prompt=True)
    assert body["cache_control"] == body["system"][-1]["cache_control"] == mark
    assert "cache_control" not in body["tools"][0]
    body = await sent(Request(messages=HELLO.messages, tools=tools), cache_prompt=True)
    assert body["cache_control"] == body["tools"][-1]["cache_control"] == mark
    assert "cache_control" not in json.dumps(await sent(with_system))


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"n": 2}, "ask 2 times"),
        ({"seed": 0}, "no `seed`"),
        ({"logprobs": 0}, "no `logprobs`"),
        ({"tool_choice": "any"}, "'required'"),
        ({"messages": (Message(role="user", content="hi", name="Ada"),)}, "names of speakers"),
        ({"messages": (Message(role="tool", content="hi"),)}, "tool_call_id"),
        ({"messages": (Message.user((ImagePart(url="file:///etc/passwd"),)),)}, "data:image/png"),
        ({"messages": (Message.assistant(tool_calls=(ToolCall(id="1", name="f", arguments="{"),)),)}, "no JSON"),
        ({"messages": (Message.assistant(tool_calls=(ToolCall(id="1", name="f", arguments="[]"),)),)}, "JSON object"),
        ({"messages": (Message.assistant(tool_calls=(ToolCall(id="1", name="f", arguments="[" * 9**6),)),)}, "JSON"),
        ({"messages": (Message.user("\ud800"),)}, "JSON"),
    ],
)
async def test_what_the_api_does_not_offer_is_refused_before_anything_is_sent(change, says):
    request = Request(**{"messages": HELLO.messages, **change})
    async with FaultServer("ok") as server, opened(server) as engine:
        for attempt in (engine.agenerate, lambda request: streamed(engine, request)):
            with pytest.raises(errors.BadRequestError, match=says) as caught:
                await attempt(request)
            assert (caught.value.engine, caught.value.model) == (engine.name, "test-model")
        assert server.request_count == 0


# Answers


async def test_whole_answer_and_stream_say_the_same():
    reply = Reply(text="Hello dear world", reasoning="Be brief.", tool_calls=CALLS, usage=USAGE)
    async with FaultServer(reply) as server, opened(server) as engine:
        whole = await engine.agenerate(HELLO)
        chunks = await streamed(engine)
    assert whole.text == joined(chunks) == "Hello dear world"
    assert whole.choices[0].reasoning == "".join(chunk.reasoning for chunk in chunks) == "Be brief."
    assert whole.tool_calls == tuple(call for chunk in chunks for call in chunk.tool_calls) == CALLS
    assert whole.finish_reason == chunks[-1].finish_reason == "tool_calls"
    assert [chunk.usage for chunk in chunks if chunk.usage] == [whole.usage] == [USAGE]
    assert {chunk.model for chunk in chunks} == {whole.model} == {"test-model"}
    assert {chunk.engine for chunk in chunks} == {whole.engine} == {"anthropic:test-model"}
    assert whole.id.startswith("msg_")
    assert all(chunk.id.startswith("msg_") for chunk in chunks)


@pytest.mark.parametrize(
    ("said", "means"),
    [
        ("end_turn", "stop"),
        ("stop_sequence", "stop"),
        ("max_tokens", "length"),
        ("model_context_window_exceeded", "length"),
        ("pause_turn", "length"),
        ("tool_use", "tool_calls"),
        ("refusal", "content_filter"),
        ("yet_to_be_invented", "stop"),
    ],
)
async def test_stop_reasons(said, means):
    stream = events(START, {"type": "message_delta", "delta": {"stop_reason": said}}, STOP)
    async with FaultServer(message(stop_reason=said), stream) as server, opened(server) as engine:
        assert (await engine.agenerate(HELLO)).finish_reason == means
        assert (await streamed(engine))[-1].finish_reason == means


async def test_calls_whose_arguments_come_at_once_or_not_at_all():
    tool = {"type": "tool_use", "id": "toolu_1", "name": "now"}
    stream = events(
        START,
        {"type": "content_block_start", "index": 1, "content_block": {**tool, "input": {"in": "Rome"}}},
        {"type": "content_block_start", "index": 0, "content_block": {**tool, "input": {}}},
        delta(0, type="input_json_delta", partial_json=""),
        {"type": "message_delta", "delta": {"stop_reason": "tool_use"}, "usage": {"output_tokens": 1}},
        {"type": "message_delta", "delta": {}, "usage": {"output_tokens": 2}},
        STOP,
    )
    async with FaultServer(stream) as server, opened(server) as engine:
        (chunk,) = await streamed(engine)
    assert [call.arguments for call in chunk.tool_calls] == ["{}", '{"in":"Rome"}']
    assert (chunk.finish_reason, chunk.usage.output_tokens) == ("tool_calls", 2)


async def test_thoughts_are_no_text_and_other_blocks_are_neither():
    blocks = (
        {"type": "thinking", "thinking": "Hm. ", "signature": "s"},
        {"type": "redacted_thinking", "data": "x"},
        {"type": "server_tool_use", "id": "srvtoolu_1", "name": "web_search", "input": {"query": "x"}},
        {"type": "web_search_tool_result", "tool_use_id": "srvtoolu_1", "content": []},
        {"type": "thinking", "thinking": "Aha.", "signature": "s"},
        {"type": "text", "text": "It is ", "citations": [{"cited_text": "x"}]},
        {"type": "text", "text": "noon."},
    )
    stream = events(
        START,
        {"type": "content_block_start", "index": 0, "content_block": {"type": "thinking", "thinking": ""}},
        delta(type="thinking_delta", thinking="Hm. "),
        delta(type="signature_delta", signature="s"),
        {"type": "content_block_stop", "index": 0},
        {"type": "content_block_start", "index": 1, "content_block": blocks[2]},
        delta(1, type="input_json_delta", partial_json='{"query": "x"}'),
        {"type": "content_block_start", "index": 2, "content_block": {"type": "thinking", "thinking": "Aha."}},
        {"type": "ping"},
        {"type": "yet_to_be_invented", "what": ["ever"]},
        {"type": "content_block_start", "index": 3, "content_block": {"type": "text", "text": ""}},
        delta(3, type="text_delta", text="It is "),
        delta(3, type="citations_delta", citation={"cited_text": "x"}),
        delta(3, type="yet_to_be_invented"),
        delta(3, type="text_delta", text="noon."),
        END,
        STOP,
    )
    async with FaultServer(message(*blocks), stream) as server, opened(server) as engine:
        whole = await engine.agenerate(HELLO)
        chunks = await streamed(engine)
    assert whole.text == joined(chunks) == "It is noon."
    assert whole.choices[0].reasoning == "".join(chunk.reasoning for chunk in chunks) == "Hm. Aha."
    assert whole.tool_calls == ()
    assert not any(chunk.tool_calls for chunk in chunks)


async def test_tokens_are_counted_as_parts_of_the_whole_and_the_last_count_of_a_stream_holds():
    counted = {"input_tokens": 10, "cache_creation_input_tokens": 30, "cache_read_input_tokens": 60}
    start = {"type": "message_start", "message": {"usage": {**counted, "output_tokens": 1}}}
    details = {"output_tokens": 20, "cache_read_input_tokens": None, "output_tokens_details": {"thinking_tokens": 5}}
    end = {**END, "usage": details}
    whole = message(usage={**counted, **{k: v for k, v in details.items() if v is not None}})
    async with FaultServer(whole, events(start, end, STOP)) as server, opened(server) as engine:
        assert (await engine.agenerate(HELLO)).usage == USAGE
        assert [chunk.usage for chunk in await streamed(engine)] == [USAGE]


async def test_answer_without_counts_has_no_usage():
    async with FaultServer(Reply(report_usage=False)) as server, opened(server) as engine:
        assert (await engine.agenerate(HELLO)).usage is None
        assert not any(chunk.usage for chunk in await streamed(engine))


async def test_cost_counts_each_part_at_its_own_price():
    async with (
        FaultServer(Reply(text="Hello", usage=USAGE)) as server,
        Engine.open("anthropic:claude-sonnet-4-5", base_url=server.url, api_key=KEY) as engine,
    ):
        result = await ("Hi" | engine).arun()
    # 10 plain, 60 cached, 30 written to the cache, 20 of output.
    expected = (10 * Decimal(3) + 60 * Decimal("0.3") + 30 * Decimal("3.75") + 20 * Decimal(15)) / 1_000_000
    assert result.cost_usd == expected
    table = PriceTable.default()
    assert table.price("claude-sonnet-4-5-20250929") == table.price(f"{engine.provider}/claude-sonnet-4-5")


async def test_models_and_counting_tokens():
    async with FaultServer(models=("claude-a", "claude-b")) as server, opened(server) as engine:
        assert [model.id for model in await engine.amodels()] == ["claude-a", "claude-b"]
        assert server.requests[0].path == "/v1/models?limit=1000"
        request = Request(messages=(Message.system("be kind"), *HELLO.messages), temperature=0.5, stop=("x",))
        assert await engine.acount_tokens(request) == 3
        assert set(server.requests[-1].json) == {"model", "messages", "system"}


@pytest.mark.parametrize("name", ["max_input_tokens", "max_model_len"])  # Anthropic's, and vLLM's
async def test_windows_of_models_are_read(name):
    rows = json.dumps({"data": [{"id": "m", name: 2048}]}).encode()

    async def answer(reader, writer):
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n%b" % (len(rows), rows))
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    async with server, Engine.open("anthropic:m", base_url=url, api_key=KEY) as engine:
        assert [(model.id, model.window) for model in await engine.amodels()] == [("m", 2048)]


# Errors


@pytest.mark.parametrize(
    ("behaviour", "error"),
    [
        (400, errors.BadRequestError),
        (401, errors.AuthenticationError),
        (402, errors.PermissionDeniedError),
        (403, errors.PermissionDeniedError),
        (404, errors.NotFoundError),
        (413, errors.BadRequestError),
        (429, errors.RateLimitError),
        (500, errors.ServerError),
        (504, errors.EngineTimeout),
        (529, errors.ServerError),
        (Status(status=400, message="prompt is too long"), errors.ContextLengthError),
        (Status(status=400, message="Output blocked by content filtering policy"), errors.ContentFilteredError),
        (Raw(), errors.InvalidResponseError),
        (Raw(body=b"[]"), errors.InvalidResponseError),
        (Raw(body=b"{}"), errors.InvalidResponseError),
        (message({"type": "text", "text": 5}), errors.InvalidResponseError),
        (message({"type": "tool_use", "id": "1"}), errors.InvalidResponseError),
        (message(usage={"input_tokens": "many"}), errors.InvalidResponseError),
        (Raw.html(), errors.InvalidResponseError),
        (Raw.html(status=502), errors.ServerError),
        (Reply(text="x", drop_in_headers=5), errors.EngineConnectionError),
        (Reply(text="x", drop_at=10), errors.EngineConnectionError),
        (Reply(text="x", drop_at=10, reset=True), errors.EngineConnectionError),
    ],
)
async def test_every_fault_is_a_typed_error_and_the_engine_stays_usable(behaviour, error):
    # Twice each: a connection on which nothing came is tried once more.
    async with FaultServer(behaviour, behaviour, "ok") as server, opened(server) as engine:
        for attempt in (engine.agenerate, lambda request: streamed(engine, request)):
            with pytest.raises(error) as caught:
                await attempt(HELLO)
            assert type(caught.value) is error or isinstance(caught.value, errors.StreamInterrupted)
            assert (caught.value.engine, caught.value.model) == (engine.name, "test-model")
            copy = pickle.loads(pickle.dumps(caught.value))
            assert (type(copy), copy.engine, str(copy)) == (type(caught.value), engine.name, str(caught.value))
            assert KEY not in repr(caught.value) + str(caught.value) + repr(engine)
        assert (await engine.agenerate(HELLO)).text == "ok"


@pytest.mark.parametrize(
    ("says", "tokens", "window"),
    [
        ("prompt is too long: 209353 tokens > 200000 maximum", 209353, 200000),
        ("input length and `max_tokens` exceed context limit: 190000 + 20000 > 200000, decrease", 190000, 200000),
        ("prompt is too long", None, None),
    ],
)
async def test_context_that_is_too_long_comes_with_its_numbers(says, tokens, window):
    async with FaultServer(Status(status=400, message=says)) as server, opened(server) as engine:
        with pytest.raises(errors.ContextLengthError) as caught:
            await engine.agenerate(HELLO)
        assert (caught.value.tokens, caught.value.window) == (tokens, window)


async def test_refusal_carries_the_request_id_and_the_wait():
    async with FaultServer(Status(status=429, retry_after_s=2)) as server, opened(server) as engine:
        with pytest.raises(errors.RateLimitError) as caught:
            await engine.agenerate(HELLO)
        assert caught.value.retry_after_s == 2.0
        assert caught.value.request_id.startswith("req_")


@pytest.mark.parametrize(
    ("kind", "error", "status"),
    [
        ("overloaded_error", errors.ServerError, 529),
        ("rate_limit_error", errors.RateLimitError, 429),
        ("timeout_error", errors.EngineTimeout, 504),
        ("invalid_request_error", errors.BadRequestError, 400),
        ("api_error", errors.ServerError, 500),
        ("yet_to_be_invented", errors.ServerError, 500),
    ],
)
async def test_error_in_mid_stream_is_typed_as_a_refusal_would_be(kind, error, status):
    told = {"type": "error", "error": {"type": kind, "message": "so it is"}, "request_id": "req_1"}
    stream = events(START, delta(type="text_delta", text="Hel"), told)
    async with FaultServer(stream, Raw(body=json.dumps(told).encode())) as server, opened(server) as engine:
        for attempt in (lambda: streamed(engine), lambda: engine.agenerate(HELLO)):
            with pytest.raises(error, match="so it is") as caught:
                await attempt()
            assert (caught.value.status_code, caught.value.request_id) == (status, "req_1")
            assert caught.value.engine == engine.name


@pytest.mark.parametrize(
    "broken",
    [
        {"no": "type"},
        {"type": "content_block_delta", "index": 0},
        delta(type="text_delta", text=5),
        delta(type="text_delta"),
        {"type": "message_delta", "delta": None},
        {"type": "message_start"},
        ["list"],
    ],
)
async def test_event_that_is_none_is_an_invalid_response(broken):
    body = events(START).body + b"data: " + json.dumps(broken).encode() + b"\n\n"
    async with FaultServer(Raw(body=body, content_type="text/event-stream"), "ok") as server, opened(server) as engine:
        with pytest.raises(errors.InvalidResponseError):
            await streamed(engine)
        assert (await engine.agenerate(HELLO)).text == "ok"


async def test_stream_that_ends_before_its_last_event_is_interrupted():
    async with (
        FaultServer(events(START, delta(type="text_delta", text="Hel"), END)) as server,
        opened(server) as engine,
    ):
        with pytest.raises(errors.StreamInterrupted) as caught:
            await streamed(engine)
        assert caught.value.partial_text == "Hel"


async def test_stream_dropped_at_every_byte_is_an_error_with_a_prefix_of_the_text_or_the_whole():
    text, outcomes = "Hello dear world", set()
    for at in range(1300):
        async with FaultServer(Reply(text=text, drop_at=at)) as server, opened(server) as engine:
            try:
                said, whole = joined(await streamed(engine)), True
            except errors.EngineConnectionError as exc:
                said, whole = getattr(exc, "partial_text", ""), False
            outcomes.add(whole)
            assert said == text if whole else text.startswith(said)
    assert outcomes == {True, False}


def stream_of(reply):
    """The bytes of a stream as the fault server writes them."""
    from llmops_sdk.testing._wire_anthropic import render_message

    return b"".join(render_message(reply, {"stream": True, "model": "m"}, input_tokens=3).pieces)


WHOLE = stream_of(Reply(text="Hello dear wörld 🙂", reasoning="Häm.", tool_calls=CALLS, usage=USAGE))


@given(st.lists(st.integers(0, len(WHOLE)), max_size=12), st.sampled_from([b"\n", b"\r\n", b"\r"]))
@settings(deadline=None)
def test_stream_reads_the_same_however_it_is_cut(cuts, line_end):
    data = WHOLE.replace(b"\n", line_end)
    edges = [0, *sorted(cuts), len(data)]
    parser = EventParser()
    reader = Anthropic("http://127.0.0.1:9", model="m").reader()
    pieces = [data[start:end] for start, end in itertools.pairwise(edges)]
    chunks = [reader.read(event) for piece in pieces for event in parser.feed(piece)]
    said = [chunk for chunk in chunks if chunk is not None]
    assert joined(said) == "Hello dear wörld 🙂"
    assert "".join(chunk.reasoning for chunk in said) == "Häm."
    assert (said[-1].tool_calls, said[-1].usage, reader.ended) == (CALLS, USAGE, True)


@given(
    st.recursive(
        st.none() | st.integers() | st.text(max_size=5),
        lambda c: (
            st.lists(c)
            | st.dictionaries(
                st.sampled_from(["type", "index", "delta", "message", "content_block", "usage", "error", "text"]), c
            )
        ),
        max_leaves=8,
    )
)
@settings(deadline=None)
def test_reader_never_fails_in_another_way_than_it_says(event):
    reader = Anthropic("http://127.0.0.1:9", model="m").reader()
    for kind in ("message_start", "content_block_start", "content_block_delta", "message_delta", "error"):
        content = {**event, "type": kind} if isinstance(event, dict) else event
        try:
            reader.read(json.dumps(content).encode())
        except (LookupError, TypeError, ValueError, AttributeError, errors.EngineError):
            continue


async def test_silence_and_size_are_bounded():
    behaviours = (Hang(), Reply(text="a b c", hang_after=1), Reply(chunks=("a", huge_line(200_000))))
    async with (
        FaultServer(*behaviours) as server,
        opened(server, read_timeout_s=0.1, max_body=100_000) as engine,
    ):
        with pytest.raises(errors.EngineTimeout):
            await engine.agenerate(HELLO)
        stream = engine.astream(HELLO)
        assert (await anext(stream)).text == "a"
        with pytest.raises(errors.EngineTimeout):
            await anext(stream)
        with pytest.raises(errors.InvalidResponseError, match="100000 bytes"):
            await streamed(engine)


async def test_leaving_a_stream_stops_the_work_upstream():
    async with FaultServer(Reply(chunks=("a",) * 1000, chunk_delay_s=0.01)) as server, opened(server) as engine:
        stream = engine.astream(HELLO)
        assert (await anext(stream)).text == "a"
        await stream.aclose()
        await server.auntil(lambda: server.disconnects == 1)


# Beside other engines


@pytest.mark.parametrize("first", ["openai", "anthropic"])
async def test_router_goes_on_in_mid_stream_with_an_endpoint_of_the_other_form(first):
    text = "Hello dear world, how are you?"
    async with FaultServer(Reply(text=text, drop_at=900)) as breaking, FaultServer(text) as whole:
        openai, anthropic = (breaking, whole) if first == "openai" else (whole, breaking)
        engines = {
            "openai": Engine.open(openai.url, model="m", name="openai"),
            "anthropic": Engine.open("anthropic:m", base_url=anthropic.url, api_key=KEY, name="anthropic"),
        }
        other = "anthropic" if first == "openai" else "openai"
        async with Router([engines[first], engines[other]], strategy="priority") as router:
            chunks = await streamed(router)
    assert joined(chunks) == text
    assert next(chunk.engine for chunk in chunks if chunk.text) == first
    assert chunks[-1].engine == other


async def test_spans_name_the_provider_and_count_all_tokens():
    exporter = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    async with FaultServer(Reply(usage=USAGE, finish_reason="length")) as server, opened(server) as engine:
        await ("Hi" | engine).arun(hooks=(OpenTelemetry(provider),))
    assert LATER.flush(10)
    (span,) = [span for span in exporter.get_finished_spans() if span.name.startswith("chat")]
    assert span.name == "chat test-model"
    expected = {
        "gen_ai.provider.name": "anthropic",
        "gen_ai.request.model": "test-model",
        "gen_ai.response.model": "test-model",
        "gen_ai.response.finish_reasons": ("length",),
        "gen_ai.usage.input_tokens": 100,
        "gen_ai.usage.output_tokens": 20,
        "gen_ai.usage.cache_read.input_tokens": 60,
        "gen_ai.usage.cache_write.input_tokens": 30,
    }
    assert {name: span.attributes.get(name) for name in expected} == expected


# Opening


def test_models_and_tokens_without_an_event_loop():
    with FaultServer(models=("claude-a",)) as server, opened(server) as engine:
        assert [model.id for model in engine.models()] == ["claude-a"]
        assert engine.count_tokens("one two") == 2


def test_keys_and_urls_come_from_the_environment(monkeypatch):
    monkeypatch.setenv("ANTHROPIC_API_KEY", KEY)
    with FaultServer("ok") as server:
        monkeypatch.setenv("ANTHROPIC_BASE_URL", server.url.removesuffix("/v1"))
        with Engine.open("anthropic:claude-sonnet-5-5") as engine:
            assert (engine.name, engine.provider) == ("anthropic:claude-sonnet-5-5", "anthropic")
            assert engine.generate("hello").text == "ok"
        assert server.requests[0].headers["x-api-key"] == KEY
        assert KEY not in repr(engine)


@pytest.mark.parametrize("rest", ["", "/", "/v1", "/v1/", "/v1?team=a"])
async def test_base_url_may_have_the_version_at_its_end(rest):
    async with FaultServer("ok") as server:
        async with Engine.open("anthropic:m", base_url=server.url.removesuffix("/v1") + rest, api_key=KEY) as engine:
            assert (await engine.agenerate(HELLO)).text == "ok"
        assert server.requests[0].path == "/v1/messages" + rest[rest.find("?") :] * ("?" in rest)


async def test_key_that_the_server_repeats_is_not_shown():
    async with FaultServer(Status(status=401, message=f"invalid x-api-key: {KEY}")) as server, opened(server) as engine:
        with pytest.raises(errors.AuthenticationError) as caught:
            await engine.agenerate(HELLO)
        assert KEY not in str(caught.value)


async def test_without_a_key_it_says_so_when_it_is_asked(monkeypatch):
    monkeypatch.delenv("ANTHROPIC_API_KEY", raising=False)
    monkeypatch.delenv("ANTHROPIC_BASE_URL", raising=False)
    with pytest.raises(errors.AuthenticationError, match="ANTHROPIC_API_KEY"):
        await Engine.open("anthropic:claude-sonnet-5-5").agenerate(HELLO)
    bearer = {"Authorization": "Bearer " + KEY}
    assert Engine.open("anthropic:m", headers=bearer).missing_key is None


@pytest.mark.parametrize(
    ("spec", "options", "says"),
    [
        ("anthropic:", {}, "which model"),
        ("anthropic:m", {"colour": "red"}, "colour"),
        ("anthropic:m", {"max_tokens": 0}, "at least 1"),
        ("anthropic:m", {"base_url": "nowhere"}, "no URL"),
    ],
)
def test_wrong_specs_say_what_to_write(spec, options, says):
    with pytest.raises(errors.ConfigurationError, match=says):
        Engine.open(spec, **options)


async def test_one_engine_serves_many_requests_on_few_connections():
    async with FaultServer("ok") as server, opened(server) as engine:
        for _ in range(3):
            await engine.agenerate(HELLO)
            await streamed(engine)
        assert server.open_connections == 1
        await asyncio.gather(*[engine.agenerate(HELLO) for _ in range(20)])
        assert server.open_connections <= 20
