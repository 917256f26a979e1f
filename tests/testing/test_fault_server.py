import asyncio
import functools
import gc
import json
import socket
import ssl
import threading
import time
import types

import httpx2
import pytest

from llmops_sdk.engines import Engine
from llmops_sdk.errors import ConfigurationError, EngineTimeout
from llmops_sdk.messages import ChunkJoiner, Message, Request, ToolCall, Usage
from llmops_sdk.testing import INVALID_UTF8, FaultServer, Hang, Raw, Reply, Status, huge_line

ASKED = {"model": "m", "messages": [{"role": "user", "content": "three words here"}]}
STREAMED = {**ASKED, "stream": True, "stream_options": {"include_usage": True}}


TLS = (
    ssl.create_default_context()
)  # loading the certificates of the system for each request takes longer than the tests


http = types.SimpleNamespace(
    **{name: functools.partial(getattr(httpx2, name), verify=TLS) for name in ("get", "post", "stream")}
)


def post(server, asked=ASKED, **options):
    return http.post(server.url + "/chat/completions", json=asked, timeout=5, **options)


def events(body):
    """The data of the events of a stream."""
    assert body.endswith(b"\n\n")
    return [event.removeprefix(b"data: ") for event in body[:-2].split(b"\n\n")]


def deltas(body, key="content"):
    found = [json.loads(event) for event in events(body)[:-1]]
    return [(c["index"], c["delta"][key]) for one in found for c in one["choices"] if c["delta"].get(key)]


def test_answers_a_chat_completion_and_counts_words():
    with FaultServer("Hello there") as server:
        answer = post(server).json()
    assert answer["object"] == "chat.completion"
    assert answer["model"] == "m"
    assert answer["choices"][0]["message"] == {"role": "assistant", "content": "Hello there"}
    assert answer["choices"][0]["finish_reason"] == "stop"
    assert (answer["usage"]["prompt_tokens"], answer["usage"]["completion_tokens"]) == (3, 2)


def test_answers_hello_unless_told_otherwise():
    with FaultServer() as server:
        assert post(server).json()["choices"][0]["message"]["content"] == "Hello"


def test_every_answer_has_an_id_of_its_own():
    with FaultServer() as server:
        answers = [post(server) for _ in range(3)]
    assert len({answer.json()["id"] for answer in answers}) == 3
    assert len({answer.headers["x-request-id"] for answer in answers}) == 3


def test_usage_can_be_given_and_left_out():
    usage = Usage(input_tokens=7, output_tokens=9, cached_input_tokens=5)
    with FaultServer(Reply(usage=usage), Reply(report_usage=False)) as server:
        told = post(server).json()["usage"]
        assert (told["prompt_tokens"], told["completion_tokens"], told["total_tokens"]) == (7, 9, 16)
        assert told["prompt_tokens_details"]["cached_tokens"] == 5
        assert "usage" not in post(server).json()


def test_n_gives_so_many_choices_each_with_its_text():
    with FaultServer(Reply(text=("one", "two"))) as server:
        choices = post(server, {**ASKED, "n": 3}).json()["choices"]
        streamed = post(server, {**STREAMED, "n": 2})
    assert [choice["message"]["content"] for choice in choices] == ["one", "two", "one"]
    assert deltas(streamed.content) == [(0, "one"), (1, "two")]


def test_streams_words_then_usage_then_done():
    with FaultServer("Hello to you") as server:
        answer = post(server, STREAMED)
    assert answer.headers["content-type"].startswith("text/event-stream")
    assert [text for _, text in deltas(answer.content)] == ["Hello", " to", " you"]
    *_, finish, usage, done = events(answer.content)
    assert json.loads(finish)["choices"][0]["finish_reason"] == "stop"
    assert json.loads(usage)["choices"] == []
    assert json.loads(usage)["usage"]["completion_tokens"] == 3
    assert done == b"[DONE]"


def test_a_stream_carries_usage_only_when_asked():
    with FaultServer() as server:
        body = post(server, {**ASKED, "stream": True}).content
    assert b'"usage"' not in body


