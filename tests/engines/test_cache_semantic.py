"""Answers to questions that mean nearly the same, and what must still be equal."""

import asyncio
import dataclasses
import math
import random

import pytest

from llmops_sdk.calls import CacheAnswered, Call
from llmops_sdk.engines import Cached, MemoryStore, Scripted, Semantic
from llmops_sdk.engines._cache.semantic import Asked, Index
from llmops_sdk.errors import ServerError
from llmops_sdk.messages import ImagePart, Message, Request, TextPart
from llmops_sdk.pipelines import Pipeline
from llmops_sdk.virtual_time import run_in_virtual_time


class Embedder:
    """Texts lie on a circle, at the angle (in degrees) that stands at their end."""

    def __init__(self, error=None, delay_s=0.0):
        self.asked, self.error, self.delay_s, self.closed = [], error, delay_s, 0

    async def aembed(self, texts):
        self.asked += texts
        await asyncio.sleep(self.delay_s)
        if self.error is not None:
            raise self.error
        angles = [math.radians(float(text.rpartition(" ")[2])) for text in texts]
        return [[3 * math.cos(angle), 3 * math.sin(angle)] for angle in angles]

    async def aclose(self):
        self.closed += 1


def cached(embedder=None, **options):
    threshold = math.cos(math.radians(10.5))
    engine = Scripted(lambda asked: f"answer to {asked.messages[-1].text}")
    return Cached(engine, semantic=Semantic(embedder=embedder or Embedder(), threshold=threshold, **options))


async def ask(engine, text, **values):
    return (await engine.agenerate(Request(messages=(Message.user(text),), **values))).text


async def test_the_nearest_question_over_the_threshold_answers():
    engine = cached()
    assert await ask(engine, "at 0") == "answer to at 0"
    assert await ask(engine, "at 15") == "answer to at 15"  # 15 degrees from the first
    assert await ask(engine, "near 5") == "answer to at 0"
    assert await ask(engine, "near 9") == "answer to at 15"
    assert await ask(engine, "far 40") == "answer to far 40"
    assert (engine.stats.semantic, engine.stats.misses, engine.stats.hits) == (2, 3, 0)


async def test_the_same_question_needs_no_vector():
    engine = cached(embedder := Embedder())
    for _ in range(3):
        await ask(engine, "at 0")
    assert embedder.asked == ["at 0"]
    assert engine.stats.hits == 2


@pytest.mark.parametrize(
    "values",
    [
        {"messages": (Message.system("Be brief."), Message.user("near 5"))},
        {"temperature": 0.5},
        {"max_tokens": 3},
        {"adapter": "polite"},
        {"extra": {"top_k": 1}},
        {"messages": (Message.assistant("near 5"),)},
        {"messages": (Message.user((TextPart(text="near 5"),)),)},
        {"messages": (Message.user((ImagePart(url="data:near 5"),)),)},
        {"messages": (Message(role="user", content="near 5", name="Ann"),)},
    ],
)
async def test_all_but_the_last_text_of_the_user_has_to_be_equal(values):
    engine = cached()
    await ask(engine, "at 0")
    asked = dataclasses.replace(Request.of("near 5"), **values)
    assert not (await engine.agenerate(asked)).cached


async def test_a_conversation_is_matched_by_its_last_question():
    engine = cached()
    before = (Message.system("Be brief."), Message.user("Hello 0"), Message.assistant("Hi"))
    await engine.agenerate(Request(messages=(*before, Message.user("at 0"))))
    assert (await engine.agenerate(Request(messages=(*before, Message.user("near 5"))))).cached
    assert not (await engine.agenerate(Request(messages=(*before[:2], Message.user("near 5"))))).cached


def test_a_hit_says_how_near_it_was():
    pipeline = Pipeline("{{ text }}", cached())
    pipeline.run(text="at 0")
    result = pipeline.run(text="near 10")
    assert result.text == "answer to at 0"
    assert result.cost_usd == 0
    (event,) = (event for event in result.call.events if isinstance(event, CacheAnswered))
    assert event.how == "semantic"
    assert event.similarity == pytest.approx(math.cos(math.radians(10)))


