"""What no server should do, byte by byte: typed errors, no connection used again, memory in bounds, a usable engine."""

import asyncio
import base64
import contextlib
import gzip
import struct
import subprocess
import sys
import textwrap
import tracemalloc

import pytest

from llmops_sdk import errors
from llmops_sdk.engines import Engine
from llmops_sdk.messages import Request, Usage
from llmops_sdk.testing import FaultServer, Raw, Reply

HELLO = Request.of("hello")
BODY = b'{"choices":[{"message":{"content":"ok"},"finish_reason":"stop"}]}'
GOOD = b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n%b" % (len(BODY), BODY)
EVENTS = (
    b'data: {"choices":[{"delta":{"content":"ok"}}]}\n\n'
    b'data: {"choices":[{"delta":{},"finish_reason":"stop"}]}\n\ndata: [DONE]\n\n'
)
STREAM_HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"


def chunked(body, *, end=b"0\r\n\r\n"):
    return b"%x\r\n%b\r\n%b" % (len(body), body, end)


class RawServer:
    """Answers the requests of a whole test with ready-made bytes, in order; then with `GOOD`. Counts connections."""

    def __init__(self, *answers, greet=b"", hold=False):
        self._answers = list(answers)
        self._greet = greet
        self._hold = hold
        self._tasks = []
        self.connections = 0

    async def __aenter__(self):
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0, limit=2**22)
        self.url = f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}/v1"
        return self

    async def __aexit__(self, *_):
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await asyncio.sleep(0)

    async def _serve(self, reader, writer):
        self.connections += 1
        self._tasks.append(asyncio.current_task())
        try:
            await self._answer(reader, writer)
        finally:
            writer.close()

    async def _answer(self, reader, writer):
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            writer.write(self._greet)
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                await reader.readexactly(int(head.lower().split(b"content-length:")[1].split(b"\r\n")[0]))
                answer = self._answers.pop(0) if self._answers else GOOD
                if callable(answer):
                    await answer(writer)
                else:
                    writer.write(answer)
                await writer.drain()
                if answer is not GOOD and not self._hold:
                    break


class Handled(RawServer):
    """Does with each connection what a function says."""

    def __init__(self, handler):
        super().__init__()
        self._answer = handler


def opened(server, **options):
    return Engine.open(server.url, model="m", **{"read_timeout_s": 5.0, **options})


async def streamed(engine):
    return "".join([chunk.text async for chunk in engine.astream(HELLO)])


# Other protocols


@pytest.mark.parametrize(
    "greeting",
    [
        b"SSH-2.0-OpenSSH_9.9\r\n",
        b"-ERR unknown command 'POST'\r\n",
        b"220 mail.example ESMTP\r\n",
        b"\x15\x03\x01\x00\x02\x02\x46",
        b"RFB 003.008\n",
        b"\x00\x00\x12\x04\x00\x00\x00\x00\x00\x00\x03\x00\x00\x00\x80\x00\x04\x00\x01\x00\x00",  # HTTP/2 settings
        b"HTTP/2 200 OK\r\n\r\n",
        b"HTTP/0.9 200\r\n\r\n",
        b"ICY 200 OK\r\n\r\n",
        b"GET / HTTP/1.1\r\nhost: x\r\n\r\n",
        b"\n\n\n\n",
        b"\0" * 1000,
        BODY,
    ],
)
@pytest.mark.parametrize("first", [True, False], ids=["speaks first", "answers"])
async def test_a_port_that_speaks_another_protocol(greeting, first):
    async with RawServer(greeting, greeting, greet=greeting if first else b"") as server, opened(server) as engine:
        for attempt in (engine.agenerate(HELLO), streamed(engine)):
            with pytest.raises((errors.InvalidResponseError, errors.EngineConnectionError)) as caught:
                await attempt
            if greeting.startswith(b"\x15\x03") and isinstance(caught.value, errors.InvalidResponseError):
                assert "https://" in str(caught.value)


