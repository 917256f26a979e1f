"""Hooks that fail break nothing, and say so once; those that nobody would await are refused."""

import functools
import logging

import pytest

from llmops_sdk import Pipeline, Scripted, tracing
from llmops_sdk.calls import hook_failures
from llmops_sdk.errors import ConfigurationError


async def coroutine(event, call):
    pass


async def generator(event, call):
    yield


class Asked:
    async def __call__(self, event, call):
        pass

    async def method(self, event):
        pass


@pytest.mark.parametrize(
    "hook",
    [coroutine, generator, Asked(), Asked().method, functools.partial(coroutine)],
    ids=lambda hook: type(hook).__name__,
)
def test_an_async_hook_is_refused(hook):
    with pytest.raises(ConfigurationError, match="async"):
        Pipeline("hi", Scripted("a"), hooks=[hook])
    with pytest.raises(ConfigurationError, match="async"):
        Pipeline("hi", Scripted("a")).run(hooks=[hook])


@pytest.mark.parametrize(
    ("hooks", "says"),
    [(tracing.memory(), "list of hooks"), ([tracing.Logs], r"write `Logs\(\)`"), (["x"], "no hook"), ("x", "no hook")],
    ids=["one alone", "a class", "a text", "a text alone"],
)
def test_what_is_no_list_of_hooks_is_refused(hooks, says):
    with pytest.raises(ConfigurationError, match=says):
        Pipeline("hi", Scripted("a"), hooks=hooks)


def test_a_failure_is_logged_once_for_each_class_of_error_and_counted(caplog):
    def fails_in_two_ways(event, call):
        raise (KeyError if type(event).__name__ == "Ended" else ValueError)("x")

    pipeline = Pipeline("hi", Scripted("a"), hooks=[fails_in_two_ways])
    with caplog.at_level(logging.ERROR, logger="llmops_sdk"):
        results = [pipeline.run() for _ in range(3)]
    assert [result.text for result in results] == ["a"] * 3
    mine = [record for record in caplog.records if "fails_in_two_ways" in record.getMessage()]
    assert [record.exc_info[0] for record in mine] == [ValueError, KeyError]
    (count,) = [count for name, count in hook_failures().items() if "fails_in_two_ways" in name]
    assert count == sum(len(result.call.events) for result in results)


def test_hooks_that_are_made_anew_each_time_are_one(caplog):
    pipeline = Pipeline("hi", Scripted("a"))
    with caplog.at_level(logging.ERROR, logger="llmops_sdk"):
        for number in range(3):
            pipeline.run(hooks=[lambda event, call, number=number: 1 / 0])
    assert len([record for record in caplog.records if "made_anew" in record.getMessage()]) == 1