@pytest.mark.parametrize(
    ("chunks", "expected"), [(2, ["Hel", "lo!"]), (("He", "llo!"), ["He", "llo!"]), (6, list("Hello!"))]
)
def test_chunks_are_cut_as_told(chunks, expected):
    with FaultServer(Reply(text="Hello!", chunks=chunks)) as server:
        assert [text for _, text in deltas(post(server, STREAMED).content)] == expected
        assert post(server).json()["choices"][0]["message"]["content"] == "Hello!"


@pytest.mark.parametrize("chunk_delay_s", [None, 0.0, 0.001])
def test_the_stream_is_the_same_at_every_pace(chunk_delay_s):
    with FaultServer(Reply(text="a b c", chunk_delay_s=chunk_delay_s)) as server:
        assert [text for _, text in deltas(post(server, STREAMED).content)] == ["a", " b", " c"]


def test_a_delay_comes_before_the_headers_and_between_the_chunks():
    with FaultServer(Reply(text="a b", delay_s=0.05, chunk_delay_s=0.02)) as server:
        started = time.perf_counter()
        with http.stream("POST", server.url + "/chat/completions", json=STREAMED, timeout=5) as answer:
            headers_after = time.perf_counter() - started
            answer.read()
    assert headers_after >= 0.05
    assert time.perf_counter() - started >= 0.05 + 5 * 0.02  # role, a, b, finish, usage, [DONE]


@pytest.mark.parametrize("status", [400, 401, 403, 404, 429, 500, 503, 529])
def test_a_status_comes_with_an_openai_style_error(status):
    with FaultServer(Status(status=status, message="no", code="why")) as server:
        answer = post(server)
    assert answer.status_code == status
    assert answer.json()["error"]["message"] == "no"
    assert answer.json()["error"]["code"] == "why"


@pytest.mark.parametrize(
    ("given", "sent"), [(2, "2"), (0.5, "0.5"), ("Wed, 21 Oct 2026 07:28:00 GMT",) * 2, (None, None)]
)
def test_a_429_says_when_to_try_again(given, sent):
    with FaultServer(Status(status=429, retry_after_s=given)) as server:
        assert post(server).headers.get("retry-after") == sent


def test_garbage_html_and_wrong_types_come_as_they_are():
    with FaultServer(Raw(), Raw.html(status=502), Raw(body=b"\xff\xfe", content_type=None)) as server:
        garbage, html, bare = post(server), post(server), post(server)
    assert garbage.headers["content-type"] == "application/json"
    with pytest.raises(ValueError, match=r"Unterminated|delimiter"):
        garbage.json()
    assert (html.status_code, html.headers["content-type"]) == (502, "text/html; charset=utf-8")
    assert b"<html>" in html.content
    assert "content-type" not in bare.headers
    assert bare.content == b"\xff\xfe"


def test_bytes_among_the_chunks_are_sent_as_they_are():
    with FaultServer(Reply(chunks=("Hel", INVALID_UTF8, "lo")), Reply(chunks=("Hel", huge_line(10**6)))) as server:
        invalid, huge = post(server, STREAMED).content, post(server, STREAMED).content
    assert INVALID_UTF8 in invalid
    with pytest.raises(UnicodeDecodeError):
        invalid.decode()
    assert max(map(len, huge.split(b"\n"))) >= 10**6


def test_chunks_can_come_twice():
    with FaultServer(Reply(text="a b", duplicate_chunks=True)) as server:
        assert [text for _, text in deltas(post(server, STREAMED).content)] == ["a", "a", " b", " b"]


def test_texts_of_any_script_arrive_as_utf8_and_lone_surrogates_as_escapes():
    with FaultServer("grüße 👩‍👩‍👧", "\ud800") as server:
        assert "grüße 👩‍👩‍👧".encode() in post(server).content
        assert rb"\ud800" in post(server).content


def test_tool_calls_come_whole_and_in_pieces():
    call = ToolCall(id="call-1", name="weather", arguments='{"city": "Oslo"}')
    with FaultServer(Reply(tool_calls=(call,))) as server:
        whole, streamed = post(server).json()["choices"][0], post(server, STREAMED).content
    function = {"name": "weather", "arguments": '{"city": "Oslo"}'}
    assert whole["message"] == {
        "role": "assistant",
        "content": None,
        "tool_calls": [{"id": "call-1", "type": "function", "function": function}],
    }
    assert whole["finish_reason"] == "tool_calls"
    pieces = [piece for _, found in deltas(streamed, "tool_calls") for piece in found]
    assert pieces[0]["id"] == "call-1"
    assert len(pieces) > 2
    assert "".join(piece["function"]["arguments"] for piece in pieces) == '{"city": "Oslo"}'
    assert b'"finish_reason":"tool_calls"' in streamed


