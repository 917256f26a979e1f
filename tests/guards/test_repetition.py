"""`Repetition`: loops are found as they run, and ordinary repetition is not."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llmops_sdk.calls import Call
from llmops_sdk.errors import ConfigurationError
from llmops_sdk.guards import Repetition
from llmops_sdk.protocols import GuardContext
from llmops_sdk.testing import GuardContract

SENTENCE = "All work and no play makes Jack a dull boy.\n"
PARAGRAPH = " ".join(f"Sentence number {n} of a paragraph is here." for n in range(12)) + "\n\n"
LOOPS = {
    "token": "the " * 80,
    "line": SENTENCE * 20,
    "character": "a" * 300,
    "paragraph": PARAGRAPH * 10,
    "blank lines": "\n" * 2_000,
    "han": "好" * 300,
    "after prose": "A fine day it was, and we went out. " + "I think I think " * 30,
    "zeros": "0, " * 1_000,
}
ORDINARY = {
    "rule": "Title\n" + "-" * 120 + "\n" + "=" * 79 + "\n",
    "table": "| name | value |\n|---|---|\n" + "".join(f"| row {n} | {n * n} |\n" for n in range(100)),
    "code": "".join(f"    if (x == {n}) {{\n        return {n};\n    }}\n" for n in range(60)),
    "list": "".join(f"- item {n}\n" for n in range(200)),
    "poem": "And miles to go before I sleep,\nAnd miles to go before I sleep.\n",
    "zeros": "[" + "0, " * 64 + "0]",
    "laugh": "ha" * 30,
    "closing tags": "</div>\n" * 12,
    "spaces": "a" + " " * 300 + "b",
    "numbers": "".join(str(n) for n in range(500)),
}


class TestBlocking(GuardContract):
    examples_allowed = ("-" * 80, "no, no, no")
    examples_caught = (LOOPS["line"], LOOPS["token"])
    tries = 30

    def make_guard(self):
        return Repetition()


class TestCutting(TestBlocking):
    def make_guard(self):
        return Repetition(action="rewrite")


class TestFlagging(TestBlocking):
    def make_guard(self):
        return Repetition(action="flag")


@pytest.mark.parametrize("name", LOOPS)
def test_loops_are_found(name):
    assert Repetition().check(LOOPS[name]).blocked


@pytest.mark.parametrize("name", ORDINARY)
def test_ordinary_repetition_passes(name):
    assert Repetition().check(ORDINARY[name]).action == "allow"


def test_a_loop_is_cut_soon_after_the_limit():
    verdict = Repetition(action="rewrite").check("Here: " + SENTENCE * 100)
    assert 8 * len(SENTENCE) <= len(verdict.text) - 6 <= 8 * len(SENTENCE) + 32
    assert verdict.findings[0].rule == f"period {len(SENTENCE)}"


@settings(max_examples=60, deadline=None)
@given(
    st.text(alphabet="ab \n", min_size=1, max_size=40), st.text(max_size=30), st.lists(st.integers(1, 90), max_size=40)
)
def test_any_short_period_is_found_at_the_same_place_at_every_cut(period, before, sizes):
    text = before + period * (400 // len(period) * 8 + 10)
    guard = Repetition(action="rewrite")
    stream = guard.open_stream(GuardContext(call=Call(), stage="output", origin="output"))
    emitted, at = [], 0
    for size in sizes:
        emitted.append(stream.feed(text[at : at + size]))
        at += size
    emitted.append(stream.feed(text[at:]))
    whole = guard.check(text)
    assert whole.action == "rewrite"
    assert "".join(emitted) == whole.text


def test_memory_is_bounded_over_a_long_stream():
    guard = Repetition()
    stream = guard.open_stream(GuardContext(call=Call(), stage="output", origin="output"))
    for n in range(20_000):
        stream.feed(f"{n} ")
    assert len(stream._tail) <= 2 * guard._memory + 10
    assert stream.verdict.action == "allow"


@pytest.mark.parametrize("wrong", [{"times": 1}, {"shortest": 3}, {"longest_period": 0}, {"action": "erase"}])
def test_numbers_that_make_no_sense_are_refused(wrong):
    with pytest.raises(ConfigurationError):
        Repetition(**wrong)
