"""Remote endpoints, against a real server that misbehaves as it is told to."""

import asyncio
import contextlib
import gc
import multiprocessing
import pickle
import shutil
import ssl
import subprocess
import warnings

import pytest

from llmops_sdk import errors
from llmops_sdk.calls import Call
from llmops_sdk.engines import Engine
from llmops_sdk.messages import ImagePart, Message, Request, TextPart, ToolCall, Usage
from llmops_sdk.testing import INVALID_UTF8, FaultServer, Hang, Raw, Reply, Status, huge_line

KEY = "k" * 24
HELLO = Request.of("hello")


def opened(server, **options):
    return Engine.open(server.url, model="test-model", api_key=KEY, **options)


async def streamed(engine, request=HELLO):
    return [chunk async for chunk in engine.astream(request)]


def joined(chunks):
    return "".join(chunk.text for chunk in chunks)


# Asking and answering


async def test_whole_answer_and_stream_say_the_same():
    async with FaultServer(Reply(text="Hello dear world")) as server, opened(server) as engine:
        whole = await engine.agenerate(HELLO)
        chunks = await streamed(engine)
        assert whole.text == joined(chunks) == "Hello dear world"
        assert whole.finish_reason == chunks[-2].finish_reason == "stop" or chunks[-1].finish_reason == "stop"
        usages = [chunk.usage for chunk in chunks if chunk.usage]
        assert usages == [whole.usage]
        assert whole.usage.output_tokens == 3
        assert whole.engine == engine.name


async def test_request_goes_out_as_the_protocol_says():
    async with FaultServer("ok") as server, opened(server, headers={"X-Team": "a"}) as engine:
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
            tools=({"type": "function", "function": {"name": "look"}},),
            tool_choice="auto",
            response_schema={"type": "object"},
            extra={"top_k": 5},
        )
        await engine.agenerate(request)
        (seen,) = server.requests
        body = seen.json
        assert body["model"] == "test-model"
        assert [message["role"] for message in body["messages"]] == ["system", "user", "assistant", "tool"]
        assert body["messages"][1]["content"][1]["image_url"]["url"].startswith("data:")
        assert body["messages"][2]["tool_calls"][0]["function"] == {"name": "look", "arguments": "{}"}
        assert (body["temperature"], body["top_p"], body["max_tokens"], body["seed"], body["n"]) == (0.5, 0.9, 7, 3, 2)
        assert body["stop"] == ["END"]
        assert body["top_k"] == 5
        assert body["response_format"]["json_schema"]["schema"] == {"type": "object"}
        assert "stream" not in body


async def test_adapter_goes_out_as_the_model_and_traceparent_as_a_header():
    async with FaultServer("ok") as server, opened(server) as engine:
        call = Call()
        call.traceparent = "00-" + "ab" * 16 + "-" + "cd" * 8 + "-01"
        await engine.agenerate(Request(messages=HELLO.messages, adapter="support", call=call))
        assert server.requests[0].json["model"] == "support"
        assert server.requests[0].headers["traceparent"] == call.traceparent


async def test_tool_calls_and_choices():
    call = ToolCall(id="call_1", name="send", arguments='{"to": "Ada", "text": "hello"}')
    async with FaultServer(Reply(tool_calls=(call,))) as server, opened(server) as engine:
        assert (await engine.agenerate(HELLO)).tool_calls == (call,)
        chunks = await streamed(engine)
        assert [one for chunk in chunks for one in chunk.tool_calls] == [call]
    async with FaultServer(Reply(text=("one", "two"))) as server, opened(server) as engine:
        two = Request(messages=HELLO.messages, n=2)
        assert [choice.text for choice in (await engine.agenerate(two)).choices] == ["one", "two"]
        chunks = await streamed(engine, two)
        assert {index: joined(c for c in chunks if c.index == index) for index in (0, 1)} == {0: "one", 1: "two"}


async def test_token_classes_are_read():
    answer = Raw(
        body=b'{"choices":[{"message":{"content":"x"},"finish_reason":"stop"}],"usage":{"prompt_tokens":10,'
        b'"completion_tokens":5,"prompt_tokens_details":{"cached_tokens":4},'
        b'"completion_tokens_details":{"reasoning_tokens":2}}}'
    )
    async with FaultServer(answer) as server, opened(server) as engine:
        assert (await engine.agenerate(HELLO)).usage == Usage(
            input_tokens=10, output_tokens=5, cached_input_tokens=4, reasoning_tokens=2
        )


async def test_connections_are_kept_and_reused():
    async with FaultServer("ok") as server, opened(server) as engine:
        for _ in range(5):
            await engine.agenerate(HELLO)
            await streamed(engine)
        assert server.open_connections == 1
        await asyncio.gather(*[engine.agenerate(HELLO) for _ in range(20)])
        assert server.open_connections <= 20


