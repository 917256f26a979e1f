"""The router keeps going when engines do not."""

import asyncio
import dataclasses
import pickle
import time

import pytest

from llmops_sdk import errors
from llmops_sdk.calls import AttemptEnded, Call, Retried, Routed
from llmops_sdk.engines import Engine, Scripted
from llmops_sdk.messages import Choice, Message, PromptRef, Request, Response
from llmops_sdk.routers import Router

HELLO = Request.of("hello")


def routed(*engines, **options):
    return Router([*engines], **{"strategy": "priority", **options})


async def collect(router, call=None):
    request = Request(messages=HELLO.messages, call=call or Call())
    return [chunk async for chunk in router.astream(request)]


def joined(chunks):
    return "".join(chunk.text for chunk in chunks)


class Hangs(Engine):
    async def agenerate(self, request):
        await asyncio.sleep(30)
        return Response(choices=(Choice(text="late"),))


# Building


@pytest.mark.parametrize(
    ("engines", "options", "message"),
    [
        ([], {}, "needs engines"),
        ("embedded:", {}, "needs engines"),
        ([object()], {}, "no engine"),
        ([Scripted], {}, "is a class"),
        ([Engine()], {}, "neither"),
        ([Scripted("a", name="a"), Scripted("b", name="a")], {}, "give them names"),
        ([Scripted("a")], {"strategy": "latncy"}, "did you mean 'latency'"),
        ([Scripted("a")], {"strategy": object()}, "no strategy"),
        ([Scripted("a")], {"retries": -1}, "retries"),
        ([Scripted("a")], {"retries": True}, "retries"),
        ([Scripted("a")], {"attempt_timeout_s": 0}, "attempt_timeout_s"),
        ([Scripted("a")], {"on_stream_break": "maybe"}, "on_stream_break"),
        ([Scripted("a")], {"prices": {"m": 1}}, "`PriceTable`"),
        ([Scripted("a")], {"name": 3}, "`name`"),
    ],
)
def test_wrong_routers_are_refused_when_they_are_built(engines, options, message):
    with pytest.raises(errors.ConfigurationError, match=message):
        Router(engines, **options)


def test_engines_without_a_name_of_their_own_are_told_apart():
    router = routed(Scripted("a"), Scripted("b"), Scripted("c"))
    assert [engine.name for engine in router.engines] == ["scripted", "scripted-2", "scripted-3"]


# Falling over


@pytest.mark.parametrize(
    "error",
    [
        errors.EngineConnectionError("x"),
        errors.ServerError("x"),
        errors.RateLimitError("x"),
        errors.EngineTimeout("x"),
        errors.EngineDied("x"),
        errors.InvalidResponseError("x"),
        errors.AuthenticationError("x"),
        errors.NotFoundError("x"),
        errors.ContextLengthError("x"),
        errors.ContentFilteredError("x"),
        RuntimeError("not one of ours"),
    ],
)
async def test_next_engine_answers_when_one_fails(error):
    router = routed(Scripted(error), Scripted("b"))
    assert (await router.agenerate(HELLO)).text == "b"
    assert joined(await collect(routed(Scripted(error), Scripted("b")))) == "b"


async def test_bad_request_is_not_repeated_anywhere():
    other = Scripted("b")
    with pytest.raises(errors.BadRequestError):
        await routed(Scripted(errors.BadRequestError("x")), other).agenerate(HELLO)
    assert other.requests == []


async def test_every_engine_is_tried_before_the_router_gives_up():
    engines = [Scripted(errors.AuthenticationError(str(i)), name=f"e{i}") for i in range(5)]
    with pytest.raises(errors.AllEnginesFailed) as caught:
        await routed(*engines, retries=0).agenerate(HELLO)
    assert [attempt.engine for attempt in caught.value.attempts] == ["e0", "e1", "e2", "e3", "e4"]
    assert all(len(engine.requests) == 1 for engine in engines)
    with pytest.raises(errors.AllEnginesFailed):
        await collect(routed(*engines))


async def test_one_engine_is_retried_and_the_wait_is_recorded():
    engine = Scripted(errors.ServerError("x"), "b")
    call = Call()
    answer = await routed(engine).agenerate(Request(messages=HELLO.messages, call=call))
    assert answer.text == "b"
    assert len([event for event in call.events if isinstance(event, Retried)]) == 1
    with pytest.raises(errors.AllEnginesFailed) as caught:
        await routed(Scripted(errors.ServerError("x")), retries=0).agenerate(HELLO)
    assert len(caught.value.attempts) == 1


async def test_error_that_cannot_pass_is_not_retried_on_the_same_engine():
    engine = Scripted(errors.AuthenticationError("x"))
    with pytest.raises(errors.AllEnginesFailed):
        await routed(engine, retries=5).agenerate(HELLO)
    assert len(engine.requests) == 1


