"""When a core is started again."""

from llmops_sdk.engines._vllm_restart import Restarts


class Clock:
    def __init__(self):
        self.now = 0.0

    def __call__(self):
        return self.now


def test_delays_grow_to_half_a_minute_and_end():
    restarts = Restarts(10)
    assert [restarts.delay() for _ in range(11)] == [0, 0.5, 1, 2, 4, 8, 16, 30, 30, 30, None]


def test_none_are_made_unless_asked_for():
    assert Restarts(0).delay() is None


def test_a_minute_of_health_begins_a_new_row():
    clock = Clock()
    restarts = Restarts(2, clock)
    assert [restarts.delay(), restarts.delay(), restarts.delay()] == [0, 0.5, None]
    for lived, expected in ((59.0, None), (60.0, 0.0)):
        restarts.came_up()
        clock.now += lived
        restarts.went_down()
        assert restarts.delay() == expected
