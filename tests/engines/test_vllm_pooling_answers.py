"""Vectors and labels: what needs no vLLM."""

from __future__ import annotations

import asyncio

import pytest

from llmops_sdk.engines._vllm_pooling import classification, each, refuse_other_task
from llmops_sdk.engines.vllm import VLLM
from llmops_sdk.errors import BadRequestError
from llmops_sdk.messages import Message, Request


async def test_no_more_than_so_many_at_a_time_and_results_in_order() -> None:
    running = most = 0

    async def work(index: int, text: str) -> str:
        nonlocal running, most
        running += 1
        most = max(most, running)
        await asyncio.sleep(0.001 * (index % 3))
        running -= 1
        return text.upper()

    assert await each([f"t{number}" for number in range(20)], work, 4) == [f"T{number}" for number in range(20)]
    assert most == 4
    assert await each([], work, 4) == []


async def test_the_first_failure_is_raised_and_ends_the_rest() -> None:
    ended: list[int] = []

    async def work(index: int, text: str) -> None:
        try:
            if index == 2:
                raise ValueError(text)
            await asyncio.sleep(30)
        finally:
            ended.append(index)

    with pytest.raises(ValueError, match="t2"):
        await each([f"t{number}" for number in range(9)], work, 3)
    assert sorted(ended) == [0, 1, 2]


def test_a_label_without_a_name_gets_the_usual_one() -> None:
    assert classification([0.9, 0.1], {}).label == "LABEL_0"


def test_an_engine_that_does_nothing_known_says_how_to_open_one() -> None:
    with pytest.raises(BadRequestError, match=r"something else, not to embed; open a model for it: .*task='embed'"):
        refuse_other_task("embed", ("token_embed",), engine="vllm", model=None)


async def test_an_engine_of_another_task_refuses_before_it_starts() -> None:
    with pytest.raises(BadRequestError, match=r"opened to generate, not to embed; .*task='embed'"):
        await VLLM("./model", task="generate").aembed(["text"])
    with pytest.raises(BadRequestError, match="call `aclassify`"):
        await VLLM("./model", task="classify").agenerate(Request(messages=(Message.user("Hello"),)))
