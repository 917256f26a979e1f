"""Ignore lists: what they hold is no finding, in a text and in a stream, and nothing else is let through."""

from __future__ import annotations

import itertools
import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llmops_sdk.errors import ConfigurationError
from llmops_sdk.guards import Secrets
from llmops_sdk.guards._patterns.ignored import ignored

KNOWN = "AK" + "IA" + "Q7WERTYU8OP9ASDF"
OTHER = "AK" + "IA" + "Z9XCVBNM1LKJHGFD"
TEXT = f"ours {KNOWN}, theirs {OTHER}."


@pytest.mark.parametrize("entry", [KNOWN, re.compile(r"AKIAQ7\w+"), re.compile("akiaq7.*", re.IGNORECASE)])
def test_what_is_ignored_stays_and_the_rest_is_found(entry: str | re.Pattern[str]) -> None:
    verdict = Secrets(ignore=[entry]).check(TEXT)
    assert verdict.text == TEXT.replace(OTHER, "[SECRET:aws_access_key_id]")
    assert len(verdict.findings) == 1


def test_a_pattern_has_to_match_all_of_a_finding() -> None:
    assert len(Secrets(ignore=[re.compile("AKIAQ7"), KNOWN[:-1]]).check(TEXT).findings) == 2


@given(places=st.lists(st.integers(0, len(TEXT)), max_size=8))
@settings(max_examples=100, deadline=None)
def test_a_stream_ignores_the_same(places: list[int]) -> None:
    guard = Secrets(ignore=[KNOWN])
    stream = guard.open_stream(None)  # type: ignore[arg-type]
    assert stream is not None
    edges = [0, *sorted(places), len(TEXT)]
    pieces = [TEXT[start:end] for start, end in itertools.pairwise(edges)]
    emitted = "".join(str(stream.feed(piece)) for piece in pieces) + str(stream.finish())
    assert emitted == guard.check(TEXT).text
    assert stream.verdict.findings == guard.check(TEXT).findings


def test_what_is_ignored_is_searched_no_further_by_its_rule() -> None:
    # Within an ignored finding its own rule looks for no other, so a known text cannot come back as a part of itself.
    assert Secrets(ignore=["Pa55word!Pa55word!"]).check("password = 'Pa55word!Pa55word!'").action == "allow"


@pytest.mark.parametrize("entries", ["text", re.compile("x"), [1], [re.compile(b"x")]])
def test_what_is_no_list_of_texts_and_patterns_is_refused(entries: object) -> None:
    with pytest.raises(ConfigurationError, match="ignore"):
        ignored(entries)  # type: ignore[arg-type]


def test_an_empty_list_is_none() -> None:
    assert ignored([]) is None
