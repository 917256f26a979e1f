"""`Length`: limits in four units, in streams as in whole texts."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmops_sdk.errors import ConfigurationError
from llmops_sdk.guards import Length
from llmops_sdk.testing import GuardContract

UNITS = ("characters", "words", "lines", "bytes")


def amount(text, unit):
    lines = text.count("\n") + (bool(text) and not text.endswith("\n"))
    size = len(text.encode("utf-8", "surrogatepass"))
    return {"characters": len(text), "words": len(text.split()), "lines": lines, "bytes": size}[unit]


class TestBlocking(GuardContract):
    examples_allowed = ("short", "")
    examples_caught = ("this is much too long", "é" * 11)

    def make_guard(self):
        return Length(most=10)


class TestCutting(TestBlocking):
    def make_guard(self):
        return Length(most=10, unit="bytes", action="rewrite")


class TestFlagging(TestBlocking):
    def make_guard(self):
        return Length(most=10, action="flag")


class TestCuttingWords(GuardContract):
    examples_allowed = ("one two", " a  b ")
    examples_caught = ("one two three", "a\nb c")

    def make_guard(self):
        return Length(most=2, unit="words", action="rewrite")


class TestCuttingLines(GuardContract):
    examples_allowed = ("one\ntwo\n", "one")
    examples_caught = ("one\ntwo\nthree", "\n\n\n")

    def make_guard(self):
        return Length(most=2, unit="lines", action="rewrite")


class TestAtLeast(GuardContract):
    examples_allowed = ("long enough",)
    examples_caught = ("short", "")

    def make_guard(self):
        return Length(least=6, most=5_000_000)


@given(st.text(alphabet="ab \n\u00e9\ud800\U0001f600\u2003", max_size=40), st.integers(0, 12), st.sampled_from(UNITS))
def test_a_cut_text_is_the_longest_beginning_that_is_right(text, most, unit):
    verdict = Length(most=most, unit=unit, action="rewrite").check(text)
    if amount(text, unit) <= most:
        assert verdict.action == "allow"
    else:
        assert text.startswith(verdict.text)
        assert amount(verdict.text, unit) <= most < amount(text[: len(verdict.text) + 1], unit)


@given(
    st.lists(st.text(alphabet="ab \n\u00e9\U0001f600", max_size=5), max_size=8),
    st.integers(0, 9),
    st.sampled_from(UNITS),
)
def test_a_stream_is_cut_where_the_whole_is(pieces, most, unit):
    from llmops_sdk.calls import Call
    from llmops_sdk.protocols import GuardContext

    guard = Length(most=most, unit=unit, action="rewrite")
    stream = guard.open_stream(GuardContext(call=Call(), stage="output", origin="output"))
    emitted = "".join(map(stream.feed, pieces)) + stream.finish()
    whole = guard.check("".join(pieces))
    assert emitted == (whole.text if whole.action == "rewrite" else "".join(pieces))
    assert stream.verdict.findings == tuple(f for f in whole.findings for f in stream.verdict.findings)
    assert stream.verdict.action == whole.action


def test_what_is_too_short_is_blocked_even_where_long_texts_are_cut():
    assert Length(least=3, action="rewrite", unit="words").check("one two").blocked
    assert Length(least=3, action="flag", unit="words").check("one two").action == "flag"


def test_a_minimum_in_words_waits_for_the_whole_text():
    assert Length(least=3, unit="words").window is None
    assert Length(least=3, unit="bytes").window == 3
    assert Length(least=3, unit="words", action="flag").window == 0


def test_the_reason_says_what_is_wrong():
    assert Length(most=2, unit="words").check("a b c").reason == "more than 2 words"


@pytest.mark.parametrize(
    "wrong",
    [{}, {"most": -1}, {"least": 3, "most": 2}, {"most": 1, "unit": "pages"}, {"most": 1, "action": "erase"}],
)
def test_limits_that_make_no_sense_are_refused(wrong):
    with pytest.raises(ConfigurationError):
        Length(**wrong)
