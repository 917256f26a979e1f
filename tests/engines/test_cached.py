"""What a cache keeps, for how long, what a hit costs, and how it is recorded."""

import asyncio
import dataclasses
import json
import math
import pickle
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmops_sdk import Pipeline
from llmops_sdk.calls import AttemptEnded, CacheAnswered, Call
from llmops_sdk.costs import Price, PriceTable
from llmops_sdk.engines import Cached, Engine, MemoryStore, Scripted, Semantic, response_of
from llmops_sdk.engines._cache.entries import Entry, from_bytes, settled, to_bytes, worth_keeping
from llmops_sdk.errors import CacheError, ClosedError, ConfigurationError, ContentFilteredError, StreamInterrupted
from llmops_sdk.guards import guard
from llmops_sdk.messages import (
    Choice,
    Chunk,
    Message,
    RateLimit,
    Request,
    Response,
    StreamRestarted,
    TokenLogprob,
    ToolCall,
    Usage,
)
from llmops_sdk.pipelines._fingerprint import pipeline_fingerprint
from llmops_sdk.prompts import Prompt
from llmops_sdk.routers import Latency, Leg, Router
from llmops_sdk.testing import FaultServer, Reply
from llmops_sdk.verdicts import Verdict
from llmops_sdk.virtual_time import run_in_virtual_time

ASKED = Request.of("What is it?")
PRICES = PriceTable({"scripted": Price(input=Decimal(1), output=Decimal(1))})


async def read(chunks):
    return [chunk async for chunk in chunks]


def uncached(chunks):
    return [dataclasses.replace(chunk, cached=False) for chunk in chunks]


class Broken:
    """A store in which everything fails."""

    def __init__(self):
        self.asked = 0

    async def get(self, key):
        self.asked += 1
        raise OSError("away")

    async def put(self, key, value, ttl_s):
        raise OSError("away")

    async def forget(self, key):
        raise OSError("away")

    clear = None


class Waiting:
    """A store that is not at hand, as those outside of the process are."""

    def __init__(self):
        self.held = {}
        self.entries = self.size_bytes = None

    async def get(self, key):
        await asyncio.sleep(0.001)
        return self.held.get(key)

    async def put(self, key, value, ttl_s):
        await asyncio.sleep(0.001)
        self.held[key] = value

    async def forget(self, key):
        self.held.pop(key, None)

    async def clear(self):
        self.held.clear()


STORES = pytest.mark.parametrize("make_store", [MemoryStore, Waiting])


@STORES
def test_a_stream_comes_back_as_the_chunks_that_it_was(make_store):
    chunks = [
        Chunk(reasoning="Well", model="m", id="r-1"),
        Chunk(text="He", model="m", id="r-1", token_ids=(1,), logprobs=(TokenLogprob(token="He", logprob=-0.5),)),
        Chunk(
            text="llo\ud800", model="m", id="r-1", logprobs=(TokenLogprob(token="l", logprob=-1, top=(("l", -1.0),)),)
        ),
        Chunk(tool_calls=(ToolCall(id="1", name="look", arguments="{}"),), model="n"),
        Chunk(index=1, text="Hi", finish_reason="length"),
        Chunk(finish_reason="tool_calls", usage=Usage(input_tokens=3, output_tokens=5), cost_usd=Decimal("0.10")),
    ]

    class Told(Engine):
        asked = 0

        async def astream(self, request):
            self.asked += 1
            for chunk in chunks:
                await asyncio.sleep(1)
                yield chunk

    async def main():
        engine = Told()
        cached = Cached(engine, make_store())
        assert await read(cached.astream(ASKED)) == chunks
        await asyncio.sleep(1)
        began = asyncio.get_running_loop().time()
        again = await read(cached.astream(ASKED))
        assert uncached(again) == chunks
        assert all(chunk.cached for chunk in again)
        whole = await cached.agenerate(ASKED)
        assert dataclasses.replace(whole, cached=False) == await response_of(engine.astream(ASKED), "told")
        assert asyncio.get_running_loop().time() - began < 7  # the pauses are only those of the engine itself
        assert engine.asked == 2
        assert cached.stats.hits == 2

    run_in_virtual_time(main())