@pytest.mark.parametrize("asked", [ASKED, STREAMED])
def test_a_drop_at_every_byte_of_the_body(connect, asked):
    body = json.dumps(asked).encode()
    whole = post_body(asked)
    behaviours = [Reply(text="Hi you", drop_at=at) for at in range(len(whole) + 2)]
    with FaultServer(*behaviours) as server:
        for at in range(len(whole) + 1):
            client = connect(server)
            client.ask(body)
            head, _, received = client.read_to_end().partition(b"\r\n\r\n")
            assert head.startswith(b"HTTP/1.1 200")
            got = received if asked is ASKED else unframed(received)
            assert without_id(got) == without_id(whole[:at])
            client.close()
        client = connect(server)  # more bytes than the body has: it is complete, and the connection is kept
        client.ask(body)
        client.ask(b"{}", headers=b"Connection: close\r\n")
        assert b"HTTP/1.1 400" in client.read_to_end()
        server.until(lambda: not server.open_connections)
        assert server.disconnects == 0


def post_body(asked):
    with FaultServer("Hi you") as server:
        return post(server, asked).content


def without_id(body):
    """The ids of answers differ, and may be cut; what stands around them may not."""
    return bytes(ord("#") if chr(byte).isdigit() else byte for byte in body)


def unframed(received):
    """The body in a chunked transfer that may have been cut."""
    body = b""
    while received:
        size, _, received = received.partition(b"\r\n")
        length = int(size, 16)
        body += received[:length]
        received = received[length + 2 :]
    return body


def test_a_drop_at_every_byte_of_the_headers(connect):
    with FaultServer(lambda asked: Reply(drop_in_headers=asked["at"])) as server:
        client = connect(server)
        client.ask(json.dumps({**ASKED, "at": None}).encode(), headers=b"Connection: close\r\n")
        head = client.read_to_end().partition(b"\r\n\r\n")[0] + b"\r\n\r\n"
        for at in range(len(head) + 1):
            client = connect(server)
            client.ask(json.dumps({**ASKED, "at": at}).encode())
            assert without_id(client.read_to_end()) == without_id(head[:at])
            client.close()


def test_a_reset_is_an_error_and_no_orderly_end(connect):
    with FaultServer(Reply(drop_at=0, reset=True)) as server:
        client = connect(server)
        client.ask()
        with pytest.raises(ConnectionResetError):
            list(iter(functools.partial(client.socket.recv, 1000), b""))


def test_a_slow_drip_sends_byte_by_byte(connect):
    with FaultServer(Reply(drip_s=0.002)) as server:
        assert post(server).json()["choices"][0]["message"]["content"] == "Hello"
        client = connect(server)
        client.ask(headers=b"Connection: close\r\n")
        assert not client.socket.recv(65536).endswith(b"}")  # how much of it has come depends on the machine
    with FaultServer(Reply(drip_s=0.0)) as server:
        assert [text for _, text in deltas(post(server, STREAMED).content)] == ["Hello"]


@pytest.mark.parametrize("behaviour", [Hang(), Reply(hang_after=0)])
def test_a_hang_is_noticed_by_the_client_and_left_to_it(behaviour):
    with FaultServer(behaviour) as server:
        with pytest.raises(httpx2.ReadTimeout):
            http.post(server.url + "/chat/completions", json=ASKED, timeout=0.1)
        server.until(lambda: server.disconnects == 1)
        assert server.answering == 0
        assert server.requests[0].disconnected


def test_a_stream_hangs_after_so_many_chunks():
    received = b""
    with FaultServer(Reply(text="a b c", hang_after=2)) as server:
        with http.stream("POST", server.url + "/chat/completions", json=STREAMED, timeout=5) as answer:
            chunks = answer.iter_raw()
            while b'" b"' not in received:
                received += next(chunks)
            assert server.answering == 1
        server.until(lambda: server.disconnects == 1)
    assert b'" c"' not in received