async def test_plain_words_to_a_port_that_wants_tls_and_tls_to_one_that_does_not():
    async with RawServer(b"\x15\x03\x01\x00\x02\x02\x46") as server, opened(server) as engine:
        with pytest.raises(errors.InvalidResponseError, match="https://"):
            await engine.agenerate(HELLO)

    async def refuse(reader, writer):
        await reader.read(100)
        writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")

    async with Handled(refuse) as server:
        engine = Engine.open(server.url.replace("http", "https", 1), model="m")
        with pytest.raises(errors.EngineConnectionError, match="http://") as caught:
            await engine.agenerate(HELLO)
        assert caught.value.stage == "tls"


# No connection


async def test_failures_to_connect_are_told_apart():
    async with RawServer() as server:
        url = server.url
    stages = {}
    for name, address in {"gone": url, "name": "http://no-such-host.invalid/v1", "none": "http://a..b/v1"}.items():
        with pytest.raises(errors.EngineConnectionError) as caught:
            await Engine.open(address, model="m").agenerate(HELLO)
        stages[name] = caught.value.stage
    assert stages == {"gone": "connect", "name": "look-up", "none": "look-up"}

    async def close(reader, writer):
        writer.close()

    async with Handled(close) as server:
        for scheme, stage in (("https", "tls"), ("http", "exchange")):
            with pytest.raises(errors.EngineConnectionError) as caught:
                await Engine.open(server.url.replace("http", scheme, 1), model="m").agenerate(HELLO)
            assert caught.value.stage == stage, caught.value


async def test_a_handshake_that_does_not_end_is_a_timeout_that_says_what_to_look_at():
    async def silence(reader, writer):
        with contextlib.suppress(ConnectionError):
            await reader.read(100_000)
            await reader.read(100_000)

    async with Handled(silence) as server:
        url = server.url.replace("http", "https", 1)
        with pytest.raises(errors.EngineTimeout, match=r"firewall.*TLS"):
            await Engine.open(url, model="m", connect_timeout_s=0.2).agenerate(HELLO)


# Early ends


async def test_a_server_that_closes_at_every_byte():
    stream = STREAM_HEAD + chunked(EVENTS)
    for at in range(len(GOOD)):
        async with RawServer(GOOD[:at]) as server, opened(server) as engine:
            with pytest.raises(errors.EngineConnectionError):
                await engine.agenerate(HELLO)
            assert (await engine.agenerate(HELLO)).text == "ok"
            assert server.connections == 2
    for at in range(len(stream)):
        async with RawServer(stream[:at]) as server, opened(server) as engine:
            if at < stream.index(b"[DONE]") and b'"stop"}' not in stream[:at]:
                with pytest.raises(errors.EngineConnectionError) as caught:
                    await streamed(engine)
                assert getattr(caught.value, "partial_text", "") in {"", "ok"}
                assert caught.value.stage == "exchange" or at == len(STREAM_HEAD)
            else:
                with contextlib.suppress(errors.StreamInterrupted):
                    assert await streamed(engine) == "ok"
            assert (await engine.agenerate(HELLO)).text == "ok"


@pytest.mark.parametrize("after", [b"", b"x", b"5\r\nabcde\r\n" * 100_000, b"0\r\n\r\nHTTP/1.1 500 No\r\n\r\n"])
async def test_what_comes_after_the_end_of_an_answer_does_not_harm_it(after):
    stream = STREAM_HEAD + chunked(EVENTS, end=b"") + after
    async with RawServer(stream, hold=True) as server, opened(server) as engine:
        assert await streamed(engine) == "ok"
        assert (await engine.agenerate(HELLO)).text == "ok"
        assert server.connections == 2


@pytest.mark.parametrize("surplus", [b"x", b"\r\nxyz", GOOD, GOOD + GOOD, b"HTTP/1.1 500 No\r\n\r\n", b"{" * 5000])
async def test_a_surplus_answer_is_never_taken_for_the_next_one(surplus):
    other = GOOD.replace(b"ok", b"no")
    async with RawServer(other + surplus, hold=True) as server, opened(server) as engine:
        assert (await engine.agenerate(HELLO)).text == "no"
        assert (await engine.agenerate(HELLO)).text == "ok"
        assert server.connections == 2


