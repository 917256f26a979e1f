"""The limit of concurrent requests that finds itself."""

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmops_sdk import errors
from llmops_sdk.calls import Call
from llmops_sdk.engines import Engine, Scripted
from llmops_sdk.messages import Choice, RateLimit, Request, Response
from llmops_sdk.routers import Adaptive, Leg, Limit, Router
from llmops_sdk.routers._limits.adaptive import Adapting
from llmops_sdk.routers._limits.meters import CONCURRENT, Meter
from llmops_sdk.virtual_time import run_in_virtual_time

HELLO = Request.of("hello")
BUSY = errors.RateLimitError("slow down")


def asked(call=None):
    return Request(messages=HELLO.messages, call=call or Call())


def adapting(**options):
    return Adapting(Adaptive(**options), Meter(name="a", quantity=CONCURRENT, amount=1, of="x"))


class Provider(Engine):
    """Answers after a second; refuses what is over its `places`."""

    def __init__(self, places, name="provider"):
        self.places = places
        self.name = name
        self.under_way = 0
        self.refused = 0
        self.answered = 0

    async def agenerate(self, request):
        if self.under_way >= self.places:
            self.refused += 1
            raise errors.RateLimitError("busy", retry_after_s=0.1)
        self.under_way += 1
        try:
            await asyncio.sleep(1)
        finally:
            self.under_way -= 1
        self.answered += 1
        return Response(choices=(Choice(text="done"),))


@pytest.mark.parametrize(
    "wrong",
    [
        {"initial": 0},
        {"least": 20},
        {"most": 4},
        {"initial": 2.5},
        {"least": None},
        {"backoff": 1.0},
        {"backoff": 0.0},
        {"backoff": float("nan")},
    ],
)
def test_wrong_ones_are_refused_when_they_are_built(wrong):
    with pytest.raises(errors.ConfigurationError):
        Adaptive(**wrong)


def test_a_router_has_none_and_a_leg_one():
    with pytest.raises(errors.ConfigurationError, match="belongs to a leg"):
        Router([Scripted("a")], limits=Adaptive())
    with pytest.raises(errors.ConfigurationError, match="two `Adaptive`"):
        Router([Leg(Scripted("a"), limits=[Adaptive(), Adaptive()])])


def test_it_grows_by_one_for_a_window_of_answers_while_it_is_used():
    limit = adapting(initial=10)
    for _ in range(11):
        limit.ended(0.0, 1.0, 10, None, None)
    assert limit.meter.amount == 11
    for _ in range(100):
        limit.ended(0.0, 1.0, 3, None, None)
    assert limit.meter.amount == 11


def test_it_falls_once_for_all_that_were_under_way():
    limit = adapting(initial=16)
    for _ in range(16):
        limit.ended(0.0, 1.0, 16, BUSY, None)
    assert limit.meter.amount == 8
    limit.ended(1.5, 2.0, 8, BUSY, None)
    assert limit.meter.amount == 4


def test_other_failures_do_not_move_it():
    limit = adapting(initial=16)
    for error in (errors.ServerError("down"), asyncio.CancelledError()):
        limit.ended(0.0, 1.0, 16, error, None)
    assert limit.meter.amount == 16


def test_it_does_not_grow_where_the_provider_says_that_little_is_left():
    limit = adapting(initial=4)
    for _ in range(40):
        limit.ended(0.0, 1.0, 4, None, RateLimit(remaining_requests=2))
    assert limit.meter.amount == 4


@given(st.lists(st.tuples(st.floats(0, 5), st.integers(1, 50), st.booleans())), st.integers(1, 5), st.integers(5, 30))
def test_it_stays_between_least_and_most(events, least, most):
    limit = adapting(initial=5, least=least, most=most)
    now = 0.0
    for pause, used, refused in events:
        now += pause
        limit.ended(now - 1, now, used, BUSY if refused else None, None)
        assert least <= limit.meter.amount <= most


def test_it_finds_what_a_provider_can_take():
    async def main():
        provider = Provider(20)
        router = Router([Leg(provider, limits=Adaptive(initial=2))], retries=10, limit_wait_s=10_000)
        await asyncio.gather(*(router.agenerate(asked()) for _ in range(1_500)))
        spent = asyncio.get_running_loop().time() - 1_000
        assert provider.answered == 1_500
        assert spent < 1.7 * 1_500 / 20  # a sawtooth between half and all reaches three quarters
        assert provider.refused < 1_500 / 20
        return provider

    run_in_virtual_time(main())


def test_two_routers_share_a_provider_about_evenly():
    async def main():
        provider = Provider(20)
        routers = [
            Router([Leg(provider, limits=Adaptive(initial=first))], retries=50, limit_wait_s=100_000)
            for first in (2, 18)
        ]
        tasks = [asyncio.ensure_future(router.agenerate(asked())) for router in routers for _ in range(1_500)]
        await asyncio.sleep(100)
        done = [sum(task.done() for task in tasks[:1_500]), sum(task.done() for task in tasks[1_500:])]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        assert min(done) > 0.6 * max(done)

    run_in_virtual_time(main())


def test_it_stands_beside_other_limits():
    async def main():
        provider = Provider(100)
        leg = Leg(provider, limits=[Adaptive(initial=3), Limit(requests_per_minute=5)])
        router = Router([leg])
        tasks = [asyncio.ensure_future(router.agenerate(asked())) for _ in range(8)]
        await asyncio.sleep(0.5)
        assert provider.under_way == 3
        await asyncio.sleep(9)
        assert provider.answered == 5
        await asyncio.gather(*tasks)

    run_in_virtual_time(main())