async def test_work_for_a_client_that_left_is_given_up():
    before = asyncio.all_tasks()
    async with FaultServer(Hang()) as server:
        async with httpx2.AsyncClient(verify=TLS, timeout=0.05) as client:
            with pytest.raises(httpx2.ReadTimeout):
                await client.post(server.url + "/chat/completions", json=ASKED)
        await server.auntil(lambda: server.disconnects == 1)
        await server.auntil(lambda: asyncio.all_tasks() == before)


async def test_a_cancelled_client_is_noticed():
    async with FaultServer(Reply(text="a b c", chunk_delay_s=0.05)) as server, httpx2.AsyncClient(verify=TLS) as client:
        task = asyncio.create_task(client.post(server.url + "/chat/completions", json=STREAMED))
        await server.auntil(lambda: server.answering == 1)
        task.cancel()
        await server.auntil(lambda: server.disconnects == 1)
        assert server.answering == 0


def test_the_script_is_cycled():
    with FaultServer("one", 500, ["t", "wo"]) as server:
        answers = [post(server) for _ in range(4)]
    assert [answer.status_code for answer in answers] == [200, 500, 200, 200]
    texts = [answers[i].json()["choices"][0]["message"]["content"] for i in (0, 2, 3)]
    assert texts == ["one", "two", "one"]


def test_a_function_sees_the_request_and_decides():
    with FaultServer(lambda asked: asked["messages"][0]["content"].upper()) as server:
        assert post(server).json()["choices"][0]["message"]["content"] == "THREE WORDS HERE"


def test_a_function_that_fails_says_so_in_the_answer():
    with FaultServer(lambda asked: asked["nothing"], lambda asked: 12) as server:
        assert "KeyError: 'nothing'" in post(server).json()["error"]["message"]
        assert "cannot behave like 12" in post(server).json()["error"]["message"]


@pytest.mark.parametrize("wrong", [200, True, None, 1.5, [1]])
def test_what_no_server_can_do_is_refused_when_it_is_built(wrong):
    with pytest.raises(ConfigurationError, match="cannot behave like"):
        FaultServer(wrong)


@pytest.mark.parametrize(
    "wrong",
    [
        lambda: Reply(chunks=0),
        lambda: Reply(text=()),
        lambda: Reply(chunk_delay_s=-1),
        lambda: Reply(hang_after=-1),
        lambda: Reply(delay_s=-0.1),
        lambda: Hang(drop_at=-1),
        lambda: Status(status=200),
        lambda: Status(status=500, drip_s=-1),
    ],
)
def test_a_behaviour_that_makes_no_sense_is_refused_when_it_is_built(wrong):
    with pytest.raises(ConfigurationError, match=r"write|other ones"):
        wrong()


def test_models_health_and_unknown_paths():
    with FaultServer(500, models=("a", "b")) as server:
        listed = http.get(server.url + "/models").json()
        assert [model["id"] for model in listed["data"]] == ["a", "b"]
        assert http.get(server.url.removesuffix("/v1") + "/health").json() == {"status": "ok"}
        assert http.get(server.url + "/nothing").status_code == 404
        assert http.get(server.url + "/chat/completions").status_code == 405
        assert http.post(server.url + "/models", json={}).status_code == 405


@pytest.mark.parametrize("body", [b"", b"no json", b"[]", b"{}", b'{"messages": 1}'])
def test_a_request_that_makes_no_sense_is_refused(connect, body):
    with FaultServer() as server:
        client = connect(server)
        client.ask(body)
        status, answer = client.read_answer()
        assert status == 400
        assert "error" in json.loads(answer)


@pytest.mark.parametrize(
    ("request_", "status"),
    [
        (b"POST /v1/chat/completions HTTP/1.1\r\n\r\n", 411),
        (b"POST / HTTP/1.1\r\nContent-Length: 99999999999\r\n\r\n", 413),
        (b"GET / HTTP/1.1\r\nX: " + b"x" * 70_000, 431),
    ],
)
def test_a_request_without_bounds_is_refused(connect, request_, status):
    with FaultServer() as server:
        client = connect(server)
        client.send(request_)
        assert client.read_to_end().startswith(b"HTTP/1.1 %d" % status)


