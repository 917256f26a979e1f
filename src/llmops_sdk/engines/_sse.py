"""Server-sent events by the book: https://html.spec.whatwg.org/multipage/server-sent-events.html#parsing-an-event-stream."""

from __future__ import annotations

from llmops_sdk.errors import InvalidResponseError

__all__ = ["EventParser"]

_BOM = b"\xef\xbb\xbf"
_LINE = 40
"""Bytes that a line of data costs beside its text, so that many empty ones are bounded, too."""


class EventParser:
    r"""Takes bytes as they arrive and gives the data of complete events.

    Lines end in LF, CR or CRLF, cut anywhere; comments and fields other than `data` are skipped; several `data` lines
    are joined by LF; a byte order mark at the start is dropped. Time and memory grow with the bytes, however they are
    cut.

    Args:
        max_event: Most bytes of an event that is not yet complete.

    Example:
        >>> parser = EventParser()
        >>> parser.feed(b": hi\n\ndata: a"), parser.feed(b"\ndata: b\r\n\r\n")
        ([], [b'a\nb'])
    """

    def __init__(self, *, max_event: int = 16 * 1024 * 1024) -> None:
        self._max_event = max_event
        self._rest = bytearray()
        """The beginning of a line; it grows in place, for to join it each time would cost the square of a long line."""
        self._data: list[bytes] = []
        self._size = 0
        """Bytes that `_data` takes."""
        self._start = True
        self._after_cr = False

    def feed(self, data: bytes, /) -> list[bytes]:
        """The data of the events that are complete now.

        Raises:
            InvalidResponseError: An event is larger than `max_event`.
        """
        within = self._start or self._after_cr or self._rest or self._data
        if not within and data[:6] == b"data: " and data[-2:] == b"\n\n":
            event = data[6:-2]
            if b"\n" not in event and b"\r" not in event:  # one whole event of one line, as nearly all are
                return [event]
        if self._start:
            data = self._without_mark(data)
        if self._after_cr:
            if not data:
                return []
            self._after_cr = False
            if data[:1] == b"\n":  # of a CRLF that was cut in two
                data = data[1:]
        if b"\r" in data:
            self._after_cr = data.endswith(b"\r")
            data = data.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
        lines = data.split(b"\n")
        rest = lines.pop()
        events: list[bytes] = []
        if lines:
            if self._rest:
                lines[0] = self._taken_rest() + lines[0]
            self._read(lines, events)
        if rest:
            self._rest += rest
        if self._size + len(self._rest) > self._max_event:
            first = self._data[0] if self._data else bytes(self._rest[:500])
            raise InvalidResponseError(f"an event is over {self._max_event} bytes (`max_body`)", body=first)
        return events

    def _read(self, lines: list[bytes], events: list[bytes]) -> None:
        for line in lines:
            if not line:
                if self._data:
                    events.append(self._data[0] if len(self._data) == 1 else b"\n".join(self._data))
                    self._data = []
                    self._size = 0
            elif line.startswith(b"data:"):
                value = line[6:] if line[5:6] == b" " else line[5:]
                self._data.append(value)
                self._size += len(value) + _LINE
            elif line == b"data":
                self._data.append(b"")
                self._size += _LINE

    def _taken_rest(self) -> bytes:
        rest = bytes(self._rest)
        self._rest.clear()
        return rest

    def _without_mark(self, data: bytes) -> bytes:
        """The bytes after a byte order mark; what may yet become one waits."""
        if self._rest:
            data = self._taken_rest() + data
        if len(data) < len(_BOM) and _BOM.startswith(data):
            self._rest += data
            return b""
        self._start = False
        return data.removeprefix(_BOM)
