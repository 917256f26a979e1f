"""Guards that are watched, sampled, remembered or bounded."""

import asyncio
import pickle
import threading
import time

import pytest

from llmops_sdk import Guard, Scripted, Verdict
from llmops_sdk.calls import Call
from llmops_sdk.errors import ConfigurationError, GuardTimeout
from llmops_sdk.guards import PII, Regex, cached, sample, shadow, timed
from llmops_sdk.protocols import GuardContext
from llmops_sdk.testing import GuardContract

CAT = Regex({"cat": "cat"})
HIDE = Regex({"owl": "owl"}, action="rewrite", replacement="[BIRD]")


class Counts(Guard):
    """Blocks cats; counts how often it is asked."""

    blocking = False

    def __init__(self, **options):
        super().__init__(**options)
        self.asked = 0

    def check(self, text, context=None):
        self.asked += 1
        return Verdict.block("cat") if "cat" in text else Verdict.allow()


class Hangs(Guard):
    def __init__(self, seconds=0.0, **options):
        super().__init__(**options)
        self.seconds = seconds

    def check(self, text, context=None):
        time.sleep(self.seconds)
        return Verdict.allow()


class HangsAsync(Guard):
    async def check(self, text, context=None):
        await asyncio.sleep(3600)
        return Verdict.allow()


class TestCached(GuardContract):
    examples_allowed = ("a bird",)
    examples_caught = ("a cat", "cats and cat")

    def make_guard(self):
        return cached(CAT)


class TestTimed(TestCached):
    def make_guard(self):
        return timed(CAT, budget_ms=60_000)


class TestSampleOfAll(TestCached):
    def make_guard(self):
        return sample(CAT, 1.0)


class TestShadow(GuardContract):
    examples_allowed = ("a bird",)
    examples_caught = ("an owl",)

    def make_guard(self):
        return shadow(Regex({"owl": "owl+.*"}, action="rewrite"))


# Shadow


def test_a_shadow_changes_nothing_and_says_what_it_would_do():
    line = shadow(Regex(["Go"])) | Scripted(["an o", "wl"]) | shadow(HIDE)
    result = line.run("Go")
    assert result.text == "an owl"
    assert [(v.action, v.reason) for v in result.verdicts] == [
        ("flag", "shadow: would block: found regex"),
        ("flag", "shadow: would rewrite: found owl"),
    ]
    stream = line.stream("Go")
    assert [chunk.text for chunk in stream if chunk.text] == ["an o", "wl"]
    assert [v.action for v in stream.result.verdicts] == ["flag", "flag"]
    assert line.coverage().rows[1][2]["stream"] == "audits"


def test_a_shadow_that_breaks_stops_nothing():
    class Broken(Guard):
        def check(self, text, context=None):
            raise RuntimeError("no model")

    result = ("Go" | Scripted("text") | shadow(Broken())).run()
    assert result.text == "text"
    assert result.verdicts[0].error == "RuntimeError: no model"


def test_a_shadow_of_pii_restores_nothing():
    result = (shadow(PII(restore=True)) | Scripted("[EMAIL_1]")).run("I am ada@example.org")
    assert result.text == "[EMAIL_1]"


# Sample


def test_a_sample_reads_its_share_of_the_runs_whole_or_not_at_all():
    counts = Counts()
    line = sample(counts, 0.3) | Scripted("fine") | sample(CAT, 0.3)
    read = 0
    for _ in range(600):
        result = line.run("bird")
        skipped = {verdict.skipped is not None for verdict in result.verdicts}
        assert len(skipped) == 1
        read += not skipped.pop()
    assert read == counts.asked
    assert 120 <= read <= 240  # 180 +- 5 sigma


def test_streams_that_are_not_in_the_sample_pass_at_once():
    stream = ("Go" | Scripted(["a c", "at"]) | sample(CAT, 0.0)).stream()
    assert [chunk.text for chunk in stream if chunk.text] == ["a c", "at"]
    assert stream.result.verdicts[0].skipped == "not in the sample of 0 of the runs"
    assert ("Go" | Scripted(["a c", "at"]) | sample(CAT, 1.0)).run().blocked


# Cached


def test_a_text_is_checked_once_for_each_place():
    counts = Counts()
    line = cached(counts) | Scripted("a cat")
    assert not line.run("bird").blocked
    assert not line.run("bird").blocked
    assert counts.asked == 1
    assert line.run("a cat").blocked
    assert line.run("a cat").blocked
    assert counts.asked == 2