def test_a_request_may_come_in_pieces(connect):
    with FaultServer() as server:
        client = connect(server)
        for byte in b'POST /v1/chat/completions HTTP/1.1\r\ncontent-length: 15\r\n\r\n{"messages":[]}':
            client.send(bytes([byte]))
        assert client.read_answer()[0] == 200


def test_a_client_that_waits_for_leave_to_send_gets_it(connect):
    with FaultServer() as server:
        client = connect(server)
        client.send(b"POST /v1/chat/completions HTTP/1.1\r\nContent-Length: 15\r\nExpect: 100-continue\r\n\r\n")
        assert client.socket.recv(100) == b"HTTP/1.1 100 Continue\r\n\r\n"
        client.send(b'{"messages":[]}')
        assert client.read_answer()[0] == 200


def test_pipelined_requests_are_answered_in_order(connect):
    with FaultServer(Reply(text="slow", delay_s=0.03), "fast", Reply(text="last", delay_s=0.01)) as server:
        client = connect(server)
        for _ in range(3):
            client.ask()
        texts = [json.loads(client.read_answer()[1])["choices"][0]["message"]["content"] for _ in range(3)]
    assert texts == ["slow", "fast", "last"]


def test_a_connection_is_kept_and_closed_when_asked(connect):
    with FaultServer() as server:
        client = connect(server)
        for _ in range(3):
            client.ask()
            assert client.read_answer()[0] == 200
        assert server.open_connections == 1
        client.ask(headers=b"Connection: close\r\n")
        assert client.read_to_end().startswith(b"HTTP/1.1 200")
        server.until(lambda: server.open_connections == 0)


def test_a_client_that_does_not_read_stops_the_server_from_writing(connect):
    with FaultServer(Reply(chunks=("x" * 10**6,) * 20)) as server:
        client = connect(server)
        client.ask(json.dumps(STREAMED).encode(), headers=b"Connection: close\r\n")
        server.until(lambda: server.answering == 1)
        time.sleep(0.05)
        assert server.answering == 1, "the server has to wait for the client"
        received = client.read_to_end()
    assert len(received) > 20 * 10**6


def test_requests_are_remembered_with_a_bound():
    with FaultServer(keep=2) as server:
        for number in range(3):
            post(server, {**ASKED, "seed": number}, headers={"X-Number": str(number)})
        assert [request.json["seed"] for request in server.requests] == [1, 2]
        assert [request.headers["x-number"] for request in server.requests] == ["1", "2"]
        assert server.requests[0].method == "POST"
        assert server.requests[0].path == "/v1/chat/completions"
        assert server.request_count == 3
    with pytest.raises(ConfigurationError, match="`keep`"):
        FaultServer(keep=0)


def test_until_gives_up_and_says_what_was_seen():
    with FaultServer() as server, pytest.raises(TimeoutError, match="requests=0"):
        server.until(lambda: server.request_count, timeout_s=0.01)


def test_stopping_leaves_no_thread_and_no_socket(connect):
    before = threading.active_count()
    with FaultServer(Hang()) as server:
        port, url = server.port, server.url
        client = connect(server)
        client.ask()
        server.until(lambda: server.answering == 1)
    assert threading.active_count() == before
    assert client.read_to_end() == b""
    assert server.disconnects == 0, "the server itself closed the connection"
    assert url == f"http://127.0.0.1:{port}/v1"
    assert server.url == ""
    with pytest.raises(httpx2.ConnectError):
        http.get(url + "/models")


async def test_stopping_leaves_no_task_on_the_loop():
    before = asyncio.all_tasks()
    async with FaultServer(Hang(), Reply(text="a b", chunk_delay_s=0.5)) as server:
        clients = [await asyncio.open_connection("127.0.0.1", server.port) for _ in range(3)]
        for _, writer in clients:
            body = json.dumps(STREAMED).encode()
            head = b"POST /v1/chat/completions HTTP/1.1\r\nContent-Length: %d\r\n\r\n"
            writer.write(head % len(body) + body)
        await server.auntil(lambda: server.answering == 3)
    assert server.open_connections == 0
    assert asyncio.all_tasks() == before
    for _, writer in clients:
        writer.close()


