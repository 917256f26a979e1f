"""What is worth repeating is repeated, after the right wait; what is not is not."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmops_sdk import errors
from llmops_sdk.calls import Call, Retried
from llmops_sdk.engines import Engine, Scripted
from llmops_sdk.messages import Request
from llmops_sdk.routers import Retries, Router
from llmops_sdk.testing import FaultServer, Raw
from llmops_sdk.virtual_time import run_in_virtual_time


def asked(**options):
    return Request(messages=Request.of("hello").messages, call=Call(**options))


def attempts_until_given_up(error, **options):
    """How often one engine that always fails is asked, and the waits between."""

    async def main():
        engine, request = Scripted(error, name="only"), asked()
        with pytest.raises(errors.LlmopsError) as caught:
            await Router([engine], **options).agenerate(request)
        waits = [event.delay_s for event in request.call.events if isinstance(event, Retried)]
        return len(engine.requests), waits, caught.value

    return run_in_virtual_time(main())


@pytest.mark.parametrize(
    ("error", "asked_times"),
    [
        (errors.ServerError("x"), 3),
        (errors.EngineConnectionError("x"), 3),
        (errors.EngineTimeout("x"), 3),
        (errors.EngineDied("x"), 3),
        (errors.RateLimitError("x"), 3),
        (errors.InvalidResponseError("x"), 2),
        (errors.AuthenticationError("x"), 1),
        (errors.PermissionDeniedError("x"), 1),
        (errors.NotFoundError("x"), 1),
        (errors.ContentFilteredError("x"), 1),
        (errors.ContextLengthError("x"), 1),
        (errors.UnsupportedError("x"), 1),
        (errors.BadRequestError("x"), 1),
    ],
)
def test_each_class_of_error_is_asked_again_as_often_as_can_help(error, asked_times):
    count, waits, raised = attempts_until_given_up(error)
    assert count == asked_times
    assert len(waits) == asked_times - 1
    assert isinstance(
        raised, errors.BadRequestError if type(error) is errors.BadRequestError else errors.AllEnginesFailed
    )


@pytest.mark.parametrize(
    ("retries", "error", "asked_times"),
    [
        (0, errors.ServerError("x"), 1),
        (5, errors.ServerError("x"), 6),
        ({errors.RateLimitError: 5, errors.ServerError: 1}, errors.RateLimitError("x"), 6),
        ({errors.RateLimitError: 5, errors.ServerError: 1}, errors.ServerError("x"), 2),
        ({errors.RateLimitError: 5, errors.ServerError: 1}, errors.EngineDied("x"), 3),
        ({errors.EngineError: 4}, errors.ServerError("x"), 5),
        ({errors.EngineConnectionError: 0}, errors.StreamInterrupted("x"), 1),
        ({errors.AuthenticationError: 2}, errors.AuthenticationError("x"), 3),
    ],
)
def test_people_decide_how_often(retries, error, asked_times):
    assert attempts_until_given_up(error, retries=retries)[0] == asked_times


async def test_never_means_that_nobody_else_is_asked_either():
    other = Scripted("b", name="other")
    router = Router(
        [Scripted(errors.ContentFilteredError("no"), name="first"), other],
        strategy="priority",
        retries=Retries(on={errors.ContentFilteredError: "never"}),
    )
    with pytest.raises(errors.ContentFilteredError):
        await router.agenerate(asked())
    assert other.requests == []


@given(st.floats(0.01, 5.0), st.floats(1.0, 20.0), st.integers(1, 40))
def test_waits_lie_within_the_bounds_of_full_jitter(first_s, factor, nth):
    retries = Retries(first_s=first_s, most_s=first_s * factor)
    assert 0.0 <= retries.back_off_s(nth) <= min(first_s * 2.0 ** (nth - 1), retries.most_s)


def test_waits_grow_and_differ():
    retries = Retries(first_s=0.1, most_s=10.0)
    means = [sum(retries.back_off_s(nth) for _ in range(500)) / 500 for nth in (1, 3, 5, 12)]
    assert means == pytest.approx([0.05, 0.2, 0.8, 5.0], rel=0.25)


def test_other_engines_are_asked_at_once_and_the_first_wait_is_a_first_wait():
    async def main():
        request = asked()
        engines = [Scripted(errors.ServerError("x"), name=f"e{i}") for i in range(3)]
        with pytest.raises(errors.AllEnginesFailed):
            await Router(engines, strategy="priority", retries=Retries(times=3, first_s=1.0)).agenerate(request)
        return [event for event in request.call.events if isinstance(event, Retried)]

    (retried,) = run_in_virtual_time(main())
    assert retried.engine == "e0"
    assert retried.delay_s <= 1.0


def test_the_engine_that_may_be_asked_first_is_asked_again_first():
    async def main():
        slow = Scripted(errors.RateLimitError("x", retry_after_s=30.0), "late", name="slow")
        quick = Scripted(errors.RateLimitError("x", retry_after_s=2.0), "soon", name="quick")
        request = asked()
        started = request.call.clock()
        text = (await Router([slow, quick], strategy="priority").agenerate(request)).text
        return text, request.call.clock() - started

    assert run_in_virtual_time(main()) == ("soon", pytest.approx(2.0))


def test_retry_after_is_waited_for_even_when_it_is_longer_than_any_wait_of_ours():
    _, waits, _ = attempts_until_given_up(errors.ServerError("x", retry_after_s=42.0), retries=1)
    assert waits == [42.0]


def test_attempts_say_who_failed_and_how_long_that_took_in_routers_among_the_engines_too():
    async def main():
        inner = Router(
            [Scripted(errors.ServerError("x"), name="x", delay_s=1.0), Scripted(errors.EngineDied("y"), name="y")],
            name="inner",
            strategy="priority",
            retries=0,
        )
        slow = Scripted(errors.InvalidResponseError("z"), name="z", delay_s=2.0)
        with pytest.raises(errors.AllEnginesFailed) as caught:
            await Router([inner, slow], strategy="priority", retries=0).agenerate(asked())
        return caught.value.attempts

    attempts = run_in_virtual_time(main())
    assert [(one.engine, type(one.error).__name__, one.duration_s) for one in attempts] == [
        ("inner/x", "ServerError", pytest.approx(1.0)),
        ("inner/y", "EngineDied", pytest.approx(0.0)),
        ("z", "InvalidResponseError", pytest.approx(2.0)),
    ]


async def test_garbage_from_a_real_socket_is_retried_elsewhere_and_kept_for_the_report():
    async with FaultServer(Raw(body=b"<garbage" * 200)) as bad, FaultServer("fine") as good:
        first = Engine.open(bad.url, model="m", api_key="k", name="bad")
        second = Engine.open(good.url, model="m", api_key="k", name="good")
        async with Router([first, second], strategy="priority") as router:
            assert (await router.agenerate(asked())).text == "fine"
        assert bad.request_count == 1
        only = Engine.open(bad.url, model="m", api_key="k", name="bad")
        async with Router([only], retries=0) as router:
            with pytest.raises(errors.AllEnginesFailed) as caught:
                await router.agenerate(asked())
    (attempt,) = caught.value.attempts
    assert isinstance(attempt.error, errors.InvalidResponseError)
    assert attempt.error.body == (b"<garbage" * 200)[:500]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"times": -1}, "0 or more"),
        ({"on": [errors.ServerError]}, "RateLimitError: 5"),
        ({"on": {ValueError: 1}}, "no error class"),
        ({"on": {"ServerError": 1}}, "no error class"),
        ({"on": {errors.ServerError: -1}}, "or 'never'"),
        ({"on": {errors.ServerError: "sometimes"}}, "or 'never'"),
        ({"first_s": 0}, "first_s"),
        ({"first_s": "1"}, "first_s"),
        ({"most_s": None}, "first_s"),
        ({"first_s": True}, "first_s"),
        ({"first_s": 2.0, "most_s": 1.0}, "first_s"),
        ({"most_s": float("inf")}, "most_s"),
    ],
)
def test_wrong_policies_are_refused_when_they_are_built(options, message):
    with pytest.raises(errors.ConfigurationError, match=message):
        Retries(**options)
