"""Which engines can take a request at all."""

import sys
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmops_sdk import errors
from llmops_sdk.calls import Call, Routed
from llmops_sdk.costs import PriceTable
from llmops_sdk.engines import Scripted
from llmops_sdk.messages import ImagePart, Message, Request, TextPart
from llmops_sdk.protocols import Capabilities
from llmops_sdk.routers import Leg, Router
from llmops_sdk.routers._choosing.filters import Filters
from llmops_sdk.virtual_time import run_in_virtual_time

HELLO = Request.of("hello")
TOOLS = Request(messages=HELLO.messages, tools=({"type": "function", "function": {"name": "f"}},))
SCHEMA = Request(messages=HELLO.messages, response_schema={"type": "object"})
IMAGE = Request.of(Message.user((TextPart(text="what?"), ImagePart(url="https://example.org/a.png"))))
NONE = Capabilities(tools=False, images=False, json_schema=False)
ALL = Capabilities(tools=True, images=True, json_schema=True)


def leg(name, capabilities=None, **options):
    return Leg(Scripted(name, name=name), capabilities=capabilities, **options)


def router_of(*legs):
    return Router(legs, strategy="priority", name="main")


def route(router, request, **call):
    return router.route(request.bound_to(Call(**call)))


def engines(candidates):
    return [one.engine for one in candidates]


@pytest.mark.parametrize(
    ("request_", "reason"),
    [
        (TOOLS, "it has no tools"),
        (SCHEMA, "it does not answer by a JSON schema"),
        (IMAGE, "it reads no images"),
    ],
)
async def test_engine_that_cannot_is_not_asked_and_one_of_which_nobody_knows_is(request_, reason):
    unable, unknown, able = leg("unable", NONE), leg("unknown"), leg("able", ALL)
    router = router_of(unable, unknown, able)
    shown = router.route(request_)
    assert engines(shown.order) == ["unknown", "able"]
    assert shown.refused == (("unable", reason),)
    call = Call()
    assert (await router.agenerate(request_.bound_to(call))).text == "unknown"
    (routed,) = [event for event in call.events if isinstance(event, Routed)]
    assert routed == (routed.at, "main", ("unknown", "able"), (("unable", reason),))
    assert unable.engine.requests == []
    assert engines(router.route(HELLO).order) == ["unable", "unknown", "able"]


def test_tools_that_are_not_to_be_called_are_no_hindrance():
    request = Request(messages=HELLO.messages, tools=TOOLS.tools, tool_choice="none")
    assert engines(router_of(leg("unable", NONE)).route(request).order) == ["unable"]


def test_engine_may_say_itself_what_it_can():
    own = Scripted("a", name="own", capabilities=NONE)
    assert engines(router_of(own, leg("other")).route(TOOLS).order) == ["other"]
    assert engines(router_of(Leg(own, capabilities=ALL)).route(TOOLS).order) == ["own"]


def test_tags_of_the_run_choose_among_engines_that_have_them():
    router = router_of(leg("eu", tags={"region": "eu"}), leg("both", tags={"region": ("eu", "us")}), leg("any"))
    shown = route(router, HELLO, tags={"region": "us"})
    assert engines(shown.order) == ["both", "any"]
    assert shown.refused == (("eu", "its tag 'region' is 'eu', that of the run 'us'"),)
    assert engines(route(router, HELLO).order) == ["eu", "both", "any"]
    assert engines(route(router, HELLO, tags={"user": "x"}).order) == ["eu", "both", "any"]
    assert engines(route(router, HELLO, tags={"region": ["eu"]}).order) == ["any"]  # which is no key of a mapping


def test_many_values_of_a_tag_are_not_all_kept():
    filters = Filters((leg("eu", tags={"tenant": "a"}), leg("any")))
    for i in range(2_000):
        able, _ = filters(HELLO, Call(tags={"tenant": i}))
        assert [one.name for one in able] == ["any"]
    assert len(filters._kinds) <= 256