def test_can_be_started_again_but_not_twice():
    server = FaultServer()
    for _ in range(2):
        with server:
            assert post(server).status_code == 200
            with pytest.raises(ConfigurationError, match="already running"):
                server.__enter__()
            assert post(server).status_code == 200


def test_a_process_of_its_own_serves_and_ends():
    with FaultServer.in_subprocess("Hello", 429) as url:
        assert http.post(url + "/chat/completions", json=ASKED).status_code == 200
        assert http.post(url + "/chat/completions", json=ASKED).status_code == 429
    with pytest.raises(httpx2.ConnectError):
        http.get(url + "/models")


def test_is_bound_to_this_machine_only():
    with FaultServer() as server:
        assert server._server.sockets[0].getsockname()[0] == "127.0.0.1"


def test_stopping_loses_no_socket_of_a_client_that_has_just_come():
    for _ in range(30):
        with FaultServer() as server:
            clients = [socket.create_connection(("127.0.0.1", server.port)) for _ in range(5)]
        for client in clients:
            client.close()
    gc.collect()  # a lost socket warns, which is an error here


# What reasoning models, log-probabilities and embeddings look like


async def engine_answers(reply, **asked):
    """A whole answer and a joined stream, read by the engine that real servers are read by."""
    request = Request(messages=(Message.user("hi"),), **asked)
    async with FaultServer(reply) as server, Engine.open(server.url, model="m") as engine:
        joiner = ChunkJoiner()
        async for chunk in engine.astream(request):
            joiner.add(chunk)
        return await engine.agenerate(request), joiner.response()


async def test_thoughts_come_before_the_text_and_apart_from_it():
    for answer in await engine_answers(Reply(text="It is 4.", reasoning="two and two")):
        assert (answer.choices[0].reasoning, answer.text) == ("two and two", "It is 4.")
    with FaultServer(Reply(chunks=("a", "b", "c"), reasoning="one two three", hang_after=1)) as server:
        seen = []
        with Engine.open(server.url, model="m", read_timeout_s=0.1) as engine, pytest.raises(EngineTimeout):
            seen.extend(chunk.text or chunk.reasoning for chunk in engine.stream("hi"))
        assert seen == ["one", " two", " three", "a"]


async def test_log_probabilities_come_where_they_are_asked_for():
    reply = Reply(chunks=("Hel", "lo"), logprobs=(-0.25, -1.0))
    for answer in await engine_answers(reply, logprobs=2):
        assert [(one.token, one.logprob) for one in answer.choices[0].logprobs] == [("Hel", -0.25), ("lo", -1.0)]
        assert [one.top for one in answer.choices[0].logprobs] == [
            (("Hel", -0.25), ("token-1", -1.25)),
            (("lo", -1.0), ("token-1", -2.0)),
        ]
    for answer in await engine_answers(reply, logprobs=0):
        assert [one.top for one in answer.choices[0].logprobs] == [(), ()]
    for answer in await engine_answers(reply):
        assert answer.choices[0].logprobs == ()
    with pytest.raises(ConfigurationError, match="above 0"):
        Reply(logprobs=(0.5,))


async def test_a_refusal_is_no_content():
    for answer in await engine_answers(Reply(text="I will not.", refusal=True)):
        assert (answer.text, answer.finish_reason) == ("I will not.", "content_filter")


def test_embeddings_are_the_same_for_the_same_text_and_near_for_shared_words():
    with FaultServer() as server, Engine.open(server.url, model="m") as engine:
        parcel, again, near, far = engine.embed(["where is my parcel", "where is my parcel", "my parcel", "good soup"])
        assert parcel == again
        assert sum(a * a for a in parcel) == pytest.approx(1.0, abs=1e-6)
        assert sum(a * b for a, b in zip(parcel, near, strict=True)) > sum(
            a * b for a, b in zip(parcel, far, strict=True)
        )
        assert server.requests[0].json["encoding_format"] == "base64"


@pytest.mark.parametrize("body", ["no json", "[]", "{}", '{"input": "a", "dimensions": 0}'])
def test_a_request_for_embeddings_that_makes_no_sense_is_refused(body):
    with FaultServer() as server:
        assert http.post(server.url + "/embeddings", content=body).status_code == 400
