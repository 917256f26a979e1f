"""HTTP/2 by a client of the application's own, against a server that is made of `h2`."""

import asyncio
import contextlib
import json

import pytest

from llmops_sdk import errors
from llmops_sdk.engines import Engine
from llmops_sdk.messages import Request

pytestmark = [pytest.mark.heavy, pytest.mark.filterwarnings("default")]

h2_connection = pytest.importorskip("h2.connection")
h2_events = pytest.importorskip("h2.events")
h2_config = pytest.importorskip("h2.config")
httpx2 = pytest.importorskip("httpx2")

HELLO = Request.of("hello")
EVENTS = [b'data: {"choices":[{"delta":{"content":"%b"}}]}\n\n' % piece for piece in (b"Hel", b"lo")] + [
    b'data: {"choices":[{"delta":{},"finish_reason":"stop"}]}\n\n',
    b"data: [DONE]\n\n",
]


class Http2(asyncio.Protocol):
    """Answers chat completions; a stream stands until `go` is set, so that several are truly open at once."""

    made = 0

    def __init__(self, go):
        self.go = go
        self.bodies = {}
        self.tasks = set()

    def connection_made(self, transport):
        Http2.made += 1
        self.transport = transport
        self.h2 = h2_connection.H2Connection(config=h2_config.H2Configuration(client_side=False))
        self.h2.initiate_connection()
        self.send()

    def send(self):
        self.transport.write(self.h2.data_to_send())

    def data_received(self, data):
        for event in self.h2.receive_data(data):
            if isinstance(event, h2_events.DataReceived):
                self.bodies[event.stream_id] = self.bodies.get(event.stream_id, b"") + event.data
                self.h2.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
            elif isinstance(event, h2_events.StreamEnded):
                task = asyncio.get_running_loop().create_task(self.answer(event.stream_id))
                self.tasks.add(task)
        self.send()

    async def answer(self, stream):
        asked = json.loads(self.bodies[stream])
        with contextlib.suppress(Exception):  # the client may have left
            if asked["messages"][0]["content"] == "fail":
                self.h2.send_headers(stream, [(":status", "429"), ("retry-after", "2")], end_stream=True)
            elif asked.get("stream"):
                self.h2.send_headers(stream, [(":status", "200"), ("content-type", "text/event-stream")])
                self.h2.send_data(stream, EVENTS[0])
                self.send()
                await self.go.wait()
                for event in EVENTS[1:]:
                    self.h2.send_data(stream, event)
                    self.send()
                self.h2.end_stream(stream)
            else:
                self.h2.send_headers(stream, [(":status", "200")])
                body = b'{"choices":[{"message":{"content":"Hello"},"finish_reason":"stop"}]}'
                self.h2.send_data(stream, body, end_stream=True)
            self.send()


async def test_a_client_that_speaks_http2():
    Http2.made = 0
    go = asyncio.Event()
    server = await asyncio.get_running_loop().create_server(lambda: Http2(go), "127.0.0.1", 0)
    url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1"
    async with server, httpx2.AsyncClient(http1=False, http2=True) as client:
        engine = Engine.open(url, model="m", client=client)
        assert (await engine.agenerate(HELLO)).text == "Hello"
        with pytest.raises(errors.RateLimitError) as caught:
            await engine.agenerate(Request.of("fail"))
        assert caught.value.retry_after_s == 2
        streams = [engine.astream(HELLO) for _ in range(8)]
        assert [(await anext(stream)).text for stream in streams] == ["Hel"] * 8
        await streams.pop().aclose()  # which leaves the connection to the others
        go.set()
        for stream in streams:
            assert "".join([chunk.text async for chunk in stream]) == "lo"
        assert (await engine.agenerate(HELLO)).text == "Hello"
        assert Http2.made == 1
