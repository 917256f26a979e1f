from __future__ import annotations

import pytest

from llmops_sdk.calls import AttemptEnded, Call, Ended, GuardChecked, Started
from llmops_sdk.errors import ConfigurationError
from llmops_sdk.tracing import memory


def test_it_keeps_calls_and_events_in_order(runs):
    seen = memory()
    first, second = runs.plain(Call(hooks=(seen,))), runs.failed_over(Call(hooks=(seen,)))
    assert seen.calls == [first, second]
    assert seen.events == first.events + second.events
    assert [event.guard for event in seen.of(GuardChecked)] == ["pii", "secrets"]
    assert [event.number for event in seen.of(AttemptEnded)] == [1, 1, 2]


def test_the_oldest_go_first():
    seen = memory(maxlen=3)
    calls = [Call(hooks=(seen,)) for _ in range(5)]
    for call in calls:
        call.record(Started(call.started, "support", streamed=False))
    for call in calls[:3]:
        call.record(Ended(call.started, "ok", None))
    assert len(seen.calls) == len(seen.events) == 3
    assert [type(event) for event in seen.events] == [Ended, Ended, Ended]
    seen.clear()
    assert seen.calls == seen.events == []


@pytest.mark.parametrize("maxlen", [0, True, "10", 1.5])
def test_no_room_is_refused(maxlen):
    with pytest.raises(ConfigurationError, match="at least 1"):
        memory(maxlen=maxlen)
