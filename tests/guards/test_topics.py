"""`Topics`: banned ones, allowed ones, by phrases and by embeddings."""

import asyncio

import pytest

from llmops_sdk.errors import ConfigurationError, EngineTimeout
from llmops_sdk.guards import Topics
from llmops_sdk.testing import GuardContract

MEDICINE = {"medicine": ["dosage", "side effect"]}


class Letters:
    """Embeds a text as its counts of letters, and counts how often it is asked."""

    def __init__(self):
        self.asked = []

    async def aembed(self, texts):
        self.asked.append(len(texts))
        await asyncio.sleep(0)
        return [[float(text.lower().count(letter)) for letter in "abcdefghijklmnopqrstuvwxyz"] for text in texts]


class Failing:
    async def aembed(self, texts):
        raise EngineTimeout("too late")


class TestContract(GuardContract):
    stage = "input"
    examples_allowed = ("What does a ticket cost?", "the effect on the side")
    examples_caught = ("What are the side\u2011effects?", "dosages")

    def make_guard(self):
        return Topics(MEDICINE)


class TestContractWhenItFlags(TestContract):
    def make_guard(self):
        return Topics(MEDICINE, action="flag")


class TestContractWithAnEngine(TestContract):
    examples_allowed = ("zzz",)

    def make_guard(self):
        return Topics(MEDICINE, engine=Letters(), threshold=0.99)


class TestContractWhenOnlyTopicsAreAllowed(GuardContract):
    stage = "input"
    examples_allowed = ("hello there", "what is the right dosage for me")
    examples_caught = ("tell me a story about a fox",)

    def make_guard(self):
        return Topics(MEDICINE, allow_only=True)


def test_a_finding_names_its_topic():
    verdict = Topics(MEDICINE | {"money": ["loan"]}).check("a loan")
    assert verdict.blocked
    assert verdict.findings[0].rule == "money"


async def test_a_passage_near_an_example_belongs_to_the_topic():
    guard = Topics({"x": ["abc abc abc"]}, engine=Letters(), threshold=0.95)
    far = "Quite zesty, quirky jumping wolves, over by the lazy river, in the middle of a quiet summer night. "
    verdict = await guard.acheck(far + "cab cab bac cba.")
    assert [(f.start, f.rule) for f in verdict.findings] == [(len(far), "x")]
    assert (await guard.acheck(far)).action == "allow"
    assert await guard.rate(far) < 0.95


async def test_examples_are_embedded_once_also_by_checks_at_the_same_time():
    engine = Letters()
    guard = Topics(MEDICINE, engine=engine)
    await asyncio.gather(*(guard.acheck("a question") for _ in range(10)))
    await guard.acheck("another")
    assert engine.asked.count(2) == 1
    assert engine.asked.count(1) == 11


async def test_a_failing_engine_is_a_failing_check():
    guard = Topics(MEDICINE, engine=Failing())
    with pytest.raises(EngineTimeout):
        await guard.acheck("a question")
    assert (await guard.acheck("the dosage")).blocked


async def test_only_near_texts_are_allowed_with_an_engine():
    guard = Topics({"x": ["abc abc abc"]}, engine=Letters(), threshold=0.9, allow_only=True)
    assert (await guard.acheck("cab cab bac cba")).action == "allow"
    assert (await guard.acheck("zzz yyy xxx www")).blocked
    assert await guard.rate("zzz yyy xxx www") == 1.0


@pytest.mark.parametrize(
    "wrong",
    [
        {"topics": {}},
        {"topics": ["a"]},
        {"topics": {"a": "b"}},
        {"topics": MEDICINE, "threshold": 0.5},
        {"topics": MEDICINE, "engine": object()},
        {"topics": MEDICINE, "engine": Letters(), "threshold": 2},
        {"topics": MEDICINE, "action": "rewrite"},
    ],
)
def test_wrong_wiring_is_refused(wrong):
    with pytest.raises(ConfigurationError):
        Topics(**wrong)
