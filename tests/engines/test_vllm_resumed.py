"""A stream of a real model that broke is continued by vLLM, in the process and behind a server."""

from __future__ import annotations

import pytest

from llmops_sdk.calls import Call, StreamResumed
from llmops_sdk.engines import Engine
from llmops_sdk.engines.remote import Remote
from llmops_sdk.errors import EngineConnectionError
from llmops_sdk.messages import Chunk, ChunkJoiner, Message, Request, Response
from llmops_sdk.protocols import Capabilities
from llmops_sdk.routers import Leg, Router

pytestmark = [
    pytest.mark.heavy,
    pytest.mark.asyncio(loop_scope="session"),
    pytest.mark.timeout(300),
    pytest.mark.filterwarnings("default"),  # importing torch and vLLM warns of their own parts
]

COUNT = "Count from one to ten in words."
"""The model is as good as certain of each token. Where two are nearly alike, bfloat16 may choose otherwise when the
text so far is read at once than when it was written token by token."""


class Cut(Engine):
    """Streams the given chunks, and breaks."""

    def __init__(self, chunks: list[Chunk]) -> None:
        self._chunks = chunks

    async def astream(self, request: Request):
        for chunk in self._chunks:
            yield chunk
        raise EngineConnectionError("cut")


def asked(question: str, call: Call) -> Request:
    return Request(messages=(Message.user(question),), temperature=0.0, max_tokens=24, logprobs=0, call=call)


async def resumed(engine: Engine, question: str, begun: list[Chunk]) -> Response:
    """The whole answer after a break behind `begun`."""
    router = Router([Cut(begun), Leg(engine, capabilities=Capabilities(continues=True))], strategy="priority")
    call, joiner = Call(), ChunkJoiner()
    async for chunk in router.astream(asked(question, call)):
        joiner.add(chunk)
    assert [event.how for event in call.events if isinstance(event, StreamResumed)] == ["resume"]
    return joiner.response()


async def check_every_seam(engine: Engine, question: str) -> None:
    chunks = [chunk async for chunk in engine.astream(asked(question, Call()))]
    text = "".join(chunk.text for chunk in chunks)
    (finish_reason,) = [chunk.finish_reason for chunk in chunks if chunk.finish_reason]
    assert len(chunks) > 5
    for at in range(1, len(chunks)):
        begun = chunks[:at]
        if "".join(chunk.text for chunk in begun).strip() and not any(chunk.finish_reason for chunk in begun):
            answer = await resumed(engine, question, begun)
            assert answer.text == text, at
            assert answer.finish_reason == finish_reason


async def test_engine_in_the_process_goes_on_where_the_stream_broke(engine):
    await check_every_seam(engine, COUNT)


async def test_server_goes_on_where_the_stream_broke(vllm_server):
    async with Remote(vllm_server.url, model="smollm2", provider="vllm") as remote:
        await check_every_seam(remote, COUNT)
