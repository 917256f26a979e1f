"""Several guards as one."""

import asyncio
import itertools
import threading

import pytest

from llmops_sdk import Guard, Scripted, Verdict, guard
from llmops_sdk.errors import ConfigurationError
from llmops_sdk.guards import PII, Regex, SegmentGuard, all_of, any_of, cascade
from llmops_sdk.testing import GuardContract
from llmops_sdk.verdicts import Finding

CAT = Regex({"cat": "cat"})
DOG = Regex({"dog": "dog"})
FLAG = Regex({"fox": "fo+x{1,3}"} | {"ox": "ox"}, action="flag")
HIDE = Regex({"owl": "owl"}, action="rewrite", replacement="[A LONGER TEXT]")


class Slow(Guard):
    """Blocks what holds a word, after a moment."""

    blocking = False

    def __init__(self, word, **options):
        super().__init__(**options)
        self.word = word

    async def check(self, text, context=None):
        await asyncio.sleep(0)
        at = text.find(self.word)
        return Verdict.allow() if at < 0 else Verdict.block(self.word, [Finding(kind=self.word, start=at, end=at + 1)])


class Sentences(SegmentGuard):
    async def judge(self, segment, context):
        await asyncio.sleep(0)
        return Verdict.block("elk") if "elk" in segment.text else Verdict.allow()


class Broken(Guard):
    def check(self, text, context=None):
        raise RuntimeError("no model")


class TestAllOf(GuardContract):
    examples_allowed = ("a bird", "a do g")
    examples_caught = ("a cat", "my dog", "a fox")

    def make_guard(self):
        return all_of(CAT, FLAG, DOG)


class TestAllOfThatEndsInARewrite(TestAllOf):
    examples_caught = ("a cat", "a fox and an owl", "owlowl")

    def make_guard(self):
        return all_of(FLAG, CAT, HIDE)


class TestAllOfThatWaits(TestAllOf):
    examples_caught = ("a cat", "an elk. A cat", "a fox")
    tries = 20

    def make_guard(self):
        return all_of(CAT, Sentences(longest=20), FLAG)


class TestAllOfWholeTexts(GuardContract):
    examples_allowed = ("a bird",)
    examples_caught = ("an owl and a cat", "mail ada@example.org")

    def make_guard(self):
        return all_of(HIDE, PII(), CAT)


class TestAnyOf(GuardContract):
    examples_allowed = ("a bird", "a cat", "a dog")
    examples_caught = ("cat, dog",)

    def make_guard(self):
        return any_of(CAT, DOG)


class TestCascade(GuardContract):
    examples_allowed = ("a bird",)
    examples_caught = ("a cat",)

    def make_guard(self):
        return cascade(CAT, DOG)


def test_places_are_those_of_the_original_text_whatever_was_rewritten_before():
    text = "an owl wrote from ada@example.org to a fox"
    verdict = all_of(HIDE, PII(), FLAG).check(text)
    assert verdict.text == "an [A LONGER TEXT] wrote from [EMAIL_1] to a fox"
    assert [text[f.start : f.end] for f in verdict.findings] == ["owl", "ada@example.org", "fox"]


def test_a_guard_reads_what_the_one_before_has_left():
    @guard
    def adds(text):
        return Verdict.rewrite(text + " cat")

    assert all_of(adds, CAT).check("a bird").blocked
    assert all_of(HIDE, Regex(["owl"])).check("an owl").action == "rewrite"


def test_the_strictest_counts_for_all_and_the_mildest_for_any():
    assert all_of(FLAG, CAT).check("a fox, a cat").action == "block"
    assert any_of(FLAG, CAT).check("a fox, a cat").action == "flag"
    assert any_of(CAT, HIDE).check("a cat, an owl").text == "a cat, an [A LONGER TEXT]"


async def test_checks_that_wait_run_at_the_same_time():
    together = threading.Barrier(2, timeout=5)

    class Meets(Guard):
        def check(self, text, context=None):
            together.wait()
            return Verdict.allow()

    class Waiting(Guard):
        async def check(self, text, context=None):
            await asyncio.sleep(0)
            return Verdict.allow()

    assert (await all_of(Meets(), Meets(), Waiting()).check("text")).action == "allow"


@pytest.mark.parametrize("members", list(itertools.permutations([Slow("cat"), DOG, HIDE])))
def test_in_a_pipeline_one_that_waits_is_awaited(members):
    line = "Go" | Scripted("an owl", "a cat", "a dog") | all_of(*members)
    assert line.run().text == "an [A LONGER TEXT]"
    assert line.run().blocked
    assert line.run().blocked


def test_a_member_that_breaks_does_as_it_says_itself():
    with pytest.raises(RuntimeError, match="no model"):
        all_of(CAT, Broken()).check("a bird")
    verdict = all_of(CAT, Broken(on_error="allow")).check("a bird")
    assert (verdict.action, verdict.error) == ("allow", "RuntimeError: no model")
    assert all_of(CAT, Broken(on_error="allow")).check("a cat").blocked


async def test_a_member_that_breaks_while_others_wait_breaks_it_all_and_stops_them():
    class Hangs(Guard):
        async def check(self, text, context=None):
            await asyncio.sleep(3600)

    with pytest.raises(RuntimeError, match="no model"):
        await asyncio.wait_for(all_of(Hangs(), Broken()).check("text"), 5)


class Rated(Guard):
    threshold = 0.5
    blocking = False

    def rate(self, text, context=None):
        return float(text)

    def check(self, text, context=None):
        return Verdict.block("rated") if float(text) >= self.threshold else Verdict.allow()


class Asked(Guard):
    threshold = 0.5

    def __init__(self):
        super().__init__()
        self.texts = []

    def rate(self, text, context=None):
        return 0.75

    def check(self, text, context=None):
        self.texts.append(text)
        return Verdict.block("asked")


def test_the_expensive_guard_is_asked_only_where_the_cheap_one_is_unsure():
    expensive = Asked()
    both = cascade(Rated(), expensive, unsure=(0.2, 0.8))
    verdicts = [both.check(text) for text in ("0.1", "0.2", "0.79", "0.8", "0.9")]
    assert [verdict.reason for verdict in verdicts] == ["", "asked", "asked", "rated", "rated"]
    assert expensive.texts == ["0.2", "0.79"]
    assert [both.rate(text) for text in ("0.1", "0.5", "0.9")] == pytest.approx([0.1, 0.2 + 0.6 * 0.75, 0.9])


async def test_the_expensive_guard_may_wait():
    both = cascade(Rated(), Slow("0.5"), unsure=(0.2, 0.8))
    assert (await both.check("0.5")).blocked
    assert (await both.check("0.4")).action == "allow"
    assert await cascade(Rated(), Slow("0.5"), unsure=(0.2, 0.8)).acheck("0.9") == Verdict.block("rated")


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (all_of, "at least one"),
        (any_of, "at least one"),
        (lambda: all_of("cat"), "is no guard"),
        (lambda: all_of(Guard), "is no guard"),
        (lambda: cascade(CAT, DOG, unsure=(0.9, 0.1)), "low < high"),
        (lambda: cascade(Slow("x"), DOG), "has to be awaited"),
        (lambda: cascade(CAT, DOG, mode="loud"), "mode='loud'"),
    ],
)
def test_what_makes_no_sense_is_refused(make, says):
    with pytest.raises(ConfigurationError, match=says):
        make()
