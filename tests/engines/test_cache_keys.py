"""Requests that mean the same have the same key, all others different ones; and so have engines."""

import dataclasses
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmops_sdk.calls import Call
from llmops_sdk.engines import Cached, Engine, MemoryStore, Scripted
from llmops_sdk.engines._cache.keys import Identity, key_of
from llmops_sdk.messages import (
    Choice,
    Chunk,
    ImagePart,
    Message,
    Origin,
    PromptRef,
    Request,
    Response,
    TextPart,
    ToolCall,
)
from llmops_sdk.routers import Cascade, Latency, Leg, Router

TOOL = {"type": "function", "function": {"name": "look", "parameters": {"type": "object"}}}
OTHER = {
    "messages": (Message.user("Another?"),),
    "temperature": 0.5,
    "top_p": 0.5,
    "max_tokens": 7,
    "stop": ("end",),
    "seed": 7,
    "n": 2,
    "tools": (TOOL,),
    "tool_choice": "required",
    "response_schema": {"type": "object"},
    "logprobs": 3,
    "adapter": "polite",
    "continues": True,
    "extra": {"top_k": 5},
}
"""For each field of a request that an engine sees, a value that is not its default."""
UNSEEN = {
    "traceparent": "00-" + "ab" * 16 + "-" + "cd" * 8 + "-01",
    "prompt": PromptRef(name="support"),
    "call": Call(),
}

CALL = ToolCall(id="1", name="look", arguments="{}")
IMAGE = ImagePart(url="https://example.org/a.png")
MESSAGE = Message(role="assistant", content="Hello", tool_calls=(CALL,))
OTHER_MESSAGE = {"role": "user", "content": "Hullo", "tool_calls": (), "tool_call_id": "1", "name": "Ann"}


def key(request, identity="an engine", **tags):
    return key_of(request, identity, tags)


def request(**values):
    return Request(**{"messages": (Message.user("Hello?"),), **values})


def in_key_order(value, order):
    if isinstance(value, dict):
        return {name: in_key_order(value[name], order) for name in order(value)}
    return [in_key_order(one, order) for one in value] if isinstance(value, list) else value


def test_every_field_of_a_request_takes_part_or_is_named_as_unseen():
    # Whoever adds a field to `Request` comes here, and says which of the two it is.
    assert {one.name for one in dataclasses.fields(Request)} == OTHER.keys() | UNSEEN.keys()
    plain = request()
    keys = {name: key(dataclasses.replace(plain, **{name: value})) for name, value in OTHER.items()}
    assert len({*keys.values(), key(plain)}) == len(OTHER) + 1
    for name, value in UNSEEN.items():
        assert key(dataclasses.replace(plain, **{name: value})) == key(plain), name


def test_every_field_of_a_message_takes_part_but_where_its_text_came_from():
    assert {one.name for one in dataclasses.fields(Message)} == OTHER_MESSAGE.keys() | {"origins"}
    messages = [MESSAGE, *(dataclasses.replace(MESSAGE, **{name: value}) for name, value in OTHER_MESSAGE.items())]
    assert len({key(request(messages=(one,))) for one in messages}) == len(messages)
    marked = dataclasses.replace(MESSAGE, origins=(Origin(start=0, end=2, source="variable:x"),))
    assert key(request(messages=(marked,))) == key(request(messages=(MESSAGE,)))


@pytest.mark.parametrize("record", [CALL, IMAGE, TextPart(text="Hello")])
def test_every_field_of_a_part_and_a_tool_call_takes_part(record):
    def keyed(one):
        if isinstance(one, ToolCall):
            return key(request(messages=(dataclasses.replace(MESSAGE, tool_calls=(one,)),)))
        return key(request(messages=(Message.user((one,)),)))

    others = [dataclasses.replace(record, **{one.name: "else"}) for one in dataclasses.fields(record)]
    assert len({keyed(one) for one in [record, *others]}) == 1 + len(others)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)
OBJECTS = st.dictionaries(st.text(), JSON, max_size=4)


@given(OBJECTS, OBJECTS)
def test_the_order_in_a_mapping_does_not_count(schema, extra):
    asked = [
        request(
            response_schema=in_key_order(schema, order),
            extra=in_key_order(extra, order),
            tools=({"function": in_key_order(schema, order)},),
        )
        for order in (sorted, lambda value: sorted(value, reverse=True))
    ]
    assert key(asked[0]) == key(asked[1]) is not None


TEXTS = st.lists(st.text(st.characters(), max_size=4), min_size=1, max_size=3)


@given(TEXTS, TEXTS)
def test_different_conversations_have_different_keys(one, other):
    # The same letters cut otherwise are another conversation, and lone surrogates are letters, too.
    asked = [request(messages=tuple(map(Message.user, texts)), stop=tuple(texts)) for texts in (one, other)]
    assert (key(asked[0]) == key(asked[1])) == (one == other)


@given(JSON, JSON)
def test_different_json_has_different_keys(one, other):
    asked = [request(extra={"x": value}) for value in (one, other)]
    assert (key(asked[0]) == key(asked[1])) == (repr(in_key_order(one, sorted)) == repr(in_key_order(other, sorted)))