# Lies of the framing

LIES = {
    "length too long": b"HTTP/1.1 200 OK\r\ncontent-length: 5000\r\n\r\n" + BODY,
    "two lengths": b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\ncontent-length: 7\r\n\r\n" + BODY,
    "negative length": b"HTTP/1.1 200 OK\r\ncontent-length: -5\r\n\r\n" + BODY,
    "huge length": b"HTTP/1.1 200 OK\r\ncontent-length: 99999999999999999999999\r\n\r\n" + BODY,
    "length and chunks": b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\ntransfer-encoding: chunked\r\n\r\n" + chunked(BODY),
    "chunk no number": b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nxyz\r\n" + BODY,
    "chunk too long": b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nffff\r\n" + BODY,
    "chunk too short": b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\n" + BODY,
    "chunk overflow": b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nfffffffffffffffff\r\n" + BODY,
    "header without a colon": b"HTTP/1.1 200 OK\r\nnonsense\r\n\r\n" + BODY,
    "header with NUL": b"HTTP/1.1 200 OK\r\nx: a\0b\r\n\r\n" + BODY,
    "status no number": b"HTTP/1.1 abc OK\r\n\r\n" + BODY,
    "switches protocols": b"HTTP/1.1 101 Switching\r\nupgrade: h2c\r\nconnection: upgrade\r\n\r\n" + BODY,
    "no content": b"HTTP/1.1 204 No\r\n\r\n",
    "not modified": b"HTTP/1.1 304 No\r\n\r\n",
    "header bomb": b"HTTP/1.1 200 OK\r\n" + b"x: y\r\n" * 40_000 + b"\r\n",
    "header line bomb": b"HTTP/1.1 200 OK\r\nx: " + b"y" * 400_000,
    "interim answers without end": b"HTTP/1.1 100 Continue\r\n\r\n" * 10_000,
    "gzip": b"HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\ncontent-type: text/event-stream\r\n"
    b"content-length: %d\r\n\r\n%b" % (len(gzip.compress(BODY)), gzip.compress(BODY)),
    "tiny chunks in much framing": b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n"
    + (b"1;" + b"e" * 60_000 + b"\r\nx\r\n") * 20,
    "trailers without end": b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n"
    + chunked(BODY, end=b"0\r\n" + b"x: y\r\n" * 300_000),
}


TELLING = {
    "tiny chunks in much framing": "framing",
    "trailers without end": "framing",
    "header bomb": "headers are over",
    "interim answers without end": "headers are over",
    "switches protocols": "does not speak HTTP/1.1",
    "no content": "status 204",
}


@pytest.mark.parametrize("lie", LIES)
async def test_a_lie_of_the_framing_is_typed_and_its_connection_is_not_used_again(lie):
    async with RawServer(LIES[lie], LIES[lie]) as server, opened(server, read_timeout_s=1.0) as engine:
        for attempt in (engine.agenerate(HELLO), streamed(engine)):
            with pytest.raises((errors.InvalidResponseError, errors.EngineConnectionError)) as caught:
                await attempt
            if lie == "gzip":
                assert "compressed" in str(caught.value)
            elif lie in TELLING and attempt.__name__ == "agenerate":
                assert TELLING[lie] in str(caught.value)
        assert (await engine.agenerate(HELLO)).text == "ok"
        assert server.connections == 3


async def test_trailers_are_no_headers():
    body = b'{"error": "slow down"}'
    answer = b"HTTP/1.1 429 No\r\ntransfer-encoding: chunked\r\n\r\n"
    answer += chunked(body, end=b"0\r\nretry-after: 99\r\nx-request-id: false\r\n\r\n")
    async with RawServer(answer, hold=True) as server, opened(server) as engine:
        with pytest.raises(errors.RateLimitError) as caught:
            await engine.agenerate(HELLO)
        assert (caught.value.retry_after_s, caught.value.request_id) == (None, None)
        assert (await engine.agenerate(HELLO)).text == "ok"
        assert server.connections == 1


