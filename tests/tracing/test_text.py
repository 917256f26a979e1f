from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from llmops_sdk.tracing._text import printable, shortened, valid

any_text = st.text(alphabet=st.characters(), max_size=40) | st.text(alphabet="\ud83d\ude00\udc00ab\n", max_size=20)


@given(any_text)
def test_valid_text_can_be_encoded_and_valid_text_stays(text):
    made = valid(text)
    made.encode()
    assert valid(made) == made
    if not any("\ud800" <= char <= "\udfff" for char in text):
        assert made == text


def test_two_halves_of_a_character_become_the_character():
    assert valid("\ud83d\ude00") == "\N{GRINNING FACE}"


@given(any_text, st.integers(1, 30))
def test_printable_text_fits_on_a_line(text, most):
    made = printable(text, most)
    assert len(made) <= most
    assert made.isprintable()
    made.encode()


def test_shortened_text_says_so():
    assert shortened("abcdef", 4) == "abc…"
    assert shortened("abcd", 4) == "abcd"