async def test_a_whole_answer_comes_back_whole_and_as_a_stream():
    answer = Response(
        choices=(Choice(text="a", finish_reason="stop", reasoning="hm"), Choice(text="b", finish_reason="length")),
        usage=Usage(input_tokens=1, output_tokens=2, cached_input_tokens=1),
        model="m",
        engine="e",
        id="r-1",
        cost_usd=Decimal("0.1"),
    )
    cached = Cached(Scripted(answer))
    assert await cached.agenerate(ASKED) == answer
    assert await cached.agenerate(ASKED) == dataclasses.replace(answer, cached=True)
    joined = await response_of(cached.astream(ASKED), "x")
    assert joined == dataclasses.replace(answer, cached=True)


def finished(reason):
    return Response(choices=(Choice(text="a", finish_reason="stop"), Choice(text="b", finish_reason=reason)))


@pytest.mark.parametrize("reason", [None, "error", "content_filter"])
async def test_an_answer_that_is_not_complete_is_not_kept(reason):
    engine = Scripted(finished(reason))
    cached = Cached(engine)
    for _ in range(2):
        assert not (await cached.agenerate(ASKED)).cached
        await read(cached.astream(ASKED))
    assert len(engine.requests) == 4
    assert cached.stats.not_kept == 4
    assert cached.stats.entries == 0


async def test_an_error_is_not_kept():
    cached = Cached(Scripted(ContentFilteredError("no"), "Yes"))
    with pytest.raises(ContentFilteredError):
        await cached.agenerate(ASKED)
    assert (await cached.agenerate(ASKED)).text == "Yes"


async def test_a_stream_that_breaks_or_is_broken_off_is_not_kept():
    engine = Scripted(["He", StreamInterrupted("gone")], ["Hel", "lo"], ["Bye"], chunk_delay_s=0.001)
    cached = Cached(engine)
    with pytest.raises(StreamInterrupted):
        await read(cached.astream(ASKED))
    chunks = cached.astream(ASKED)
    assert (await anext(chunks)).text == "Hel"
    await chunks.aclose()
    assert cached.stats.entries == 0
    assert (await cached.agenerate(ASKED)).text == "Bye"


async def test_a_real_stream_that_is_cut_is_not_kept():
    with FaultServer(Reply(text="Hello dear world", drop_at=400), Reply(text="Hello dear world")) as server:
        async with Cached(Engine.open(server.url, model="m")) as cached:
            with pytest.raises(StreamInterrupted):
                await read(cached.astream(ASKED))
            assert (await response_of(cached.astream(ASKED), "x")).text == "Hello dear world"
            assert (await cached.agenerate(ASKED)).cached
            assert server.request_count == 2


def test_an_answer_grows_too_old():
    async def main():
        engine = Scripted("a", "b")
        cached = Cached(engine, ttl_s=60)
        for wait_s, text in ((0, "a"), (59, "a"), (2, "b"), (59, "b")):
            await asyncio.sleep(wait_s)
            assert (await cached.agenerate(ASKED)).text == text
        assert cached.stats.entries == 1

    run_in_virtual_time(main())


def test_a_cache_with_a_shorter_time_does_not_believe_what_another_kept_for_longer():
    async def main():
        store = MemoryStore()
        engine = Scripted("a", "b")
        long, short = Cached(engine, store), Cached(engine, store, ttl_s=10)
        await long.agenerate(ASKED)
        await asyncio.sleep(11)
        assert (await long.agenerate(ASKED)).text == "a"
        assert (await short.agenerate(ASKED)).text == "b"

    run_in_virtual_time(main())


async def test_only_what_is_deterministic_is_kept_where_that_is_asked():
    engine = Scripted("a")
    cached = Cached(engine, only_deterministic=True)
    for values, kept in (({}, False), ({"temperature": 0.5}, False), ({"temperature": 0}, True), ({"seed": 1}, True)):
        asked = dataclasses.replace(ASKED, **values)
        await cached.agenerate(asked)
        assert (await cached.agenerate(asked)).cached is kept
    assert cached.stats.passed == 4


