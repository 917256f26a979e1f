"""Similarity of embeddings: the cosine, asked for together and once."""

import asyncio
import pickle
import types
from decimal import Decimal

import pytest

from llmops_sdk import Engine, Scripted
from llmops_sdk.errors import ConfigurationError, EvaluationError
from llmops_sdk.evaluation import Case
from llmops_sdk.evaluation.metrics import EmbeddingSimilarity
from llmops_sdk.messages import Usage


class Letters(Engine):
    """Counts letters, and tokens as words; keeps what it was asked."""

    model = "text-embedding-3-small"
    provider = "openai"

    def __init__(self, *, delay_s=0.0, model="text-embedding-3-small"):
        self.asked = []
        self.delay_s = delay_s
        self.model = model

    def configuration(self):
        return {"model": self.model}

    async def aembed(self, texts, /):
        self.asked.append(list(texts))
        await asyncio.sleep(self.delay_s)
        return [[float(text.count(letter)) for letter in "abc"] for text in texts]

    async def aembeddings(self, texts):
        vectors = await self.aembed(texts)
        return types.SimpleNamespace(usage=Usage(input_tokens=2 * len(texts)), model=self.model, vectors=vectors)


def scored(metric, pairs, *, one_by_one=False):
    async def ask():
        results = [(expected, await ("?" | Scripted(said)).arun()) for said, expected in pairs]
        asked = [metric(Case(input="?", expected=expected), result) for expected, result in results]
        return [await one for one in asked] if one_by_one else await asyncio.gather(*asked)

    return asyncio.run(ask())


def test_the_score_is_the_cosine():
    scores = scored(EmbeddingSimilarity(Letters()), [("aab", "aab"), ("a", "b"), ("a", "ab"), ("aa", ["b", "a"])])
    assert [one.value for one in scores] == pytest.approx([1.0, 0.0, 2**-0.5, 1.0], abs=1e-6)


def test_what_is_asked_at_once_goes_together_and_each_text_once():
    engine = Letters()
    scored(EmbeddingSimilarity(engine), [("a", "ab"), ("b", "ab"), ("a", "ab"), ("c", "ab")])
    assert engine.asked == [["a", "ab", "b", "c"]]
    engine = Letters()
    scored(EmbeddingSimilarity(engine, batch_size=3), [("a", "ab"), ("b", "ab"), ("c", "ab")])
    assert [len(texts) for texts in engine.asked] == [3, 1]


def test_a_text_that_was_asked_before_is_not_paid_again():
    engine = Letters()
    first, second = scored(EmbeddingSimilarity(engine), [("a", "ab"), ("b", "ab")], one_by_one=True)
    assert engine.asked == [["a", "ab"], ["b"]]
    assert first.cost_usd > 0
    assert second.cost_usd > 0
    (again,) = scored(metric := EmbeddingSimilarity(engine), [("a", "a")])
    assert again.cost_usd > 0
    (again,) = scored(metric, [("a", "a")])
    assert again.cost_usd == Decimal(0)


def test_the_cost_of_a_batch_is_shared_by_those_who_asked_first():
    scores = scored(EmbeddingSimilarity(Letters()), [("a", "ab"), ("b", "ab")])
    assert scores[0].cost_usd == pytest.approx(2 * scores[1].cost_usd)


def test_a_cost_that_nobody_knows_is_none():
    (score,) = scored(EmbeddingSimilarity(Letters(model="nobody-knows")), [("a", "ab")])
    assert score.cost_usd is None


def test_an_empty_answer_is_near_to_nothing_and_is_not_asked():
    engine = Letters()
    (score,) = scored(EmbeddingSimilarity(engine), [(" ", "ab")])
    assert (score.value, engine.asked) == (0.0, [])
    assert scored(EmbeddingSimilarity(engine), [("a", None), ("a", "")]) == [None, None]


def test_wrong_vectors_are_errors_for_all_who_wait_and_are_asked_again_later():
    engine = Letters()
    metric = EmbeddingSimilarity(engine)
    for _ in range(2):
        with pytest.raises(EvaluationError, match="without a direction"):
            scored(metric, [("xyz", "ab")])
    assert len(engine.asked) == 2

    class Short(Letters):
        async def aembed(self, texts, /):
            return [[1.0]]

    with pytest.raises(EvaluationError, match="gave 1 vectors for 2 texts"):
        scored(EmbeddingSimilarity(Short()), [("a", "ab")])


def test_one_who_stops_waiting_takes_nothing_from_the_others():
    engine = Letters(delay_s=0.05)
    metric = EmbeddingSimilarity(engine)

    async def ask():
        result = await ("?" | Scripted("a")).arun()
        case = Case(input="?", expected="ab")
        first, second = (asyncio.ensure_future(metric(case, result)) for _ in range(2))
        await asyncio.sleep(0.01)
        first.cancel()
        return await second

    assert asyncio.run(ask()).value == pytest.approx(2**-0.5)
    assert engine.asked == [["a", "ab"]]


def test_a_copy_begins_with_nothing_and_has_the_same_version():
    metric = EmbeddingSimilarity(Letters())
    scored(metric, [("a", "ab")])
    copy = pickle.loads(pickle.dumps(metric))
    assert copy.version == metric.version
    assert copy.version != EmbeddingSimilarity(Letters(model="other")).version
    assert scored(copy, [("a", "ab")])[0].value == pytest.approx(2**-0.5)


def test_an_engine_that_embeds_nothing_is_refused():
    with pytest.raises(ConfigurationError, match="has no `aembed`"):
        EmbeddingSimilarity(object())
    with pytest.raises(ConfigurationError, match="has no option 'case'"):
        EmbeddingSimilarity(Letters(), case=False)
    with pytest.raises(ConfigurationError, match="`batch_size` is"):
        EmbeddingSimilarity(Letters(), batch_size=0)