async def test_a_body_that_ends_a_little_after_its_answer_leaves_the_connection_free():
    async def later(writer):
        writer.write(STREAM_HEAD + chunked(EVENTS, end=b""))
        await writer.drain()
        await asyncio.sleep(0.05)
        writer.write(b"0\r\n\r\n")

    async with RawServer(later, hold=True) as server, opened(server) as engine:
        assert await streamed(engine) == "ok"
        assert (await engine.agenerate(HELLO)).text == "ok"
        assert server.connections == 1


async def test_an_own_client_reads_what_was_compressed_though_nobody_asked():
    httpx2 = pytest.importorskip("httpx2")
    packed = gzip.compress(EVENTS)
    head = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ncontent-encoding: gzip\r\ncontent-length: %d\r\n\r\n"
    async with RawServer(head % len(packed) + packed) as server, httpx2.AsyncClient() as client:
        assert await streamed(opened(server, client=client)) == "ok"


async def test_interim_answers_are_passed_over():
    interim = b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nlink: </x>\r\n\r\n"
    answers = (interim + GOOD, interim + STREAM_HEAD + chunked(EVENTS))
    async with RawServer(*answers, hold=True) as server, opened(server) as engine:
        assert (await engine.agenerate(HELLO)).text == "ok"
        assert await streamed(engine) == "ok"
        assert server.connections == 1


# JSON that is none

BOMBS = {
    "deep lists": b"[" * 100_000,
    "deep objects": b'{"a":' * 100_000,
    "deep and closed": b"[" * 100_000 + b"]" * 100_000,
    "deep below choices": b'{"choices":' + b"[" * 100_000 + b"]" * 100_000 + b"}",
    "long number": b'{"choices": ' + b"9" * 300_000 + b"}",
    "infinite": b'{"choices": 1e999}',
    "not a number": b'{"choices": NaN}',
    "surrogate": b'{"choices": "\\ud800"}',
    "invalid UTF-8": b'{"choices": "\xff\xfe"}',
    "a text": b'"choices"',
    "a number": b"5",
    "nothing": b"null",
    "true": b"true",
    "a list": b"[1, 2]",
    "choices a text": b'{"choices": "abc"}',
    "choices a number": b'{"choices": 7}',
    "choices an object": b'{"choices": {"0": 1}}',
    "choice a number": b'{"choices": [7]}',
    "choice nothing": b'{"choices": [null]}',
    "message a text": b'{"choices": [{"message": "x", "delta": "x"}]}',
    "content a number": b'{"choices": [{"message": {"content": 5}, "delta": {"content": 5}}]}',
    "content a list": b'{"choices": [{"message": {"content": ["a"]}, "delta": {"content": ["a"]}}]}',
    "reasoning an object": b'{"choices": [{"message": {"reasoning": {}, "reasoning_content": {"a": 1}},'
    b' "delta": {"reasoning": {"a": 1}}}]}',
    "index a text": b'{"choices": [{"index": "a", "message": 0, "delta": {"content": "x"}}]}',
    "tool calls a number": b'{"choices": [{"message": {"tool_calls": 5}, "delta": {"tool_calls": 5}}]}',
    "tool call a text": b'{"choices": [{"message": {"tool_calls": ["a"]}, "delta": {"tool_calls": ["a"]}}]}',
    "arguments an object": b'{"choices": [{"message": {"tool_calls": [{"function": {"name": "f", "arguments": {}}}'
    b']}, "delta": {"tool_calls": [{"function": {"name": "f", "arguments": {"a": 1}}}]}}]}',
    "finish a list": b'{"choices": [{"message": {"content": ""}, "delta": {}, "finish_reason": [1]}]}',
    "logprobs a list": b'{"choices": [{"message": {"content": "x"}, "delta": {"content": "x"}, "logprobs": [1]}]}',
    "usage a text": b'{"usage": "many", "choices": [{"message": {"content": "x"}, "delta": {},'
    b' "finish_reason": "stop"}]}',
    "usage texts": b'{"usage": {"prompt_tokens": "5"}, "choices": [{"message": {"content": "x"}, "delta": {},'
    b' "finish_reason": "stop"}]}',
    "usage below zero": b'{"usage": {"prompt_tokens": -5}, "choices": [{"message": {"content": "x"}, "delta": {},'
    b' "finish_reason": "stop"}]}',
}


