"""What providers say of their own limits in headers, and what becomes of it."""

import asyncio
import contextlib
import datetime as dt
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmops_sdk import errors
from llmops_sdk.calls import Call
from llmops_sdk.engines import Engine, Scripted
from llmops_sdk.engines._rate_limits import rate_limit_in
from llmops_sdk.engines._refusals import come_back_s
from llmops_sdk.messages import Choice, ChunkJoiner, RateLimit, Request, Response
from llmops_sdk.routers import Router
from llmops_sdk.testing import FaultServer, Raw
from llmops_sdk.virtual_time import run_in_virtual_time

HELLO = Request.of("hello")
OPENAI = {
    "x-ratelimit-limit-requests": "60",
    "x-ratelimit-remaining-requests": "59",
    "x-ratelimit-remaining-tokens": "149984",
    "x-ratelimit-reset-requests": "1s",
    "x-ratelimit-reset-tokens": "6m0s",
}
NOTHING_LEFT = {**OPENAI, "x-ratelimit-remaining-requests": "0", "x-ratelimit-reset-requests": "7s"}
ANSWER = json.dumps(
    {"id": "1", "model": "m", "choices": [{"message": {"role": "assistant", "content": "Hi"}, "finish_reason": "stop"}]}
).encode()
STREAM = (
    b"".join(
        b"data: " + json.dumps({"choices": [{"index": 0, **choice}]}).encode() + b"\n\n"
        for choice in ({"delta": {"content": "H"}}, {"delta": {"content": "i"}, "finish_reason": "stop"})
    )
    + b"data: [DONE]\n\n"
)


def test_the_form_of_openai_is_read():
    assert rate_limit_in(OPENAI) == RateLimit(
        remaining_requests=59, remaining_tokens=149_984, reset_requests_s=1.0, reset_tokens_s=360.0
    )


def test_the_form_of_anthropic_is_read():
    soon = dt.datetime.now(dt.UTC) + dt.timedelta(seconds=30)
    limit = rate_limit_in(
        {
            "anthropic-ratelimit-requests-remaining": "0",
            "anthropic-ratelimit-requests-reset": soon.isoformat().replace("+00:00", "Z"),
            "anthropic-ratelimit-tokens-remaining": "40000",
        }
    )
    assert (limit.remaining_requests, limit.remaining_tokens) == (0, 40_000)
    assert 20 < limit.exhausted_s <= 30


@pytest.mark.parametrize(
    ("said", "seconds"),
    [
        ("12ms", 0.012),
        ("1s", 1.0),
        ("6m0s", 360.0),
        ("1h2m3.5s", 3_723.5),
        ("1d", 86_400.0),
        ("17", 17.0),
        ("0.5", 0.5),
        ("2000-01-01T00:00:00Z", 0.0),
        ("", None),
        ("soon", None),
        ("-3s", None),
        ("9999d", None),
        ("3s 5ms", None),
        ("1s1m", None),
        ("²s", None),
    ],
)
def test_spans_and_moments(said, seconds):
    limit = rate_limit_in({"x-ratelimit-reset-requests": said})
    assert (None if limit is None else limit.reset_requests_s) == seconds


@given(st.dictionaries(st.sampled_from([*OPENAI, "anthropic-ratelimit-tokens-reset"]), st.text(max_size=30)))
def test_garbage_is_no_limit_and_no_error(headers):
    limit = rate_limit_in(headers)
    assert limit is None or limit.exhausted_s is None or limit.exhausted_s >= 0


def test_a_refusal_without_retry_after_says_when_by_what_is_exhausted():
    assert come_back_s(NOTHING_LEFT, 429) == 7.0
    assert come_back_s({**NOTHING_LEFT, "retry-after": "3"}, 429) == 3.0
    assert come_back_s({**NOTHING_LEFT, "retry-after-ms": "1500"}, 429) == 1.5
    assert come_back_s(NOTHING_LEFT, 500) is None
    assert come_back_s(OPENAI, 429) is None


@contextlib.asynccontextmanager
async def opened(*answers):
    async with FaultServer(*answers) as server:
        engine = Engine.open(server.url, model="m")
        try:
            yield engine
        finally:
            await engine.aclose()


async def test_a_whole_answer_carries_them():
    async with opened(Raw(body=ANSWER, headers=OPENAI), Raw(body=ANSWER)) as engine:
        response = await engine.agenerate(HELLO)
        assert response.rate_limit.remaining_requests == 59
        assert (await engine.agenerate(HELLO)).rate_limit is None


async def test_names_in_capitals_are_seen():
    headers = {name.title(): value for name, value in OPENAI.items()}
    async with opened(Raw(body=ANSWER, headers=headers)) as engine:
        assert (await engine.agenerate(HELLO)).rate_limit.remaining_tokens == 149_984


async def test_the_first_chunk_of_a_stream_carries_them():
    event_stream = "text/event-stream"
    answers = Raw(body=STREAM, headers=OPENAI, content_type=event_stream), Raw(body=STREAM, content_type=event_stream)
    async with opened(*answers) as engine:
        joiner = ChunkJoiner()
        seen = []
        async for chunk in engine.astream(HELLO):
            seen.append(chunk.rate_limit)
            joiner.add(chunk)
        assert [limit is None for limit in seen] == [False] + [True] * (len(seen) - 1)
        assert joiner.response().rate_limit.remaining_requests == 59
        assert joiner.text() == "Hi"
        assert [chunk.rate_limit async for chunk in engine.astream(HELLO)] == [None] * len(seen)


async def test_a_refusal_says_when_to_come_back():
    refusal = Raw(body=b'{"error": {"message": "slow"}}', status=429, headers=NOTHING_LEFT)
    async with opened(refusal) as engine:
        with pytest.raises(errors.RateLimitError) as refused:
            await engine.agenerate(HELLO)
        assert refused.value.retry_after_s == 7.0


async def test_a_client_of_the_applications_own_sees_them_too():
    httpx = pytest.importorskip("httpx2")
    async with FaultServer(Raw(body=ANSWER, headers=OPENAI)) as server, httpx.AsyncClient() as client:
        engine = Engine.open(server.url, model="m", client=client)
        assert (await engine.agenerate(HELLO)).rate_limit.remaining_requests == 59
        await engine.aclose()


def test_engines_with_the_same_key_are_known_by_it_and_not_by_its_text():
    one, other = "key" * 5, "yek" * 5
    engines = [
        Engine.open("https://example.test/v1", model=model, api_key=key)
        for model, key in [("a", one), ("b", one), ("a", other), ("a", None)]
    ]
    ids = [engine.key_id for engine in engines]
    assert ids[0] == ids[1] != ids[2]
    assert ids[3] is None
    assert one not in ids[0]


def test_an_engine_that_has_nothing_left_is_left_alone_until_its_reset():
    limit = RateLimit(remaining_requests=0, reset_requests_s=20.0)

    async def main():
        full = Scripted(Response(choices=(Choice(text="full"),), rate_limit=limit), name="full")
        router = Router([full, Scripted("spare", name="spare")], strategy="priority")
        request = Request.of("hello")
        texts = [(await router.agenerate(request)).text for _ in range(3)]
        assert texts == ["full", "spare", "spare"]
        assert router.route("hello").refused == (("full", "it asked to be left alone, for another 20.0 s"),)
        await asyncio.sleep(20)
        assert (await router.agenerate(Request.of("hello").bound_to(Call()))).text == "full"

    run_in_virtual_time(main())