# The context window


def windowed(*windows):
    return [leg(f"w{window}", Capabilities(context_window=window)) for window in windows]


def test_request_that_is_longer_than_a_window_goes_to_a_larger_one():
    router = router_of(*windowed(100, 5_000), leg("unknown"))
    shown = route(router, Request.of("word " * 1_000))
    assert engines(shown.order) == ["w5000", "unknown"]
    assert shown.refused == (("w100", "its window of 100 tokens is smaller than the request (1,000 tokens at least)"),)


def test_answer_belongs_into_the_window():
    request = Request(messages=Request.of("word " * 50).messages, max_tokens=60)
    (refused,) = router_of(*windowed(100, 110)).route(request).refused
    assert refused == (
        "w100",
        "its window of 100 tokens is smaller than the request (50 tokens at least, and 60 for the answer)",
    )
    assert engines(router_of(*windowed(100)).route("word " * 100).refused) == ["w100"]  # no room for a single token


def test_where_nobody_has_room_for_the_whole_answer_those_with_room_for_the_prompt_are_asked():
    request = Request(messages=Request.of("word " * 50).messages, max_tokens=1_000)
    route = router_of(*windowed(40, 100)).route(request)
    assert engines(route.order) == ["w100"]
    assert engines(route.refused) == ["w40"]


@given(st.text(max_size=300), st.integers(1, 200), st.none() | st.integers(1, 200))
def test_quick_look_at_the_length_never_misses_what_counting_finds(text, window, max_tokens):
    request = Request(messages=Request.of(text).messages, max_tokens=max_tokens)
    able, _ = Filters(tuple(windowed(window, 10_000)))(request, Call())
    assert len(able) == 1 + (len(text.split()) + (max_tokens or 1) <= window)


def test_short_requests_are_not_counted():
    counted = []

    class Text(str):
        __slots__ = ()

        def split(self, *args):
            counted.append(self)
            return super().split(*args)

    filters = Filters(tuple(windowed(100)))
    filters(Request.of(Message.user(Text("hello"))), Call())
    assert counted == []
    filters(Request.of(Message.user(Text("hello " * 50))), Call())
    assert counted


# Adapters and money


def test_engine_that_knows_its_adapters_takes_only_those():
    with_one, without, unknown = leg("with"), leg("without"), leg("unknown")
    with_one.engine.adapters, without.engine.adapters = {"german": None}, {}
    request = Request(messages=HELLO.messages, adapter="german")
    router = router_of(with_one, without, unknown)
    assert engines(router.route(request).order) == ["with", "unknown"]
    assert router.route(request).refused == (("without", "it has no adapter 'german'"),)
    without.engine.adapters["german"] = None  # loaded while it runs, and known at once
    assert engines(router.route(request).order) == ["with", "without", "unknown"]


def test_engine_whose_price_is_over_the_budget_is_not_asked():
    prices = PriceTable({"dear": {"input": "1000", "output": "1"}, "cheap": {"input": "1", "output": "1"}})
    router = router_of(*(Leg(Scripted("a", name=name, model=name)) for name in ("dear", "cheap", "unpriced")))
    request = Request.of("word " * 1_000)
    shown = route(router, request, prices=prices, budget_usd=Decimal("0.5"))
    assert engines(shown.order) == ["cheap", "unpriced"]
    ((engine, reason),) = shown.refused
    assert engine == "dear"
    assert "may cost up to 1.671001 USD" in reason
    assert "0.5 USD is left" in reason
    assert engines(route(router, request, prices=prices).order) == ["dear", "cheap", "unpriced"]


# When nobody can


async def nobody(legs, request, **call):
    router = router_of(*legs)
    with pytest.raises(errors.LlmopsError) as raised:
        await router.agenerate(request.bound_to(Call(**call)))
    with pytest.raises(type(raised.value)):
        async for _ in router.astream(request.bound_to(Call(**call))):
            pass
    assert router.route(request.bound_to(Call(**call))).order == ()
    return raised.value