async def test_what_has_no_canonical_form_is_asked_each_time():
    cached = Cached(Scripted("a"))
    asked = dataclasses.replace(ASKED, extra={"x": object()})
    assert [(await cached.agenerate(asked)).cached for _ in range(2)] == [False, False]
    assert not (await read(cached.astream(asked)))[0].cached
    assert cached.stats.passed == 3


async def test_tags_that_take_part_keep_answers_apart():
    cached = Cached(Scripted("a", "b"), per=("tenant",))
    texts = [(await cached.agenerate(ASKED.bound_to(Call(tags={"tenant": who})))).text for who in "xyxy"]
    assert texts == ["a", "b", "a", "b"]
    await cached.forget(ASKED, tags={"tenant": "x"})
    assert not (await cached.agenerate(ASKED.bound_to(Call(tags={"tenant": "x"})))).cached
    assert (await cached.agenerate(ASKED.bound_to(Call(tags={"tenant": "y"})))).cached


async def test_two_engines_share_a_store_and_no_answers():
    store = MemoryStore()
    one, other = Cached(Scripted("a"), store), Cached(Scripted("b"), store)
    assert [(await cached.agenerate(ASKED)).text for cached in (one, other, one, other)] == ["a", "b", "a", "b"]


async def test_forgetting_and_clearing():
    cached = Cached(Scripted("a", "b", "c", "d"))
    other = Request.of("And this?")
    await cached.agenerate(ASKED)
    await cached.agenerate(other)
    await cached.forget("What is it?")
    assert [(await cached.agenerate(asked)).text for asked in (ASKED, other)] == ["c", "b"]
    await cached.clear()
    assert cached.stats.entries == 0
    assert (await cached.agenerate(other)).text == "d"


def test_what_is_on_its_way_when_the_cache_is_cleared_is_not_kept():
    async def main():
        cached = Cached(Scripted("a", "b", delay_s=1))
        task = asyncio.ensure_future(cached.agenerate(ASKED))
        await asyncio.sleep(0.5)
        await cached.clear()
        assert (await task).text == "a"
        assert (await cached.agenerate(ASKED)).text == "b"

    run_in_virtual_time(main())


@STORES
def test_a_cleared_answer_is_never_seen_again(make_store):
    # Also at once after it was given, and while it is being written down.
    async def main():
        engine = Scripted(*"abcdef")
        cached = Cached(engine, make_store())
        for text, throw_away in (("a", cached.clear), ("b", lambda: cached.forget(ASKED)), ("c", cached.clear)):
            assert (await cached.agenerate(ASKED)).text == text
            await throw_away()
        assert (await cached.agenerate(ASKED)).text == "d"

    run_in_virtual_time(main())


# What a hit costs.


@pytest.mark.parametrize("wrap", [lambda engine: engine, lambda engine: Router([engine])])
def test_a_hit_costs_nothing(wrap):
    pipeline = Pipeline("What is it?", Cached(wrap(Scripted("a b c"))), prices=PRICES)
    first, second = pipeline.run(), pipeline.run()
    assert first.usage == Usage(input_tokens=3, output_tokens=3)
    assert first.cost_usd == first.call.spent_usd > 0
    assert second.text == "a b c"
    assert second.cost_usd == second.call.spent_usd == Decimal(0)
    assert second.usage == Usage()
    assert second.response.usage == first.usage  # what it took when it was made
    assert second.response.cached
    assert not first.response.cached
    (event,) = (event for event in second.call.events if isinstance(event, CacheAnswered))
    assert (event.how, event.engine) == ("exact", pipeline.engine.name)
    assert event.age_s >= 0
    assert not any(isinstance(event, CacheAnswered) for event in first.call.events)


def test_a_hit_costs_nothing_in_a_checkpoint_either(tmp_path):
    pipeline = Pipeline("What is it?", Cached(Router([Scripted("a b c")])), prices=PRICES)
    pipeline.run()
    for resumed in (False, True):
        (result,) = pipeline.map([{}], checkpoint=tmp_path / "rows.jsonl")
        assert result.resumed is resumed
        assert result.response.cached
        assert result.cost_usd == Decimal(0)