@given(st.integers(0, 2))
def test_a_temperature_of_1_is_one_of_1_point_0(number):
    for name in ("temperature", "top_p"):
        assert key(request(**{name: number})) == key(request(**{name: float(number)}))
    assert key(request(temperature=None)) != key(request(temperature=0))
    assert key(request(temperature=-0.0)) == key(request(temperature=0))


@pytest.mark.parametrize("odd", [object(), b"bytes", {1, 2}, {("a", "b"): 1}, {1: "a", "b": 2}])
def test_what_has_no_canonical_form_has_no_key(odd):
    assert key(request(extra={"odd": odd})) is None
    looped = {}
    looped["itself"] = looped
    assert key(request(extra=looped)) is None


def test_a_key_is_the_same_in_every_process():
    source = "from test_cache_keys import *; print(key(request(**OTHER)), same(Scripted('a', model='m')))"
    here = f"{key(request(**OTHER))} {same(Scripted('a', model='m'))}"
    paths = [__file__.rpartition("/")[0], *sys.path]
    program = f"import sys; sys.path[:0] = {paths!r}; {source}"
    assert (
        subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout.strip()
        == here
    )


# Engines.


def same(engine, own="own"):
    return Identity(engine, own).now()[0]


class Other(Scripted):
    pass


class Foreign:
    name = "foreign"

    async def agenerate(self, request):
        return Response(choices=(Choice(text="foreign"),))

    async def astream(self, request):
        yield Chunk(text="foreign")


URL = "http://127.0.0.1:9/v1"


def test_engines_that_would_answer_differently_have_different_identities():
    engines = [
        Engine.open(URL, model="a"),
        Engine.open(URL, model="b"),
        Engine.open("http://127.0.0.1:8/v1", model="a"),
        Engine.open(URL, model="a", headers={"x-route": "west"}),
        Engine.open("anthropic:a", base_url=URL, api_key="k"),
        Scripted("a"),
        Scripted("b"),
        Other("a"),
        Router([Scripted("a"), Scripted("b")]),
        Router([Scripted("b"), Scripted("a")]),
        Router([Scripted("a"), Scripted("b")], strategy="priority"),
        Router([Leg(Scripted("a"), tags={"region": "eu"}), Scripted("b")]),
    ]
    assert len({same(engine) for engine in engines}) == len(engines)


def test_how_an_engine_is_reached_is_no_part_of_what_it_is():
    key = "of-another-person"
    other = Engine.open(
        URL, model="a", api_key=key, name="second", connect_timeout_s=1.0, headers={"Authorization": key}
    )
    assert same(other) == same(Engine.open(URL, model="a", headers={}))


@pytest.mark.parametrize(
    "engine", [Foreign(), Scripted(lambda asked: "a"), Scripted(ValueError()), Router([Foreign(), Scripted("a")])]
)
def test_an_engine_that_cannot_be_told_shares_with_nobody_unless_it_is_told_who_it_is(engine):
    assert same(engine, "one") != same(engine, "two")
    assert Identity(engine, "one", "it").now() == Identity(engine, "two", "it").now()


def test_a_cache_around_an_engine_is_that_engine():
    engine = Scripted("a")
    assert same(Cached(engine, MemoryStore())) == same(engine)
    assert same(Router([Cached(engine), Scripted("b")])) == same(Router([engine, Scripted("b")]))


def test_the_tags_by_which_a_router_chooses_take_part():
    router = Router([Leg(Scripted("a"), tags={"region": "eu"}), Leg(Scripted("b"), tags={"size": "big"})])
    assert Identity(router, "own").now()[1] == ("region", "size")
    inner = Router([Cached(router), Scripted("c")])
    assert Identity(inner, "own").now()[1] == ("region", "size")


def test_routers_that_judge_answers_otherwise_have_different_identities():
    two = [Scripted("a"), Scripted("b")]
    judged = [
        Router(two, strategy=strategy)
        for strategy in (
            "cascade",
            {"name": "cascade", "min_logprob": -0.5},
            {"name": "cascade", "min_logprob": -1.0},
            Cascade(min_logprob=-1.0),
        )
    ]
    assert len({same(router) for router in judged}) == 4
    assert same(judged[3], "one") != same(judged[3], "two")
    assert same(Router(two, strategy=Latency()), "one") == same(Router(two, strategy=Latency()), "two")


def test_a_router_that_judges_otherwise_after_a_reload_is_another_one():
    engines = [Scripted("a"), Scripted("b")]
    router = Router(engines, strategy="cascade")
    identity = Identity(Router([router, Scripted("c")]), "own")
    before = identity.now()
    assert identity.now() is before
    router.reload(Router(engines, strategy={"name": "cascade", "min_logprob": -1.0}))
    assert identity.now() != before


def test_a_reloaded_router_is_another_one():
    router = Router([Scripted("a")])
    identity = Identity(router, "own")
    before = identity.now()
    router._table = Router([Scripted("b")])._table
    assert identity.now() != before