@pytest.mark.parametrize("bomb", BOMBS)
async def test_json_that_is_no_answer(bomb):
    body = BOMBS[bomb]
    answers = (Raw(body=body), Reply(chunks=("Hel", b"data: " + body + b"\n\n")), "ok")
    async with FaultServer(*answers) as server, opened(server) as engine:
        with pytest.raises(errors.InvalidResponseError) as caught:
            await engine.agenerate(HELLO)
        assert len(str(caught.value)) < 1000
        seen = []
        with pytest.raises(errors.InvalidResponseError) as caught:
            async for chunk in engine.astream(HELLO):
                seen.append(chunk.text)  # noqa: PERF401  (what came before the error counts)
        assert seen == ["Hel"]
        assert len(str(caught.value)) < 1000
        assert (await engine.agenerate(HELLO)).text == "ok"


async def test_an_error_with_a_bomb_in_it_is_shown_in_part():
    bomb = Raw(status=400, body=b'{"error": "' + b"x" * 1_000_000 + b'"}')
    async with FaultServer(bomb) as server, opened(server) as engine:
        with pytest.raises(errors.BadRequestError) as caught:
            await engine.agenerate(HELLO)
        assert len(str(caught.value)) < 2100


async def test_events_that_come_twice():
    end = b'data: {"choices":[{"delta":{},"finish_reason":"tool_calls"}],"usage":null}\n\n'
    piece = b'{"index":0,"id":"1","function":{"name":"f","arguments":"{}"}}'
    call = b'data: {"choices":[{"delta":{"tool_calls":[' + piece + b"]}}]}\n\n"
    async with FaultServer(Reply(chunks=(call + end + end,))) as server, opened(server) as engine:
        calls = [one for chunk in [c async for c in engine.astream(HELLO)] for one in chunk.tool_calls]
        assert [(one.name, one.arguments) for one in calls] == [("f", "{}")]
    usage = b'data: {"choices":[],"usage":{"prompt_tokens":3,"completion_tokens":2}}\n\n'
    async with FaultServer(Reply(chunks=("a", usage + usage), report_usage=False)) as server, opened(server) as engine:
        chunks = [chunk async for chunk in engine.astream(HELLO)]
        assert {chunk.usage for chunk in chunks if chunk.usage} == {Usage(input_tokens=3, output_tokens=2)}


# Slow and large


async def test_a_whole_answer_that_comes_slowly_is_no_silence():
    async def slowly(writer):
        for i in range(len(GOOD)):
            writer.write(GOOD[i : i + 1])
            await writer.drain()
            await asyncio.sleep(0.005)

    async with RawServer(slowly) as server, opened(server, read_timeout_s=0.15) as engine:
        assert (await engine.agenerate(HELLO)).text == "ok"  # takes three times as long


async def test_a_body_in_tiny_pieces_takes_memory_by_its_bytes():
    body = BODY + b" " * (600_000 - len(BODY))
    pieces = b"".join(b"3\r\n%b\r\n" % body[i : i + 3] for i in range(0, len(body), 3)) + b"0\r\n\r\n"
    answer = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n" + pieces
    async with RawServer(answer) as server, opened(server) as engine:
        tracemalloc.start()
        try:
            assert (await engine.agenerate(HELLO)).text == "ok"
            peak = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
        assert peak < 12_000_000  # with the server's buffers; an object for each piece would take 20 million more