@pytest.mark.parametrize("tags", [{"tenant": "x"}, {"tenant": "y"}])
async def test_tags_keep_semantic_answers_apart(tags):
    engine = Cached(Scripted("a"), semantic=Semantic(embedder=Embedder(), threshold=0.9), per=("tenant",))
    await engine.agenerate(Request.of("at 0").bound_to(Call(tags={"tenant": "x"})))
    answer = await engine.agenerate(Request.of("near 5").bound_to(Call(tags=tags)))
    assert answer.cached is (tags["tenant"] == "x")


@pytest.mark.parametrize("embedder", [Embedder(ServerError("down")), Embedder(delay_s=60), Embedder(TypeError("odd"))])
def test_an_embedder_that_fails_or_is_slow_breaks_no_call(embedder, caplog):
    async def main():
        engine = cached(embedder)
        for text in ("at 0", "near 5"):
            began = asyncio.get_running_loop().time()
            assert await ask(engine, text) == f"answer to {text}"
            assert asyncio.get_running_loop().time() - began <= 2.1
        assert engine.stats.errors == 2
        assert len(caplog.records) == 1
        assert await ask(engine, "at 0") == "answer to at 0"  # the exact answers are there
        assert engine.stats.hits == 1
        await engine.aclose()
        assert embedder.closed == 1

    run_in_virtual_time(main())


async def test_a_vector_without_direction_is_no_vector():
    class Null(Embedder):
        async def aembed(self, texts):
            return [[0.0, 0.0]]

    engine = cached(Null())
    assert [await ask(engine, text) for text in ("at 0", "near 5")] == ["answer to at 0", "answer to near 5"]
    assert engine.stats.errors == 2


@pytest.mark.parametrize("text", ["", " "])
async def test_an_empty_text_has_no_neighbours(text):
    class Same(Embedder):
        async def aembed(self, texts):
            self.asked += texts
            return [[1.0, 0.0]] if texts[0].strip() else [[0.0, 0.0]]

    engine = cached(Same())
    for asked in ("at 0", text):
        assert await ask(engine, asked) == f"answer to {asked}"


async def test_vectors_of_another_length_are_no_neighbours():
    class Growing(Embedder):
        async def aembed(self, texts):
            self.asked += texts
            return [[1.0] * (1 + len(self.asked))]

    engine = cached(Growing())
    for asked in ("one", "two", "three"):
        assert await ask(engine, asked) == f"answer to {asked}"
    assert engine.stats.errors == 0


async def test_only_what_was_kept_is_remembered_and_what_has_gone_is_forgotten():
    engine = Cached(
        Scripted(ServerError("down"), "second", "third", "fourth"),
        MemoryStore(max_bytes=800),  # room for one
        semantic=Semantic(embedder=Embedder(), threshold=0.98),
    )
    with pytest.raises(ServerError):
        await ask(engine, "at 0")
    assert await ask(engine, "near 5") == "second"
    assert await ask(engine, "far 90") == "third"  # and the second has gone
    assert await ask(engine, "near 0") == "fourth"
    assert await ask(engine, "near 1") == "fourth"
    await engine.clear()
    with pytest.raises(ServerError):
        await ask(engine, "near 2")


async def test_the_index_finds_the_nearest_and_is_bounded():
    dice = random.Random(1)

    def vector():
        numbers = [dice.gauss(0, 1) for _ in range(8)]
        length = math.sqrt(sum(one * one for one in numbers))
        return [one / length for one in numbers]

    def cosine(one, other):
        return sum(a * b for a, b in zip(one, other, strict=True))

    index = Index(Semantic(embedder=Embedder(), threshold=1e-9, max_entries=50))
    vectors = {}
    for number in range(200):
        key = str(number)
        vectors[key] = vector()
        index.add(key, Asked(str(number % 2), vectors[key]))
    left = {key: one for key, one in vectors.items() if int(key) >= 150}
    assert sum(map(len, index._groups.values())) == 50
    for _ in range(100):
        asked = vector()
        cosines = {key: cosine(one, asked) for key, one in left.items() if int(key) % 2 == 0}
        near = await index.nearest(Asked("0", asked))
        assert near.similarity == pytest.approx(max(cosines.values()))
        assert cosines[near.key] == pytest.approx(near.similarity)
    for key in left:
        index.drop(key)
    assert await index.nearest(Asked("0", vector())) is None
    assert not index._groups
    assert not index._used
