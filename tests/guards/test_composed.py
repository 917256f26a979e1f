"""Several guards as one."""

import asyncio
import itertools
import threading

import pytest

from llmops_sdk import Guard, Scripted, Verdict, guard
from llmops_sdk.calls import Call
from llmops_sdk.errors import ConfigurationError
from llmops_sdk.guards import PII, Length, Regex, SegmentGuard, all_of, any_of, calibrate, cascade
from llmops_sdk.messages import Choice, Response
from llmops_sdk.protocols import GuardContext
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


def test_what_a_member_leaves_unread_it_leaves_unread_here_too():
    short = Length(least=5)
    assert "tool_calls" in short.waived
    both = all_of(short, CAT)
    context = GuardContext(call=Call(), stage="output", origin="tool_call:go")
    assert both.check("{}", context).action == "allow"
    assert both.check("a cat", context).blocked
    assert both.check("{}").blocked
    assert both.waived == frozenset()
    streamed = ("Go" | Scripted(Response(choices=(Choice(text="a long text", reasoning="a"),))) | both).stream()
    assert "".join(chunk.text for chunk in streamed) == "a long text"
    assert "tool_calls" in all_of(short, Length(most=9)).waived


class Rated(Guard):
    """Its texts are its rates: that of the cheap guard, and that of the expensive one."""

    threshold = 0.5
    blocking = False

    def __init__(self, place, **options):
        super().__init__(**options)
        self.place = place
        self.asked = []

    def rate(self, text, context=None):
        return float(text.split()[self.place])

    def check(self, text, context=None):
        self.asked.append(text)
        rate = self.rate(text)
        if rate < self.threshold:
            return Verdict.allow()
        return Verdict.block(f"rated by {self.place}", [Finding(kind="x", start=0, end=1, score=rate)])


class RatedLater(Rated):
    async def rate(self, text, context=None):
        return float(text.split()[self.place])

    async def check(self, text, context=None):
        rate = await self.rate(text)
        if rate < self.threshold:
            return Verdict.allow()
        return Verdict.block(f"rated by {self.place}", [Finding(kind="x", start=0, end=1, score=rate)])


def test_the_expensive_guard_is_asked_only_where_the_cheap_one_is_unsure():
    expensive = Rated(1)
    both = cascade(Rated(0), expensive, unsure=(0.2, 0.8))
    texts = ("0.1 1.0", "0.2 0.7", "0.2 0.9", "0.79 0.1", "0.79 0.3", "0.8 0.0")
    verdicts = [both.check(text) for text in texts]
    assert [verdict.action for verdict in verdicts] == ["allow", "allow", "block", "allow", "block", "block"]
    assert [verdict.reason for verdict in verdicts if verdict.blocked] == ["rated by 1", "rated by 1", "rated by 0"]
    rates = [both.rate(text) for text in texts]
    assert rates[1:5] == pytest.approx([0.45, 0.55, 0.445, 0.545])
    assert [rate >= both.threshold for rate in rates] == [verdict.blocked for verdict in verdicts]


@pytest.mark.parametrize(("combine", "rate"), [("mean", 0.5), ("evidence", 0.76), ("expensive", 0.6)])
def test_how_the_two_rates_become_one(combine, rate):
    both = cascade(Rated(0), Rated(1), unsure=(0, 1), combine=combine)
    assert both.rate("0.4 0.6") == pytest.approx(rate)
    assert both.with_threshold(rate - 0.01).check("0.4 0.6").blocked
    assert not both.with_threshold(rate + 0.01).check("0.4 0.6").blocked


async def test_the_expensive_guard_may_wait():
    both = cascade(Rated(0), RatedLater(1))
    assert (await both.check("0.5 0.6")).reason == "rated by 1"
    assert (await both.check("0.5 0.4")).action == "allow"
    assert await both.rate("0.5 0.4") == pytest.approx(0.45)
    assert (await both.acheck("0.99 0.0")).reason == "rated by 0"


def test_what_the_cheap_guard_found_counts_where_the_expensive_one_found_nothing():
    assert cascade(Rated(0), Rated(1), threshold=0.4).check("0.9 0.0").reason == "rated by 0"


def test_an_expensive_guard_that_breaks_does_as_it_says_itself():
    class Breaks(Rated):
        def check(self, text, context=None):
            raise RuntimeError("no model")

    with pytest.raises(RuntimeError, match="no model"):
        cascade(Rated(0), Breaks(1)).check("0.5 0.5")
    verdict = cascade(Rated(0), Breaks(1, on_error="allow")).check("0.5 0.5")
    assert (verdict.action, verdict.error) == ("allow", "RuntimeError: no model")


def test_a_cascade_is_evaluated_and_calibrated_by_its_rate():
    data = [(f"{number / 1000} 0.2", False) for number in range(500)] + [("0.9 0.9", True)] * 20
    both = cascade(Rated(0), Rated(1), unsure=(0.0, 1.0))
    assert both.evaluate(data).recall.value == 1.0
    found = calibrate(both, data, max_fpr=0.01)
    assert found.guard.check("0.9 0.9").blocked
    assert not found.guard.check("0.4 0.2").blocked


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (all_of, "at least one"),
        (any_of, "at least one"),
        (lambda: all_of("cat"), "is no guard"),
        (lambda: all_of(Guard), "is no guard"),
        (lambda: cascade(CAT, DOG, unsure=(0.9, 0.1)), "low < high"),
        (lambda: cascade(CAT, DOG, combine="max"), "'mean', 'evidence', 'expensive'"),
        (lambda: cascade(CAT, DOG, threshold=0), "threshold=0"),
        (lambda: cascade(Slow("x"), DOG), "has to be awaited"),
        (lambda: cascade(CAT, DOG, mode="loud"), "mode='loud'"),
    ],
)
def test_what_makes_no_sense_is_refused(make, says):
    with pytest.raises(ConfigurationError, match=says):
        make()
