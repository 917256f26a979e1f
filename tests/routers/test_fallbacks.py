"""Where a request goes when an engine has failed."""

import asyncio

import pytest

from llmops_sdk import errors
from llmops_sdk.calls import AttemptStarted, Call
from llmops_sdk.engines import Scripted
from llmops_sdk.messages import Request
from llmops_sdk.protocols import Capabilities
from llmops_sdk.routers import Leg, Router
from llmops_sdk.virtual_time import run_in_virtual_time


def failing(name, error=None, *, window=None, provider=None):
    engine = Scripted(error or errors.ServerError("down"), name=name)
    if provider is not None:
        engine.provider = provider
    return Leg(engine, capabilities=Capabilities(context_window=window))


async def order_of(legs, **options):
    """The engines in the order in which they were asked; all fail."""
    request = Request(messages=Request.of("hello").messages, call=Call())
    router = Router(legs, strategy="priority", retries=0, **options)
    with pytest.raises(errors.AllEnginesFailed) as caught:
        await router.agenerate(request)
    names = [event.engine for event in request.call.events if isinstance(event, AttemptStarted)]
    assert [attempt.engine for attempt in caught.value.attempts] == names
    return names, str(caught.value)


async def test_fallbacks_come_before_any_other_and_lead_on():
    legs = [failing(name) for name in ("small", "medium", "large", "huge", "other")]
    names, _ = await order_of(legs, fallbacks={"small": ["large", "other"], "large": ["huge"]})
    assert names == ["small", "large", "huge", "other", "medium"]


async def test_an_engine_that_did_not_fail_has_no_say():
    names, _ = await order_of([failing(name) for name in "abc"], fallbacks={"b": ["c"], "c": []})
    assert names == ["a", "b", "c"]


async def test_what_was_too_long_goes_to_larger_windows_first_and_not_to_smaller_ones():
    too_long = errors.ContextLengthError("too long", tokens=9000, window=8192)
    legs = [
        failing("a", too_long, window=8192),
        failing("unknown"),
        failing("small", window=4096),
        failing("large", window=128_000),
    ]
    names, message = await order_of(legs)
    assert names == ["a", "large", "unknown"]
    assert "small was not asked: its window of 4096 tokens is smaller than the 9000 of the request" in message


async def test_without_a_count_of_tokens_the_next_window_must_be_larger():
    legs = [
        failing("a", errors.ContextLengthError("too long"), window=8192),
        failing("same", window=8192),
        failing("large", window=8193),
    ]
    names, message = await order_of(legs)
    assert names == ["a", "large"]
    assert "no larger than that of 'a'" in message


async def test_fallbacks_hold_among_those_that_can_take_it():
    too_long = errors.ContextLengthError("too long", tokens=9000)
    legs = [failing("a", too_long, window=8192), *(failing(name, window=32_000) for name in ("b", "c"))]
    names, _ = await order_of(legs, fallbacks={"a": ["c"]})
    assert names == ["a", "c", "b"]


def test_an_engine_that_has_gone_quiet_comes_after_one_that_answers():
    async def main():
        failing_first = Scripted(errors.ServerError("x"), name="a")
        quiet = Scripted("quiet", name="quiet", delay_s=3600)
        lively = Scripted("lively", name="lively", delay_s=0.1)
        router = Router([failing_first, quiet, lively], strategy="priority")
        for _ in range(5):
            await router.legs[2].generate(Request.of("hello"), Call())
        hanging = asyncio.create_task(router.legs[1].generate(Request.of("hello"), Call()))
        await asyncio.sleep(0.3)
        text = (await router.agenerate(Request.of("hello"))).text
        hanging.cancel()
        await asyncio.wait((hanging,))
        return text

    assert run_in_virtual_time(main()) == "lively"


async def test_what_was_filtered_goes_to_another_provider_first():
    filtered = errors.ContentFilteredError("no")
    legs = [
        failing("a", filtered, provider="one"),
        failing("b", provider="one"),
        failing("c", provider="two"),
    ]
    assert (await order_of(legs))[0] == ["a", "c", "b"]


async def test_too_long_for_everybody_says_so():
    too_long = errors.ContextLengthError("too long", tokens=200_000)
    names, message = await order_of([failing("a", too_long), failing("b", window=128_000)])
    assert names == ["a"]
    assert "200000" in message


@pytest.mark.parametrize(
    ("fallbacks", "message"),
    [
        ({"a": ["b"], "b": ["c"], "c": ["a"]}, "'a' -> 'b' -> 'c' -> 'a'"),
        ({"a": ["a"]}, "'a' -> 'a'"),
        ({"c": ["a"], "a": ["b", "d"], "d": ["b", "a"]}, "'a' -> 'd' -> 'a'"),
        ({"a": ["e"]}, "names 'e', and the engines of the router are a, b, c, d"),
        ({"x": ["a"]}, "names 'x'"),
        ({"a": "b"}, r"is like \{'small'"),
        (["a"], r"is like \{'small'"),
        ({"a": None}, r"is like \{'small'"),
        ({"a": [["b"]]}, r"names \['b'\]"),
    ],
)
def test_wrong_fallbacks_are_refused_when_the_router_is_built(fallbacks, message):
    with pytest.raises(errors.ConfigurationError, match=message):
        Router([Scripted("x", name=name) for name in "abcd"], fallbacks=fallbacks)


def test_ways_that_meet_are_no_circle():
    Router([Scripted("x", name=name) for name in "abcd"], fallbacks={"a": ["b", "c"], "b": ["d"], "c": ["d"]})


def test_a_name_that_is_nearly_right_is_guessed():
    with pytest.raises(errors.ConfigurationError, match="did you mean 'small'"):
        Router([Scripted("x", name="small"), Scripted("y", name="large")], fallbacks={"smal": ["large"]})
