"""The parser of event streams gives the same events for every way of cutting the bytes."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmops_sdk.engines._sse import EventParser
from llmops_sdk.errors import InvalidResponseError

STREAM = (
    b"\xef\xbb\xbf: comment\r\ndata: a\n\nevent: x\rdata:b\rdata:  c\r\r"
    b"id: 1\r\n\r\ndata\n\ndata: \xc3\xa9\r\n\ndata: end\n\n"
)
EVENTS = [b"a", b"b\n c", b"", b"\xc3\xa9", b"end"]


def parse(pieces):
    parser = EventParser()
    return [event for piece in pieces for event in parser.feed(piece)]


def test_whole():
    assert parse([STREAM]) == EVENTS


@given(st.lists(st.integers(0, len(STREAM)), max_size=20))
def test_every_cut_gives_the_same(cuts):
    edges = [0, *sorted(cuts), len(STREAM)]
    assert parse([STREAM[a:b] for a, b in itertools.pairwise(edges)]) == EVENTS


def test_byte_by_byte():
    assert parse([bytes([byte]) for byte in STREAM]) == EVENTS


@given(
    st.lists(st.text(st.characters(exclude_characters="\r\n", codec="utf-8"), max_size=20), max_size=10),
    st.sampled_from(["\n", "\r", "\r\n"]),
)
def test_round_trip(values, end):
    stream = "".join(f"data: {value}{end}{end}" for value in values).encode()
    assert parse([stream[i : i + 3] for i in range(0, len(stream), 3)]) == [value.encode() for value in values]


def test_event_without_an_end_is_bounded():
    parser = EventParser(max_event=1000)
    with pytest.raises(InvalidResponseError, match="1000 bytes"):
        for _ in range(100):
            parser.feed(b"data: " + b"x" * 100)
    parser = EventParser(max_event=1000)
    with pytest.raises(InvalidResponseError):
        for _ in range(100):
            parser.feed(b"data: " + b"x" * 50 + b"\n")
