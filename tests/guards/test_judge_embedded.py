"""The embedded model as a judge: structured output of a real engine, read as a judgement."""

from __future__ import annotations

import asyncio

import pytest

from llmops_sdk.calls import Aside, Call
from llmops_sdk.engines import Engine
from llmops_sdk.guards import Judge
from llmops_sdk.messages import Request
from llmops_sdk.protocols import GuardContext

pytestmark = [pytest.mark.heavy, pytest.mark.filterwarnings("ignore::DeprecationWarning")]


def test_a_real_engine_gives_judgements_that_can_be_read():
    with Engine.open("embedded:") as engine:
        judge = Judge(engine, "The text gives medical advice.", timeout_s=120)
        context = GuardContext(call=Call(), stage="output", origin="output", request=Request.of("What shall I take?"))
        rate = asyncio.run(judge.rate("Take two of these a day.", context))
    assert 0 <= rate <= 1  # a model of this size is no good judge; that it can be read counts
    (aside,) = context.call.events
    assert isinstance(aside, Aside)
    assert (aside.asker, aside.attempt.engine, aside.attempt.error) == ("judge", "embedded", None)
