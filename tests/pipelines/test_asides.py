"""What guards and caches ask engines for is in the record of the run, and part of what the run costs."""

import asyncio
from decimal import Decimal

import pytest

from llmops_sdk import Pipeline, Scripted, tracing
from llmops_sdk.calls import Aside, AttemptEnded, Ended, GuardChecked
from llmops_sdk.costs import PriceTable
from llmops_sdk.engines import Cached, Semantic
from llmops_sdk.engines.remote import Embeddings, Moderation
from llmops_sdk.errors import EngineConnectionError
from llmops_sdk.guards import Judge, Topics
from llmops_sdk.messages import Usage
from llmops_sdk.pipelines._records import record_of, result_of
from llmops_sdk.routers import Router

NO = '{"violation": false, "confidence": 90}'
YES = '{"violation": true, "confidence": 90}'
ONE = Usage(input_tokens=1, output_tokens=1)
PRICES = PriceTable({"scripted": {"input": 10**6, "output": 10**6}, "judge": {"input": 10**6, "output": 10**6}})


def judge(*answers, name="judge-engine", **options):
    return Scripted(*answers, name=name, model="judge", usage=ONE, **options)


def asides(call):
    return [event for event in call.events if isinstance(event, Aside)]


def answer():
    return Scripted("answer", usage=ONE)


def test_a_judge_is_part_of_the_record_and_of_the_cost(run):
    result = run(Pipeline("hi", Judge(judge(NO), "No."), answer(), prices=PRICES))
    (aside,) = asides(result.call)
    assert (aside.asker, aside.operation, aside.attempt.engine, aside.attempt.cost_usd) == (
        "judge",
        "chat",
        "judge-engine",
        2,
    )
    assert aside.attempt.response.text == NO
    assert (result.cost_usd, result.call.spent_usd) == (4, 4)
    assert result.usage == ONE
    assert (result.route, result.call.attempts) == (("scripted",), 1)
    assert aside.attempt.request.call is None  # the run has let go of it


def test_an_aside_lies_within_its_guard_in_time_and_stands_before_it(run):
    events = run(Pipeline("hi", Judge(judge(NO, delay_s=0.01), "No."), answer())).call.events
    (place,) = [at for at, event in enumerate(events) if isinstance(event, Aside)]
    guard = events[place + 1]
    assert isinstance(guard, GuardChecked)
    assert guard.started <= events[place].attempt.started <= events[place].attempt.at <= guard.at


def test_of_two_judges_with_one_name_each_has_its_own_asides(stream):
    seen = tracing.memory()
    first, second = Judge(judge(NO, name="a"), "One."), Judge(judge(NO, name="b"), "Two.")
    stream(Pipeline("hi", first, answer(), second, hooks=[seen]))
    assert [(one.asker, one.attempt.engine) for one in seen.of(Aside)] == [("judge", "a"), ("judge-2", "b")]


def test_judges_of_sentences_in_a_stream_are_named(stream):
    seen = tracing.memory()
    engine = Scripted(["One sentence. ", "And another one. "])
    judges = Judge(judge(NO), "One.", by="sentence"), Judge(judge(NO), "Two.", by="sentence")
    stream(Pipeline("hi", engine, *judges, hooks=[seen]))
    assert {one.asker for one in seen.of(Aside)} == {"judge", "judge-2"}


def test_each_attempt_of_a_router_is_an_aside_and_booked_once(run):
    router = Router([judge(EngineConnectionError("gone"), name="a"), judge(NO, name="b")])
    result = run(Pipeline("hi", Judge(router, "No."), answer(), prices=PRICES))
    assert [(one.attempt.engine, one.attempt.number) for one in asides(result.call)] == [("a", 1), ("b", 2)]
    assert isinstance(asides(result.call)[0].attempt.error, EngineConnectionError)
    assert (result.cost_usd, result.call.spent_usd) == (4, 4)


def test_a_judge_that_fails_is_recorded_with_its_error(run):
    result = run(Pipeline("hi", Judge(judge(KeyError("x")), "No.", on_error="allow"), answer(), prices=PRICES))
    (aside,) = asides(result.call)
    assert isinstance(aside.attempt.error, KeyError)
    assert result.cost_usd == 2


def test_a_judge_that_is_cut_off_may_have_to_be_paid():
    async def main():
        guard = Judge(judge(NO, delay_s=30), "No.", timeout_s=0.02, on_error="allow")
        return await Pipeline("hi", guard, answer(), prices=PRICES).arun()

    result = asyncio.run(main())
    (aside,) = asides(result.call)
    assert aside.attempt.cut_off
    assert result.cost_usd is None
    assert result.call.estimated_usd == aside.attempt.estimated_usd > 0