async def test_nobody_can():
    tagged = leg("us", tags={"region": "us"})
    error = await nobody([leg("blind", NONE), tagged], IMAGE, tags={"region": "eu"})
    assert type(error) is errors.UnsupportedError
    assert str(error) == (
        "no engine of 'main' can take the request (blind: it reads no images; "
        "us: its tag 'region' is 'us', that of the run 'eu')"
    )


async def test_nobody_has_the_room():
    error = await nobody([*windowed(100, 200), leg("unable", NONE)], Request(**_fields("word " * 500)))
    assert type(error) is errors.ContextLengthError
    assert (error.tokens, error.window) == (500, 200)
    assert "w100: its window of 100 tokens" in str(error)
    assert "unable: it has no tools" in str(error)


def _fields(text):
    return {"messages": Request.of(text).messages, "tools": TOOLS.tools}


async def test_nobody_is_cheap_enough():
    prices = PriceTable({"scripted": {"input": "1000", "output": "1"}})
    error = await nobody(
        [leg("dear"), *windowed(5)], Request.of("word " * 500), prices=prices, budget_usd=Decimal("0.1")
    )
    assert type(error) is errors.BudgetExceeded
    assert (error.budget_usd, error.spent_usd) == (Decimal("0.1"), 0)


async def test_outer_router_goes_on_where_an_inner_one_has_nobody():
    inner = Router([leg("us", tags={"region": "us"})], name="inner")
    outer = Router([inner, leg("any")], strategy="priority")
    call = Call(tags={"region": "eu"})
    assert (await outer.agenerate(HELLO.bound_to(call))).text == "any"


@pytest.mark.parametrize(
    ("inner", "expected"),
    [
        ((NONE, ALL), ALL),
        ((NONE, NONE), NONE),
        ((NONE, Capabilities()), Capabilities()),
        ((Capabilities(context_window=5), Capabilities(context_window=7)), Capabilities(context_window=7)),
        ((Capabilities(context_window=5), Capabilities()), Capabilities()),
    ],
)
def test_router_can_what_one_of_its_engines_can(inner, expected):
    assert router_of(*(leg(f"e{i}", one) for i, one in enumerate(inner))).capabilities == expected


def test_outer_router_knows_that_an_inner_one_cannot():
    outer = Router([router_of(leg("blind", NONE)), leg("seeing")], strategy="priority")
    assert engines(outer.route(IMAGE).refused) == ["main"]


def test_capabilities_that_are_none_are_refused():
    with pytest.raises(errors.ConfigurationError, match="capabilities of 'scripted'"):
        Leg(Scripted("a"), capabilities={"tools": False})


# What it costs


def test_requests_of_the_same_kind_get_the_same_tuple_and_ask_no_leg():
    legs = tuple(leg(f"e{i}", NONE if i % 2 else ALL) for i in range(1_000))
    filters = Filters(legs)
    call = Call()
    assert filters(HELLO, call)[0] is legs
    able = filters(TOOLS, call)[0]
    assert len(able) == 500
    calls = 0

    def count(frame, event, arg):
        nonlocal calls
        calls += event == "call"

    sys.setprofile(count)
    try:
        again = filters(TOOLS, call)[0]
    finally:
        sys.setprofile(None)
    assert again is able
    assert calls < 10


def test_what_an_engine_learns_when_it_starts_is_seen_within_a_second():
    async def go():
        learning = Scripted("a", name="a", capabilities=Capabilities())
        filters = Filters((Leg(learning), leg("b")))
        seen = [filters(TOOLS, Call())[0]]
        learning._capabilities = NONE
        seen.append(filters(TOOLS, Call())[0])
        seen.append(filters(TOOLS, Call(clock=lambda: Call().started + 1.1))[0])
        return [[one.name for one in able] for able in seen]

    assert run_in_virtual_time(go()) == [["a", "b"], ["a", "b"], ["b"]]