def test_a_cache_does_not_make_another_pipeline_for_a_checkpoint():
    router = Router([Scripted("a", model="m"), Scripted("b", model="n")])
    plain, cached = (pipeline_fingerprint(Pipeline("What is it?", one)) for one in (router, Cached(router)))
    assert plain == cached


def test_a_streamed_hit_costs_nothing():
    pipeline = Pipeline("What is it?", Cached(Scripted(["a ", "b"])), prices=PRICES)
    for cached in (False, True):
        stream = pipeline.stream()
        assert "".join(chunk.text for chunk in stream) == "a b"
        assert (stream.result.cost_usd == 0) is cached
        assert stream.result.usage.output_tokens == (0 if cached else 2)
        assert stream.result.response.cached is cached


def test_a_router_books_and_learns_nothing_from_hits():
    class Room:
        def __init__(self):
            self.said = []

        def settle(self, usage, cost_usd):
            self.said.append("settled")

        def release(self):
            self.said.append("released")

    async def main():
        leg = Leg(Cached(Scripted("a", delay_s=2.0)))
        router = Router([leg], strategy=Latency(), prices=PRICES)
        await router.agenerate(ASKED)
        assert leg.latency_s == pytest.approx(2.0)
        booked = router.ledger.calls, router.ledger.cost_usd
        await router.agenerate(ASKED)
        await read(router.astream(ASKED))
        assert leg.latency_s == pytest.approx(2.0)
        assert (router.ledger.calls, router.ledger.cost_usd) == booked
        room = Room()
        await leg.generate(ASKED, Call(), None, room)
        assert room.said == ["released"]
        assert leg.in_flight == 0

    run_in_virtual_time(main())


def test_a_structured_answer_from_a_cache_around_a_router_is_read_too():
    prompt = Prompt.from_string("A number", response_schema={"type": "object"})
    pipeline = Pipeline(prompt, Cached(Router([Scripted('{"n": 1}')])))
    assert [pipeline.run().output for _ in range(2)] == [{"n": 1}, {"n": 1}]


def test_the_attempts_of_a_miss_are_in_the_record_of_the_run():
    pipeline = Pipeline("What is it?", Cached(Router([Scripted(ContentFilteredError("no")), Scripted("a")])))
    result = pipeline.run()
    assert [event.engine for event in result.call.events if isinstance(event, AttemptEnded)] == [
        "scripted",
        "scripted-2",
    ]
    assert result.call.attempts == 2
    assert result.route == ("scripted", "scripted-2")


def test_the_guards_after_a_cache_read_each_hit():
    read = []

    def reading(text):
        read.append(text)
        return Verdict.allow()

    pipeline = Pipeline("What is it?", Cached(Scripted("a")), guard(reading))
    for _ in range(3):
        assert pipeline.run().text == "a"
    assert read == ["a", "a", "a"]


# A store that fails.


def test_a_store_that_fails_breaks_no_call_and_is_left_alone_for_a_while(caplog):
    class Store(Broken):
        async def clear(self):
            raise OSError("away")

    async def main():
        store = Store()
        cached = Cached(Scripted("a"), store)
        for _ in range(3):
            assert (await cached.agenerate(ASKED)).text == "a"
        assert store.asked == 1
        assert cached.stats.errors == 1
        await asyncio.sleep(2)
        assert (await read(cached.astream(ASKED)))[0].text == "a"
        assert store.asked == 2
        assert len(caplog.records) == 1
        assert "away" in caplog.text
        for work in (cached.clear(), cached.forget(ASKED)):
            with pytest.raises(CacheError, match="away"):
                await work

    run_in_virtual_time(main())


