"""What guards found is taken out of all else."""

from __future__ import annotations

import json
import pickle

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmops_sdk.calls import Call, Found
from llmops_sdk.calls._found import HIDDEN, UNTOLD
from llmops_sdk.errors import AllEnginesFailed, Attempt, BadRequestError, InvalidResponseError
from llmops_sdk.verdicts import Finding, Verdict

KEY = "k-" + "9Zq4" * 6


def found(text: str = KEY, start: int = 0, end: int | None = None) -> Found:
    one = Found()
    one.note(text, Verdict.flag("x", [Finding(kind="key", start=start, end=len(text) if end is None else end)]))
    return one


@given(before=st.text(max_size=20), secret=st.text(min_size=9, max_size=40), after=st.text(max_size=20))
def test_what_was_found_is_in_no_text_that_was_hidden(before, secret, after):
    one = found(before + secret + after, len(before), len(before) + len(secret))
    quoted = secret.strip()
    for text in (quoted, f"a {quoted} b", json.dumps({"said": quoted}), repr([quoted])):
        if len(quoted) >= 9:
            assert quoted not in one.hidden(text)


def test_the_beginning_of_it_at_the_end_of_a_cut_text_is_hidden():
    assert found().hidden(f"they sent {KEY[:15]}") == f"they sent {HIDDEN}"


def test_a_short_word_is_hidden_only_where_it_stands_alone():
    assert found("Al").hidden("Al also saw Al's album") == f"{HIDDEN} also saw {HIDDEN}'s album"


def test_names_in_what_is_written_stay_where_a_text_was_a_word():
    assert found("chat").hidden_in({"operation": "chat", "n": [1, KEY]}) == {"operation": "chat", "n": [1, KEY]}
    assert found().hidden_in({"a": [f"x {KEY}"]}) == {"a": [f"x {HIDDEN}"]}


@pytest.mark.parametrize(
    ("text", "rewritten"),
    [(f"use {KEY} now", "use <own> now"), (f"a={KEY}, b={KEY}; c", "a=<own>, b=<own>; c"), (f"x {KEY}", "x")],
)
def test_what_a_guard_took_out_without_a_finding_is_known_by_what_is_left(text, rewritten):
    one = Found()
    assert one.note(text, Verdict.rewrite(rewritten))
    assert KEY not in one.hidden(f"no such key: {KEY}!")
    assert not one.untold


def test_a_guard_that_only_adds_something_found_nothing():
    one = Found()
    assert one.note("Be kind.", Verdict.rewrite("Be kind. The word is heron."))
    assert one.hidden("Be kind.") == "Be kind."


@pytest.mark.parametrize(
    "verdict", [Verdict.flag("odd"), Verdict.block("odd"), Verdict.flag("odd", [Finding(kind="odd", start=0, end=0)])]
)
def test_no_text_can_be_cleaned_of_what_a_guard_does_not_tell(verdict):
    one = Found()
    assert not one.note(f"use {KEY} now", verdict)
    assert one.hidden("anything") == UNTOLD
    assert one.hidden_tag(f"for:{KEY}") == UNTOLD
    assert one.hidden_tag("tenant 17") == "tenant 17"


def test_more_than_can_be_looked_for_hides_all():
    one = Found()
    text = " ".join(f"key-{number:06}" for number in range(2000))
    findings = [Finding(kind="key", start=11 * n, end=11 * n + 10) for n in range(2000)]
    assert not one.note(text, Verdict.flag("many", findings))
    assert one.untold


def test_errors_are_cleaned_in_place_with_all_that_they_are_made_of():
    inner = InvalidResponseError(f"got {KEY}", body=f"<{KEY}>".encode())
    inner.__cause__ = UnicodeError(f"at {KEY}")
    inner.add_note(f"note {KEY}")
    failed = AllEnginesFailed("none", [Attempt("one", inner, 0.1)])
    call = Call()
    call.note_found(KEY, Verdict.flag("key", [Finding(kind="key", start=0, end=len(KEY))]))
    call.hide_in_error(failed)
    for said in (str(failed), repr(failed), str(inner), repr(inner.body), inner.__notes__[0], str(inner.__cause__)):
        assert KEY not in said
        assert "found by a guard" in said
    assert KEY.encode() not in pickle.dumps(failed)
    assert KEY not in str(pickle.loads(pickle.dumps(failed)))


def test_a_cause_that_says_it_in_its_own_way_is_let_go():
    class OddError(Exception):
        def __str__(self):
            return f"odd {KEY}"

    error = BadRequestError("no")
    error.__cause__ = OddError()
    found().hide_in_error(error)
    assert error.__cause__ is None


def test_errors_that_are_a_circle_are_cleaned():
    one, other = ValueError(KEY), ValueError(KEY)
    one.__context__, other.__cause__ = other, one
    found().hide_in_error(one)
    assert KEY not in f"{one}{other}"


def test_what_was_found_is_found_in_other_letters_in_urls_and_in_html():
    one = Found()
    one.note("Ottilie.Brandt+x@example.org <Öl>", Verdict.flag("x", [Finding(kind="x", start=0, end=33)]))
    for written in (
        "OTTILIE.BRANDT+X@EXAMPLE.ORG <ÖL>",
        "Ottilie.Brandt%2Bx%40example.org%20%3C%C3%96l%3E",
        "Ottilie.Brandt%2bx%40example.org+%3c%c3%96l%3e",
        "Ottilie.Brandt+x@example.org &lt;Öl&gt;",
    ):
        assert one.hidden(f"see {written}.") == f"see {HIDDEN}."
        assert one.hidden_in({"a": [f"see {written}."]}) == {"a": [f"see {HIDDEN}."]}


def test_the_beginning_of_it_before_the_mark_of_a_cut_is_hidden():
    assert found().hidden(f"they sent {KEY[:15]}…") == f"they sent {HIDDEN}…"


def test_an_error_quotes_it_in_no_argument():
    errors = [
        ValueError({"sent": [KEY]}, (KEY, 1), {KEY}),
        FileNotFoundError(2, f"no {KEY}", f"/tmp/{KEY}"),
        ValueError(KeyError(KEY)),
    ]
    for error in errors:
        found().hide_in_error(error)
        assert KEY not in f"{error} {error!r}"
    assert errors[0].args[:2] == ({"sent": [HIDDEN]}, (HIDDEN, 1))
