"""Who may wait."""

import contextlib

import pytest

from llmops_sdk.engines._vllm_admission import Admission
from llmops_sdk.errors import RateLimitError


def place(admission, answers=1, places=2):
    return admission.place(answers, places, engine="vllm", model="m")


def test_places_are_given_back():
    admission = Admission(0)
    for _ in range(5):
        with place(admission), place(admission):
            assert admission.asked == 2
    assert admission.asked == 0


def test_who_may_not_wait_is_told_so():
    admission = Admission(1)
    with place(admission):
        pass
    with contextlib.ExitStack() as held:
        for _ in range(3):
            held.enter_context(place(admission))
        with pytest.raises(RateLimitError, match=r"1 answers wait.*works on 2 at once.*max_waiting is 1") as caught:
            held.enter_context(place(admission))
    assert caught.value.retryable
    assert caught.value.retry_after_s >= 0.1
    assert admission.asked == 0


def test_a_failed_request_gives_its_place_back():
    admission = Admission(0)
    with pytest.raises(ZeroDivisionError), place(admission):
        raise ZeroDivisionError
    assert admission.asked == 0


def test_many_answers_are_let_in_where_nothing_else_is():
    admission = Admission(0)
    with place(admission, answers=5), pytest.raises(RateLimitError), place(admission):
        pass


def test_without_a_limit_all_wait():
    admission = Admission(None)
    with place(admission, answers=1000), place(admission, answers=1000):
        assert admission.asked == 2000
