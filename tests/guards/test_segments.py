"""Guards that judge sentence by sentence."""

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmops_sdk import Scripted, Verdict
from llmops_sdk.errors import ConfigurationError
from llmops_sdk.guards import SegmentGuard
from llmops_sdk.testing import GuardContract
from llmops_sdk.verdicts import Finding


def judge_bad(segment):
    at = segment.text.find("bad")
    if at < 0:
        return Verdict.allow()
    finding = Finding(kind="bad", start=at, end=at + 3)
    if "very" in segment.text:
        return Verdict.block("very bad", [finding])
    return Verdict.rewrite(segment.text.replace("bad", "good"), [finding])


class Inline(SegmentGuard):
    blocking = False

    def judge(self, segment, context):
        return judge_bad(segment)


class InThread(SegmentGuard):
    def judge(self, segment, context):
        return judge_bad(segment)


class Waiting(SegmentGuard):
    blocking = False

    async def judge(self, segment, context):
        await asyncio.sleep(0)
        return judge_bad(segment)


class TestInline(GuardContract):
    examples_allowed = ("All is fine. Really.", "Nothing to see")
    examples_caught = ("This is bad. That is fine.", "So.\nA very bad thing! More.")

    def make_guard(self):
        return Inline(longest=40)


class TestInThread(TestInline):
    tries = 10

    def make_guard(self):
        return InThread(longest=40)


class TestWaiting(TestInline):
    tries = 30

    def make_guard(self):
        return Waiting(longest=40)


class Seen(SegmentGuard):
    """Allows everything and keeps what it was asked."""

    blocking = False

    def __init__(self, **options):
        super().__init__(**options)
        self.segments = []

    def judge(self, segment, context):
        self.segments.append(segment)
        return Verdict.allow()


def segments_of(text, **options):
    guard = Seen(**options)
    guard.check(text)
    return guard.segments


def test_sentences_lines_and_cuts_at_spaces():
    found = segments_of('He said "No." Then:\nthe end。次 a-long-word and-another-one', longest=20)
    assert [one.text for one in found] == [
        'He said "No." ',
        "Then:\n",
        "the end。",
        "次 a-long-word ",
        "and-another-one",
    ]


def test_segments_join_to_the_text_and_know_where_they_are_and_what_was_before():
    text = "One. Two! Three? " * 5 + "x" * 70
    found = segments_of(text, longest=30, behind=4)
    assert "".join(one.text for one in found) == text
    for one in found:
        assert text[one.start : one.start + len(one.text)] == one.text
        assert one.before == text[max(0, one.start - 4) : one.start]


def test_short_sentences_are_judged_together():
    assert [one.text for one in segments_of("A. B. C. D. ", shortest=5)] == ["A. B. ", "C. D. "]


@given(st.text(alphabet="ab .!\n", max_size=80), st.integers(1, 9), st.integers(0, 9))
def test_every_text_is_cut_into_segments_no_longer_than_the_limit(text, longest, behind):
    found = segments_of(text, longest=longest, behind=behind)
    assert "".join(one.text for one in found) == text
    assert all(len(one.text) <= longest for one in found)


def test_an_empty_text_is_judged():
    assert [one.text for one in segments_of("")] == [""]


async def test_in_a_pipeline_sentences_come_as_soon_as_they_are_judged():
    line = "Go" | Scripted(["Fine. ", "This is ", "bad. ", "A very bad ", "one. ", "Never seen."]) | Waiting()
    stream = line.astream()
    chunks = [chunk.text async for chunk in stream]
    assert chunks == ["Fine. ", "This is good. "]
    assert stream.result.blocked
    assert [(f.start, f.end) for f in stream.result.verdicts[0].findings] == [(14, 17), (26, 29)]


class Breaks(SegmentGuard):
    def judge(self, segment, context):
        raise RuntimeError("no model")


@pytest.mark.parametrize(("on_error", "text"), [("block", ""), ("allow", "One. Two. Three.")])
async def test_a_guard_that_breaks_in_a_stream_does_as_on_error_says_and_loses_nothing(on_error, text):
    stream = ("Go" | Scripted(["One. T", "wo. ", "Three."]) | Breaks(on_error=on_error)).astream()
    assert "".join([chunk.text async for chunk in stream]) == text
    assert stream.result.blocked == (on_error == "block")
    assert stream.result.verdicts[0].error == "RuntimeError: no model"


@pytest.mark.parametrize("options", [{"longest": 0}, {"shortest": 9, "longest": 5}, {"behind": -1}])
def test_sizes_that_make_no_sense_are_refused(options):
    with pytest.raises(ConfigurationError, match="are needed"):
        Seen(**options)


def test_a_guard_without_judge_says_what_to_write():
    with pytest.raises(ConfigurationError, match="judge"):
        SegmentGuard().check("text")


@pytest.mark.parametrize("kind", [Inline, InThread, Waiting])
def test_whole_answers_are_judged_in_a_pipeline_too(kind):
    result = ("Go" | Scripted("This is bad. Fine.") | kind()).run()
    assert result.text == "This is good. Fine."


async def test_of_several_sentences_the_one_that_breaks_says_why():
    class BreaksOnTwo(SegmentGuard):
        async def judge(self, segment, context):
            if "Two" in segment.text:
                raise RuntimeError("no model")
            await asyncio.sleep(3600)

    with pytest.raises(RuntimeError, match="no model"):
        await asyncio.wait_for(BreaksOnTwo().check("One. Two. Three."), 5)
