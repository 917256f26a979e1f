"""The parser of event streams gives the same events for every way of cutting the bytes, and those of the standard."""

import itertools
import time

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


def by_the_book(stream):
    """The events of a whole stream, step by step as the standard says (9.2.5 and 9.2.6); slow, and easy to check."""
    stream = stream.removeprefix(b"\xef\xbb\xbf")
    lines, line, at = [], b"", 0
    while at < len(stream):
        byte = stream[at : at + 1]
        if byte in (b"\r", b"\n"):
            lines.append(line)
            line = b""
            at += 2 if stream[at : at + 2] == b"\r\n" else 1
        else:
            line += byte
            at += 1
    events, buffer = [], b""
    for line in lines:  # what stands after the last end of line is discarded
        if line == b"":
            if buffer != b"":
                events.append(buffer[:-1] if buffer.endswith(b"\n") else buffer)
            buffer = b""
        elif line[:1] == b":":
            pass
        else:
            field, colon, value = line.partition(b":")
            if colon and value[:1] == b" ":
                value = value[1:]
            if field == b"data":
                buffer += value + b"\n"
    return events


def parse(pieces):
    parser = EventParser()
    return [event for piece in pieces for event in parser.feed(piece)]


def cut(stream, edges):
    return [stream[a:b] for a, b in itertools.pairwise([0, *edges, len(stream)])]


def test_whole():
    assert parse([STREAM]) == EVENTS == by_the_book(STREAM)


@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf", b"\xef", b"\xef\xbb", b"\xef\xbb\xbf\xef\xbb\xbf"])
def test_one_two_and_three_cuts_anywhere(mark):
    for nasty in (
        mark + b"data: a\r\ndata:b\r\r\n:\n\ndata\r\rdata : x\ndata:\xc3\xa9\n\r\n",
        mark + b"data: a\ndata: b\n\ndata: c\n\nid: 1\rdata: d\n\n",
    ):
        expected = by_the_book(nasty)
        for cuts in (1, 2, 3):
            for edges in itertools.combinations_with_replacement(range(len(nasty) + 1), cuts):
                assert parse(cut(nasty, edges)) == expected, edges


@given(st.lists(st.integers(0, len(STREAM)), max_size=20))
def test_every_cut_gives_the_same(cuts):
    assert parse(cut(STREAM, sorted(cuts))) == EVENTS


SCRAPS = [
    b"data", b"data:", b"data: ", b"x", b":", b" ", b"\n", b"\r", b"\r\n", b"\xef\xbb\xbf", b"\xef", b"\xff", b"\0",
    b"event: y", b"id:", b"retry: 5", b"[DONE]", b"dat",
]  # fmt: skip


@given(st.lists(st.sampled_from(SCRAPS), max_size=40).map(b"".join), st.data())
def test_scraps_of_streams_are_read_by_the_book_however_they_are_cut(stream, data):
    edges = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=12)))
    assert parse(cut(stream, edges)) == by_the_book(stream)


@given(st.binary(max_size=200), st.integers(1, 7))
def test_any_bytes_are_read_by_the_book(stream, step):
    assert parse(stream[i : i + step] for i in range(0, len(stream), step)) == by_the_book(stream)


def test_byte_by_byte():
    assert parse([bytes([byte]) for byte in STREAM]) == EVENTS


@given(
    st.lists(st.text(st.characters(exclude_characters="\r\n", codec="utf-8"), max_size=20), max_size=10),
    st.sampled_from(["\n", "\r", "\r\n"]),
)
def test_round_trip(values, end):
    stream = "".join(f"data: {value}{end}{end}" for value in values).encode()
    assert parse([stream[i : i + 3] for i in range(0, len(stream), 3)]) == [value.encode() for value in values]


@pytest.mark.parametrize("piece", [b"data: " + b"x" * 100, b"data: " + b"x" * 50 + b"\n", b"data\n", b": x" * 30])
def test_event_without_an_end_is_bounded(piece):
    parser = EventParser(max_event=1000)
    with pytest.raises(InvalidResponseError, match="1000 bytes"):
        for _ in range(100):
            parser.feed(piece)


def test_events_that_end_are_not_counted_together():
    parser = EventParser(max_event=1000)
    assert sum(len(parser.feed(b": hi\ndata: " + b"x" * 500 + b"\n\n")) for _ in range(100)) == 100


def test_a_long_line_takes_time_by_its_length_and_not_by_its_square():
    def once(pieces):
        parser = EventParser(max_event=10**9)
        start = time.thread_time()
        for _ in range(pieces):
            parser.feed(b"x" * 4096)
        return time.thread_time() - start

    def seconds(pieces):
        return min(once(pieces) for _ in range(3))  # a busy machine is slow now and then

    seconds(1000)
    assert seconds(16_000) < 8 * max(0.02, seconds(4000))  # the square would be 16 times
