"""How quick an engine is beside the others of its router."""

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmops_sdk import errors
from llmops_sdk.engines import Scripted
from llmops_sdk.messages import Request, Usage
from llmops_sdk.routers import Router
from llmops_sdk.routers._legs.pace import Pace, Usual
from llmops_sdk.virtual_time import run_in_virtual_time


def paces(count):
    made = [Pace() for _ in range(count)]
    for pace in made:
        pace.usual = made[0].usual
    return made


def learnt(times, *, rounds=200, tokens=None, streamed=False):
    """Engines that have answered so many times each, in turn, in the times given."""
    made = paces(len(times))
    for _ in range(rounds):
        for pace, took in zip(made, times, strict=True):
            if streamed:
                pace.heard(took)
            else:
                pace.answered(took, tokens)
    return made


@pytest.mark.parametrize("options", [{}, {"tokens": 100}, {"streamed": True}])
def test_twice_as_quick_counts_as_quicker_and_hardly_different_as_equal(options):
    quick, slow = learnt([1.0, 2.0], **options)
    assert quick.slowness < 1.0 < slow.slowness
    assert 1.5 < slow.slowness / quick.slowness < 2.0
    one, other = learnt([1.0, 1.005], **options)
    assert one.slowness == other.slowness == 1.0
    assert (quick.average_s, slow.average_s) == (pytest.approx(1.0), pytest.approx(2.0))


def test_one_that_was_never_asked_counts_as_usual():
    quick, slow, unknown = paces(3)
    for _ in range(100):
        quick.answered(1.0)
        slow.answered(3.0)
    assert quick.slowness < unknown.slowness == 1.0 < slow.slowness
    assert unknown.average_s == 0.0


def test_first_answers_move_it_little():
    quick, slow = learnt([1.0, 3.0], rounds=1)
    assert 0.9 < quick.slowness <= slow.slowness < 1.1


def test_streams_and_whole_answers_can_be_mixed():
    some, others = paces(2)
    for _ in range(200):  # a first chunk comes a hundred times as soon, from both
        some.heard(0.01)
        some.answered(1.0, 100)
        others.answered(1.0, 100)
        others.answered(1.0)
        others.heard(0.01)
    assert some.slowness == pytest.approx(others.slowness, abs=0.05)


@given(st.floats(0.1, 10), st.integers(1, 10_000))
def test_time_is_measured_by_the_tokens(factor, tokens):
    one, other = paces(2)
    for _ in range(100):
        one.answered(tokens * 0.01, tokens)
        other.answered(tokens * 0.01 * factor, tokens)
    if abs(factor - 1) > 0.1:
        assert (one.slowness < other.slowness) == (factor > 1)


def test_one_straggler_counts_as_four_answers_at_most():
    pace, _ = learnt([1.0, 1.0])
    pace.answered(1_000.0)
    assert pace.slowness < 1.1


def test_quick_failures_are_no_good_news():
    bad, good = learnt([1.0, 1.0])
    for _ in range(20):
        bad.gave_up(0.001, streamed=False, failed=True)
        good.gave_up(0.001, streamed=False, failed=False)  # whoever asked went away
    assert (bad.slowness > 2.5, good.slowness) == (True, 1.0)
    for _ in range(100):
        bad.answered(1.0)
    assert bad.slowness == pytest.approx(1.0, abs=0.05)


@pytest.mark.parametrize("streamed", [False, True])
def test_one_that_comes_to_nothing_late_was_slow(streamed):
    pace, _ = learnt([1.0, 1.0], streamed=streamed)
    for _ in range(10):
        pace.gave_up(3.0, streamed=streamed, failed=False)
    assert pace.slowness > 1.15


def test_what_was_learnt_fades_with_time():
    _, slow = learnt([1.0, 4.0])
    slow.gave_up(0.0, streamed=False, failed=True)
    before = slow.slowness
    slow.forget(300.0)
    assert 1.0 < slow.slowness < before
    slow.forget(10_000.0)
    assert slow.slowness == 1.0


def test_answers_that_take_no_time_divide_nothing():
    one, other = learnt([0.0, 0.0], tokens=0)
    assert one.slowness == other.slowness == 1.0
    assert Usual().length(7) == 1.0


@given(st.lists(st.tuples(st.sampled_from("ahg"), st.floats(0, 1e6), st.integers(0, 10**6))))
def test_slowness_is_always_a_number_to_multiply_with(told):
    pace = Pace()
    for what, took, tokens in told:
        if what == "a":
            pace.answered(took, tokens)
        elif what == "h":
            pace.heard(took)
        else:
            pace.gave_up(took, streamed=tokens % 2 == 0, failed=tokens % 3 == 0)
        assert 0.01 <= pace.slowness < 1e9


def test_stream_is_measured_to_its_first_chunk_while_it_still_runs():
    async def go():
        router = Router([Scripted(["a", "b", "c"], name="a", chunk_delay_s=1)])
        (leg,) = router.legs
        stream = router.astream(Request.of("hello"))
        seen = [(leg.latency_s, leg.in_flight) async for _ in stream]
        return seen, leg.latency_s

    seen, latency_s = run_in_virtual_time(go())
    assert seen[0] == (1.0, 1)
    assert latency_s == 1.0


@pytest.mark.parametrize("answer", [errors.ServerError("x"), errors.BadRequestError("x"), "late"])
@pytest.mark.parametrize("streamed", [False, True])
def test_only_failures_of_the_engine_count(streamed, answer):
    async def go():
        router = Router([Scripted(answer, name="a", delay_s=1)], retries=0)
        (leg,) = router.legs

        async def ask():
            if not streamed:
                return await router.agenerate(Request.of("hello"))
            return [chunk async for chunk in router.astream(Request.of("hello"))]

        task = asyncio.create_task(ask())
        await asyncio.sleep(0.5)
        if answer == "late":
            task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        return leg.pace.slowness > 1.0, leg.latency_s

    assert run_in_virtual_time(go()) == (isinstance(answer, errors.ServerError), 0.0)


def test_legs_of_a_router_measure_by_the_same_and_by_the_tokens_of_their_answers():
    async def go():
        short = Scripted("a", name="short", delay_s=1, usage=Usage(output_tokens=10))
        long = Scripted("a", name="long", delay_s=10, usage=Usage(output_tokens=100))
        router = Router([short, long], strategy="round_robin")
        for _ in range(200):
            await router.agenerate(Request.of("hello"))
        return router.legs

    short, long = run_in_virtual_time(go())
    assert short.pace.usual is long.pace.usual
    assert short.pace.usual.tokens == pytest.approx(55, rel=0.02)
    assert short.pace.slowness == pytest.approx(long.pace.slowness, abs=0.1)


async def test_a_reload_keeps_what_is_usual():
    router = Router([Scripted("a", name="a"), Scripted("b", name="b")])
    await router.agenerate(Request.of("hello"))
    usual = router.legs[0].pace.usual
    router.reload(Router([Scripted("new", name="new"), Scripted("b", name="b")]))
    assert [leg.pace.usual for leg in router.legs] == [usual, usual]