def test_lines_of_a_hundred_megabytes_stay_in_bounds():
    # In a process of its own: the peak of memory is that of a whole process.
    code = """
        import asyncio, resource, sys
        from llmops_sdk import errors
        from llmops_sdk.engines import Engine
        from llmops_sdk.messages import Request

        async def main(url):
            async with Engine.open(url, model="m", max_body=4_000_000) as engine:
                before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
                for attempt in (engine.agenerate, lambda request: streamed(engine, request)):
                    try:
                        await attempt(Request.of("hello"))
                    except errors.InvalidResponseError as exc:
                        assert "4000000 bytes" in str(exc), exc
                        assert len(exc.body) == 500, exc.body
                    else:
                        raise AssertionError("it came through")
                print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)

        async def streamed(engine, request):
            async for _ in engine.astream(request):
                pass

        asyncio.run(main(sys.argv[1]))
    """

    async def flood(writer):
        with contextlib.suppress(ConnectionError):
            for _ in range(1600):
                writer.write(b"%x\r\n%b\r\n" % (65536, b"x" * 65536))
                await writer.drain()

    async def main():
        async def whole(writer):
            writer.write(STREAM_HEAD)
            await flood(writer)

        async with RawServer(whole, whole) as server:
            arguments = (sys.executable, "-c", textwrap.dedent(code), server.url)
            process = await asyncio.create_subprocess_exec(*arguments, stdout=subprocess.PIPE)
            output, _ = await process.communicate()
            assert process.returncode == 0
            return int(output)

    assert asyncio.run(main()) < 40_000  # KiB


# Embeddings


def embedded(rows, **more):
    import json

    body = json.dumps({"data": rows, **more}).encode()
    return b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n%b" % (len(body), body)


@pytest.mark.parametrize(
    "rows",
    [
        [],
        [{"index": 0, "embedding": [1.0]}],
        [{"index": 0, "embedding": [1.0]}, {"index": 0, "embedding": [1.0]}],
        [{"index": 0, "embedding": [1.0]}, {"index": 2, "embedding": [1.0]}],
        [{"index": 0, "embedding": ["a"]}, {"index": 1, "embedding": [1.0]}],
        [{"index": 0, "embedding": "###"}, {"index": 1, "embedding": [1.0]}],
        [{"index": 0, "embedding": "AAA="}, {"index": 1, "embedding": [1.0]}],
        [{"embedding": [1.0]}, {"index": 1}],
        [5, None],
        "abc",
        None,
    ],
)
async def test_vectors_that_are_none(rows):
    async with RawServer(embedded(rows)) as server, opened(server) as engine:
        with pytest.raises(errors.InvalidResponseError):
            await engine.aembed(["a", "b"])
        assert (await engine.agenerate(HELLO)).text == "ok"


async def test_vectors_come_in_the_order_of_the_texts_in_either_form():
    packed = base64.b64encode(struct.pack("<2f", 0.5, -0.25)).decode()
    rows = [{"index": 1, "embedding": [3.0, 4.0]}, {"index": 0, "embedding": packed}]
    usage = {"prompt_tokens": 2, "total_tokens": 2}
    async with RawServer(embedded(rows, usage=usage, model="e")) as server, opened(server) as engine:
        answer = await engine.aembeddings(["a", "b"])
        assert answer.vectors == [[0.5, -0.25], [3.0, 4.0]]
        assert (answer.usage, answer.model) == (Usage(input_tokens=2), "e")


async def test_texts_go_out_in_batches_and_the_tokens_are_added():
    async with FaultServer() as server:
        async with opened(server, batch_size=3, dimensions=4, encoding_format="float") as engine:
            answer = await engine.aembeddings([f"text {i}" for i in range(7)])
            assert [len(seen.json["input"]) for seen in server.requests] == [3, 3, 1]
            assert {(seen.json["dimensions"], seen.json["encoding_format"]) for seen in server.requests} == {
                (4, "float")
            }
            assert [len(vector) for vector in answer.vectors] == [4] * 7
            assert answer.usage == Usage(input_tokens=14)
            assert await engine.aembed([]) == []
        async with opened(server) as engine:
            near = await engine.aembed([f"text {i}" for i in range(7)])
            assert len(near[0]) == 16
            with pytest.raises(errors.BadRequestError, match="list of texts"):
                await engine.aembed("text")
    with pytest.raises(errors.ConfigurationError, match="batch_size"):
        Engine.open("http://127.0.0.1/v1", model="m", batch_size=0)
