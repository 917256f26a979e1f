"""What `guards.llm_guard` knows without the library."""

from __future__ import annotations

import importlib.util
import pickle
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmops_sdk import guards
from llmops_sdk.errors import ConfigurationError, MissingDependencyError
from llmops_sdk.guards import _llm_guard_scanning as scanning
from llmops_sdk.guards import llm_guard

HERE = importlib.util.find_spec("gorget") is not None


def test_scanners_have_their_own_names_and_nothing_is_imported_for_that():
    guard = llm_guard.BanSubstrings(["a"], name="mine", on_error="allow")
    assert (guard.name, guard.on_error, guard.side, guard.window) == ("mine", "allow", "input", None)
    assert llm_guard.NoRefusalLight().side == "output"
    assert llm_guard.output.BanSubstrings(["a"]).side == "output"
    assert llm_guard.BanSubstrings(["a"], by="sentence").window == 600
    assert {"BanSubstrings", "URLReachability", "Model"} <= set(dir(llm_guard))
    assert HERE or "gorget" not in sys.modules
    assert pickle.loads(pickle.dumps(guard)).name == "mine"


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (llm_guard.URLReachability, "allow_requests=True"),
        (llm_guard.Anonymize, "recognizer_conf="),
        (llm_guard.Sensitive, "recognizer_conf="),
        (lambda: llm_guard.Secrets(action="rewite"), "rewite"),
        (lambda: llm_guard.Secrets(by="word"), "word"),
        (lambda: llm_guard.Scanner("Secrets", side="both"), "both"),
        (lambda: llm_guard.Secrets(longest_text=0), "longest_text"),
        (lambda: guards.isolated("llm_guard:input.Anonymize"), "guards.PII"),
        (lambda: guards.isolated("llm_guard:PromptInjection"), "input.NAME"),
    ],
)
def test_what_cannot_work_is_refused_when_it_is_written(make, says):
    with pytest.raises(ConfigurationError, match=says):
        make()


def test_unknown_names_are_told_with_the_known_ones():
    with pytest.raises(AttributeError, match="dir"):
        _ = llm_guard.BanSubstring
    with pytest.raises(AttributeError, match="BanSubstrings"):
        _ = llm_guard.input.NoRefusalLight


@pytest.mark.skipif(HERE, reason="it is installed here")
def test_without_the_library_the_extra_is_named():
    with pytest.raises(MissingDependencyError, match=r"llmops-sdk\[llm-guard\]"):
        llm_guard.Secrets().prepare()


@given(st.text(max_size=60), st.text(max_size=60))
def test_what_changed_lies_in_the_old_text_in_order(old, new):
    spans = scanning.changed(old, new)
    assert all(0 <= start <= end <= len(old) for start, end in spans)
    assert spans == sorted(spans)


@given(st.lists(st.text("ab", min_size=1, max_size=4), max_size=4), st.text("abc", max_size=30))
def test_where_values_were_nothing_of_them_is_left(values, text):
    new = scanning.replaced(text, scanning.occurrences(text, values), lambda value: "*" * len(value))
    assert len(new) == len(text)
    for value in values:
        at = text.find(value)
        while at >= 0:
            assert new[at : at + len(value)] == "*" * len(value)
            at = text.find(value, at + 1)


def test_a_long_text_that_changed_everywhere_is_one_stretch_in_little_time():
    assert len(scanning.changed("a b " * 100_000, "c d " * 100_000)) == 1