def test_failures_are_not_remembered():
    class Fails(Counts):
        def check(self, text, context=None):
            self.asked += 1
            if self.asked == 1:
                raise RuntimeError("once")
            return Verdict.allow()

    remembering = cached(Fails())
    with pytest.raises(RuntimeError, match="once"):
        remembering.check("text")
    assert remembering.check("text").action == "allow"


def test_the_oldest_are_forgotten_and_so_are_those_out_of_time():
    counts = Counts()
    small = cached(counts, size=2)
    for text in "abcabc":
        small.check(text)
    assert counts.asked == 6
    for text in "bcbc":
        small.check(text)
    assert counts.asked == 6
    brief = cached(counts, ttl_s=0.01)
    brief.check("text")
    time.sleep(0.02)
    brief.check("text")
    assert counts.asked == 8


def test_many_threads_share_it():
    remembering = cached(CAT, size=8)
    wrong = []

    def ask(number):
        for turn in range(500):
            text = f"{'cat' if (number + turn) % 2 else 'dog'} {turn % 20}"
            if remembering.check(text).blocked != text.startswith("cat"):
                wrong.append(text)

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


async def test_a_guard_that_waits_is_remembered_too():
    class Waits(Counts):
        async def check(self, text, context=None):
            await asyncio.sleep(0)
            return Counts.check(self, text)

    counts = Waits()
    remembering = cached(counts)
    assert [(await remembering.check("a cat")).blocked for _ in range(3)] == [True] * 3
    assert counts.asked == 1


def test_it_keeps_neither_texts_nor_verdicts_when_pickled():
    remembering = cached(CAT)
    remembering.check("a private cat")
    data = pickle.dumps(remembering)
    assert b"private" not in data
    assert pickle.loads(data).check("a cat").blocked


# Timed


@pytest.mark.parametrize("inner", [Hangs(0.2), HangsAsync()])
async def test_a_guard_over_its_time_has_failed(inner):
    with pytest.raises(GuardTimeout, match="within 10 ms") as caught:
        await timed(inner, budget_ms=10).check("text")
    assert (caught.value.guard, caught.value.budget_ms) == (inner.name, 10)


@pytest.mark.parametrize(("on_error", "blocked"), [("block", True), ("allow", False)])
def test_in_a_pipeline_on_error_rules(on_error, blocked):
    result = ("Go" | Scripted("text") | timed(HangsAsync(), budget_ms=10, on_error=on_error)).run()
    assert result.blocked == blocked
    assert result.verdicts[0].error.startswith("GuardTimeout")


def test_a_stream_counts_the_time_that_the_guard_works():
    class Works(Guard):
        window = 0

        def open_stream(self, context):
            return self

        verdict = Verdict.allow()

        def check(self, text, context=None):
            return Verdict.allow()

        def feed(self, text):
            time.sleep(0.004)
            return text

        def finish(self):
            return ""

    def run(chunks, pause_s):
        engine = Scripted(["x"] * chunks, chunk_delay_s=pause_s)
        stream = ("Go" | engine | timed(Works(), budget_ms=50)).stream()
        return "".join(chunk.text for chunk in stream), stream.result

    text, result = run(5, 0.02)
    assert (text, result.blocked) == ("xxxxx", False)
    text, result = run(60, 0.0)
    assert result.blocked
    assert len(text) < 60


def test_the_name_is_that_of_the_guard_within():
    assert {wrap(CAT).name for wrap in (shadow, cached, timed, lambda g: sample(g, 0.5))} == {"regex"}
    assert cached(CAT, name="cats").name == "cats"
    assert timed(PII(on_error="allow")).on_error == "allow"


def test_what_was_taken_out_comes_back_through_a_wrapper():
    for wrap in (timed, lambda g: sample(g, 1.0)):
        line = wrap(PII(restore=True)) | Scripted(lambda request: request.messages[-1].text)
        assert line.run("I am ada@example.org").text == "I am ada@example.org"


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: sample(CAT, 1.5), "0 <= share <= 1"),
        (lambda: cached(CAT, size=0), "at least one"),
        (lambda: cached(PII(restore=True)), "true values"),
        (lambda: timed(CAT, budget_ms=0), "over 0 milliseconds"),
        (lambda: shadow("cat"), "is no guard"),
    ],
)
def test_what_makes_no_sense_is_refused(make, says):
    with pytest.raises(ConfigurationError, match=says):
        make()


def test_a_run_is_in_the_sample_or_not_by_its_id():
    halves = sample(CAT, 0.5)
    calls = [Call() for _ in range(200)]
    taken = [halves._takes(_context(call)) for call in calls]
    assert taken == [halves._takes(_context(call)) for call in calls]
    assert 50 < sum(taken) < 150


def _context(call):
    return GuardContext(call=call, stage="output", origin="output")