@pytest.mark.parametrize(
    "kept",
    [b"", b"\xff", b"{}", b"[1,2]", b"[1,1.0,[{}],4]", b'[1,0,[{"text":5}]]', b'[1,0,[{"x":5}]]', b"[1,0,[5]]",
     b'[1,0,[{"finish_reason":"bored"}]]', b'[1,0,[{"cost_usd":"much"}]]', b'[1,"x",[]]', b"[" * 100_000, b"[1,0,[]]",
     b'[1,0,[{"index":[]}]]', b'[1,0,[{"index":-1}]]', b'[1,0,[{"usage":{"input_tokens":"x"}}]]', b'[1,0,{"text":"a"}]',
     b'[1,0,[{"cost_usd":"NaN"}]]', b'[1,0,[{"token_ids":"ab"}]]', b'[1,0,[{"model":5}]]', b'[1,0,[{"cached":false}]]',
     b'[1,0,[{"tool_calls":[{"id":1,"name":"x","arguments":"{}"}]}]]', b'[1,0,[{"logprobs":[{"token":"a"}]}]]',
     b'[1,NaN,[{"text":"a"}]]', b"[1,1" + b"0" * 400 + b',[{"text":"a"}]]', b'[1,0,[{"rate_limit":{}}]]'],
)  # fmt: skip
def test_garbage_in_a_store_is_no_answer(kept, caplog):
    async def main():
        store = Waiting()
        cached = Cached(Scripted("a"), store)
        await cached.agenerate(ASKED)
        await asyncio.sleep(1)
        (key,) = store.held
        store.held[key] = kept
        answer = await cached.agenerate(ASKED)
        assert (answer.text, answer.cached) == ("a", False)
        assert cached.stats.errors == 1
        await asyncio.sleep(1)
        assert (await cached.agenerate(ASKED)).cached

    run_in_virtual_time(main())


FULL = Chunk(
    text="a\ud800",
    index=1,
    tool_calls=(ToolCall(id="1", name="look", arguments="{}"),),
    finish_reason="length",
    usage=Usage(
        **{
            one.name: {
                "bool": True,
                "int": 3,
                "str | None": "flex",
                "Decimal | None": Decimal("0.5"),
                "tuple[str, ...]": ("search",),
            }[one.type]
            for one in dataclasses.fields(Usage)
        }
    ),
    model="m",
    engine="e",
    id="r-1",
    reasoning="hm",
    logprobs=(TokenLogprob(token="a", logprob=-math.inf, top=(("a", -1.0), ("b", -2.5))),),
    token_ids=(5, 6),
    cost_usd=Decimal("0.10"),
    cached=True,
    rate_limit=RateLimit(remaining_requests=0, reset_requests_s=60.0),
)


def test_every_field_of_a_chunk_is_kept_but_what_holds_for_the_moment():
    assert [one.name for one in dataclasses.fields(Chunk) if getattr(FULL, one.name) == one.default] == []
    assert [one.name for one in dataclasses.fields(Usage) if getattr(FULL.usage, one.name) == one.default] == []
    (back,) = from_bytes(to_bytes(Entry(1.0, [FULL]))).chunks
    assert back == dataclasses.replace(FULL, rate_limit=None)


ODD = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=3), inner, max_size=2),
    max_leaves=4,
)


@given(st.randoms(use_true_random=False), ODD)
def test_whatever_stands_in_a_place_of_a_kept_answer_is_no_answer_or_a_good_one(dice, odd):
    kept = json.loads(to_bytes(Entry(1.0, [Chunk(text="Hi", model="m"), FULL])))
    node, place = kept, 2
    while isinstance(node[place], list | dict) and node[place] and dice.random() < 0.8:
        node = node[place]
        place = dice.choice(list(node) if isinstance(node, dict) else range(len(node)))
    node[place] = odd
    try:
        entry = from_bytes(json.dumps(kept).encode())
    except ValueError:
        return
    response = entry.response("e")
    assert response.usage is None or response.usage.total_tokens + response.usage.cached_input_tokens >= 0
    assert all(choice.text + (choice.reasoning or "") is not None for choice in response.choices)
    assert [call.arguments + call.name + call.id for choice in response.choices for call in choice.tool_calls] != [5]
    assert (response.cost_usd or 0) + Decimal(1) < 10
    to_bytes(entry)


CHUNKS = st.lists(
    st.builds(
        Chunk, text=st.text(max_size=3), index=st.integers(0, 1), finish_reason=st.sampled_from([None, "stop", "error"])
    )
    | st.builds(StreamRestarted, index=st.integers(0, 1), withdrawn=st.just("?"), text=st.text(max_size=3)),
    max_size=8,
)