def test_a_cancelled_run_records_the_judge_that_was_under_way():
    async def main():
        seen = tracing.memory()
        pipeline = Pipeline("hi", Judge(judge(NO, delay_s=30), "No."), answer(), hooks=[seen])
        work = asyncio.ensure_future(pipeline.arun())
        await asyncio.sleep(0.05)
        work.cancel()
        with pytest.raises(asyncio.CancelledError):
            await work
        return seen.events

    events = asyncio.run(main())
    assert isinstance(next(one for one in events if isinstance(one, Aside)).attempt.error, asyncio.CancelledError)


def test_a_judge_beside_the_engine_is_recorded(run):
    guard = Judge(judge(YES), "No.", overlap=True)
    result = run(Pipeline("hi", guard, answer(), prices=PRICES))
    assert result.blocked
    assert [one.asker for one in asides(result.call)] == ["judge"]


def test_a_moderation_is_recorded_with_estimated_tokens(run):
    class Endpoint:
        name, model, provider = "mod", "omni-moderation-latest", "openai"

        async def amoderate(self, texts):
            return [Moderation(flagged=(), scores={"violence": 0.1}) for _ in texts]

    result = run(Pipeline("hello there", Judge.moderation(Endpoint()), answer(), prices=PRICES))
    (aside,) = asides(result.call)
    assert (aside.operation, aside.attempt.engine, aside.attempt.request.messages[0].text) == (
        "moderation",
        "mod",
        "hello there",
    )
    assert result.cost_usd == 2


class Embedder:
    name, model, provider = "ada", "scripted", "custom"

    def __init__(self, usage=None):
        self.usage = usage

    async def aembed(self, texts):
        return [[1.0, 0.5] for _ in texts]


class Counting(Embedder):
    async def aembeddings(self, texts):
        return Embeddings(vectors=await self.aembed(texts), usage=Usage(input_tokens=len(texts)), model="scripted")


def test_embeddings_of_a_cache_and_of_a_guard_are_paid(run):
    cache = Cached(answer(), semantic=Semantic(embedder=Counting(), threshold=0.9), only_deterministic=False, name="c")
    guard = Topics({"law": ["divorce"]}, engine=Counting(), threshold=1.0, shortest=1, action="flag")
    result = run(Pipeline("hi there you", guard, cache, prices=PRICES))
    assert [(one.asker, one.operation, one.attempt.cost_usd) for one in asides(result.call)] == [
        ("topics", "embeddings", 1),
        ("topics", "embeddings", 1),
        ("c", "embeddings", 1),
    ]
    assert (result.cost_usd, result.call.spent_usd) == (5, 5)


@pytest.mark.parametrize(("prices", "cost"), [(PRICES, None), (PriceTable({"other": {"input": 1, "output": 1}}), "x")])
def test_embeddings_that_nobody_counts_are_estimated_where_they_have_a_price(prices, cost):
    guard = Topics({"law": ["divorce"]}, engine=Embedder(), action="flag")
    result = Pipeline("hi there you", guard, Scripted("a", model="other", usage=ONE), prices=prices).run()
    assert [one.attempt.usage is not None for one in asides(result.call)] == [cost is None] * 2
    assert (result.cost_usd is None) == (cost is None)


def test_asides_survive_a_checkpoint():
    result = Pipeline("hi", Judge(Router([judge(NO)]), "No."), answer(), prices=PRICES).run()
    again = result_of(record_of(result), index=0)
    (aside,) = asides(again.call)
    assert (aside.asker, aside.operation, aside.attempt.engine) == ("judge", "chat", "judge-engine")
    assert (again.cost_usd, again.call.spent_usd, again.usage) == (Decimal(4), Decimal(4), ONE)
    assert (again.route, again.call.attempts) == (("scripted",), 1)


def test_records_from_before_there_were_asides_are_read():
    record = record_of(Pipeline("hi", answer(), prices=PRICES).run())
    assert "asides" not in record
    assert result_of(record, index=0).cost_usd == 2


def test_hooks_get_asides_before_the_end(run):
    seen = tracing.memory()
    run(Pipeline("hi", Judge(judge(NO), "No."), answer(), hooks=[seen]))
    kinds = [type(event) for event in seen.events]
    assert kinds.index(Aside) < kinds.index(AttemptEnded) < kinds.index(Ended)
