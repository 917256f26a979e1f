"""How long an engine takes to its first sign of an answer."""

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmops_sdk import errors
from llmops_sdk.engines import Scripted
from llmops_sdk.messages import Request
from llmops_sdk.routers import Router
from llmops_sdk.routers._pace import Pace
from llmops_sdk.virtual_time import run_in_virtual_time


def test_bad_news_count_at_once_and_good_news_slowly():
    pace = Pace()
    for now, took, expected in ((1.0, 0.1, 0.1), (2.0, 1.0, 1.0)):
        pace.began(now - took)
        pace.answered(now - took, now)
        assert pace.average_s == pytest.approx(expected)
    for second in range(3, 33):
        pace.began(second - 0.1)
        pace.answered(second - 0.1, second)
        assert 0.1 <= pace.average_s < 1.0
    assert pace.average_s == pytest.approx(0.1 + 0.9 * 0.0498, rel=0.01)  # e^-3 of the distance is left after 30 s


def test_what_was_learnt_is_forgotten_while_nobody_asks():
    pace = Pace()
    pace.began(0.0)
    pace.answered(0.0, 3.0)
    assert pace.expected_s(3.0) == 3.0
    assert pace.expected_s(33.0) == pytest.approx(3.0 * 0.3679, rel=0.001)
    assert pace.average_s == 3.0


def test_requests_that_wait_count_with_their_mean_age():
    pace = Pace()
    assert pace.expected_s(100.0) == 0.0
    pace.began(90.0)
    pace.began(98.0)
    assert pace.expected_s(100.0) == pytest.approx(6.0)
    pace.answered(90.0, 100.0)
    assert pace.expected_s(100.0) == 10.0
    pace.answered(98.0, 100.0)
    assert pace.waiting == 0


@pytest.mark.parametrize(("took", "expected"), [(0.001, 1.0), (5.0, 5.0)])
def test_request_that_came_to_nothing_would_have_taken_longer(took, expected):
    pace = Pace()
    pace.began(0.0)
    pace.answered(0.0, 1.0)
    pace.began(1.0)
    pace.gave_up(1.0, 1.0 + took)
    assert pace.average_s == expected


@given(st.lists(st.tuples(st.floats(0, 1e6), st.floats(0, 100)), max_size=50))
def test_nothing_is_left_when_nobody_waits(requests):
    pace = Pace()
    for started, _ in requests:
        pace.began(started)
    for started, took in requests:
        pace.answered(started, started + took)
    assert (pace.waiting, pace._begun) == (0, 0.0)
    assert pace.expected_s(2e6) <= 100 + 1e-6


def test_stream_is_measured_to_its_first_chunk_while_it_still_runs():
    async def go():
        router = Router([Scripted(["a", "b", "c"], name="a", chunk_delay_s=1)])
        (leg,) = router.legs
        stream = router.astream(Request.of("hello"))
        seen = [(leg.latency_s, leg.pace.waiting, leg.in_flight) async for _ in stream]
        return seen, leg.latency_s

    seen, latency_s = run_in_virtual_time(go())
    assert seen[0] == (1.0, 0, 1)
    assert latency_s == 1.0


@pytest.mark.parametrize("streamed", [False, True])
@pytest.mark.parametrize("answer", [errors.ServerError("x"), "late"])
def test_failed_and_cancelled_requests_wait_no_longer(streamed, answer):
    async def go():
        router = Router([Scripted(answer, name="a", delay_s=1)], retries=0, attempt_timeout_s=5)
        (leg,) = router.legs

        async def ask():
            if not streamed:
                return await router.agenerate(Request.of("hello"))
            return [chunk async for chunk in router.astream(Request.of("hello"))]

        task = asyncio.create_task(ask())
        await asyncio.sleep(0.5)
        assert leg.pace.waiting == 1
        if answer == "late":
            task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        return leg.pace.waiting, leg.latency_s

    assert run_in_virtual_time(go()) == (0, 0.5 if answer == "late" else 1.0)