@given(CHUNKS)
def test_what_is_kept_of_a_stream_is_what_it_said_in_the_end(chunks):
    kept = settled(chunks)
    assert Entry(0.0, kept).response("e").choices == Entry(0.0, chunks).response("e").choices
    assert all(type(chunk) is Chunk for chunk in kept)
    choices = Entry(0.0, chunks).response("e").choices
    assert worth_keeping(chunks) == (bool(chunks) and {one.finish_reason for one in choices} == {"stop"})


@STORES
def test_what_a_router_has_taken_back_is_not_replayed(make_store):
    async def main():
        first = Scripted(["It is a ", StreamInterrupted("gone")], name="first")
        router = Router([first, Scripted(["That is ", "a house."])], strategy="priority", on_stream_break="restart")
        cached = Cached(router, make_store())
        chunks = await read(cached.astream(ASKED))
        assert any(isinstance(chunk, StreamRestarted) for chunk in chunks)
        await asyncio.sleep(1)
        again = await read(cached.astream(ASKED))
        assert [chunk.text for chunk in again if chunk.text] == ["That is ", "a house."]
        assert all(type(chunk) is Chunk and chunk.cached for chunk in again)
        whole = await cached.agenerate(ASKED)
        assert (whole.text, whole.cached, whole.engine) == ("That is a house.", True, "scripted")
        assert len(first.requests) == 1

    run_in_virtual_time(main())


def test_a_limit_of_the_provider_that_held_when_an_answer_was_made_does_not_hold_for_its_hits():
    async def main():
        spent = Response(choices=(Choice(text="a", finish_reason="stop"),), rate_limit=FULL.rate_limit)
        cached = Cached(Scripted(spent), Waiting())
        assert (await cached.agenerate(ASKED)).rate_limit == FULL.rate_limit
        await asyncio.sleep(1)
        again = await cached.agenerate(ASKED)
        assert (again.cached, again.rate_limit) == (True, None)

    run_in_virtual_time(main())


def test_a_store_that_fails_at_hand_breaks_no_call(caplog):
    class AtHand(Broken):
        clear = Broken.forget

        def at_hand(self, key):
            self.asked += 1
            raise OSError("away")

    async def main():
        store = AtHand()
        cached = Cached(Scripted("a"), store)
        for _ in range(3):
            assert (await cached.agenerate(ASKED)).text == "a"
            assert (await read(cached.astream(ASKED)))[0].text == "a"
        assert store.asked == 1

    run_in_virtual_time(main())


def test_a_store_that_cannot_be_written_is_read_all_the_same(caplog):
    class Full(Waiting):
        full = False

        async def put(self, key, value, ttl_s):
            if self.full:
                raise OSError("no space left")
            await super().put(key, value, ttl_s)

    async def main():
        store = Full()
        cached = Cached(Scripted("a"), store)
        await cached.agenerate(ASKED)
        await asyncio.sleep(1)
        store.full = True
        for turn in range(3):
            await cached.agenerate(Request.of(f"And {turn}?"))
            assert (await cached.agenerate(ASKED)).cached
        assert (cached.stats.errors, cached.stats.not_kept) == (1, 3)

    run_in_virtual_time(main())


def test_an_answer_that_cannot_be_written_down_is_given_and_the_store_goes_on(caplog):
    async def main():
        odd = Response(choices=(Choice(text="a", finish_reason="stop", token_ids=(object(),)),))
        cached = Cached(Scripted(odd, "b"))
        assert (await cached.agenerate(ASKED)).choices == odd.choices
        assert [(await cached.agenerate(Request.of("And?"))).cached for _ in range(2)] == [False, True]
        assert cached.stats.not_kept == 1

    run_in_virtual_time(main())


def test_what_was_thrown_away_is_not_remembered():
    async def main():
        cached = Cached(Scripted("a"), Waiting())
        shelf = cached._answers.shelf
        await cached.agenerate(ASKED)
        await asyncio.sleep(1)
        for throw_away in (cached.clear, lambda: cached.forget(ASKED)):
            held = dict(cached.store.held)
            (key,) = held
            first, second = [await shelf.get(key, None) for _ in range(2)]
            assert first is second
            await throw_away()
            cached.store.held.update(held)
            assert await shelf.get(key, None) is not first

    run_in_virtual_time(main())