async def test_pool_is_bounded_and_nobody_starves():
    async with FaultServer(Reply(text="ok", delay_s=0.01)) as server, opened(server, max_connections=3) as engine:
        answers = await asyncio.gather(*[engine.agenerate(HELLO) for _ in range(30)])
        assert len(answers) == 30
        assert server.open_connections <= 3


async def test_waiting_for_a_connection_can_be_cancelled():
    async with FaultServer(Hang()) as server, opened(server, max_connections=1) as engine:
        first = asyncio.create_task(engine.agenerate(HELLO))
        await server.auntil(lambda: server.answering == 1)
        second = asyncio.create_task(engine.agenerate(HELLO))
        await asyncio.sleep(0.01)
        for task in (second, first):
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task


async def test_server_that_closes_kept_connections_does_no_harm():
    async with FaultServer("ok") as server, opened(server) as engine:
        await engine.agenerate(HELLO)
        port = server.port
        (connection,) = next(iter(engine._transport._pools.values())).idle
        connection._transport.abort()  # what the peer's close looks like while nobody reads
        assert (await engine.agenerate(HELLO)).text == "ok"
        assert port == server.port


# Errors


@pytest.mark.parametrize(
    ("behaviour", "error"),
    [
        (401, errors.AuthenticationError),
        (403, errors.PermissionDeniedError),
        (404, errors.NotFoundError),
        (400, errors.BadRequestError),
        (422, errors.BadRequestError),
        (408, errors.EngineTimeout),
        (429, errors.RateLimitError),
        (500, errors.ServerError),
        (503, errors.ServerError),
        (Status(status=400, code="context_length_exceeded"), errors.ContextLengthError),
        (Status(status=400, code="content_filter"), errors.ContentFilteredError),
        (Raw(), errors.InvalidResponseError),
        (Raw(body=b"[]"), errors.InvalidResponseError),
        (Raw(body=b'{"choices": []}'), errors.InvalidResponseError),
        (Raw(body=b'{"choices": [{"message": {"content": 5}}]}'), errors.InvalidResponseError),
        (Raw(body=b""), errors.InvalidResponseError),
        (Raw.html(), errors.InvalidResponseError),
        (Raw.html(status=502), errors.ServerError),
        (Raw(status=302, headers={"location": "http://127.0.0.1/"}), errors.InvalidResponseError),
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
            assert caught.value.engine == engine.name
            assert caught.value.model == "test-model"
            copy = pickle.loads(pickle.dumps(caught.value))
            assert (type(copy), copy.engine, str(copy)) == (type(caught.value), engine.name, str(caught.value))
            assert KEY not in repr(caught.value) + str(caught.value)
        assert (await engine.agenerate(HELLO)).text == "ok"


@pytest.mark.parametrize(
    ("header", "seconds"),
    [(2, 2.0), (0.5, 0.5), ("0", 0.0), ("nonsense", None), ("Wed, 21 Oct 2015 07:28:00 GMT", 0.0)],
)
async def test_retry_after_is_read(header, seconds):
    async with FaultServer(Status(status=429, retry_after_s=header)) as server, opened(server) as engine:
        with pytest.raises(errors.RateLimitError) as caught:
            await engine.agenerate(HELLO)
        assert caught.value.retry_after_s == seconds


async def test_nobody_listens():
    async with FaultServer("ok") as server:
        url = server.url
    engine = Engine.open(url, model="m")
    with pytest.raises(errors.EngineConnectionError, match="is it running"):
        await engine.agenerate(HELLO)
    with pytest.raises(errors.EngineConnectionError):
        await streamed(engine)


async def test_host_that_does_not_exist():
    with pytest.raises(errors.EngineConnectionError, match="cannot be resolved"):
        await Engine.open("http://no-such-host.invalid/v1", model="m").agenerate(HELLO)


async def test_port_that_speaks_another_protocol():
    async def greet(reader, writer):
        await reader.read(10)
        writer.write(b"SSH-2.0-OpenSSH_9.2\r\n")
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(greet, "127.0.0.1", 0)
    async with server, Engine.open(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1", model="m") as engine:
        with pytest.raises(errors.InvalidResponseError, match="HTTP") as caught:
            await engine.agenerate(HELLO)
        assert caught.value.body.startswith(b"SSH")


async def test_silence_is_bounded():
    hanging = (Hang(), Reply(text="a b c", hang_after=1))
    async with FaultServer(*hanging) as server, opened(server, read_timeout_s=0.1) as engine:
        with pytest.raises(errors.EngineTimeout):
            await engine.agenerate(HELLO)
        with pytest.raises(errors.EngineTimeout):
            await streamed(engine)


async def test_size_is_bounded():
    huge = Raw(body=b'{"choices": "' + b"x" * 200_000)
    endless = Reply(chunks=("a", huge_line(200_000)))
    async with FaultServer(huge, endless) as server, opened(server, max_body=100_000) as engine:
        with pytest.raises(errors.InvalidResponseError, match="100000 bytes"):
            await engine.agenerate(HELLO)
        with pytest.raises(errors.InvalidResponseError, match="100000 bytes"):
            await streamed(engine)


async def test_invalid_utf8_in_mid_stream():
    async with FaultServer(Reply(chunks=("Hel", INVALID_UTF8, "lo")), "ok") as server, opened(server) as engine:
        with pytest.raises(errors.InvalidResponseError):
            await streamed(engine)
        assert (await engine.agenerate(HELLO)).text == "ok"


async def test_lone_surrogate_is_a_bad_request_before_anything_is_sent():
    async with FaultServer("ok") as server, opened(server) as engine:
        with pytest.raises(errors.BadRequestError, match="JSON"):
            await engine.agenerate(Request.of("\ud800"))
        assert server.requests == [] or list(server.requests) == []


async def test_stream_dropped_at_every_byte_is_an_error_with_a_prefix_of_the_text():
    text = "Hello dear world"
    async with FaultServer(Reply(text=text)) as server, opened(server) as engine:
        await streamed(engine)
    for at in range(0, 900, 7):
        async with FaultServer(Reply(text=text, drop_at=at)) as server, opened(server) as engine:
            try:
                said, whole = joined(await streamed(engine)), True
            except errors.EngineConnectionError as exc:
                said, whole = getattr(exc, "partial_text", ""), False
            assert said == text if whole else text.startswith(said)


async def test_slow_drip_gives_the_same_answer():
    drip = Reply(text="Hello dear world", drip_s=0.0)
    async with FaultServer(drip) as server, opened(server) as engine:
        assert (await engine.agenerate(HELLO)).text == joined(await streamed(engine)) == "Hello dear world"


# Cancelling


async def test_cancelling_stops_the_work_upstream():
    async with FaultServer(Hang()) as server, opened(server) as engine:
        for attempt in (engine.agenerate, lambda request: streamed(engine, request)):
            before = server.disconnects
            task = asyncio.create_task(attempt(HELLO))
            await server.auntil(lambda: server.answering == 1)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            await server.auntil(lambda before=before: server.disconnects > before)


async def test_leaving_a_stream_stops_the_work_upstream():
    async with FaultServer(Reply(chunks=("a",) * 1000, chunk_delay_s=0.01)) as server, opened(server) as engine:
        stream = engine.astream(HELLO)
        assert (await anext(stream)).text == "a"
        await stream.aclose()
        await server.auntil(lambda: server.disconnects == 1)


async def test_stream_that_is_not_read_does_not_fill_the_memory():
    many = Reply(chunks=("word " * 200,) * 20_000, chunk_delay_s=None)
    async with FaultServer(many) as server, opened(server) as engine:
        stream = engine.astream(HELLO)
        await anext(stream)
        await asyncio.sleep(0.2)
        (connection,) = next(iter(engine._transport._pools.values())).all
        assert connection._buffered < 1_500_000
        await stream.aclose()


# Loops, forks, closing


def test_one_engine_serves_many_loops_and_threads():
    with FaultServer("ok") as server:
        engine = opened(server)
        for _ in range(3):
            assert asyncio.run(engine.agenerate(HELLO)).text == "ok"
            assert engine.generate("hello").text == "ok"
        engine.close()
        server.until(lambda: server.open_connections == 0)


def test_loop_that_ends_takes_its_connections_with_it():
    with FaultServer("ok") as server, warnings.catch_warnings():
        warnings.simplefilter("error")
        engine = opened(server)
        asyncio.run(engine.agenerate(HELLO))
        gc.collect()
        server.until(lambda: server.open_connections == 0)
        assert not engine._opened


def test_works_after_fork():
    context = multiprocessing.get_context("fork")
    results = context.SimpleQueue()
    with FaultServer("ok") as server:
        engine = opened(server)
        assert engine.generate("hello").text == "ok"
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # Python 3.12: forking with threads
            child = context.Process(target=lambda: results.put(engine.generate("hello").text))
            child.start()
        child.join(20)
        assert results.get() == "ok"
        assert engine.generate("hello").text == "ok"
        engine.close()


async def test_use_after_close_is_refused():
    async with FaultServer("ok") as server:
        engine = opened(server)
        await engine.agenerate(HELLO)
        await engine.aclose()
        await engine.aclose()
        with pytest.raises(errors.ClosedError):
            await engine.agenerate(HELLO)
        with pytest.raises(errors.ClosedError):
            await streamed(engine)


def test_forgotten_engine_warns():
    with FaultServer("ok") as server:
        engine = opened(server)
        engine.generate("hello")
        transport = engine._transport
        with pytest.warns(ResourceWarning, match="was not closed"):
            del engine
            gc.collect()
        from llmops_sdk import loops

        loops.run_sync(transport.aclose, method="aclose()")


# Own clients, TLS, opening


@pytest.mark.parametrize("library", ["httpx2", "httpx"])
async def test_own_client(library):
    httpx = pytest.importorskip(library)
    async with (
        httpx.AsyncClient() as client,
        FaultServer("ok", 429, Reply(text="a b"), Raw(), Reply(text="x", drop_at=10)) as server,
    ):
        engine = opened(server, client=client)
        assert (await engine.agenerate(HELLO)).text == "ok"
        with pytest.raises(errors.RateLimitError):
            await engine.agenerate(HELLO)
        assert joined(await streamed(engine)) == "a b"
        with pytest.raises(errors.InvalidResponseError):
            await engine.agenerate(HELLO)
        with pytest.raises(errors.EngineConnectionError):
            await engine.agenerate(HELLO)
        assert server.requests[0].headers["authorization"] == f"Bearer {KEY}"
        await engine.aclose()
        assert not client.is_closed


async def test_tls_to_a_server_without_tls_fails_typed():
    async with FaultServer("ok") as server:
        engine = Engine.open(server.url.replace("http://", "https://"), model="m", connect_timeout_s=0.2)
        with pytest.raises((errors.EngineConnectionError, errors.EngineTimeout)):
            await engine.agenerate(HELLO)


@pytest.fixture(scope="module")
def certificate(tmp_path_factory):
    """Files of a certificate for 127.0.0.1 and of its key, made for these tests."""
    if shutil.which("openssl") is None:
        pytest.skip("makes a certificate with openssl")
    folder = tmp_path_factory.mktemp("tls")
    names = ("-subj", "/CN=localhost", "-addext", "subjectAltName=IP:127.0.0.1")
    files = (folder / "certificate.pem", folder / "key.pem")
    made = ("-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-out", files[0], "-keyout", files[1])
    subprocess.run(("openssl", "req", *made, *names), check=True, capture_output=True)
    return files


async def test_tls(certificate):
    answer = b'{"choices": [{"message": {"content": "over TLS"}, "finish_reason": "stop"}]}'

    async def serve(reader, writer):
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                length = int(head.lower().split(b"content-length:")[1].split(b"\r\n")[0])
                await reader.readexactly(length)
                writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n%b" % (len(answer), answer))
        writer.close()

    ours = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    ours.load_cert_chain(*certificate)
    server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=ours)
    url = f"https://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1"
    async with server:
        trusting = ssl.create_default_context(cafile=certificate[0])
        async with Engine.open(url, model="m", ssl_context=trusting) as engine:
            answers = await asyncio.gather(*[engine.agenerate(HELLO) for _ in range(10)])
            assert {one.text for one in answers} == {"over TLS"}
            assert (await engine.agenerate(HELLO)).text == "over TLS"
        async with Engine.open(url, model="m") as engine:  # the system's store does not know this certificate
            with pytest.raises(errors.EngineConnectionError, match="TLS"):
                await engine.agenerate(HELLO)


@pytest.mark.parametrize(
    ("spec", "options", "message"),
    [
        ("nonsense:x", {}, "no engine opens"),
        ("opnai:x", {}, "Did you mean 'openai:'"),
        ("no-scheme", {}, "no engine opens"),
        ("openai:", {}, "which model"),
        ("http://127.0.0.1/v1", {}, "which model"),
        ("http://", {"model": "m"}, "no URL"),
        ("http://host:99999/v1", {"model": "m"}, "port"),
        ("http://127.0.0.1/v1", {"model": "m", "colour": "red"}, "colour"),
        ("http://127.0.0.1/v1", {"model": "m", "headers": {"x": "a\r\nb"}}, "line break"),
    ],
)
def test_wrong_specs_say_what_to_write(spec, options, message):
    with pytest.raises(errors.ConfigurationError, match=message):
        Engine.open(spec, **options)


async def test_openai_without_a_key_says_so_when_it_is_asked(monkeypatch):
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    monkeypatch.delenv("OPENAI_BASE_URL", raising=False)
    engine = Engine.open("openai:gpt-5-mini")
    assert engine.model == "gpt-5-mini"
    with pytest.raises(errors.AuthenticationError, match="OPENAI_API_KEY"):
        await engine.agenerate(HELLO)
    assert "secret" not in repr(Engine.open("openai:m", api_key="secret"))


@pytest.mark.heavy
def test_on_the_event_loop_of_many_servers():
    uvloop = pytest.importorskip("uvloop")

    async def ask():
        async with FaultServer(Reply(text="Hello")) as server, opened(server) as engine:
            assert (await engine.agenerate(HELLO)).text == "Hello"
            return joined(await streamed(engine))

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        assert runner.run(ask()) == "Hello"
