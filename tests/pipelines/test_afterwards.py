"""Feedback and tools: what is recorded on a run that has ended, and what hooks see of it."""

import asyncio
import gc
import math
import threading
import weakref

import pytest

from llmops_sdk import Pipeline, Scripted, tracing
from llmops_sdk.calls import Call, Ended, Evaluated, ToolExecuted
from llmops_sdk.errors import ConfigurationError
from llmops_sdk.messages import ToolCall

TOOL = ToolCall(id="1", name="weather", arguments='{"city": "Paris"}')


@pytest.fixture
def seen():
    return tracing.memory()


@pytest.fixture
def result(seen):
    return Pipeline("hi", Scripted("answer"), hooks=[seen]).run()


def test_hooks_get_feedback_after_the_end(result, seen):
    event = result.feedback(score=0.5, comment="so so", label="late", name="helpful")
    assert seen.events[-1] is event is result.call.events[-1]
    assert isinstance(seen.events[-2], Ended)
    assert event[1:] == ("helpful", 0.5, "late", "so so", "human", None)
    assert event.at >= seen.events[-2].at


@pytest.mark.parametrize(("given", "score"), [(True, 1.0), (False, 0.0), (3, 3.0), (-0.5, -0.5)])
def test_a_score_is_a_number_or_a_thumb(result, given, score):
    recorded = result.feedback(given).score
    assert recorded == score
    assert type(recorded) is float


def test_words_alone_are_feedback(result):
    assert result.feedback(comment="nice").score is None
    assert result.feedback(label="spam").label == "spam"


@pytest.mark.parametrize(
    "wrong",
    [
        {},
        {"score": "1"},
        {"score": math.nan},
        {"score": math.inf},
        {"score": 1, "comment": 1},
        {"label": 2},
        {"score": 1, "name": ""},
        {"score": 1, "by": "dog"},
    ],
)
def test_feedback_that_makes_no_sense_is_refused(result, wrong):
    before = len(result.call.events)
    with pytest.raises(ConfigurationError):
        result.feedback(**wrong)
    assert len(result.call.events) == before


def test_feedback_may_come_from_many_threads(result):
    threads = [threading.Thread(target=lambda: [result.feedback(score=1) for _ in range(100)]) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(isinstance(event, Evaluated) for event in result.call.events) == 800


def test_a_tool_is_recorded_with_its_result_and_times(result, seen):
    with result.call.executing(TOOL) as execution:
        execution.result = {"degrees": 21}
    event = seen.events[-1]
    assert isinstance(event, ToolExecuted)
    assert (event.tool_call, event.result, event.error) == (TOOL, {"degrees": 21}, None)
    assert event.started <= event.at


def test_a_tool_that_raises_is_recorded_and_raises_on(result, seen):
    with pytest.raises(KeyError), result.call.executing(TOOL) as execution:
        execution.result = "half"
        raise KeyError("city")
    assert isinstance(seen.events[-1].error, KeyError)
    assert seen.events[-1].result is None


async def test_a_tool_that_is_cancelled_is_recorded(seen):
    result = await Pipeline("hi", Scripted("answer"), hooks=[seen]).arun()

    async def work():
        with result.call.executing(TOOL):
            await asyncio.sleep(30)

    task = asyncio.ensure_future(work())
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert isinstance(seen.events[-1].error, asyncio.CancelledError)


def test_only_calls_of_tools_are_executed(result):
    with pytest.raises(ConfigurationError, match="no ToolCall"), result.call.executing({"name": "weather"}):
        pass


def test_nothing_keeps_a_run_that_nobody_holds():
    calls = []

    class Watched(Call):
        __slots__ = ("__weakref__",)

    call = Watched(hooks=(lambda event, call: None,))
    calls.append(weakref.ref(call))
    with call.executing(TOOL):
        pass
    call.record(Evaluated(0.0, "x", 1.0))
    del call
    gc.collect()
    assert calls[0]() is None