def test_an_answer_in_the_form_of_another_version_is_not_read(caplog):
    async def main():
        store = Waiting()
        cached = Cached(Scripted("a"), store)
        await cached.agenerate(ASKED)
        await asyncio.sleep(1)
        (key,) = store.held
        store.held[key] = b"[2,0,{}]"
        assert not (await cached.agenerate(ASKED)).cached
        assert cached.stats.errors == 0

    run_in_virtual_time(main())


# The object.


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: Cached(Scripted), "cannot answer"),
        (lambda: Cached("openai:x"), "is no engine"),
        (lambda: Cached(Engine()), "cannot answer"),
        (lambda: Cached(Scripted("a"), "answers.db"), "SQLiteStore"),
        (lambda: Cached(Scripted("a"), MemoryStore), "MemoryStore\\(\\)"),
        (lambda: Cached(Scripted("a"), Broken()), "clear"),
        (lambda: Cached(Scripted("a"), ttl_s=0), "ttl_s"),
        (lambda: Cached(Scripted("a"), ttl_s=float("nan")), "ttl_s"),
        (lambda: Cached(Scripted("a"), ttl_s=True), "ttl_s"),
        (lambda: Cached(Scripted("a"), per="tenant"), "per="),
        (lambda: Cached(Scripted("a"), semantic=0.9), "Semantic"),
        (lambda: MemoryStore(0), "max_bytes"),
        (lambda: MemoryStore(1.5), "max_bytes"),
        (lambda: Semantic(embedder=Broken(), threshold=0.9), "aembed"),
        (lambda: Semantic(embedder=Scripted("a"), threshold=0), "threshold"),
        (lambda: Semantic(embedder=Scripted("a"), threshold=float("nan")), "threshold"),
        (lambda: Semantic(embedder=Scripted("a"), threshold=0.9, max_entries=0), "max_entries"),
        (lambda: Semantic(embedder=Scripted("a"), threshold=0.9, timeout_s=0), "timeout_s"),
    ],
)
def test_wrong_wiring_is_refused(make, said):
    with pytest.raises(ConfigurationError, match=said):
        make()


async def test_it_is_what_the_engine_within_is():
    inner = Scripted("a", name="inner", model="m")
    cached = Cached(inner)
    assert (cached.name, cached.model, cached.provider) == ("inner", "m", "scripted")
    assert cached.capabilities == inner.capabilities
    assert cached.concurrency == inner.concurrency
    assert Cached(inner, name="front").name == "front"
    assert Cached(Router([inner])).routes
    for ask in (cached.aembed, cached.aclassify):
        with pytest.raises(Exception, match="inner"):
            await ask(["a"])


async def test_it_travels_as_what_it_was_made_with():
    cached = Cached(Scripted("a", name="inner"), MemoryStore(1000), ttl_s=5, name="front")
    await cached.agenerate(ASKED)
    again = pickle.loads(pickle.dumps(cached))
    assert (again.name, again.engine.name, again.store.max_bytes, again.stats.entries) == ("front", "inner", 1000, 0)
    assert not (await again.agenerate(ASKED)).cached


def test_closing_ends_what_is_on_its_way():
    async def main():
        cached = Cached(Scripted("a", delay_s=100))
        task = asyncio.ensure_future(cached.agenerate(ASKED))
        await asyncio.sleep(1)
        await cached.aclose()
        await cached.aclose()
        with pytest.raises(ClosedError):
            await task
        with pytest.raises(ClosedError):
            await cached.agenerate(ASKED)

    run_in_virtual_time(main())


async def test_messages_that_differ_only_in_where_their_text_came_from_are_one_question():
    cached = Cached(Scripted("a"))
    await cached.agenerate(Request(messages=(Message.tool("x", tool_call_id="1"),)))
    again = Request(messages=(Message(role="tool", content="x", tool_call_id="1"),))
    assert (await cached.agenerate(again)).cached