async def test_retry_after_is_waited_for_and_not_past_the_deadline():
    engine = Scripted(errors.RateLimitError("x", retry_after_s=0.05), "b")
    call = Call()
    await routed(engine).agenerate(Request(messages=HELLO.messages, call=call))
    (waited,) = [event for event in call.events if isinstance(event, Retried)]
    assert waited.delay_s == pytest.approx(0.05, abs=0.01)
    hurried = Request(messages=HELLO.messages, call=Call(deadline_s=1.0))
    with pytest.raises(errors.AllEnginesFailed, match="passes the deadline"):
        await routed(Scripted(errors.RateLimitError("x", retry_after_s=60))).agenerate(hurried)


async def test_hanging_engine_cannot_eat_the_whole_deadline():
    request = Request(messages=HELLO.messages, call=Call(deadline_s=0.4))
    started = time.perf_counter()
    assert (await routed(Hangs(), Scripted("b")).agenerate(request)).text == "b"
    assert time.perf_counter() - started < 10  # the engine hangs for 30 s
    call = Call(deadline_s=0.4)
    assert joined(await collect(routed(Hangs(), Scripted("b")), call)) == "b"


async def test_attempt_timeout_holds_without_a_deadline():
    router = routed(Hangs(), Scripted("b"), attempt_timeout_s=0.05)
    assert (await router.agenerate(HELLO)).text == "b"


async def test_engine_that_failed_a_moment_ago_is_asked_last():
    bad = Scripted(errors.ServerError("x"), name="bad")
    router = routed(bad, Scripted("b", name="good"))
    for _ in range(3):
        await router.agenerate(HELLO)
    assert len(bad.requests) == 1
    route = router.route("hello")
    assert [candidate.engine for candidate in route.order] == ["good", "bad"]
    assert "failed a moment ago" in route.order[1].reason


async def test_routers_nest():
    inner = Router([Scripted(errors.ServerError("x")), Scripted(errors.ServerError("y"))], retries=0, name="inner")
    call = Call()
    answer = await routed(inner, Scripted("b", name="b")).agenerate(Request(messages=HELLO.messages, call=call))
    assert answer.text == "b"
    assert [event.router for event in call.events if isinstance(event, Routed)] == ["router", "inner"]
    assert len([event for event in call.events if isinstance(event, AttemptEnded)]) == 3


def test_router_works_alone_and_closes_its_engines():
    closed = []

    class Closing(Scripted):
        async def aclose(self):
            closed.append(self.name)

    router = Router([Closing("a", name="a"), Closing("b", name="b")])
    assert router.generate("hi").text in "ab"
    assert joined(router.stream("hi")) in "ab"
    router.close()
    assert closed == ["a", "b"]


async def test_what_only_one_engine_cannot_do_is_asked_of_the_next_and_does_not_cool_the_first():
    blind, seeing = Scripted(errors.UnsupportedError("no images here")), Scripted("a cat")
    router = routed(blind, seeing)
    assert (await router.agenerate(Request.of("What is it?"))).text == "a cat"
    assert joined(await collect(router)) == "a cat"
    assert len(blind.requests) == 2
    with pytest.raises(errors.AllEnginesFailed, match="no images here"):
        await routed(blind).agenerate(Request.of("What is it?"))


async def test_cancelled_attempts_leave_nothing_in_flight():
    engine = Hangs()
    router = routed(engine, Scripted("b"))
    task = asyncio.create_task(router.agenerate(HELLO))
    await asyncio.sleep(0.01)
    assert router.legs[0].in_flight == 1
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert router.legs[0].in_flight == 0
    assert router.legs[0].breaker.failures == 0


def test_a_request_that_is_bound_to_a_run_is_the_same_in_every_field():
    prompt = PromptRef(name="p", version="3")
    given = {
        "messages": Request.of([Message.user("hello"), Message.assistant("He")]).messages,
        "temperature": 0.5,
        "top_p": 0.9,
        "max_tokens": 7,
        "stop": ("x",),
        "seed": 3,
        "n": 2,
        "tools": ({"type": "function", "function": {"name": "f"}},),
        "tool_choice": "none",
        "response_schema": {"type": "object"},
        "logprobs": 1,
        "adapter": "a",
        "continues": True,
        "extra": {"top_k": 1},
        "prompt": prompt,
    }
    assert given.keys() == {one.name for one in dataclasses.fields(Request)} - {"call", "traceparent"}
    request, call = Request(**given), Call()
    bound = request.bound_to(call)
    assert type(bound) is Request
    assert {name: getattr(bound, name) for name in given} == given
    assert bound.call is call
    assert request.call is None
    assert pickle.loads(pickle.dumps(bound)) == request
    with pytest.raises(dataclasses.FrozenInstanceError):
        bound.seed = 4


async def test_a_request_lets_go_of_a_run_that_has_ended():
    engine = Scripted("Hello", name="only")
    await Router([engine]).agenerate(HELLO)
    assert engine.requests[0].call is None  # or the record and the request would hold each other
    assert [chunk async for chunk in Router([engine]).astream(HELLO)]
    assert engine.requests[1].call is None
