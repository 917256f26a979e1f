"""The deadline holds whatever the engines do, and a cancelled caller leaves nothing behind."""

import asyncio

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llmops_sdk import errors
from llmops_sdk.calls import AttemptStarted, Call
from llmops_sdk.engines import Engine, Scripted
from llmops_sdk.messages import Choice, Request, Response
from llmops_sdk.routers import Breaker, Router
from llmops_sdk.testing import FaultServer, Hang
from llmops_sdk.virtual_time import run_in_virtual_time

TICK_S = 0.011  # what the router grants the run's own deadline to be over first, and a rounding error


class Timed(Engine):
    def __init__(self, name, *script):
        self.name, self.script, self.asked = name, script, 0

    async def agenerate(self, request):
        took_s, error = self.script[self.asked % len(self.script)]
        self.asked += 1
        await asyncio.sleep(took_s)
        if error is not None:
            raise error
        return Response(choices=(Choice(text=self.name),))


HANGS = (3600.0, None)


def asked(**options):
    return Request(messages=Request.of("hello").messages, call=Call(**options))


def run(engines, deadline_s, **options):
    async def main():
        request = asked(deadline_s=deadline_s)
        router = Router(engines, **{"strategy": "priority", **options})
        try:
            outcome = (await router.agenerate(request)).text
        except errors.LlmopsError as exc:
            outcome = exc
        return outcome, request.call.clock() - request.call.started, request.call.events, router

    return run_in_virtual_time(main())


ERRORS = st.sampled_from(
    [
        None,
        errors.ServerError("x"),
        errors.RateLimitError("x", retry_after_s=0.7),
        errors.RateLimitError("x"),
        errors.InvalidResponseError("x"),
        errors.AuthenticationError("x"),
        errors.ContextLengthError("x"),
    ]
)
SCRIPTS = st.lists(st.lists(st.tuples(st.floats(0.0, 5.0), ERRORS), min_size=1, max_size=3), min_size=1, max_size=4)


@settings(max_examples=150)
@given(SCRIPTS, st.floats(0.05, 6.0), st.sampled_from([None, 0.3, "p95"]), st.integers(0, 4))
def test_no_script_of_delays_and_errors_passes_the_deadline(scripts, deadline_s, hedge, retries):
    engines = [Timed(f"e{i}", *script) for i, script in enumerate(scripts)]
    outcome, took_s, _, router = run(engines, deadline_s, hedge=hedge, retries=retries)
    assert took_s <= deadline_s + TICK_S
    assert isinstance(outcome, (str, errors.LlmopsError))
    assert [leg.in_flight for leg in router.legs] == [0] * len(engines)


def test_a_hung_primary_leaves_time_for_the_others():
    outcome, took_s, events, _ = run([Timed("a", HANGS), Timed("b", HANGS), Timed("c", (1.0, None))], 9.0)
    assert (outcome, took_s) == ("c", pytest.approx(7.0))
    begun = [event.at - events[0].at for event in events if isinstance(event, AttemptStarted)]
    assert begun == pytest.approx([0.0, 3.0, 6.0])


def test_an_engine_gets_the_time_of_half_of_its_answers_whatever_its_share():
    async def main():
        slow = Timed("a", (2.0, None))
        router = Router([slow, Timed("b", HANGS), Timed("c", HANGS)], strategy="priority")
        for _ in range(20):
            await router.legs[0].generate(asked(), Call())
        return (await router.agenerate(asked(deadline_s=3.0))).text

    assert run_in_virtual_time(main()) == "a"


def test_when_all_hang_the_error_says_so_within_the_deadline():
    outcome, took_s, *_ = run([Timed("a", HANGS), Timed("b", HANGS)], 4.0)
    assert isinstance(outcome, errors.AllEnginesFailed)
    assert [type(attempt.error) for attempt in outcome.attempts] == [errors.EngineTimeout] * 2
    assert took_s <= 4.0 + TICK_S


def test_nobody_is_asked_when_the_deadline_is_over():
    async def main():
        engine = Timed("a", (0.0, None))
        request = asked(deadline_s=1.0)
        await asyncio.sleep(1.5)
        with pytest.raises(errors.DeadlineExceeded):
            await Router([engine]).agenerate(request)
        return engine.asked

    assert run_in_virtual_time(main()) == 0


def test_a_router_among_the_engines_is_held_to_its_share():
    async def main():
        inner = Router([Timed("x", HANGS)], name="inner", retries=0)
        router = Router([inner, Timed("b", (0.5, None))], strategy="priority", attempt_timeout_s=1.0)
        request = asked()
        text = (await router.agenerate(request)).text
        return text, request.call.clock() - request.call.started

    assert run_in_virtual_time(main()) == ("b", pytest.approx(1.5))


async def test_cancelling_the_caller_hangs_up_upstream_at_once_and_frees_slot_and_probe():
    async with FaultServer(Hang()) as server:
        engine = Engine.open(server.url, model="m", api_key="k")
        async with Router([engine], breaker=Breaker(failures=1, open_s=0.001, most_open_s=0.001)) as router:
            (leg,) = router.legs
            leg.breaker.failed(leg.breaker.begin(0.0), 0.0, "ServerError")  # so that the next request is a probe
            task = asyncio.create_task(router.agenerate(asked()))
            await server.auntil(lambda: server.answering == 1)
            assert "a probe is under way" in leg.breaker.refusal(1e9)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            assert leg.in_flight == 0
            assert leg.breaker.refusal(1e9) is None
            await server.auntil(lambda: server.disconnects == 1 and server.answering == 0)


async def test_a_server_that_hangs_before_its_headers_is_left_for_one_that_answers():
    async with FaultServer(Hang()) as hung, FaultServer(500) as broken, FaultServer("fine") as good:
        engines = [Engine.open(server.url, model="m", api_key="k") for server in (hung, broken, good)]
        async with Router(engines, strategy="priority", attempt_timeout_s=0.1) as router:
            assert (await router.agenerate(asked(deadline_s=10.0))).text == "fine"
            await hung.auntil(lambda: hung.answering == 0)


def test_work_for_others_goes_by_the_deadline_that_it_was_given():
    async def main():
        engine = Scripted("late")
        call = Call(deadline_s=4)
        await asyncio.sleep(5)
        with pytest.raises(errors.DeadlineExceeded):
            await Router([engine]).agenerate(Request.of("hello").bound_to(call.apart(lambda event, call: None)))
        return engine.requests

    assert run_in_virtual_time(main()) == []
